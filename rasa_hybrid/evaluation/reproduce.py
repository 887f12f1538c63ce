"""The stages of an experiment for all seeds, side by side, with progress and time left; then its report."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Union

from rasa_hybrid.evaluation.experiment import Experiment, Stage, Surfaces, run_stage, stages
from rasa_hybrid.evaluation.paper_report import report
from rasa_hybrid.evaluation.tracking_experiment import (
    Splits,
    hypotheses,
    read_dataset,
    run_tracking,
)
from rasa_hybrid.evaluation.workers import side_by_side
from rasa_hybrid.learning.practice import PracticeError, same_settings, write_whole
from rasa_hybrid.learning.tracking import TrackingPlan, tracking_settings

Tell = Callable[[str], None]


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


def _table_1(
    out: Path,
    experiment: Experiment,
    files: Mapping[str, str],
    seeds: Sequence[int],
    tell: Tell,
) -> Dict[str, Any]:
    """Trackers of `rasa-hybrid track` on public corpora, chosen by the development file that lies there, too."""
    results: Dict[str, Any] = {}
    for dataset, test in files.items():
        path = out / f"table-1-{dataset}.json"
        train, dev = training_file(test), development_file(test)
        files_ = [_digest(path) for path in (train, dev, Path(test)) if path]
        asked = {"files": files_, "seeds": list(seeds)}
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if known.get("asked") != asked:
            learnt, chosen = read_dataset(dataset, str(train), "transcribed"), []
            if dev is not None:
                chosen = read_dataset(dataset, str(dev), "transcribed")
            else:
                held_out = max(len(learnt) // 10, 1)
                chosen, learnt = learnt[:held_out], learnt[held_out:]
            splits = Splits(learnt, chosen, read_dataset(dataset, test))
            quick: Dict[str, Any] = (
                {"epochs": 1, "least_steps": 1} if experiment.name == "quick" else {}
            )
            plan = TrackingPlan(
                tracking_settings("default", n_best_hypotheses=hypotheses(splits), **quick),
                noise=not quick,
                synonyms=not quick,
                substitution=not quick,
            )
            tell(f"table 1, {dataset}: training on {train.name}")
            found = run_tracking(plan, splits, seeds, tell)
            known = {k: v for k, v in found.items() if k != "reliability"}
            known["asked"] = asked
            write_whole(path, json.dumps(known))
        results[dataset] = known
    return results


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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


def development_file(test: Union[str, Path]) -> Optional[Path]:
    """The development file beside a test file: `dev.json` beside `test.json`; None if there is none."""
    test = Path(test)
    named = test.with_name(test.name.replace("test", "dev"))
    return named if named != test and named.exists() else None


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
    asked = {
        "project": Path(project).resolve().name,
        "surfaces": vars(surfaces),
        **experiment.to_dict(),
    }
    same_settings(out / "experiment.json", "experiment", asked)
