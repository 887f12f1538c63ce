"""The result queue of a turn: which entity to offer next, and the summary that the policy sees of it.

Both are functions of what the knowledge base answered and of what was offered before; the latter is in the tracker's
events, so workers, restarts and undo do not matter.
"""

from __future__ import annotations

from typing import Collection, List, Mapping, Optional, Sequence

from rasa_hybrid.dialogue import ResultSummary
from rasa_hybrid.knowledge.base import ID


def next_offer(
    entities: Optional[Sequence[Mapping[str, str]]], offered: Collection[str] = ()
) -> Optional[Mapping[str, str]]:
    """The head of the queue: the best entity that was not offered before.

    Args:
        entities: answer of the knowledge base, best first; None if it is unknown.
        offered: ids of the entities that were offered before.

    Returns:
        The entity, None if there is none left or the answer is unknown.
    """
    return next((entity for entity in entities or () if entity[ID] not in offered), None)


def summary(
    entities: Optional[Sequence[Mapping[str, str]]], offered: Collection[str] = ()
) -> ResultSummary:
    """How many entities match and how many of them were not offered yet; both None if the answer is unknown."""
    if entities is None:
        return ResultSummary()
    if not offered:
        return ResultSummary(len(entities), len(entities))
    return ResultSummary(len(entities), sum(entity[ID] not in offered for entity in entities))


def choices(
    entities: Optional[Sequence[Mapping[str, str]]], column: str, most: int = 3
) -> List[str]:
    """Some values of a column, spread over the queue, for a system that tells what there is.

    Args:
        entities: answer of the knowledge base, best first; None if it is unknown.
        column: whose values are told.
        most: how many.
    """
    distinct = list(dict.fromkeys(entity[column] for entity in entities or () if column in entity))
    return distinct[:: max(1, len(distinct) // most)][:most]
