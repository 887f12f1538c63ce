"""Episodes from an event broker are those that the tracker store gives."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, List

import pytest
import yaml
from click.testing import CliRunner

from rasa_hybrid.commands import main
from rasa_hybrid.components.episodes import Signals, assemble, sessions
from rasa_hybrid.components.loading import served_runtime
from rasa_hybrid.feedback.records import Outcome
from rasa_hybrid.feedback.store import EpisodeStore
from tests.components import projects
from tests.components.running import Conversation


@pytest.mark.parametrize("kind", ["sql", "file"])
def test_broker_gives_the_episodes_of_the_tracker_store(
    kind: str, archive: Path, actions_url: str, tmp_path: Path
) -> None:
    from rasa.core.brokers.file import FileEventBroker
    from rasa.core.brokers.sql import SQLEventBroker

    path = tmp_path / f"broker.{kind}"
    broker: Any = (
        SQLEventBroker(dialect="sqlite", db=str(path))
        if kind == "sql"
        else FileEventBroker(str(path))
    )
    agent = projects.load_agent(str(archive), actions_url)
    agent.processor.tracker_store.event_broker = broker
    user = Conversation(agent, "anna")
    for text in ("thai food on friday", "something else please", "/affirm"):
        user.say(text)
    for event in user.tracker.events:
        broker.publish({"sender_id": "anna", **json.loads(json.dumps(event.as_dict()))})
    (tmp_path / "credentials.yml").write_text(
        yaml.safe_dump({"rasa_hybrid.FeedbackChannel": {"intents": {"affirm": {"success": True}}}})
    )
    url = f"sqlite:///{tmp_path / 'collected.db'}"
    address = f"sqlite:///{path}" if kind == "sql" else str(path)
    command = ["collect", "--store", url, "--model", str(archive), "--broker", address, "--once"]
    command += ["--credentials", str(tmp_path / "credentials.yml")]
    for _ in range(2):  # reading again changes nothing
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 0, done.output
    collected = EpisodeStore(url)
    [episode] = collected.episodes()
    assert (episode.status, episode.outcome) == ("new", Outcome(success=True))
    direct = EpisodeStore(f"sqlite:///{tmp_path / 'direct.db'}")
    runtime = served_runtime()
    assert runtime is not None
    signals = Signals({"affirm": {"success": True}})
    events = list(user.tracker.events)
    assemble(direct, "anna", events, runtime.reader, agent.domain, signals)
    [expected] = direct.episodes()
    assert (episode.id, episode.recorded) == (expected.id, expected.recorded)
    collected.close()
    direct.close()


def test_every_session_and_restart_of_a_conversation_is_an_episode_of_its_own(
    archive: Path, actions_url: str, tmp_path: Path
) -> None:
    from rasa.core.tracker_store import SQLTrackerStore

    agent = projects.load_agent(str(archive), actions_url)
    # The one in memory keeps the last session only.
    agent.tracker_store = SQLTrackerStore(
        agent.domain, dialect="sqlite", db=str(tmp_path / "trackers.db")
    )
    agent.processor.tracker_store = agent.tracker_store
    user = Conversation(agent, "bert")
    said: List[str] = ["thai food on friday", "/session_start", "hello", "/restart", "italian food"]
    for text in said:
        user.say(text)
    events = list(user.tracker.events)
    spoken = [s for s in sessions("bert", events) if any(e.type_name == "user" for e in s.events)]
    store = EpisodeStore(f"sqlite:///{tmp_path / 'feedback.db'}")
    runtime = served_runtime()
    assert runtime is not None
    assemble(store, "bert", events, runtime.reader, agent.domain, Signals(), time.time() + 1)
    texts = [
        [turn.user.text for turn in e.recorded.dialogue.turns if turn.user and turn.user.text]
        for e in sorted(store.episodes(), key=lambda e: e.begun)
        if e.recorded
    ]
    assert len(spoken) == len(texts)
    assert [t for t in texts if t] == [["thai food on friday"], ["hello"], ["italian food"]]
    store.close()


def test_unreadable_broker_says_so(archive: Path, tmp_path: Path) -> None:
    command = ["collect", "--store", f"sqlite:///{tmp_path / 'f.db'}", "--model", str(archive)]
    done = CliRunner().invoke(main, [*command, "--broker", str(tmp_path / "none"), "--once"])
    assert done.exit_code == 1
    assert "can't be read: No such file" in done.output
