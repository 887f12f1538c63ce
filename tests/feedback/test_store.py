"""The episode store: what is acknowledged stays, and every episode is in one of its states."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, List

import pytest
import sqlalchemy as sa

from rasa_hybrid.dialogue import Decision, Dialogue, Override, SystemAction, Turn, Utterance
from rasa_hybrid.feedback import assembly
from rasa_hybrid.feedback.collected import CollectedEvents
from rasa_hybrid.feedback.database import StoreError
from rasa_hybrid.feedback.ledger import Ledger, LostClaimError
from rasa_hybrid.feedback.privacy import forget, forgotten_until, redact
from rasa_hybrid.feedback.records import Given, Outcome, Recorded, Step, episode_id
from rasa_hybrid.feedback.schema import metadata
from rasa_hybrid.feedback.store import (
    EpisodeStore,
    FeedbackConflictError,
    TooMuchFeedbackError,
    UnknownConversationError,
)


def recorded(name: str = "anna", ended: float = 5.0, sampled: bool = False) -> Recorded:
    """A conversation of one turn."""
    dialogue = Dialogue(
        name,
        (
            Turn(
                user=Utterance("thai food for anna please"),
                overrides=(Override("cuisine", "thai", "button"),),
                actions=(SystemAction("utter_offer"),),
            ),
        ),
    )
    decided = Decision("utter_offer", 0.75, sampled)
    belief = {"cuisine": (("thai", 0.9), ("none", 0.1))}
    steps = ((Step(decided, "hybrid", "utter_offer", belief), Step(Decision("action_listen"))),)
    return Recorded(dialogue, steps, "m1", ended)


def assemble(store: EpisodeStore, id: str, *rest: Any, **outcome: Any) -> bool:
    """Stores a dialogue that was cut at the feedback that there is."""
    return assembly.keep(store, id, *rest, rated=store.settled(id), **outcome)


def episodes_with_feedback(store: EpisodeStore, count: int) -> List[str]:
    """So many new episodes."""
    ids = []
    for i in range(count):
        sender = f"user {i}"
        id = store.begin(sender, 1.0)
        store.give(sender, Outcome(success=True), id=f"f{i}", now=10.0 + i)
        assemble(store, id, sender, 1.0, recorded(sender))
        ids.append(id)
    return ids


def test_feedback_waits_for_its_dialogue_and_then_can_be_learnt_from(store: EpisodeStore) -> None:
    id = store.begin("anna", 1.0)
    assert store.begin("anna", 1.0) == id == episode_id("anna", 1.0)
    receipt = store.give("anna", Outcome(rating=4), "nice", now=6.0)
    assert receipt.episode == id
    assert store.episode(id).status == "open"
    assert assembly.waiting(store) == [(id, "anna")]
    assert assemble(store, id, "anna", 1.0, recorded(sampled=True))
    found = store.episode(id)
    assert found.status == "new"
    assert found.outcome == Outcome(rating=4)
    assert found.recorded == recorded(sampled=True)
    assert (found.settled, found.source, found.ended) == (6.0, "feedback", 5.0)
    assert assembly.waiting(store) == []


def test_the_same_feedback_id_changes_nothing_and_stands_for_nothing_else(
    store: EpisodeStore,
) -> None:
    store.begin("anna", 1.0)
    store.begin("bert", 1.0)
    first = store.give("anna", Outcome(success=True), id="one")
    again = store.give("anna", Outcome(success=True), id="one")
    assert (again.id, again.received, again.duplicate) == ("one", first.received, True)
    for sender, outcome in (("anna", Outcome(success=False)), ("bert", Outcome(success=True))):
        with pytest.raises(FeedbackConflictError, match="'one' has been used for other feedback"):
            store.give(sender, outcome, id="one")


def test_later_feedback_supersedes_earlier_and_withdrawn_feedback_is_gone(
    store: EpisodeStore,
) -> None:
    id = store.begin("anna", 1.0)
    assemble(store, id, "anna", 1.0, recorded())
    store.give("anna", Outcome(success=False), id="one")
    store.give("anna", Outcome(success=True), id="two")
    assert store.receipt("one").status == "superseded"
    assert store.episode(id).outcome == Outcome(success=True)
    assert store.withdraw("one").status == "withdrawn"
    assert store.episode(id).outcome == Outcome(success=True)
    assert store.withdraw("two").status == "withdrawn"
    assert store.withdraw("two").status == "withdrawn"
    assert (store.episode(id).status, store.episode(id).outcome) == ("open", None)
    with pytest.raises(UnknownConversationError, match="no feedback 'three'"):
        store.withdraw("three")


def test_feedback_about_an_unknown_conversation_or_a_foreign_episode_is_refused(
    store: EpisodeStore,
) -> None:
    id = store.begin("anna", 1.0)
    with pytest.raises(UnknownConversationError, match="no such conversation"):
        store.give("bert", Outcome(success=True))
    store.begin("bert", 1.0)
    with pytest.raises(UnknownConversationError, match=f"no episode '{id}' of this conversation"):
        store.give("bert", Outcome(success=True), episode=id)


def test_a_sender_may_give_so_much_feedback_a_day(store: EpisodeStore) -> None:
    store.begin("anna", 1.0)
    for i in range(2):
        store.give("anna", Outcome(success=True), id=str(i), most_a_day=2, now=100.0)
    with pytest.raises(TooMuchFeedbackError, match="2 are allowed"):
        store.give("anna", Outcome(success=True), most_a_day=2, now=200.0)
    assert store.give("anna", Outcome(success=True), id="0", most_a_day=2, now=200.0).duplicate
    store.give("anna", Outcome(success=True), most_a_day=2, now=100.0 + 86401)


def test_what_users_say_counts_more_than_what_the_conversation_shows_and_silence(
    store: EpisodeStore,
) -> None:
    rated, told, silent = (store.begin(name, 1.0) for name in ("anna", "bert", "carl"))
    store.give("anna", Outcome(success=False))
    assemble(store, rated, "anna", 1.0, recorded(), Outcome(success=True), settled=4.0)
    assemble(store, told, "bert", 1.0, recorded(), Outcome(success=True), settled=4.0)
    assemble(store, silent, "carl", 1.0, recorded(ended=5.0))
    assert assembly.settle_silent(store, 5.0, None) == 0
    assert assembly.settle_silent(store, 6.0, Outcome(reward=2.0), now=9.0) == 1
    found = [store.episode(id) for id in (rated, told, silent)]
    assert [e.status for e in found] == ["new"] * 3
    assert [e.outcome for e in found] == [
        Outcome(success=False),
        Outcome(success=True),
        Outcome(reward=2.0),
    ]
    assert [e.source for e in found] == ["feedback", "event", "silence"]


def test_silence_without_a_default_is_not_learnt_from_until_feedback_comes(
    store: EpisodeStore,
) -> None:
    id = store.begin("anna", 1.0)
    assemble(store, id, "anna", 1.0, recorded())
    assert assembly.settle_silent(store, 6.0, None) == 1
    assert store.episode(id).status == "unrated"
    store.give("anna", Outcome(success=True))
    assemble(store, id, "anna", 1.0, recorded())
    assert store.episode(id).status == "new"


def test_what_is_rated_again_or_withdrawn_is_assembled_again_before_it_is_learnt_from(
    store: EpisodeStore,
) -> None:
    again, withdrawn = (store.begin(name, 1.0) for name in ("anna", "bert"))
    for sender, id in (("anna", again), ("bert", withdrawn)):
        store.give(sender, Outcome(success=False), id=sender, now=5.0)
        assemble(store, id, sender, 1.0, recorded(sender, 5.0))
        assert store.episode(id).status == "new"
    store.give("anna", Outcome(success=True), now=9.0)
    store.withdraw("bert")
    assert sorted(assembly.waiting(store, quiet_since=100.0)) == sorted(
        [(again, "anna"), (withdrawn, "bert")]
    )
    assert assembly.settle_silent(store, 100.0, None) == 0
    assemble(store, again, "anna", 1.0, recorded("anna", 9.0))
    found = store.episode(again)
    assert (found.status, found.outcome, found.ended) == ("new", Outcome(success=True), 9.0)
    assemble(store, withdrawn, "bert", 1.0, recorded("bert", 8.0))
    assert assembly.settle_silent(store, 100.0, None) == 1
    assert assembly.waiting(store, quiet_since=100.0) == []


def test_where_events_are_gone_since_an_earlier_look_the_dialogue_that_is_there_counts(
    store: EpisodeStore,
) -> None:
    again, withdrawn = (store.begin(name, 1.0) for name in ("anna", "bert"))
    for sender, id in (("anna", again), ("bert", withdrawn)):
        store.give(sender, Outcome(success=False), id=sender, now=5.0)
        assemble(store, id, sender, 1.0, recorded(sender, 5.0))
    store.give("anna", Outcome(success=True), now=9.0)
    store.withdraw("bert")
    assert assembly.lose(store, before=10.0) == 0
    assert store.episode(again).status == "new"
    assert assembly.settle_silent(store, 100.0, None) == 1
    assert store.episode(withdrawn).status == "unrated"


def test_an_episode_goes_from_claimed_to_used_to_promoted_and_back(store: EpisodeStore) -> None:
    ids = episodes_with_feedback(store, 3)
    ledger = Ledger(store, "learner")
    with pytest.raises(StoreError, match="no model yet"):
        ledger.claim(2)
    base = ledger.rebase("base", "base.tar.gz")
    assert (base.id, base.status) == ("base", "base")
    candidate, claimed = ledger.claim(2)
    assert candidate is not None
    assert (candidate.parent, candidate.status) == ("base", "building")
    assert [e.id for e in claimed] == ids[:2]
    assert store.episode(ids[0]).status == "claimed"
    with pytest.raises(FeedbackConflictError, match="learnt from already"):
        store.give("user 0", Outcome(success=False))
    with pytest.raises(FeedbackConflictError, match="has been used: its episode is claimed"):
        store.withdraw("f0")
    ledger.finish(candidate.id, "c.tar.gz", ids[:2])
    assert [store.episode(id).status for id in ids] == ["used", "used", "new"]
    assert store.receipt("f0").status == "used"
    again = store.give("user 0", store.receipt("f0").outcome, id="f0")
    assert (again.status, again.duplicate) == ("used", True)
    assert ledger.decide(candidate.id, True, {"success": 0.5}) == "promoted"
    assert store.counts()["promoted"] == 2
    head = ledger.head()
    assert head is not None and head.id == candidate.id
    assert head.figures == {"success": 0.5}
    assert ledger.rebase("base", "base.tar.gz").id == candidate.id
    given_up, now = ledger.roll_back()
    assert (given_up.id, now.id) == (candidate.id, "base")
    assert [store.episode(id).status for id in ids] == ["rolled_back", "rolled_back", "new"]
    with pytest.raises(StoreError, match="no earlier model"):
        ledger.roll_back()
    assert ledger.release("rolled_back", spared=ids[:2]) == 0
    assert ledger.release("rolled_back") == 2
    assert store.counts()["new"] == 3


def test_episodes_of_a_rejected_candidate_are_set_aside(store: EpisodeStore) -> None:
    ids = episodes_with_feedback(store, 2)
    ledger = Ledger(store)
    ledger.rebase("base", "base.tar.gz")
    candidate, _ = ledger.claim(2)
    assert candidate is not None
    ledger.finish(candidate.id, "c.tar.gz", ids)
    assert ledger.decide(candidate.id, False, {}) == "rejected"
    assert store.counts()["rejected"] == 2
    head = ledger.head()
    assert head is not None and head.id == "base"
    assert ledger.claim(2) == (None, [])


def test_the_second_of_two_candidates_of_one_parent_gives_its_episodes_back(
    store: EpisodeStore,
) -> None:
    episodes_with_feedback(store, 4)
    one, other = Ledger(store), Ledger(store)
    one.rebase("base", "base.tar.gz")
    first, first_episodes = one.claim(2)
    second, second_episodes = other.claim(2)
    assert first is not None and second is not None
    assert not {e.id for e in first_episodes} & {e.id for e in second_episodes}
    one.finish(first.id, "1", [e.id for e in first_episodes])
    other.finish(second.id, "2", [e.id for e in second_episodes])
    assert one.decide(first.id, True, {}) == "promoted"
    assert other.decide(second.id, True, {}) == "abandoned"
    counts = store.counts()
    assert (counts["promoted"], counts["new"]) == (2, 2)


def test_what_a_dead_learner_held_is_given_back_and_its_late_archive_refused(
    store: EpisodeStore,
) -> None:
    ids = episodes_with_feedback(store, 2)
    dead = Ledger(store, "dead", lease=100.0)
    dead.rebase("base", "base.tar.gz")
    candidate, _ = dead.claim(2)
    assert candidate is not None
    other = Ledger(store, "other")
    assert other.recover() == []
    assert other.recover(now=time.time() + 101) == [candidate.id]
    assert store.counts()["new"] == 2
    with pytest.raises(LostClaimError):
        dead.renew(candidate.id)
    with pytest.raises(LostClaimError, match="0 are still its own"):
        dead.finish(candidate.id, "c.tar.gz", ids)
    again, _ = dead.claim(2)
    assert again is not None
    assert Ledger(store, "dead").recover() == [again.id]


def test_one_sender_fills_only_a_part_of_a_batch(store: EpisodeStore) -> None:
    def talk(sender: str, count: int) -> None:
        for i in range(count):
            id = store.begin(sender, float(i))
            store.give(sender, Outcome(success=True), episode=id, now=float(i))
            assemble(store, id, sender, float(i), recorded(sender))

    talk("loud", 9)
    ledger = Ledger(store)
    ledger.rebase("base", "base.tar.gz")
    assert ledger.claim(500, 2, share_of_sender=0.5) == (None, [])
    talk("quiet", 2)
    assert ledger.waiting() == 11
    # Of five, half would be two of each.
    assert ledger.claim(500, 5, share_of_sender=0.5) == (None, [])
    _, claimed = ledger.claim(500, 4, share_of_sender=0.5)
    assert sorted(e.sender for e in claimed) == ["loud", "loud", "quiet", "quiet"]
    assert {e.settled for e in claimed} == {0.0, 1.0}
    _, claimed = ledger.claim(5, share_of_sender=1.0)
    assert [e.sender for e in claimed] == ["loud"] * 5


def test_many_of_one_sender_do_not_hide_those_of_others(store: EpisodeStore) -> None:
    for i in range(30):
        id = store.begin("loud", float(i))
        store.give("loud", Outcome(success=True), episode=id, now=float(i))
        assemble(store, id, "loud", float(i), recorded("loud"))
    ledger = Ledger(store)
    ledger.rebase("base", "base.tar.gz")
    for i in range(3):
        id = store.begin(f"quiet {i}", 1.0)
        store.give(f"quiet {i}", Outcome(success=True), now=100.0 + i)
        assemble(store, id, f"quiet {i}", 1.0, recorded())
    _, claimed = ledger.claim(4, 4, share_of_sender=0.25)
    assert [e.sender for e in claimed] == ["loud", "quiet 0", "quiet 1", "quiet 2"]


def test_what_the_head_has_learnt_elsewhere_is_given_up_by_who_claims_it(
    store: EpisodeStore,
) -> None:
    ids = episodes_with_feedback(store, 3)
    ledger = Ledger(store)
    ledger.rebase("base", "base.tar.gz")
    candidate, claimed = ledger.claim(3)
    assert candidate is not None and len(claimed) == 3
    ledger.known(candidate.id, [ids[1], "unknown"])
    ledger.abandon(candidate.id)
    assert [store.episode(id).status for id in ids] == ["new", "promoted", "new"]
    assert store.episode(ids[1]).candidate == "base"


@pytest.mark.parametrize("change", ["rated again", "withdrawn", "rated first"])
def test_a_dialogue_that_was_cut_before_feedback_came_or_went_is_cut_again(
    store: EpisodeStore, change: str
) -> None:
    id = store.begin("anna", 1.0)
    if change != "rated first":
        store.give("anna", Outcome(success=True), id="f", now=6.0)
    cut_at = store.settled(id)
    if change == "withdrawn":
        store.withdraw("f")
    else:
        store.give("anna", Outcome(success=False), id="g", now=9.0)
    assert not assembly.keep(store, id, "anna", 1.0, recorded(), rated=cut_at)
    assert store.episode(id).ended is None
    assert assembly.waiting(store, quiet_since=2.0) == [(id, "anna")]
    assert assemble(store, id, "anna", 1.0, recorded())


def test_rated_conversations_are_assembled_before_silent_ones(store: EpisodeStore) -> None:
    store.begin("silent", 1.0)
    id = store.begin("rated", 3.0)
    store.give("rated", Outcome(success=True), now=4.0)
    assert assembly.waiting(store, quiet_since=2.0, limit=1) == [(id, "rated")]


def test_silent_conversations_that_are_gone_are_given_up_and_those_that_go_on_are_not(
    store: EpisodeStore,
) -> None:
    ids = [store.begin(sender, 1.0) for sender in ("gone", "goes on")]
    assert assembly.lose(store, before=1.0, absent=["gone"]) == 0
    assert [store.episode(id).status for id in ids] == ["open", "open"]
    assert assembly.lose(store, before=2.0, absent=["gone"]) == 0, "nobody rated it"
    assert [store.episode(id).status for id in ids] == ["lost", "open"]
    assert assembly.waiting(store, quiet_since=2.0) == [(ids[1], "goes on")]
    assert redact(store, "drop", before=2.0) == 1
    assert "gone" not in _everything(store)


def test_feedback_on_a_redacted_conversation_does_not_go_to_the_one_before(
    store: EpisodeStore,
) -> None:
    first, second = store.begin("anna", 1.0), store.begin("anna", 20.0)
    store.give("anna", Outcome(success=True), episode=first, now=2.0)
    assemble(store, first, "anna", 1.0, recorded())
    assemble(store, second, "anna", 20.0, recorded(ended=25.0))
    assembly.settle_silent(store, 30.0, None)
    assert redact(store, "drop", before=30.0) == 1
    for episode in (None, second):
        with pytest.raises(FeedbackConflictError, match="has been deleted"):
            store.give("anna", Outcome(success=False), episode=episode)
    assert store.episode(first).outcome == Outcome(success=True)


def test_feedback_in_any_order_at_the_same_time_is_all_stored(store: EpisodeStore) -> None:
    senders = [f"user {i}" for i in range(30)]
    for sender in senders:
        store.begin(sender, 1.0)
    errors: List[Exception] = []

    def give(order: List[str], name: str) -> None:
        try:
            for i in range(10):
                given = [Given(s, Outcome(success=True), id=f"{name} {i} {s}") for s in order]
                answers = store.give_all(given)
                assert [answer.sender for answer in answers] == order  # type: ignore[union-attr]
        except Exception as error:
            errors.append(error)

    threads = [
        threading.Thread(target=give, args=(order, name))
        for name, order in (("a", senders), ("b", senders[::-1]))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_a_model_that_names_episodes_in_its_manifest_keeps_them_from_being_learnt_again(
    store: EpisodeStore,
) -> None:
    ids = episodes_with_feedback(store, 2)
    Ledger(store).rebase("restored", "r.tar.gz", learnt=[ids[0], "gone"])
    assert [store.episode(id).status for id in ids] == ["promoted", "new"]


def test_concurrent_learners_claim_every_episode_once(store: EpisodeStore) -> None:
    ids = episodes_with_feedback(store, 30)
    Ledger(store).rebase("base", "base.tar.gz")
    claimed: List[str] = []

    def learn() -> None:
        ledger = Ledger(store)
        while True:
            candidate, batch = ledger.claim(2)
            if candidate is None:
                return
            claimed.extend(e.id for e in batch)

    threads = [threading.Thread(target=learn) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(ids)


def test_everything_of_a_sender_is_deleted_and_does_not_come_back(store: EpisodeStore) -> None:
    id = store.begin("anna", 1.0)
    store.give("anna", Outcome(success=True), "my name is anna")
    assemble(store, id, "anna", 1.0, recorded())
    said = {"sender_id": "anna", "timestamp": 1.0, "event": "user"}
    CollectedEvents(store).add("broker", [(1, said)])
    deleted = forget(store, "anna", now=50.0)
    assert deleted == {"judgements": 0, "episodes": 1, "feedback": 1, "events": 1}
    store.begin("anna", 1.0)
    assert not assemble(store, id, "anna", 1.0, recorded())
    assert list(store.episodes()) == []
    assert "anna" not in _everything(store)
    # Whoever writes as anna now may be somebody else.
    assert store.knows("anna") and not store.knows("bert")
    store.begin("anna", 60.0)
    assert store.counts()["open"] == 1


def test_what_is_deleted_does_not_come_back_by_what_is_stored_at_that_moment(
    store: EpisodeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, since = threading.Event(), forgotten_until

    def slowly(*arguments: Any) -> float:
        until = since(*arguments)
        asked.set()
        time.sleep(0.5)
        return until

    id = episode_id("bert", 1.0)
    for module in ("store", "assembly"):
        monkeypatch.setattr(f"rasa_hybrid.feedback.{module}.forgotten_until", slowly)
    for sender, act in (
        ("anna", lambda: store.begin("anna", 1.0)),
        ("bert", lambda: assemble(store, id, "bert", 1.0, recorded("bert"))),
    ):
        asked.clear()
        storing = threading.Thread(target=act)
        storing.start()
        assert asked.wait(30)
        forget(store, sender)
        storing.join()
        assert list(store.episodes()) == []


def test_a_sender_may_be_deleted_several_times_at_once(store: EpisodeStore) -> None:
    failed: List[BaseException] = []
    together = threading.Barrier(4)

    def delete() -> None:
        together.wait()
        try:
            forget(store, "anna")
        except sa.exc.SQLAlchemyError as error:
            failed.append(error)

    for _ in range(5):
        threads = [threading.Thread(target=delete) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []


def test_a_deleted_episode_takes_the_candidate_with_it_that_was_taught_by_it(
    store: EpisodeStore,
) -> None:
    ids = episodes_with_feedback(store, 2)
    ledger = Ledger(store)
    ledger.rebase("base", "base.tar.gz")
    candidate, _ = ledger.claim(2)
    assert candidate is not None
    forget(store, "user 0")
    with pytest.raises(LostClaimError, match="1 are still its own"):
        ledger.finish(candidate.id, "c.tar.gz", ids)
    ledger.abandon(candidate.id)
    assert store.episode(ids[1]).status == "new"


def test_an_episode_that_is_deleted_before_the_decision_takes_the_candidate_with_it(
    store: EpisodeStore,
) -> None:
    ids = episodes_with_feedback(store, 2)
    ledger = Ledger(store)
    ledger.rebase("base", "base.tar.gz")
    candidate, _ = ledger.claim(2)
    assert candidate is not None
    ledger.finish(candidate.id, "c.tar.gz", ids)
    forget(store, "user 0")
    assert ledger.decide(candidate.id, True, {}, ids) == "abandoned"
    head = ledger.head()
    assert head is not None and head.id == "base"
    assert store.episode(ids[1]).status == "new"


@pytest.mark.parametrize("how", ["drop", "hash"])
def test_personal_text_is_gone_after_learning_and_figures_stay(
    store: EpisodeStore, how: str
) -> None:
    id = store.begin("anna", 1.0)
    store.give("anna", Outcome(success=True), "anna says hello", id="f")
    assemble(store, id, "anna", 1.0, recorded())
    assert redact(store, how, before=10.0) == 0
    ledger = Ledger(store)
    ledger.rebase("base", "base.tar.gz")
    candidate, _ = ledger.claim(1)
    assert candidate is not None
    ledger.finish(candidate.id, "c.tar.gz", [id])
    ledger.decide(candidate.id, True, {})
    assert redact(store, how, before=5.0) == 0
    assert redact(store, how, before=10.0) == 1
    everything = _everything(store)
    assert "anna" not in everything and "thai" not in everything
    found = store.episode(id)
    assert found.redacted and found.outcome == Outcome(success=True)
    assert found.recorded is not None
    step = found.recorded.steps[0][0]
    assert step.decision == Decision("utter_offer", 0.75)
    assert [chance for _, chance in step.belief["cuisine"]] == [0.9, 0.1]
    assert ledger.release("promoted") == 0
    # Nobody else takes their place, and they themselves may still ask what became of their feedback.
    assert store.knows("anna")
    receipt = store.receipt("f")
    assert store.owns(receipt, store.token("anna")) and store.gave(receipt, "anna")
    assert not store.owns(receipt, store.token("bert")) and not store.gave(receipt, "bert")
    assert store.give("anna", Outcome(success=True), "anna says hello", id="f").duplicate
    # It stands under the hash of the sender now, and is still the sender's to have deleted.
    assert forget(store, "anna") == {"judgements": 0, "episodes": 1, "feedback": 1, "events": 0}
    assert id not in _everything(store)


def test_comments_on_lost_conversations_are_dropped_in_time(store: EpisodeStore) -> None:
    id = store.begin("anna", 1.0)
    store.give("anna", Outcome(success=True), "my name is anna", id="f", now=2.0)
    assembly.lose(store, before=3.0)
    assert redact(store, "drop", before=2.0) == 0
    assert redact(store, "drop", before=3.0) == 1
    assert "anna" not in _everything(store)
    assert store.episode(id).outcome == Outcome(success=True)


def test_personal_text_does_not_come_back_with_another_look_at_the_conversation(
    store: EpisodeStore,
) -> None:
    id = store.begin("anna", 1.0)
    assemble(store, id, "anna", 1.0, recorded())
    assembly.settle_silent(store, 6.0, None)
    assert redact(store, "drop", before=10.0) == 1
    assert not assemble(store, id, "anna", 1.0, recorded())
    everything = _everything(store)
    assert "anna" not in everything and "thai" not in everything


def test_feedback_on_a_conversation_whose_events_are_gone_says_so(store: EpisodeStore) -> None:
    store.begin("anna", 1.0)
    store.give("anna", Outcome(success=True), id="f", now=2.0)
    assert assembly.lose(store, before=3.0) == 1
    with pytest.raises(FeedbackConflictError, match="is lost: its dialogue is gone"):
        store.give("anna", Outcome(success=False), id="g")
    assert store.receipt("f").status == "lost"
    assert store.withdraw("f").status == store.receipt("f").status == "withdrawn"
    assert store.counts()["lost"] == 1


def test_events_of_before_a_deletion_do_not_come_back_from_a_broker(store: EpisodeStore) -> None:
    forget(store, "anna", now=5.0)
    collected = CollectedEvents(store)
    received = [(i, {"sender_id": "anna", "timestamp": at}) for i, at in enumerate((4.0, 5.0, 6.0))]
    assert collected.add("b", received) == 1
    assert [e["timestamp"] for e in collected.of("anna")] == [6.0]


def test_events_of_a_broker_are_kept_once_and_in_order(store: EpisodeStore) -> None:
    def event(at: float) -> Any:
        return {"sender_id": "anna", "timestamp": at, "event": "action"}

    collected = CollectedEvents(store)
    assert collected.up_to("b") == -1
    assert collected.add("b", [(0, event(2.0)), (1, event(1.0))]) == 2
    assert collected.add("b", [(1, event(1.0)), (2, event(3.0))]) == 1
    assert [e["timestamp"] for e in collected.of("anna")] == [1.0, 2.0, 3.0]
    assert collected.drop("anna", 3.0) == 2
    assert collected.up_to("b") == 2
    assert collected.senders() == ["anna"]


def test_tables_are_those_that_the_migrations_make(url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    store = EpisodeStore(url)
    with store.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": "hybrid_schema_version"}
        )
        assert compare_metadata(context, metadata) == []
    store.close()


def test_store_of_a_later_version_is_refused(url: str) -> None:
    store = EpisodeStore(url)
    with store.writing() as connection:
        connection.execute(sa.text("UPDATE hybrid_schema_version SET version_num = '9999'"))
    store.close()
    with pytest.raises(StoreError, match="schema 9999, this version of rasa_hybrid knows"):
        EpisodeStore(url)


def test_token_of_a_conversation_is_the_same_in_every_process(url: str) -> None:
    one, other = EpisodeStore(url), EpisodeStore(url)
    assert one.token("anna") == other.token("anna") != one.token("bert")
    one.close()
    other.close()


@pytest.mark.parametrize(
    "url, message",
    [
        ("sqlite://", "has to be a file"),
        ("nonsense", "can't be opened"),
        ("sqlite:////nowhere/at/all.db", "can't be opened"),
    ],
)
def test_store_that_can_not_be_opened_says_why(url: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        EpisodeStore(url)


_GIVE = """
import sys
from rasa_hybrid.feedback.records import Outcome
from rasa_hybrid.feedback.store import EpisodeStore
store = EpisodeStore(sys.argv[1])
for i in range(100000):
    store.begin(f"{sys.argv[2]}-{i}", 1.0)
    print(store.give(f"{sys.argv[2]}-{i}", Outcome(success=True), id=f"{sys.argv[2]}-{i}").id, flush=True)
"""


@pytest.mark.process
def test_acknowledged_feedback_survives_killed_writers(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'feedback.db'}"
    EpisodeStore(url).close()
    acknowledged: List[str] = []
    for i in range(2):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", _GIVE, url, f"{i}-{j}"], stdout=subprocess.PIPE, text=True
            )
            for j in range(2)
        ]
        for writer in writers:
            assert writer.stdout is not None
            acknowledged += [writer.stdout.readline().strip() for _ in range(30 + 7 * i)]
        for writer in writers:
            writer.kill()
            assert writer.stdout is not None
            rest = writer.stdout.read()
            acknowledged += rest[: rest.rfind("\n") + 1].split()
            writer.wait()
    store = EpisodeStore(url)
    assert len(acknowledged) >= 100
    assert all(store.receipt(id).status == "accepted" for id in acknowledged)
    with sqlite3.connect(tmp_path / "feedback.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _everything(store: EpisodeStore) -> str:
    with store.reading() as connection:
        tables = ("hybrid_episodes", "hybrid_feedback", "hybrid_events", "hybrid_forgotten")
        rows = [
            list(map(str, row))
            for table in tables
            for row in connection.execute(sa.text(f"SELECT * FROM {table}"))
        ]
    return json.dumps(rows)
