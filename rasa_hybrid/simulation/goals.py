"""What a simulated user wants: constraints drawn from the knowledge base, and what it settles for instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Collection, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from rasa_hybrid.dialogue import DONTCARE, NONE, normalise
from rasa_hybrid.simulation.catalogue import Catalogue, Entity
from rasa_hybrid.simulation.located_yaml import Located, LocatedList


@dataclass(frozen=True)
class GoalSlot:
    """A slot of the goal.

    Args:
        name: as in the domain.
        said_as: kind of its spoken forms.
        any: probability that the user doesn't care about it.
        values: what users ask for, where the knowledge base doesn't tell (a number of tickets).
        weights: how often, relative to each other.
    """

    name: str
    said_as: str = "plain"
    any: float = 0.0
    values: Tuple[str, ...] = ()
    weights: Tuple[float, ...] = ()


class GoalSampler:
    """Draws goals that the knowledge base can express.

    Args:
        slots: the goal slots.
        catalogue: the knowledge base.
        nothing_matches: share of goals that nothing satisfies at first.
        blind: how often an alternative is named without knowing whether it exists.
        listed: goals to use; with `share_listed` above 0.
        share_listed: share of dialogues with one of those.
        listable: slots of which the system can tell the values.
    """

    def __init__(
        self,
        slots: Sequence[GoalSlot],
        catalogue: Catalogue,
        nothing_matches: float = 0.0,
        blind: float = 0.0,
        listed: Sequence[Mapping[str, str]] = (),
        share_listed: float = 0.0,
        listable: Collection[str] = (),
    ) -> None:
        self.slots = {slot.name: slot for slot in slots}
        self.catalogue, self.listable = catalogue, frozenset(listable)
        self.nothing_matches, self.blind = nothing_matches, blind
        self.listed, self.share_listed = [dict(goal) for goal in listed], share_listed
        columns = frozenset(catalogue.columns)
        self._columns = [slot.name for slot in slots if slot.name in columns]
        self._at_least = {
            slot.name: catalogue.knowledge_base.at_least[slot.name]
            for slot in slots
            if slot.name in catalogue.knowledge_base.at_least
        }
        self._numbers = {
            slot: [
                (value, float(normalise(value)), weight)
                for value, weight in zip(self.slots[slot].values, self.slots[slot].weights)
            ]
            for slot in self._at_least
        }

    def sample(self, rng: np.random.Generator) -> Dict[str, str]:
        """A goal: each slot with a value or `DONTCARE`."""
        if self.listed and rng.random() < self.share_listed:
            return dict(self.listed[int(rng.random() * len(self.listed))])
        row = self.catalogue.everything[int(rng.random() * len(self.catalogue.everything))]
        goal = {}
        for name, slot in self.slots.items():
            if slot.any and rng.random() < slot.any:
                goal[name] = DONTCARE
            elif name in self._at_least:
                goal[name] = self._number(name, row, rng)
            elif slot.values:
                goal[name] = _weighted(slot.values, slot.weights, rng)
            else:
                goal[name] = row.get(name, DONTCARE)
        if rng.random() < self.nothing_matches:
            self._make_impossible(goal, rng)
        return goal

    def _number(self, slot: str, row: Entity, rng: np.random.Generator) -> str:
        """A number that the row can serve; the smallest one if it can serve none."""
        most = float(row.get(self._at_least[slot], "0"))
        choices = [
            (value, weight) for value, number, weight in self._numbers[slot] if number <= most
        ]
        if not choices:
            return min(self._numbers[slot], key=lambda item: item[1])[0]
        return _weighted([value for value, _ in choices], [weight for _, weight in choices], rng)

    def _make_impossible(self, goal: Dict[str, str], rng: np.random.Generator) -> None:
        slots = [slot for slot in self._columns if goal[slot] != DONTCARE]
        for _ in range(12 if slots else 0):
            slot = slots[int(rng.random() * len(slots))]
            value = self._other_value(slot, goal[slot], rng)
            if value is not None and not len(self.catalogue.find({**goal, slot: value})):
                goal[slot] = value
                return

    def _other_value(self, slot: str, value: str, rng: np.random.Generator) -> Optional[str]:
        values = self.values(slot)
        for _ in range(5 if len(values) > 1 else 0):
            other = values[int(rng.random() * len(values))]
            if other != value:
                return other
        return None

    def values(self, slot: str) -> Sequence[str]:
        """All values that users may name for a slot."""
        return self.slots[slot].values or (
            self.catalogue.values(slot) if slot in self._columns else ()
        )

    def can_vary(self, slot: str) -> bool:
        """Whether users may name another value for a slot."""
        return bool(self.slots[slot].values) or slot in self._columns

    def misspoken(self, slot: str, value: str, rng: np.random.Generator) -> Optional[str]:
        """Another value that somebody may say by mistake; None if there is none."""
        return self._other_value(slot, value, rng)

    def alternative(
        self,
        goal: Mapping[str, str],
        rng: np.random.Generator,
        refused: Sequence[Mapping[str, str]] = (),
        among: Optional[Sequence[str]] = None,
    ) -> Optional[Tuple[str, str]]:
        """Another value for one slot, such that (unless named blindly) something can be offered.

        Args:
            goal: what is wanted now.
            rng: source of chance.
            refused: what was offered to no avail, as far as the user was told.
            among: slots that may change; all that have columns if None.

        Returns:
            Slot and value (`DONTCARE` if no single value helps); None if nothing helps.
        """
        slots = [
            s
            for s in (among if among is not None else self._columns)
            if goal.get(s, DONTCARE) != DONTCARE
        ]
        for i in range(len(slots) - 1, 0, -1):
            j = int(rng.random() * (i + 1))
            slots[i], slots[j] = slots[j], slots[i]
        if slots and rng.random() < self.blind:
            value = self._other_value(slots[0], goal[slots[0]], rng)
            if value is not None:
                return slots[0], value
        for slot in slots:
            if slot not in self._columns:
                value = self._other_value(slot, goal[slot], rng)
                if value is not None and self._served({**goal, slot: value}, refused):
                    return slot, value
                continue
            entities = self._served({**goal, slot: DONTCARE}, refused)
            others = [
                entity[slot] for entity in entities if entity.get(slot, goal[slot]) != goal[slot]
            ]
            if others:
                return slot, others[int(rng.random() * len(others))]
        for slot in slots:
            if self.slots[slot].any and among is None:
                return slot, DONTCARE
        if slots:
            value = self._other_value(slots[0], goal[slots[0]], rng)
            return None if value is None else (slots[0], value)
        return None

    def _served(
        self, goal: Mapping[str, str], refused: Sequence[Mapping[str, str]]
    ) -> List[Entity]:
        entities = self.catalogue.find(goal)
        if not refused:
            return list(entities)
        return [
            e
            for e in entities
            if not any(all(e.get(s) == v for s, v in offer.items()) for offer in refused)
        ]


def _weighted(values: Sequence[str], weights: Sequence[float], rng: np.random.Generator) -> str:
    point = rng.random() * sum(weights)
    for value, weight in zip(values, weights):
        point -= weight
        if point < 0:
            return value
    return values[-1]


def read_listed_goals(
    section: Located, slots: Mapping[str, GoalSlot], catalogue: Catalogue
) -> List[Dict[str, str]]:
    """The goals under `listed:`.

    Raises:
        SimulatorError: for a goal that the knowledge base can't express: an unknown slot, or a value that it doesn't
            have; names file and line.
    """
    listed = section.get("listed", LocatedList())
    if not isinstance(listed, LocatedList):
        section.fail("listed has to be a list of goals", "listed")
    goals = []
    for goal, line in zip(listed, listed.lines):
        if not isinstance(goal, Located):
            section.fail(
                f"line {line}: a goal is a mapping of slots to values, not {goal!r}", "listed"
            )
        goal.only(slots, "slot")
        kept = {}
        for slot in slots:
            value = str(goal.get(slot, DONTCARE))
            if value in (DONTCARE, NONE) and not slots[slot].any:
                goal.fail(
                    f"the goal needs a value for {slot!r}: users always care about it (any is 0)",
                    slot,
                )
            if value not in (DONTCARE, NONE):
                value = _known_value(goal, slot, value, slots, catalogue)
            kept[slot] = value
        goals.append(kept)
    return goals


def _known_value(
    goal: Located, slot: str, value: str, slots: Mapping[str, GoalSlot], catalogue: Catalogue
) -> str:
    if slot in catalogue.columns:
        known: Sequence[str] = catalogue.values(slot)
    elif slots[slot].values:
        known = slots[slot].values
    else:
        return value
    same = {normalise(k): k for k in known}
    if normalise(value) not in same:
        some = ", ".join(list(known)[:8]) + (", ..." if len(known) > 8 else "")
        goal.fail(f"the knowledge base can't express {slot} = {value!r}; it knows {some}", slot)
    return same[normalise(value)]
