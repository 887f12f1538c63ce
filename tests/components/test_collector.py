"""Episodes from an event broker are those that the tracker store gives."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest
import yaml
from click.testing import CliRunner

from rasa_hybrid.commands import main
from rasa_hybrid.components.channel_configuration import check_channel
from rasa_hybrid.components.collector import Collector
from rasa_hybrid.components.episodes import Signals, assemble, sessions
from rasa_hybrid.components.loading import served_runtime
from rasa_hybrid.feedback.collected import CollectedEvents
from rasa_hybrid.feedback.records import Outcome
from rasa_hybrid.feedback.store import EpisodeStore
from tests.components import projects
from tests.components.running import Conversation

Collecting = Callable[..., Collector]


@pytest.fixture
def collecting(archive: Path, tmp_path: Path) -> Iterator[Collecting]:
    """Makes a collector of the file `events.jsonl`, given settings of the channel."""
    store = EpisodeStore(f"sqlite:///{tmp_path / 'feedback.db'}")
    (tmp_path / "events.jsonl").touch()
    yield lambda **channel: Collector(
        store, str(archive), str(tmp_path / "events.jsonl"), check_channel(channel)
    )
    store.close()


def _publish(folder: Path, *lines: Any) -> None:
    """Appends lines to the broker's file: bytes as they are, else JSON."""
    with (folder / "events.jsonl").open("ab") as file:
        for line in lines:
            file.write((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n")


def _said(sender: str, at: float, text: str, **parse_data: Any) -> List[Any]:
    """A user's words and the bot's answer."""
    parse_data = {"intent": {"name": "greet"}, "entities": [], **parse_data}
    events = [
        {"event": "user", "text": text, "parse_data": parse_data},
        {"event": "action", "name": "utter_greet"},
        {"event": "action", "name": "action_listen"},
    ]
    return [{"sender_id": sender, "timestamp": at, **event} for event in events]


def _conversation(sender: str, at: float, text: str, **parse_data: Any) -> List[Any]:
    """A session in which a user says something."""
    begin = {"sender_id": sender, "timestamp": at, "event": "session_started"}
    return [begin, *_said(sender, at + 1, text, **parse_data)]


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


@pytest.mark.parametrize(
    "line",
    [
        {"event": "nonsense", "timestamp": 1.0},
        {"event": "user", "text": "hi", "timestamp": None},
        {"event": "user", "text": "hi", "timestamp": "yesterday"},
        {"event": "user", "text": "hi", "timestamp": float("nan")},
        {"event": "user", "text": "hi", "timestamp": 10**400},
        {"event": "user", "timestamp": 1.0},
        {"event": "action", "timestamp": 1.0},
        {"event": "session_started", "timestamp": 1.0, "sender_id": "\ud800"},
        {"event": "session_started", "timestamp": 1.0, "sender_id": "an\x00na"},
        {"event": "session_started", "timestamp": 1.0, "sender_id": "x" * 256},
        b"[" * 100_000,
        b"\xff\xfe\xfd",
        b"null",
    ],
    ids=lambda line: str(line)[:40].encode("ascii", "replace").decode().replace("\x00", "?"),
)
def test_an_odd_line_of_the_broker_is_told_of_once_and_left_out(
    line: Any, collecting: Collecting, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd = line if isinstance(line, bytes) else {"sender_id": "odd", **line}
    _publish(tmp_path, odd, *_conversation("good", 1000.0, "thai food"), odd)
    collector = collecting()
    assert collector.step() == 1
    assert collector.step() == 0
    [episode] = [e for e in collector.store.episodes() if e.recorded]
    assert episode.sender == "good"
    warnings = [r.getMessage() for r in caplog.records if "left out" in r.getMessage()]
    assert len(warnings) == 2 and "at 0 is no event of a conversation" in warnings[0]


@pytest.mark.parametrize(
    "text, parse_data",
    [
        ("half of a pair: \ud800", {}),
        (
            "/rate",
            {"intent": {"name": "rate"}, "entities": [{"entity": "stars", "value": 10**400}]},
        ),
        ("/rate", {"intent": {"name": "rate"}, "entities": "none"}),
    ],
)
def test_an_odd_conversation_does_not_keep_others_from_being_stored(
    text: str, parse_data: Any, collecting: Collecting, tmp_path: Path
) -> None:
    now = time.time()
    _publish(tmp_path, *_conversation("odd", now - 9000, text, **parse_data))
    _publish(tmp_path, *_conversation("with umlauts: \u00e4\u00f6\u00fc", now - 9000, "thai food"))
    collector = collecting(intents={"rate": {"rating": "stars"}})
    for _ in range(2):
        collector.step()
    stored = [e.sender for e in collector.store.episodes() if e.recorded]
    assert "with umlauts: \u00e4\u00f6\u00fc" in stored
    assert CollectedEvents(collector.store).senders() == []


def test_a_conversation_that_can_not_be_read_is_told_of_once(
    collecting: Collecting,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = time.time()
    _publish(tmp_path, *_conversation("anna", now, "thai food"))
    collector = collecting()
    with monkeypatch.context() as patch:

        def fail(*_: Any) -> None:
            raise OverflowError

        patch.setattr("rasa_hybrid.components.collector.assemble", fail)
        for _ in range(3):
            assert collector.step() == 0
    assert sum("'anna' can't be read" in r.getMessage() for r in caplog.records) == 1
    again = {"sender_id": "anna", "timestamp": now + 2, "event": "restart"}
    _publish(tmp_path, again)
    assert collector.step() == 1  # with more events it is tried again


def test_the_collector_keeps_personal_text_no_longer_than_allowed(
    collecting: Collecting, tmp_path: Path
) -> None:
    _publish(tmp_path, *_conversation("anna", time.time() - 90_000, "my name is anna"))
    collector = collecting(retention={"text": "drop", "days": 1})
    collector.step()
    [episode] = collector.store.episodes()
    assert episode.redacted and episode.sender != "anna"
    assert "anna" not in str(episode.recorded)


def test_feedback_whose_conversation_the_broker_never_had_is_given_up(
    collecting: Collecting,
) -> None:
    collector = collecting()
    now = time.time()
    collector.store.begin("anna", now - 200_000)
    collector.store.give("anna", Outcome(success=True), now=now - 100_000)
    collector.step()
    assert [e.status for e in collector.store.episodes()] == ["lost"]


def test_a_conversation_is_rated_as_long_as_its_session_in_rasa_lasts(
    collecting: Collecting, tmp_path: Path
) -> None:
    now = time.time()
    collector = collecting(reward_wait_time=1800, intents={"affirm": {"success": True}})
    _publish(tmp_path, *_conversation("anna", now - 3500, "thai food"))
    collector.step()
    [silent] = collector.store.episodes()
    assert silent.status == "unrated"
    _publish(tmp_path, *_said("anna", now - 100, "/affirm", intent={"name": "affirm"}))
    collector.step()
    [rated] = collector.store.episodes()
    assert (rated.id, rated.status, rated.outcome) == (silent.id, "new", Outcome(success=True))
    said = [turn.user.text for turn in rated.recorded.dialogue.turns if turn.user]
    assert said == ["thai food"]


@pytest.mark.parametrize(
    "minutes, waiting, kept", [(60, 1800, 4200), (10, 1800, 2400), (0, 60, 87_000)]
)
def test_events_are_kept_until_rasa_would_begin_a_new_session(
    minutes: float,
    waiting: float,
    kept: float,
    collecting: Collecting,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from rasa.shared.core.domain import Domain

    session = f"session_config: {{session_expiration_time: {minutes}}}"
    domain = Domain.from_yaml(f'version: "3.1"\n{session}')
    monkeypatch.setattr("rasa_hybrid.components.collector._domain", lambda model: domain)
    assert collecting(reward_wait_time=waiting).patience == kept


def test_of_a_user_who_comes_back_the_events_of_earlier_sessions_are_dropped(
    collecting: Collecting, tmp_path: Path
) -> None:
    now = time.time()
    for begun in (30_000, 10_000, 3000):
        _publish(tmp_path, *_conversation("anna", now - begun, f"thai food {begun}"))
    collector = collecting()
    collector.step()
    kept = [event.get("text") for event in collector.collected.of("anna")]
    assert [text for text in kept if text] == ["thai food 3000"]
    before = [(e.id, e.recorded) for e in collector.store.episodes()]
    collector.step()
    assert [(e.id, e.recorded) for e in collector.store.episodes()] == before
    assert len(before) == 3


def test_the_password_of_a_broker_is_not_kept(
    archive: Path, collecting: Collecting, tmp_path: Path
) -> None:
    store = collecting().store
    broker = "postgresql://bot:hunter2@db/events"
    [first, *rest] = _conversation("anna", 1000.0, "hello")
    # As an earlier version left it.
    CollectedEvents(store).add(broker, [(7, first)])
    collector = Collector(store, str(archive), broker, check_channel({}))
    assert collector.collected.up_to(collector.source) == 7
    collector.collected.add(collector.source, enumerate(rest, start=8))
    assert len(collector.collected.of("anna")) == 4
    with store.reading() as connection:
        kept = [
            connection.exec_driver_sql(f"SELECT * FROM {table}").all()
            for table in ("hybrid_facts", "hybrid_events")
        ]
    assert "hunter2" not in str(kept) and "bot:***@db" in str(kept)
    again = Collector(store, str(archive), broker, check_channel({}))
    assert again.collected.up_to(again.source) == 10


def test_a_broker_whose_url_can_not_be_read_is_told_of(archive: Path, tmp_path: Path) -> None:
    command = ["collect", "--store", f"sqlite:///{tmp_path / 'f.db'}", "--model", str(archive)]
    done = CliRunner().invoke(main, [*command, "--broker", "://nothing", "--once"])
    assert done.exit_code == 1
    assert "--broker: SQLAlchemy can't read this URL" in done.output
