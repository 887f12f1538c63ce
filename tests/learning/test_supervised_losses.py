"""Eq. 4 of Liu et al. (2018) to the digit: what counts, how much, and what does not."""

from __future__ import annotations

import math
from typing import Dict, List, Optional, Sequence

import numpy as np
import pytest
import tensorflow as tf

from rasa_hybrid.dialogue import Dialogue, Entity, Turn, Utterance
from rasa_hybrid.learning.supervised import Losses, supervised_losses
from rasa_hybrid.model.batching import collate
from rasa_hybrid.model.encoding import Encoder
from rasa_hybrid.model.network import JointModel, Outputs, as_tensors
from rasa_hybrid.model.parameters import sizes_of
from rasa_hybrid.model.preparation import prepare
from rasa_hybrid.model.settings import Settings
from tests.model.small_worlds import act, bookings, random_weights, tiny_settings

LN2, LN3, LN4 = math.log(2), math.log(3), math.log(4)
ONLY_PAPER = {"intent_loss_weight": 0.0, "entity_loss_weight": 0.0}

#: P(l_k^m) of two dialogues with two turns, two slots and three cells each.
BELIEF = [
    [[[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]], [[0.25, 0.5, 0.25], [1.0, 0.0, 0.0]]],
    [[[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]], [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]],
]
#: softmax: (1/4, 3/4), (3/4, 1/4), (1/2, 1/2)
LOGITS = [[0.0, LN3], [LN3, 0.0], [7.0, 7.0]]


def losses(
    labels: Sequence = (((0, 1), (1, -1)), ((0, 2), (2, 2))),
    turn_mask: Sequence = ((1, 1), (1, 0)),
    weight: Sequence[float] = (1, 1),
    actions: Sequence[int] = (1, 1, 0),
    action_weights: Sequence[float] = (1, 1, 1),
    intents: Sequence[int] = (-1,),
    intent_logits: Sequence = ((0.0, 0.0),),
    tags: Sequence = ((-1, -1),),
    tag_logits: Sequence = (((0.0, 0.0), (0.0, 0.0)),),
    **settings: float,
) -> Losses:
    """Losses of two dialogues, the second of which is over after one turn, and three decisions."""
    outputs = Outputs(
        belief=tf.constant(BELIEF, tf.float32),
        belief_in_force=tf.zeros([2, 2, 2, 3]),
        action_logits=tf.constant(LOGITS, tf.float32),
        intent_logits=tf.constant(intent_logits, tf.float32),
        tag_logits=tf.constant(tag_logits, tf.float32),
        state=tf.zeros([2, 2, 1]),
    )
    batch: Dict[str, np.ndarray] = {
        "turn_mask": np.array(turn_mask, np.float32),
        "labels": np.array(labels, np.int32),
        "weight": np.array(weight, np.float32),
        "decision_action": np.array(actions, np.int32),
        "decision_weight": np.array(action_weights, np.float32),
        "intents": np.array(intents, np.int32),
        "tags": np.array(tags, np.int32),
    }
    return supervised_losses(outputs, as_tensors(batch), Settings.from_mapping(settings))


# Turns that took place, their labelled slots: -log 0.5, -log 0.8, -log 0.5; -log 0.5, -log 0.5
BELIEF_LOSS = (4 * LN2 - math.log(0.8)) / 2
# -log 3/4, -log 1/4, -log 1/2
ACTION_LOSS = (-math.log(0.75) + LN4 + LN2) / 2


def test_the_loss_is_the_negative_log_likelihood_of_labels_and_actions_a_dialogue():
    found = losses()
    assert float(found.belief) == pytest.approx(BELIEF_LOSS, abs=1e-5)
    assert float(found.action) == pytest.approx(ACTION_LOSS, abs=1e-5)
    assert float(found.total) == pytest.approx(BELIEF_LOSS + ACTION_LOSS, abs=1e-5)


def test_padded_turns_count_nothing():
    # Were it not over, the second dialogue's second turn would be believed with certainty: -log 1;
    # with this label it would be the floor, -log 1e-8.
    with_wrong_padding = (((0, 1), (1, -1)), ((0, 2), (0, 0)))
    assert float(losses(labels=with_wrong_padding).belief) == pytest.approx(BELIEF_LOSS, abs=1e-5)
    taking_place = ((1, 1), (1, 1))
    assert float(losses(labels=with_wrong_padding, turn_mask=taking_place).belief) == pytest.approx(
        BELIEF_LOSS + 2 * 8 * math.log(10) / 2, abs=1e-4
    )


def test_unlabelled_turns_and_slots_count_nothing():
    labels = (((-1, -1), (1, -1)), ((-1, 2), (-1, -1)))
    assert float(losses(labels=labels).belief) == pytest.approx(2 * LN2 / 2, abs=1e-5)
    nothing = (((-1, -1),) * 2,) * 2
    assert float(losses(labels=nothing).belief) == 0.0


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"belief_loss_weight": 0.0}, ACTION_LOSS),
        ({"action_loss_weight": 0.0}, BELIEF_LOSS),
        (
            {"belief_loss_weight": 2.5, "action_loss_weight": 0.5},
            2.5 * BELIEF_LOSS + 0.5 * ACTION_LOSS,
        ),
    ],
)
def test_lambda_weighs_the_parts(weights, expected):
    assert float(losses(**weights).total) == pytest.approx(expected, abs=1e-5)


