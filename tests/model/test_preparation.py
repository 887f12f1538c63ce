"""From training data to what a model knows."""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

import pytest

from rasa_hybrid.dialogue import (
    DONTCARE,
    NONE,
    TAUGHT,
    Dialogue,
    Entity,
    Hypothesis,
    Override,
    SystemAction,
    Turn,
    Utterance,
)
from rasa_hybrid.model.candidates import Ontology, SlotValues
from rasa_hybrid.model.preparation import build_ontology, prepare, unsaid_values
from tests.model.small_worlds import PRESETS, act, bookings, tiny_settings


def turn(text: str, goal: Optional[Dict[str, str]] = None, *acts: Tuple[str, ...], **rest) -> Turn:
    return Turn(Utterance(text), goal=goal, actions=(act("utter_say", *acts),), **rest)


def ontology_of(
    *turns: Turn, listed: Optional[Dict[str, SlotValues]] = None, preset: str = "default"
) -> Ontology:
    return build_ontology(tiny_settings(preset), [Dialogue("1", turns)], listed or {})


def closed(ontology: Ontology) -> Dict[str, Tuple[str, ...]]:
    return {slot: values.closed for slot, values in ontology.values.items()}


def test_goal_slots_are_those_listed_and_those_that_labels_name():
    ontology = ontology_of(
        turn("hi", {"movie": "Moana", "date": "friday"}),
        listed={"time": SlotValues({"6:00 pm": ()})},
    )
    assert ontology.slots == ("time", "date", "movie")
    assert list(ontology.values["movie"].values) == ["Moana"]


@pytest.mark.parametrize("value", [NONE, DONTCARE])
def test_none_and_any_are_not_on_the_list_of_values(value):
    assert list(ontology_of(turn("hi", {"date": value})).values["date"].values) == []
    listed = {"date": SlotValues({"friday": (), value: ()}, closed=(value,))}
    for preset in PRESETS:
        assert value not in closed(ontology_of(turn("hi"), listed=listed, preset=preset))["date"]


def test_spellings_of_a_label_are_one_value_and_the_listed_spelling_is_kept():
    turns = [turn("hi", {"time": time}) for time in ("6 pm", "6:00 PM", "18:00")]
    assert len(ontology_of(*turns).values["time"].values) == 1
    listed = {"time": SlotValues({"6:00 pm": ()})}
    assert list(ontology_of(*turns, listed=listed).values["time"].values) == ["6:00 pm"]


def test_the_papers_model_chooses_from_all_values():
    listed = {"date": SlotValues({"friday": (), "saturday": ()})}
    ontology = ontology_of(turn("on sunday", {"date": "sunday"}), listed=listed, preset="liu2018")
    assert sorted(closed(ontology)["date"]) == ["friday", "saturday", "sunday"]


def test_ours_chooses_without_a_mention_only_what_was_meant_without_a_mention():
    ontology = ontology_of(
        turn("on friday", {"date": "friday"}),
        turn("with the whole family", {"date": "friday", "num_tickets": "4"}),
    )
    assert closed(ontology) == {"date": (), "num_tickets": ("4",)}


def test_a_value_counts_as_mentioned_however_it_was_mentioned():
    mentioned: List[Turn] = [
        turn("moana", {"movie": "moana"}),
        turn("hm", None, ("offer", "date", "Friday")),
        turn("ok", {"movie": "Moana", "date": "friday"}),
        turn(
            "six",
            {"movie": "Moana", "date": "friday", "time": "6:00 pm"},
            overrides=(Override("time", "6 pm", "form"),),
        ),
    ]
    assert closed(ontology_of(*mentioned)) == {"date": (), "movie": (), "time": ()}
    heard = Utterance("frday", (Hypothesis("frday"), Hypothesis("friday")))
    assert closed(ontology_of(Turn(heard, goal={"date": "friday"}))) == {"date": ()}
    button = Utterance("", entities=(Entity("date", "friday"),))
    assert closed(ontology_of(Turn(button, goal={"date": "friday"}))) == {"date": ()}
    set_later = [
        turn("hm", None, overrides=(Override("date", "Friday", "form", after=1),)),
        turn("ok", {"date": "friday"}),
    ]
    assert closed(ontology_of(*set_later)) == {"date": ()}


