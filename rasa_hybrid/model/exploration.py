"""Trying out: the policy that acts when actions are sampled, with its true probabilities.

The policy gradient from real conversations needs actions that were tried with known probabilities. What may be tried is
the operator's choice: a temperature, a floor below which nothing is tried, and actions that are never tried.
"""

from __future__ import annotations

from typing import Collection, Sequence

import numpy as np


def exploring_policy(
    chances: np.ndarray,
    actions: Sequence[str],
    temperature: float = 1.0,
    floor: float = 0.0,
    never: Collection[str] = (),
) -> np.ndarray:
    """Probabilities with which actions are tried.

    Where the most probable action is one of `never` it is taken, as without exploration. Else those of `never` are left
    out, the others get probabilities proportional to `chances ** (1 / temperature)`, and those below `floor` are left out
    too; so every action that is tried had at least the probability `floor`, which bounds its importance weight.

    Args:
        chances: `[actions]` probabilities of the model.
        actions: names.
        temperature: 1 for the model's own probabilities, less to try less.
        floor: least probability of an action that is tried.
        never: actions that are only taken if they are the most probable one.

    Returns:
        `[actions]` probabilities that sum to 1.
    """
    best = int(np.argmax(chances))
    if actions[best] in never:
        certain = np.zeros(len(chances))
        certain[best] = 1.0
        return certain
    logs = np.log(np.maximum(np.asarray(chances, float), 1e-300)) / temperature
    tried = np.exp(logs - logs.max())
    tried[np.asarray(chances) <= 0.0] = 0.0
    tried[[i for i, name in enumerate(actions) if name in never]] = 0.0
    tried /= tried.sum()
    kept = np.where(tried >= floor, tried, 0.0)
    kept[best] = tried[best]
    return kept / kept.sum()
