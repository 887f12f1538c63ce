"""The feedback channel of a running server: chat, feedback, who may, limits, assembly, deletion."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest
from rasa.shared.exceptions import InvalidConfigException

from rasa_hybrid.components.channel_configuration import check_channel
from rasa_hybrid.feedback.records import Outcome
from rasa_hybrid.feedback.store import EpisodeStore
from tests.components.bot_server import Answer, BotServer, bot_server, eventually

Running = Tuple[BotServer, EpisodeStore]


@pytest.fixture(scope="module")
def running(
    archive: Path, actions_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A server with short waiting times, and its store."""
    folder = tmp_path_factory.mktemp("channel")
    url = f"sqlite:///{folder / 'feedback.db'}"
    channel = {
        "store": url,
        "sweep_seconds": 0.2,
        "requests_per_minute": 30,
        "feedback_per_day": 5,
        "max_message": 100,
        "intents": {"affirm": {"success": True}},
    }
    with bot_server(archive, folder, actions_url, channel) as server:
        store = EpisodeStore(url)
        yield server, store
        store.close()


pytestmark = pytest.mark.process


def test_conversation_is_rated_and_becomes_an_episode_as_the_model_saw_it(running: Running) -> None:
    server, store = running
    first = server.say("anna", "thai food on friday")
    assert first.status == 200
    assert first.body[0]["text"] == "How about Bangkok on friday?"
    about = first.body[0]["feedback"]
    assert first.headers["X-Episode"] == about["episode"]
    token = first.headers["X-Conversation-Token"]
    assert about["token"] == token
    second = server.say("anna", "something else please")
    assert "X-Conversation-Token" not in second.headers
    assert second.headers["X-Episode"] == about["episode"]
    given = server.rate("anna", token, success=True, comment="fine", feedback_id="anna 1")
    assert (given.status, given.body["status"]) == (201, "accepted")
    assert given.body["episode"] == about["episode"]
    again = server.rate("anna", token, success=True, comment="fine", feedback_id="anna 1")
    assert again.status == 200
    assert again.body == given.body
    eventually(lambda: store.episode(about["episode"]).status == "new")
    episode = store.episode(about["episode"])
    assert episode.outcome == Outcome(success=True)
    assert episode.recorded is not None
    turns = episode.recorded.dialogue.turns
    assert [turn.user.text for turn in turns if turn.user] == [
        "thai food on friday",
        "something else please",
    ]
    assert [turn.goal for turn in turns] == [None, None]
    assert turns[0].summary.matches == 1
    step, listens = episode.recorded.steps[0]
    assert (step.decision.action, step.policy, step.greedy) == (
        "utter_offer",
        "hybrid",
        "utter_offer",
    )
    assert listens.decision.action == "action_listen"
    assert 0.5 < (step.decision.propensity or 0) <= 1 and not step.decision.sampled
    assert step.belief["cuisine"][0][0] == "thai"
    assert episode.recorded.model == server.ask("GET", "/webhooks/hybrid/health").body["model_id"]


def test_feedback_is_looked_up_and_withdrawn_by_its_giver_only(running: Running) -> None:
    server, _ = running
    token = server.say("bert", "hello").headers["X-Conversation-Token"]
    other = server.say("carl", "hello").headers["X-Conversation-Token"]
    server.rate("bert", token, rating=2, feedback_id="bert 1")
    path = "/webhooks/hybrid/feedback/bert%201"
    own = {"X-Conversation-Token": token}
    foreign = {"X-Conversation-Token": other}
    assert server.ask("GET", path, headers=own).body["rating"] == 2
    assert server.ask("GET", path).body["reason"] == "no_token"
    refused = server.ask("DELETE", path, headers=foreign)
    assert (refused.status, refused.body["reason"]) == (403, "foreign_token")
    assert server.ask("DELETE", path, headers=own).body["status"] == "withdrawn"
    assert server.ask("GET", path, headers=own).body["status"] == "withdrawn"
    unknown = server.ask("GET", "/webhooks/hybrid/feedback/nothing", headers=own)
    assert (unknown.status, unknown.body["reason"]) == (404, "unknown")


