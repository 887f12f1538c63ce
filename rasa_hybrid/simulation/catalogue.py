"""The knowledge base as a simulation asks it: tens of thousands of times, so every distinct query is asked once."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Collection, Dict, FrozenSet, Iterable, List, Mapping, Optional, Tuple

from rasa_hybrid.dialogue import DONTCARE, NONE, ResultSummary
from rasa_hybrid.knowledge import KnowledgeBase

Entity = Mapping[str, str]
_MOST_ANSWERS = 50_000


@dataclass(frozen=True)
class Found:
    """The answer to a query.

    Args:
        entities: best first.
        ids: of the entities.
    """

    entities: Tuple[Entity, ...]
    ids: FrozenSet[str]

    def summary(self, offered: Iterable[str]) -> ResultSummary:
        """`E_k`, given the ids of what was offered before."""
        return ResultSummary(len(self.entities), len(self.entities) - sum(id in self.ids for id in set(offered)))

    def next_offer(self, offered: Collection[str]) -> Optional[Entity]:
        """The best entity that was not offered before, None if there is none."""
        return next((entity for entity in self.entities if entity["id"] not in offered), None)


#: Before anything was asked.
NOTHING = Found((), frozenset())


class Catalogue:
    """A knowledge base with all its answers remembered; it must not change meanwhile.

    Args:
        knowledge_base: what is asked.
    """

    def __init__(self, knowledge_base: KnowledgeBase) -> None:
        self.knowledge_base = knowledge_base
        self.constraint_names = frozenset(knowledge_base.constraint_names)
        self.everything: List[Entity] = list(knowledge_base.query({}))
        self._entity = {entity["id"]: entity for entity in self.everything}
        self._answers: Dict[Tuple[Tuple[str, str], ...], Found] = {}
        self._values: Dict[str, List[str]] = {}

    def find(self, goal: Mapping[str, str]) -> Found:
        """The entities that satisfy the goal; slots that the knowledge base doesn't know constrain nothing."""
        key = tuple(
            sorted(
                (slot, value)
                for slot, value in goal.items()
                if value != DONTCARE and value != NONE and slot in self.constraint_names
            )
        )
        found = self._answers.get(key)
        if found is None:
            entities = tuple(self._entity.setdefault(e["id"], e) for e in self.knowledge_base.query(dict(key)))
            found = Found(entities, frozenset(entity["id"] for entity in entities))
            if len(self._answers) >= _MOST_ANSWERS:
                self._answers.clear()
            self._answers[key] = found
        return found

    def values(self, column: str) -> List[str]:
        """The distinct values of a column."""
        if column not in self._values:
            self._values[column] = list(self.knowledge_base.values(column))
        return self._values[column]
