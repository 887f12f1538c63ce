"""What the model has to know of a bot's domain: its slots, and what its actions say. Plain data, without Rasa."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Dict, Iterable, Mapping, Optional, Tuple

from rasa_hybrid.dialogue.acts import NONE, Dialogue, DialogueAct


@dataclass(frozen=True)
class SlotFacts:
    """What the domain says of a slot.

    Args:
        kind: Rasa's type name.
        values: of a categorical slot.
        influences: whether it influences the conversation.
        custom: whether nobody but us fills it (its mappings are all `custom` without an action).
        initial: its initial value.
    """

    kind: str
    values: Tuple[str, ...] = ()
    influences: bool = False
    custom: bool = True
    initial: Any = None


@dataclass(frozen=True)
class DomainFacts:
    """What the conversion needs of a domain, small enough to be kept with the model.

    Args:
        slots: by name.
        actions: act type of each action, and the slots that it mentions, each with the slot whose value it says
            (None: it asks for it).
        forms: required slots of each form.
    """

    slots: Mapping[str, SlotFacts]
    actions: Mapping[str, Tuple[str, Tuple[Tuple[str, Optional[str]], ...]]]
    forms: Mapping[str, Tuple[str, ...]]

    def acts(self, action: str, values: Mapping[str, Any]) -> Tuple[DialogueAct, ...]:
        """The acts of an action, filled with the slots' values."""
        act, mentioned = self.actions.get(action) or (act_type(action, ()), ())
        acts = []
        for slot, source in mentioned:
            if source is None:
                acts.append(DialogueAct(act, slot))
            elif values.get(source) is not None:
                acts.append(DialogueAct(act, slot, self.text(source, values[source])))
        return tuple(acts) or (DialogueAct(act),)

    def text(self, slot: str, value: Any) -> str:
        """A slot's value as the model knows it."""
        kind = self.slots[slot].kind if slot in self.slots else "text"
        return slot_text(kind, value)

    def feature(self, slot: str, value: Any) -> Optional[str]:
        """What an influencing slot shows of its value, as Rasa featurizes it; None if nothing.

        Other than there, an empty list shows itself: an action that found nothing has to be told from one that did not run.
        """
        facts = self.slots.get(slot)
        if facts is None or not facts.influences or value is None:
            return None
        if value == []:
            return f"slot:{slot}=empty" if facts.kind == "list" else None
        if facts.kind == "categorical":
            known = {str(v).lower() for v in facts.values}
            return (
                f"slot:{slot}={str(value).lower() if str(value).lower() in known else '__other__'}"
            )
        if facts.kind == "bool":
            return f"slot:{slot}={str(is_true(value)).lower()}"
        if facts.kind == "float":
            try:
                return f"slot:{slot}={float(value):.1g}"
            except (TypeError, ValueError):
                return None
        return f"slot:{slot}=set" if facts.kind in {"text", "list"} else None

    def context(self, slots: Mapping[str, Any], loop: Optional[str] = None) -> Tuple[str, ...]:
        """Features of the state that a decision is taken in: what influencing slots show, and the active loop."""
        influencing = (name for name, facts in self.slots.items() if facts.influences)
        shown = (self.feature(name, slots.get(name)) for name in influencing)
        features = [feature for feature in shown if feature]
        return tuple([*features, f"loop:{loop}"] if loop else features)

    def harmonise(self, dialogue: Dialogue) -> Dialogue:
        """A corpus dialogue whose actions say what they say in the domain, so that both teach the same thing.

        Values of slots that only an offer fills are those that the corpus's own acts name.
        """
        values: Dict[str, Any] = {name: facts.initial for name, facts in self.slots.items()}
        labelled = {slot for turn in dialogue.turns for slot in turn.goal or {}}
        turns = []
        for turn in dialogue.turns:
            if turn.goal is not None:
                values.update({slot: turn.goal.get(slot) for slot in labelled})
            actions = []
            for action in turn.actions:
                if action.name in self.actions:
                    told = {act.slot: act.value for act in action.acts if act.value is not None}
                    for slot, source in self.actions[action.name][1]:
                        if source is not None and source != slot and slot in told:
                            values[source] = told[slot]
                    action = replace(action, acts=self.acts(action.name, values))
                actions.append(action)
            turns.append(replace(turn, actions=tuple(actions)))
        return replace(dialogue, turns=tuple(turns))

    def to_dict(self) -> Dict[str, Any]:
        """JSON-able form."""
        return {
            "slots": {name: vars(facts) for name, facts in self.slots.items()},
            "actions": {
                name: [act, [list(pair) for pair in pairs]]
                for name, (act, pairs) in self.actions.items()
            },
            "forms": {name: list(slots) for name, slots in self.forms.items()},
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> DomainFacts:
        """Inverse of `to_dict`."""
        return cls(
            slots={
                name: SlotFacts(**{**facts, "values": tuple(facts["values"])})
                for name, facts in record["slots"].items()
            },
            actions={
                name: (act, tuple((slot, source) for slot, source in pairs))
                for name, (act, pairs) in record["actions"].items()
            },
            forms={name: tuple(slots) for name, slots in record["forms"].items()},
        )


def act_type(action: str, slots: Iterable[str]) -> str:
    """The dialogue act in an action's name: the name without `utter_` or `action_` and without the slots in it."""
    name = re.sub(r"^(utter|action)_", "", action)
    for slot in sorted(slots, key=len, reverse=True):
        name = re.sub(rf"(^|_){re.escape(slot)}(?=_|$)", "", name)
    return name.strip("_") or action


def slot_text(kind: str, value: Any) -> str:
    """A slot's value as text: `none` for None, `true`/`false` for bool, no needless decimals for float."""
    if value is None:
        return NONE
    if kind == "bool":
        return str(is_true(value)).lower()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"{value:g}"
    return str(value)


def is_true(value: Any) -> bool:
    """Truth of a bool slot's value, as Rasa reads it: true, "true", "1" and 1."""
    if isinstance(value, (bool, int, float)):
        return value == 1
    return str(value).strip().lower() in {"true", "1", "1.0"}
