"""Commands about ratings of single turns by people: serve-ratings, ratings."""

from __future__ import annotations

from typing import List, Optional

import click

from rasa_hybrid.commands.store import listen_options, opened, serve, store_option
from rasa_hybrid.commands.terminal import (
    COUNT,
    FILE,
    json_option,
    seed_option,
    show_json,
    show_table,
    told,
)


@click.command("serve-ratings")
@store_option
@click.option(
    "--dialogues",
    type=FILE,
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
    type=COUNT,
    help="Dialogues of each model, drawn at random. [default: all]",
)
@seed_option("Repeats the drawing.")
@click.option("--judges", default=3, type=COUNT, help="Judges of each dialogue.")
@click.option(
    "--patience",
    default=60.0,
    type=click.FloatRange(1.0),
    help="Minutes after which a dialogue that a judge has left halfway is given to another one.",
)
@click.option(
    "--token",
    required=True,
    envvar="RASA_HYBRID_RATINGS_TOKEN",
    help="What judges have to know, of at least 8 characters; also RASA_HYBRID_RATINGS_TOKEN.",
)
@listen_options(5011)
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
    from rasa_hybrid.feedback.rating_page import rating_server
    from rasa_hybrid.feedback.ratings import (
        RatingError,
        Ratings,
        corpus_dialogues,
        sample,
        stored_dialogues,
    )

    if not (dialogues or stored):
        raise click.UsageError("Name what is to be rated: --dialogues FILE, or --stored.")
    if models and not stored:
        raise click.UsageError("--model chooses from the conversations of the store: add --stored.")
    if len(token) < 8 or not token.isascii() or token != token.strip():
        raise click.UsageError(
            "--token has to have at least 8 ASCII characters, none of them space at an end."
        )
    with told(ValueError, OSError), opened(store) as episodes:
        shown = corpus_dialogues(dialogues)
        if stored:
            shown += stored_dialogues(episodes, models)
        if not shown:
            raise RatingError("There is no dialogue to be rated.")
        if sampled is not None:
            shown = sample(shown, sampled, seed)
        server = rating_server(Ratings(episodes, shown, judges, 60 * patience), token, host, port)
        count = len({dialogue.model for dialogue in shown})
        click.echo(f"{len(shown)} dialogues of {count} models are to be rated.", err=True)
        serve(server, host)


@click.command()
@store_option
@json_option
def ratings(store: str, as_json: bool) -> None:
    """What judges said of each model, and how far they agree."""
    from rasa_hybrid.feedback.ratings import rating_figures

    with opened(store) as episodes:
        figures = rating_figures(episodes)
    if as_json:
        show_json(figures)
        return
    if not figures["models"]:
        click.echo("Nothing has been rated yet; `rasa-hybrid serve-ratings` is for that.")
        return
    from rich.table import Table

    from rasa_hybrid.feedback.report import shown

    table = Table("model", "mean ± deviation", "95 % interval", "alpha", "dialogues", "ratings")
    for model, row in figures["models"].items():
        rest = map(shown, (row["interval"], row["alpha"], row["dialogues"], row["ratings"]))
        table.add_row(model, f"{row['mean']:.3f} ± {shown(row['deviation'])}", *rest)
    show_table(table)
    click.echo(
        f"{figures['judges']} judges, {figures['dialogues']} dialogues; "
        f"Krippendorff's alpha (ordinal) {shown(figures['alpha'])}"
    )
