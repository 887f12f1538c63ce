"""What becomes of an utterance on its way: words lost, taken for similar ones or never heard before, and an n-best list."""

from __future__ import annotations

import re
from typing import Dict, Iterable, List, Match, Sequence, Tuple

import numpy as np

from rasa_hybrid.dialogue import Hypothesis

_MOST_SIMILAR = 6
_WORD = re.compile(r"[^\W\d_]{2,}")


class WordNoise:
    """Loses and confuses words.

    Args:
        vocabulary: words that may be heard instead of others.
        n_best: length of the list of hypotheses; 0 for none.
    """

    def __init__(self, vocabulary: Iterable[str], n_best: int = 0) -> None:
        self.n_best = n_best
        self._vocabulary = sorted(set(vocabulary))
        self._similar: Dict[str, List[str]] = {}

    @staticmethod
    def estrange(
        text: str, values: Sequence[Tuple[int, int]], share: float, rng: np.random.Generator
    ) -> str:
        """The text with words that nobody has heard before: their letters change places.

        Args:
            text: what was said.
            values: characters `[start, end)` that stay as they are.
            share: probability of each other word.
            rng: source of chance.

        Returns:
            A text of the same length, in which everything else is where it was.
        """

        def changed(word: Match[str]) -> str:
            if any(start < word.end() and word.start() < end for start, end in values):
                return word.group()
            if rng.random() >= share:
                return word.group()
            return "".join(word.group()[i] for i in rng.permutation(len(word.group())))

        return _WORD.sub(changed, text)

    def hear(
        self, text: str, drop: float, confuse: float, rng: np.random.Generator
    ) -> Tuple[str, Tuple[Hypothesis, ...]]:
        """What the system gets.

        Args:
            text: what was said.
            drop: probability of each word to be lost.
            confuse: probability of each word to be taken for another.
            rng: source of chance.

        Returns:
            The best hypothesis, and the list, whose weights sum to 1 (empty without `n_best`).
        """
        if not self.n_best:
            return (
                self._mishear(text.split(), drop, confuse, rng) if drop or confuse else text
            ), ()
        drop, confuse = max(drop, 0.01), max(confuse, 0.02)
        words = text.split()
        heard: Dict[str, float] = {}
        for _ in range(2 * self.n_best):
            heard.setdefault(self._mishear(words, drop, confuse, rng), 0.0)
            if len(heard) >= self.n_best:
                break
        weight = 1.0
        for hypothesis in heard:
            heard[hypothesis] = weight
            weight *= 0.25 + 0.35 * rng.random()
        total = sum(heard.values())
        hypotheses = tuple(Hypothesis(h, round(w / total, 4)) for h, w in heard.items())
        return hypotheses[0].text, hypotheses

    def _mishear(
        self, words: Sequence[str], drop: float, confuse: float, rng: np.random.Generator
    ) -> str:
        heard = []
        for word, point in zip(words, rng.random(len(words))):
            if point < drop:
                continue
            if point < drop + confuse:
                similar = self.similar(word.lower())
                if similar:
                    word = similar[int(rng.random() * len(similar))]
            heard.append(word)
        return " ".join(heard) or words[int(rng.random() * len(words))]

    def similar(self, word: str) -> List[str]:
        """Words that sound or look like this one, the most similar first."""
        found = self._similar.get(word)
        if found is None:
            scored = []
            for other in self._vocabulary:
                if (
                    other != word
                    and abs(len(other) - len(word)) <= 2
                    and (other[0] == word[0] or other[-1] == word[-1])
                ):
                    distance = edit_distance(word, other)
                    if distance <= max(1, len(word) // 2):
                        scored.append((distance, other))
            found = self._similar[word] = [other for _, other in sorted(scored)[:_MOST_SIMILAR]]
        return found


def edit_distance(first: Sequence[str], second: Sequence[str]) -> int:
    """Number of insertions, deletions and replacements that turn one sequence into the other."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, start=1):
        previous, row[0] = row[0], i
        for j, b in enumerate(second, start=1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]
