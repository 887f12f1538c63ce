"""Everything real at once: two workers with Redis and PostgreSQL, REST beside our channel, a learner, killed processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, List, Sequence

import pytest
import sqlalchemy as sa

from rasa_hybrid.feedback.ledger import Ledger
from rasa_hybrid.feedback.store import EpisodeStore
from tests.components.bot_server import BotServer, bot_server, eventually
from tests.own_database import own_database

#: At the same time.
CONVERSATIONS = int(os.environ.get("FEEDBACK_CONVERSATIONS", "64"))
TEXTS = ("hello", "thai food on friday", "something else please")


@pytest.mark.process
@pytest.mark.slow
def test_two_workers_serve_conversations_with_feedback_and_a_learner_learns_from_them(
    archive: Path, actions_url: str, tmp_path: Path, postgres_url: str, redis_url: str
) -> None:
    with own_database(postgres_url) as url:
        parts = sa.engine.make_url(url)
        redis = sa.engine.make_url(redis_url)
        endpoints: Dict[str, Any] = {
            "tracker_store": {
                "type": "SQL",
                "dialect": "postgresql",
                "url": parts.host,
                "port": parts.port,
                "username": parts.username,
                "db": parts.database,
            },
            "lock_store": {"type": "redis", "url": redis.host, "port": redis.port, "db": 0},
        }
        channel = {
            "store": url,
            "sweep_seconds": 0.5,
            "exploration": {"mode": "softmax", "temperature": 1.5},
        }
        store = EpisodeStore(url)
        workers = {"SANIC_WORKERS": "2"}
        server_arguments: List[Any] = [archive, tmp_path, actions_url, channel, (), endpoints]
        with bot_server(*server_arguments, environment=workers) as server:
            # All talk at once; the first half says how it was, the others are interrupted.
            half = CONVERSATIONS // 2
            with ThreadPoolExecutor(CONVERSATIONS) as users:
                list(
                    users.map(
                        lambda i: say(server, i, TEXTS[: None if i < half else 1]),
                        range(CONVERSATIONS),
                    )
                )
                given = list(users.map(lambda i: rate(server, store, i), range(half)))
            server.process.send_signal(signal.SIGKILL)
            _kill_children(tmp_path)
        with bot_server(*server_arguments, environment=workers) as server:
            with ThreadPoolExecutor(CONVERSATIONS) as users:
                list(users.map(lambda i: say(server, i, TEXTS[1:]), range(half, CONVERSATIONS)))
                given += users.map(lambda i: rate(server, store, i), range(half, CONVERSATIONS))
            # Whoever of the workers answers, the conversation and its feedback are known to both.
            for i in range(4):
                headers = {"X-Conversation-Token": store.token(f"user-{i}")}
                found = server.ask("GET", f"/webhooks/hybrid/feedback/f-{i}", headers=headers)
                assert found.body["status"] == "accepted"
            eventually(lambda: store.counts()["new"] == CONVERSATIONS, 120)
        assert sorted(given) == sorted(f"f-{i}" for i in range(CONVERSATIONS))
        assert all(store.receipt(id).status == "accepted" for id in given)
        episodes = list(store.episodes("new"))
        assert all(e.recorded and len(e.recorded.dialogue.turns) == len(TEXTS) for e in episodes)
        command = [
            *(sys.executable, "-m", "rasa_hybrid.commands", "learn", "--model", str(archive)),
            *("--store", url, "--out", str(tmp_path / "models"), "--no-gate", "--least", "4"),
            "--once",
        ]
        environment = {**os.environ, "PYTHONPATH": os.getcwd()}
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        assert store.counts()["promoted"] == CONVERSATIONS
        head = Ledger(store).head()
        assert head is not None and head.figures["method"] == "reinforce"
        store.close()


def say(server: BotServer, i: int, texts: Sequence[str]) -> None:
    """One user talks, over REST or over our channel."""
    sender = f"user-{i}"
    for text in texts:
        if i % 2:
            body = {"sender": sender, "message": text}
            answer = server.ask("POST", "/webhooks/rest/webhook", body)
        else:
            answer = server.say(sender, text)
        assert answer.status == 200 and answer.body, answer


def rate(server: BotServer, store: EpisodeStore, i: int) -> str:
    """One user says how it was; the id of the feedback."""
    sender = f"user-{i}"
    given = server.rate(sender, store.token(sender), success=i % 3 > 0, feedback_id=f"f-{i}")
    assert given.status == 201, given
    return given.body["feedback_id"]


def _kill_children(folder: Path) -> None:
    """Ends the workers of a killed server: those that were started in its folder."""
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and os.readlink(process / "cwd") == str(folder):
                os.kill(int(process.name), signal.SIGKILL)
        except (OSError, ValueError):
            continue
