"""Commands that let simulated users talk: simulate, evaluate."""

from __future__ import annotations

import time
from typing import Any, Iterator, List, Optional

import click

from rasa_hybrid.commands.terminal import (
    COUNT,
    NEW_FILE,
    in_order,
    json_option,
    noise_options,
    progress,
    project_option,
    seed_option,
    show,
    told,
)

_surface = click.option(
    "--surface",
    default="train",
    help="Surface forms: train, extended-teach, extended-test, a YAML file of templates, or a Google M2M JSON file.",
)
_users = in_order(
    click.option(
        "--profile",
        "profiles",
        multiple=True,
        help="Use only this profile (can be given again).",
    ),
    click.option("--batch-size", default=128, type=COUNT, help="Dialogues at once."),
    noise_options,
)


@click.command()
@project_option
@click.option("--dialogues", default=1000, type=COUNT, help="How many.")
@_surface
@seed_option()
@click.option(
    "--out", required=True, type=click.Path(), help="Corpus file; with --format rasa a directory."
)
@click.option(
    "--format",
    "form",
    default="jsonl",
    type=click.Choice(["jsonl", "rasa"]),
    help="Our corpus format, or Rasa stories.yml and nlu.yml.",
)
@_users
@json_option
def simulate(
    project: str,
    dialogues: int,
    surface: str,
    seed: int,
    out: str,
    form: str,
    profiles: List[str],
    batch_size: int,
    as_json: bool,
    **noise: Optional[float],
) -> None:
    """Make a corpus: simulated users talk to the rule-based expert."""
    from rasa_hybrid.corpora import write_jsonl
    from rasa_hybrid.simulation import load_simulator, self_play
    from rasa_hybrid.simulation.rasa_export import write_rasa
    from rasa_hybrid.simulation.statistics import CorpusStatistics

    with told(ValueError, OSError):
        simulator = load_simulator(project, surface, profiles or None, noise)
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
    seconds = round(time.perf_counter() - started, 3)
    result = {**statistics.to_dict(), "surface": surface, "seed": seed, "seconds": seconds}
    show(result, as_json, f"{dialogues} dialogues of the expert with simulated users in {out}")


@click.command()
@project_option
@click.option(
    "--model",
    help="Model archive (models/X.tar.gz), directory of a model, or `expert` for the rule-based expert.",
)
@click.option("--url", help="A running Rasa server (`rasa run --enable-api`) instead of a model.")
@click.option("--token", help="The server's --auth-token.")
@click.option(
    "--dialogues", type=COUNT, help="How many simulated users to talk to. [default: 1000]"
)
@click.option(
    "--corpus",
    type=click.Path(exists=True),
    help="Recorded dialogues to follow, instead of talking.",
)
@_surface
@seed_option()
@_users
@click.option(
    "--out",
    type=NEW_FILE,
    help="Corpus file for the dialogues, e.g. to have them judged; with --url they hold the bot's words.",
)
@click.option("--worst", type=click.Path(), help="File for the worst dialogues, written out.")
@click.option("--worst-count", default=20, type=COUNT, help="How many of them.")
@json_option
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
    out: Optional[str],
    worst: Optional[str],
    worst_count: int,
    as_json: bool,
    **noise: Optional[float],
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
    with told(ValueError, OSError, ServerError):
        simulator = load_simulator(project, surface, profiles or None, noise)
        side_effects = SideEffects(simulator.flow)
        started = time.perf_counter()
        agent = _agent(model, url, token, simulator, side_effects)
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
    seconds = round(time.perf_counter() - started, 3)
    result.update(surface=corpus or surface, seed=seed, seconds=seconds)
    show(result, as_json, f"{model or url} on {corpus or surface}")


def _agent(
    model: Optional[str], url: Optional[str], token: Optional[str], simulator: Any, effects: Any
) -> Any:
    """Who plays the system: the expert, a server, or a trained model."""
    if url is not None:
        from rasa_hybrid.simulation.rasa_server import RasaServerAgent

        return RasaServerAgent(url, simulator, effects, token)
    if model == "expert":
        from rasa_hybrid.simulation import Expert

        return Expert(simulator.flow, simulator.catalogue, effects)
    from rasa_hybrid.learning.agent import load_agent

    assert model is not None
    return load_agent(model, simulator, effects)
