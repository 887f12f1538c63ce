"""What the commands about an episode store share: its URL, opening it, and serving."""

from __future__ import annotations

from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Iterator

import click

from rasa_hybrid.commands.terminal import Decorator, in_order, told

if TYPE_CHECKING:
    from rasa_hybrid.feedback.store import EpisodeStore

store_option = click.option(
    "--store",
    required=True,
    envvar="RASA_HYBRID_STORE",
    help="URL of the episode store: sqlite:///feedback.db or postgresql+psycopg2://... Also RASA_HYBRID_STORE.",
)


def listen_options(port: int) -> Decorator:
    """Options of a command that serves."""
    ports = click.IntRange(0, 65535)
    return in_order(
        click.option("--host", default="127.0.0.1", help="Interface to listen on."),
        click.option("--port", default=port, type=ports, help="Port."),
    )


def serve(server: Any, host: str, path: str = "") -> None:
    """Tells the address, and serves until it is interrupted."""
    click.echo(f"http://{host}:{server.server_address[1]}/{path}", err=True)
    with server, suppress(KeyboardInterrupt):
        server.serve_forever()


@contextmanager
def opened(url: str) -> Iterator[EpisodeStore]:
    """The episode store, closed in the end; what is wrong with it is told."""
    from rasa_hybrid.feedback.database import StoreError
    from rasa_hybrid.feedback.store import EpisodeStore

    with told(StoreError), closing(EpisodeStore(url)) as store:
        yield store
