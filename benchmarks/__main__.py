"""Everything side by side in one run: `python -m benchmarks`, which is `make bench`.

Bots are trained, read recorded dialogues, talk to simulated users and are measured as servers, one after the other, each in
processes of its own. What was measured is kept in a folder, so that a run which was ended goes on; the report is made of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import click
from rich.console import Console
from rich.table import Table

from benchmarks.common import machine
from benchmarks.peers import BOTS
from benchmarks.serving import FLOOR
from rasa_hybrid.evaluation import document
from rasa_hybrid.evaluation.document import Block, Heading, Text

PARTS = ("speed", "train", "growth", "read", "talk", "serving")
_SURFACES = ("train", "extended-test")
#: The bot of this project, which the others are compared with.
_OURS = BOTS[0]
Result = Dict[str, Any]


class Task(NamedTuple):
    """A measurement: its name, and the module with the arguments that make it."""

    name: str
    command: Tuple[str, ...]


class Figures(NamedTuple):
    """A table of the report: what stands over it, its columns and rows."""

    title: str
    columns: Tuple[str, ...]
    rows: List[Tuple[str, ...]]


@click.command()
@click.option(
    "--out",
    default="measured",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of bots, figures and report; what it holds is not measured again.",
)
@click.option(
    "--only", "parts", multiple=True, type=click.Choice(PARTS), help="Parts. [default: all]"
)
@click.option("--bot", "bots", multiple=True, type=click.Choice(BOTS), help="[default: all]")
@click.option("--dialogues", default=400, show_default=True, help="That the bots learn from.")
@click.option("--epochs", default=100, show_default=True, help="Of DIET and TED.")
@click.option(
    "--growth",
    multiple=True,
    type=int,
    default=(4000, 40_000, 100_000),
    show_default=True,
    help="Dialogues that the hybrid bot learns from besides.",
)
@click.option("--recorded", default=100, show_default=True, help="Dialogues that bots read.")
@click.option("--users", default=60, show_default=True, help="Simulated users that bots talk to.")
@click.option("--messages", default=150, show_default=True, help="Of each measurement of a server.")
@click.option("--clients", default=16, show_default=True, help="Of a server at once.")
@click.option("--played", default=640, show_default=True, help="Dialogues that tell the speed.")
@click.option("--repetitions", default=3, show_default=True, help="Of which the median counts.")
def main(out: Path, parts: Sequence[str], bots: Sequence[str], **sizes: Any) -> None:
    """This bot beside stock Rasa, a form and rules: training, accuracy, success and serving."""
    parts, bots = parts or PARTS, bots or BOTS
    console, folder = Console(), out.resolve()
    tasks = list(planned(folder, parts, bots, sizes))
    for number, task in enumerate(tasks, start=1):
        started = time.perf_counter()
        console.print(f"{number} of {len(tasks)}: {task.name} ...", end=" ")
        known = run(task, folder / "figures")
        seconds = time.perf_counter() - started
        console.print("known" if known else f"{seconds:,.0f} s")
    # What was measured with other sizes or of other bots is no part of this comparison.
    wanted = list(planned(folder, PARTS, bots, sizes))
    tables = list(report(measured(folder / "figures", wanted)))
    for title, columns, rows in tables:
        table = Table(*columns, title=title, title_justify="left")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    path = folder / "report.md"
    path.write_text(page(tables), encoding="utf-8")
    console.print(f"{machine()}; written to {path}")


def planned(
    folder: Path, parts: Sequence[str], bots: Sequence[str], sizes: Mapping[str, Any]
) -> Iterator[Task]:
    """What is to be measured, in order: servers at the end, as trainings keep a machine warm."""
    peers = "benchmarks.peers"
    # Bots that learnt something else lie elsewhere, so that what was measured of them is not taken for theirs.
    home = folder / f"bots-{sizes['dialogues']}-{sizes['epochs']}"
    archives = [f"--bot={bot}={home / bot / 'models' / bot}.tar.gz" for bot in bots]
    if "speed" in parts:
        counts = [f"--dialogues={sizes['played']}", f"--repetitions={sizes['repetitions']}"]
        yield Task("speed", ("benchmarks.speed", "--json", *counts))
    if {"train", "read", "talk", "serving"} & set(parts):
        learnt = [f"--dialogues={sizes['dialogues']}", f"--epochs={sizes['epochs']}"]
        for bot in bots:
            to = [f"--out={home}", f"--bot={bot}"]
            yield Task(f"train {bot}", (peers, "train", *to, *learnt))
    if "growth" in parts:
        for count in sizes["growth"]:
            to = [f"--out={folder / f'growth-{count}'}", f"--bot={_OURS}"]
            yield Task(f"growth {count}", (peers, "train", *to, f"--dialogues={count}"))
    for part, size in (("read", "recorded"), ("talk", "users")):
        for surface in _SURFACES if part in parts else ():
            asked = [f"--dialogues={sizes[size]}", f"--surface={surface}"]
            yield Task(f"{part} {surface}", (peers, part, *archives, *asked))
    if "serving" in parts:
        counts = [f"--{name}={sizes[name]}" for name in ("messages", "clients", "repetitions")]
        yield Task("serving", ("benchmarks.serving", "--json", *archives, *counts))


def run(task: Task, folder: Path) -> bool:
    """Makes a measurement unless the folder has it already; says whether it had."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{task.name}.json"
    if path.exists() and _read(path)["command"] == list(task.command):
        return True
    log = folder / f"{task.name}.log"
    with open(log, "wb") as errors:
        done = subprocess.run(
            [sys.executable, "-m", *task.command],
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    if done.returncode:
        raise click.ClickException(f"{' '.join(task.command)} failed; see {log}")
    lines = [line for line in done.stdout.decode().splitlines() if line.startswith("{")]
    result = {"command": list(task.command), "results": [json.loads(line) for line in lines]}
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)
    return False


