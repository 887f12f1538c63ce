"""A confusion network: an utterance as a row of places, each with what a recogniser may hear there.

What is heard is drawn place by place, or as the n best paths through all of them.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from itertools import accumulate
from typing import Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from rasa_hybrid.corpora.heard import Words


class Errors(NamedTuple):
    """What the recogniser hears instead where it errs.

    Args:
        words: `[errors]` word sequences.
        probabilities: `[errors]` floats that sum to 1.
        cumulative: their sums from the first on.
        hardness: factor of the chance of an error here.
    """

    words: Tuple[Words, ...]
    probabilities: Tuple[float, ...]
    cumulative: Tuple[float, ...]
    hardness: float = 1.0

    @classmethod
    def of(
        cls, words: Tuple[Words, ...], probabilities: Sequence[float], hardness: float = 1.0
    ) -> Errors:
        """With the sums."""
        chances = tuple(map(float, probabilities))
        return cls(words, chances, tuple(accumulate(chances)), hardness)


class Alternatives(NamedTuple):
    """What the recogniser may make of a place in the utterance.

    Args:
        said: what was said there.
        error: chance that it is not heard.
        errors: what is heard then.
    """

    said: Words
    error: float
    errors: Errors

    def draw(self, rng: np.random.Generator) -> Words:
        """What is heard."""
        excess = rng.random() - (1.0 - self.error)
        if excess < 0.0 or not self.error:
            return self.said
        place = bisect_right(self.errors.cumulative, excess / self.error)
        return self.errors.words[min(place, len(self.errors.words) - 1)]

    def scored(self) -> Tuple[Tuple[Words, ...], np.ndarray]:
        """All that may be heard, what was said first, with probabilities that sum to 1."""
        others = self.error * np.array(self.errors.probabilities)
        return (self.said, *self.errors.words), np.concatenate([[1.0 - self.error], others])


def best_paths(ranked: Sequence[Sequence[Tuple[float, Words]]], n: int) -> List[Tuple[float, str]]:
    """The n best distinct texts, one alternative a place, with their scores.

    Args:
        ranked: for each place its alternatives with scores (log-probabilities), best first.
        n: texts wanted; fewer if there are no more.
    """
    start = (0,) * len(ranked)
    frontier = [(-sum(place[0][0] for place in ranked), start)]
    seen = {start}
    found: Dict[str, float] = {}
    while frontier and len(found) < n:
        cost, choice = heapq.heappop(frontier)
        text = " ".join(word for place, i in zip(ranked, choice) for word in place[i][1])
        found.setdefault(text, -cost)
        for k, i in enumerate(choice):
            if i + 1 < len(ranked[k]):
                following = choice[:k] + (i + 1,) + choice[k + 1 :]
                if following not in seen:
                    seen.add(following)
                    heapq.heappush(
                        frontier, (cost + ranked[k][i][0] - ranked[k][i + 1][0], following)
                    )
    return [(score, text) for text, score in found.items()]


def cumulative(weights: np.ndarray) -> np.ndarray:
    """Sums of the probabilities that weights `[n]` stand for, from the first on; all the same if no weight is above 0."""
    total = weights.sum()
    return np.cumsum(weights / total if total > 0 else np.full(len(weights), 1.0 / len(weights)))


def draw(cumulative: np.ndarray, rng: np.random.Generator) -> int:
    """A position, with the probabilities that were summed up."""
    return min(int(np.searchsorted(cumulative, rng.random(), side="right")), len(cumulative) - 1)
