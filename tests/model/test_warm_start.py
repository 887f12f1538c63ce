"""A training that starts from another model's weights, label by label."""

from __future__ import annotations

from typing import Tuple

import numpy as np
import pytest

from rasa_hybrid.dialogue import Dialogue, DialogueAct, SystemAction, Turn, Utterance
from rasa_hybrid.model.acting import ActingModel
from rasa_hybrid.model.encoding import Encoder
from rasa_hybrid.model.network import initial_weights
from rasa_hybrid.model.parameters import parameter_shapes, sizes_of
from rasa_hybrid.model.preparation import prepare
from rasa_hybrid.model.settings import Settings
from rasa_hybrid.model.warm_start import warm_start

SMALL = {
    "embedding_size": 6,
    "utterance_lstm_size": 4,
    "dialogue_lstm_size": 5,
    "act_embedding_size": 3,
    "belief_hidden_size": 4,
    "policy_hidden_size": 4,
}


def model(preset: str, seed: int, *slots: str, **settings: int) -> Tuple[Encoder, dict]:
    """An untrained model that knows these slots."""
    turns = [
        Turn(
            user=Utterance(f"the {slot} is red"),
            goal={slot: "red"},
            actions=(SystemAction(f"ask_{slot}", (DialogueAct("request", slot),)),),
        )
        for slot in slots
    ]
    chosen = Settings.from_mapping({"preset": preset, **SMALL, **settings})
    encoder = prepare(chosen, [Dialogue("d", tuple(turns))])
    shapes = parameter_shapes(chosen, sizes_of(encoder.vocabulary, encoder.ontology))
    return encoder, dict(initial_weights(shapes, seed))


@pytest.mark.parametrize("preset", ["default", "liu2018"])
def test_model_with_the_same_labels_is_taken_over_whole(preset: str) -> None:
    earlier, weights = model(preset, 1, "colour", "size")
    encoder, initial = model(preset, 2, "colour", "size")
    started = warm_start(encoder, initial, earlier, weights)
    assert all(np.array_equal(started.weights[name], weights[name]) for name in weights)
    assert "slots: 2 taken over" in started.taken


@pytest.mark.parametrize("preset", ["default", "liu2018"])
def test_labels_are_matched_by_name_and_new_ones_begin_anew(preset: str) -> None:
    earlier, weights = model(preset, 1, "colour", "size")
    # `age` comes before the others, so every position is another one.
    encoder, initial = model(preset, 2, "age", "colour", "size")
    started = warm_start(encoder, initial, earlier, weights)
    assert "slots: 2 taken over, new: 'age'" in started.taken
    here, there = encoder.vocabulary, earlier.vocabulary
    kernel, old = started.weights["policy/output_kernel"], weights["policy/output_kernel"]
    for action in ("ask_colour", "ask_size", "action_listen"):
        assert np.array_equal(kernel[:, here.actions[action]], old[:, there.actions[action]])
    new = here.actions["ask_age"]
    assert np.array_equal(kernel[:, new], initial["policy/output_kernel"][:, new])
    assert np.array_equal(
        started.weights["words"][here.words["colour"]], weights["words"][there.words["colour"]]
    )
    closed = started.weights["belief/closed_bias"]
    assert np.array_equal(closed[1:, :2], weights["belief/closed_bias"][:, :2])


def test_model_of_another_size_is_taken_over_only_where_it_fits() -> None:
    earlier, weights = model("default", 1, "colour")
    encoder, initial = model("default", 2, "colour", policy_hidden_size=7)
    started = warm_start(encoder, initial, earlier, weights)
    assert "policy/kernel: not taken over, its size is another one" in started.taken
    assert np.array_equal(started.weights["policy/kernel"], initial["policy/kernel"])
    assert np.array_equal(started.weights["words"], weights["words"])


def test_model_with_a_new_slot_believes_of_the_old_ones_what_it_did() -> None:
    earlier, weights = model("liu2018", 1, "colour", "size")
    encoder, initial = model("liu2018", 2, "age", "colour", "size")
    started = warm_start(encoder, initial, earlier, weights)
    beliefs = []
    for used, parameters in ((earlier, weights), (encoder, started.weights)):
        acting = ActingModel(used, parameters)
        conversation = acting.start()
        [belief] = acting.observe([conversation], [Turn(user=Utterance("colour red"))])
        beliefs.append(belief)
    for slot in ("colour", "size"):
        before, after = (dict(belief.distributions[slot]) for belief in beliefs)
        assert after == pytest.approx({value: before[value] for value in after}, abs=1e-5)
