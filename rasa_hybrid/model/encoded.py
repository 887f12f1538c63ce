"""What the network reads of the turns of a dialogue: positions in vocabularies, values and words, not one-hots.

`encoding` makes it, `batching` makes arrays of it. A *cell* is a value that a slot can have in this dialogue: 0 is `none`,
1 is `dontcare`, then the closed list, then the values in the order in which they were first mentioned by either side.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, List, NamedTuple, Optional, Set, Tuple

import numpy as np

from rasa_hybrid.dialogue import SystemAction, Token
from rasa_hybrid.model.candidates import Match

NONE_CELL, DONTCARE_CELL = 0, 1
#: Features of a cell in a turn: how it was said now (whole or in part, in words that it shares with others or that
#: another slot's value has as well), who mentioned it, and whether an extractor or our own tagger found it.
CELL_FEATURES = 9
WHOLE, PART, SHARING, CONFLICT, SYSTEM, USER_BEFORE, SYSTEM_BEFORE, ENTITY, SPAN = range(
    CELL_FEATURES
)
#: The label of a belief that is not known.
UNLABELLED = -1


@dataclass(frozen=True)
class EncodedUtterance:
    """A distinct utterance.

    Args:
        text: as it was said.
        tokens: normalised.
        words: the tokens' texts.
        matches: values that occur in it.
        intent: position of its intent, -1 unknown.
        tags: entity tag of each token, empty if unlabelled.
    """

    text: str
    tokens: Tuple[Token, ...]
    words: Tuple[str, ...]
    matches: Tuple[Match, ...]
    intent: int = -1
    tags: Tuple[int, ...] = ()


class Span(NamedTuple):
    """Tokens `[start, end)` that a tagger takes for a value of a goal slot, with a probability."""

    slot: str
    start: int
    end: int
    probability: float = 1.0


class MatchCell(NamedTuple):
    """Tokens `[start, end)` of hypothesis `hypothesis` are a mention of cell `cell` of slot `slot`."""

    slot: int
    cell: int
    hypothesis: int
    start: int
    end: int


class Decision(NamedTuple):
    """One decision of the policy.

    Args:
        taken: actions taken in this turn so far.
        context: features of the state.
        action: the label; -1 if there is none.
        weight: of its loss.
        overrides: (slot, cell) that hold for this decision.
    """

    taken: Tuple[int, ...]
    context: Tuple[int, ...]
    action: int
    weight: float
    overrides: Tuple[Tuple[int, int], ...]


@dataclass
class EncodedTurn:
    """What the network reads of one turn; positions, not one-hots."""

    utterances: List[EncodedUtterance]
    utterance_weights: List[float]
    features: List[int]
    acts: List[Tuple[int, int, int]]
    last_actions: List[int]
    slot_acts: List[Tuple[int, int]]
    cell_acts: List[Tuple[int, int, int]]
    matches: List[MatchCell]
    cell_features: Dict[Tuple[int, int, int], float]
    cells: List[int]
    rejected: List[Tuple[int, int]]
    overrides: List[Tuple[int, int]]
    late_overrides: List[Tuple[int, int]]
    labels: List[int]
    summary: np.ndarray
    decisions: List[Decision]
    weight: float = 1.0
    system_words: Tuple[str, ...] = ()


@dataclass
class Tracked:
    """What the encoder remembers of a dialogue: the cells of each slot and who mentioned them.

    Args:
        values: slot to the values of its cells.
        rejected: (slot, cell) that a validator rejected and the user did not say again.
    """

    values: List[List[str]]
    positions: List[Dict[str, int]]
    user_said: Set[Tuple[int, int]] = field(default_factory=set)
    system_said: Set[Tuple[int, int]] = field(default_factory=set)
    rejected: Set[Tuple[int, int]] = field(default_factory=set)
    last_actions: Tuple[SystemAction, ...] = ()

    def copy(self) -> Tracked:
        """An independent copy."""
        return Tracked(
            [list(values) for values in self.values],
            [dict(positions) for positions in self.positions],
            set(self.user_said),
            set(self.system_said),
            set(self.rejected),
            self.last_actions,
        )

    def cell(self, slot: int, value: str, key: Optional[str] = None) -> int:
        """The value's cell, a new one if it was not mentioned yet.

        Args:
            slot: position of the slot.
            value: the value as it was mentioned.
            key: what all its spellings have in common (`Ontology.key`); the value itself by default.
        """
        positions, key = self.positions[slot], value if key is None else key
        if key not in positions:
            positions[key] = len(self.values[slot])
            self.values[slot].append(value)
        return positions[key]
