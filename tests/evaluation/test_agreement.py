"""Krippendorff's alpha, computed by hand and as published."""

from __future__ import annotations

import pytest

from rasa_hybrid.evaluation.agreement import krippendorff_alpha


def test_alpha_by_hand() -> None:
    # Pairs within units: (1,1) twice, (1,2) and (2,1) once, (2,2) twice; so each grade stands three times.
    # Two grades have one distance d. D_o: 2 d of 6 pairs. D_e: 2 * 3 * 3 d of 6 * 5 pairs. 1 - (2/6) / (18/30).
    assert krippendorff_alpha([[1, 1], [1, 2], [2, 2]]) == pytest.approx(4 / 9)


def test_alpha_with_three_grades_by_hand() -> None:
    # Pairs: (1,1) twice, (1,2), (2,1), (2,3), (3,2); counts 3, 2, 1. Middles 1.5, 4, 5.5.
    # Distances: 1-2 6.25, 2-3 2.25, 1-3 16. D_o: (2 * 6.25 + 2 * 2.25) / 6 = 17 / 6.
    # D_e: 2 * (3 * 2 * 6.25 + 2 * 1 * 2.25 + 3 * 1 * 16) / 30 = 180 / 30.
    assert krippendorff_alpha([[1, 1], [1, 2], [3, 2]]) == pytest.approx(1 - (17 / 6) / 6)


def test_alpha_of_krippendorffs_own_example_with_missing_ratings() -> None:
    # Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", section C: ordinal 0.815.
    observers = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
    units = [[int(row[i]) for row in observers if row[i] != "."] for i in range(12)]
    assert krippendorff_alpha(units) == pytest.approx(0.815, abs=5e-4)


def test_alpha_says_nothing_where_there_is_nothing_to_compare() -> None:
    assert krippendorff_alpha([]) is None
    assert krippendorff_alpha([[1], [2], [5]]) is None
    assert krippendorff_alpha([[4, 4], [4, 4, 4]]) is None
    assert krippendorff_alpha([[1, 1], [5, 5]]) == 1
