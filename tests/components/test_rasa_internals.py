"""What is replaced in Rasa does what Rasa did."""

from __future__ import annotations

import copy
from typing import Any, Dict, List, Optional, Type

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import ValidationError
from rasa.core.actions.action import RemoteAction
from rasa.core.policies.rule_policy import RulePolicy
from rasa.core.policies.ted_policy import TEDPolicy
from rasa.engine.exceptions import GraphComponentException, GraphRunError
from rasa.engine.graph import ExecutionContext, GraphComponent, GraphSchema, SchemaNode
from rasa.engine.runner.dask import DaskGraphRunner
from rasa.engine.storage.resource import Resource
from rasa.graph_components.providers.training_tracker_provider import TrainingTrackerProvider
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import (
    ActionExecuted,
    ActionExecutionRejected,
    ActionReverted,
    ActiveLoop,
    AllSlotsReset,
    BotUttered,
    DefinePrevUserUtteredFeaturization,
    Event,
    LegacyForm,
    LoopInterrupted,
    Restarted,
    SessionStarted,
    SlotSet,
    UserUtteranceReverted,
    UserUttered,
)
from rasa.shared.core.slots import (
    AnySlot,
    BooleanSlot,
    CategoricalSlot,
    FloatSlot,
    ListSlot,
    Slot,
    TextSlot,
)
from rasa.shared.core.trackers import DialogueStateTracker
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


class Adder(GraphComponent):
    """Adds what it is given; keeps count of its calls."""

    calls: List[str] = []

    @classmethod
    def create(cls, config: Dict[str, Any], *_: Any, **__: Any) -> Adder:
        adder = cls()
        adder.config = config
        return adder

    def add(self, a: int, b: Optional[int] = None) -> int:
        self.calls.append(self.config["name"])
        if a < 0:
            raise ValueError("negative")
        return a + (b or 0)


def adders() -> DaskGraphRunner:
    """c = (a + b) + a, of a = input and b = a + other input."""
    needs: Dict[str, Dict[str, str]] = {
        "a": {"a": "__first__"},
        "b": {"a": "a", "b": "__second__"},
        "c": {"a": "b", "b": "a"},
        "unneeded": {"a": "c"},
    }
    schema = GraphSchema(
        {
            name: SchemaNode(
                needs=of,
                uses=Adder,
                constructor_name="create",
                fn="add",
                config={"name": name},
                eager=True,
                is_target=name == "c",
            )
            for name, of in needs.items()
        }
    )
    Adder.calls.clear()
    return DaskGraphRunner(schema, None, ExecutionContext(schema))  # type: ignore[arg-type]


def stock_run(runner: DaskGraphRunner, *arguments: Any) -> Dict[str, Any]:
    result: Dict[str, Any] = DaskGraphRunner.run.__wrapped__(runner, *arguments)  # type: ignore[attr-defined]
    return result


@pytest.mark.parametrize(
    ("inputs", "targets"),
    [
        ({"__first__": 2, "__second__": 5}, None),
        ({"__first__": 2, "__second__": 5}, ["b", "c"]),
        ({"__first__": 2}, ["a"]),  # of an input that others need
        ({"__first__": 2, "b": 1}, ["c"]),  # in place of a node
    ],
)
def test_a_graph_gives_what_dask_makes_of_it(
    inputs: Dict[str, int], targets: Optional[List[str]]
) -> None:
    expected = stock_run(adders(), inputs, targets)
    called = sorted(Adder.calls)
    assert adders().run(inputs, targets) == expected
    assert sorted(Adder.calls) == called  # each node once, none that nobody needs


@pytest.mark.parametrize("inputs", [{"__first__": -1, "__second__": 0}, {"__first__": 2}])
def test_errors_of_nodes_are_raised_as_by_dask(inputs: Dict[str, int]) -> None:
    with pytest.raises((GraphComponentException, GraphRunError)) as stock:
        stock_run(adders(), inputs)
    with pytest.raises(stock.type, match=str(stock.value)) as ours:
        adders().run(inputs)
    assert repr(ours.value.__cause__) == repr(stock.value.__cause__)


EVENTS = {
    "user": UserUttered("hi", {"name": "greet"}),
    "action": ActionExecuted("utter_ok"),
    "loop's action": ActionExecuted("form"),
    "listen": ActionExecuted("action_listen"),
    "bot": BotUttered("ok"),
    "slot": SlotSet("city", "rome"),
    "reset": AllSlotsReset(),
    "featurization": DefinePrevUserUtteredFeaturization(False),
    "rejected": ActionExecutionRejected("form"),
    "interrupted": LoopInterrupted(True),
    "loop": ActiveLoop("form"),
    "no loop": ActiveLoop(None),
    "legacy loop": LegacyForm("form"),
    "undo": ActionReverted(),
    "rewind": UserUtteranceReverted(),
    "restart": Restarted(),
    "session": SessionStarted(),
}


@given(st.lists(st.sampled_from(sorted(EVENTS)), max_size=12))
def test_the_events_that_apply_are_those_that_rasa_finds(kinds: List[str]) -> None:
    tracker = DialogueStateTracker("anna", [])
    tracker.events.extend(EVENTS[kind] for kind in kinds)
    stock = DialogueStateTracker.applied_events.__wrapped__(tracker)  # type: ignore[attr-defined]
    ours = tracker.applied_events()
    assert [id(event) for event in ours] == [id(event) for event in stock]
    ours.clear()  # a list of the caller's own
    assert len(tracker.events) == len(kinds)


#: Slots of all of Rasa's types: a value, another one, what else they are told.
SLOTS = [
    (TextSlot, "rome", "paris", {}),
    (BooleanSlot, True, False, {}),
    (FloatSlot, 2.0, 3.0, {"min_value": 1.0, "max_value": 4.0}),
    (ListSlot, ["rome"], ["paris"], {}),
    (CategoricalSlot, "rome", "paris", {"values": ["rome", "paris"]}),
    (AnySlot, {"city": "rome"}, 3, {"influence_conversation": False}),
]


@pytest.mark.parametrize(("kind", "value", "other", "told"), SLOTS)
def test_slots_are_copied_as_python_copies_them(
    kind: Type[Slot], value: Any, other: Any, told: Dict[str, Any]
) -> None:
    slot = kind("city", mappings=[{"type": "custom"}], initial_value=value, **told)
    slot.value = value
    make, arguments, state = slot.__reduce_ex__(4)[:3]  # type: ignore[misc]
    stock = make(*arguments)
    stock.__dict__.update(state)
    copied = copy.copy(slot)
    assert type(copied) is type(stock)
    assert vars(copied) == vars(stock)
    assert copied.value is slot.value  # no deeper than Python's
    copied.value = other
    assert slot.value == value


class Tower(TextSlot):
    """A slot type of a project, with a way of its own to be copied."""

    __slots__ = ("height",)

    def __setstate__(self, state: Any) -> None:
        of_dict, of_slots = state
        self.__dict__.update(of_dict)
        self.height = of_slots["height"] + 1


def test_slot_types_of_a_project_are_copied_in_their_own_way() -> None:
    slot = Tower("tower", mappings=[{"type": "custom"}])
    slot.height = 56
    assert copy.copy(slot).height == 57


@pytest.mark.parametrize(
    "content", ["{}", "intents: [greet]", "session_config: {session_expiration_time: 5}"]
)
def test_domains_are_empty_that_rasa_takes_for_empty(content: str) -> None:
    domain = Domain.from_yaml(content)
    stock = Domain.is_empty.__wrapped__  # type: ignore[attr-defined]
    assert domain.is_empty() == stock(domain) == (content == "{}")
