"""A belief: for each goal slot a distribution over its values (eq. 2), and the n best goals that follow from it."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import Dict, List, Mapping, Tuple

from rasa_hybrid.dialogue.acts import NONE

#: Values with their probabilities, the most probable first; they sum to at most 1.
Distribution = Tuple[Tuple[str, float], ...]


@dataclass(frozen=True)
class Belief:
    """Distributions over the values of each goal slot after a user's turn.

    Args:
        distributions: slot to values with probabilities, best first; `NONE` and `DONTCARE` are values.
    """

    distributions: Mapping[str, Distribution]

    def best(self, slot: str) -> str:
        """The most probable value of `slot`."""
        return self.distributions[slot][0][0]

    def probability(self, slot: str, value: str) -> float:
        """P(slot = value), 0 for a value that is not a candidate."""
        return dict(self.distributions[slot]).get(value, 0.0)

    def goal(self) -> Dict[str, str]:
        """The best hypothesis: every slot's most probable value, without the slots where that is `NONE`."""
        best = {slot: self.best(slot) for slot in self.distributions}
        return {slot: value for slot, value in best.items() if value != NONE}

    def top(self, k: int, least: float = 0.0) -> Dict[str, List[Tuple[str, float]]]:
        """The k most probable values of each slot as JSON-able lists, without those below `least` but for the best."""
        return {
            slot: [
                (value, round(float(probability), 6))
                for i, (value, probability) in enumerate(values[:k])
                if i == 0 or probability >= least
            ]
            for slot, values in self.distributions.items()
        }

    def n_best(self, n: int) -> List[Tuple[Dict[str, str], float]]:
        """The n most probable goals with their probabilities, slots taken as independent, best first."""
        slots = sorted(self.distributions)
        ranked = [
            [
                (value, math.log(probability))
                for value, probability in self.distributions[slot]
                if probability > 0
            ]
            for slot in slots
        ]
        start = tuple(0 for _ in slots)
        frontier = [(-sum(values[0][1] for values in ranked), start)]
        seen = {start}
        found: List[Tuple[Dict[str, str], float]] = []
        while frontier and len(found) < n:
            cost, choice = heapq.heappop(frontier)
            goal = {slot: ranked[i][choice[i]][0] for i, slot in enumerate(slots)}
            found.append(
                ({slot: value for slot, value in goal.items() if value != NONE}, math.exp(-cost))
            )
            for i, rank in enumerate(choice):
                following = choice[:i] + (rank + 1,) + choice[i + 1 :]
                if rank + 1 < len(ranked[i]) and following not in seen:
                    seen.add(following)
                    heapq.heappush(
                        frontier, (cost + ranked[i][rank][1] - ranked[i][rank + 1][1], following)
                    )
        return found
