"""What is replaced in Rasa does what Rasa did."""

from __future__ import annotations

from typing import Any, Dict

import pytest
from jsonschema import ValidationError
from rasa.core.actions.action import RemoteAction

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
