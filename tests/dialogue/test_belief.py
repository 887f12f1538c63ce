"""A belief and the goals that follow from it."""

from __future__ import annotations

import json
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rasa_hybrid.dialogue import DONTCARE, NONE, Belief

BELIEF = Belief(
    {
        "date": (("friday", 0.6), (NONE, 0.3), ("monday", 0.1)),
        "time": ((DONTCARE, 0.7), ("6:00 pm", 0.3)),
        "movie": ((NONE, 1.0),),
    }
)


@st.composite
def beliefs(draw: st.DrawFn) -> Belief:
    slots = draw(st.lists(st.sampled_from(["date", "movie", "time"]), unique=True, max_size=3))
    distributions = {}
    for slot in slots:
        weights = draw(st.lists(st.integers(0, 20), min_size=1, max_size=4).filter(any))
        total = sum(weights)
        values = [NONE, DONTCARE, "a", "b"]
        chances = [(value, weight / total) for value, weight in zip(values, weights)]
        distributions[slot] = tuple(sorted(chances, key=lambda pair: -pair[1]))
    return Belief(distributions)


def test_the_goal_is_the_best_value_of_every_slot_without_those_that_are_none():
    assert BELIEF.goal() == {"date": "friday", "time": DONTCARE}


def test_a_value_that_is_no_candidate_has_probability_zero():
    assert BELIEF.probability("date", "monday") == 0.1
    assert BELIEF.probability("date", "sunday") == 0.0


def test_the_top_values_can_be_written_as_json():
    assert json.loads(json.dumps(BELIEF.top(2))) == {
        "date": [["friday", 0.6], [NONE, 0.3]],
        "time": [[DONTCARE, 0.7], ["6:00 pm", 0.3]],
        "movie": [[NONE, 1.0]],
    }


def test_improbable_values_can_be_left_out_of_the_top_but_never_the_best():
    assert BELIEF.top(3, least=0.35) == {
        "date": [("friday", 0.6)],
        "time": [(DONTCARE, 0.7)],
        "movie": [(NONE, 1.0)],
    }
    assert Belief({"date": (("friday", 0.3), (NONE, 0.2))}).top(2, least=0.5) == {
        "date": [("friday", 0.3)]
    }


def test_n_best_goals_come_in_the_order_of_their_probability():
    # 0.6 * 0.7, 0.3 * 0.7, 0.6 * 0.3, 0.3 * 0.3
    goals = BELIEF.n_best(4)
    assert [goal for goal, _ in goals] == [
        {"date": "friday", "time": DONTCARE},
        {"time": DONTCARE},
        {"date": "friday", "time": "6:00 pm"},
        {"time": "6:00 pm"},
    ]
    assert [probability for _, probability in goals] == pytest.approx([0.42, 0.21, 0.18, 0.09])


@settings(deadline=None)
@given(belief=beliefs(), n=st.integers(1, 70))
def test_n_best_equals_the_best_of_all_combinations(belief, n):
    slots = sorted(belief.distributions)
    every = []
    for choice in product(*(belief.distributions[slot] for slot in slots)):
        probability = 1.0
        for _, chance in choice:
            probability *= chance
        if probability:
            values = {slot: value for slot, (value, _) in zip(slots, choice) if value != NONE}
            every.append((values, probability))
    found = belief.n_best(n)
    expected = sorted((probability for _, probability in every), reverse=True)[:n]
    assert [probability for _, probability in found] == pytest.approx(expected)
    assert all(
        any(goal == other and probability == pytest.approx(p) for other, p in every)
        for goal, probability in found
    )
    keys = [tuple(sorted(goal.items())) for goal, _ in found]
    assert len(set(keys)) == len(keys)


def test_without_slots_there_is_one_goal_that_says_nothing():
    assert Belief({}).n_best(3) == [({}, 1.0)]
    assert Belief({}).goal() == {}
