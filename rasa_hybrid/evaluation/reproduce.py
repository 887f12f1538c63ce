"""Every table and figure of Liu et al. (2018) from the runs of `experiment`, as pictures, CSV, Markdown and one HTML file."""

from __future__ import annotations

import base64
import html
import json
import os
import platform
import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from rasa_hybrid.evaluation.curves import draw_curves, write_csv
from rasa_hybrid.evaluation.experiment import (
    POLICY_ONLY,
    SCRATCH,
    SUPERVISED,
    Experiment,
    Stage,
    Surfaces,
    run_stage,
    stages,
)
from rasa_hybrid.evaluation.intervals import bootstrap_interval
from rasa_hybrid.evaluation.workers import side_by_side
from rasa_hybrid.learning.practice import PracticeError, same_settings, write_whole
from rasa_hybrid.learning.tracking import TrackingPlan, tracking_settings
from rasa_hybrid.learning.tracking_experiment import Splits, read_dataset, run_tracking

#: What the paper reports; other corpora, so to be read beside ours and not against it.
_PAPER_TABLE_1 = {"area": 0.90, "food": 0.84, "pricerange": 0.92, "joint": 0.72}
_PAPER_TABLE_2 = {
    "num_tickets": 0.9822,
    "movie": 0.9186,
    "theatre_name": 0.9733,
    "date": 0.9931,
    "time": 0.9771,
    "joint": 0.8457,
}
Tell = Callable[[str], None]


class Block(NamedTuple):
    """A piece of the report: `heading`, `text`, `table` (header and rows), or `picture` (path and caption)."""

    kind: str
    content: Any


@dataclass
class TimeLeft:
    """How long the rest will take, going by what is done.

    Args:
        total: work in all, in dialogues that pass through the model.
    """

    total: float
    done: float = 0.0
    _began: float = field(default_factory=time.perf_counter)
    _at_start: Optional[float] = None

    def finished(self, work: float, was_there: bool) -> None:
        """Takes note of a stage; one that was on disk took no time."""
        if was_there:
            self.total -= work
        else:
            self.done += work

    def __str__(self) -> str:
        if not self.done:
            return "time left not known yet"
        seconds = (time.perf_counter() - self._began) / self.done * (self.total - self.done)
        return f"about {seconds / 60:.0f} min left"


