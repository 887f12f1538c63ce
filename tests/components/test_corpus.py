"""Corpora that the project's simulator makes on first use."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from rasa.shared.exceptions import InvalidConfigException

from rasa_hybrid.components.corpus import corpus_files, make_missing
from rasa_hybrid.corpora import read_jsonl

PROJECT = Path(__file__).parents[2] / "examples" / "restaurant_search"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a simulator, as the working folder, which is where Rasa runs."""
    shutil.copytree(PROJECT, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def test_missing_corpus_is_simulated_once(project: Path) -> None:
    files = corpus_files([{"path": "data/made.jsonl", "simulate": 7, "seed": 3}])
    make_missing(files)
    made = project / "data" / "made.jsonl"
    assert len(list(read_jsonl(made))) == 7
    assert [path.name for path in made.parent.iterdir()] == ["made.jsonl"]
    made.write_text("mine")
    make_missing(files)
    assert made.read_text() == "mine"


def test_corpus_that_cannot_be_simulated_says_why(project: Path) -> None:
    shutil.rmtree(project / "simulator")
    with pytest.raises(InvalidConfigException, match="made.jsonl can't be simulated: .*simulator"):
        make_missing(corpus_files([{"path": "made.jsonl", "simulate": 7}]))
    assert not (project / "made.jsonl").exists()
