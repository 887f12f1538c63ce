"""What the network reads of a turn."""

from __future__ import annotations

import gc
import random
from dataclasses import replace
from typing import Dict, Tuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rasa_hybrid.dialogue import (
    DONTCARE,
    NONE,
    Dialogue,
    Entity,
    Hypothesis,
    Override,
    ResultSummary,
    SystemAction,
    Turn,
    Utterance,
)
from rasa_hybrid.model.candidates import SlotValues
from rasa_hybrid.model.encoded import DONTCARE_CELL, NONE_CELL, UNLABELLED, EncodedTurn, Tracked
from rasa_hybrid.model.encoding import Encoder, summary_features
from rasa_hybrid.model.preparation import prepare
from tests.model.small_worlds import act, bookings, tiny_settings, wild_dialogue, wild_encoder


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """Knows the slots movie, date and time."""
    return prepare(tiny_settings(), bookings(20))


def goals(encoder: Encoder, tracked: Tracked, turn: EncodedTurn) -> Dict[str, object]:
    """The labels of a turn by slot; None if unlabelled."""
    return {
        slot: None if label == UNLABELLED else tracked.values[m][label]
        for m, (slot, label) in enumerate(zip(encoder.ontology.slots, turn.labels))
    }


def mentioned(encoder: Encoder, tracked: Tracked, turn: EncodedTurn) -> Dict[str, set]:
    """By slot the values that the user's words mention."""
    found: Dict[str, set] = {}
    for match in turn.matches:
        slot = encoder.ontology.slots[match.slot]
        found.setdefault(slot, set()).add(tracked.values[match.slot][match.cell])
    return found


def heard(encoder: Encoder, *turns: Turn) -> Tuple[Tracked, EncodedTurn]:
    """The last turn as it is encoded, and what is remembered then."""
    tracked = encoder.start()
    for turn in turns[:-1]:
        encoder.observe(tracked, turn)
        encoder.close(tracked, turn)
    return tracked, encoder.observe(tracked, turns[-1], labelled=True)


def test_a_mentioned_value_becomes_a_candidate_and_can_be_the_label(encoder):
    tracked, turn = heard(encoder, Turn(Utterance("moana on friday"), goal={"movie": "moana"}))
    assert mentioned(encoder, tracked, turn) == {"movie": {"Moana"}, "date": {"friday"}}
    assert goals(encoder, tracked, turn) == {"movie": "Moana", "date": NONE, "time": NONE}


def test_none_and_any_are_always_candidates(encoder):
    turn = Turn(Utterance("any day"), goal={"date": DONTCARE})
    tracked, encoded = heard(encoder, turn)
    assert encoded.labels == [
        DONTCARE_CELL if slot == "date" else NONE_CELL for slot in encoder.ontology.slots
    ]
    assert all(values[:2] == [NONE, DONTCARE] for values in tracked.values)


def test_a_label_that_nobody_mentioned_and_no_list_holds_is_not_learnt(encoder):
    _, turn = heard(encoder, Turn(Utterance("hm"), goal={"movie": "Moana"}))
    assert turn.labels[encoder.ontology.position("movie")] == UNLABELLED


def test_a_turn_without_goal_has_no_labels(encoder):
    _, turn = heard(encoder, Turn(Utterance("moana")))
    assert turn.labels == [UNLABELLED] * 3


def test_what_the_system_said_is_a_candidate_from_the_next_turn_on(encoder):
    offer = act("utter_offer", ("offer", "movie", "a film of another town"))
    first = Turn(Utterance("hi"), actions=(offer,))
    tracked, turn = heard(
        encoder, first, Turn(Utterance("ok"), goal={"movie": "A film of another town"})
    )
    assert goals(encoder, tracked, turn)["movie"] == "a film of another town"
    assert len(turn.cell_acts) == 1


def test_the_words_of_a_prompt_without_acts_are_read_and_its_values_are_candidates():
    encoder = wild_encoder(context=False, system_words=True)
    films, tracked = encoder.ontology.position("movie"), encoder.start()
    unmapped = SystemAction("other", text="no Star Wars on friday")
    mapped = act("utter_offer", ("offer", "movie", "Moana"), text="how about Moana")
    encoder.close(tracked, Turn(actions=(unmapped, mapped)))
    turn = encoder.observe(tracked, Turn(Utterance("ok")))
    assert turn.system_words == ("no", "star", "wars", "on", "friday")
    values = tracked.values[films]
    named = {values[cell] for slot, cell, _ in turn.cell_acts if slot == films}
    assert named == {"Moana", "Star Wars"}


