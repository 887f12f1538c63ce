"""Temperatures that make beliefs mean what they say (temperature scaling, Guo et al. 2017).

A network trained long enough is surer than it is right. One number a slot, fitted on dialogues that it was not trained
on, corrects that without changing which value is best: `p^(1/T)`, normalised again.
"""

from __future__ import annotations

from typing import Iterable, Sequence, Tuple

import numpy as np

from rasa_hybrid.dialogue import Belief, Dialogue, goal_value, normalise

#: Temperatures that are tried.
_TRIED = np.exp(np.linspace(np.log(0.5), np.log(5.0), 70))
#: Probabilities that are looked at, a share of the best value's.
_LEAST = 1e-6


def fit_temperatures(
    tracked: Iterable[Tuple[Dialogue, Sequence[Belief]]], slots: Sequence[str], language: str = "en"
) -> np.ndarray:
    """The temperature of each slot at which it is likeliest that best values are right when they are, and wrong when not.

    Whether the best value is right counts, and not how probable the label is: a label that nobody was heard to say is
    no candidate at any temperature.

    Args:
        tracked: labelled dialogues, each with the uncalibrated beliefs after its user turns.
        slots: goal slots in the model's order.
        language: of the normalisation.

    Returns:
        `[slots]` float32; 1 for a slot without labels.
    """
    costs = np.zeros((len(slots), len(_TRIED)))
    for dialogue, beliefs in tracked:
        labelled = [turn.goal for turn in dialogue.turns if turn.user is not None]
        for goal, belief in zip(labelled, beliefs):
            if goal is None:
                continue
            for m, slot in enumerate(slots):
                distribution = belief.distributions[slot]
                label = normalise(goal_value(goal, slot), language)
                right = normalise(distribution[0][0], language) == label
                confidence = _confidence([probability for _, probability in distribution])
                costs[m] -= np.log(confidence if right else 1.0 - confidence)
    return np.where(costs.any(axis=1), _TRIED[costs.argmin(axis=1)], 1.0).astype(np.float32)


def _confidence(probabilities: Sequence[float]) -> np.ndarray:
    """Probability of the best value at each temperature that is tried, never quite 0 or 1."""
    relative = np.maximum(np.array(probabilities) / probabilities[0], _LEAST)
    confidence = 1.0 / (relative[:, None] ** (1.0 / _TRIED)).sum(axis=0)
    return np.clip(confidence, 1e-4, 1.0 - 1e-4)