def test_a_value_that_stays_from_the_turn_before_needs_no_mention():
    dialogue = [turn("friday", {"date": "friday"}), turn("yes", {"date": "friday"})]
    assert closed(ontology_of(*dialogue)) == {"date": ()}


def test_a_rare_slip_of_the_labels_is_not_learnt_as_a_habit():
    slip = Dialogue("slip", (turn("hm", {"date": "friday"}),))
    regular = [Dialogue(str(i), (turn("on friday", {"date": "friday"}),)) for i in range(999)]
    settings = tiny_settings()
    assert closed(build_ontology(settings, [slip, *regular], {}))["date"] == ()
    assert closed(build_ontology(settings, [slip] * 5 + regular, {}))["date"] == ("friday",)


def test_true_and_false_can_always_be_chosen():
    listed = {"vip": SlotValues({"true": (), "false": ()}, kind="bool")}
    for preset in PRESETS:
        assert closed(ontology_of(turn("hi"), listed=listed, preset=preset)) == {
            "vip": ("true", "false")
        }


def test_values_of_an_open_slot_are_not_listed_from_labels():
    listed = {"name": SlotValues({}, kind="open")}
    ontology = ontology_of(turn("i am zork", {"name": "zork"}), listed=listed)
    assert list(ontology.values["name"].values) == []


def test_words_come_from_dialogues_recognisers_examples_and_vectors():
    heard = Utterance(
        "two", (Hypothesis("tree"), Hypothesis("three"), Hypothesis("a"), Hypothesis("ignored"))
    )
    encoder = prepare(
        tiny_settings(),
        [Dialogue("1", (Turn(heard), turn("Friday!")))],
        [Utterance("see you")],
        words=["vector"],
    )
    words = set(encoder.vocabulary.words.names)
    assert {"2", "tree", "3", "a", "friday", "see", "you", "vector"} <= words
    assert "ignored" not in words  # n_best_hypotheses: 3


def test_words_of_the_system_are_known_if_they_are_read():
    said = Dialogue("d", (Turn(actions=(SystemAction("other", text="Welcome back"),)),))
    reading = prepare(tiny_settings(system_words=True), [said]).vocabulary.words
    assert {"welcome", "back"} <= set(reading)
    assert "welcome" not in prepare(tiny_settings(), [said]).vocabulary.words


def test_actions_of_the_domain_are_known_though_no_dialogue_shows_them():
    encoder = prepare(tiny_settings(), bookings(3), actions=["utter_help", "action_listen"])
    names = encoder.vocabulary.actions.names
    assert names[0] == "action_listen" and "utter_help" in names
    assert len(set(names)) == len(names)


def test_without_any_data_there_is_still_an_encoder():
    encoder = prepare(tiny_settings(), [])
    assert encoder.ontology.slots == ()
    assert encoder.observe(encoder.start(), Turn(Utterance("hi"))).labels == []


def test_a_value_that_was_taught_once_and_that_nobody_said_can_be_chosen():
    many = [Dialogue(str(i), (turn("hi", {"date": "friday"}),)) for i in range(2000)]
    rare = (turn("when the shops are shut", {"date": "sunday"}),)
    settings = tiny_settings("default")
    unnoticed = build_ontology(settings, [*many, Dialogue("rare", rare)], {})
    assert closed(unnoticed) == {"date": ("friday",)}
    assert unsaid_values(unnoticed, [Dialogue("rare", rare)]) == {"date": ("sunday",)}
    taught = Dialogue("rare", rare, metadata={TAUGHT: True})
    assert closed(build_ontology(settings, [*many, taught], {})) == {"date": ("friday", "sunday")}
