"""Learning curves: a model measured again and again while it learns, as CSV and as pictures."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple, Union

import numpy as np

from rasa_hybrid.evaluation.interaction import InteractionReport
from rasa_hybrid.learning.agent import agent_of, with_known_values
from rasa_hybrid.learning.simulated import TrainedModel
from rasa_hybrid.model.acting import ActingModel
from rasa_hybrid.simulation import Environment, SideEffects, Simulator

#: One row of a curve; the figures of `CURVE` by name, beside what says which run, surface and moment it is.
Row = Dict[str, Any]
#: Figures of a curve and how they are called in pictures.
CURVE = {
    "success_rate": "success rate",
    "average_turns_successful": "turns of successful dialogues",
    "joint_goal_accuracy": "joint goal accuracy",
    "average_turns": "turns",
    "average_reward": "reward",
    "act_accuracy": "act accuracy",
}


def interact(
    model: TrainedModel, simulator: Simulator, count: int, seed: int, keep_worst: int = 0
) -> InteractionReport:
    """A model, by its most probable actions, with users 0 to `count - 1` of a seed."""
    effects = SideEffects(simulator.flow)
    acting = ActingModel(with_known_values(model.encoder, simulator), model.weights)
    agent = agent_of(acting, model.extra, simulator, effects)
    report = InteractionReport(simulator.slots, keep_worst)
    for rollout in Environment(simulator, agent, effects, label=True).rollouts(count, seed):
        report.add(rollout)
    return report


def measured(
    model: TrainedModel, simulators: Mapping[str, Simulator], count: int, seed: int, dialogues: int
) -> List[Row]:
    """A row for each surface, after so many dialogues of learning; always the same users."""
    rows = []
    for surface, simulator in simulators.items():
        figures = interact(model, simulator, count, seed).to_dict()
        low, high = figures["success_rate_interval"]
        rows.append(
            {
                "dialogues": dialogues,
                "surface": surface,
                **{name: figures[name] for name in CURVE},
                "success_low": low,
                "success_high": high,
                "measured_on": count,
            }
        )
    return rows


def write_csv(path: Union[str, Path], rows: Sequence[Row]) -> None:
    """Rows as CSV, all or nothing."""
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    os.replace(part, path)


def draw_curves(
    path: Union[str, Path],
    rows: Sequence[Row],
    figures: Sequence[str] = ("success_rate", "average_turns_successful", "joint_goal_accuracy"),
    by: str = "surface",
    title: str = "",
    learnt_on: str = "dialogues",
    apart: Sequence[str] = (),
) -> None:
    """A picture with one panel a figure and one line for each value of `by`.

    Where several seeds give a point, the line is their mean and the band reaches from the least to the greatest. With
    values of `by` that are far `apart` from all others, each figure has a second panel, without them.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    lines = list(dict.fromkeys(row[by] for row in rows))
    near = [label for label in lines if label not in apart]
    shown = [(name, lines) for name in figures]
    if near and near != lines:
        shown += [(name, near) for name in figures]
    figure, panels = pyplot.subplots(1, len(shown), figsize=(4.6 * len(shown), 3.4), squeeze=False)
    for panel, (name, labels) in zip(panels[0], shown):
        for label in labels:
            color = f"C{lines.index(label)}"
            x, mean, low, high = _line([row for row in rows if row[by] == label], name)
            panel.plot(x, mean, label=str(label), linewidth=1.6, color=color)
            panel.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
        panel.set_xlabel(learnt_on)
        panel.set_ylabel(CURVE.get(name, name))
        panel.grid(alpha=0.25)
    panels[0][len(figures) - 1].legend(fontsize=8)
    if title:
        figure.suptitle(title)
    figure.tight_layout()
    part = Path(path).with_name(f"part-{Path(path).name}")
    figure.savefig(part, dpi=110)
    pyplot.close(figure)
    os.replace(part, path)


def _line(
    rows: Sequence[Row], name: str
) -> Tuple[List[int], List[float], List[float], List[float]]:
    """Positions, mean, least and greatest of a figure, a position that not all seeds have reached left out."""
    points: Dict[int, List[float]] = {}
    for row in rows:
        if row.get(name) is not None:
            points.setdefault(int(row["dialogues"]), []).append(float(row[name]))
    most = max((len(values) for values in points.values()), default=0)
    kept = {x: values for x, values in sorted(points.items()) if len(values) == most}
    return (
        list(kept),
        [float(np.mean(v)) for v in kept.values()],
        [min(v) for v in kept.values()],
        [max(v) for v in kept.values()],
    )
