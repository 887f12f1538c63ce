"""The subcommands of `rasa-hybrid` about real feedback: learn, rollback, serve-models, forget."""

from __future__ import annotations

import json
import time
from typing import Any, Dict, List, Optional

import click

_store = click.option(
    "--store",
    required=True,
    help="URL of the episode store: sqlite:///feedback.db or postgresql+psycopg2://...",
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
    as_json: bool,
) -> None:
    """Learn from the feedback of real conversations, and publish models that pass the gate."""
    from rasa_hybrid.corpora import read_jsonl
    from rasa_hybrid.feedback.gate import Gate, read_corpora
    from rasa_hybrid.feedback.learner import Learner, LearnerError, LearnerSettings
    from rasa_hybrid.feedback.store import EpisodeStore, StoreError

    if not (regression or project or no_gate):
        raise click.UsageError(
            "Name a regression set (--regression, --project), or promote unseen with --no-gate."
        )
    if no_gate and (regression or project):
        raise click.UsageError("--no-gate goes without --regression and --project.")
    try:
        opened = EpisodeStore(store)
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
    from rasa_hybrid.feedback.learner import LearnerError, roll_back
    from rasa_hybrid.feedback.store import EpisodeStore, StoreError

    try:
        opened = EpisodeStore(store)
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
    from rasa_hybrid.feedback.serving import model_server
    from rasa_hybrid.feedback.store import EpisodeStore, StoreError

    try:
        server = model_server(EpisodeStore(store), out, host, port)
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
    from rasa_hybrid.feedback.store import EpisodeStore, StoreError

    try:
        opened = EpisodeStore(store)
        deleted = opened.forget(sender)
        opened.close()
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(deleted))
    else:
        click.echo(", ".join(f"{count} {name}" for name, count in deleted.items()) + " deleted.")


COMMANDS = (learn, rollback, serve_models, forget)
