"""The result queue and its summary."""

from __future__ import annotations

import pytest

from rasa_hybrid.dialogue import ResultSummary
from rasa_hybrid.knowledge import choices, next_offer, summary

QUEUE = [{"id": "1"}, {"id": "2"}, {"id": "3"}]


@pytest.mark.parametrize(
    "offered, following, remaining",
    [
        ([], "1", 3),
        (["1"], "2", 2),
        (["2"], "1", 2),
        (["1", "2"], "3", 1),
        (["3", "2", "1"], None, 0),
        (["9"], "1", 3),
    ],
)
def test_a_refusal_brings_the_next_alternative_until_none_is_left(offered, following, remaining):
    head = next_offer(QUEUE, offered)
    assert (head and head["id"]) == following
    assert summary(QUEUE, offered) == ResultSummary(matches=3, remaining=remaining)


def test_no_match_is_something_else_than_an_unknown_answer():
    assert (next_offer([]), summary([])) == (None, ResultSummary(0, 0))
    assert (next_offer(None), summary(None)) == (None, ResultSummary(None, None))


@pytest.mark.parametrize(
    ("count", "told"), [(0, []), (1, ["v0"]), (4, ["v0", "v1", "v2"]), (9, ["v0", "v3", "v6"])]
)
def test_choices_are_distinct_and_spread_over_the_queue(count, told):
    entities = [{"id": str(n), "date": f"v{n // 2}"} for n in range(2 * count)]
    assert choices(entities, "date") == told


def test_there_are_no_choices_in_an_unknown_answer_or_an_empty_column():
    assert choices(None, "date") == choices(QUEUE, "date") == []
