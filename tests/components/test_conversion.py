"""Trackers and stories become dialogues, and who sets a slot decides what that means."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, List

import numpy as np
import pytest
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import (
    ActionExecuted,
    ActiveLoop,
    AllSlotsReset,
    Event,
    Restarted,
    SlotSet,
    UserUtteranceReverted,
    UserUttered,
)
from rasa.shared.core.trackers import DialogueStateTracker
from rasa.shared.core.training_data.story_reader.yaml_story_reader import YAMLStoryReader
from rasa.shared.nlu.training_data.message import Message

from rasa_hybrid.components.configuration import check_configuration, default_configuration
from rasa_hybrid.components.conversion import HYBRID, TrackerReader
from rasa_hybrid.components.facts import domain_facts, slot_value
from rasa_hybrid.components.lessons import story_dialogues
from rasa_hybrid.components.wordings import Wordings
from rasa_hybrid.dialogue import (
    Dialogue,
    DialogueAct,
    Entity,
    Override,
    SystemAction,
    Turn,
    Utterance,
)
from rasa_hybrid.dialogue.domain import SlotFacts
from rasa_hybrid.model.encoded import UNLABELLED
from rasa_hybrid.model.encoding import Encoder
from rasa_hybrid.model.preparation import prepare
from rasa_hybrid.model.settings import Settings

DOMAIN = Domain.from_yaml("""
version: "3.1"
intents: [inform, greet]
entities: [date, city]
slots:
  date: {type: text, influence_conversation: false, mappings: [{type: custom}]}
  city: {type: text, influence_conversation: false, mappings: [{type: from_entity, entity: city}]}
  vip: {type: bool, mappings: [{type: custom}]}
  offer_date: {type: text, influence_conversation: false, mappings: [{type: custom}]}
responses:
  utter_ask_date: [{text: "When?"}]
  utter_offer: [{text: "How about {offer_date} in {city}?"}, {text: "{offer_date}?"}]
  utter_confirm_date: [{text: "So {date}?"}]
