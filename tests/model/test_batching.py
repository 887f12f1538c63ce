"""Padded arrays: each distinct word and utterance once, and nothing where nothing took place."""

from __future__ import annotations

import numpy as np
import pytest

from rasa_hybrid.dialogue import Dialogue, Override, ResultSummary, SystemAction, Turn, Utterance
from rasa_hybrid.model.batching import collate, word_arrays
from rasa_hybrid.model.encoding import Encoder
from rasa_hybrid.model.preparation import prepare
from tests.model.small_worlds import (
    PRESETS,
    act,
    bookings,
    tiny_settings,
    wild_dialogues,
    wild_encoder,
)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return prepare(tiny_settings(), bookings(20))


def batch_of(encoder: Encoder, *dialogues: Dialogue):
    return collate(encoder, [encoder.dialogue(dialogue) for dialogue in dialogues])


def test_an_utterance_that_is_said_often_is_encoded_once(encoder):
    turns = (Turn(Utterance("yes")), Turn(Utterance("Yes!")), Turn(Utterance("no yes")))
    batch = batch_of(encoder, Dialogue("1", turns), Dialogue("2", turns[:1]))
    assert batch["tokens"].shape == (2, 2)
    assert batch["utterance"][:, :, 0].tolist() == [[1, 1, 2], [1, 0, 0]]
    assert len(batch["words"]) == 2 + 2  # padding, unknown, yes, no


def test_padding_is_masked(encoder):
    long, short = bookings(20, seed=1)[0], Dialogue("short", (Turn(Utterance("hi"), goal={}),))
    batch = batch_of(encoder, long, short)
    assert batch["turn_mask"].sum(axis=1).tolist() == [len(long.turns), 1]
    over = batch["turn_mask"] == 0
    assert (batch["labels"][over] == -1).all()
    assert (batch["cell_mask"][over][..., 0] == 1).all()  # every belief sums to 1
    assert (batch["cell_mask"][over][..., 1:] == 0).all()
    assert (batch["utterance"][over] == 0).all() and (batch["summary"][over] == 0).all()


def test_positions_say_which_turn_a_decision_belongs_to(encoder):
    dialogues = bookings(3, seed=2)
    batch = batch_of(encoder, *dialogues)
    length = batch["turn_mask"].shape[1]
    expected = [
        d * length + t
        for d, dialogue in enumerate(dialogues)
        for t, turn in enumerate(dialogue.turns)
        for _ in (*turn.actions, "action_listen")
    ]
    assert batch["decision_at"].tolist() == expected
    names = encoder.vocabulary.actions
    assert batch["decision_action"].tolist() == [
        names[action.name] if action else 0
        for dialogue in dialogues
        for turn in dialogue.turns
        for action in (*turn.actions, None)
    ]


def test_a_value_that_others_set_after_the_words_has_a_place(encoder):
    actions = (act("utter_request_date"),)
    late = Override("date", "a day that nobody knows", "form", after=1)
    batch = batch_of(
        encoder, Dialogue("1", (Turn(Utterance("hm"), overrides=(late,), actions=actions),))
    )
    cell = batch["late_override"].max()
    assert 0 < cell < batch["cell_mask"].shape[-1]
    assert batch["decision_override"].max() == cell


def test_the_words_of_a_match_are_found_by_row_and_token(encoder):
    batch = batch_of(encoder, Dialogue("1", (Turn(Utterance("the star wars on friday")),)))
    words = np.array(["", "<unknown>", "the", "star", "wars", "on", "friday"])
    said = words[batch["tokens"][batch["span_row"], batch["span_token"]]]
    by_match = [said[batch["span_at"] == m].tolist() for m in range(len(batch["match_at"]))]
    assert by_match == [["star", "wars"], ["friday"]]
    assert batch["match_length"].tolist() == [2.0, 1.0]


def test_a_word_has_its_id_and_its_character_ngrams(encoder):
    arrays = word_arrays(encoder.vocabulary, ["", "<unknown>", "friday", "zz"])
    assert arrays["words"].tolist() == [0, 1, encoder.vocabulary.words["friday"], 1]
    assert (arrays["subwords"][:2] == 0).all()
    assert (arrays["subwords"][2:].max(axis=1) > 0).all()


@pytest.mark.parametrize("preset", PRESETS)
def test_every_index_of_a_batch_is_in_range_and_every_array_of_its_type(preset):
    encoder = wild_encoder(preset)
    vocabulary = encoder.vocabulary
    for seed in range(5):
        batch = batch_of(encoder, *wild_dialogues(6, seed))
        size, length, slots, cells = batch["cell_mask"].shape
        places = {
            "feature_at": size * length,
            "act_at": size * length,
            "last_at": size * length,
            "slot_act_at": size * length * slots,
            "cell_act_at": size * length * slots * cells,
            "match_at": size * length * slots * cells,
            "decision_at": size * length,
            "taken_at": len(batch["decision_at"]),
            "context_at": len(batch["decision_at"]),
            "span_at": len(batch["match_at"]),
            "span_row": len(batch["lengths"]),
            "span_token": batch["tokens"].shape[1],
            "utterance": len(batch["lengths"]) + 1,
            "tokens": len(batch["words"]),
            "words": len(vocabulary.words),
            "act_id": len(vocabulary.acts),
            "act_slot": len(vocabulary.act_slots),
            "act_value": len(vocabulary.act_values),
            "feature_id": len(vocabulary.features),
            "taken_id": len(vocabulary.actions),
            "decision_action": len(vocabulary.actions),
            "labels": cells,
            "override": cells,
            "late_override": cells,
            "decision_override": cells,
        }
        for name, bound in places.items():
            if batch[name].size:
                least = (
                    -1
                    if name in {"labels", "override", "late_override", "decision_override"}
                    else 0
                )
                assert least <= batch[name].min() and batch[name].max() < bound, name
        assert all(array.dtype in (np.int32, np.float32) for array in batch.values())


def test_the_words_of_prompts_without_acts_give_their_mean():
    encoder = wild_encoder(context=False, system_words=True)
    prompt = SystemAction("other", text="no star no zorblax")
    batch = batch_of(
        encoder, Dialogue("d", (Turn(actions=(prompt,)), Turn(Utterance("ok")), Turn()))
    )
    assert batch["said_at"].tolist() == [1, 1, 1, 1]
    assert batch["said_id"].tolist() == [2, 3, 2, 4]
    assert batch["said_weight"].tolist() == [0.25] * 4
    known = encoder.vocabulary.words
    assert batch["system_words"].tolist() == [0, 1, known["no"], known["star"], 1]


def test_a_batch_may_be_empty(encoder):
    batch = collate(encoder, [])
    assert batch["turn_mask"].shape == (0, 0) and batch["tokens"].shape[0] == 0


def test_the_answer_of_the_knowledge_base_stands_at_its_turn(encoder):
    turns = (Turn(Utterance("a")), Turn(Utterance("b"), summary=ResultSummary(1, 1)))
    batch = batch_of(encoder, Dialogue("1", turns))
    assert batch["summary"][0].tolist() == [[1, 0, 0, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0, 1, 0]]