def test_words_of_the_system_are_left_alone_unless_asked_for():
    encoder = wild_encoder(context=False)
    tracked = encoder.start()
    encoder.close(tracked, Turn(actions=(SystemAction("other", text="no Star Wars on friday"),)))
    turn = encoder.observe(tracked, Turn(Utterance("ok")))
    assert turn.system_words == () and turn.cell_acts == []


def test_a_value_keeps_its_place_for_the_whole_dialogue(encoder):
    tracked = encoder.start()
    movie = encoder.ontology.position("movie")
    for text in ("moana", "star wars", "moana not star wars", "STAR WARS"):
        encoder.observe(tracked, Turn(Utterance(text)))
    assert tracked.values[movie] == [NONE, DONTCARE, "Moana", "Star Wars"]


def test_spellings_of_a_value_share_a_place_also_if_it_is_not_listed(encoder):
    said = [act("utter_offer", ("offer", "movie", name)) for name in ("New Film", "new film")]
    tracked, _ = heard(encoder, Turn(actions=tuple(said)), Turn(Utterance("hm")))
    assert tracked.values[encoder.ontology.position("movie")][2:] == ["New Film"]


def test_recogniser_hypotheses_are_weighted_by_their_confidence(encoder):
    user = Utterance("friday", (Hypothesis("friday", 0.6), Hypothesis("saturday", 0.2)))
    tracked, turn = heard(encoder, Turn(user))
    assert turn.utterance_weights == pytest.approx([0.75, 0.25])
    assert mentioned(encoder, tracked, turn)["date"] == {"friday", "saturday"}


def test_hypotheses_without_confidence_weigh_the_same(encoder):
    user = Utterance("a", tuple(Hypothesis(text, 0.0) for text in "abcde"))
    _, turn = heard(encoder, Turn(user))
    assert turn.utterance_weights == pytest.approx([1 / 3] * 3)  # n_best_hypotheses: 3


def test_the_papers_model_reads_the_best_hypothesis():
    encoder = prepare(tiny_settings("liu2018"), bookings(5))
    user = Utterance("friday", (Hypothesis("friday", 0.6), Hypothesis("saturday", 0.4)))
    _, turn = heard(encoder, Turn(user))
    assert [utterance.text for utterance in turn.utterances] == ["friday"]


def test_an_override_is_in_force_from_its_place_in_the_turn_on(encoder):
    actions = (act("utter_request_date"), act("utter_request_time"))
    turn = Turn(
        Utterance("hm"),
        overrides=(Override("date", "friday", "form", 0), Override("time", "6:00 pm", "form", 1)),
        actions=actions,
    )
    [encoded] = encoder.dialogue(Dialogue("1", (turn,)))
    date, time = encoder.ontology.position("date"), encoder.ontology.position("time")
    assert [slot for slot, _ in encoded.overrides] == [date]
    assert [slot for slot, _ in encoded.late_overrides] == [time]
    assert [[slot for slot, _ in decision.overrides] for decision in encoded.decisions] == [
        [],
        [time],
        [time],
    ]


def test_what_a_teacher_sets_is_not_undone_by_others_in_the_same_turn(encoder):
    turn = Turn(
        Utterance("hm"),
        overrides=(
            Override("date", "friday", "teacher"),
            Override("date", "saturday", "form"),
        ),
    )
    tracked, encoded = heard(encoder, turn)
    slot, cell = encoded.overrides[-1]
    assert tracked.values[slot][cell] == "friday"


def test_an_override_of_a_slot_that_is_not_tracked_changes_nothing(encoder):
    turn = Turn(Utterance("hm"), overrides=(Override("colour", "red", "form"),))
    assert heard(encoder, turn)[1].overrides == []


def rejecting(value: str) -> Turn:
    refusal = Override("date", NONE, "form", 1, rejects=value)
    return Turn(Utterance(value), overrides=(refusal,), actions=(act("utter_request_date"),))


