"""What is replaced in Rasa does what Rasa did."""

from __future__ import annotations

from typing import Any, Dict

import pytest
from jsonschema import ValidationError
from rasa.core.actions.action import RemoteAction
from rasa.core.policies.rule_policy import RulePolicy
from rasa.core.policies.ted_policy import TEDPolicy
from rasa.engine.graph import ExecutionContext, GraphSchema, SchemaNode
from rasa.engine.storage.resource import Resource
from rasa.graph_components.providers.training_tracker_provider import TrainingTrackerProvider
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import Event, SlotSet, UserUttered
from rasa.shared.core.training_data.story_reader.yaml_story_reader import YAMLStoryReader
from rasa.shared.core.training_data.structures import StoryGraph
from rasa.shared.utils.common import all_subclasses

from rasa_hybrid.components.policy import HybridPolicy


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"events": [], "responses": [{"text": "hi"}]},
        {"events": [{"event": "slot", "name": "date", "value": "friday", "timestamp": None}]},
    ],
)
def test_answers_of_custom_actions_are_taken(answer: Dict[str, Any]) -> None:
    assert RemoteAction("action_book", None)._validate_action_result(answer)


@pytest.mark.parametrize(
    "answer", [{"events": "none"}, {"events": [{"event": "slot"}]}, {"responses": ["hi"]}]
)
def test_malformed_answers_of_custom_actions_are_refused_with_rasas_own_explanation(
    answer: Dict[str, Any],
) -> None:
    with pytest.raises(ValidationError, match="Failed to validate Action server response"):
        RemoteAction("action_book", None)._validate_action_result(answer)


def test_every_event_is_found_by_its_name_as_rasa_finds_it() -> None:
    stock = Event.resolve_by_type.__wrapped__  # type: ignore[attr-defined]
    names = {event.type_name for event in all_subclasses(Event) if isinstance(event.type_name, str)}
    assert {"user", "action", "slot"} <= names
    for name in [*names, *names]:  # the second time as remembered
        assert Event.resolve_by_type(name) is stock(name)


def test_names_of_no_event_get_the_default_of_each_call_or_an_error() -> None:
    assert Event.resolve_by_type("lightning", SlotSet) is SlotSet
    assert Event.resolve_by_type("lightning", UserUttered) is UserUttered
    assert Event.resolve_by_type("topic") is None
    with pytest.raises(ValueError, match="lightning"):
        Event.resolve_by_type("lightning")


STORIES = """
version: "3.1"
stories:
- {story: rome, steps: [&inform {intent: inform, entities: [{city: rome}]}, &ok {action: utter_ok}]}
- {story: paris, steps: [{intent: inform, entities: [{city: paris}]}, *ok]}
- {story: any, steps: [{intent: inform}, {slot_was_set: [{city: any}]}, *ok]}
- {story: none, steps: [{intent: inform}, *ok]}
- {story: rome again, steps: [*inform, *ok]}
"""


@pytest.mark.parametrize(
    ("learners", "learnt"),
    [
        ([HybridPolicy, RulePolicy], {"rome", "paris", "any", "none"}),
        ([HybridPolicy, TEDPolicy], {"rome", "any"}),  # as in Rasa
    ],
)
def test_stories_that_only_values_tell_apart_are_all_learnt(learners: list, learnt: set) -> None:
    domain = Domain.from_yaml("""
    intents: [inform]
    entities: [city]
    slots: {city: {type: text, influence_conversation: false, mappings: [{type: custom}]}}
    responses: {utter_ok: [{text: ok}]}
    """)
    node = {"needs": {"t": "training_tracker_provider"}, "constructor_name": "", "fn": ""}
    schema = {str(i): SchemaNode(uses=uses, config={}, **node) for i, uses in enumerate(learners)}
    provider = TrainingTrackerProvider.create(
        {**TrainingTrackerProvider.get_default_config(), "augmentation_factor": 0},
        None,  # type: ignore[arg-type]
        Resource("trackers"),
        ExecutionContext(GraphSchema(schema)),
    )
    stories = StoryGraph(YAMLStoryReader(domain).read_from_string(STORIES))
    # As Rasa's graph calls it.
    trackers = TrainingTrackerProvider.provide(provider, stories, domain)
    assert {tracker.sender_id for tracker in trackers} == learnt
