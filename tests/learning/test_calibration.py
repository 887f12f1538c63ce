import numpy as np
import pytest

from rasa_hybrid.dialogue import Belief, Dialogue, Turn, Utterance
from rasa_hybrid.learning.calibration import fit_temperatures


def corpus(right, wrong, confidence):
    """Turns whose slot is right and turns whose slot is wrong, all believed with the same confidence."""
    goals = [{"area": "north"}] * right + [{"area": "south"}] * wrong
    dialogue = Dialogue("d", tuple(Turn(Utterance("x"), goal) for goal in goals))
    belief = Belief({"area": (("north", confidence), ("south", 1.0 - confidence))})
    return [(dialogue, [belief] * len(goals))]


def at(temperature, probability):
    odds = (probability / (1.0 - probability)) ** (1.0 / temperature)
    return odds / (1.0 + odds)


def test_temperature_makes_the_confidence_what_was_right():
    [temperature] = fit_temperatures(corpus(3, 1, 0.95), ["area"])
    assert temperature > 1
    assert at(temperature, 0.95) == pytest.approx(0.75, abs=0.01)


def test_too_little_confidence_gets_a_temperature_below_one():
    [temperature] = fit_temperatures(corpus(9, 1, 0.8), ["area"])
    assert temperature < 1
    assert at(temperature, 0.8) == pytest.approx(0.9, abs=0.01)


def test_unlabelled_slots_stay_as_they_are():
    unlabelled = [(Dialogue("d", (Turn(Utterance("x"), None),)), [Belief({"area": ()})])]
    np.testing.assert_array_equal(fit_temperatures(unlabelled, ["area"]), [1.0])