@pytest.mark.parametrize(
    "body, status, reason",
    [
        (b"{", 400, "malformed"),
        (b"[]", 400, "malformed"),
        ({"sender": "dora"}, 400, "malformed"),
        ({"sender": 5, "success": True}, 400, "malformed"),
        ({"sender": "dora", "success": 1}, 400, "malformed"),
        ({"sender": "dora", "rating": "5"}, 400, "malformed"),
        (b'{"sender": "dora", "token": "TOKEN", "reward": NaN}', 400, "malformed"),
        ({"sender": "dora", "success": True, "colour": "red"}, 400, "malformed"),
        ({"sender": "dora", "rating": 6}, 422, "out_of_range"),
        ({"sender": "dora", "reward": -21}, 422, "out_of_range"),
        ({"sender": "dora", "success": True, "comment": "x" * 2001}, 413, "too_large"),
        ({"sender": "dora", "success": True, "feedback_id": "x" * 129}, 413, "too_large"),
        (b" " * 20_001, 413, "too_large"),
        (b"[" * 19_999, 400, "malformed"),
        (b'{"sender": ' + b"[" * 30 + b"]" * 30 + b"}", 400, "malformed"),
        (b'{"sender": "\xff"}', 400, "malformed"),
        (b'{"sender": "dora", "token": "\\ud800", "success": true}', 400, "malformed"),
        (
            b'{"sender": "dora", "token": "TOKEN", "success": true, "comment": "\\ud800"}',
            400,
            "malformed",
        ),
        ({"sender": "dora", "reward": 10**400}, 422, "out_of_range"),
        ({"sender": "dora", "success": True, "episode": "none"}, 404, "unknown"),
    ],
)
def test_malformed_feedback_is_refused_with_a_reason(
    running: Running, body: Any, status: int, reason: str
) -> None:
    server, store = running
    token = store.token("dora")
    if not store.knows("dora"):
        assert server.say("dora", "hello").headers["X-Conversation-Token"] == token
    if isinstance(body, dict):
        body = {"token": token, **body}
    else:
        body = body.replace(b"TOKEN", token.encode())
    answer = server.ask("POST", "/webhooks/hybrid/feedback", body)
    assert (answer.status, answer.body["reason"]) == (status, reason)
    assert answer.body["message"]


def test_feedback_that_is_sent_again_with_other_contents_or_by_another_user_is_refused(
    running: Running,
) -> None:
    server, _ = running
    token = server.say("ines", "hello").headers["X-Conversation-Token"]
    other = server.say("jack", "hello").headers["X-Conversation-Token"]
    given = [
        server.rate("ines", token, rating=4, feedback_id="ines 1"),
        server.rate("ines", token, rating=4, feedback_id="ines 1"),
        server.rate("ines", token, rating=5, feedback_id="ines 1"),
        server.rate("jack", other, rating=4, feedback_id="ines 1"),
    ]
    assert [answer.status for answer in given] == [201, 200, 409, 409]
    path, own = "/webhooks/hybrid/feedback/ines%201", {"X-Conversation-Token": token}
    assert server.ask("GET", path, headers=own).body["rating"] == 4
    withdrawn = [server.ask("DELETE", path, headers=own) for _ in range(2)]
    assert [(a.status, a.body["status"]) for a in withdrawn] == [(200, "withdrawn")] * 2
    strange = server.ask("GET", path, headers={"X-Conversation-Token": "\xe9"})
    assert (strange.status, strange.body["reason"]) == (403, "foreign_token")


