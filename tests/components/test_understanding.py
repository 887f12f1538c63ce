"""HybridNLU with HybridPolicy in the place of DIETClassifier: held-out wordings are understood as well.

What DIET makes of them stands in `diet.json` of each project, see `record_stock`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict

import pytest

from tests.components import projects

pytestmark = pytest.mark.slow

MARGIN = 0.02
HIGHER_IS_BETTER = ("intent_accuracy", "span_f1", "value_f1", "fallback_rate_out_of_domain")


def mean_of_diet(name: str) -> Dict[str, float]:
    """Figures of DIET in a project, averaged over its seeds."""
    runs = list(json.loads((projects.PROJECTS / name / "diet.json").read_text()).values())
    known = [figure for figure, value in runs[0].items() if value is not None]
    return {figure: sum(run[figure] for run in runs) / len(runs) for figure in known}


@pytest.mark.parametrize("name", projects.NAMES)
def test_intents_entities_and_fallbacks_are_within_two_points_of_diet(
    name: str, tmp_path: Path
) -> None:
    project = projects.copy_project(name, tmp_path / name)
    agent = projects.load_agent(projects.train(project, "config_hybrid.yml"))
    ours, diet = projects.figures(agent, project), mean_of_diet(name)
    print(name, ours)
    behind = {
        figure: (ours[figure], diet[figure])
        for figure in HIGHER_IS_BETTER
        if figure in diet and (ours[figure] or 0.0) < diet[figure] - MARGIN
    }
    assert not behind, projects.understanding(agent, project).mistakes
    if "fallback_rate" in diet:
        assert (ours["fallback_rate"] or 0.0) <= diet["fallback_rate"] + MARGIN
