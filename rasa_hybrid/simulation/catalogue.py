"""The knowledge base as a simulation asks it: tens of thousands of times, so from memory.

Tables (of a file or an SQL database) are read once and indexed: the rows of each value are the bits of an integer, and
a query is a conjunction of those. Anything else is asked, every distinct query once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Collection, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

from rasa_hybrid.dialogue import DONTCARE, NONE, ResultSummary, normalise
from rasa_hybrid.knowledge import (
    InMemoryKnowledgeBase,
    KnowledgeBase,
    KnowledgeBaseError,
    SqlKnowledgeBase,
)

Entity = Mapping[str, str]
#: The constraints of a query, sorted; what was offered is remembered by it, as in the tracker's events.
Query = Tuple[Tuple[str, str], ...]
_MOST_ANSWERS = 50_000


class Found(ABC):
    """The answer to a query; the best entity comes first."""

    query: Query = ()

    @abstractmethod
    def __len__(self) -> int:
        """Number of entities."""

    @abstractmethod
    def __iter__(self) -> Iterator[Entity]:
        """The entities, best first."""

    @abstractmethod
    def contains(self, id: str) -> bool:
        """Whether the entity with this id is among them."""

    def summary(self, offered: Iterable[str]) -> ResultSummary:
        """`E_k`, given the ids of what was offered before for this query."""
        return ResultSummary(len(self), len(self) - sum(self.contains(id) for id in set(offered)))

    def next_offer(self, offered: Collection[str]) -> Optional[Entity]:
        """The best entity that was not offered before, None if there is none."""
        return next((entity for entity in self if entity["id"] not in offered), None)


class _Listed(Found):
    """An answer as the service gave it."""

    def __init__(self, entities: Sequence[Entity], query: Query = ()) -> None:
        self.query = query
        self._entities = entities
        self._ids = frozenset(entity["id"] for entity in entities)

    def __len__(self) -> int:
        return len(self._entities)

    def __iter__(self) -> Iterator[Entity]:
        return iter(self._entities)

    def contains(self, id: str) -> bool:
        return id in self._ids


class _Rows(Found):
    """An answer as the bits of an integer."""

    def __init__(self, bits: int, table: _Table, query: Query) -> None:
        self.query = query
        self._bits, self._table = bits, table
        self._count = bin(bits).count("1")

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Entity]:
        bits, entities = self._bits, self._table.entities
        while bits:
            lowest = bits & -bits
            yield entities[lowest.bit_length() - 1]
            bits ^= lowest

    def contains(self, id: str) -> bool:
        position = self._table.position.get(id)
        return position is not None and bool(self._bits >> position & 1)


class _Table:
    """Rows with, for each column, the rows of each value."""

    def __init__(
        self, entities: Sequence[Entity], columns: Iterable[str], at_least: Mapping[str, str]
    ) -> None:
        self.entities = entities
        self.position = {entity["id"]: i for i, entity in enumerate(entities)}
        self._at_least = at_least
        self._all = (1 << len(entities)) - 1
        self._bits: Dict[Tuple[str, str], int] = {}
        for name in columns:
            for i, entity in enumerate(entities):
                if name in entity:
                    key = (name, _match_key(entity[name]))
                    self._bits[key] = self._bits.get(key, 0) | 1 << i
        self._enough: Dict[Tuple[str, str], int] = {}

    def find(self, query: Query) -> Found:
        bits = self._all
        for name, value in query:
            bits &= (
                self._served(name, value)
                if name in self._at_least
                else self._bits.get((name, _match_key(value)), 0)
            )
        return _Rows(bits, self, query)

    def _served(self, name: str, value: str) -> int:
        """The rows that have at least `value`."""
        if (name, value) not in self._enough:
            column, least = self._at_least[name], _number(name, value)
            rows = (
                i
                for i, e in enumerate(self.entities)
                if column in e and _number(column, e[column]) >= least
            )
            self._enough[(name, value)] = sum(1 << i for i in rows)
        return self._enough[(name, value)]


class Catalogue:
    """A knowledge base with its answers in memory; it must not change meanwhile.

    Args:
        knowledge_base: what is asked.
    """

    def __init__(self, knowledge_base: KnowledgeBase) -> None:
        self.knowledge_base = knowledge_base
        self.constraint_names = frozenset(knowledge_base.constraint_names)
        self.columns = tuple(knowledge_base.columns)
        self.everything: List[Entity] = list(knowledge_base.query({}))
        if not self.everything:
            raise KnowledgeBaseError("the knowledge base is empty")
        self._answers: Dict[Query, Found] = {}
        self._values: Dict[str, List[str]] = {}
        self._table: Optional[_Table] = None
        whole = not knowledge_base.settings().get("limit")
        if whole and isinstance(knowledge_base, (InMemoryKnowledgeBase, SqlKnowledgeBase)):
            self._table = _Table(self.everything, self.columns, knowledge_base.at_least)

    def find(self, goal: Mapping[str, str]) -> Found:
        """The entities that satisfy the goal; slots that the knowledge base doesn't know constrain nothing."""
        key = tuple(
            sorted(
                [
                    item
                    for item in goal.items()
                    if item[1] != DONTCARE and item[1] != NONE and item[0] in self.constraint_names
                ]
            )
        )
        found = self._answers.get(key)
        if found is None:
            found = (
                _Listed(self.knowledge_base.query(dict(key)), key)
                if self._table is None
                else self._table.find(key)
            )
            if len(self._answers) >= _MOST_ANSWERS:
                self._answers.clear()
            self._answers[key] = found
        return found

    def values(self, column: str) -> List[str]:
        """The distinct values of a column."""
        if column not in self._values:
            self._values[column] = list(self.knowledge_base.values(column))
        return self._values[column]


#: Before anything was asked.
NOTHING: Found = _Listed(())


def _match_key(text: str) -> str:
    """The form in which values are compared, as in `knowledge`; punctuation alone stands for itself."""
    return normalise(text) or text.strip().casefold()


def _number(name: str, value: str) -> float:
    try:
        return float(normalise(value))
    except ValueError as error:
        raise KnowledgeBaseError(
            f"{name!r} is compared as a number, {value!r} is not one"
        ) from error
