"""Commands about real feedback: collect, learn, rollback, serve-models, report, forget."""

from __future__ import annotations

import os
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, List, Optional

import click

from rasa_hybrid.commands.store import listen_options, opened, serve, store_option
from rasa_hybrid.commands.terminal import (
    COUNT,
    DIRECTORY,
    FILE,
    NEW_DIRECTORY,
    NEW_FILE,
    Decorator,
    in_order,
    json_option,
    show,
    show_json,
    show_table,
    told,
)

_out = click.option(
    "--out",
    required=True,
    type=NEW_DIRECTORY,
    help="Folder of the models; `rasa run -m` may point to it.",
)


def _look_again(at: str, once: str) -> Decorator:
    """Options of a command that goes on until it is stopped."""
    seconds = f"Seconds between two looks at the {at}."
    return in_order(
        click.option("--interval", default=10.0, type=click.FloatRange(0.1), help=seconds),
        click.option("--once", is_flag=True, help=f"{once} what there is, and end."),
    )


@click.command()
@store_option
@click.option(
    "--model",
    required=True,
    type=FILE,
    help="Archive whose domain and slots the conversations are read by.",
)
@click.option(
    "--broker",
    required=True,
    help="URL of a SQL event broker's database, path of a file event broker's file, or - for JSON lines.",
)
@click.option(
    "--credentials",
    type=FILE,
    help="credentials.yml, whose channel tells what rates a conversation. [default: its defaults]",
)
@_look_again("broker", "Read")
def collect(
    store: str, model: str, broker: str, credentials: Optional[str], interval: float, once: bool
) -> None:
    """Make episodes of the events that a broker of Rasa has."""
    from rasa.shared.exceptions import RasaException

    from rasa_hybrid.components.channel_configuration import check_channel
    from rasa_hybrid.components.collector import Collector, read_channel_configuration

    with suppress(KeyboardInterrupt), told(RasaException, ValueError, OSError):
        configuration = (
            read_channel_configuration(credentials) if credentials else check_channel({})
        )
        with opened(store) as episodes:
            collector = Collector(episodes, model, broker, configuration)
            while True:
                count = collector.step()
                if count:
                    click.echo(f"{count} episodes stored.", err=True)
                if once or broker == "-":
                    return
                time.sleep(interval)


@click.command()
@click.option(
    "--model",
    type=FILE,
    help="Archive of `rasa train` to begin with. [default: the store's head]",
)
@store_option
@_out
@click.option(
    "--corpus",
    type=FILE,
    multiple=True,
    help="Labelled dialogues that are mixed into every update, such as the taught corpus (can be given again).",
)
@click.option(
    "--regression",
    type=FILE,
    multiple=True,
    help="Labelled dialogues on which a candidate must not lose (can be given again).",
)
@click.option(
    "--project",
    type=DIRECTORY,
    help="Project whose simulated users a candidate must not lose on.",
)
@click.option(
    "--dialogues", default=200, type=click.IntRange(min=10), help="Simulated users of the gate."
)
@click.option(
    "--margin",
    default=0.02,
    type=click.FloatRange(0, 1),
    help="How much worse the lower end of the 95 % interval of a difference may be.",
)
@click.option("--no-gate", is_flag=True, help="Promote every candidate, without a regression set.")
@click.option("--least", default=25, type=COUNT, help="Episodes that are waited for.")
@click.option("--most", default=500, type=COUNT, help="Episodes of one candidate.")
@click.option(
    "--share-of-sender",
    default=0.2,
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of a candidate's episodes that may come from one sender, against poisoning; one episode always may.",
)
@click.option(
    "--learning-rate",
    default=0.0005,
    type=click.FloatRange(0, 1, min_open=True),
    help="Adam's step size.",
)
@click.option(
    "--release",
    "released",
    multiple=True,
    type=click.Choice(["promoted", "rejected", "rolled_back"]),
    help="Learn these episodes again, e.g. `promoted` after a full training (can be given again).",
)
@_look_again("store", "Learn")
@click.option("--leash", is_flag=True, hidden=True, help="End when standard input is closed.")
@json_option
def learn(
    model: Optional[str],
    store: str,
    out: str,
    corpus: List[str],
    regression: List[str],
    project: Optional[str],
    dialogues: int,
    margin: float,
    no_gate: bool,
    least: int,
    most: int,
    share_of_sender: float,
    learning_rate: float,
    released: List[str],
    interval: float,
    once: bool,
    leash: bool,
    as_json: bool,
) -> None:
    """Learn from the feedback of real conversations, and publish models that pass the gate."""
    from rasa_hybrid.corpora import read_jsonl
    from rasa_hybrid.feedback.folder import LearnerError
    from rasa_hybrid.feedback.gate import Gate, read_corpora
    from rasa_hybrid.feedback.learner import Learner, LearnerSettings

    if not (regression or project or no_gate):
        raise click.UsageError(
            "Name a regression set (--regression, --project), or promote unseen with --no-gate."
        )
    if no_gate and (regression or project):
        raise click.UsageError("--no-gate goes without --regression and --project.")
    if leash:
        _end_with_parent()
    with told(LearnerError, ValueError, OSError), opened(store) as episodes:
        corpora = read_corpora(list(regression))
        mixed = [dialogue for path in corpus for dialogue in read_jsonl(path)]
        learner = Learner(
            episodes,
            out,
            model,
            None
            if no_gate
            else lambda facts: Gate(corpora, facts, project, dialogues, margin=margin),
            mixed,
            LearnerSettings(
                most_episodes=most,
                least_episodes=least,
                share_of_sender=share_of_sender,
                learning_rate=learning_rate,
            ),
        )
        with closing(learner), suppress(KeyboardInterrupt):
            if released:
                count = learner.release(*released)
                click.echo(f"{count} episodes are new again.", err=True)
            while True:
                decided = learner.step()
                if decided is not None:
                    _show_decision(decided, as_json)
                elif once:
                    return
                else:
                    time.sleep(interval)


