"""Rasa's own commands on a project with our components."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Tuple

import pytest
from rasa.model_training import train as train_project
from rasa.shared.exceptions import InvalidConfigException

from tests.components import projects
from tests.components.running import configure, write_project

pytestmark = pytest.mark.process

WRONG_SETTING = "HybridPolicy: epochs: 'many' is not allowed; it has to be a whole number"


def rasa(project: Path, *arguments: str) -> Tuple[int, str]:
    """Exit status and output of a command of Rasa."""
    result = subprocess.run(
        [sys.executable, "-m", "rasa", *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return result.returncode, result.stdout + result.stderr


def test_rasa_test_passes_and_reports_our_intents_and_entities(
    tables: Path, archive: Path, tmp_path: Path
) -> None:
    status, output = rasa(
        tables,
        "test",
        "-m",
        str(archive),
        "-s",
        "tests",
        "-u",
        "data/nlu.yml",
        "--no-plot",
        "--out",
        str(tmp_path),
        "--config",
        "config.yml",
    )
    assert status == 0, output
    report = json.loads((tmp_path / "intent_report.json").read_text())
    assert report["accuracy"] > 0.9
    entities = json.loads((tmp_path / "HybridNLU_report.json").read_text())
    assert entities["weighted avg"]["f1-score"] > 0.9
    failed = (tmp_path / "failed_test_stories.yml").read_text()
    assert "story:" not in failed, failed


def test_data_validate_accepts_the_project(tables: Path) -> None:
    status, output = rasa(tables, "data", "validate", "--fail-on-warnings")
    assert status == 0, output


def test_rasa_train_tells_a_wrong_setting_in_a_sentence(tmp_path: Path) -> None:
    project = write_project(tmp_path / "project")
    configure(project, epochs="many")
    status, output = rasa(project, "train", "--augmentation", "0", "--skip-validation")
    assert status != 0
    assert WRONG_SETTING in output
    assert "Traceback" not in output


@pytest.mark.parametrize("force", [False, True])
def test_a_wrong_setting_is_told_whether_or_not_the_cache_is_asked(
    tmp_path: Path, force: bool
) -> None:
    """What `rasa train` prints without a stack trace."""
    project = write_project(tmp_path / "project")
    configure(project, epochs="many")
    with pytest.raises(InvalidConfigException, match=WRONG_SETTING):
        train_project(
            domain=str(project / "domain.yml"),
            config=str(project / "config.yml"),
            training_files=[str(project / "data")],
            output=str(project / "models"),
            force_training=force,
            core_additional_arguments={"augmentation_factor": 0},
        )


def test_rasa_test_does_not_read_the_gold_slots(archive: Path, tmp_path: Path) -> None:
    """A story that claims slots that the user's words do not hold: what is predicted follows the words."""
    stories = tmp_path / "test_claims.yml"
    stories.write_text(
        'version: "3.1"\nstories:\n- story: claims\n  steps:\n  - intent: inform\n    user: |\n      i want [thai](cuisine) food\n'
        "  - slot_was_set: [{cuisine: thai}, {date: friday}]\n  - action: utter_ask_date\n"
    )
    found = projects.run_test_stories(projects.load_agent(str(archive)), stories, end_to_end=True)
    assert found == {"claims": []}
