"""The projects that the simulation is tested on, and small tables and surface forms written here."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from rasa_hybrid.simulation import load_simulator

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="session")
def movie_project(tmp_path_factory) -> Path:
    """The movie booking project's simulator with a knowledge base of its own."""
    project = tmp_path_factory.mktemp("movie_booking")
    shutil.copytree(EXAMPLES / "movie_booking" / "simulator", project / "simulator")
    shutil.copy(EXAMPLES / "movie_booking" / "config.yml", project)
    shutil.copy(EXAMPLES / "movie_booking" / "domain.yml", project)
    spec = importlib.util.spec_from_file_location(
        "build_knowledge_base", EXAMPLES / "movie_booking" / "build_knowledge_base.py"
    )
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    builder.build(f"sqlite:///{project / 'db' / 'screenings.db'}")
    return project


@pytest.fixture(scope="session")
def movies(movie_project):
    return load_simulator(movie_project)


@pytest.fixture
def restaurant_project(tmp_path) -> Path:
    """A copy of the restaurant domain that a test may change."""
    return Path(shutil.copytree(EXAMPLES / "restaurant_search", tmp_path / "restaurant_search"))


@pytest.fixture(scope="session")
def restaurants():
    return load_simulator(EXAMPLES / "restaurant_search")
