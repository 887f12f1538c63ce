"""Rasa's domain as the model knows it: `DomainFacts`, and which values its slots take."""

from __future__ import annotations

import math
import re
from typing import Any, Collection, Dict, Iterable, List, Mapping, Optional, Sequence, Set

from rasa.shared.core.domain import Domain
from rasa.shared.core.slots import (
    BooleanSlot,
    CategoricalSlot,
    FloatSlot,
    ListSlot,
    Slot,
    TextSlot,
)

from rasa_hybrid.dialogue import DONTCARE, NONE, DomainFacts, SlotFacts, act_type

_PLACEHOLDER = re.compile(r"{\s*(\w+)\s*}")


def domain_facts(
    domain: Domain,
    offer_slots: Optional[Mapping[str, str]] = None,
    responses: Optional[Mapping[str, Any]] = None,
    choice_slots: Collection[str] = (),
) -> DomainFacts:
    """The facts of a domain.

    Args:
        domain: of the project.
        offer_slots: slots that hold a property of the offered entity, and of which goal slot.
        responses: of the domain; in training Rasa hands over a domain without them.
        choice_slots: slots that only list what there is: no part of what an action says.
    """
    offer_slots = offer_slots or {}
    responses = domain.responses if responses is None else responses
    slots = {}
    for slot in domain.slots:
        if slot.name in choice_slots:
            continue
        mappings = slot.mappings or []
        slots[slot.name] = SlotFacts(
            kind=_kind(slot),
            values=tuple(str(v) for v in slot.values if v != "__other__")
            if isinstance(slot, CategoricalSlot)
            else (),
            influences=slot.influence_conversation,
            custom=all(m.get("type") == "custom" and not m.get("action") for m in mappings),
            initial=slot.initial_value,
        )
    names = [name for name in slots if name not in offer_slots]
    actions = {}
    for action in domain.action_names_or_texts:
        said = placeholders(responses.get(action) or ())
        pairs: Dict[str, Optional[str]] = dict.fromkeys(_mentioned(action, names))
        for source in said:
            if source in slots and offer_slots.get(source, source) in slots:
                pairs[offer_slots.get(source, source)] = source
        actions[action] = (act_type(action, pairs), tuple(sorted(pairs.items())))
    forms = {name: tuple(form.get("required_slots", ())) for name, form in domain.forms.items()}
    return DomainFacts(slots, actions, forms)


def placeholders(responses: Iterable[Mapping[str, Any]]) -> Set[str]:
    """Slots that the texts of an action's responses name."""
    return {
        name for response in responses for name in _PLACEHOLDER.findall(response.get("text") or "")
    }


def slot_value(facts: SlotFacts, text: str, dontcare_value: str) -> Any:
    """The value that a slot takes for a value of the model.

    Raises:
        ValueError: if the slot's type can't hold it.
    """
    if text == NONE:
        return None
    if text == DONTCARE:
        return dontcare_value
    if facts.kind == "bool":
        return text == "true"
    if facts.kind == "float":
        number = float(text)
        if not math.isfinite(number):
            raise ValueError(f"{text!r} is no finite number")
        return number
    return text


def _kind(slot: Slot) -> str:
    for kind in (CategoricalSlot, BooleanSlot, FloatSlot, TextSlot, ListSlot):
        if isinstance(slot, kind):
            return kind.type_name
    return slot.type_name


def _mentioned(action: str, slots: Sequence[str]) -> List[str]:
    """Slots whose name stands in an action's name, longer names first, no part of it twice."""
    name, found = f"_{action}_", []
    for slot in sorted(slots, key=len, reverse=True):
        if f"_{slot}_" in name:
            found.append(slot)
            name = name.replace(f"_{slot}_", "_")
    return found
