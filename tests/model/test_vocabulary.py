"""The names a model knows."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rasa_hybrid.dialogue import (
    LISTEN,
    Dialogue,
    DialogueAct,
    Entity,
    SystemAction,
    Turn,
    Utterance,
)
from rasa_hybrid.model.vocabulary import (
    UNKNOWN,
    Vocabulary,
    VocabularyBuilder,
    character_ngrams,
    entity_label,
    spans_of_tags,
    split_entity_label,
)

DIALOGUE = Dialogue(
    "1",
    (
        Turn(
            Utterance("to paris", intent="inform", entities=(Entity("city", "Paris", role="to"),)),
            actions=(
                SystemAction(
                    "utter_confirm", (DialogueAct("confirm", "to", "Paris"),), ("slot:vip=1",)
                ),
            ),
            closing_context=("slot:booked=1",),
        ),
    ),
)


@pytest.fixture
def vocabulary() -> Vocabulary:
    builder = VocabularyBuilder()
    builder.words.update(["to", "paris"])
    builder.add_dialogue(DIALOGUE)
    return builder.build(["utter_greet", LISTEN], buckets=50)


def test_everything_that_a_dialogue_shows_gets_a_place(vocabulary):
    assert vocabulary.words.names[2:] == ("paris", "to")
    assert vocabulary.acts.names == ("", "confirm")
    assert vocabulary.act_slots.names == ("", "to")
    assert vocabulary.act_values.names == ("", "Paris")
    assert vocabulary.actions.names == (LISTEN, "utter_confirm", "utter_greet")
    assert vocabulary.intents.names == ("inform",)
    assert vocabulary.tags.names == ("O", "B-city#to", "I-city#to")
    assert set(vocabulary.features.names) == {
        "",
        "entity:city#to",
        "intent:inform",
        "slot:booked=1",
        "slot:vip=1",
    }


def test_unknown_names_are_nothing_and_unknown_words_are_the_unknown_word(vocabulary):
    assert vocabulary.words["london"] == UNKNOWN
    assert vocabulary.acts["deny"] == vocabulary.features["slot:x"] == vocabulary.tags["B-x"] == 0


def test_a_vocabulary_survives_a_round_trip_through_json(vocabulary):
    read = Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict())))
    assert read.to_dict() == vocabulary.to_dict()
    assert read.words["london"] == UNKNOWN
    assert read.subwords("paris") == vocabulary.subwords("paris")


def test_the_order_in_which_dialogues_come_does_not_matter(vocabulary):
    one, other = VocabularyBuilder(), VocabularyBuilder()
    for builder, words in ((one, ["b", "a"]), (other, ["a", "b"])):
        builder.words.update(words)
    assert one.build(["y", "x"]).to_dict() == other.build(["x", "y"]).to_dict()


def test_words_with_common_parts_share_character_ngrams():
    # <cat>: <ca cat at> <cat cat>; <cats>: <ca cat ats ts> <cat cats ats>
    cat, cats = character_ngrams("cat", 10**6), character_ngrams("cats", 10**6)
    assert (len(cat), len(cats)) == (5, 7)
    assert len(set(cat) & set(cats)) == 3


@given(word=st.text(max_size=40), buckets=st.integers(1, 1000))
def test_character_ngrams_are_buckets_from_one_on(word, buckets):
    assert all(1 <= bucket <= buckets for bucket in character_ngrams(word, buckets))


@pytest.mark.parametrize(
    ("entity", "label"),
    [
        (("city", None, None), "city"),
        (("city", "to", None), "city#to"),
        (("city", "to", "1"), "city#to#1"),
        (("city", None, "1"), "city##1"),
    ],
)
def test_a_tag_keeps_role_and_group(entity, label):
    assert entity_label(*entity) == label
    assert split_entity_label(label) == entity


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("O O", []),
        ("B-a I-a O", [("a", 0, 2)]),
        ("B-a B-a I-a", [("a", 0, 1), ("a", 1, 3)]),
        ("I-a I-a", [("a", 0, 2)]),
        ("B-a I-b", [("a", 0, 1), ("b", 1, 2)]),
        ("B-a O I-a", [("a", 0, 1), ("a", 2, 3)]),
    ],
)
def test_every_list_of_tags_has_a_reading(tags, spans):
    assert spans_of_tags(tags.split()) == spans


@settings(deadline=None)
@given(st.lists(st.sampled_from(["O", "B-a", "I-a", "B-b", "I-b"])))
def test_spans_cover_exactly_the_tagged_tokens(tags):
    spans = spans_of_tags(tags)
    covered = [i for _, start, end in spans for i in range(start, end)]
    assert covered == [i for i, tag in enumerate(tags) if tag != "O"]
    assert all(tags[i][2:] == label for label, start, end in spans for i in range(start, end))
