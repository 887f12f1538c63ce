"""The model as it acts is the model as it learns: NumPy equals TensorFlow, one at a time equals a batch."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Dict, List, Sequence, Tuple

import numpy as np
import pytest
import tensorflow as tf

from rasa_hybrid.dialogue import (
    DONTCARE,
    NONE,
    Belief,
    Dialogue,
    Override,
    ResultSummary,
    SystemAction,
    Turn,
    Utterance,
)
from rasa_hybrid.model.acting import ActingModel
from rasa_hybrid.model.batching import collate
from rasa_hybrid.model.candidates import SlotValues
from rasa_hybrid.model.encoding import Encoder
from rasa_hybrid.model.network import JointModel, Outputs, as_tensors
from rasa_hybrid.model.parameters import TEMPERATURE, sizes_of
from rasa_hybrid.model.preparation import prepare
from tests.model.small_worlds import (
    PRESETS,
    act,
    bookings,
    random_weights,
    tiny_settings,
    wild_dialogues,
    wild_encoder,
)

Spoken = Tuple[List[Belief], List[np.ndarray]]


def conversation_of(model: ActingModel, dialogue: Dialogue) -> Spoken:
    """Beliefs of all turns, and probabilities of all decisions that a labelled dialogue has a label for."""
    return conversations_of(model, [dialogue])[0]


def conversations_of(model: ActingModel, dialogues: Sequence[Dialogue]) -> List[Spoken]:
    """The same for conversations in lockstep."""
    per_turn = model.settings.actions_per_turn
    conversations = [model.start() for _ in dialogues]
    spoken: List[Spoken] = [([], []) for _ in dialogues]
    for t in range(max(len(d.turns) for d in dialogues)):
        going_on = [i for i, d in enumerate(dialogues) if t < len(d.turns)]
        turns = {i: dialogues[i].turns[t] for i in going_on}
        heard = model.observe([conversations[i] for i in going_on], [turns[i] for i in going_on])
        for i, belief in zip(going_on, heard):
            spoken[i][0].append(belief)
        for taken in range(per_turn + 1):
            last = {i: len(turns[i].actions) for i in going_on}
            deciding = [i for i in going_on if taken <= last[i]]
            if per_turn == 1:  # `action_listen` follows by itself
                deciding = [i for i in deciding if taken == 0 and last[i]]
            if not deciding:
                break
            probabilities = model.decide(
                [conversations[i] for i in deciding],
                [turns[i].summary for i in deciding],
                [turns[i].actions[:taken] for i in deciding],
                [
                    turns[i].actions[taken].context if taken < last[i] else turns[i].closing_context
                    for i in deciding
                ],
                [[o for o in turns[i].overrides if 0 < o.after <= taken] for i in deciding],
            )
            for i, row in zip(deciding, probabilities):
                spoken[i][1].append(row)
        model.close([conversations[i] for i in going_on], [turns[i] for i in going_on])
    return spoken


def learning_view(
    encoder: Encoder, weights: Dict[str, np.ndarray], dialogues: Sequence[Dialogue]
) -> Tuple[Outputs, Dict[str, np.ndarray]]:
    """What the network that learns says about whole dialogues, and the batch."""
    network = JointModel(encoder.settings, sizes_of(encoder.vocabulary, encoder.ontology), weights)
    batch = collate(encoder, [encoder.dialogue(dialogue) for dialogue in dialogues])
    return network(as_tensors(batch)), batch


def assert_equal_views(
    encoder: Encoder, weights: Dict[str, np.ndarray], dialogues: Sequence[Dialogue]
) -> None:
    outputs, batch = learning_view(encoder, weights, dialogues)
    beliefs = outputs.belief_in_force.numpy()
    chances = tf.nn.softmax(outputs.action_logits).numpy()
    length = batch["turn_mask"].shape[1]
    model, decided = ActingModel(encoder, weights), 0
    for d, dialogue in enumerate(dialogues):
        conversation = model.start()
        heard, decisions = conversation_of(model, dialogue)
        for t, turn in enumerate(dialogue.turns):
            model.observe([conversation], [turn])
            in_force = conversation.observed.in_force
            width = in_force.shape[-1]
            np.testing.assert_allclose(in_force, beliefs[d, t, :, :width], atol=1e-5)
            np.testing.assert_allclose(beliefs[d, t, :, width:], 0.0, atol=1e-5)
            for m, slot in enumerate(encoder.ontology.slots):
                values = conversation.tracked.values[m]
                assert heard[t].best(slot) == values[int(beliefs[d, t, m].argmax())]
            model.close([conversation], [turn])
        for row in decisions:
            assert batch["decision_at"][decided] // length == d
            np.testing.assert_allclose(row, chances[decided], atol=1e-5)
            assert row.argmax() == chances[decided].argmax()
            decided += 1
    assert decided == len(chances)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("seed", range(3))
def test_acting_equals_learning_on_any_dialogue(preset, seed):
    encoder = wild_encoder(preset)
    assert_equal_views(encoder, random_weights(encoder, seed), wild_dialogues(8, seed))


@pytest.mark.parametrize(
    "changes",
    [
        {"context": False},
        {"subword_buckets": 0},
        {"actions_per_turn": 1},
        {"n_best_hypotheses": 1},
        {"candidates": False},
        {"preset": "liu2018", "context": True, "actions_per_turn": 5},
        {"preset": "liu2018", "candidates": True},
        {"system_words": True},
        {"preset": "liu2018", "system_words": True},
    ],
    ids=str,
)
def test_acting_equals_learning_whatever_is_configured(changes):
    encoder = wild_encoder(**changes)
    assert_equal_views(encoder, random_weights(encoder), wild_dialogues(5, seed=5))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("seed", range(2))
def test_a_batch_of_conversations_equals_one_at_a_time(preset, seed):
    encoder = wild_encoder(preset)
    model = ActingModel(encoder, random_weights(encoder, seed))
    dialogues = wild_dialogues(8, seed + 20)
    for together, dialogue in zip(conversations_of(model, dialogues), dialogues):
        alone = conversation_of(model, dialogue)
        assert len(together[0]) == len(alone[0]) and len(together[1]) == len(alone[1])
        for one, other in zip(together[0], alone[0]):
            for slot in encoder.ontology.slots:
                assert dict(one.distributions[slot]) == pytest.approx(
                    dict(other.distributions[slot]), abs=1e-6
                )
        for row, other_row in zip(together[1], alone[1]):
            np.testing.assert_allclose(row, other_row, atol=1e-6)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_batch_of_dialogues_equals_one_dialogue_at_a_time_when_learning(preset):
    encoder = wild_encoder(preset)
    weights, dialogues = random_weights(encoder), wild_dialogues(4, seed=31)
    together, batch = learning_view(encoder, weights, dialogues)
    logits, at = together.action_logits.numpy(), batch["decision_at"] // batch["turn_mask"].shape[1]
    for d, dialogue in enumerate(dialogues):
        alone, _ = learning_view(encoder, weights, [dialogue])
        turns, cells = alone.belief.shape[1], alone.belief.shape[3]
        np.testing.assert_allclose(
            together.belief[d, :turns, :, :cells], alone.belief[0], atol=1e-5
        )
        np.testing.assert_allclose(logits[at == d], alone.action_logits, atol=1e-4)


def acting(preset: str = "default") -> ActingModel:
    encoder = prepare(tiny_settings(preset), bookings(10))
    return ActingModel(encoder, random_weights(encoder))


@pytest.mark.parametrize("preset", PRESETS)
def test_every_belief_and_every_decision_is_a_distribution(preset):
    encoder = wild_encoder(preset)
    model = ActingModel(encoder, random_weights(encoder))
    for beliefs, decisions in conversations_of(model, wild_dialogues(8, seed=7)):
        for belief in beliefs:
            for distribution in belief.distributions.values():
                chances = [probability for _, probability in distribution]
                assert sum(chances) == pytest.approx(1.0, abs=1e-5)
                assert chances == sorted(chances, reverse=True) and chances[-1] >= 0
                assert len({value for value, _ in distribution}) == len(distribution)
        for row in decisions:
            assert row.sum() == pytest.approx(1.0, abs=1e-5)
            assert (row >= 0).all()


@pytest.mark.parametrize("preset", PRESETS)
def test_a_temperature_calibrates_what_is_shown_and_nothing_else(preset):
    encoder = wild_encoder(preset)
    weights = random_weights(encoder)
    slots = encoder.ontology.slots
    hot = ActingModel(encoder, {**weights, TEMPERATURE: np.full(len(slots), 2.0)})
    dialogues = wild_dialogues(4, seed=3)
    for (plain, decided), (shown, decided_too) in zip(
        conversations_of(ActingModel(encoder, weights), dialogues), conversations_of(hot, dialogues)
    ):
        for before, after in zip(plain, shown):
            for slot in slots:
                roots = {v: np.sqrt(p) for v, p in before.distributions[slot]}
                for value, probability in after.distributions[slot]:
                    expected = roots[value] / sum(roots.values())
                    assert probability == pytest.approx(expected, abs=1e-5)
        for before, after in zip(decided, decided_too):
            np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("preset", PRESETS)
def test_what_others_set_is_believed_at_once(preset):
    model = acting(preset)
    conversation = model.start()
    turn = Turn(Utterance("moana"), overrides=(Override("date", "friday", "form"),))
    [belief] = model.observe([conversation], [turn])
    assert belief.distributions["date"][0] == ("friday", 1.0)


@pytest.mark.parametrize("preset", PRESETS)
def test_what_a_form_sets_between_two_actions_counts_for_the_second_and_is_carried_on(preset):
    model = acting(preset)
    conversation = model.start()
    done = (act("utter_request_date", ("request", "date")),)
    [before] = model.observe([conversation], [Turn(Utterance("moana"))])
    assert before.best("date") != "saturday" or preset == "liu2018"
    set_since = Override("date", "saturday", "form", after=1)
    first, second = (
        model.decide([conversation], [ResultSummary()], [done], [()], [overrides])[0]
        for overrides in ([], [set_since])
    )
    if preset == "default":
        assert not np.allclose(first, second)
    model.close([conversation], [Turn(Utterance("moana"), overrides=(set_since,), actions=done)])
    [after] = model.observe([conversation], [Turn(Utterance("ok"))])
    assert after.probability("date", "saturday") > 0


def test_a_value_that_was_rejected_is_not_believed_until_the_user_says_it_again():
    model = acting()
    conversation = model.start()
    heard = Turn(Utterance("on friday"), actions=(act("utter_request_time"),))
    model.observe([conversation], [heard])
    refusal = Override("date", NONE, "form", after=1, rejects="friday")
    model.close([conversation], [replace(heard, overrides=(refusal,))])
    [belief] = model.observe([conversation], [Turn(Utterance("hm"))])
    assert belief.probability("date", "friday") == 0.0
    model.close([conversation], [Turn(Utterance("hm"))])
    [belief] = model.observe([conversation], [Turn(Utterance("yes friday"))])
    assert belief.probability("date", "friday") > 0.0


def test_after_an_action_the_papers_system_listens():
    model = acting("liu2018")
    conversation = model.start()
    model.observe([conversation], [Turn(Utterance("moana"))])
    [row] = model.decide([conversation], [ResultSummary()], [[act("utter_greet")]], [()])
    assert row[0] == 1.0 and row.sum() == 1.0


def test_a_conversation_can_be_rewound():
    model = acting()
    conversation = model.start()
    model.observe([conversation], [Turn(Utterance("moana"))])
    model.close([conversation], [Turn(Utterance("moana"), actions=(act("utter_greet"),))])
    kept = conversation.copy()
    [first] = model.observe([conversation], [Turn(Utterance("on friday"))])
    model.close([conversation], [Turn(Utterance("on friday"))])
    model.observe([conversation], [Turn(Utterance("on saturday"))])
    [again] = model.observe([kept], [Turn(Utterance("on friday"))])
    assert again == first


def test_the_weights_that_a_model_was_given_are_its_own():
    encoder = prepare(tiny_settings(), bookings(5))
    weights = random_weights(encoder)
    model = ActingModel(encoder, weights)
    [before] = model.observe([model.start()], [Turn(Utterance("moana"))])
    model.observe([model.start()], [Turn(Utterance("on friday at 6"))])
    [after] = model.observe([model.start()], [Turn(Utterance("moana"))])
    assert after == before


@pytest.mark.parametrize("preset", PRESETS)
def test_without_goal_slots_the_policy_still_decides(preset):
    dialogues = [
        Dialogue(d.id, tuple(Turn(t.user, actions=t.actions, summary=t.summary) for t in d.turns))
        for d in bookings(6)
    ]
    encoder = prepare(tiny_settings(preset), dialogues)
    assert encoder.ontology.slots == ()
    assert_equal_views(encoder, random_weights(encoder), dialogues)
    model = ActingModel(encoder, random_weights(encoder))
    assert model.observe([model.start()], [Turn(Utterance("hi"))])[0].goal() == {}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(
    "user",
    [None, Utterance(""), Utterance("..."), Utterance("", intent="inform"), Utterance("zz qq xx")],
    ids=["nobody", "empty", "punctuation", "button", "unknown words"],
)
def test_dialogues_without_a_known_word_are_no_exception(preset, user):
    encoder = wild_encoder(preset)
    silent = Dialogue("1", (Turn(user, goal={}, actions=(act("utter_offer"),)), Turn(user)))
    assert_equal_views(encoder, random_weights(encoder), [silent, silent])


def test_an_utterance_of_hundreds_of_words_is_cut_and_not_refused():
    encoder = wild_encoder()
    long = Dialogue("1", (Turn(Utterance("i want to see moana " * 100), goal={"movie": "Moana"}),))
    assert_equal_views(encoder, random_weights(encoder), [long])


def test_an_action_that_the_model_has_no_name_for_can_have_been_taken():
    model = acting()
    conversation = model.start()
    model.observe([conversation], [Turn(Utterance("moana"))])
    unknown = SystemAction("utter_never_seen")
    [row] = model.decide([conversation], [ResultSummary()], [[unknown]], [["slot:never=1"]])
    assert row.sum() == pytest.approx(1.0)


def test_open_slots_take_what_the_tagger_finds_in_learning_as_in_acting():
    dialogues = wild_dialogues(10, seed=3)
    encoder = prepare(tiny_settings(), dialogues, listed={"movie": SlotValues({}, kind="open")})
    weights = random_weights(encoder, scale=1.0)
    model, found = ActingModel(encoder, weights), 0
    network = JointModel(encoder.settings, sizes_of(encoder.vocabulary, encoder.ontology), weights)
    movie = encoder.ontology.position("movie")
    for dialogue in dialogues:
        conversation, turns, beliefs = model.start(), [], []
        for turn in dialogue.turns:
            model.observe([conversation], [turn])
            turns.append(conversation.observed.turn)
            beliefs.append(conversation.observed.in_force)
            found += sum(match.slot == movie for match in turns[-1].matches)
            model.close([conversation], [turn])
            turns[-1].late_overrides = encoder.close(conversation.tracked, turn)
        outputs = network(as_tensors(collate(encoder, [turns])))
        for t, belief in enumerate(beliefs):
            cells = belief.shape[-1]
            np.testing.assert_allclose(outputs.belief_in_force[0, t, :, :cells], belief, atol=1e-5)
    assert found > 10


def test_intents_and_entities_are_read_from_an_utterance_alone():
    encoder = wild_encoder()
    model = ActingModel(encoder, random_weights(encoder, scale=1.0))
    texts = ["i want to see moana on friday", "", "moana", "i want to see moana on friday"]
    together = model.understand([Utterance(text) for text in texts])
    for text, understanding in zip(texts, together):
        [alone] = model.understand([Utterance(text)])
        assert [name for name, _ in alone.intents] == [name for name, _ in understanding.intents]
        chances = [probability for _, probability in understanding.intents]
        assert sum(chances) == pytest.approx(1.0, abs=1e-5)
        assert chances == sorted(chances, reverse=True)
        assert len(alone.entities) == len(understanding.entities)
        for _, _, _, start, end, confidence in understanding.entities:
            assert 0 <= start < end <= len(text)
            assert 0 < confidence <= 1


def test_any_is_a_value_like_others():
    model = acting()
    turn = Turn(Utterance("any"), overrides=(Override("date", DONTCARE, "button"),))
    [belief] = model.observe([model.start()], [turn])
    assert belief.goal()["date"] == DONTCARE


def test_the_order_of_dialogues_in_a_batch_does_not_matter():
    encoder = wild_encoder()
    weights, dialogues = random_weights(encoder), wild_dialogues(6, seed=44)
    straight, _ = learning_view(encoder, weights, dialogues)
    order = list(range(6))
    random.Random(0).shuffle(order)
    shuffled, _ = learning_view(encoder, weights, [dialogues[i] for i in order])
    np.testing.assert_allclose(shuffled.belief.numpy(), straight.belief.numpy()[order], atol=1e-5)
