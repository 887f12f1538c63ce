"""Stores of a test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest

from rasa_hybrid.feedback.store import EpisodeStore
from tests.own_database import own_database


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store of its own on each kind of database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'feedback.db'}"
    else:
        with own_database(request.getfixturevalue("postgres_url")) as database:
            yield database


@pytest.fixture
def store(url: str) -> Iterator[EpisodeStore]:
    store = EpisodeStore(url)
    yield store
    store.close()