actions: [action_book]
""")
FACTS = domain_facts(DOMAIN, {"offer_date": "date"})


def reader(pipeline: bool = False) -> TrackerReader:
    return TrackerReader(FACTS, ["city", "date", "vip"], pipeline)


def tracker(*events: Event) -> DialogueStateTracker:
    return DialogueStateTracker.from_events("a", list(events), DOMAIN.slots)


def user(text: str, intent: str = "inform", entities: Any = ()) -> UserUttered:
    parse = {"text": text, "intent": {"name": intent}, "entities": list(entities)}
    return UserUttered(text, {"name": intent}, list(entities), parse)


def model_sets(slot: str, value: Any) -> SlotSet:
    return SlotSet(slot, value, metadata={HYBRID: {"source": "model"}})


def test_empty_list_is_told_from_a_list_that_nobody_filled() -> None:
    domain = Domain.from_yaml("slots: {films: {type: list, mappings: [{type: custom}]}}")
    facts = domain_facts(domain)
    assert facts.context({"films": ["Aurora"]}) == ("slot:films=set",)
    assert facts.context({"films": []}) == ("slot:films=empty",)
    assert facts.context({"films": None}) == ()


def test_an_action_says_the_slots_of_its_name_and_of_its_responses():
    values = {"offer_date": "friday", "city": "rome", "date": "monday"}
    assert FACTS.acts("utter_ask_date", {}) == (DialogueAct("ask", "date"),)
    assert FACTS.acts("utter_confirm_date", values) == (DialogueAct("confirm", "date", "monday"),)
    assert set(FACTS.acts("utter_offer", values)) == {
        DialogueAct("offer", "date", "friday"),
        DialogueAct("offer", "city", "rome"),
    }
    assert FACTS.acts("action_book", values) == (DialogueAct("book"),)


def test_a_corpus_says_what_the_domain_says():
    spoken = SystemAction("utter_offer", (DialogueAct("OFFER", "date", "friday"),))
    turns = (Turn(Utterance("in rome"), goal={"city": "rome"}, actions=(spoken,)),)
    [turn] = FACTS.harmonise(Dialogue("1", turns)).turns
    assert set(turn.actions[0].acts) == {
        DialogueAct("offer", "date", "friday"),
        DialogueAct("offer", "city", "rome"),
    }


def test_story_labels_are_what_was_set_before_the_first_action():
    story = reader().story(
        tracker(
            ActionExecuted("action_listen"),
            user("friday"),
            SlotSet("date", "friday"),
            ActionExecuted("utter_ask_date"),
            SlotSet("vip", True),
            ActionExecuted("action_listen"),
        )
    )
    [turn] = story.turns
    assert turn.goal == {"date": "friday"}
    assert turn.overrides == (Override("vip", "true", "action", 1),)
    assert turn.closing_context == ("slot:vip=true",)


def test_the_models_own_slots_and_gold_slots_of_test_stories_are_not_read_back_in():
    for event in (model_sets("date", "friday"), SlotSet("date", "friday")):
        reading = reader().live(tracker(user("friday"), event, ActionExecuted("utter_ask_date")))
        assert reading.dialogue.turns[-1].overrides == ()


@pytest.mark.parametrize(
    "events, expected",
    [
        ([user("x"), SlotSet("city", "rome")], Override("city", "rome", "mapping")),
        (
            [user("x"), ActionExecuted("action_book"), SlotSet("date", "friday")],
            Override("date", "friday", "action", 1),
        ),
        (
            [user("x"), SlotSet("date", "friday", metadata={HYBRID: {"source": "teacher"}})],
            Override("date", "friday", "teacher"),
        ),
        (
            [user('/inform{"date": "friday"}', entities=[{"entity": "date", "value": "friday"}])],
            Override("date", "friday", "button"),
        ),
        (
            [
                user("friday"),
                model_sets("date", "friday"),
                ActionExecuted("action_book"),
                SlotSet("date", None),
            ],
            Override("date", "none", "action", 1, "friday"),
        ),
    ],
)
def test_the_source_of_an_override(events: List[Event], expected: Override):
    reading = reader().live(tracker(ActionExecuted("action_listen"), *events))
    assert reading.dialogue.turns[-1].overrides == (expected,)


def test_a_reset_of_all_slots_empties_what_the_model_had_set():
    reading = reader().live(
        tracker(
            user("friday"),
            model_sets("date", "friday"),
            ActionExecuted("action_book"),
            AllSlotsReset(),
        )
    )
    emptied = {o.slot: (o.value, o.rejects) for o in reading.dialogue.turns[-1].overrides}
    assert emptied["date"] == ("none", "friday")


def test_intents_of_live_texts_are_inputs_only_where_a_pipeline_predicts_them():
    events = [user("friday", entities=[{"entity": "date", "value": "friday"}])]
    assert reader(pipeline=False).live(tracker(*events)).dialogue.turns[-1].user == Utterance(
        "friday"
    )
    said = reader(pipeline=True).live(tracker(*events)).dialogue.turns[-1].user
    assert said is not None and said.intent == "inform" and said.entities[0].value == "friday"


def test_turns_that_only_rules_took_are_left_out_but_what_they_set_stays():
    reading = reader().live(
        tracker(
            user("hi"),
            ActionExecuted("utter_ask_date"),
            ActionExecuted("action_listen"),
            user("chitchat"),
            ActionExecuted("action_book", hide_rule_turn=True),
            SlotSet("date", "friday"),
            ActionExecuted("action_listen", hide_rule_turn=True),
            user("and now"),
        )
    )
    texts = [turn.user.text for turn in reading.dialogue.turns if turn.user]
    assert texts == ["hi", "and now"]
    assert [o.value for turn in reading.dialogue.turns for o in turn.overrides] == ["friday"]


def test_the_active_loop_is_part_of_the_state():
    reading = reader().live(tracker(user("x"), ActionExecuted("my_form"), ActiveLoop("my_form")))
    assert reading.loop == "my_form"
    assert reader().context({"vip": False}, {"vip": "true"}, "my_form") == (
        "slot:vip=true",
        "loop:my_form",
    )


def test_within_a_turn_nobody_undoes_what_a_teacher_set():
    turn = Turn(
        Utterance("x"),
        overrides=(Override("date", "friday", "teacher"), Override("date", "monday", "mapping")),
        goal={"date": "friday"},
    )
    encoder: Encoder = prepare(Settings(), [Dialogue("1", (turn,))])
    tracked = encoder.start()
    overrides = dict(encoder.observe(tracked, turn).overrides)
    assert tracked.values[0][overrides[0]] == "friday"


def test_a_step_without_text_is_worded_with_the_values_of_the_story():
    text = "we come to paris"
    entity = {"entity": "city", "value": "paris", "start": 11, "end": 16}
    wordings = Wordings([Message({"text": text, "intent": "inform", "entities": [entity]})])
    story = Utterance("", intent="inform", entities=(Entity("city", "rome"),))
    worded = wordings.word(story, np.random.default_rng(0))
    assert worded.text == "we come to rome"
    assert worded.entities == (Entity("city", "rome", 11, 15),)


def test_a_worded_step_whose_story_names_no_entities_teaches_no_goal():
    entity = {"entity": "city", "value": "paris", "start": 0, "end": 5}
    wordings = Wordings([Message({"text": "paris", "intent": "inform", "entities": [entity]})])
    dialogue = Dialogue("1", (Turn(Utterance("", intent="inform"), goal={}),))
    [turn] = wordings.word_dialogue(dialogue, np.random.default_rng(0)).turns
    assert turn.user is not None and turn.user.text == "paris" and turn.goal is None


FRIDAY = Message(
    {
        "text": "on friday",
        "intent": "inform",
        "entities": [{"entity": "date", "value": "friday", "start": 3, "end": 9}],
    }
)


def worded_story(steps: str, *examples: Message) -> Dialogue:
    """A story's dialogue as it is learnt, with texts of these examples."""
    [step] = YAMLStoryReader(DOMAIN).read_from_string(
        f"{{version: '3.1', stories: [{{story: one, steps: {steps}}}]}}"
    )
    configuration = check_configuration({**default_configuration(), "wordings_per_story": 1})
    read = [tracker(*step.events)]
    [worded] = story_dialogues(configuration, reader(), read, Wordings(examples), None)
    return worded


