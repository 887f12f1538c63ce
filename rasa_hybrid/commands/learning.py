"""Commands that learn from simulated users, and the paper's experiments: teach, reinforce, reproduce."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

import click

from rasa_hybrid.commands.terminal import (
    COUNT,
    FILE,
    NEW_DIRECTORY,
    Decorator,
    in_order,
    json_option,
    noise_options,
    preset_option,
    project_option,
    seed_option,
    set_option,
    settings_of,
    show,
    show_json,
    told,
)

#: Seed of the users that measure a model; others than those it learns from.
_MEASURE_SEED = 2**31 - 1

#: Options of `teach` and `reinforce`: with those of `_earlier` and `_curve` the arguments of `_practise`.
_lesson = in_order(
    project_option,
    click.option(
        "--model",
        required=True,
        type=click.Path(exists=True),
        help="What to start from: a Rasa archive (models/X.tar.gz), or a directory that --out wrote.",
    ),
    click.option("--episodes", required=True, type=COUNT, help="Dialogues to learn from."),
    click.option(
        "--out",
        required=True,
        type=click.Path(),
        help="The model that was learnt, in the same form.",
    ),
    click.option("--surface", default="extended-teach", help="Surface forms to learn on."),
    noise_options,
    seed_option(),
)
_curve = in_order(
    click.option(
        "--measure-every",
        type=COUNT,
        help="Dialogues between two points of the curve. [default: a tenth of --episodes]",
    ),
    click.option(
        "--measure-dialogues",
        default=100,
        type=COUNT,
        help="Simulated users of each point; five times as many before and after.",
    ),
    click.option(
        "--measure-surface",
        "measured_on",
        multiple=True,
        default=("extended-teach", "extended-test"),
        help="Surface forms of the curve.",
    ),
    set_option("Another setting of learning."),
    click.option(
        "--run",
        "run_directory",
        type=NEW_DIRECTORY,
        help="Directory of the run: curve and what is needed to go on after a kill. [default: OUT.run]",
    ),
    json_option,
)


def _earlier(what_for: str, corpus: str) -> Decorator:
    """Options of where the earlier dialogues come from."""
    simulated = f"Simulated dialogues in the words of `train` that {what_for}."
    return in_order(
        click.option("--earlier", default=2000, type=click.IntRange(min=0), help=simulated),
        click.option("--corpus", type=FILE, help=f"{corpus} (JSONL), instead of --earlier."),
    )


@click.command()
@_lesson
@click.option("--goal-only", is_flag=True, help="The teacher corrects the tracked goal alone.")
@click.option(
    "--beta",
    default=0.0,
    type=click.FloatRange(0, 1),
    help="Share of the first dialogues that the teacher leads; halved after every update.",
)
@_earlier("stand for the earlier corpus", "The earlier corpus itself")
@_curve
def teach(goal_only: bool, beta: float, seed: int, changes: List[str], **asked: Any) -> None:
    """Imitation learning: a simulated teacher corrects the model while it talks (Algorithm 1, lines 2-7).

    Started again after a kill it goes on where it was. It ends with what `evaluate --json` prints, before and after.
    """
    from rasa_hybrid.learning.imitation import ImitationSettings
    from rasa_hybrid.learning.practice import TeachingPractice

    def practice(start: Any, simulator: Any, dialogues: Any) -> Any:
        chosen = {"goal_only": goal_only, "beta": beta, "seed": seed, **settings_of(changes)}
        settings = ImitationSettings.from_mapping(chosen)
        return TeachingPractice(start, simulator, settings, dialogues)

    _practise(practice, seed, **asked)


@click.command()
@_lesson
@click.option("--policy-only", is_flag=True, help="Change the policy network alone.")
@preset_option("With what makes it stable, or the paper's setting to the letter.")
@_earlier("are mixed in with `supervised_weight`", "The dialogues to mix in")
@_curve
def reinforce(policy_only: bool, preset: str, seed: int, changes: List[str], **asked: Any) -> None:
    """REINFORCE: simulated users say at the end whether it worked (Algorithm 1, lines 8-12).

    Started again after a kill it goes on where it was. It ends with what `evaluate --json` prints, before and after.
    """
    from rasa_hybrid.learning.practice import FeedbackPractice
    from rasa_hybrid.learning.reinforce_settings import ReinforceSettings

    def practice(start: Any, simulator: Any, dialogues: Any) -> Any:
        chosen = {"preset": preset, "policy_only": policy_only, "seed": seed}
        settings = ReinforceSettings.from_mapping({**chosen, **settings_of(changes)})
        return FeedbackPractice(start, simulator, settings, dialogues)

    _practise(practice, seed, **asked)


def _practise(
    practice: Callable[[Any, Any, Any], Any],
    seed: int,
    project: str,
    model: str,
    episodes: int,
    out: str,
    surface: str,
    earlier: int,
    corpus: Optional[str],
    measure_every: Optional[int],
    measure_dialogues: int,
    measured_on: Sequence[str],
    run_directory: Optional[str],
    as_json: bool,
    **noise: Optional[float],
) -> None:
    """Learns from simulated users, with noise, measures meanwhile, without, and writes model, curve and figures."""
    from tqdm import tqdm

    from rasa_hybrid.corpora import read_jsonl
    from rasa_hybrid.dialogue import DomainFacts
    from rasa_hybrid.evaluation.curves import draw_curves, interact, measured, write_csv
    from rasa_hybrid.learning.practice import practise
    from rasa_hybrid.learning.simulated import TrainedModel, supervised_corpus
    from rasa_hybrid.model.checkpoint import check_form, load_model, save_model
    from rasa_hybrid.simulation import load_simulator, surface_names

    directory = Path(run_directory or f"{out}.run")
    started = time.perf_counter()
    rows: List[Any] = []
    learning_seconds = 0.0

    def write_curve(points: Any) -> None:
        write_csv(directory / "curve.csv", points)
        draw_curves(directory / "curve.png", points)

    with told(ValueError, OSError):
        check_form(out, model)
        start = TrainedModel(*load_model(model))
        original = surface_names(project)[0]
        simulators = {
            name: load_simulator(project, name)
            for name in dict.fromkeys((surface, *measured_on, original))
        }
        facts = DomainFacts.from_dict(start.extra["facts"])
        if corpus is not None:
            dialogues = [facts.harmonise(d) for d in read_jsonl(corpus)]
        else:
            corpus_seed = start.encoder.settings.seed
            dialogues = supervised_corpus(simulators[original], facts, earlier, corpus_seed)
        learning = practice(start, load_simulator(project, surface, noise=noise), dialogues)
        shown = {name: simulators[name] for name in measured_on}

        def measure(model: TrainedModel, done: int) -> List[Any]:
            new = measured(model, shown, measure_dialogues, _MEASURE_SEED, done)
            rows.extend(new)
            for row in new:
                tqdm.write(
                    f"{done} dialogues, {row['surface']}: success {row['success_rate']:.3f}, "
                    f"joint goal accuracy {row['joint_goal_accuracy']:.3f}",
                    file=sys.stderr,
                )
            write_curve(rows)
            return new

        with tqdm(total=episodes, desc="learning", unit="dlg", file=sys.stderr) as bar:

            def progress(done: int, figures: Dict[str, Any]) -> None:
                nonlocal learning_seconds
                learning_seconds += figures["seconds"]
                bar.update(done - bar.n)
                bar.set_postfix({k: f"{v:.3g}" for k, v in figures.items()})

            every = measure_every or max(episodes // 10, 1)
            learnt, points = practise(learning, episodes, directory, measure, every, progress, rows)
        write_curve(points)
        save_model(out, *learnt, like=model)
        users = 5 * measure_dialogues
        reports = {
            moment: {
                name: interact(talking, simulator, users, _MEASURE_SEED).to_dict()
                for name, simulator in simulators.items()
            }
            for moment, talking in (("before", start), ("after", learnt))
        }
    result = dict(reports["after"][surface])
    result.update(surface=surface, seed=seed)
    result["seconds"] = round(time.perf_counter() - started, 3)
    result["learning_seconds"] = round(learning_seconds, 3)
    kept = ("success_rate", "joint_goal_accuracy", "average_turns_successful")
    for moment, of_surface in reports.items():
        result[moment] = {
            name: {key: report[key] for key in kept} for name, report in of_surface.items()
        }
    show(result, as_json, f"{out} after {episodes} dialogues on {surface}")


@click.command()
@project_option
@click.option("--out", required=True, type=NEW_DIRECTORY, help="Directory for everything.")
@click.option("--quick", is_flag=True, help="Small numbers, in minutes: whether everything runs.")
@click.option(
    "--experiment",
    "experiment_file",
    type=FILE,
    help="Settings (YAML, as in benchmarks/experiments/) instead of the full run's.",
)
@click.option("--seeds", type=COUNT, help="Runs of everything. [default: 3, with --quick 1]")
@seed_option("The first seed.")
@click.option("--train-surface", default="train", help="Words of SL.")
@click.option("--teach-surface", default="extended-teach", help="Words of IL and RL.")
@click.option(
    "--test-surface",
    default="extended-test",
    help="Words that are only measured. Like the others a set of the project, or a file.",
)
@click.option(
    "--dstc2-test", type=FILE, help="DSTC2 file for table 1; `train` beside it is trained on."
)
@click.option(
    "--m2m-test", type=FILE, help="Google M2M file for table 1; `train` beside it is trained on."
)
@click.option(
    "--jobs",
    type=COUNT,
    help="Models that learn at once, on one core each.  [default: one a core]",
)
@json_option
def reproduce(
    project: str,
    out: str,
    quick: bool,
    experiment_file: Optional[str],
    seeds: Optional[int],
    seed: int,
    train_surface: str,
    teach_surface: str,
    test_surface: str,
    dstc2_test: Optional[str],
    m2m_test: Optional[str],
    jobs: Optional[int],
    as_json: bool,
) -> None:
    """Run the paper's experiments and write its tables and figures as a report (HTML, Markdown, PNG, CSV).

    Started again after a kill it goes on where it was.
    """
    from rasa_hybrid.evaluation.experiment import QUICK, Experiment, Surfaces
    from rasa_hybrid.evaluation.reproduce import reproduce as run

    if quick and experiment_file:
        raise click.UsageError("--quick is an experiment of its own: leave out --experiment.")
    started = time.perf_counter()

    def tell(line: str) -> None:
        click.echo(f"{time.perf_counter() - started:7.0f} s  {line}", err=True)

    with told(ValueError, OSError):
        experiment = QUICK if quick else Experiment()
        if experiment_file:
            experiment = Experiment.read(experiment_file)
        count = seeds or (1 if quick else 3)
        files = {"dstc2": dstc2_test, "m2m": m2m_test}
        result = run(
            out,
            project,
            experiment,
            range(seed, seed + count),
            Surfaces(train_surface, teach_surface, test_surface),
            {name: path for name, path in files.items() if path is not None},
            tell,
            jobs,
        )
    if as_json:
        show_json(result)
        return
    for row in result["comparisons"]:
        low, high = row["interval"]
        click.echo(
            f"{row['difference']:34} {row['surface']:6} {row['figure']:20} "
            f"{row['mean']:+.4f}  ({low:+.4f} to {high:+.4f})"
        )
    click.echo(f"Report: {Path(out) / 'report.html'}")
