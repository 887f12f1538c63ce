"""The store beside an event loop: nobody waits for ever for a store that does not answer, and what comes late is kept."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from rasa_hybrid.components import channel_store
from rasa_hybrid.components.channel_requests import RefusedError
from rasa_hybrid.components.channel_store import StoreThreads
from rasa_hybrid.feedback.records import Given, Outcome


def test_feedback_that_is_not_stored_in_time_is_refused_and_may_be_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_store, "_PATIENCE", 0.2)
    path = tmp_path / "feedback.db"
    threads = StoreThreads(f"sqlite:///{path}")
    store = threads.open()
    store.begin("anna", 1.0)
    given = Given("anna", Outcome(success=True), id="f")

    async def rate() -> None:
        database = sqlite3.connect(path, isolation_level=None)
        database.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RefusedError) as refused:
            await threads.commit(given)
        assert (refused.value.status, refused.value.reason) == (503, "no_store")
        database.execute("ROLLBACK")
        database.close()
        monkeypatch.setattr(channel_store, "_PATIENCE", 60.0)
        receipt = await threads.commit(given)
        assert receipt.status == "accepted" and receipt.outcome == Outcome(success=True)

    try:
        asyncio.run(rate())
        assert store.receipt("f").sender == "anna"
    finally:
        threads.close()