def reproduce(
    out: Union[str, Path],
    project: Union[str, Path],
    experiment: Experiment,
    seeds: Sequence[int],
    surfaces: Optional[Surfaces] = None,
    table_1: Optional[Mapping[str, str]] = None,
    tell: Tell = lambda line: None,
    jobs: Optional[int] = None,
) -> Dict[str, Any]:
    """Runs an experiment and writes its report; a directory with an unfinished run is gone on with.

    Args:
        out: directory of everything that is written.
        project: directory of the simulated project.
        experiment: what to run.
        seeds: one run of all stages each.
        surfaces: which words each part uses.
        table_1: `dstc2` and `m2m` to test files, whose training file lies beside it.
        tell: called with what goes on, a line at a time.
        jobs: stages that run at once, in processes of one thread each; None: one a core.

    Returns:
        Figures of the tables, by stage, and the comparisons.

    Raises:
        PracticeError: if the directory holds another experiment.
    """
    out, surfaces = Path(out), surfaces or Surfaces()
    out.mkdir(parents=True, exist_ok=True)
    _same_experiment(out, project, experiment, surfaces)
    began = time.perf_counter()
    trackers = _table_1(out, experiment, table_1 or {}, seeds, tell)
    planned = stages(experiment)
    left = TimeLeft(len(seeds) * sum(_work(experiment, stage) for stage in planned))
    orders = {
        (seed, stage.name): (experiment, project, surfaces, out / f"seed-{seed}", seed, stage)
        for stage in planned
        for seed in seeds
    }
    there = [
        (seed, s.name) for seed in seeds for s in planned if s.path(out / f"seed-{seed}").exists()
    ]
    parents = {
        (seed, s.name): (seed, s.parent) if s.parent else None for seed in seeds for s in planned
    }
    found: Dict[Any, Dict[str, Any]] = {}
    for task, result in side_by_side(parents, run_stage, orders, jobs or os.cpu_count() or 1, tell):
        found[task] = result
        left.finished(_work(experiment, orders[task][-1]), task in there)
        tell(f"seed {task[0]}, {task[1]}: {'was on disk' if task in there else 'done'}; {left}")
    results = [found[seed, stage.name] for seed in seeds for stage in planned]
    seconds = round(time.perf_counter() - began, 1)
    return report(out, experiment, surfaces, seeds, results, trackers, seconds)


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
    blocks = [
        Block("heading", "Dialogue learning with human teaching and feedback, reproduced"),
        Block("text", _what_it_is(experiment, surfaces, seeds)),
        Block("table", (("setting", "value"), _machine(seconds, results))),
    ]
    if experiment.differences:
        blocks.append(
            Block("text", "Differences from the paper: " + " ".join(experiment.differences))
        )
    blocks += [Block("heading", "Success, turns and beliefs in interaction"), _table_3(tables)]
    blocks += [
        Block("heading", "Differences on the same users"),
        Block(
            "table",
            (
                ("difference", "surface", "figure", "mean", "95 % interval", "each seed"),
                [
                    (
                        c["difference"],
                        c["surface"],
                        c["figure"],
                        f"{c['mean']:+.4f}",
                        f"{c['interval'][0]:+.4f} to {c['interval'][1]:+.4f}",
                        ", ".join(f"{v:+.4f}" for v in c["per_seed"]),
                    )
                    for c in compared
                ],
            ),
        ),
    ]
    for name, caption, chosen, figure in _FIGURES:
        of_runs = [r for r in rows if _is_reinforced(r["run"]) and chosen(r["run"])]
        for surface in dict.fromkeys(r["surface"] for r in of_runs):
            path = out / f"{name}-{Path(str(surface)).stem}.png"
            here = [r for r in of_runs if r["surface"] == surface]
            draw_curves(path, here, (figure,), "run", str(surface), "dialogues of REINFORCE")
            blocks.append(Block("picture", (path, f"{caption}, {surface}")))
    taught = [r for r in rows if not _is_reinforced(r["run"])]
    taught = [r for r in taught if r["run"] == f"SL+IL{experiment.taught[-1]}"] if taught else []
    if taught:
        path = out / "teaching.png"
        draw_curves(path, taught, by="surface", learnt_on="taught dialogues")
        blocks.append(Block("picture", (path, "Teaching")))
    blocks += _tables_1_and_2(results, trackers)
    blocks += [
        Block("heading", "Every setting"),
        Block("text", f"```json\n{json.dumps(experiment.to_dict(), indent=1)}\n```"),
    ]
    write_whole(out / "report.md", _markdown(blocks))
    write_whole(out / "report.html", _html(blocks))
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


def _is_reinforced(run: str) -> bool:
    return "RL" in run


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


def _table_3(rows: Sequence[Mapping[str, Any]]) -> Block:
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
    return Block("table", (header, lines))


def _mean(rows: Sequence[Mapping[str, Any]], name: str, digits: int = 3) -> str:
    known = [row[name] for row in rows if row[name] is not None]
    return f"{np.mean(known):.{digits}f}" if known else "-"


