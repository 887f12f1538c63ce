"""The command that trains belief trackers on public corpora: track."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import List, Optional

import click

from rasa_hybrid.commands.terminal import (
    COUNT,
    DIRECTORY,
    FILE,
    NEW_DIRECTORY,
    json_option,
    preset_option,
    seed_option,
    set_option,
    settings_of,
    show,
    told,
)

_CORPUS = click.Path(exists=True)


@click.command()
@click.option(
    "--dataset", required=True, type=click.Choice(["dstc2", "m2m"]), help="Format of the files."
)
@click.option("--train", required=True, type=_CORPUS, help="To learn from.")
@click.option("--dev", required=True, type=_CORPUS, help="To choose the epoch by.")
@click.option("--test", required=True, type=_CORPUS, help="To score on, no more.")
@preset_option("Our model, or the paper's.")
@click.option("--seeds", default=3, type=COUNT, help="Trackers to train.")
@seed_option("The first seed.")
@click.option(
    "--candidates",
    "candidates_file",
    type=FILE,
    help="Values that slots can have: CSV, JSON or YAML. Without: those of the training labels and what is said.",
)
@click.option("--no-candidates", is_flag=True, help="Choose from the training labels' values.")
@click.option("--no-noise", is_flag=True, help="No copies with recognition errors.")
@click.option("--no-synonyms", is_flag=True, help="No other words for values.")
@click.option("--no-substitution", is_flag=True, help="No copies about other values.")
@click.option("--no-spans", is_flag=True, help="Only listed values, not what the tagger finds.")
@click.option(
    "--words",
    default="recognised",
    type=click.Choice(["recognised", "transcribed"]),
    help="The users' words in DSTC2's original layout, of --test.",
)
@click.option(
    "--train-words",
    default="transcribed",
    type=click.Choice(["recognised", "transcribed"]),
    help="The same of --train and --dev. Recognised words have errors and n-best lists of their own: none are simulated.",
)
@click.option(
    "--n-best",
    type=click.IntRange(1, 20),
    help="Hypotheses that are read, in training from simulated lists if it has none. [default: 3 if --test or --train has lists, else 1]",
)
@click.option(
    "--mishear",
    type=click.FloatRange(0, 0.9),
    help="Word error rate of simulated recognisers; the test dialogues go through three of them.",
)
@set_option("Another setting of the model.")
@click.option("--save", type=NEW_DIRECTORY, help="Directory for the trackers.")
@click.option(
    "--trackers",
    type=DIRECTORY,
    help="Directory that --save wrote: its trackers are scored, and nothing is trained.",
)
@json_option
def track(
    dataset: str,
    train: str,
    dev: str,
    test: str,
    preset: str,
    seeds: int,
    seed: int,
    candidates_file: Optional[str],
    no_candidates: bool,
    no_noise: bool,
    no_synonyms: bool,
    no_substitution: bool,
    no_spans: bool,
    words: str,
    train_words: str,
    n_best: Optional[int],
    mishear: Optional[float],
    changes: List[str],
    save: Optional[str],
    trackers: Optional[str],
    as_json: bool,
) -> None:
    """Train belief trackers on a public corpus and score them."""
    from rasa_hybrid.evaluation import tracking_experiment as experiment
    from rasa_hybrid.learning.tracking import TrackingPlan, tracking_settings

    if n_best is not None and preset == "liu2018":
        raise click.UsageError(
            "--n-best: the paper's model (--preset liu2018) reads no n-best list."
        )
    is_heard = train_words == "recognised"
    if is_heard and (dataset != "dstc2" or not (Path(train).is_dir() or train.endswith(".flist"))):
        raise click.UsageError("--train-words: only DSTC2's original layout has recognised words.")
    with told(ValueError, OSError):
        chosen = settings_of(changes)
        if no_candidates:
            chosen["candidates"] = False
        dialogues = experiment.Splits(
            experiment.read_dataset(dataset, train, train_words),
            experiment.read_dataset(dataset, dev, train_words),
            experiment.read_dataset(dataset, test, words),
        )
        if preset != "liu2018":
            chosen.setdefault("n_best_hypotheses", n_best or experiment.hypotheses(dialogues))
        slots = experiment.goal_slots(dialogues.train)
        plan = TrackingPlan(
            tracking_settings(preset, **chosen),
            experiment.read_values(dataset, candidates_file, slots) if candidates_file else {},
            noise=not no_noise and not is_heard,
            synonyms=not no_synonyms,
            substitution=not no_substitution,
            spans=not no_spans,
            transcripts=experiment.read_dataset(dataset, train, "transcribed") if is_heard else (),
        )
        if mishear is not None:
            heard = experiment.misheard(dialogues.test, dialogues.train, mishear)
            dialogues = replace(dialogues, test=heard)
        result = experiment.run_tracking(
            plan,
            dialogues,
            range(seed, seed + seeds),
            lambda line: click.echo(line, err=True),
            experiment.save_trackers(save) if save else None,
            experiment.load_trackers(trackers) if trackers else None,
        )
    named = {"dataset": dataset, "preset": preset, "seeds": seeds}
    show({**named, **result}, as_json, f"{preset} on {test}")
