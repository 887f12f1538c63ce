import numpy as np

from rasa_hybrid.dialogue import DONTCARE
from rasa_hybrid.simulation.goals import GoalSampler


def sampled(simulator, count=400, **changes):
    goals = GoalSampler(
        list(simulator.goals.slots.values()),
        simulator.catalogue,
        **{"nothing_matches": 0.0, "blind": 0.0, **changes},
    )
    return goals, [goals.sample(np.random.default_rng([3, i])) for i in range(count)]


def test_goals_can_be_satisfied(movies):
    _, goals = sampled(movies)
    assert sum(len(movies.catalogue.find(goal)) > 0 for goal in goals) >= 0.98 * len(goals)


def test_a_share_of_goals_can_not_be_satisfied_at_first(movies):
    _, goals = sampled(movies, nothing_matches=1.0)
    assert sum(len(movies.catalogue.find(goal)) == 0 for goal in goals) > 0.85 * len(goals)


def test_every_slot_has_a_value_or_is_left_open_as_often_as_configured(movies):
    _, goals = sampled(movies, count=2000)
    assert all(set(goal) == set(movies.slots) for goal in goals)
    open_theatres = sum(goal["theatre_name"] == DONTCARE for goal in goals) / len(goals)
    assert 0.16 < open_theatres < 0.24
    assert not any(goal["num_tickets"] == DONTCARE for goal in goals)


def test_alternative_can_be_offered_and_was_not_refused(movies):
    sampler, goals = sampled(movies, count=100, nothing_matches=1.0)
    for i, goal in enumerate(goals):
        rng = np.random.default_rng(i)
        slot, value = sampler.alternative(goal, rng)
        assert goal[slot] != value
        found = list(movies.catalogue.find({**goal, slot: value}))
        if not found:
            continue  # no change of a single slot helps
        refused = [
            {column: found[0][column] for column in ("movie", "theatre_name", "date", "time")}
        ]
        again = sampler.alternative(goal, np.random.default_rng(i), refused)
        assert again is not None
        left = movies.catalogue.find({**goal, again[0]: again[1]})
        assert any(entity["id"] != found[0]["id"] for entity in left) or not len(left)


def test_listed_goals_are_used_as_often_as_configured(restaurants):
    _, goals = sampled(
        restaurants,
        count=1000,
        listed=[{"food": "thai", "area": "north", "price": "cheap"}],
        share_listed=0.5,
    )
    thai_north_cheap = sum(
        goal == {"food": "thai", "area": "north", "price": "cheap"} for goal in goals
    )
    assert 430 < thai_north_cheap < 600