def test_a_dialogues_weight_multiplies_its_terms():
    # 2 * (-log 0.5 - log 0.8 - log 0.5) + 0.5 * (-log 0.5 - log 0.5)
    expected = (2 * (2 * LN2 - math.log(0.8)) + 0.5 * 2 * LN2) / 2
    assert float(losses(weight=(2.0, 0.5)).belief) == pytest.approx(expected, abs=1e-5)


def test_a_decision_of_weight_zero_counts_nothing():
    found = losses(action_weights=(1.0, 0.0, 0.5))
    assert float(found.action) == pytest.approx((-math.log(0.75) + 0.5 * LN2) / 2, abs=1e-5)


def test_an_impossible_label_costs_a_finite_amount():
    labels = (((-1, -1), (-1, 1)), ((-1, -1), (-1, -1)))  # P = 0
    assert float(losses(labels=labels).belief) == pytest.approx(8 * math.log(10) / 2, abs=1e-4)


def test_intents_and_entities_are_means_over_what_is_labelled():
    found = losses(
        intents=(1, -1, 0),
        intent_logits=LOGITS,  # -log 3/4 of the first, -log 1/2 of the last
        tags=((0, 1), (-1, -1), (1, -1)),
        tag_logits=((LOGITS[0], LOGITS[1]), (LOGITS[0], LOGITS[0]), (LOGITS[2], LOGITS[0])),
        intent_loss_weight=0.5,
        entity_loss_weight=0.25,
    )
    intent = (-math.log(0.75) + LN2) / 2
    entity = (LN4 + LN4 + LN2) / 3
    assert float(found.intent) == pytest.approx(intent, abs=1e-5)
    assert float(found.entity) == pytest.approx(entity, abs=1e-5)
    expected = BELIEF_LOSS + ACTION_LOSS + 0.5 * intent + 0.25 * entity
    assert float(found.total) == pytest.approx(expected, abs=1e-5)


def test_with_one_intent_there_is_nothing_to_tell_apart():
    assert float(losses(intents=(0,), intent_logits=((3.0,),)).intent) == 0.0
    assert float(losses(intents=(0,), intent_logits=(()), tags=(()), tag_logits=(())).intent) == 0.0


def whole_loss(encoder: Encoder, dialogues: Sequence[Dialogue], **rest: List[Utterance]) -> Losses:
    network = JointModel(
        encoder.settings, sizes_of(encoder.vocabulary, encoder.ontology), random_weights(encoder)
    )
    examples = [encoder.utterance(example) for example in rest.get("examples", [])]
    batch = as_tensors(collate(encoder, [encoder.dialogue(d) for d in dialogues], examples))
    return supervised_losses(network(batch), batch, encoder.settings)


def by_hand(encoder: Encoder, dialogue: Dialogue) -> List[Optional[float]]:
    """The terms of a dialogue's loss from the probabilities that the network gives alone to it."""
    network = JointModel(
        encoder.settings, sizes_of(encoder.vocabulary, encoder.ontology), random_weights(encoder)
    )
    turns = encoder.dialogue(dialogue)
    outputs = network(as_tensors(collate(encoder, [turns])))
    belief = -sum(
        math.log(float(outputs.belief[0, t, m, label]))
        for t, turn in enumerate(turns)
        for m, label in enumerate(turn.labels)
        if label >= 0
    )
    decisions = [decision for turn in turns for decision in turn.decisions]
    chances = tf.nn.softmax(outputs.action_logits).numpy()
    action = -sum(
        decision.weight * math.log(float(row[decision.action]))
        for decision, row in zip(decisions, chances)
    )
    return [belief, action]


@pytest.mark.parametrize("preset", ["default", "liu2018"])
def test_the_loss_of_a_batch_is_the_mean_of_its_dialogues_losses(preset):
    encoder = prepare(tiny_settings(preset, **ONLY_PAPER), bookings(10))
    dialogues = bookings(3, seed=4)
    parts = np.array([by_hand(encoder, dialogue) for dialogue in dialogues])
    found = whole_loss(encoder, dialogues)
    assert float(found.belief) == pytest.approx(parts[:, 0].mean(), rel=1e-5)
    assert float(found.action) == pytest.approx(parts[:, 1].mean(), rel=1e-5)


def test_an_action_that_must_not_be_learnt_leaves_the_loss_of_the_others():
    encoder = prepare(tiny_settings(), bookings(10))

    def loss(first: bool, second: bool) -> float:
        actions = (
            act("utter_offer", learn=first),
            act("utter_bye", learn=second),
        )
        dialogue = Dialogue("1", (Turn(Utterance("yes"), actions=actions),), complete=False)
        return float(whole_loss(encoder, [dialogue]).action)

    assert loss(True, False) > 0 and loss(False, True) > 0 and loss(False, False) == 0.0
    assert loss(True, True) == pytest.approx(loss(True, False) + loss(False, True), rel=1e-5)


def test_examples_without_dialogues_have_a_loss():
    examples = [
        Utterance("hello", intent="greet"),
        Utterance("in paris", intent="inform", entities=(Entity("city", "paris", 3, 8),)),
    ]
    encoder = prepare(tiny_settings(), bookings(5), examples)
    found = whole_loss(encoder, [], examples=examples)
    assert float(found.intent) > 0 and float(found.entity) > 0
    assert float(found.belief) == float(found.action) == 0.0
    assert np.isfinite(float(found.total))