def measured(folder: Path, tasks: Optional[Sequence[Task]] = None) -> Dict[str, List[Result]]:
    """The figures of a folder by the name of the task that made them: of these very tasks, or all."""
    found = {path.stem: _read(path) for path in sorted(folder.glob("*.json"))}
    if tasks is not None:
        wanted = {task.name: list(task.command) for task in tasks}
        found = {name: each for name, each in found.items() if wanted.get(name) == each["command"]}
    return {name: each["results"] for name, each in found.items()}


def report(figures: Mapping[str, List[Result]]) -> Iterator[Figures]:
    """The tables: ratios first, then what was measured."""
    trained = {r["bot"]: r for bot in BOTS for r in figures.get(f"train {bot}", [])}
    serving = (figures.get("serving") or [{}])[0]
    costs = {
        "processor_seconds": "processor seconds",
        "peak_memory_MB": "peak memory, MB",
        "archive_MB": "archive, MB",
    }
    if _OURS in trained and len(trained) > 1:
        ours = trained[_OURS]
        yield _by_bot(
            "Training, ratio to the hybrid bot",
            {bot: {key: row[key] / ours[key] for key in costs} for bot, row in trained.items()},
            costs,
        )
    if serving:
        yield _by_bot("Serving, ratio to the rules-only bot", serving["ratios_to_rules_only"])
    if trained:
        count = next(iter(trained.values()))["dialogues"]
        yield _by_bot(f"Training on {count:,} dialogues, measured", trained, costs)
    grown = [row for name in figures if name.startswith("growth ") for row in figures[name]]
    if grown:
        more = {"epoch_seconds": "seconds an epoch", **costs}
        rows = [
            (
                f"{row['dialogues']:,}",
                *(_number(row[key]) if key in row else "" for key in more),
            )
            for row in sorted(grown, key=lambda row: row["dialogues"])
        ]
        yield Figures("The hybrid bot on more dialogues", ("dialogues", *more.values()), rows)
    for part, title in (("read", "recorded dialogues"), ("talk", "simulated users, over REST")):
        for surface in _SURFACES:
            found = figures.get(f"{part} {surface}")
            if found:
                count = found[0]["dialogues"]
                yield _accuracy(f"{count} {title}, in the words of `{surface}`", found)
    if serving:
        yield _by_bot("Serving, measured", serving["figures"])
    for speed in figures.get("speed", ()):
        rows = [(_name(k), _number(v)) for k, v in speed.items() if isinstance(v, float)]
        yield Figures("Speed of learning and acting", ("measured", "figure"), rows)


def page(tables: Sequence[Figures]) -> str:
    """The tables as a Markdown page."""
    blocks: List[Block] = [Heading("Beside stock Rasa", level=1), Text(machine())]
    for title, columns, rows in tables:
        blocks += [Heading(title), document.Table(columns, rows)]
    return document.markdown(blocks)


def _by_bot(
    title: str, figures: Mapping[str, Result], names: Optional[Mapping[str, str]] = None
) -> Figures:
    """A row for each figure, a column for each bot."""
    bots = [bot for bot in (*BOTS, FLOOR) if bot in figures]
    names = names or {key: _name(key) for key in figures[bots[0]]}
    rows = [
        (name, *(_number(figures[bot].get(key)) for bot in bots)) for key, name in names.items()
    ]
    return Figures(title, ("", *bots), rows)


def _accuracy(title: str, found: Sequence[Result]) -> Figures:
    rows = []
    for key in ("success_rate", "joint_goal_accuracy", "act_accuracy", "average_turns"):
        if any(key in row for row in found):
            cells = (_with_interval(row, key) for row in found)
            rows.append((_name(key), *cells))
    return Figures(title, ("", *(row["bot"] for row in found)), rows)


def _with_interval(row: Result, key: str) -> str:
    if key not in row:
        return ""
    interval = row.get(f"{key}_interval") or row["intervals"].get(key)
    if interval is None:
        return f"{row[key]:.3g}"
    return f"{row[key]:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


def _name(key: str) -> str:
    return key.replace("_", " ")


def _number(value: Optional[float]) -> str:
    return "" if value is None else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"


def _read(path: Path) -> Dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
