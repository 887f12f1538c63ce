"""What the events of a conversation say while it is taught: whose turn it is, what was said, what stood before.

Events are the applied ones of a tracker: what was taken back is not among them.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

from rasa.shared.core.constants import ACTION_LISTEN_NAME, DEFAULT_ACTION_NAMES
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import (
    ActionExecuted,
    AllSlotsReset,
    BotUttered,
    Event,
    SlotSet,
    UserUttered,
)
from rasa.shared.core.trackers import DialogueStateTracker

from rasa_hybrid.components.conversion import HYBRID, KNOWLEDGE_BASE, hybrid_metadata

#: Actions that are Rasa's own affair: neither stories nor people are told of them.
UNNAMED = frozenset(DEFAULT_ACTION_NAMES) - {"action_back", "action_default_fallback"}


def chat(tracker: DialogueStateTracker) -> List[Dict[str, Any]]:
    """What was said, for a person to read: who, text, buttons."""
    said: List[Dict[str, Any]] = []
    for event in tracker.applied_events():
        if isinstance(event, UserUttered):
            said.append({"who": "user", "text": event.text or f"/{event.intent_name}"})
        elif isinstance(event, BotUttered):
            buttons = (event.data or {}).get("buttons") or []
            said.append({"who": "bot", "text": event.text or "", "buttons": buttons})
        elif isinstance(event, ActionExecuted) and event.action_name not in UNNAMED:
            corrected = bool(hybrid_metadata(event).get("corrected"))
            said.append({"who": "act", "text": event.action_name, "corrected": corrected})
    return said


def is_listening(applied: Sequence[Event]) -> bool:
    """Whether it is the user's turn."""
    step = last_step(applied)
    if step is None:
        return True
    return isinstance(step, ActionExecuted) and step.action_name == ACTION_LISTEN_NAME


def last_step(applied: Sequence[Event]) -> Optional[Event]:
    """The last action or message; None if there was none."""
    return next(
        (e for e in reversed(applied) if isinstance(e, (ActionExecuted, UserUttered))), None
    )


def goal_before(tracker: DialogueStateTracker, domain: Domain) -> Dict[str, Any]:
    """Values of the slots before the last message."""
    values = {slot.name: slot.initial_value for slot in domain.slots}
    applied = tracker.applied_events()
    last = max((i for i, e in enumerate(applied) if isinstance(e, UserUttered)), default=0)
    for event in applied[:last]:
        if isinstance(event, SlotSet):
            values[event.key] = event.value
        elif isinstance(event, AllSlotsReset):
            values = {slot.name: slot.initial_value for slot in domain.slots}
    return values


def withdrawn_offers(tracker: DialogueStateTracker, domain: Domain) -> List[Event]:
    """Slots of the last offer, set to what they held before, if no action stands behind them any more."""
    applied = tracker.applied_events()
    start = 1 + max(
        (i for i, e in enumerate(applied) if isinstance(e, (ActionExecuted, UserUttered))),
        default=-1,
    )
    before = {slot.name: slot.initial_value for slot in domain.slots}
    for event in applied[:start]:
        if isinstance(event, SlotSet):
            before[event.key] = event.value
    offered = {
        event.key
        for event in applied[start:]
        if isinstance(event, SlotSet) and hybrid_metadata(event).get("source") == KNOWLEDGE_BASE
    }
    source = {HYBRID: {"source": KNOWLEDGE_BASE}}
    return [SlotSet(slot, before.get(slot), metadata=source) for slot in sorted(offered)]
