"""The subcommands of `rasa-hybrid` about real feedback: learn, rollback, report, ratings and the like."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any, Dict, List, Optional

import click

_store = click.option(
    "--store",
    required=True,
    envvar="RASA_HYBRID_STORE",
    help="URL of the episode store: sqlite:///feedback.db or postgresql+psycopg2://... Also RASA_HYBRID_STORE.",
)
_out = click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False),
    help="Folder of the models; `rasa run -m` may point to it.",
)
_json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object instead of a table."
)


@click.command()
@click.option(
    "--model",
    type=click.Path(exists=True, dir_okay=False),
    help="Archive of `rasa train` to begin with. [default: the store's head]",
)
@_store
@_out
@click.option(
    "--corpus",
    type=click.Path(exists=True, dir_okay=False),
    multiple=True,
    help="Labelled dialogues that are mixed into every update, such as the taught corpus (can be given again).",
)
@click.option(
    "--regression",
    type=click.Path(exists=True, dir_okay=False),
    multiple=True,
    help="Labelled dialogues on which a candidate must not lose (can be given again).",
)
@click.option(
    "--project",
    type=click.Path(exists=True, file_okay=False),
    help="Project whose simulated users a candidate must not lose on.",
)
@click.option(
    "--dialogues",
    default=200,
    show_default=True,
    type=click.IntRange(min=10),
    help="Simulated users of the gate.",
)
@click.option(
    "--margin",
    default=0.02,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="How much worse the lower end of the 95 % interval of a difference may be.",
)
@click.option("--no-gate", is_flag=True, help="Promote every candidate, without a regression set.")
@click.option(
    "--least",
    default=25,
    show_default=True,
    type=click.IntRange(min=1),
    help="Episodes that are waited for.",
)
@click.option(
    "--most",
    default=500,
    show_default=True,
    type=click.IntRange(min=1),
    help="Episodes of one candidate.",
)
@click.option(
    "--learning-rate",
    default=0.0003,
    show_default=True,
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
@click.option(
    "--interval",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="Seconds between two looks at the store.",
)
@click.option("--once", is_flag=True, help="Learn what there is, and end.")
@click.option("--leash", is_flag=True, hidden=True, help="End when standard input is closed.")
@_json
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
    learning_rate: float,
    released: List[str],
    interval: float,
    once: bool,
    leash: bool,
    as_json: bool,
) -> None:
    """Learn from the feedback of real conversations, and publish models that pass the gate."""
    from rasa_hybrid.corpora import read_jsonl
    from rasa_hybrid.feedback.database import Database, StoreError
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
    try:
        opened = Database(store)
        corpora = read_corpora(list(regression))
        mixed = [dialogue for path in corpus for dialogue in read_jsonl(path)]
        learner = Learner(
            opened,
            out,
            model,
            None
            if no_gate
            else lambda facts: Gate(corpora, facts, project, dialogues, margin=margin),
            mixed,
            LearnerSettings(most_episodes=most, least_episodes=least, learning_rate=learning_rate),
        )
    except (StoreError, LearnerError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    try:
        if released:
            count = learner.ledger.release(*released)
            click.echo(f"{count} episodes are new again.", err=True)
        while True:
            decided = learner.step()
            if decided is not None:
                _show(decided.candidate, decided.status, dict(decided.figures), as_json)
            elif once:
                return
            else:
                time.sleep(interval)
    except KeyboardInterrupt:
        return
    except (StoreError, LearnerError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    finally:
        learner.close()
        opened.close()


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


def _show(candidate: str, status: str, figures: Dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(
            json.dumps({"candidate": candidate, "status": status, **figures}, ensure_ascii=False)
        )
        return
    from rasa_hybrid.cli import show

    show(figures, False, f"{candidate}: {status}")
    for reason in figures.get("reasons", ()):
        click.echo(f"  {reason}")


@click.command()
@_store
@_out
@_json
def rollback(store: str, out: str, as_json: bool) -> None:
    """Serve the model before the last one again."""
    from rasa_hybrid.feedback.database import Database, StoreError
    from rasa_hybrid.feedback.folder import LearnerError
    from rasa_hybrid.feedback.learner import roll_back

    try:
        opened = Database(store)
        given_up, now = roll_back(opened, out)
        opened.close()
    except (StoreError, LearnerError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps({"rolled_back": given_up.id, "head": now.id}))
    else:
        click.echo(f"{given_up.id} is rolled back, {now.id} is served again.")


@click.command("serve-models")
@_store
@_out
@click.option("--host", default="127.0.0.1", show_default=True, help="Interface to listen on.")
@click.option(
    "--port", default=5010, show_default=True, type=click.IntRange(0, 65535), help="Port."
)
def serve_models(store: str, out: str, host: str, port: int) -> None:
    """Serve the current model to Rasa servers (`models:` in endpoints.yml)."""
    from rasa_hybrid.feedback.database import Database, StoreError
    from rasa_hybrid.feedback.serving import model_server

    try:
        server = model_server(Database(store), out, host, port)
    except (StoreError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"http://{host}:{server.server_address[1]}/model", err=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()


@click.command()
@_store
@click.option("--sender", required=True, help="Whose conversations and feedback are deleted.")
@_json
def forget(store: str, sender: str, as_json: bool) -> None:
    """Delete everything of a sender from the episode store."""
    from rasa_hybrid.feedback import privacy
    from rasa_hybrid.feedback.database import Database, StoreError

    try:
        opened = Database(store)
        deleted = privacy.forget(opened, sender)
        opened.close()
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(deleted))
    else:
        click.echo(", ".join(f"{count} {name}" for name, count in deleted.items()) + " deleted.")


@click.command("report")
@_store
@click.option(
    "--model",
    type=click.Path(exists=True, dir_okay=False),
    help="Archive whose return is estimated from the conversations of the others.",
)
@click.option("--png", type=click.Path(dir_okay=False), help="File for the picture.")
@click.option("--html", "page_file", type=click.Path(dir_okay=False), help="File for the page.")
@_json
def report_command(
    store: str, model: Optional[str], png: Optional[str], page_file: Optional[str], as_json: bool
) -> None:
    """Success, rating and turns of real conversations, by model and by day."""
    from pathlib import Path

    from rasa_hybrid.feedback import report as reports
    from rasa_hybrid.feedback.database import StoreError
    from rasa_hybrid.feedback.store import EpisodeStore
    from rasa_hybrid.model.acting import ActingModel
    from rasa_hybrid.model.checkpoint import load_archive

    try:
        scored = None
        if model is not None:
            encoder, weights, _ = load_archive(model)
            scored = ActingModel(encoder, weights)
        opened = EpisodeStore(store)
        figures = reports.report(opened, scored)
        opened.close()
        if png:
            Path(png).write_bytes(reports.picture(figures))
        if page_file:
            Path(page_file).write_text(reports.page(figures), encoding="utf-8")
    except (StoreError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(figures))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("", *(title for _, title in reports.COLUMNS))
    table.add_row("all", *reports.cells(figures["all"]))
    for groups in (figures["models"], figures["days"]):
        table.add_section()
        for name, group in groups.items():
            table.add_row(name[:20], *reports.cells(group))
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table)
    if "off_policy" in figures:
        for name, value in {**figures["off_policy"], **figures["agreement"]}.items():
            click.echo(f"  {name.replace('_', ' '):28} {reports.shown(value)}")


@click.command()
@_store
@click.option(
    "--model",
    required=True,
    type=click.Path(exists=True, dir_okay=False),
    help="Archive whose domain and slots the conversations are read by.",
)
@click.option(
    "--broker",
    required=True,
    help="URL of a SQL event broker's database, path of a file event broker's file, or - for JSON lines.",
)
@click.option(
    "--credentials",
    type=click.Path(exists=True, dir_okay=False),
    help="credentials.yml, whose channel tells what rates a conversation. [default: its defaults]",
)
@click.option(
    "--interval",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="Seconds between two looks at the broker.",
)
@click.option("--once", is_flag=True, help="Read what there is, and end.")
def collect(
    store: str,
    model: str,
    broker: str,
    credentials: Optional[str],
    interval: float,
    once: bool,
) -> None:
    """Make episodes of the events that a broker of Rasa has."""
    from rasa.shared.exceptions import RasaException

    from rasa_hybrid.components.channel_configuration import check_channel
    from rasa_hybrid.components.collector import Collector, read_channel_configuration
    from rasa_hybrid.feedback.database import StoreError
    from rasa_hybrid.feedback.store import EpisodeStore

    try:
        configuration = (
            read_channel_configuration(credentials) if credentials else check_channel({})
        )
        collector = Collector(EpisodeStore(store), model, broker, configuration)
        while True:
            count = collector.step()
            if count:
                click.echo(f"{count} episodes stored.", err=True)
            if once or broker == "-":
                return
            time.sleep(interval)
    except KeyboardInterrupt:
        return
    except (RasaException, StoreError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error


@click.command("serve-ratings")
@_store
@click.option(
    "--dialogues",
    type=click.Path(exists=True, dir_okay=False),
    multiple=True,
    help="Corpus file of one model, whose name is that of the file (can be given again).",
)
@click.option(
    "--stored", is_flag=True, help="Conversations of the store, by the model that led them."
)
@click.option(
    "--model", "models", multiple=True, help="With --stored: only this model (can be given again)."
)
@click.option(
    "--sample",
    "sampled",
    type=click.IntRange(min=1),
    help="Dialogues of each model, drawn at random. [default: all]",
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Repeats the drawing."
)
@click.option(
    "--judges",
    default=3,
    show_default=True,
    type=click.IntRange(min=1),
    help="Judges of each dialogue.",
)
@click.option(
    "--patience",
    default=60.0,
    show_default=True,
    type=click.FloatRange(1.0),
    help="Minutes after which a dialogue that a judge has left halfway is given to another one.",
)
@click.option(
    "--token",
    required=True,
    envvar="RASA_HYBRID_RATINGS_TOKEN",
    help="What judges have to know, of at least 8 characters; also RASA_HYBRID_RATINGS_TOKEN.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Interface to listen on.")
@click.option(
    "--port", default=5011, show_default=True, type=click.IntRange(0, 65535), help="Port."
)
def serve_ratings(
    store: str,
    dialogues: List[str],
    stored: bool,
    models: List[str],
    sampled: Optional[int],
    seed: int,
    judges: int,
    patience: float,
    token: str,
    host: str,
    port: int,
) -> None:
    """Serve the page on which people rate dialogues turn by turn."""
    from rasa_hybrid.feedback import ratings
    from rasa_hybrid.feedback.database import StoreError
    from rasa_hybrid.feedback.rating_page import rating_server
    from rasa_hybrid.feedback.store import EpisodeStore

    if not (dialogues or stored):
        raise click.UsageError("Name what is to be rated: --dialogues FILE, or --stored.")
    if models and not stored:
        raise click.UsageError("--model chooses from the conversations of the store: add --stored.")
    if len(token) < 8 or not token.isascii() or token != token.strip():
        raise click.UsageError(
            "--token has to have at least 8 ASCII characters, none of them space at an end."
        )
    try:
        opened = EpisodeStore(store)
        shown = ratings.corpus_dialogues(dialogues)
        if stored:
            shown += ratings.stored_dialogues(opened, models)
        if not shown:
            raise ratings.RatingError("There is no dialogue to be rated.")
        if sampled is not None:
            shown = ratings.sample(shown, sampled, seed)
        rated = ratings.Ratings(opened, shown, judges, 60 * patience)
        server = rating_server(rated, token, host, port)
    except (StoreError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    count = len({dialogue.model for dialogue in shown})
    click.echo(f"{len(shown)} dialogues of {count} models are to be rated.", err=True)
    click.echo(f"http://{host}:{server.server_address[1]}/", err=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
        opened.close()


@click.command("ratings")
@_store
@_json
def ratings_command(store: str, as_json: bool) -> None:
    """What judges said of each model, and how far they agree."""
    from rasa_hybrid.feedback.database import Database, StoreError
    from rasa_hybrid.feedback.ratings import rating_figures

    try:
        opened = Database(store)
        figures = rating_figures(opened)
        opened.close()
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(figures, ensure_ascii=False))
        return
    if not figures["models"]:
        click.echo("Nothing has been rated yet; `rasa-hybrid serve-ratings` is for that.")
        return
    from rich.console import Console
    from rich.table import Table

    from rasa_hybrid.feedback.report import shown

    table = Table("model", "mean ± deviation", "95 % interval", "alpha", "dialogues", "ratings")
    for model, row in figures["models"].items():
        deviation = shown(row["deviation"])
        table.add_row(
            model,
            f"{row['mean']:.3f} ± {deviation}",
            *map(shown, (row["interval"], row["alpha"], row["dialogues"], row["ratings"])),
        )
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    click.echo(
        f"{figures['judges']} judges, {figures['dialogues']} dialogues; "
        f"Krippendorff's alpha (ordinal) {shown(figures['alpha'])}"
    )


COMMANDS = (
    collect,
    learn,
    rollback,
    serve_models,
    forget,
    report_command,
    serve_ratings,
    ratings_command,
)