def test_a_rejected_value_stays_rejected_until_the_user_says_it_again(encoder):
    date = encoder.ontology.position("date")
    for again in (Utterance("friday"), Utterance("", entities=(Entity("date", "Friday"),))):
        tracked, turn = heard(encoder, rejecting("friday"), Turn(Utterance("hm")))
        assert [(slot, tracked.values[slot][cell]) for slot, cell in turn.rejected] == [
            (date, "friday")
        ]
        assert heard(encoder, rejecting("friday"), Turn(again))[1].rejected == []


def test_a_rejected_value_can_not_be_a_label(encoder):
    turn = Turn(Utterance("hm"), goal={"date": "friday"})
    assert heard(encoder, rejecting("friday"), turn)[1].labels[
        encoder.ontology.position("date")
    ] == (UNLABELLED)


def test_each_action_of_a_turn_is_decided_given_those_before_and_listening_ends_it(encoder):
    actions = (act("utter_greet"), act("utter_offer", learn=False))
    [turn] = encoder.dialogue(Dialogue("1", (Turn(Utterance("hi"), actions=actions),), weight=0.5))
    names = encoder.vocabulary.actions
    greet, offer = names["utter_greet"], names["utter_offer"]
    assert [(d.taken, d.action, d.weight) for d in turn.decisions] == [
        ((), greet, 0.5),
        ((greet,), offer, 0.0),
        ((greet, offer), 0, 0.5),
    ]


def test_what_an_expert_would_have_done_is_learnt_in_the_place_of_what_was_done(encoder):
    actions = (act("utter_greet"), act("utter_offer", learn=False), act("utter_greet"))
    expert = ("utter_offer", "utter_offer", "utter_new", "utter_offer")
    turns = [Turn(Utterance("hi"), actions=actions, expert=expert[:n]) for n in (4, 1, 0)]
    right, cut, nothing = encoder.dialogue(Dialogue("1", tuple(turns), weight=0.5))
    greet, offer = (encoder.vocabulary.actions[n] for n in ("utter_greet", "utter_offer"))
    past = [(), (greet,), (greet, offer), (greet, offer, greet)]
    assert [d.taken for d in right.decisions] == past
    learnt = [(d.action, d.weight) for d in right.decisions if d.weight]
    assert learnt == [(offer, 0.5), (offer, 0.5)]
    assert [d.weight for d in right.decisions] == [0.5, 0.0, 0.0, 0.5]
    assert [(d.taken, d.weight) for d in cut.decisions] == list(zip(past, [0.5, 0.0, 0.0, 0.0]))
    assert [d.weight for d in nothing.decisions] == [0.0] * 4


def test_the_end_of_a_turn_that_is_not_over_is_not_learnt(encoder):
    turns = (Turn(Utterance("hi"), actions=(act("utter_greet"),)),) * 2
    over = encoder.dialogue(Dialogue("1", turns))
    going_on = encoder.dialogue(Dialogue("1", turns, complete=False))
    assert [len(turn.decisions) for turn in over] == [2, 2]
    assert [len(turn.decisions) for turn in going_on] == [2, 1]


def test_that_the_system_keeps_silent_before_anybody_spoke_is_not_learnt(encoder):
    [turn] = encoder.dialogue(Dialogue("1", (Turn(),)))
    assert [decision.weight for decision in turn.decisions] == [0.0]


def test_that_a_system_should_have_spoken_first_is_learnt_from_an_expert(encoder):
    [turn] = encoder.dialogue(Dialogue("1", (Turn(expert=("utter_greet",)),)))
    greet = encoder.vocabulary.actions["utter_greet"]
    assert [(d.action, d.weight) for d in turn.decisions] == [(greet, 1.0)]


def test_an_action_without_a_name_in_the_model_is_not_learnt_as_listening(encoder):
    turns = (Turn(Utterance("hi"), actions=(SystemAction("utter_new"),)),)
    [turn] = encoder.dialogue(Dialogue("1", turns))
    assert [decision.weight for decision in turn.decisions] == [0.0, 1.0]


