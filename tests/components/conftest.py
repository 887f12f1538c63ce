"""Trainings that several tests share: each takes a few seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator

import pytest

from tests.components import projects
from tests.components.running import eagerly, write_project
from tests.sharing import made_once


@pytest.fixture(scope="session", autouse=True)
def rasa_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keeps Rasa's training cache out of the working folder."""
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("rasa_cache")
        patch.setenv("RASA_CACHE_DIRECTORY", str(cache))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield cache


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project `data/tables`, trained as `rasa train` does; the archive is `models/config.tar.gz`.

    Every process of the test run has the same one: a test that changes it works on a copy.
    """
    return made_once(
        "tables",
        tmp_path_factory,
        lambda folder: projects.train(write_project(folder), "config.yml", augmentation=None),
    )


@pytest.fixture(scope="session")
def archive(tables: Path) -> Path:
    """The trained model of `tables`."""
    return tables / "models" / "config.tar.gz"


@pytest.fixture(scope="session")
def actions_url(tables: Path) -> Iterator[str]:
    """The custom actions of `tables`, served."""
    with projects.action_server(tables) as url:
        yield url


@pytest.fixture(scope="session")
def agent(archive: Path, actions_url: str) -> Any:
    """An agent with the model and the custom actions of `tables`."""
    return projects.load_agent(str(archive), actions_url)


@pytest.fixture
def uncompiled() -> Iterator[None]:
    """For tests that learn in a few small steps."""
    with eagerly():
        yield
