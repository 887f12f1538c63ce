"""What a knowledge base is: a service that ranks the entities which satisfy a goal.

The model fills a symbolic query with the best hypothesis of each slot; ranking belongs to the service. Values are
compared as `normalise` sees them, so that "6 pm" finds "6:00 pm" in every kind of knowledge base.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import re
from abc import ABC, abstractmethod
from decimal import Decimal
from typing import Any, Dict, FrozenSet, List, Mapping, Optional, Sequence

from rasa_hybrid.dialogue import DONTCARE, NONE, normalise

#: The key of an entity's stable identifier.
ID = "id"


class KnowledgeBaseError(ValueError):
    """A configuration, a file or a query that is wrong; the message names key, value and what is allowed."""


class KnowledgeBaseUnavailable(KnowledgeBaseError):
    """The service behind a knowledge base does not answer."""


class KnowledgeBase(ABC):
    """A service that is asked once a turn.

    A class of your own needs `columns`, `query` and `values`, all callable from several threads at once:

        class Catalogue(KnowledgeBase):
            def __init__(self, endpoint: str): ...

            columns = ("movie", "date")

            def query(self, constraints):
                return requests.get(self.endpoint, params=constraints).json()

            def values(self, column): ...

    and in `config.yml`: `knowledge_base: {type: my_package.Catalogue, endpoint: "https://..."}`. Time limit, circuit
    breaker and cache come from `GuardedKnowledgeBase`, whatever the class.
    """

    #: Constraint to the numeric column that has to be at least its value, e.g. `{"num_tickets": "seats"}`.
    at_least: Mapping[str, str] = {}
    #: Whether every entity of `query` holds text alone and an `id`, so that nobody has to look.
    clean: bool = False

    @property
    @abstractmethod
    def columns(self) -> Sequence[str]:
        """Names of the columns; each can be a constraint."""

    @abstractmethod
    def query(self, constraints: Mapping[str, str]) -> List[Dict[str, str]]:
        """The entities that satisfy every constraint, best first.

        Args:
            constraints: values by column or by `at_least` name; `DONTCARE` and `NONE` constrain nothing.

        Returns:
            Entities as column to text, not to be changed; empty cells are left out; `id` is stable from query to query.

        Raises:
            KnowledgeBaseError: if there is no such column, or an `at_least` value is not a number.
            KnowledgeBaseUnavailable: if the service does not answer.
        """

    @abstractmethod
    def values(self, column: str) -> List[str]:
        """The distinct values of a column as they are now, sorted.

        Raises:
            KnowledgeBaseError: if there is no such column.
            KnowledgeBaseUnavailable: if the service does not answer.
        """

    @property
    def constraint_names(self) -> FrozenSet[str]:
        """Everything that `query` takes as a constraint."""
        return frozenset(self.columns) | frozenset(self.at_least)

    def settings(self) -> Mapping[str, Any]:
        """JSON-able settings that change what queries give, for the training fingerprint; never secrets."""
        return {"at_least": dict(self.at_least)}

    def check(self) -> None:  # noqa: B027 (nothing to ask is fine)
        """Asks the service for its schema.

        Raises:
            KnowledgeBaseError: if the configuration does not fit the schema.
            KnowledgeBaseUnavailable: if the service does not answer.
        """

    def close(self) -> None:  # noqa: B027 (nothing to give back is fine)
        """Gives back connections."""

    def config_fingerprint(self) -> str:
        """Digest of schema and settings, without rows: a model has to be trained again when it changes."""
        kind = f"{type(self).__module__}.{type(self).__qualname__}"
        return digest([kind, sorted(self.columns), self.settings()])


def active_constraints(constraints: Mapping[str, Optional[str]]) -> Dict[str, str]:
    """The constraints that constrain something."""
    return {
        name: str(value)
        for name, value in constraints.items()
        if value is not None and value not in (DONTCARE, NONE)
    }


def check_names(constraints: Mapping[str, str], allowed: FrozenSet[str], what: str) -> None:
    """Raises a `KnowledgeBaseError` for the first constraint that `what` does not know."""
    for name in constraints:
        if name not in allowed:
            raise KnowledgeBaseError(
                f"{what} has no column {name!r}; allowed: {', '.join(sorted(allowed))}."
            )


def match_key(text: str, language: str) -> str:
    """The form in which two values are compared; punctuation alone stands for itself."""
    return normalise(text, language) or text.strip().casefold()


def cell_text(value: Any) -> Optional[str]:
    """A cell as people read it, None if it is empty."""
    if isinstance(value, str):
        return value.strip() or None
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime.time) and not (value.second or value.microsecond):
        return value.strftime("%H:%M")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return str(value).strip() or None


def number(text: str, language: str) -> Optional[float]:
    """The finite number that a value stands for, None if it is not one; "three" is 3 in English."""
    for candidate in (text, normalise(text, language)):
        try:
            found = float(candidate)
        except ValueError:
            continue
        return found if math.isfinite(found) else None
    return None


def required_number(name: str, value: str, language: str) -> float:
    """The number of an `at_least` constraint.

    Raises:
        KnowledgeBaseError: if it is not one.
    """
    found = number(value, language)
    if found is None:
        raise KnowledgeBaseError(
            f"{name!r} is compared as a number, {value!r} is not one; allowed: a number."
        )
    return found


def with_id(
    entity: Dict[str, str], id_column: Optional[str], changing: Sequence[str]
) -> Dict[str, str]:
    """The entity with its `id`: that of `id_column`, else a digest of the cells that do not change.

    Args:
        entity: column to text.
        id_column: the column that identifies it, None to make an identifier.
        changing: columns that may change while the entity stays the same, such as seats left.
    """
    if id_column is not None and entity.get(id_column) is not None:
        entity[ID] = entity[id_column]
    else:
        entity[ID] = digest(
            sorted((name, text) for name, text in entity.items() if name not in changing)
        )[:16]
    return entity


def without_passwords(message: str) -> str:
    """The message with the passwords of its URLs masked."""
    return re.sub(r"(://[^\s:/@]*):[^\s/]*@", r"\1:***@", message)


def digest(value: Any) -> str:
    """Hexadecimal SHA-256 of a JSON-able value."""
    return hashlib.sha256(
        json.dumps(value, sort_keys=True, ensure_ascii=False).encode("utf-8")
    ).hexdigest()
