"""Temperatures that make beliefs mean what they say (temperature scaling, Guo et al. 2017).

A network trained long enough is surer than it is right. One number a slot, fitted on dialogues that it was not trained
on, corrects that without changing which value is best: `p^(1/T)`, normalised again.
"""

from __future__ import annotations

from typing import Iterable, List, Sequence, Tuple

import numpy as np

from rasa_hybrid.dialogue import Belief, Dialogue, goal_value, normalise

#: Temperatures that are tried.
_TRIED = np.exp(np.linspace(np.log(0.5), np.log(5.0), 70))
#: Probability of a value that is no candidate.
_LEAST = 1e-6


def fit_temperatures(
    tracked: Iterable[Tuple[Dialogue, Sequence[Belief]]], slots: Sequence[str], language: str = "en"
) -> np.ndarray:
    """The temperature of each slot at which the labels of held-out dialogues are likeliest.

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
                label = normalise(goal_value(goal, slot), language)
                costs[m] += _costs(belief.distributions[slot], label, language)
    return np.where(costs.any(axis=1), _TRIED[costs.argmin(axis=1)], 1.0).astype(np.float32)


def _costs(distribution: Sequence[Tuple[str, float]], label: str, language: str) -> np.ndarray:
    """-log P(label) at each temperature that is tried."""
    logs: List[float] = []
    place = -1
    for i, (value, probability) in enumerate(distribution):
        logs.append(float(np.log(max(probability, _LEAST))))
        if place < 0 and normalise(value, language) == label:
            place = i
    scaled = np.array(logs)[:, None] / _TRIED
    total = np.log(np.exp(scaled).sum(axis=0))
    chosen = scaled[place] if place >= 0 else np.log(_LEAST) / _TRIED
    return total - chosen