def _end_with_parent() -> None:
    """Ends this process at once when the server that has started it dies, however that dies, and yields to it before.

    The server holds the other end of standard input. Nothing is lost: a learner may be killed at any moment.
    """

    def wait() -> None:
        while os.read(0, 1):
            pass
        os._exit(0)

    os.nice(10)
    threading.Thread(target=wait, daemon=True).start()


def _show_decision(decided: Any, as_json: bool) -> None:
    figures = dict(decided.figures)
    if as_json:
        show_json({"candidate": decided.candidate, "status": decided.status, **figures})
        return
    show(figures, False, f"{decided.candidate}: {decided.status}")
    for reason in figures.get("reasons", ()):
        click.echo(f"  {reason}")


@click.command()
@store_option
@_out
@json_option
def rollback(store: str, out: str, as_json: bool) -> None:
    """Serve the model before the last one again."""
    from rasa_hybrid.feedback.folder import LearnerError
    from rasa_hybrid.feedback.learner import roll_back

    with told(LearnerError, OSError), opened(store) as episodes:
        given_up, now = roll_back(episodes, out)
    if as_json:
        show_json({"rolled_back": given_up.id, "head": now.id})
    else:
        click.echo(f"{given_up.id} is rolled back, {now.id} is served again.")


@click.command("serve-models")
@store_option
@_out
@listen_options(5010)
def serve_models(store: str, out: str, host: str, port: int) -> None:
    """Serve the current model to Rasa servers (`models:` in endpoints.yml)."""
    from rasa_hybrid.feedback.serving import model_server

    with told(OSError), opened(store) as episodes:
        serve(model_server(episodes, out, host, port), host, "model")


@click.command()
@store_option
@click.option("--sender", required=True, help="Whose conversations and feedback are deleted.")
@json_option
def forget(store: str, sender: str, as_json: bool) -> None:
    """Delete everything of a sender from the episode store."""
    from rasa_hybrid.feedback import privacy

    with opened(store) as episodes:
        deleted = privacy.forget(episodes, sender)
    if as_json:
        show_json(deleted)
    else:
        click.echo(", ".join(f"{count} {name}" for name, count in deleted.items()) + " deleted.")


@click.command()
@store_option
@click.option(
    "--model",
    type=FILE,
    help="Archive whose return is estimated from the conversations of the others.",
)
@click.option("--png", type=NEW_FILE, help="File for the picture.")
@click.option("--html", "page_file", type=NEW_FILE, help="File for the page.")
@json_option
def report(
    store: str, model: Optional[str], png: Optional[str], page_file: Optional[str], as_json: bool
) -> None:
    """Success, rating and turns of real conversations, by model and by day."""
    from rasa_hybrid.feedback import report as reports
    from rasa_hybrid.feedback.archive import read_manifest
    from rasa_hybrid.model.acting import ActingModel
    from rasa_hybrid.model.checkpoint import load_archive

    with told(ValueError, OSError):
        scored = ActingModel(*load_archive(model)[:2]) if model is not None else None
        learnt = read_manifest(model).learnt if model is not None else ()
        with opened(store) as episodes:
            figures = reports.report(episodes, scored, learnt=frozenset(learnt))
        if png:
            Path(png).write_bytes(reports.picture(figures))
        if page_file:
            Path(page_file).write_text(reports.page(figures), encoding="utf-8")
    if as_json:
        show_json(figures)
        return
    from rich.table import Table

    table = Table("", *(title for _, title in reports.COLUMNS))
    table.add_row("all", *reports.cells(figures["all"]))
    for groups in (figures["models"], figures["days"]):
        table.add_section()
        for name, group in groups.items():
            table.add_row(name[:20], *reports.cells(group))
    show_table(table)
    if "off_policy" in figures:
        for name, value in {**figures["off_policy"], **figures["agreement"]}.items():
            click.echo(f"  {name.replace('_', ' '):28} {reports.shown(value)}")
