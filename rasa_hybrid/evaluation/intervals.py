"""Counts out of counts, and how far they can be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import ArrayLike

#: Two-sided 95 % quantile of the normal distribution.
_Z95 = 1.959963984540054
#: Numbers that a bootstrap holds in memory.
_DRAWN_AT_ONCE = 2_000_000


def wilson_interval(successes: int, trials: int, z: float = _Z95) -> Tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927), 95 % by default.

    Args:
        successes: between 0 and `trials`.
        trials: number of independent trials; without any the interval is (0, 1).
        z: quantile of the normal distribution.

    Returns:
        Lower and upper bound.

    Raises:
        ValueError: if the counts are impossible.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials are impossible.")
    if trials == 0:
        return 0.0, 1.0
    rate = successes / trials
    spread = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    centre, scale = rate + z * z / (2 * trials), 1 + z * z / trials
    low = 0.0 if successes == 0 else (centre - spread) / scale
    high = 1.0 if successes == trials else (centre + spread) / scale
    return low, high


@dataclass(frozen=True)
class Proportion:
    """How many of `total` were right."""

    correct: int
    total: int

    @property
    def rate(self) -> float:
        """Share of 1; not a number if there was nothing to count."""
        return self.correct / self.total if self.total else math.nan

    @property
    def interval(self) -> Tuple[float, float]:
        """Wilson's 95 % interval. Turns of one dialogue are not independent, so for them it is somewhat too narrow."""
        return wilson_interval(self.correct, self.total)


def paired_interval(
    first: Sequence[Tuple[ArrayLike, ArrayLike]],
    second: Sequence[Tuple[ArrayLike, ArrayLike]],
    resamples: int = 1000,
    seed: int = 0,
) -> List[float]:
    """Percentile bootstrap interval (95 %) of a difference of ratios of sums, over units that both are measured on.

    Args:
        first, second: of each run the numerators and denominators `[units]`, e.g. right turns and turns with each user;
            the difference is the mean over the runs. The units are drawn, and are the same ones in all runs; runs are not.
        resamples: how often the units are drawn anew.
        seed: of the drawing.

    Returns:
        Lower and upper bound.
    """
    runs = [
        [np.asarray(part, float) for part in (*one, *other)] for one, other in zip(first, second)
    ]
    units = len(runs[0][0])
    rng = np.random.default_rng(seed)
    differences, at_once = [], max(1, _DRAWN_AT_ONCE // units)
    for start in range(0, resamples, at_once):
        drawn = rng.integers(0, units, (min(at_once, resamples - start), units))
        sums = [[part[drawn].sum(axis=1) for part in run] for run in runs]
        differences.append(np.mean([a / b - c / d for a, b, c, d in sums], axis=0))
    low, high = np.percentile(np.concatenate(differences), [2.5, 97.5])
    return [float(low), float(high)]


def bootstrap_interval(
    values: ArrayLike,
    weights: Optional[ArrayLike] = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Optional[List[float]]:
    """Percentile bootstrap interval (95 %) of a mean, or of a ratio of sums over independent units.

    Args:
        values: one per unit, e.g. turns of a dialogue, or right turns of a dialogue.
        weights: one per unit, the denominators of a ratio (turns of the dialogue); None for a plain mean.
        resamples: how often the units are drawn anew.
        seed: of the drawing.

    Returns:
        Lower and upper bound; None if there is nothing to count.
    """
    top = np.asarray(values, float)
    bottom = np.ones(len(top)) if weights is None else np.asarray(weights, float)
    if not len(top) or not bottom.sum():
        return None
    rng = np.random.default_rng(seed)
    means, at_once = [], max(1, _DRAWN_AT_ONCE // len(top))
    for start in range(0, resamples, at_once):
        drawn = rng.integers(0, len(top), (min(at_once, resamples - start), len(top)))
        below = bottom[drawn].sum(axis=1)
        means.append(top[drawn].sum(axis=1)[below > 0] / below[below > 0])
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return [float(low), float(high)]