@pytest.mark.parametrize(
    "named",
    [
        "{intent: inform, entities: [date]}",
        "{intent: inform, entities: [{date: null}]}",
        "{intent: inform, entities: [date]}, {slot_was_set: [date]}",
        "{intent: inform}, {slot_was_set: [date]}",
        "{user: 'on [friday](date)', intent: inform}, {slot_was_set: [date]}",
    ],
)
def test_a_value_that_a_story_does_not_name_is_the_one_that_its_text_has(named: str) -> None:
    steps = f"[{named}, {{action: utter_confirm_date}}, {{intent: greet}}, {{action: action_book}}]"
    first, later = worded_story(steps, FRIDAY).turns
    assert first.user is not None and first.user.text == "on friday"
    assert first.goal == later.goal == {"date": "friday"}
    if "slot_was_set" in named:
        [confirmed] = first.actions
        assert confirmed.acts == (DialogueAct("confirm", "date", "friday"),)


@pytest.mark.parametrize(
    "named",
    [
        "{intent: inform, entities: [date]}, {slot_was_set: [date, {city: rome}]}",
        "{user: 'the day after', intent: inform}, {slot_was_set: [date, {city: rome}]}",
    ],
)
def test_a_value_that_nobody_names_is_no_label_and_no_value(named: str) -> None:
    story = worded_story(f"[{named}, {{action: utter_ask_date}}]")
    encoder = prepare(Settings(), [story])
    assert encoder.ontology.values["date"].closed == ()
    assert not encoder.ontology.values["date"].values
    labels = encoder.dialogue(replace(story, turns=story.turns[:1]))[0].labels
    assert encoder.ontology.slots == ("city", "date")
    assert labels[0] > 0
    if "user" in named:
        assert labels[1] == UNLABELLED


def test_a_slot_that_an_action_fills_with_an_unnamed_value_keeps_what_the_user_had_said() -> None:
    form = "{action: action_book}, {slot_was_set: [date]}, {action: utter_confirm_date}"
    said = worded_story(f"[{{intent: inform, entities: [date]}}, {form}]", FRIDAY)
    assert [o.value for t in said.turns for o in t.overrides] == ["friday"]
    found = worded_story(f"[{{intent: greet}}, {form}, {{intent: greet}}, {{action: action_book}}]")
    assert prepare(Settings(), [found]).ontology.values["date"].closed == ()


def test_a_button_with_null_empties_slots_of_every_type() -> None:
    for slot in ("vip", "date"):
        said = user(f'/inform{{"{slot}": null}}', entities=[{"entity": slot, "value": None}])
        [turn] = reader().live(tracker(said)).dialogue.turns
        assert turn.overrides == (Override(slot, "none", "button"),)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e400", "four"])
def test_a_float_slot_takes_finite_numbers_alone(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        slot_value(SlotFacts("float"), text, "dontcare")
    assert slot_value(SlotFacts("float"), "4", "dontcare") == 4.0


def test_reading_goes_on_where_it_stopped_and_gives_what_reading_anew_gives() -> None:
    events: List[Event] = [
        ActionExecuted("action_session_start"),
        ActionExecuted("action_listen"),
        UserUttered("friday", {"name": "inform"}),
        SlotSet("date", "friday", metadata={HYBRID: {"source": "model"}}),
        ActionExecuted("utter_offer", metadata={HYBRID: {"offered": "1", "query": {"city": "x"}}}),
        ActionExecuted("action_listen"),
        UserUttered("no", {"name": "inform"}),
        ActionExecuted("action_book"),
        SlotSet("city", "york"),
        UserUtteranceReverted(),
        UserUttered("monday", {"name": "inform"}),
        ActionExecuted("utter_ask_date"),
        AllSlotsReset(),
        ActionExecuted("action_listen"),
        Restarted(),
        UserUttered("/greet", {"name": "greet"}),
        ActionExecuted("utter_ask_date", hide_rule_turn=True),
        SlotSet("vip", True),
        ActionExecuted("action_listen", hide_rule_turn=True),
    ]
    going_on = reader()
    for end in range(len(events) + 1):
        so_far = tracker(*events[:end])
        assert going_on.live(so_far) == reader().live(so_far)


def test_a_past_that_was_rewritten_is_read_anew() -> None:
    going_on = reader()
    said = UserUttered("friday", {"name": "inform"})
    before = tracker(ActionExecuted("action_listen"), said, SlotSet("city", "york"))
    going_on.live(before)
    other = tracker(ActionExecuted("action_listen"), UserUttered("monday"), SlotSet("city", "bath"))
    assert going_on.live(other) == reader().live(other)
    assert going_on.live(before) == reader().live(before)
