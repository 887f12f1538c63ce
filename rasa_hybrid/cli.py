"""`rasa-hybrid`: what Rasa has no command for. Each subcommand imports what it needs when it is called."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
)

import click

from rasa_hybrid.feedback_commands import COMMANDS

T = TypeVar("T")


@click.group()
@click.version_option(package_name="rasa-hybrid")
def main() -> None:
    """Rasa bots whose understanding, state tracking and policy are one model."""


def progress(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """`items` with a progress bar on stderr if that is a terminal."""
    from tqdm import tqdm

    return iter(
        tqdm(
            items,
            total=total,
            desc=what,
            unit="dlg",
            file=sys.stderr,
            disable=not sys.stderr.isatty(),
        )
    )


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
    "--project",
    default=".",
    show_default=True,
    type=click.Path(exists=True),
    help="Directory of the Rasa project.",
)
_surface = click.option(
    "--surface",
    default="train",
    show_default=True,
    help="Surface forms: train, extended-teach, extended-test, a YAML file of templates, or a Google M2M JSON file.",
)
_seed = click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Repeats a run."
)
_json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object instead of a table."
)
_profile = click.option(
    "--profile", "profiles", multiple=True, help="Use only this profile (can be given again)."
)
_batch_size = click.option(
    "--batch-size",
    default=128,
    show_default=True,
    type=click.IntRange(min=1),
    help="Dialogues at once.",
)
_drop = click.option(
    "--word-drop", type=click.FloatRange(0, 1), help="Probability of a word to be lost."
)
_confuse = click.option(
    "--word-confusion", type=click.FloatRange(0, 1), help="Probability of a word to be confused."
)
_n_best = click.option(
    "--n-best", type=click.IntRange(0, 20), help="Length of the recogniser's n-best list."
)


def _noise(**values: Optional[float]) -> Dict[str, float]:
    return {key: value for key, value in values.items() if value is not None}


@main.command()
@_project
@click.option(
    "--dialogues", default=1000, show_default=True, type=click.IntRange(min=1), help="How many."
)
@_surface
@_seed
@click.option(
    "--out", required=True, type=click.Path(), help="Corpus file; with --format rasa a directory."
)
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
        counted = (
            statistics.add(dialogue) for dialogue in progress(corpus, dialogues, "simulating")
        )
        if form == "jsonl":
            write_jsonl(out, counted)
        else:
            write_rasa(out, counted, simulator.synonyms())
    except (SimulatorError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    result = {
        **statistics.to_dict(),
        "surface": surface,
        "seed": seed,
        "seconds": round(time.perf_counter() - started, 3),
    }
    show(result, as_json, f"{dialogues} dialogues of the expert with simulated users in {out}")


@main.command()
@_project
@click.option(
    "--model",
    help="Model archive (models/X.tar.gz), directory of a model, or `expert` for the rule-based expert.",
)
@click.option("--url", help="A running Rasa server (`rasa run --enable-api`) instead of a model.")
@click.option("--token", help="The server's --auth-token.")
@click.option(
    "--dialogues",
    type=click.IntRange(min=1),
    help="How many simulated users to talk to. [default: 1000]",
)
@click.option(
    "--corpus",
    type=click.Path(exists=True),
    help="Recorded dialogues to follow, instead of talking.",
)
@_surface
@_seed
@_profile
@_batch_size
@_drop
@_confuse
@_n_best
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    help="Corpus file for the dialogues, e.g. to have them judged; with --url they hold the bot's words.",
)
@click.option("--worst", type=click.Path(), help="File for the worst dialogues, written out.")
@click.option(
    "--worst-count",
    default=20,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many of them.",
)
@_json
def evaluate(
    project: str,
    model: Optional[str],
    url: Optional[str],
    token: Optional[str],
    dialogues: Optional[int],
    corpus: Optional[str],
    surface: str,
    seed: int,
    profiles: List[str],
    batch_size: int,
    word_drop: Optional[float],
    word_confusion: Optional[float],
    n_best: Optional[int],
    out: Optional[str],
    worst: Optional[str],
    worst_count: int,
    as_json: bool,
) -> None:
    """Measure a model, the expert or a running server with simulated users or on a corpus."""
    from pathlib import Path

    from rasa_hybrid.corpora import read_jsonl, write_jsonl
    from rasa_hybrid.evaluation.interaction import InteractionReport, corpus_report
    from rasa_hybrid.simulation import Environment, SideEffects, load_simulator
    from rasa_hybrid.simulation.rasa_server import ServerError

    if (model is None) == (url is None):
        raise click.UsageError("Name either --model or --url.")
    if corpus is not None and any(given is not None for given in (dialogues, url, out, worst)):
        raise click.UsageError(
            "--corpus follows recorded dialogues; it goes with --model, not with --dialogues, --url, --out, --worst."
        )
    try:
        noise = _noise(word_drop=word_drop, word_confusion=word_confusion, n_best=n_best)
        simulator = load_simulator(project, surface, list(profiles) or None, noise)
        side_effects = SideEffects(simulator.flow)
        started = time.perf_counter()
        agent = _agent(project, model, url, token, simulator, side_effects)
        count = dialogues or 1000
        if corpus is not None:
            if not hasattr(agent, "read"):
                raise click.ClickException(
                    f"{model} can't follow recorded dialogues; use --dialogues."
                )
            recorded = list(read_jsonl(corpus))
            result = corpus_report(simulator.slots, recorded, agent.read(recorded))
        else:
            report = InteractionReport(simulator.slots, worst_count if worst else 0)
            environment = Environment(simulator, agent, side_effects, label=True)
            rollouts = environment.rollouts(count, seed, batch_size)

            def talks() -> Iterator[Any]:
                for rollout in progress(rollouts, count, "talking"):
                    report.add(rollout)
                    yield rollout.dialogue

            if out:
                write_jsonl(out, talks())
            else:
                for _ in talks():
                    pass
            result = report.to_dict()
            if worst:
                Path(worst).write_text("\n\n".join(report.worst()) + "\n", encoding="utf-8")
    except (ValueError, OSError, ServerError) as error:
        raise click.ClickException(str(error)) from error
    result.update(
        surface=corpus or surface, seed=seed, seconds=round(time.perf_counter() - started, 3)
    )
    show(result, as_json, f"{model or url} on {corpus or surface}")


def _agent(
    project: str,
    model: Optional[str],
    url: Optional[str],
    token: Optional[str],
    simulator: Any,
    side_effects: Any,
) -> Any:
    """Who plays the system: the expert, a server, or a trained model."""
    if url is not None:
        from rasa_hybrid.simulation.rasa_server import RasaServerAgent

        return RasaServerAgent(url, simulator, side_effects, token)
    if model == "expert":
        from rasa_hybrid.simulation import Expert

        return Expert(simulator.flow, simulator.catalogue, side_effects)
    from rasa_hybrid.learning.agent import load_agent

    assert model is not None
    return load_agent(model, simulator, side_effects)


@main.command()
@click.option(
    "--dataset", required=True, type=click.Choice(["dstc2", "m2m"]), help="Format of the files."
)
@click.option("--train", required=True, type=click.Path(exists=True), help="To learn from.")
@click.option("--dev", required=True, type=click.Path(exists=True), help="To choose the epoch by.")
@click.option("--test", required=True, type=click.Path(exists=True), help="To score on, no more.")
@click.option(
    "--preset",
    default="default",
    show_default=True,
    type=click.Choice(["default", "liu2018"]),
    help="Our model, or the paper's.",
)
@click.option(
    "--seeds", default=3, show_default=True, type=click.IntRange(min=1), help="Trackers to train."
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(min=0), help="The first seed."
)
@click.option(
    "--candidates",
    "candidates_file",
    type=click.Path(exists=True, dir_okay=False),
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
    show_default=True,
    type=click.Choice(["recognised", "transcribed"]),
    help="The users' words in DSTC2's original layout, of --test; the others are transcribed.",
)
@click.option(
    "--n-best",
    type=click.IntRange(1, 20),
    help="Hypotheses that are read, in training from simulated lists. [default: 3 if --test has lists, else 1]",
)
@click.option(
    "--mishear",
    type=click.FloatRange(0, 0.9),
    help="Word error rate of a simulated recogniser that the test dialogues go through.",
)
@click.option(
    "--set", "changes", multiple=True, metavar="NAME=VALUE", help="Another setting of the model."
)
@click.option("--save", type=click.Path(file_okay=False), help="Directory for the trackers.")
@click.option(
    "--trackers",
    type=click.Path(exists=True, file_okay=False),
    help="Directory that --save wrote: its trackers are scored, and nothing is trained.",
)
@_json
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
    n_best: Optional[int],
    mishear: Optional[float],
    changes: List[str],
    save: Optional[str],
    trackers: Optional[str],
    as_json: bool,
) -> None:
    """Train belief trackers on a public corpus and score them."""
    from rasa_hybrid.corpora.catalogue import read_catalogue
    from rasa_hybrid.learning import tracking_experiment as experiment
    from rasa_hybrid.learning.tracking import TrackingPlan, tracking_settings

    try:
        chosen = dict(_setting(change) for change in changes)
        if no_candidates:
            chosen["candidates"] = False
        dialogues = experiment.Splits(
            experiment.read_dataset(dataset, train, "transcribed"),
            experiment.read_dataset(dataset, dev, "transcribed"),
            experiment.read_dataset(dataset, test, words),
        )
        if preset != "liu2018":
            several = 3 if experiment.has_n_best(dialogues.test) else 1
            chosen.setdefault("n_best_hypotheses", n_best or several)
        slots = experiment.goal_slots(dialogues.train)
        plan = TrackingPlan(
            tracking_settings(preset, **chosen),
            read_catalogue(candidates_file, slots) if candidates_file else {},
            noise=not no_noise,
            synonyms=not no_synonyms,
            substitution=not no_substitution,
            spans=not no_spans,
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
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    named = {"dataset": dataset, "preset": preset, "seeds": seeds}
    show({**named, **result}, as_json, f"{preset} on {test}")


_model = click.option(
    "--model",
    required=True,
    type=click.Path(exists=True),
    help="What to start from: a Rasa archive (models/X.tar.gz), or a directory that --out wrote.",
)
_out = click.option(
    "--out", required=True, type=click.Path(), help="The model that was learnt, in the same form."
)
_run_directory = click.option(
    "--run",
    "run_directory",
    type=click.Path(file_okay=False),
    help="Directory of the run: curve and what is needed to go on after a kill. [default: OUT.run]",
)
_episodes = click.option(
    "--episodes", required=True, type=click.IntRange(min=1), help="Dialogues to learn from."
)
_learning_surface = click.option(
    "--surface", default="extended-teach", show_default=True, help="Surface forms to learn on."
)
_measure_every = click.option(
    "--measure-every",
    type=click.IntRange(min=1),
    help="Dialogues between two points of the curve. [default: a tenth of --episodes]",
)
_measure_dialogues = click.option(
    "--measure-dialogues",
    default=100,
    show_default=True,
    type=click.IntRange(min=1),
    help="Simulated users of each point; five times as many before and after.",
)
_measure_surface = click.option(
    "--measure-surface",
    "measured_on",
    multiple=True,
    default=("extended-teach", "extended-test"),
    show_default=True,
    help="Surface forms of the curve.",
)
_set = click.option(
    "--set", "changes", multiple=True, metavar="NAME=VALUE", help="Another setting of learning."
)


@main.command()
@_project
@_model
@_episodes
@_out
@_learning_surface
@_seed
@click.option("--goal-only", is_flag=True, help="The teacher corrects the tracked goal alone.")
@click.option(
    "--beta",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of the first dialogues that the teacher leads; halved after every update.",
)
@click.option(
    "--earlier",
    default=2000,
    show_default=True,
    type=click.IntRange(min=0),
    help="Simulated dialogues in the words of `train` that stand for the earlier corpus.",
)
@click.option(
    "--corpus",
    type=click.Path(exists=True, dir_okay=False),
    help="The earlier corpus itself (JSONL), instead of --earlier.",
)
@_measure_every
@_measure_dialogues
@_measure_surface
@_set
@_run_directory
@_json
def teach(
    project: str,
    model: str,
    episodes: int,
    out: str,
    surface: str,
    seed: int,
    goal_only: bool,
    beta: float,
    earlier: int,
    corpus: Optional[str],
    measure_every: Optional[int],
    measure_dialogues: int,
    measured_on: Tuple[str, ...],
    changes: List[str],
    run_directory: Optional[str],
    as_json: bool,
) -> None:
    """Imitation learning: a simulated teacher corrects the model while it talks (Algorithm 1, lines 2-7).

    Started again after a kill it goes on where it was. It ends with what `evaluate --json` prints, before and after.
    """
    from rasa_hybrid.learning.imitation import ImitationSettings
    from rasa_hybrid.learning.practice import TeachingPractice

    def practice(start: Any, simulator: Any, dialogues: Any) -> Any:
        chosen = {"goal_only": goal_only, "beta": beta, "seed": seed}
        settings = ImitationSettings.from_mapping({**chosen, **dict(map(_setting, changes))})
        return TeachingPractice(start, simulator, settings, dialogues)

    asked = _Lesson(project, model, episodes, out, surface, seed, earlier, corpus)
    _practise(
        asked, practice, measure_every, measure_dialogues, measured_on, run_directory, as_json
    )


@main.command()
@_project
@_model
@_episodes
@_out
@_learning_surface
@_seed
@click.option("--policy-only", is_flag=True, help="Change the policy network alone.")
@click.option(
    "--preset",
    default="default",
    show_default=True,
    type=click.Choice(["default", "liu2018"]),
    help="With what makes it stable, or the paper's setting to the letter.",
)
@click.option(
    "--earlier",
    default=2000,
    show_default=True,
    type=click.IntRange(min=0),
    help="Simulated dialogues in the words of `train` that are mixed in with `supervised_weight`.",
)
@click.option(
    "--corpus",
    type=click.Path(exists=True, dir_okay=False),
    help="The dialogues to mix in (JSONL), instead of --earlier.",
)
@_measure_every
@_measure_dialogues
@_measure_surface
@_set
@_run_directory
@_json
def reinforce(
    project: str,
    model: str,
    episodes: int,
    out: str,
    surface: str,
    seed: int,
    policy_only: bool,
    preset: str,
    earlier: int,
    corpus: Optional[str],
    measure_every: Optional[int],
    measure_dialogues: int,
    measured_on: Tuple[str, ...],
    changes: List[str],
    run_directory: Optional[str],
    as_json: bool,
) -> None:
    """REINFORCE: simulated users say at the end whether it worked (Algorithm 1, lines 8-12).

    Started again after a kill it goes on where it was. It ends with what `evaluate --json` prints, before and after.
    """
    from rasa_hybrid.learning.practice import FeedbackPractice
    from rasa_hybrid.learning.reinforce import ReinforceSettings

    def practice(start: Any, simulator: Any, dialogues: Any) -> Any:
        chosen = {"preset": preset, "policy_only": policy_only, "seed": seed}
        settings = ReinforceSettings.from_mapping({**chosen, **dict(map(_setting, changes))})
        return FeedbackPractice(start, simulator, settings, dialogues)

    asked = _Lesson(project, model, episodes, out, surface, seed, earlier, corpus)
    _practise(
        asked, practice, measure_every, measure_dialogues, measured_on, run_directory, as_json
    )


@main.command()
@_project
@click.option(
    "--out", required=True, type=click.Path(file_okay=False), help="Directory for everything."
)
@click.option("--quick", is_flag=True, help="Small numbers, in minutes: whether everything runs.")
@click.option(
    "--experiment",
    "experiment_file",
    type=click.Path(exists=True, dir_okay=False),
    help="Settings (YAML, as in benchmarks/experiments/) instead of the full run's.",
)
@click.option(
    "--seeds", type=click.IntRange(min=1), help="Runs of everything. [default: 3, with --quick 1]"
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(min=0), help="The first seed."
)
@click.option("--train-surface", default="train", show_default=True, help="Words of SL.")
@click.option(
    "--teach-surface", default="extended-teach", show_default=True, help="Words of IL and RL."
)
@click.option(
    "--test-surface",
    default="extended-test",
    show_default=True,
    help="Words that are only measured. Like the others a set of the project, or a file.",
)
@click.option(
    "--dstc2-test",
    type=click.Path(exists=True, dir_okay=False),
    help="DSTC2 file for table 1; `train` beside it is trained on.",
)
@click.option(
    "--m2m-test",
    type=click.Path(exists=True, dir_okay=False),
    help="Google M2M file for table 1; `train` beside it is trained on.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Models that learn at once, on one core each.  [default: one a core]",
)
@_json
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
    from pathlib import Path

    from rasa_hybrid.evaluation.experiment import QUICK, Experiment, Surfaces
    from rasa_hybrid.evaluation.reproduce import reproduce as run

    if quick and experiment_file:
        raise click.UsageError("--quick is an experiment of its own: leave out --experiment.")
    started = time.perf_counter()

    def tell(line: str) -> None:
        click.echo(f"{time.perf_counter() - started:7.0f} s  {line}", err=True)

    try:
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
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False))
        return
    for row in result["comparisons"]:
        low, high = row["interval"]
        click.echo(
            f"{row['difference']:34} {row['surface']:6} {row['figure']:20} "
            f"{row['mean']:+.4f}  ({low:+.4f} to {high:+.4f})"
        )
    click.echo(f"Report: {Path(out) / 'report.html'}")


class _Lesson(NamedTuple):
    """What `teach` and `reinforce` are both asked for."""

    project: str
    model: str
    episodes: int
    out: str
    surface: str
    seed: int
    earlier: int
    corpus: Optional[str]


#: Seed of the users that measure a model; others than those it learns from.
_MEASURE_SEED = 2**31 - 1


def _practise(
    asked: _Lesson,
    practice: Callable[[Any, Any, Any], Any],
    measure_every: Optional[int],
    measure_dialogues: int,
    measured_on: Sequence[str],
    run_directory: Optional[str],
    as_json: bool,
) -> None:
    """Learns from simulated users, measures meanwhile, and writes model, curve and figures."""
    from pathlib import Path

    from tqdm import tqdm

    from rasa_hybrid.corpora import read_jsonl
    from rasa_hybrid.dialogue import DomainFacts
    from rasa_hybrid.evaluation.curves import draw_curves, interact, measured, write_csv
    from rasa_hybrid.learning.practice import practise
    from rasa_hybrid.learning.simulated import TrainedModel, supervised_corpus
    from rasa_hybrid.model.checkpoint import check_form, load_model, save_model
    from rasa_hybrid.simulation import load_simulator, surface_names

    directory = Path(run_directory or f"{asked.out}.run")
    started = time.perf_counter()
    try:
        check_form(asked.out, asked.model)
        start = TrainedModel(*load_model(asked.model))
        original = surface_names(asked.project)[0]
        simulators = {
            name: load_simulator(asked.project, name)
            for name in dict.fromkeys((asked.surface, *measured_on, original))
        }
        facts = DomainFacts.from_dict(start.extra["facts"])
        if asked.corpus is not None:
            dialogues = [facts.harmonise(d) for d in read_jsonl(asked.corpus)]
        else:
            corpus_seed = start.encoder.settings.seed
            dialogues = supervised_corpus(simulators[original], facts, asked.earlier, corpus_seed)
        learning = practice(start, simulators[asked.surface], dialogues)
        shown = {name: simulators[name] for name in measured_on}
        rows: List[Any] = []
        learning_seconds = 0.0

        def measure(model: TrainedModel, done: int) -> List[Any]:
            new = measured(model, shown, measure_dialogues, _MEASURE_SEED, done)
            rows.extend(new)
            for row in new:
                tqdm.write(
                    f"{done} dialogues, {row['surface']}: success {row['success_rate']:.3f}, "
                    f"joint goal accuracy {row['joint_goal_accuracy']:.3f}",
                    file=sys.stderr,
                )
            _write_curve(directory, rows, write_csv, draw_curves)
            return new

        with tqdm(total=asked.episodes, desc="learning", unit="dlg", file=sys.stderr) as bar:

            def progress(done: int, figures: Dict[str, Any]) -> None:
                nonlocal learning_seconds
                learning_seconds += figures["seconds"]
                bar.update(done - bar.n)
                bar.set_postfix({k: f"{v:.3g}" for k, v in figures.items()})

            every = measure_every or max(asked.episodes // 10, 1)
            learnt, points = practise(
                learning, asked.episodes, directory, measure, every, progress, rows
            )
        _write_curve(directory, points, write_csv, draw_curves)
        save_model(asked.out, *learnt, like=asked.model)
        count = 5 * measure_dialogues
        reports = {
            moment: {
                name: interact(model, simulators[name], count, asked.seed).to_dict()
                for name in dict.fromkeys((asked.surface, *measured_on, original))
            }
            for moment, model in (("before", start), ("after", learnt))
        }
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    result = dict(reports["after"][asked.surface])
    result.update(surface=asked.surface, seed=asked.seed)
    result["seconds"] = round(time.perf_counter() - started, 3)
    result["learning_seconds"] = round(learning_seconds, 3)
    for moment, of_surface in reports.items():
        result[moment] = {
            name: {
                key: report[key]
                for key in ("success_rate", "joint_goal_accuracy", "average_turns_successful")
            }
            for name, report in of_surface.items()
        }
    show(result, as_json, f"{asked.out} after {asked.episodes} dialogues on {asked.surface}")


def _write_curve(directory: Any, rows: Any, write_csv: Any, draw_curves: Any) -> None:
    write_csv(directory / "curve.csv", rows)
    draw_curves(directory / "curve.png", rows)


def _setting(change: str) -> Tuple[str, Any]:
    """Name and value of `NAME=VALUE`; the value is JSON, or else a text."""
    name, equals, value = change.partition("=")
    if not equals:
        raise click.UsageError(f"--set {change}: NAME=VALUE is expected.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


for _command in COMMANDS:
    main.add_command(_command)

if __name__ == "__main__":
    main()
