"""Records what the projects of `tests/projects` do with TED and DIET, for `test_drop_in.py` to compare with.

    python -m tests.components.record_expected [PROJECT ...]

writes `expected.json` into each project. It trains TED and DIET, about two minutes a project on two cores;
run it after a project or its `config_ted.yml` has changed.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict

os.environ.setdefault("RASA_TELEMETRY_ENABLED", "false")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from tests.components import projects

#: DIET is trained with each of these; its figures are means.
DIET_SEEDS = (1, 2, 3)


def record(name: str, folder: Path) -> Dict[str, Any]:
    """What project `name` does with `config_ted.yml`, and how well DIET understands it.

    Args:
        name: the project.
        folder: a new folder to train in.
    """
    project = projects.copy_project(name, folder / name)
    archive = projects.train(project, "config_ted.yml", augmentation=0)
    stories = project / "tests" / "test_stories.yml"
    with projects.action_server(project) as actions_url:
        agent = projects.load_agent(archive, actions_url)
        expected: Dict[str, Any] = {"passed": {}, "failed": {}, "conversations": {}}
        for kind, end_to_end in (("core", False), ("e2e", True)):
            outcome = projects.run_test_stories(agent, stories, end_to_end)
            expected["passed"][kind] = sorted(
                story for story, wrong in outcome.items() if not wrong
            )
            expected["failed"][kind] = {story: wrong for story, wrong in outcome.items() if wrong}
        for conversation, messages in projects.read_conversations(project).items():
            expected["conversations"][conversation] = projects.converse(agent, messages)
    if (project / "config_hybrid.yml").exists():
        expected["diet"] = _diet(project)
    return expected


def _diet(project: Path) -> Dict[str, Any]:
    figures = [_diet_with_seed(project, seed) for seed in DIET_SEEDS]
    return {
        key: None
        if figures[0][key] is None
        else round(sum(f[key] for f in figures) / len(figures), 4)
        for key in figures[0]
    }


def _diet_with_seed(project: Path, seed: int) -> Dict[str, Any]:
    config = project / "config_diet.yml"
    text = (config if config.exists() else project / "config_ted.yml").read_text()
    seeded = project / f"config_diet_{seed}.yml"
    seeded.write_text(text.replace("random_seed: 1", f"random_seed: {seed}"))
    agent = projects.load_agent(projects.train(project, seeded.name, nlu_only=True))
    found = projects.understanding(agent, project)
    print(f"{project.name} DIET, seed {seed}: {found}", file=sys.stderr)
    figures = {
        "intent_accuracy": found.intent_accuracy,
        "span_f1": found.span_f1,
        "value_f1": found.value_f1,
    }
    foreign = project / "tests" / "out_of_domain.txt"
    if foreign.exists():
        figures["fallback_rate"] = projects.fallback_rate(agent, projects.held_out_texts(project))
        figures["fallback_rate_out_of_domain"] = projects.fallback_rate(
            agent, foreign.read_text().splitlines()
        )
    return figures


def main() -> None:
    names = sys.argv[1:] or sorted(
        path.name for path in projects.PROJECTS.iterdir() if path.is_dir()
    )
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("RASA_CACHE_DIRECTORY", str(Path(folder) / "cache"))
        for name in names:
            expected = record(name, Path(folder))
            target = projects.PROJECTS / name / "expected.json"
            target.write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")
            print(
                f"{target}: passed {expected['passed']}, failed {expected['failed']}",
                file=sys.stderr,
            )


if __name__ == "__main__":
    main()