def test_the_papers_model_decides_once_a_turn():
    encoder = prepare(tiny_settings("liu2018"), bookings(5))
    for dialogue in bookings(5):
        for turn, encoded in zip(dialogue.turns, encoder.dialogue(dialogue)):
            names = [encoder.vocabulary.actions.names[d.action] for d in encoded.decisions]
            assert names == [action.name for action in turn.actions[:1]]


def test_the_labels_of_entities_become_tags_of_the_words_they_cover():
    examples = [
        Utterance("to new york city", entities=(Entity("city", "New York", 3, 16, role="to"),))
    ]
    encoder = prepare(tiny_settings(), bookings(3), examples)
    [begins, inside] = (encoder.vocabulary.tags[f"{prefix}-city#to"] for prefix in "BI")
    assert encoder.utterance(examples[0]).tags == (0, begins, inside, inside)
    assert encoder.utterance(Utterance("to new york")).tags == ()
    assert encoder.utterance(Utterance("to new york", intent="inform")).tags == (0, 0, 0)


def test_an_entity_whose_place_is_unknown_leaves_the_words_untagged():
    example = Utterance("to new york", entities=(Entity("city", "New York"),))
    encoder = prepare(tiny_settings(), bookings(3), [example])
    assert encoder.utterance(example).tags == ()


def test_in_a_dialogue_with_labelled_entities_other_utterances_have_none(encoder):
    labelled = Turn(Utterance("moana", entities=(Entity("movie", "Moana", 0, 5),)))
    with_labels = encoder.dialogue(Dialogue("1", (labelled, Turn(Utterance("yes please")))))
    assert with_labels[1].utterances[0].tags == (0, 0)
    without = encoder.dialogue(Dialogue("1", (Turn(Utterance("yes please")),)))
    assert without[0].utterances[0].tags == ()


def test_an_entity_with_the_name_of_a_slot_is_a_candidate(encoder):
    user = Utterance("", intent="inform", entities=(Entity("date", "Some Day"),))
    tracked, turn = heard(encoder, Turn(user, goal={"date": "some day"}))
    assert goals(encoder, tracked, turn)["date"] == "Some Day"


def test_spans_of_a_tagger_become_candidates_of_open_slots_only():
    listed = {"name": SlotValues({}, kind="open"), "movie": SlotValues({"Moana": ()})}
    encoder = prepare(tiny_settings(), [], listed=listed)
    tracked = encoder.start()
    turn = Turn(Utterance("i am Zork's friend"))
    spans = [("name", 2, 3, 0.9), ("movie", 0, 1, 0.9)]
    encoded = encoder.observe(tracked, turn, spans=spans)
    assert mentioned(encoder, tracked, encoded) == {"name": {"Zork"}}


def test_spans_belong_to_the_text_also_if_it_is_not_the_first_hypothesis():
    encoder = prepare(tiny_settings(), [], listed={"name": SlotValues({}, kind="open")})
    user = Utterance("i am zork", (Hypothesis("hm", 0.5), Hypothesis("i am zork", 0.5)))
    tracked = encoder.start()
    turn = encoder.observe(tracked, Turn(user), spans=[("name", 2, 3, 0.9)])
    assert [(m.hypothesis, m.start, m.end) for m in turn.matches] == [(1, 2, 3)]


@pytest.mark.parametrize(
    ("summary", "features"),
    [
        (ResultSummary(), [1, 0, 0, 0, 0, 0, 0, 0]),
        (ResultSummary(0, 0), [0, 1, 0, 0, 0, 0, 0, 1]),
        (ResultSummary(1, 1), [0, 0, 1, 0, 0, 0, 1, 0]),
        (ResultSummary(3, 0), [0, 0, 0, 1, 0, 0, 0, 1]),
        (ResultSummary(10, 9), [0, 0, 0, 0, 1, 0, 1, 0]),
        (ResultSummary(11), [0, 0, 0, 0, 0, 1, 1, 0]),
    ],
)
def test_the_knowledge_bases_answer_becomes_a_few_features(summary, features):
    assert summary_features(summary).tolist() == features


