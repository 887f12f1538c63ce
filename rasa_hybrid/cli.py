"""`rasa-hybrid`: what Rasa has no command for. Each subcommand imports what it needs when it is called."""
from __future__ import annotations

import json
import sys
import time
from typing import Any, Dict, Iterable, Iterator, List, Optional, TypeVar

import click

T = TypeVar("T")


@click.group()
@click.version_option(package_name="rasa-hybrid")
def main() -> None:
    """Rasa bots whose understanding, state tracking and policy are one model."""


def progress(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """`items` with a progress bar on stderr if that is a terminal."""
    from tqdm import tqdm

    return iter(tqdm(items, total=total, desc=what, unit="dlg", file=sys.stderr, disable=not sys.stderr.isatty()))


def show(result: Dict[str, Any], as_json: bool, title: str) -> None:
    """Prints a result on stdout: a table, or one JSON object."""
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False))
        return
    click.echo(title)
    for key, value in result.items():
        if not isinstance(value, (dict, list)) or key.endswith("interval"):
            click.echo(f"  {key.replace('_', ' '):28} {_readable(value)}")
    for key, value in result.items():
        if isinstance(value, dict):
            click.echo(f"  {key.replace('_', ' ')}")
            for name, entry in value.items():
                click.echo(f"    {name:26} {_readable(entry)}")


def _readable(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, (list, tuple)):
        return " ... ".join(_readable(part) for part in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_readable(part)}" for key, part in value.items())
    return "-" if value is None else str(value)


_project = click.option(
    "--project", default=".", show_default=True, type=click.Path(exists=True), help="Directory of the Rasa project."
)
_surface = click.option(
    "--surface",
    default="train",
    show_default=True,
    help="Surface forms: train, extended-teach, extended-test, a YAML file of templates, or a Google M2M JSON file.",
)
_seed = click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Repeats a run.")
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
_profile = click.option("--profile", "profiles", multiple=True, help="Use only this profile (can be given again).")
_batch_size = click.option(
    "--batch-size", default=128, show_default=True, type=click.IntRange(min=1), help="Dialogues at once."
)
_drop = click.option("--word-drop", type=click.FloatRange(0, 1), help="Probability of a word to be lost.")
_confuse = click.option("--word-confusion", type=click.FloatRange(0, 1), help="Probability of a word to be confused.")
_n_best = click.option("--n-best", type=click.IntRange(0, 20), help="Length of the recogniser's n-best list.")


def _noise(**values: Optional[float]) -> Dict[str, float]:
    return {key: value for key, value in values.items() if value is not None}


@main.command()
@_project
@click.option("--dialogues", default=1000, show_default=True, type=click.IntRange(min=1), help="How many.")
@_surface
@_seed
@click.option("--out", required=True, type=click.Path(), help="Corpus file; with --format rasa a directory.")
@click.option(
    "--format",
    "form",
    default="jsonl",
    show_default=True,
    type=click.Choice(["jsonl", "rasa"]),
    help="Our corpus format, or Rasa stories.yml and nlu.yml.",
)
@_profile
@_batch_size
@_drop
@_confuse
@_n_best
@_json
def simulate(
    project: str,
    dialogues: int,
    surface: str,
    seed: int,
    out: str,
    form: str,
    profiles: List[str],
    batch_size: int,
    word_drop: Optional[float],
    word_confusion: Optional[float],
    n_best: Optional[int],
    as_json: bool,
) -> None:
    """Make a corpus: simulated users talk to the rule-based expert."""
    from rasa_hybrid.corpora import write_jsonl
    from rasa_hybrid.simulation import SimulatorError, load_simulator, self_play
    from rasa_hybrid.simulation.rasa_export import write_rasa
    from rasa_hybrid.simulation.statistics import CorpusStatistics

    try:
        noise = _noise(word_drop=word_drop, word_confusion=word_confusion, n_best=n_best)
        simulator = load_simulator(project, surface, list(profiles) or None, noise)
        statistics = CorpusStatistics()
        started = time.perf_counter()
        corpus = self_play(simulator, dialogues, seed, batch_size)
        counted = (statistics.add(dialogue) for dialogue in progress(corpus, dialogues, "simulating"))
        if form == "jsonl":
            write_jsonl(out, counted)
        else:
            write_rasa(out, counted, simulator.synonyms())
    except (SimulatorError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    result = {**statistics.to_dict(), "surface": surface, "seed": seed, "seconds": round(time.perf_counter() - started, 3)}
    show(result, as_json, f"{dialogues} dialogues of the expert with simulated users in {out}")


if __name__ == "__main__":
    main()