def _tables_1_and_2(
    results: Sequence[Mapping[str, Any]], trackers: Mapping[str, Any]
) -> List[Block]:
    blocks = []
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
            Block("heading", f"Table 1: belief tracking on {name}"),
            Block("table", (("slot", "here", "paper"), _beside(ours, beside))),
            Block("text", f"Trained on the file beside the test file; {note}."),
        ]
    offline = [r["final"]["offline"] for r in results if r["stage"] == SUPERVISED]
    if offline:
        slots = {
            slot: float(np.mean([o["slot_accuracy"][slot] for o in offline]))
            for slot in offline[0]["slot_accuracy"]
        }
        ours = {**slots, "joint": float(np.mean([o["joint_goal_accuracy"] for o in offline]))}
        blocks += [
            Block("heading", "Table 2: belief tracking on recorded dialogues"),
            Block("table", (("slot", "here", "paper"), _beside(ours, _PAPER_TABLE_2))),
            Block(
                "text",
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


def _table_1(
    out: Path,
    experiment: Experiment,
    files: Mapping[str, str],
    seeds: Sequence[int],
    tell: Tell,
) -> Dict[str, Any]:
    """Trackers of `rasa-hybrid track` on public corpora; a tenth of the training file chooses the epoch."""
    results: Dict[str, Any] = {}
    for dataset, test in files.items():
        path = out / f"table-1-{dataset}.json"
        if not path.exists():
            train = training_file(test)
            dialogues = read_dataset(dataset, str(train), "transcribed")
            held_out = max(len(dialogues) // 10, 1)
            splits = Splits(dialogues[held_out:], dialogues[:held_out], read_dataset(dataset, test))
            quick = {"epochs": 1, "least_steps": 1} if experiment.name == "quick" else {}
            plan = TrackingPlan(
                tracking_settings("default", **quick),
                noise=not quick,
                synonyms=not quick,
                substitution=not quick,
            )
            tell(f"table 1, {dataset}: training on {train.name}")
            found = run_tracking(plan, splits, seeds, tell)
            write_whole(path, json.dumps({k: v for k, v in found.items() if k != "reliability"}))
        results[dataset] = json.loads(path.read_text(encoding="utf-8"))
    return results


def training_file(test: Union[str, Path]) -> Path:
    """The training file beside a test file: `train.json` beside `test.json` or `dev.json`.

    Raises:
        PracticeError: if there is none.
    """
    test = Path(test)
    named = test.with_name(re.sub(r"test|dev", "train", test.name))
    if named == test or not named.exists():
        raise PracticeError(
            f"{test}: to score a tracker one has to be trained, on a file of the same name with `train` in "
            f"the place of `test` or `dev` beside it; there is no {named.name}."
        )
    return named


def _work(experiment: Experiment, stage: Stage) -> float:
    """How much a stage has to do, in dialogues that pass through the model."""
    measuring = 4.0 * experiment.final_dialogues
    if stage.way == "supervised":
        return measuring + stage.dialogues * float(experiment.model.get("epochs", 30))
    points = stage.dialogues / experiment.measure_every * 2 * experiment.measure_dialogues
    if stage.way == "imitation":
        steps = experiment.to_dict()["imitation"]
        return (
            measuring
            + points
            + stage.dialogues * (1 + steps["steps"] * steps["batch_size"] / steps["update_every"])
        )
    return measuring + points + 3.0 * stage.dialogues


def _same_experiment(
    out: Path, project: Union[str, Path], experiment: Experiment, surfaces: Surfaces
) -> None:
    asked = {"project": Path(project).name, "surfaces": vars(surfaces), **experiment.to_dict()}
    same_settings(out / "experiment.json", "experiment", asked)


def _what_it_is(experiment: Experiment, surfaces: Surfaces, seeds: Sequence[int]) -> str:
    taught = " and ".join(map(str, experiment.taught))
    return (
        f"Experiment `{experiment.name}`, {len(seeds)} seed(s). SL: supervised on "
        f"{experiment.supervised_dialogues} simulated dialogues ({Path(surfaces.train).name}). IL: {taught} dialogues of the "
        f"model that a teacher corrected ({Path(surfaces.teach).name}). RL: {experiment.reinforced_dialogues} dialogues of "
        f"REINFORCE ({Path(surfaces.teach).name}). `train`, `teach` and `test` below are the words of "
        f"{Path(surfaces.train).name}, {Path(surfaces.teach).name} and {Path(surfaces.test).name}; of the last nothing was learnt. "
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


def _markdown(blocks: Sequence[Block]) -> str:
    parts, level = [], "#"
    for kind, content in blocks:
        if kind == "heading":
            parts.append(f"{level} {content}")
            level = "##"
        elif kind == "text":
            parts.append(content)
        elif kind == "table":
            header, rows = content
            lines = [header, ["---"] * len(header), *rows]
            parts.append("\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines))
        else:
            path, caption = content
            parts.append(f"![{caption}]({path.name})\n\n{caption}")
    return "\n\n".join(parts) + "\n"


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:64em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #ccc;padding:.2em .6em;text-align:left}"
    "th{background:#f3f3f3}img{max-width:100%}pre{background:#f6f6f6;padding:1em;overflow:auto}figure{margin:1em 0}"
)


def _html(blocks: Sequence[Block]) -> str:
    parts, level = [], 1
    for kind, content in blocks:
        if kind == "heading":
            parts.append(f"<h{level}>{html.escape(content)}</h{level}>")
            level = 2
        elif kind == "text":
            code = content.startswith("```")
            text = html.escape(re.sub(r"^```\w*\n|\n```$", "", content))
            parts.append(f"<pre>{text}</pre>" if code else f"<p>{text}</p>")
        elif kind == "table":
            header, rows = content
            lines = ["<tr>" + "".join(f"<th>{html.escape(str(c))}</th>" for c in header) + "</tr>"]
            lines += [
                "<tr>" + "".join(f"<td>{html.escape(str(c))}</td>" for c in row) + "</tr>"
                for row in rows
            ]
            parts.append("<table>" + "".join(lines) + "</table>")
        else:
            path, caption = content
            data = base64.b64encode(path.read_bytes()).decode()
            text = html.escape(caption)
            parts.append(
                f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'
            )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>rasa_hybrid: the paper reproduced</title>'
        f"<style>{_STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )
