"""A server that learns by itself: the same learner, in a process that lives and dies with the server."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, List

import pytest
from rasa.shared.exceptions import InvalidConfigException

from rasa_hybrid import FeedbackChannel
from rasa_hybrid.commands.feedback import learn
from rasa_hybrid.components import embedded_learner
from rasa_hybrid.components.channel_configuration import DEFAULTS
from rasa_hybrid.components.embedded_learner import EmbeddedLearner
from rasa_hybrid.corpora import write_jsonl
from rasa_hybrid.dialogue import Dialogue, SystemAction, Turn, Utterance
from rasa_hybrid.feedback import archive as archives
from rasa_hybrid.feedback.folder import ModelFolder
from rasa_hybrid.feedback.learner import roll_back
from rasa_hybrid.feedback.ledger import Ledger
from rasa_hybrid.feedback.store import EpisodeStore
from tests.components.bot_server import BotServer, bot_server, eventually


def learners(folder: Path) -> List[int]:
    """Processes of learners that run in a folder."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            command = (process / "cmdline").read_bytes()
            if b"--leash" in command and os.readlink(process / "cwd") == str(folder):
                found.append(int(process.name))
        except (OSError, ValueError):
            continue
    return found


def regression(folder: Path) -> str:
    """A regression set of one dialogue."""
    turn = Turn(
        user=Utterance("thai food on friday"),
        goal={"cuisine": "thai", "date": "friday"},
        actions=(SystemAction("utter_offer"),),
    )
    path = folder / "kept.jsonl"
    write_jsonl(path, [Dialogue("kept", (turn,))])
    return str(path)


class Users:
    """Talk to a server, a few at a time, and say how it was; every answer has to be 200 or 201."""

    def __init__(self, store: EpisodeStore) -> None:
        self.store = store
        self.given: List[str] = []
        self.slowest = 0.0

    def converse(self, server: BotServer) -> None:
        sender = f"user-{len(self.given)}"
        for text in ("thai food on friday", "something else please"):
            answer = self.timed(lambda text=text: server.say(sender, text))
            assert answer.status == 200 and answer.body, answer
        success = len(self.given) % 2 == 0
        token = self.store.token(sender)
        given = self.timed(
            lambda: server.rate(sender, token, success=success, feedback_id=f"f-{sender}")
        )
        assert given.status == 201, given
        self.given.append(given.body["feedback_id"])
        time.sleep(0.3)  # the learner needs the processor too

    def timed(self, ask: Callable[[], Any]) -> Any:
        begun = time.monotonic()
        answer = ask()
        self.slowest = max(self.slowest, time.monotonic() - begun)
        return answer


@pytest.fixture
def channel(tmp_path: Path) -> Dict[str, Any]:
    return {
        "store": f"sqlite:///{tmp_path / 'feedback.db'}",
        "sweep_seconds": 0.3,
        "exploration": {"mode": "softmax", "temperature": 1.5},
        "learner": "embedded",
        "learning": {
            "out": str(tmp_path / "models"),
            "regression": [regression(tmp_path)],
            # The set of one dialogue is there to be measured by, not to reject anything.
            "margin": 1.0,
            "least": 4,
            "most": 200,
            "interval": 0.3,
        },
    }


@pytest.mark.process
@pytest.mark.slow
def test_a_server_learns_while_it_talks_and_dies_with_its_learner_without_losing_anything(
    archive: Path, actions_url: str, tmp_path: Path, channel: Dict[str, Any]
) -> None:
    store = EpisodeStore(channel["store"])
    users, base = Users(store), archives.read_id(archive)

    def served(server: BotServer) -> str:
        return server.ask("GET", "/webhooks/hybrid/health").body["model_id"]

    def slots(server: BotServer, sender: str) -> Dict[str, Any]:
        return server.ask("GET", f"/conversations/{sender}/tracker").body["slots"]

    options = ("--enable-api",)
    with bot_server(archive, tmp_path, actions_url, channel, options) as server:
        assert served(server) == base
        assert server.say("anna", "thai food").status == 200
        eventually(lambda: len(learners(tmp_path)) == 1)
        # Users go on talking while the learner works and its model is swapped in.
        end = time.monotonic() + 120
        while served(server) == base:
            assert time.monotonic() < end, (tmp_path / "log.txt").read_text()
            users.converse(server)
        assert server.say("anna", "on friday").status == 200
        assert {**slots(server, "anna"), "cuisine": "thai", "date": "friday"} == slots(
            server, "anna"
        )
        first = Ledger(store).model(served(server))
        assert first is not None and first.status == "promoted"
        assert first.figures["regression"]
        # Dies in the middle of an update: the learner goes too, what was told stays.
        while store.counts()["claimed"] == 0:
            assert time.monotonic() < end
            users.converse(server)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        eventually(lambda: not learners(tmp_path), 10)
    assert {store.receipt(id).status for id in users.given} <= {"accepted", "used"}
    head = Ledger(store).head()
    assert head is not None
    with bot_server(archive, tmp_path, actions_url, channel, options) as server:
        # The archive that the server is started with is an ancestor of the head.
        eventually(lambda: served(server) != base)
        eventually(
            lambda: sum(store.counts()[s] for s in ("open", "new", "claimed", "used")) < 4, 120
        )
        eventually(lambda: served(server) == Ledger(store).head().id)  # type: ignore[union-attr]
        folder = ModelFolder(channel["learning"]["out"])
        learnt = archives.read_manifest(folder.archive(served(server))).learnt
        assert len(learnt) == len(set(learnt)) == store.counts()["promoted"]
        assert len(users.given) - len(learnt) < 4
        # A rollback is swapped in too.
        _, now = roll_back(store, channel["learning"]["out"])
        eventually(lambda: served(server) == now.id)
        assert slots(server, "anna")["cuisine"] == "thai"
    eventually(lambda: not learners(tmp_path), 10)
    # Learning took the processor, but never the event loop.
    assert users.slowest < 10, users.slowest
    store.close()


def test_options_are_those_of_the_command(tmp_path: Path) -> None:
    given = {
        **DEFAULTS["learning"],
        "corpus": [regression(tmp_path)],
        "regression": [regression(tmp_path), regression(tmp_path)],
        "project": str(tmp_path),
        "least": 7,
        "learning_rate": 0.01,
    }
    embedded = EmbeddedLearner("sqlite:///x.db", given)
    context = learn.make_context("learn", [*embedded._options(), "--store", "sqlite:///x.db"])
    for name, value in given.items():
        if name != "gate":
            found = context.params[name]
            assert (list(found) if isinstance(found, tuple) else found) == value, name
    assert not context.params["no_gate"] and not context.params["once"]
    without = EmbeddedLearner("sqlite:///x.db", {**DEFAULTS["learning"], "gate": False})
    assert "--no-gate" in without._options()


async def test_beside_a_model_server_nothing_is_learnt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = EpisodeStore(f"sqlite:///{tmp_path / 'feedback.db'}")
    embedded = EmbeddedLearner(str(store.engine.url), {**DEFAULTS["learning"], "gate": False})
    agent = SimpleNamespace(is_ready=lambda: True, model_server="http://localhost:5010")
    await embedded.look_after(SimpleNamespace(ctx=SimpleNamespace(agent=agent)), store)
    assert "take one of them away" in caplog.text
    store.close()


def test_a_learner_that_ended_is_started_again_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {**DEFAULTS["learning"], "out": str(tmp_path), "gate": False}
    embedded = EmbeddedLearner(f"sqlite:///{tmp_path / 'feedback.db'}", settings)
    # There is no model yet, so it ends at once and says why.
    embedded._keep_running()
    first = embedded._process
    assert first is not None and first.wait(120) == 1
    embedded._keep_running()
    embedded._keep_running()
    assert embedded._process is None
    assert "has ended with status 1" in caplog.text
    monkeypatch.setattr(embedded_learner, "_PAUSE", 0.0)
    embedded._keep_running()
    assert embedded._process is not None and embedded._process.pid != first.pid
    embedded._end()


def test_several_workers_are_refused(
    channel: Dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANIC_WORKERS", "2")
    with pytest.raises(InvalidConfigException, match="one worker, SANIC_WORKERS is 2"):
        FeedbackChannel.from_credentials(channel)
    FeedbackChannel.from_credentials({**channel, "learner": None})


@pytest.mark.parametrize(
    "learner, learning, message",
    [
        ("inside", {}, "learner: 'inside' is not allowed; it has to be embedded or null"),
        ("embedded", {}, "learning: gate: True is not allowed"),
        ("embedded", {"gate": False, "project": "."}, "learning: gate: False is not allowed"),
        ("embedded", {"regression": ["gone.jsonl"]}, "there is no file gone.jsonl"),
        ("embedded", {"project": "gone"}, "there is no folder gone"),
        (None, {"regression": "kept.jsonl"}, "learning: regression"),
        (None, {"out": None}, "learning: out: None"),
        (None, {"project": 3}, "learning: project: 3"),
        (None, {"least": 0}, "learning: least: 0 is not allowed"),
        (None, {"dialogues": 9}, "at least 10"),
        (None, {"margin": 2}, "learning: margin: 2"),
        (None, {"learning_rate": 0}, "learning: learning_rate: 0"),
        (None, {"interval": 0}, "learning: interval: 0"),
        (None, {"speed": 1}, "learning: 'speed' is no setting"),
    ],
)
def test_a_wrong_setting_is_an_error_that_names_it(
    tmp_path: Path, learner: Any, learning: Dict[str, Any], message: str
) -> None:
    store = f"sqlite:///{tmp_path / 'feedback.db'}"
    with pytest.raises(InvalidConfigException, match=message):
        FeedbackChannel.from_credentials({"store": store, "learner": learner, "learning": learning})
