"""Models of an experiment compared with the same users: paired differences, with intervals over the users of all seeds."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence

import numpy as np

from rasa_hybrid.evaluation.experiment import POLICY_ONLY, SUPERVISED, Experiment
from rasa_hybrid.evaluation.intervals import bootstrap_interval

#: What models are compared in.
_COMPARED = {"success": "success rate", "belief": "joint goal accuracy"}


def comparisons(
    results: Sequence[Mapping[str, Any]], experiment: Experiment
) -> List[Dict[str, Any]]:
    """Differences between models on the same users, with paired bootstrap intervals over the users of all seeds."""
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
            differences = [_paired(a, b, figure) for a, b in pairs]
            together = np.concatenate(differences)
            rows.append(
                {
                    "difference": f"{first} - {second}",
                    "surface": part,
                    "figure": _COMPARED[figure],
                    "mean": float(together.mean()),
                    "interval": bootstrap_interval(together),
                    "per_seed": [float(d.mean()) for d in differences],
                }
            )
    return rows


def _paired(first: Mapping[str, Any], second: Mapping[str, Any], figure: str) -> np.ndarray:
    """The difference of two models with each user; of beliefs the shares of right turns of the dialogue."""
    if figure == "success":
        return np.subtract(first["successes"], second["successes"]).astype(float)
    shares = [
        np.array([right / max(turns, 1) for right, turns in each["joint_goals"]])
        for each in (first, second)
    ]
    return shares[0] - shares[1]