def as_read(turn: EncodedTurn) -> Dict[str, object]:
    """What the network reads of a turn, comparable."""
    read = dict(vars(turn))
    for labelled in ("labels", "decisions", "late_overrides", "weight"):
        read.pop(labelled)
    read["utterances"] = [utterance.words for utterance in turn.utterances]
    read["summary"] = turn.summary.tolist()
    return read


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6))
@pytest.mark.parametrize("preset", ["default", "liu2018"])
def test_turn_by_turn_gives_the_same_as_the_whole_dialogue(preset, seed):
    encoder, dialogue = ENCODERS[preset], wild_dialogue(random.Random(seed))
    tracked = encoder.start()
    for turn, whole in zip(dialogue.turns, encoder.dialogue(dialogue)):
        unlabelled = replace(turn, goal=None)
        now = encoder.observe(tracked, unlabelled)
        assert as_read(now) == as_read(whole)
        given_before = [
            encoder.decision(
                tracked,
                turn.actions[:taken],
                turn.actions[taken].context if taken < len(turn.actions) else turn.closing_context,
                [o for o in turn.overrides if 0 < o.after <= taken],
            )
            for taken in range(len(whole.decisions))
        ]
        assert [d[:2] + d[4:] for d in given_before] == [d[:2] + d[4:] for d in whole.decisions]
        assert encoder.close(tracked, unlabelled) == whole.late_overrides


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6))
@pytest.mark.parametrize("preset", ["default", "liu2018"])
def test_everything_that_is_encoded_points_at_something_that_exists(preset, seed):
    encoder, dialogue = ENCODERS[preset], wild_dialogue(random.Random(seed))
    slots, vocabulary = len(encoder.ontology.slots), encoder.vocabulary
    tracked = encoder.start()
    for turn in dialogue.turns:
        encoded = encoder.observe(tracked, turn, labelled=True)
        cells = [len(values) for values in tracked.values]
        assert encoded.cells == cells and len(encoded.labels) == slots
        assert all(label < cells[m] for m, label in enumerate(encoded.labels))
        for match in encoded.matches:
            words = encoded.utterances[match.hypothesis].words
            assert 0 <= match.start < match.end <= len(words)
            assert 0 <= match.cell < cells[match.slot]
        for slot, cell, _ in encoded.cell_features:
            assert 0 <= cell < cells[slot]
        for slot, cell in [*encoded.overrides, *encoded.rejected]:
            assert 0 <= cell < cells[slot]
        assert all(0 < feature < len(vocabulary.features) for feature in encoded.features)
        assert all(0 <= name < len(vocabulary.acts) for name, _, _ in encoded.acts)
        assert len(encoded.utterances) == len(encoded.utterance_weights)
        assert not encoded.utterance_weights or sum(encoded.utterance_weights) == pytest.approx(1)
        for values, positions in zip(tracked.values, tracked.positions):
            assert len(values) == len(positions) == len(set(values))
        encoder.close(tracked, turn)


ENCODERS = {preset: wild_encoder(preset) for preset in ("default", "liu2018")}


def test_encoding_a_dialogue_twice_gives_the_same(encoder):
    for dialogue in bookings(3):
        for one, other in zip(encoder.dialogue(dialogue), encoder.dialogue(dialogue)):
            assert as_read(one) == as_read(other)
            assert one.decisions == other.decisions and one.labels == other.labels


def test_many_dialogues_are_encoded_as_each_alone_and_garbage_is_collected_again(encoder):
    dialogues = bookings(3)
    for dialogue, turns in zip(dialogues, encoder.dialogues(dialogues)):
        assert [*map(as_read, turns)] == [*map(as_read, encoder.dialogue(dialogue))]
    with pytest.raises(AttributeError):
        encoder.dialogues(["no dialogue"])
    assert gc.isenabled()


def test_a_copy_of_what_is_remembered_is_independent(encoder):
    tracked = encoder.start()
    encoder.observe(tracked, Turn(Utterance("moana")))
    copy = tracked.copy()
    encoder.observe(tracked, Turn(Utterance("star wars")))
    encoder.close(tracked, rejecting("friday"))
    assert copy.values[encoder.ontology.position("movie")][2:] == ["Moana"]
    assert not copy.rejected and copy.last_actions == ()


def test_features_of_an_answer_can_not_be_changed_by_who_got_them():
    with pytest.raises(ValueError, match="read-only"):
        summary_features(ResultSummary(1, 1))[0] = 1.0
    assert isinstance(summary_features(ResultSummary()), np.ndarray)
