"""From feedback to a served model: exploration, the learner, the gate, rollback, the model server."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

import numpy as np
import pytest

from rasa_hybrid.components import activity
from rasa_hybrid.components.activity import Exploration
from rasa_hybrid.components.conversion import hybrid_metadata
from rasa_hybrid.components.episodes import Signals, assemble, sessions
from rasa_hybrid.components.loading import served_runtime
from rasa_hybrid.dialogue import (
    LISTEN,
    Decision,
    Dialogue,
    DomainFacts,
    SystemAction,
    Turn,
    Utterance,
)
from rasa_hybrid.feedback import archive as archives
from rasa_hybrid.feedback import assembly
from rasa_hybrid.feedback.folder import LearnerError, ModelFolder
from rasa_hybrid.feedback.gate import Gate
from rasa_hybrid.feedback.learner import Learner, LearnerSettings, begin_with, roll_back
from rasa_hybrid.feedback.ledger import Ledger
from rasa_hybrid.feedback.records import Outcome, Recorded, Step
from rasa_hybrid.feedback.rewards import Rewards, labelled_by_belief, to_episode
from rasa_hybrid.feedback.scoring import importance_weight, off_policy_estimate
from rasa_hybrid.feedback.serving import model_server
from rasa_hybrid.feedback.store import EpisodeStore
from rasa_hybrid.model.acting import ActingModel
from rasa_hybrid.model.checkpoint import load_archive
from rasa_hybrid.model.exploration import exploring_policy
from tests.components import projects
from tests.components.running import Conversation

SMALL = LearnerSettings(least_episodes=4, most_episodes=8, mini_batch=8, share_of_sender=1.0)


@pytest.fixture(scope="module")
def conversations(archive: Path, actions_url: str) -> Any:
    """Events of conversations, by whether actions were sampled in them."""
    agent = projects.load_agent(str(archive), actions_url)
    talks: Dict[bool, List[Any]] = {False: [], True: []}
    texts = ["thai food on friday", "something else please", "yes please"]
    for sampled, count in ((False, 8), (True, 8)):
        activity.explore(Exploration(sampled, temperature=3.0, floor=0.01))
        for _ in range(count):
            user = Conversation(agent)
            for text in texts:
                user.say(text)
            talks[sampled].append((user.sender, list(user.tracker.events)))
    activity.explore(None)
    runtime = served_runtime()
    assert runtime is not None
    return talks, runtime.reader, agent.domain


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EpisodeStore]:
    store = EpisodeStore(f"sqlite:///{tmp_path / 'feedback.db'}")
    yield store
    store.close()


def fill(
    store: EpisodeStore, conversations: Any, sampled: bool, copies: int = 1, first: int = 0
) -> List[str]:
    """Puts the conversations into a store, every other one successful."""
    talks, reader, domain = conversations
    ids = []
    for copy in range(first, first + copies):
        for i, (sender, events) in enumerate(talks[sampled]):
            name = f"{sender}-{copy}"
            id = store.begin(name, sessions(name, events)[0].begun)
            store.give(name, Outcome(success=i % 2 == 0), episode=id)
            assert assemble(store, name, events, reader, domain, Signals()) == [id]
            ids.append(id)
    return ids


# --- exploration --------------------------------------------------------------------------------------


def test_exploring_policy_by_hand() -> None:
    chances, names = np.array([0.64, 0.32, 0.04]), ["a", "b", "c"]
    assert exploring_policy(chances, names) == pytest.approx(chances)
    # Square roots 0.8, 0.5657, 0.2, which sum to 1.5657.
    hotter = exploring_policy(chances, names, temperature=2.0)
    assert hotter == pytest.approx([0.51096, 0.36130, 0.12774], abs=1e-4)
    assert exploring_policy(chances, names, floor=0.1) == pytest.approx([2 / 3, 1 / 3, 0.0])
    assert exploring_policy(chances, names, never=["b"]) == pytest.approx([16 / 17, 0, 1 / 17])
    assert exploring_policy(chances, names, never=["a"]) == pytest.approx([1, 0, 0])
    assert exploring_policy(np.array([0.5, 0.5, 0.0]), names, floor=0.5) == pytest.approx(
        [0.5, 0.5, 0.0]
    )


def test_sampled_actions_have_the_probability_that_is_recorded(
    archive: Path, actions_url: str
) -> None:
    agent = projects.load_agent(str(archive), actions_url)
    exploring = Exploration(True, temperature=4.0, floor=0.01)
    counts: Dict[str, int] = {}
    recorded: Dict[str, float] = {}
    activity.explore(exploring)
    try:
        for _ in range(150):
            said = Conversation(agent).say("thai food on friday")
            first = said.decisions[0]
            counts[first["action"]] = counts.get(first["action"], 0) + 1
            recorded[first["action"]] = first["propensity"]
            assert first["sampled"] and first["greedy"] == "utter_offer"
    finally:
        activity.explore(None)
    assert len(counts) > 1
    for action, count in counts.items():
        spread = 4 * np.sqrt(recorded[action] * (1 - recorded[action]) / 150)
        assert abs(count / 150 - recorded[action]) <= spread + 1e-9
    greedy = Conversation(agent).say("thai food on friday").decisions[0]
    assert not greedy["sampled"] and "greedy" not in greedy


def test_actions_that_are_never_explored_and_rules_are_as_without_exploration(
    archive: Path, actions_url: str
) -> None:
    agent = projects.load_agent(str(archive), actions_url)
    names = tuple(agent.domain.action_names_or_texts)
    activity.explore(Exploration(True, temperature=10.0, floor=0.0, never=names))
    try:
        for _ in range(5):
            said = Conversation(agent).say("thai food on friday")
            assert said.actions == ["utter_offer"]
            assert {d["propensity"] for d in said.decisions} == {1.0}
            assert not any(d["sampled"] for d in said.decisions)
        activity.explore(Exploration(True, temperature=10.0, floor=0.0))
        ruled = {tuple(Conversation(agent).say("bye").actions) for _ in range(10)}
    finally:
        activity.explore(None)
    assert ruled == {tuple(Conversation(agent).say("bye").actions)}


# --- what is learnt from ------------------------------------------------------------------------------


def test_recorded_decisions_have_the_probabilities_that_the_model_gives_to_the_recording(
    conversations: Any, archive: Path, store: EpisodeStore
) -> None:
    from rasa_hybrid.feedback.rewards import Rewards, to_episode
    from rasa_hybrid.feedback.scoring import score

    fill(store, conversations, sampled=False)
    encoder, weights, _ = load_archive(archive)
    runtime = served_runtime()
    assert runtime is not None
    names = encoder.vocabulary.actions.names
    compared = 0
    for stored in store.episodes("new"):
        assert stored.recorded is not None
        turns = score(runtime.model, stored.recorded.dialogue)
        offers = [a for t in stored.recorded.dialogue.turns for a in t.actions if "offer" in a.name]
        assert all(action.text and "on friday" in action.text for action in offers)
        for turn, steps in zip(turns, stored.recorded.steps):
            for chances, step in zip(turn.chances, steps):
                if step.policy == "hybrid":
                    own = float(chances[names.index(step.decision.action)])
                    assert own == pytest.approx(step.decision.propensity, abs=1e-4)
                    compared += 1
        episode = to_episode(stored, Rewards())
        assert importance_weight(ActingModel(encoder, weights), episode) is None
    assert compared > 20


def test_turns_are_labelled_where_they_agree_with_the_end(
    conversations: Any, store: EpisodeStore
) -> None:
    fill(store, conversations, sampled=False)
    dialogue = labelled_by_belief(next(store.episodes("new")))
    assert [turn.goal for turn in dialogue.turns] == [{"cuisine": "thai", "date": "friday"}] * len(
        dialogue.turns
    )


def test_off_policy_estimate_by_hand() -> None:
    found = off_policy_estimate([2.0, 0.5, 0.5], [10.0, 4.0, 0.0])
    assert found.logged == pytest.approx(14 / 3)
    assert found.ips == pytest.approx(22 / 3)
    assert found.self_normalised == pytest.approx(22 / 3)
    assert found.effective == pytest.approx(9 / 4.5)
    assert off_policy_estimate([], []).ips is None


# --- the learner --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("uncompiled")
def test_learner_reinforces_what_was_tried_and_publishes_it(
    conversations: Any, archive: Path, store: EpisodeStore, tmp_path: Path
) -> None:
    ids = fill(store, conversations, sampled=True)
    learner = Learner(store, str(tmp_path / "models"), str(archive), settings=SMALL)
    with pytest.raises(LearnerError, match="Another learner works in"):
        Learner(store, str(tmp_path / "models"), settings=SMALL)
    decided = learner.step()
    assert decided is not None and decided.status == "promoted"
    assert decided.figures["method"] == "reinforce"
    assert decided.figures["explored"] == 8
    assert decided.figures["effective_episodes"] == pytest.approx(8, rel=0.9)
    # One mini-batch is learnt from as a whole: nothing is left to tell what the model earns.
    assert decided.figures["off_policy"]["episodes"] == 0
    assert store.counts()["promoted"] == 8
    assert learner.step() is None
    [published] = (tmp_path / "models").glob("*.tar.gz")
    assert archives.read_id(published) == decided.candidate
    manifest = archives.read_manifest(published)
    assert sorted(manifest.learnt) == sorted(ids)
    assert manifest.parent == archives.read_id(archive)
    before, after = load_archive(archive)[1], load_archive(published)[1]
    assert any(not np.array_equal(before[name], after[name]) for name in before)
    # The next batch goes on with Adam's state, and the manifest adds up.
    fill(store, conversations, sampled=True, first=1)
    learner.close()
    again = Learner(store, str(tmp_path / "models"), settings=SMALL)
    second = again.step()
    assert second is not None and second.status == "promoted"
    state = again.folder.state(second.candidate)
    assert state is not None and int(state["steps"]) == 2
    path = again.folder.archive(second.candidate)
    assert len(set(archives.read_manifest(path).learnt)) == 16
    again.close()
    # Rasa loads it and talks with it.
    agent = projects.load_agent(str(path))
    assert agent.model_id == second.candidate


@pytest.mark.usefixtures("uncompiled")
def test_what_a_candidate_would_earn_is_told_by_episodes_that_it_has_not_learnt_from(
    conversations: Any, archive: Path, store: EpisodeStore, tmp_path: Path
) -> None:
    from rasa_hybrid.feedback.report import report
    from rasa_hybrid.learning.reinforce import Reinforcer
    from rasa_hybrid.learning.reinforce_settings import ReinforceSettings

    fill(store, conversations, sampled=True)
    before = [to_episode(e, Rewards()) for e in store.episodes("new")]
    settings = replace(SMALL, mini_batch=2)
    learner = Learner(store, str(tmp_path / "models"), str(archive), settings=settings)
    decided = learner.step()
    assert decided is not None
    encoder, weights, _ = load_archive(archive)
    learning = ReinforceSettings(
        learning_rate=settings.learning_rate,
        importance_clip=settings.importance_clip,
        least_effective=settings.least_effective,
        batch_size=2,
    )
    reinforcer = Reinforcer(encoder, weights, learning)
    for i in (0, 2, 4):  # three of the four updates
        reinforcer.update(before[i : i + 2])
    model = ActingModel(encoder, reinforcer.weights())
    earned = [sum(episode.rewards) for episode in before[6:]]
    likely = [importance_weight(model, episode) or 0.0 for episode in before[6:]]
    expected = off_policy_estimate(likely, earned)
    found = decided.figures["off_policy"]
    assert (found["episodes"], found["logged"]) == (2, expected.logged)
    assert found["ips"] == pytest.approx(expected.ips, rel=1e-4)
    # The report leaves out what the model has learnt from, the last two among them.
    path = learner.folder.archive(decided.candidate)
    learner.close()
    learnt = frozenset(archives.read_manifest(path).learnt)
    fill(store, conversations, sampled=True, first=1)
    candidate = ActingModel(*load_archive(path)[:2])
    assert report(store, candidate)["off_policy"]["episodes"] == 16
    assert report(store, candidate, learnt=learnt)["off_policy"]["episodes"] == 8


@pytest.mark.usefixtures("uncompiled")
def test_without_exploration_only_success_teaches_and_the_learner_says_so(
    conversations: Any, archive: Path, store: EpisodeStore, tmp_path: Path
) -> None:
    fill(store, conversations, sampled=False)
    learner = Learner(store, str(tmp_path / "models"), str(archive), settings=SMALL)
    decided = learner.step()
    learner.close()
    assert decided is not None and decided.status == "promoted"
    assert decided.figures["method"] == "supervised"
    assert decided.figures["successful"] == 4
    assert "the policy gradient is not identified" in decided.figures["note"]


@pytest.mark.usefixtures("uncompiled")
def test_candidate_that_loses_on_the_regression_set_is_rejected(
    conversations: Any, archive: Path, store: EpisodeStore, tmp_path: Path
) -> None:
    from rasa_hybrid.corpora import write_jsonl
    from rasa_hybrid.feedback.gate import read_corpora

    fill(store, conversations, sampled=False)
    good = [labelled_by_belief(e) for e in store.episodes("new")]
    write_jsonl(tmp_path / "kept.jsonl", good)
    corpora = read_corpora([str(tmp_path / "kept.jsonl")])

    def gate(facts: DomainFacts) -> Gate:
        return Gate(corpora, facts)

    # So large a step that the model forgets what it knew.
    harmful = LearnerSettings(
        least_episodes=4, most_episodes=8, learning_rate=1.0, share_of_sender=1.0
    )
    learner = Learner(store, str(tmp_path / "models"), str(archive), gate, settings=harmful)
    decided = learner.step()
    assert decided is not None and decided.status == "rejected"
    assert any(
        "on kept.jsonl: the difference may be as low as" in r for r in decided.figures["reasons"]
    )
    figures = decided.figures["regression"]["action_accuracy on kept.jsonl"]
    assert figures["candidate"] < figures["current"]
    assert store.counts()["rejected"] == 8
    head = learner.ledger.head()
    assert head is not None and head.id == archives.read_id(archive)
    assert not learner.folder.archive(decided.candidate).exists()
    # A harmless one passes the same gate.
    learner.ledger.release("rejected")
    learner.settings = SMALL
    decided = learner.step()
    assert decided is not None and decided.status == "promoted"
    learner.close()


def test_weights_that_are_not_finite_are_rejected_and_odd_episodes_left_out(
    archive: Path, store: EpisodeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialogue = Dialogue(
        "a", (Turn(Utterance("thai food"), actions=(SystemAction("utter_offer"),)),)
    )
    offer, listen = Step(Decision("utter_offer", 0.5, True)), Step(Decision(LISTEN))
    whole = Recorded(dialogue, ((offer, listen),), "m", 5.0)
    ids = []
    for name, recorded in {
        "one decision": replace(whole, steps=((offer,),)),
        "no turn": replace(whole, dialogue=Dialogue("a", ()), steps=()),
        "no steps": replace(whole, steps=()),
        "whole": whole,
    }.items():
        ids.append(store.begin(name, 1.0))
        store.give(name, Outcome(success=True))
        assembly.keep(store, ids[-1], name, 1.0, recorded, rated=store.settled(ids[-1]))
    learnt: List[Any] = []

    def update(self: Learner, encoder: Any, weights: Any, claimed: Any, *_: Any) -> Any:
        learnt.extend(stored.id for stored in claimed)
        return {name: array * np.nan for name, array in weights.items()}, {"changed": True}, {}

    monkeypatch.setattr(Learner, "_update", update)
    learner = Learner(store, str(tmp_path / "models"), str(archive), settings=SMALL)
    decided = learner.step()
    assert learnt == ids[-1:]
    assert decided is not None and decided.status == "rejected"
    assert "not finite" in decided.figures["reasons"][0]
    assert store.counts()["rejected"] == 4
    learner.close()


def test_learner_that_waits_for_other_senders_says_so_and_names_the_option(
    archive: Path, store: EpisodeStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for i in range(25):
        id = store.begin("loud", float(i))
        store.give("loud", Outcome(success=True), episode=id)
        dialogue = Dialogue("loud", (Turn(Utterance("thai food")),))
        nothing = Recorded(dialogue, ((),), "m", 5.0)
        assembly.keep(store, id, "loud", float(i), nothing, rated=store.settled(id))
    learner = Learner(store, str(tmp_path / "models"), str(archive))
    assert [learner.step(), learner.step()] == [None, None]
    [told] = (r.getMessage() for r in caplog.records if "of too few senders" in r.getMessage())
    assert "25 episodes wait" in told and "at most 20%" in told and "--share-of-sender" in told
    learner.close()


@pytest.mark.usefixtures("uncompiled")
def test_rollback_serves_the_earlier_model_again(
    conversations: Any, archive: Path, store: EpisodeStore, tmp_path: Path
) -> None:
    fill(store, conversations, sampled=True)
    out = str(tmp_path / "models")
    learner = Learner(store, out, str(archive), settings=SMALL)
    decided = learner.step()
    learner.close()
    assert decided is not None
    server = model_server(store, out, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.server_address[1]}/model"
    import threading

    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        first = urllib.request.urlopen(url)
        assert first.headers["ETag"] == decided.candidate
        (tmp_path / "pulled.tar.gz").write_bytes(first.read())
        assert archives.read_id(tmp_path / "pulled.tar.gz") == decided.candidate
        asked = urllib.request.Request(url, headers={"If-None-Match": decided.candidate})
        with pytest.raises(urllib.error.HTTPError, match="304"):
            urllib.request.urlopen(asked)
        given_up, now = roll_back(store, out)
        assert (given_up.id, now.id) == (decided.candidate, archives.read_id(archive))
        assert urllib.request.urlopen(asked).headers["ETag"] == now.id
    finally:
        server.shutdown()
        server.server_close()
    newest = max(Path(out).glob("*.tar.gz"), key=os.path.getctime)
    assert archives.read_id(newest) == now.id
    assert store.counts()["rolled_back"] == 8


@pytest.mark.usefixtures("uncompiled")
def test_what_was_learnt_from_one_store_is_not_learnt_again_from_another(
    conversations: Any, archive: Path, store: EpisodeStore, tmp_path: Path
) -> None:
    first = fill(store, conversations, sampled=True)
    learner = Learner(store, str(tmp_path / "models"), str(archive), settings=SMALL)
    decided = learner.step()
    assert decided is not None and decided.status == "promoted"
    promoted = str(learner.folder.archive(decided.candidate))
    learner.close()
    other = EpisodeStore(f"sqlite:///{tmp_path / 'other.db'}")
    moved = Learner(other, str(tmp_path / "elsewhere"), promoted, settings=SMALL)
    # The old conversations come out of the tracker store only now.
    assert fill(other, conversations, sampled=True) == first
    assert moved.step() is None
    assert other.counts()["promoted"] == 8
    fresh = fill(other, conversations, sampled=True, first=1)
    again = moved.step()
    assert again is not None and again.status == "promoted"
    learnt = archives.read_manifest(moved.folder.archive(again.candidate)).learnt
    assert sorted(learnt) == sorted([*first, *fresh])
    moved.close()
    other.close()


@pytest.mark.usefixtures("uncompiled")
def test_conversations_without_exploration_are_learnt_from_beside_those_with(
    conversations: Any,
    archive: Path,
    store: EpisodeStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from rasa_hybrid.learning.reinforce import Reinforcer

    fill(store, conversations, sampled=False)
    fill(store, conversations, sampled=True)
    seen: List[int] = []
    update = Reinforcer.update

    def counted(self: Any, episodes: Any) -> Any:
        seen.append(len(episodes))
        return update(self, episodes)

    monkeypatch.setattr(Reinforcer, "update", counted)
    settings = replace(SMALL, most_episodes=16, mini_batch=16)
    learner = Learner(store, str(tmp_path / "models"), str(archive), settings=settings)
    decided = learner.step()
    learner.close()
    assert decided is not None and seen == [16]
    assert decided.figures["method"] == "reinforce" and decided.figures["explored"] == 8


def test_a_sure_decision_under_exploration_counts_for_what_another_model_would_earn(
    conversations: Any, archive: Path, store: EpisodeStore
) -> None:
    fill(store, conversations, sampled=False)
    episode = to_episode(next(store.episodes("new")), Rewards())
    model = ActingModel(*load_archive(archive)[:2])
    assert importance_weight(model, episode) is None, "nothing was tried"

    def decided(action: Optional[str] = None) -> Any:
        turns = [
            tuple(
                replace(d, action=action or d.action, propensity=1.0, explored=True)
                if d.propensity
                else d
                for d in turn
            )
            for turn in episode.decisions
        ]
        return replace(episode, decisions=tuple(turns))

    own = [d.propensity for turn in episode.decisions for d in turn if d.propensity]
    assert importance_weight(model, decided()) == pytest.approx(np.prod(own), rel=1e-3)
    assert importance_weight(model, decided("action_of_another_bot")) == 0.0


def test_every_decision_under_exploration_says_so(conversations: Any) -> None:
    for sampled, talks in conversations[0].items():
        for _, events in talks:
            own = [h for h in map(hybrid_metadata, events) if h.get("propensity") is not None]
            assert own and all(h.get("explored", False) == sampled for h in own)


@pytest.mark.usefixtures("uncompiled")
def test_a_rollback_that_was_killed_half_way_is_not_undone_by_a_server_that_starts(
    conversations: Any, archive: Path, store: EpisodeStore, tmp_path: Path
) -> None:
    fill(store, conversations, sampled=True)
    out = tmp_path / "models"
    learner = Learner(store, str(out), str(archive), settings=SMALL)
    decided = learner.step()
    learner.close()
    assert decided is not None and decided.status == "promoted"
    _, base = learner.ledger.roll_back()  # and here it was killed
    newest = max(out.glob("*.tar.gz"), key=os.path.getctime)
    assert archives.read_id(newest) == decided.candidate
    head = begin_with(str(newest), Ledger(store), ModelFolder(str(out)), is_choice=False)
    assert head.id == base.id == archives.read_id(archive)
    newest = max(out.glob("*.tar.gz"), key=os.path.getctime)
    assert archives.read_id(newest) == base.id
    chosen = str(learner.folder.archive(decided.candidate))
    assert begin_with(chosen, Ledger(store), ModelFolder(str(out))).id == decided.candidate


def test_regression_sets_of_the_same_name_are_told_apart_or_refused(tmp_path: Path) -> None:
    from rasa_hybrid.corpora import write_jsonl
    from rasa_hybrid.feedback.gate import GateError, read_corpora

    labelled = Dialogue("a", (Turn(Utterance("thai food"), goal={"cuisine": "thai"}),))
    paths = [tmp_path / folder / "held-out.jsonl" for folder in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        write_jsonl(path, [labelled])
    with pytest.raises(GateError, match="another regression set of this name"):
        read_corpora(list(map(str, paths)))


@pytest.mark.usefixtures("uncompiled")
def test_server_pulls_what_the_learner_promotes_without_losing_a_conversation(
    conversations: Any, archive: Path, store: EpisodeStore, tmp_path: Path, actions_url: str
) -> None:
    from rasa.core.agent import Agent, _update_model_from_server
    from rasa.utils.endpoints import EndpointConfig

    out = str(tmp_path / "models")
    learner = Learner(store, out, str(archive), settings=SMALL)
    server = model_server(store, out, "127.0.0.1", 0)
    import threading

    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = EndpointConfig(f"http://127.0.0.1:{server.server_address[1]}/model")
    agent = Agent(action_endpoint=EndpointConfig(actions_url))
    try:
        asyncio.run(_update_model_from_server(endpoint, agent))
        assert agent.model_id == archives.read_id(archive)
        user = Conversation(agent)
        assert user.say("thai food").replies == ["On which day?"]
        fill(store, conversations, sampled=True)
        decided = learner.step()
        assert decided is not None
        asyncio.run(_update_model_from_server(endpoint, agent))
        assert agent.model_id == decided.candidate
        said = user.say("on friday")
        assert said.goal == {"cuisine": "thai", "date": "friday"}
        assert said.decisions[0]["model_id"] == decided.candidate
    finally:
        learner.close()
        server.shutdown()
        server.server_close()


@pytest.mark.process
@pytest.mark.slow
def test_learner_killed_at_random_learns_every_episode_once(
    conversations: Any, archive: Path, store: EpisodeStore, tmp_path: Path
) -> None:
    ids = fill(store, conversations, sampled=True, copies=3)
    out = tmp_path / "models"
    command = [
        *(sys.executable, "-m", "rasa_hybrid.commands", "learn", "--model", str(archive)),
        *("--store", str(store.engine.url), "--out", str(out)),
        *("--no-gate", "--least", "4", "--most", "8", "--once", "--json"),
    ]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    drawn = random.Random(5)
    for _ in range(2):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        # Not before it works: what is of interest is dying in the middle.
        end = time.monotonic() + 120
        while store.counts()["claimed"] == 0 and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(drawn.uniform(0.0, 1.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        for path in out.rglob("*.tar.gz"):
            archives.read_manifest(path)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert all(json.loads(line)["status"] == "promoted" for line in done.stdout.splitlines())
    assert store.counts()["promoted"] == len(ids) == 24
    head = Ledger(store).head()
    assert head is not None
    manifest = archives.read_manifest(ModelFolder(str(out)).archive(head.id))
    assert sorted(manifest.learnt) == sorted(ids)
    promoted = [m for m in Ledger(store).lineage() if m.status == "promoted"]
    assert sum(m.figures["episodes"] for m in promoted) == 24
    shutil.rmtree(out)


# --- does it pay --------------------------------------------------------------------------------------


def test_report_counts_by_model_and_day_and_estimates_a_candidate(
    conversations: Any, archive: Path, store: EpisodeStore, tmp_path: Path
) -> None:
    from click.testing import CliRunner

    from rasa_hybrid.commands import main

    fill(store, conversations, sampled=True)
    first = next(store.episodes())
    assert first.recorded is not None
    store.give(first.sender, Outcome(rating=2))
    rated = store.settled(first.id)
    assembly.keep(store, first.id, first.sender, first.begun, first.recorded, rated=rated)
    base = ["report", "--store", str(store.engine.url)]
    files = ["--png", str(tmp_path / "r.png"), "--html", str(tmp_path / "r.html")]
    done = CliRunner().invoke(main, [*base, "--model", str(archive), "--json", *files])
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["states"]["new"] == 8
    whole = figures["all"]
    assert (whole["episodes"], whole["success_rate"], whole["rating"]) == (8, 3 / 8, 2.0)
    turns = [len(e.recorded.dialogue.turns) for e in store.episodes() if e.recorded]
    assert whole["turns"] == pytest.approx(sum(turns) / 8)
    # 15 for each of three successes, a quarter of it for the rating, 0 for the others, -1 a turn.
    assert whole["reward"] == pytest.approx((3 * 15 + 15 / 4 - sum(turns)) / 8)
    assert list(figures["models"]) == [archives.read_id(archive)]
    assert len(figures["days"]) in (1, 2)
    # The conversations were led by a hotter policy of the same model, so their weights are not 1.
    estimate = figures["off_policy"]
    assert estimate["episodes"] == 8 and 0 < estimate["effective"] < 8
    assert estimate["logged"] == pytest.approx(whole["reward"])
    assert estimate["ips_interval"][0] <= estimate["ips"] <= estimate["ips_interval"][1]
    assert 0 < figures["agreement"]["rate"] <= 1
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    assert "By model" in (tmp_path / "r.html").read_text()
    table = CliRunner().invoke(main, base)
    assert "0.375" in table.stdout
