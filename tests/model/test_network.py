"""Equations 1 to 3 of Liu et al. (2018) against numbers that a person can compute, and what learning can reach."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Dict, List, Sequence

import numpy as np
import pytest
import tensorflow as tf

from rasa_hybrid.dialogue import (
    Dialogue,
    Entity,
    ResultSummary,
    SystemAction,
    Turn,
    Utterance,
)
from rasa_hybrid.learning.supervised import supervised_losses
from rasa_hybrid.model.batching import Batch, collate
from rasa_hybrid.model.encoding import Encoder
from rasa_hybrid.model.network import JointModel, Outputs, as_tensors
from rasa_hybrid.model.parameters import BELIEF_FLOOR, sizes_of
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

Vector = List[float]


def sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


def softmax(x: Sequence[float]) -> Vector:
    exponents = [math.exp(value - max(x)) for value in x]
    return [value / sum(exponents) for value in exponents]


def affine(x: Sequence[float], kernel: np.ndarray, bias: np.ndarray) -> Vector:
    return [
        sum(x[i] * float(kernel[i, j]) for i in range(len(x))) + float(bias[j])
        for j in range(len(bias))
    ]


def lstm(inputs: Sequence[Vector], weights: Dict[str, np.ndarray], name: str) -> List[Vector]:
    """The outputs of an LSTM, gate by gate: i, f, g, o."""
    kernel, recurrent, bias = (
        weights[f"{name}/{part}"] for part in ("kernel", "recurrent_kernel", "bias")
    )
    units = len(recurrent)
    hidden, cell, outputs = [0.0] * units, [0.0] * units, []
    for x in inputs:
        gates = [
            a + b for a, b in zip(affine(x, kernel, bias), affine(hidden, recurrent, 0 * bias))
        ]
        i, f, g, o = (gates[n * units : (n + 1) * units] for n in range(4))
        cell = [sigmoid(f[u]) * cell[u] + sigmoid(i[u]) * math.tanh(g[u]) for u in range(units)]
        hidden = [sigmoid(o[u]) * math.tanh(cell[u]) for u in range(units)]
        outputs.append(hidden)
    return outputs


def run(encoder: Encoder, weights: Dict[str, np.ndarray], dialogues: Sequence[Dialogue]) -> Outputs:
    network = JointModel(encoder.settings, sizes_of(encoder.vocabulary, encoder.ontology), weights)
    return network(as_tensors(collate(encoder, [encoder.dialogue(d) for d in dialogues])))


TWO_TURNS = Dialogue(
    "1",
    (
        Turn(
            Utterance("see moana"),
            goal={"movie": "Moana"},
            summary=ResultSummary(2, 1),
            actions=(act("confirm_movie", ("confirm", "movie", "Moana")),),
        ),
        Turn(
            Utterance("yes on friday please"),
            goal={"movie": "Moana", "date": "friday"},
            actions=(act("utter_bye", ("goodbye",)),),
        ),
        Turn(
            Utterance("bye"),
            goal={"movie": "Star Wars", "date": "friday"},
            actions=(act("utter_bye", ("goodbye",)),),
        ),
    ),
)


def test_an_lstm_step_gives_the_numbers_of_a_pocket_calculator():
    # With gates i = f = o = sigmoid(0) = 0.5 and g = tanh(1) = 0.761594:
    # c1 = 0.5 * 0.761594, h1 = 0.5 * tanh(c1); c2 = 0.5 * c1 + 0.380797, h2 = 0.5 * tanh(c2).
    settings = tiny_settings("liu2018", embedding_size=1, utterance_lstm_size=1)
    settings = replace(settings, dialogue_lstm_size=1, act_embedding_size=1)
    turns = (Turn(Utterance("go"), goal={"x": "y"}), Turn(Utterance("go")))
    encoder = prepare(settings, [Dialogue("1", turns)])
    weights = {name: np.zeros_like(value) for name, value in random_weights(encoder).items()}
    # The utterance is read as 0, and 1 comes in by the bias of the candidate gate.
    weights["dialogue/bias"][2] = 1.0
    state = run(encoder, weights, [Dialogue("1", turns)]).state.numpy()
    assert state[0, :, 0] == pytest.approx([0.181700, 0.258118], abs=1e-6)


def test_a_state_depends_on_the_states_before_it():
    # As above, with a recurrent weight of 1 on the output gate: o2 = sigmoid(h1) = 0.545300.
    settings = tiny_settings("liu2018", embedding_size=1, utterance_lstm_size=1)
    settings = replace(settings, dialogue_lstm_size=1, act_embedding_size=1)
    turns = (Turn(Utterance("go"), goal={"x": "y"}), Turn(Utterance("go")))
    encoder = prepare(settings, [Dialogue("1", turns)])
    weights = {name: np.zeros_like(value) for name, value in random_weights(encoder).items()}
    weights["dialogue/bias"][2] = 1.0
    weights["dialogue/recurrent_kernel"][0, 3] = 1.0
    state = run(encoder, weights, [Dialogue("1", turns)]).state.numpy()
    assert state[0, :, 0] == pytest.approx([0.181700, 0.545300 * 0.516237], abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_papers_model_equals_its_equations_computed_by_hand(seed):
    encoder = prepare(tiny_settings("liu2018"), [TWO_TURNS])
    weights = random_weights(encoder, seed)
    outputs = run(encoder, weights, [TWO_TURNS])
    vocabulary, ontology = encoder.vocabulary, encoder.ontology

    inputs, before = [], ()
    for turn in TWO_TURNS.turns:
        vectors = [
            weights["words"][vocabulary.words[word]].tolist() for word in turn.user.text.split()
        ]
        forward = lstm(vectors, weights, "utterance_forward")[-1]
        backward = lstm(vectors[::-1], weights, "utterance_backward")[-1]
        act_parts = [0.0] * 12
        for said in (a for action in before for a in action.acts):
            parts = [
                *weights["acts"][vocabulary.acts[said.act]],
                *weights["act_slots"][vocabulary.act_slots[said.slot or ""]],
                *weights["act_values"][vocabulary.act_values[said.value or ""]],
            ]
            act_parts = [x + float(y) for x, y in zip(act_parts, parts)]
        inputs.append([*forward, *backward, *act_parts])  # U_k, A_{k-1}
        before = turn.actions
    states = lstm(inputs, weights, "dialogue")  # eq. 1
    np.testing.assert_allclose(outputs.state[0], states, atol=1e-5)

    unknown = [1, 0, 0, 0, 0, 0, 0, 0]
    two_matches_one_of_them_left = [0, 0, 0, 1, 0, 0, 1, 0]
    answers = [two_matches_one_of_them_left, unknown, unknown]
    for k, state in enumerate(states):
        width = 2 + max(len(values.closed) for values in ontology.values.values())
        logs: Vector = []
        for m, values in enumerate(ontology.values.values()):
            hidden = affine(
                state,
                weights["belief/slot_hidden_kernel"][m],
                weights["belief/slot_hidden_bias"][m],
            )
            scores = affine(
                [max(x, 0.0) for x in hidden],
                weights["belief/closed_kernel"][m],
                weights["belief/closed_bias"][m],
            )
            belief = softmax(scores[: 2 + len(values.closed)])  # eq. 2: none, dontcare, the values
            np.testing.assert_allclose(outputs.belief[0, k, m, : len(belief)], belief, atol=1e-5)
            assert sum(outputs.belief[0, k, m, len(belief) :]) == 0.0
            logs += [1.0 - math.log(max(p, BELIEF_FLOOR)) / math.log(BELIEF_FLOOR) for p in belief]
            logs += [0.0] * (width - len(belief))
        hidden = affine(
            [*state, *logs, *answers[k]], weights["policy/kernel"], weights["policy/bias"]
        )
        scores = affine(
            [max(x, 0.0) for x in hidden],
            weights["policy/output_kernel"],
            weights["policy/output_bias"],
        )
        chances = tf.nn.softmax(outputs.action_logits[k]).numpy()
        np.testing.assert_allclose(chances, softmax(scores), atol=1e-5)  # eq. 3


def test_the_utterance_encoding_is_the_last_state_of_either_direction():
    encoder = wild_encoder(subword_buckets=0)
    weights = random_weights(encoder)
    weights["token_slots"][:] = 0.0
    text = "i want to see zorblax"  # with a word that was not seen in training
    examples = [encoder.utterance(Utterance(t)) for t in (text, "yes please no any on at i want")]
    network = JointModel(encoder.settings, sizes_of(encoder.vocabulary, encoder.ontology), weights)
    outputs = network(as_tensors(collate(encoder, [], examples)))
    vectors = [weights["words"][encoder.vocabulary.words[w]].tolist() for w in text.split()]
    encoded = [
        *lstm(vectors, weights, "utterance_forward")[-1],
        *lstm(vectors[::-1], weights, "utterance_backward")[-1],
    ]
    logits = affine(encoded, weights["intent/kernel"], weights["intent/bias"])
    np.testing.assert_allclose(outputs.intent_logits[0], logits, atol=1e-4)


def test_a_word_is_its_embedding_plus_the_mean_of_its_character_ngrams():
    with_grams = wild_encoder(subword_buckets=20)
    weights = random_weights(with_grams)
    without = Encoder(
        replace(with_grams.settings, subword_buckets=0), with_grams.vocabulary, with_grams.ontology
    )
    word = "please"
    grams = with_grams.vocabulary.subwords(word)
    added = {name: value.copy() for name, value in weights.items() if name != "subwords"}
    added["words"][with_grams.vocabulary.words[word]] += weights["subwords"][list(grams)].mean(0)
    dialogue = Dialogue("1", (Turn(Utterance(word)),))
    np.testing.assert_allclose(
        run(with_grams, weights, [dialogue]).state, run(without, added, [dialogue]).state, atol=1e-5
    )


def test_our_policy_reads_six_numbers_a_slot_however_many_candidates_there_are():
    encoder = prepare(tiny_settings(context=False), bookings(10))
    weights = random_weights(encoder)
    dialogue = bookings(1, seed=8)[0]
    batch = collate(encoder, [encoder.dialogue(dialogue)])
    outputs = run(encoder, weights, [dialogue])
    floor = -math.log(BELIEF_FLOOR)
    for d, at in enumerate(batch["decision_at"]):
        inputs = outputs.state[0, at].numpy().tolist()
        for slot in range(len(encoder.ontology.slots)):
            cells = outputs.belief_in_force[0, at, slot].numpy().tolist()
            none, dontcare, others = cells[0], cells[1], sorted([*cells[2:], 0.0, 0.0])[::-1]
            logs = [math.log(max(p, BELIEF_FLOOR)) for p in (none, dontcare, *others[:2])]
            entropy = -sum(p * math.log(max(p, BELIEF_FLOOR)) for p in cells)
            inputs += [value / floor for value in logs] + [entropy, sum(others[2:])]
        inputs += batch["summary"][0, at].tolist()
        taken = batch["taken_id"][batch["taken_at"] == d]
        inputs += weights["actions"][taken].sum(axis=0).tolist()
        last = batch["last_taken"][d]
        inputs += (weights["actions"][last] * (last > 0)).tolist()
        hidden = affine(inputs, weights["policy/kernel"], weights["policy/bias"])
        scores = affine(
            [max(x, 0.0) for x in hidden],
            weights["policy/output_kernel"],
            weights["policy/output_bias"],
        )
        np.testing.assert_allclose(outputs.action_logits[d], scores, atol=1e-4)


def test_a_belief_is_what_is_kept_plus_what_is_new():
    encoder = prepare(tiny_settings(), bookings(10))
    weights, dialogue = random_weights(encoder), bookings(1, seed=3)[0]
    weights["belief/keep_bias"] = np.float32(100.0)
    kept = run(encoder, weights, [dialogue]).belief.numpy()
    np.testing.assert_allclose(kept[..., 0], 1.0, atol=1e-6)  # nothing was believed before
    weights["belief/keep_bias"] = np.float32(-100.0)
    weights["belief/previous_kernel"][:] = 0.0
    weights["belief/keep_previous"][:] = 0.0
    new = run(encoder, weights, [dialogue]).belief.numpy()
    weights["belief/keep_bias"] = np.float32(0.7)
    both = run(encoder, weights, [dialogue]).belief.numpy()
    before = np.zeros_like(both[0, 0])
    before[:, 0] = 1.0
    for k in range(both.shape[1]):
        # both = share * before + (1 - share) * new, with one share of what is kept for each slot
        moved = both[0, k] - new[0, k]
        direction = before - new[0, k]
        share = (moved * direction).sum(-1) / (direction**2).sum(-1)
        np.testing.assert_allclose(moved, share[:, None] * direction, atol=1e-4)
        assert ((share > 0) & (share < 1)).all()
        before = both[0, k]


def test_every_belief_sums_to_one_also_where_a_dialogue_is_over():
    encoder = wild_encoder()
    outputs = run(encoder, random_weights(encoder), wild_dialogues(8, seed=2))
    np.testing.assert_allclose(outputs.belief.numpy().sum(-1), 1.0, atol=1e-5)
    np.testing.assert_allclose(outputs.belief_in_force.numpy().sum(-1), 1.0, atol=1e-5)


def learnable_batch(encoder: Encoder) -> Batch:
    """Dialogues and examples that use everything the model has a parameter for."""
    examples = [
        Utterance("see moana", intent="inform", entities=(Entity("movie", "moana", 4, 9),)),
        Utterance("no", intent="deny"),
    ]
    return collate(
        encoder,
        [encoder.dialogue(d) for d in wild_dialogues(10, seed=99)],
        [encoder.utterance(example) for example in examples],
    )


def learnable_encoder(preset: str) -> Encoder:
    return prepare(
        tiny_settings(preset),
        wild_dialogues(10, seed=99),
        [Utterance("see moana", intent="inform"), Utterance("no", intent="deny")],
    )


#: What the paper's loss has no part for; the words' other heads, whose losses have weight 0 there.
NOT_IN_THE_PAPER = {"intent/kernel", "intent/bias", "tags/kernel", "tags/bias"}


@pytest.mark.parametrize(
    ("preset", "unreached"), [("default", set()), ("liu2018", NOT_IN_THE_PAPER)]
)
def test_gradients_reach_every_parameter(preset, unreached):
    encoder = learnable_encoder(preset)
    sizes = sizes_of(encoder.vocabulary, encoder.ontology)
    network = JointModel(encoder.settings, sizes, random_weights(encoder))
    batch = as_tensors(learnable_batch(encoder))
    with tf.GradientTape() as tape:
        loss = supervised_losses(network(batch), batch, encoder.settings).total
    gradients = dict(
        zip(
            network.parameters,
            tape.gradient(
                loss,
                list(network.parameters.values()),
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            ),
        )
    )
    reached = {
        name
        for name, gradient in gradients.items()
        if np.abs(tf.convert_to_tensor(gradient).numpy()).sum() > 0
    }
    assert set(network.parameters) - reached == unreached
    assert all(np.isfinite(tf.convert_to_tensor(g).numpy()).all() for g in gradients.values())


def test_dialogues_without_words_change_no_embedding_of_words():
    encoder = learnable_encoder("default")
    network = JointModel(encoder.settings, sizes_of(encoder.vocabulary, encoder.ontology))
    silent = Turn(Utterance("", intent="deny"), goal={}, actions=(act("utter_bye"),))
    batch = as_tensors(collate(encoder, [encoder.dialogue(Dialogue("d", (silent,)))]))
    with tf.GradientTape() as tape:
        loss = supervised_losses(network(batch), batch, encoder.settings).total
    for gradient in tape.gradient(loss, [network.parameters[n] for n in ("words", "subwords")]):
        assert not np.abs(tf.convert_to_tensor(gradient).numpy()).any()


@pytest.mark.parametrize("preset", PRESETS)
def test_gradients_are_the_slopes_of_the_loss(preset):
    encoder = learnable_encoder(preset)
    sizes = sizes_of(encoder.vocabulary, encoder.ontology)
    network = JointModel(encoder.settings, sizes, random_weights(encoder))
    batch = as_tensors(learnable_batch(encoder))

    @tf.function(autograph=False)
    def loss() -> tf.Tensor:
        return supervised_losses(network(batch), batch, encoder.settings).total

    names, parameters = zip(*network.parameters.items())
    with tf.GradientTape() as tape:
        total = loss()
    gradients = tape.gradient(total, parameters, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    for name, parameter, gradient in zip(names, parameters, gradients):
        gradient, before = tf.convert_to_tensor(gradient).numpy(), parameter.numpy()
        norm = np.linalg.norm(gradient)
        if norm < 1e-4:
            continue
        step = 0.003 * gradient / norm
        parameter.assign(before + step)
        above = float(loss())
        parameter.assign(before - step)
        below = float(loss())
        parameter.assign(before)
        assert (above - below) / 0.006 == pytest.approx(norm, rel=0.03, abs=0.003), name


@pytest.mark.parametrize("preset", PRESETS)
def test_the_policys_parameters_decide_and_nothing_else(preset):
    encoder = wild_encoder(preset)
    weights, dialogues = random_weights(encoder), wild_dialogues(4, seed=6)
    network = JointModel(encoder.settings, sizes_of(encoder.vocabulary, encoder.ontology), weights)
    policy = {variable.ref() for variable in network.policy_parameters}
    names = {name for name, variable in network.parameters.items() if variable.ref() in policy}
    expected = {"policy/kernel", "policy/bias", "policy/output_kernel", "policy/output_bias"}
    assert names == expected | ({"policy/features"} if preset == "default" else set())
    batch = as_tensors(collate(encoder, [encoder.dialogue(d) for d in dialogues]))
    before = network(batch)
    for variable in network.policy_parameters:
        variable.assign_add(tf.ones_like(variable))
    after = network(batch)
    assert np.array_equal(before.belief_in_force, after.belief_in_force)
    assert np.array_equal(before.state, after.state)
    assert not np.allclose(before.action_logits, after.action_logits)


@pytest.mark.parametrize("preset", PRESETS)
def test_dropout_is_off_without_a_seed_and_repeats_with_one(preset):
    encoder = wild_encoder(preset)
    sizes = sizes_of(encoder.vocabulary, encoder.ontology)
    network = JointModel(encoder.settings, sizes, random_weights(encoder))
    batch = as_tensors(collate(encoder, [encoder.dialogue(d) for d in wild_dialogues(2)]))

    def logits(seed=None):
        return network(batch, None if seed is None else tf.constant(seed)).action_logits.numpy()

    assert np.array_equal(logits(), logits())
    assert np.array_equal(logits([1, 1]), logits([1, 1]))
    for other in (None, [1, 2], [2, 1]):
        assert not np.allclose(logits([1, 1]), logits(other))


def test_with_all_rates_at_zero_learning_sees_what_acting_sees():
    off = ("dropout", "word_dropout", "value_dropout", "modality_dropout")
    encoder = wild_encoder(**dict.fromkeys(off, 0.0))
    sizes = sizes_of(encoder.vocabulary, encoder.ontology)
    network = JointModel(encoder.settings, sizes, random_weights(encoder))
    batch = as_tensors(collate(encoder, [encoder.dialogue(d) for d in wild_dialogues(4)]))
    assert np.array_equal(
        network(batch, tf.constant([1, 1])).action_logits, network(batch).action_logits
    )


def test_word_dropout_hides_words_and_value_dropout_the_words_of_values():
    def states(text: str, **rates: float) -> np.ndarray:
        off = {"dropout": 0.0, "word_dropout": 0.0, "value_dropout": 0.0}
        encoder = wild_encoder(**{**off, **rates})
        network = JointModel(
            encoder.settings,
            sizes_of(encoder.vocabulary, encoder.ontology),
            random_weights(encoder),
        )
        dialogue = Dialogue("1", (Turn(Utterance(text)),))
        batch = as_tensors(collate(encoder, [encoder.dialogue(dialogue)]))
        return network(batch, tf.constant([3, 4])).state.numpy()

    plain, value = "i want to see", "moana"
    assert np.allclose(states(plain, value_dropout=0.99), states(plain))
    assert not np.allclose(states(plain, word_dropout=0.99), states(plain))
    assert np.allclose(states(value, word_dropout=0.99), states(value))
    assert not np.allclose(states(value, value_dropout=0.99), states(value))


def test_without_their_identity_words_are_known_by_their_letters_as_unknown_words_are():
    rates = {"dropout": 0.0, "word_dropout": 0.0, "value_dropout": 0.0, "identity_dropout": 0.99}
    encoder = wild_encoder(**rates)
    weights = random_weights(encoder)
    unknown = {**weights, "words": weights["words"].copy()}
    unknown["words"][2:] = weights["words"][1]

    def states(text: str, weights: Dict[str, np.ndarray], seed: object = None) -> np.ndarray:
        sizes = sizes_of(encoder.vocabulary, encoder.ontology)
        network = JointModel(encoder.settings, sizes, weights)
        dialogue = Dialogue("1", (Turn(Utterance(text)),))
        batch = as_tensors(collate(encoder, [encoder.dialogue(dialogue)]))
        return network(batch, seed).state.numpy()

    hidden = states("i want to see", weights, tf.constant([3, 4]))
    assert np.allclose(hidden, states("i want to see", unknown))
    assert not np.allclose(hidden, states("i want to see", weights))
    assert not np.allclose(hidden, states("you like to go", unknown))


def test_an_action_taken_earlier_in_the_turn_changes_the_next_decision():
    encoder = wild_encoder()
    weights = random_weights(encoder)
    taken = (SystemAction("utter_offer"), SystemAction("utter_bye"))
    logits = [
        run(
            encoder, weights, [Dialogue("1", (Turn(Utterance("yes"), actions=actions),))]
        ).action_logits.numpy()[-1]
        for actions in (taken, taken[::-1], taken[:1])
    ]
    assert not np.allclose(logits[0], logits[1])  # the last one counts
    assert not np.allclose(logits[1], logits[2])  # and that there was one before


def test_the_knowledge_bases_answer_changes_the_decision_and_not_the_belief():
    encoder = wild_encoder()
    weights = random_weights(encoder)

    def outputs(summary: ResultSummary) -> Outputs:
        turn = Turn(Utterance("yes"), summary=summary, actions=(SystemAction("utter_offer"),))
        return run(encoder, weights, [Dialogue("1", (turn,))])

    none, many = outputs(ResultSummary(0, 0)), outputs(ResultSummary(9, 9))
    assert np.array_equal(none.belief, many.belief)
    assert not np.allclose(none.action_logits, many.action_logits)
