"""The report of the paper's experiments: tables and figures of Liu et al. (2018) beside what came out here."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

import numpy as np

from rasa_hybrid.evaluation.comparisons import comparisons
from rasa_hybrid.evaluation.curves import Row, draw_curves, write_csv
from rasa_hybrid.evaluation.document import (
    Block,
    Code,
    Heading,
    Picture,
    Table,
    Text,
    markdown,
    page,
)
from rasa_hybrid.evaluation.experiment import (
    POLICY_ONLY,
    SCRATCH,
    SUPERVISED,
    Experiment,
    Surfaces,
)
from rasa_hybrid.learning.practice import write_whole

#: What the paper reports; other corpora, so to be read beside ours and not against it.
_PAPER_TABLE_1 = {"area": 0.90, "food": 0.84, "price range": 0.92, "joint": 0.72}
_PAPER_TABLE_2 = {
    "num_tickets": 0.9822,
    "movie": 0.9186,
    "theatre_name": 0.9733,
    "date": 0.9931,
    "time": 0.9771,
    "joint": 0.8457,
}


def report(
    out: Path,
    experiment: Experiment,
    surfaces: Surfaces,
    seeds: Sequence[int],
    results: Sequence[Mapping[str, Any]],
    trackers: Mapping[str, Any],
    seconds: float,
) -> Dict[str, Any]:
    """Writes `curves.csv`, `tables.csv`, the pictures, `report.md` and `report.html`; arguments as of `reproduce`."""
    rows = [row for result in results for row in result["curve"]]
    write_csv(out / "curves.csv", rows)
    tables = _final_rows(results)
    write_csv(out / "tables.csv", tables)
    compared = comparisons(results, experiment)
    blocks: List[Block] = [
        Heading("Dialogue learning with human teaching and feedback, reproduced", level=1),
        Text(_what_it_is(experiment, surfaces, seeds)),
        Table(("setting", "value"), _machine(seconds, results)),
    ]
    if experiment.differences:
        blocks.append(Text("Differences from the paper: " + " ".join(experiment.differences)))
    blocks += [Heading("Success, turns and beliefs in interaction"), _table_3(tables)]
    blocks += [Heading("Differences on the same users"), _differences(compared)]
    blocks += _pictures(out, experiment, rows)
    blocks += _tables_1_and_2(results, trackers)
    used = {"seeds": list(seeds), "surfaces": vars(surfaces), **experiment.to_dict()}
    settings = json.dumps(used, indent=1)
    blocks += [Heading("Every setting"), Code(settings, "json")]
    write_whole(out / "report.md", markdown(blocks))
    write_whole(out / "report.html", page("rasa_hybrid: the paper reproduced", blocks))
    return {
        "experiment": experiment.name,
        "seeds": list(seeds),
        "stages": tables,
        "comparisons": compared,
        "trackers": dict(trackers),
        "seconds": seconds,
    }


#: Name, caption, which runs, and figure of the pictures; numbers are the paper's.
_FIGURES: Tuple[Tuple[str, str, Callable[[str], bool], str], ...] = (
    ("figure-3", "Figure 3: success rate", lambda run: run != POLICY_ONLY, "success_rate"),
    (
        "figure-4",
        "Figure 4: turns of successful dialogues",
        lambda run: run not in (POLICY_ONLY, SCRATCH),
        "average_turns_successful",
    ),
    (
        "figure-5",
        "Figure 5: belief accuracy",
        lambda run: run not in (POLICY_ONLY, SCRATCH),
        "joint_goal_accuracy",
    ),
    (
        "figure-6",
        "Figure 6: end to end and policy only",
        lambda run: run in (POLICY_ONLY, "SL+RL"),
        "success_rate",
    ),
)


def _pictures(out: Path, experiment: Experiment, rows: Sequence[Row]) -> List[Block]:
    """Draws the figures and the curve of teaching."""
    drawn: List[Block] = []
    for name, caption, chosen, figure in _FIGURES:
        of_runs = [r for r in rows if _is_reinforced(r["run"]) and chosen(r["run"])]
        for surface in dict.fromkeys(r["surface"] for r in of_runs):
            path = out / f"{name}-{Path(str(surface)).stem}.png"
            here = [r for r in of_runs if r["surface"] == surface]
            learnt_on = "dialogues of REINFORCE"
            draw_curves(path, here, (figure,), "run", str(surface), learnt_on, (SCRATCH,))
            drawn.append(Picture(path.name, path.read_bytes(), f"{caption}, {surface}"))
    most = experiment.taught[-1] if experiment.taught else None
    taught = [r for r in rows if r["run"] == f"SL+IL{most}"]
    if taught:
        path = out / "teaching.png"
        draw_curves(path, taught, by="surface", learnt_on="taught dialogues")
        drawn.append(Picture(path.name, path.read_bytes(), "Teaching"))
    return drawn


def _differences(compared: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        (
            each["difference"],
            each["surface"],
            each["figure"],
            f"{each['mean']:+.4f}",
            f"{each['interval'][0]:+.4f} to {each['interval'][1]:+.4f}",
            ", ".join(f"{v:+.4f}" for v in each["per_seed"]),
        )
        for each in compared
    ]
    header = ("difference", "surface", "figure", "mean", "95 % interval", "each seed")
    return Table(header, rows)


def _is_reinforced(run: str) -> bool:
    return "RL" in run


def _final_rows(results: Sequence[Mapping[str, Any]]) -> List[Dict[str, Any]]:
    rows = []
    for result in results:
        for part in ("train", "teach", "test"):
            final = result["final"][part]
            low, high = final["success_rate_interval"]
            rows.append(
                {
                    "stage": result["stage"],
                    "seed": result["seed"],
                    "surface": part,
                    "users": final["dialogues"],
                    "success_rate": final["success_rate"],
                    "success_low": low,
                    "success_high": high,
                    "average_turns": final["average_turns"],
                    "average_turns_successful": final["average_turns_successful"],
                    "joint_goal_accuracy": final["joint_goal_accuracy"],
                    "act_accuracy": final["act_accuracy"],
                    "average_reward": final["average_reward"],
                    "learning_seconds": result["seconds"],
                    "processor_seconds": result["processor_seconds"],
                }
            )
    return rows


def _table_3(rows: Sequence[Mapping[str, Any]]) -> Table:
    header = [
        "model",
        "surface",
        "success",
        "95 % interval",
        "turns (successful)",
        "joint goal",
        "acts",
    ]
    lines = []
    for stage in dict.fromkeys(row["stage"] for row in rows):
        for part in ("train", "teach", "test"):
            here = [r for r in rows if r["stage"] == stage and r["surface"] == part]
            interval = (
                f"{here[0]['success_low']:.3f} to {here[0]['success_high']:.3f}"
                if len(here) == 1
                else f"seeds: {min(r['success_rate'] for r in here):.3f} to {max(r['success_rate'] for r in here):.3f}"
            )
            lines.append(
                (
                    stage,
                    part,
                    _mean(here, "success_rate"),
                    interval,
                    _mean(here, "average_turns_successful", 2),
                    _mean(here, "joint_goal_accuracy", 4),
                    _mean(here, "act_accuracy"),
                )
            )
    return Table(header, lines)


def _mean(rows: Sequence[Mapping[str, Any]], name: str, digits: int = 3) -> str:
    known = [row[name] for row in rows if row[name] is not None]
    return f"{np.mean(known):.{digits}f}" if known else "-"


def _tables_1_and_2(
    results: Sequence[Mapping[str, Any]], trackers: Mapping[str, Any]
) -> List[Block]:
    blocks: List[Block] = []
    for name, result in trackers.items():
        slots = {s: v["mean"] for s, v in result["slot_accuracy"].items()}
        ours = {**slots, "joint": result["joint_goal_accuracy"]["mean"]}
        beside = _PAPER_TABLE_1 if name == "dstc2" else _PAPER_TABLE_2
        note = (
            "the paper's figures are of the corpus' test part, after live recognition"
            if name == "dstc2"
            else "the paper's figures are of Sim-GEN, another corpus"
        )
        blocks += [
            Heading(f"Table 1: belief tracking on {name}"),
            Table(("slot", "here", "paper"), _beside(ours, beside)),
            Text(f"Trained on the file beside the test file; {note}."),
        ]
    offline = [r["final"]["offline"] for r in results if r["stage"] == SUPERVISED]
    if offline:
        slots = {
            slot: float(np.mean([o["slot_accuracy"][slot] for o in offline]))
            for slot in offline[0]["slot_accuracy"]
        }
        ours = {**slots, "joint": float(np.mean([o["joint_goal_accuracy"] for o in offline]))}
        blocks += [
            Heading("Table 2: belief tracking on recorded dialogues"),
            Table(("slot", "here", "paper"), _beside(ours, _PAPER_TABLE_2)),
            Text(
                "Here: new dialogues of the expert with simulated users, in the words of the training surface. "
                "The paper's corpus (Sim-GEN, 100,000 dialogues) is not available.",
            ),
        ]
    return blocks


def _beside(ours: Mapping[str, float], paper: Mapping[str, float]) -> List[Tuple[str, ...]]:
    return [
        (slot, f"{value:.4f}", f"{paper[slot]:.4f}" if slot in paper else "-")
        for slot, value in ours.items()
    ]


def _what_it_is(experiment: Experiment, surfaces: Surfaces, seeds: Sequence[int]) -> str:
    taught = " and ".join(map(str, experiment.taught))
    is_seen = surfaces.test in (surfaces.train, surfaces.teach)
    unseen = "" if is_seen else "; of the last nothing was learnt"
    return (
        f"Experiment `{experiment.name}`, {len(seeds)} seed(s). SL: supervised on "
        f"{experiment.supervised_dialogues} simulated dialogues ({Path(surfaces.train).name}). IL: {taught} dialogues of the "
        f"model that a teacher corrected ({Path(surfaces.teach).name}). RL: {experiment.reinforced_dialogues} dialogues of "
        f"REINFORCE ({Path(surfaces.teach).name}). `train`, `teach` and `test` below are the words of "
        f"{Path(surfaces.train).name}, {Path(surfaces.teach).name} and {Path(surfaces.test).name}{unseen}. "
        "Measured with the most probable actions, always with the same users."
    )


def _machine(seconds: float, results: Sequence[Mapping[str, Any]]) -> List[Tuple[str, str]]:
    import tensorflow

    busy = sum(r["processor_seconds"] for r in results)
    return [
        ("machine", f"{os.cpu_count()} x {platform.machine()}, {platform.system()}"),
        (
            "Python, NumPy, TensorFlow",
            f"{platform.python_version()}, {np.__version__}, {tensorflow.__version__}",
        ),
        ("commit", _commit()),
        ("seconds of this run", f"{seconds:.0f}"),
        ("seconds of learning, all stages", f"{sum(r['seconds'] for r in results):.0f}"),
        ("processor seconds of learning", f"{busy:.0f}"),
    ]


def _commit() -> str:
    """The commit of the code, where it is run from a repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()