def test_while_the_store_is_locked_nothing_is_acknowledged_that_is_not_stored(
    running: Running,
) -> None:
    server, store = running
    token = server.say("kate", "hello").headers["X-Conversation-Token"]
    answers: List[Answer] = []
    rating = threading.Thread(
        target=lambda: answers.append(server.rate("kate", token, rating=3, feedback_id="kate 1"))
    )
    database = sqlite3.connect(store.engine.url.database, isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    rating.start()
    # What is known already can be talked about and read.
    assert server.say("kate", "thai food on friday").status == 200
    assert server.ask("GET", "/webhooks/hybrid/health").status == 200
    assert answers == []
    database.execute("ROLLBACK")
    database.close()
    rating.join()
    assert answers[0].status == 201
    assert store.receipt("kate 1").outcome == Outcome(rating=3)


def test_a_conversation_that_the_store_cannot_be_told_of_goes_on(running: Running) -> None:
    server, store = running
    database = sqlite3.connect(store.engine.url.database, isolation_level=None)
    database.execute(
        "CREATE TRIGGER full BEFORE INSERT ON hybrid_episodes BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    )
    untold = server.say("lea", "hello")
    assert untold.status == 200 and untold.body
    assert all("feedback" not in reply for reply in untold.body)
    assert "X-Conversation-Token" not in untold.headers
    database.execute("DROP TRIGGER full")
    database.close()
    told = server.say("lea", "thai food on friday")
    assert told.status == 200 and all(reply["feedback"]["episode"] for reply in told.body)
    assert server.rate("lea", told.headers["X-Conversation-Token"], success=True).status == 201


def test_feedback_of_somebody_else_about_nobody_or_without_proof_is_refused(
    running: Running,
) -> None:
    server, store = running
    token = server.say("emil", "hello").headers["X-Conversation-Token"]
    server.say("fred", "hello")
    answers = [
        server.rate("fred", token, success=False),
        server.rate("fred", None, success=False),
        server.rate("nobody", store.token("nobody"), success=True),
    ]
    assert [(a.status, a.body["reason"]) for a in answers] == [
        (403, "foreign_token"),
        (401, "no_token"),
        (404, "unknown"),
    ]


def test_too_many_requests_and_too_much_feedback_are_refused(running: Running) -> None:
    server, _ = running
    token = server.say("gina", "hello").headers["X-Conversation-Token"]
    given = [server.rate("gina", token, rating=3) for _ in range(6)]
    assert [answer.status for answer in given] == [201] * 5 + [429]
    assert given[-1].body["reason"] == "too_much_feedback"
    assert [server.rate("gina", token, rating=9).status for _ in range(24)] == [422] * 24
    limited = server.rate("gina", token, rating=3)
    assert (limited.status, limited.body["reason"]) == (429, "too_many")
    assert server.say("gina", "x" * 101).status == 413


def test_looking_feedback_up_and_withdrawing_it_is_limited_too(running: Running) -> None:
    server, _ = running
    token = server.say("gwen", "hello").headers["X-Conversation-Token"]
    assert server.rate("gwen", token, rating=3, feedback_id="gwen 1").status == 201
    path, own = "/webhooks/hybrid/feedback/gwen%201", {"X-Conversation-Token": token}
    assert [server.ask("GET", path, headers=own).status for _ in range(29)] == [200] * 29
    for method in ("GET", "DELETE"):
        limited = server.ask(method, path, headers=own)
        assert (limited.status, limited.body["reason"]) == (429, "too_many")


@pytest.mark.parametrize(
    "method, path", [("GET", "feedback/%00"), ("DELETE", "conversations/a%00")]
)
def test_null_characters_in_a_path_are_refused(running: Running, method: str, path: str) -> None:
    answer = running[0].ask(method, f"/webhooks/hybrid/{path}")
    assert (answer.status, answer.body["reason"]) == (400, "malformed")


@pytest.mark.parametrize("input_channel", [5, {"name": "web"}])
def test_the_name_of_a_channel_has_to_be_text(running: Running, input_channel: Any) -> None:
    message = {"sender": "nora", "message": "hello", "input_channel": input_channel}
    answer = running[0].ask("POST", "/webhooks/hybrid/webhook", message)
    assert (answer.status, answer.body["reason"]) == (400, "malformed")


def test_conversation_on_another_channel_is_rated_by_what_was_said_in_it(running: Running) -> None:
    server, store = running
    for text in ("thai food on friday", "/affirm"):
        server.ask("POST", "/webhooks/rest/webhook", {"sender": "hugo", "message": text})

    def stored() -> Any:
        return [e for e in store.episodes("new") if e.sender == "hugo"]

    eventually(stored)
    [episode] = stored()
    assert (episode.outcome, episode.source) == (Outcome(success=True), "event")
    said = [turn.user.text for turn in episode.recorded.dialogue.turns if turn.user]
    assert said == ["thai food on friday"]
    given = server.rate("hugo", store.token("hugo"), success=False)
    assert given.status == 201
    eventually(lambda: store.episode(episode.id).outcome == Outcome(success=False))


def test_buttons_slots_actions_and_silence_tell_the_outcome_on_any_channel(
    archive: Path, actions_url: str, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'feedback.db'}"
    channel = {
        "store": url,
        "sweep_seconds": 0.2,
        "intents": {"check": {"rating": "people"}, "bye": {"success": False}},
        "slots": {"people": "reward"},
        "success_actions": ["action_reserve"],
        "reward_wait_time": 3,
        "default_reward": -1,
    }
    conversations = {
        "stars": (["hello", '/check{"people": 4}'], Outcome(rating=4.0)),
        "thumb": (["hello", "/bye"], Outcome(success=False)),
        "slot": (["/details", "7"], Outcome(reward=7.0)),
        "action": (["thai food on friday", "/affirm"], Outcome(success=True)),
        "silence": (["hello"], Outcome(reward=-1.0)),
    }
    with bot_server(archive, tmp_path, actions_url, channel) as server:
        for sender, (texts, _) in conversations.items():
            for text in texts:
                server.ask("POST", "/webhooks/rest/webhook", {"sender": sender, "message": text})
        store = EpisodeStore(url)

        def outcomes() -> Dict[str, Any]:
            return {episode.sender: episode.outcome for episode in store.episodes("new")}

        wanted = {sender: outcome for sender, (_, outcome) in conversations.items()}
        try:
            eventually(lambda: outcomes() == wanted, seconds=60)
        finally:
            assert outcomes() == wanted
            store.close()


def test_feedback_right_after_a_conversation_on_another_channel_finds_it(running: Running) -> None:
    server, store = running
    server.ask("POST", "/webhooks/rest/webhook", {"sender": "ines", "message": "hello"})
    assert server.rate("ines", store.token("ines"), success=True).status == 201


def test_everything_of_a_sender_is_deleted_on_request(running: Running) -> None:
    server, store = running
    first = server.say("jana", "hello")
    token, episode = first.headers["X-Conversation-Token"], first.headers["X-Episode"]
    server.rate("jana", token, rating=5)
    eventually(lambda: store.episode(episode).status == "new")
    path = "/webhooks/hybrid/conversations/jana"
    assert server.ask("DELETE", path).status == 401
    deleted = server.ask("DELETE", path, headers={"X-Conversation-Token": token})
    counts = {"judgements": 0, "episodes": 1, "feedback": 1, "events": 0}
    assert deleted.body == {"deleted": counts}
    assert not any(e.sender == "jana" for e in store.episodes())
    # The name is not free for somebody else.
    assert "X-Conversation-Token" not in server.say("jana", "hello").headers
    known = server.say("jana", "hello", token=token)
    assert known.headers["X-Conversation-Token"] == token


def test_metrics_count_requests_and_episodes(running: Running) -> None:
    server, store = running
    text = server.ask("GET", "/webhooks/hybrid/metrics").body
    assert 'rasa_hybrid_requests_total{route="POST /feedback",status="201"}' in text
    assert "rasa_hybrid_request_seconds_bucket" in text
    states = store.counts()
    assert f'rasa_hybrid_episodes{{state="new"}} {float(states["new"])}' in text


def test_bearer_token_guards_the_channel_and_may_stand_for_all_conversations(
    archive: Path, actions_url: str, tmp_path: Path
) -> None:
    channel: Dict[str, Any] = {
        "store": f"sqlite:///{tmp_path / 'feedback.db'}",
        "token": "secret-of-the-backend",
        "require_conversation_token": False,
    }
    secret = "signs-the-tokens"
    options = ["--enable-api", "--jwt-secret", secret]
    with bot_server(archive, tmp_path, actions_url, channel, options) as server:
        assert server.say("anna", "hello").status == 401
        bearer = {"Authorization": "Bearer secret-of-the-backend"}
        path = "/webhooks/hybrid/webhook"
        body = {"sender": "anna", "message": "hello"}
        wrong = {"Authorization": "Bearer secret-of-the-backenD"}
        assert server.ask("POST", path, body, wrong).status == 401
        assert server.ask("POST", path, body, bearer).status == 200
        feedback = "/webhooks/hybrid/feedback"
        rated = {"sender": "anna", "success": True}
        assert server.ask("POST", feedback, rated).status == 401
        assert server.ask("POST", feedback, rated, bearer).status == 201
        assert server.ask("GET", "/webhooks/hybrid/metrics").status == 401
        assert server.ask("GET", "/webhooks/hybrid/health").status == 200
        for name, role, status in (
            ("anna", "user", 201),
            ("bert", "user", 403),
            ("boss", "admin", 201),
        ):
            headers = {"Authorization": f"Bearer {_jwt(secret, name, role)}"}
            assert server.ask("POST", feedback, rated, headers).status == status
        for user in ("anna", ["anna"], None, {}, {"role": "user"}, {"username": 1}):
            headers = {"Authorization": f"Bearer {_jwt_of(secret, user)}"}
            nobody = {**rated, "sender": "None"}
            assert server.ask("POST", feedback, nobody, headers).status == 401
        forged = {"Authorization": f"Bearer {_jwt('another-secret', 'anna', 'user')}"}
        assert server.ask("POST", feedback, rated, forged).status == 401


def _jwt(secret: str, name: str, role: str) -> str:
    return _jwt_of(secret, {"username": name, "role": role})


def _jwt_of(secret: str, user: Any) -> str:
    import jwt

    token = jwt.encode({"user": user}, secret, algorithm="HS256")
    return token if isinstance(token, str) else token.decode()


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"stroe": "x"}, "'stroe' is no setting of this channel; allowed: "),
        ({"store": 5}, "store: 5 is not allowed"),
        ({"token": "short"}, "token: '.hidden.' is not allowed"),
        ({"require_conversation_token": False}, "true as long as there is no `token`"),
        ({"reward_range": [5, 1]}, "reward_range: .* two numbers, the lower one first"),
        ({"max_body": 0}, "max_body: 0 is not allowed"),
        ({"sweep_seconds": 0}, "a number of seconds above 0"),
        ({"retention": {"text": "burn"}}, "retention: text: 'burn' .* keep, drop or hash"),
        ({"retention": {"txt": "drop"}}, "retention: 'txt' is no setting"),
        ({"intents": {"good": {"succes": True}}}, "intents: good: .* success, reward, rating"),
        ({"slots": {"mood": "good"}}, "slots: mood: 'good' is not allowed"),
        ({"success_actions": "action_book"}, "success_actions: .* a list of actions"),
        ({"default_reward": "none"}, "default_reward: 'none' is not allowed"),
        ({"default_reward": 21}, "default_reward: 21 .* within reward_range, -20 to 20"),
        ({"teach": {"enabled": True}}, "teach: token"),
    ],
)
def test_wrong_setting_is_named_with_what_is_allowed(
    settings: Dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidConfigException, match=message):
        check_channel(settings)


def test_defaults_are_allowed() -> None:
    assert check_channel({}).default_reward is None
    assert check_channel({"default_reward": 3}).default_reward == Outcome(reward=3.0)
