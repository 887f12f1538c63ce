"""Models of an experiment compared with the same users: paired differences, with intervals over the users."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence, Tuple

import numpy as np

from rasa_hybrid.evaluation.experiment import POLICY_ONLY, SUPERVISED, Experiment
from rasa_hybrid.evaluation.intervals import paired_interval

#: What models are compared in.
_COMPARED = {"success": "success rate", "belief": "joint goal accuracy"}


def comparisons(
    results: Sequence[Mapping[str, Any]], experiment: Experiment
) -> List[Dict[str, Any]]:
    """Differences between models on the same users: means over the seeds, with paired bootstrap intervals.

    Users are drawn, who are the same for all seeds; how much seeds differ is told by `per_seed`, not by the interval.
    """
    found = {(r["stage"], r["seed"]): r for r in results}
    seeds = sorted({r["seed"] for r in results})
    wanted = [("SL+RL", other, what) for other in (SUPERVISED, POLICY_ONLY) for what in _COMPARED]
    for count in experiment.taught:
        wanted += [
            (f"SL+IL{count}", SUPERVISED, "belief"),
            (f"SL+IL{count}", SUPERVISED, "success"),
            (f"SL+IL{count}+RL", "SL+RL", "success"),
            (f"SL+IL{count}+RL", f"SL+IL{count}", "success"),
        ]
    rows = []
    for first, second, figure in wanted:
        for part in ("train", "teach", "test"):
            pairs = [
                (found[first, s]["final"][part], found[second, s]["final"][part])
                for s in seeds
                if (first, s) in found and (second, s) in found
            ]
            if not pairs:
                continue
            firsts, seconds = ([_counts(each, figure) for each in side] for side in zip(*pairs))
            per_seed = [_ratio(*a) - _ratio(*b) for a, b in zip(firsts, seconds)]
            rows.append(
                {
                    "difference": f"{first} - {second}",
                    "surface": part,
                    "figure": _COMPARED[figure],
                    "mean": float(np.mean(per_seed)),
                    "interval": paired_interval(firsts, seconds),
                    "per_seed": per_seed,
                }
            )
    return rows


def _counts(final: Mapping[str, Any], figure: str) -> Tuple[np.ndarray, np.ndarray]:
    """What was right with each user, and of how much: dialogues, or turns."""
    if figure == "success":
        right = np.array(final["successes"], float)
        return right, np.ones_like(right)
    right, turns = np.array(final["joint_goals"], float).T
    return right, turns


def _ratio(right: np.ndarray, of: np.ndarray) -> float:
    return float(right.sum() / of.sum())
