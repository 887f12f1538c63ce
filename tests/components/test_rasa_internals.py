"""What is replaced in Rasa does what Rasa did."""

from __future__ import annotations

from typing import Any, Dict

import pytest
from jsonschema import ValidationError
from rasa.core.actions.action import RemoteAction
from rasa.shared.core.events import Event, SlotSet, UserUttered
from rasa.shared.utils.common import all_subclasses

import rasa_hybrid.components.policy  # noqa: F401


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
