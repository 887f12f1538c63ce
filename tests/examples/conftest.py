"""The movie booking project, for tests that look at its files or run its actions."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2] / "examples" / "movie_booking"


def load(name: str):
    """A script of the project as a module."""
    specification = importlib.util.spec_from_file_location(
        f"movie_booking_{name}", PROJECT / f"{name}.py"
    )
    module = importlib.util.module_from_spec(specification)
    # Dataclasses look their module up while it is executed.
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def builder():
    """build_knowledge_base.py"""
    return load("build_knowledge_base")


@pytest.fixture(scope="session")
def demo():
    """demo.py"""
    sys.path.insert(0, str(PROJECT))
    try:
        return load("demo")
    finally:
        sys.path.remove(str(PROJECT))
        sys.modules.pop("build_knowledge_base", None)


@pytest.fixture(scope="session")
def project():
    """Directory of the project."""
    return PROJECT


@pytest.fixture
def database_url(builder, tmp_path):
    """URL of a knowledge base built for one test."""
    url = f"sqlite:///{tmp_path / 'db' / 'screenings.db'}"
    builder.build(url)
    return url


@pytest.fixture
def actions(monkeypatch):
    """The name `actions` means the project's package for one test, as it does for `rasa run actions`."""
    for name in [name for name in sys.modules if name.split(".")[0] == "actions"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(PROJECT))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "actions"]:
        sys.modules.pop(name)
