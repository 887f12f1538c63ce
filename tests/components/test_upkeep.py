"""The channel and what it does in the background, and a collector, without a server: nobody stops or speaks for others."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Iterator, List, Optional, Sequence

import pytest
import sqlalchemy as sa
from rasa.core.tracker_store import InMemoryTrackerStore
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import (
    ActionExecuted,
    BotUttered,
    Event,
    SessionStarted,
    UserUttered,
)
from rasa.shared.core.trackers import DialogueStateTracker

from rasa_hybrid.components import activity, collector
from rasa_hybrid.components.channel import FeedbackChannel
from rasa_hybrid.components.channel_configuration import check_channel
from rasa_hybrid.components.channel_requests import RefusedError
from rasa_hybrid.components.channel_store import StoreThreads
from rasa_hybrid.components.channel_upkeep import Upkeep
from rasa_hybrid.components.collector import Collector
from rasa_hybrid.components.facts import domain_facts
from rasa_hybrid.feedback import assembly
from rasa_hybrid.feedback.records import Given, Outcome, StoredEpisode, episode_id
from rasa_hybrid.feedback.store import EpisodeStore

DOMAIN = Domain.from_yaml(
    """
version: "3.1"
intents: [greet, rate, pay]
entities: [stars, points]
responses:
  utter_greet: [{text: hello}]
