"""How far people who rate the same things agree."""

from __future__ import annotations

from typing import Iterable, Optional, Sequence

import numpy as np


def krippendorff_alpha(units: Iterable[Sequence[int]]) -> Optional[float]:
    """Krippendorff's alpha for ordinal ratings: 1 for full agreement, 0 for what chance would give.

    `alpha = 1 - D_o / D_e`, observed over expected disagreement, with the squared ordinal distance of Krippendorff
    (2011), "Computing Krippendorff's Alpha-Reliability". Raters may have missed any unit.

    Args:
        units: the ratings of each thing that was rated, in any order; those with fewer than two say nothing.

    Returns:
        None if there is nothing to compare, or if all ratings are the same.
    """
    pairable = [list(ratings) for ratings in units if len(ratings) > 1]
    grades = sorted({rating for ratings in pairable for rating in ratings})
    if len(grades) < 2:
        return None
    counts = np.zeros((len(pairable), len(grades)))  # [units, grades]
    for unit, ratings in enumerate(pairable):
        for rating in ratings:
            counts[unit, grades.index(rating)] += 1
    raters = counts.sum(axis=1)
    # How often two raters of one unit gave this pair of grades, each unit weighing as much as its ratings.
    observed = np.einsum("uc,uk,u->ck", counts, counts, 1 / (raters - 1))
    observed -= np.diag((counts / (raters - 1)[:, None]).sum(axis=0))
    totals = observed.sum(axis=1)
    expected = (np.outer(totals, totals) - np.diag(totals)) / (totals.sum() - 1)
    # Two grades are as far apart as there are ratings from the middle of the one to the middle of the other.
    middles = np.cumsum(totals) - totals / 2
    distance = (middles[:, None] - middles[None, :]) ** 2
    return float(1 - (observed * distance).sum() / (expected * distance).sum())