"""
)
CHANNEL = {"intents": {"rate": {"rating": "stars"}, "pay": {"reward": "points"}}}


def conversation(*said: str, begun: float = 100.0, **told: Any) -> List[Event]:
    """A session in which a user says something, and in the end tells an entity (`stars=4`), a turn a second."""
    events: List[Event] = [
        ActionExecuted("action_session_start", timestamp=begun),
        SessionStarted(timestamp=begun),
        ActionExecuted("action_listen", timestamp=begun),
    ]
    intents = {"stars": "rate", "points": "pay"}
    turns = [(text, "greet", []) for text in said] + [
        (f"/{intents[name]}", intents[name], [{"entity": name, "value": value}])
        for name, value in told.items()
    ]
    for i, (text, intent, entities) in enumerate(turns):
        at = begun + 1 + i
        parsed = {"intent": {"name": intent}, "entities": entities, "text": text}
        events += [
            UserUttered(text, {"name": intent, "confidence": 1.0}, entities, parsed, timestamp=at),
            ActionExecuted("utter_greet", timestamp=at),
            BotUttered("hello", timestamp=at),
            ActionExecuted("action_listen", timestamp=at),
        ]
    return events


class Server:
    """The upkeep of a server, and the conversations in its tracker store."""

    def __init__(self, url: str, **channel: Any) -> None:
        self.threads = StoreThreads(url)
        self.store = self.threads.open()
        self.upkeep = Upkeep(check_channel({"store": url, **CHANNEL, **channel}), self.threads)
        trackers = InMemoryTrackerStore(DOMAIN)
        self.agent = SimpleNamespace(tracker_store=trackers, domain=DOMAIN)

    async def talk(self, sender: str, events: Sequence[Event]) -> None:
        """Has a conversation on any channel."""
        tracker = DialogueStateTracker.from_events(sender, list(events), DOMAIN.slots)
        await self.agent.tracker_store.save(tracker)
        activity.note(sender, activity.session_begun(events) or 0.0)

    async def sweep(self) -> int:
        return await self.upkeep.sweep(self.agent)

    def episode(self, sender: str) -> Optional[StoredEpisode]:
        return next((e for e in self.store.episodes() if e.sender == sender), None)


def asking(channel: FeedbackChannel, server: Server, handler: str = "_give") -> Callable[..., Any]:
    """Asks a channel, without a server in between."""
    app = SimpleNamespace(config={}, ctx=SimpleNamespace(agent=server.agent))

    async def said(message: Any) -> None:
        return None

    async def ask(**body: Any) -> Any:
        request = SimpleNamespace(body=json.dumps(body).encode(), headers={}, app=app)
        before = (said,) if handler == "_chat" else ()
        return json.loads((await getattr(channel, handler)(*before, request)).body)

    return ask


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("rasa_hybrid.components.loading.served_runtime", lambda: None)
    activity.drain()
    server = Server(f"sqlite:///{tmp_path / 'feedback.db'}", retention={"text": "hash", "days": 0})
    yield server
    server.threads.close()


async def test_whatever_a_user_sends_is_stored_or_is_no_outcome(server: Server) -> None:
    await server.talk("half", conversation("half \ud800 of a pair", stars=4))
    await server.talk("huge", conversation("hi", stars=10**400))
    assert await server.sweep() == 2
    half = server.episode("half")
    assert half is not None and half.recorded is not None and half.outcome == Outcome(rating=4)
    user = half.recorded.dialogue.turns[0].user
    assert user is not None and user.text == "half \ud800 of a pair"


async def test_rewards_out_of_range_are_no_outcome_on_any_channel(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    for points in (20, 20.5, -21, 1e39):
        await server.talk(f"{points} points", conversation("hi", points=points))
    for _ in range(2):
        await server.sweep()
    outcomes = {e.sender: e.outcome for e in server.store.episodes() if e.outcome is not None}
    assert outcomes == {"20 points": Outcome(reward=20)}
    told = [r for r in caplog.records if "is not from -20 to 20" in r.getMessage()]
    assert len(told) == 1


async def test_feedback_is_about_the_session_that_began_on_another_channel(
    server: Server, tmp_path: Path
) -> None:
    channel = FeedbackChannel(check_channel({"store": f"sqlite:///{tmp_path / 'feedback.db'}"}))
    channel._store = server.threads
    old, token = server.store.begin("anna", 100.0), server.store.token("anna")
    await server.talk("anna", conversation("hi", begun=200.0))
    rate = asking(channel, server)
    assert (await rate(sender="anna", token=token, success=True, episode=old))["episode"] == old
    given = await rate(sender="anna", token=token, success=True)
    assert given["episode"] == episode_id("anna", 200.0)


async def test_messages_do_not_count_as_feedback(server: Server, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'feedback.db'}"
    channel = FeedbackChannel(check_channel({"store": url, "requests_per_minute": 2}))
    channel._store = server.threads
    server.store.begin("anna", 100.0)
    chat, rate = asking(channel, server, "_chat"), asking(channel, server)
    for _ in range(2):
        await chat(sender="anna", message="spam")
    with pytest.raises(RefusedError, match="At most 2 requests a minute"):
        await chat(sender="anna", message="spam")
    given = await rate(sender="anna", token=server.store.token("anna"), success=True)
    assert given["status"] == "accepted"


async def test_a_second_rating_is_about_all_that_was_said_until_then(server: Server) -> None:
    events = conversation("one", "two", "three")
    await server.talk("anna", events[:7])
    id = server.store.begin("anna", 100.0)
    server.store.give("anna", Outcome(success=False), now=101.5)
    await server.sweep()
    await server.talk("anna", events)
    server.store.give("anna", Outcome(success=True), now=103.5)
    await server.sweep()
    episode = server.store.episode(id)
    assert episode.recorded is not None and len(episode.recorded.dialogue.turns) == 3
    assert (episode.status, episode.outcome) == ("new", Outcome(success=True))


async def test_a_conversation_that_can_not_be_stored_stops_no_other(
    server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.talk("nobody \ud800", conversation("hi", stars=1))
    silent = server.store.begin("silent", 50.0)
    broken = server.store.begin("broken", 100.0)
    server.store.give("broken", Outcome(success=True), now=110.0)
    await server.talk("broken", conversation("hi"))
    await server.talk("silent", conversation("hi", begun=50.0))
    await server.talk("anna", conversation("hi", stars=5))
    stored = assembly.keep

    def full(store: EpisodeStore, id: str, *arguments: Any, **more: Any) -> bool:
        if id == broken:
            raise sa.exc.DataError("UPDATE", {}, Exception("too long"))
        return stored(store, id, *arguments, **more)

    monkeypatch.setattr(assembly, "keep", full)
    for _ in range(3):
        await server.sweep()
    # Each is told of once and not tried in every sweep; it is not given up either.
    failed = [r.getMessage() for r in caplog.records if "could not be stored" in r.getMessage()]
    assert len(failed) == 2
    assert [server.store.episode(id).status for id in (silent, broken)] == ["unrated", "open"]
    anna = server.episode("anna")
    assert anna is not None and anna.status == "new"
    monkeypatch.undo()
    monkeypatch.setattr("rasa_hybrid.components.loading.served_runtime", lambda: None)
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + 3601)
    monkeypatch.setattr("rasa_hybrid.components.episodes.time", clock)
    await server.sweep()
    assert server.store.episode(broken).status == "new"


async def test_a_store_that_does_not_answer_ends_the_sweep_and_nothing_is_forgotten(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.talk("anna", conversation("hi", stars=5))

    def down(*_: Any) -> None:
        raise sa.exc.OperationalError("BEGIN", {}, Exception("no connection"))

    with monkeypatch.context() as patched:
        patched.setattr(EpisodeStore, "begin", down)
        with pytest.raises(sa.exc.OperationalError):
            await server.sweep()
    assert await server.sweep() == 1


def test_broken_events_of_a_broker_stop_no_other_conversation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    facts = domain_facts(DOMAIN)
    encoder = SimpleNamespace(settings=SimpleNamespace(pipeline=True))
    extra = {"facts": facts.to_dict(), "goal_slots": (), "dontcare_value": "dontcare"}
    monkeypatch.setattr(collector, "load_archive", lambda _: (encoder, {}, extra))
    monkeypatch.setattr(collector, "_domain", lambda _: DOMAIN)
    broken = [
        {"sender_id": "x", "event": "user", "timestamp": None},
        {"sender_id": "x", "event": "user", "timestamp": "noon"},
        {"sender_id": "half \ud800", "event": "user", "text": "hi", "timestamp": 1.0},
        {"sender_id": "x" * 256, "event": "user", "text": "hi", "timestamp": 1.0},
        {"sender_id": "nameless", "event": "action", "timestamp": 1.0},
        {"sender_id": "half", "event": "user", "text": "\ud800", "timestamp": 1.0},
    ]
    good = [{**e.as_dict(), "sender_id": "good"} for e in conversation("hi", stars=4)]
    file = tmp_path / "events.jsonl"
    file.write_text("".join(json.dumps(event) + "\n" for event in broken + good))
    store = EpisodeStore(f"sqlite:///{tmp_path / 'feedback.db'}")
    collecting = Collector(store, "model", str(file), check_channel(CHANNEL))
    for _ in range(2):
        collecting.step()
    [episode] = (e for e in store.episodes() if e.sender == "good")
    assert (episode.status, episode.outcome) == ("new", Outcome(rating=4))
    told = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert sum("is no event of a conversation" in line for line in told) == 6
    store.close()


def test_it_is_known_when_feedback_is_committed_and_nobody_waits_longer_than_allowed(
    tmp_path: Path,
) -> None:
    threads = StoreThreads(f"sqlite:///{tmp_path / 'feedback.db'}")
    store = threads.open()
    store.begin("anna", 1.0)
    given = Given(sender="anna", outcome=Outcome(success=True))

    async def give() -> None:
        await threads.settled(10.0)  # nothing waits
        with store.writing():  # others write: the commit has to wait
            commit = asyncio.ensure_future(threads.commit(given))
            await asyncio.sleep(0)
            await threads.settled(0.01)
            assert not commit.done()
        await threads.settled(10.0)
        await asyncio.sleep(0)  # what waited for the answer goes on
        assert commit.result().status == "accepted"

    asyncio.run(give())
    threads.close()
