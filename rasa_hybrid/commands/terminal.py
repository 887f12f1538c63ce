"""What commands have in common: options of several of them, and how progress, results and errors are shown."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterable, Iterator, Tuple, Type, TypeVar

import click

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Command], Command]

COUNT = click.IntRange(min=1)
FILE = click.Path(exists=True, dir_okay=False)
NEW_FILE = click.Path(dir_okay=False)
DIRECTORY = click.Path(exists=True, file_okay=False)
NEW_DIRECTORY = click.Path(file_okay=False)

project_option = click.option(
    "--project", default=".", type=click.Path(exists=True), help="Directory of the Rasa project."
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object instead of a table."
)


def seed_option(help: str = "Repeats a run.") -> Decorator:
    """`--seed`, 0 unless it is given."""
    return click.option("--seed", default=0, type=click.IntRange(min=0), help=help)


def preset_option(help: str) -> Decorator:
    """`--preset`, which says whose model or settings: ours or the paper's."""
    presets = click.Choice(["default", "liu2018"])
    return click.option("--preset", default="default", type=presets, help=help)


def set_option(help: str) -> Decorator:
    """`--set NAME=VALUE`, read by `settings_of`."""
    return click.option("--set", "changes", multiple=True, metavar="NAME=VALUE", help=help)


def settings_of(changes: Iterable[str]) -> Dict[str, Any]:
    """Values of `--set` by name; a value is JSON, or else a text."""
    return dict(map(_setting, changes))


def _setting(change: str) -> Tuple[str, Any]:
    name, equals, value = change.partition("=")
    if not equals:
        raise click.UsageError(f"--set {change}: NAME=VALUE is expected.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def in_order(*options: Decorator) -> Decorator:
    """Several options as one decorator; the first comes first in the help."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_PROBABILITY = click.FloatRange(0, 1)
#: What `load_simulator` takes as `noise`; None of what was not given.
noise_options = in_order(
    click.option("--word-drop", type=_PROBABILITY, help="Probability of a word to be lost."),
    click.option(
        "--word-confusion", type=_PROBABILITY, help="Probability of a word to be confused."
    ),
    click.option(
        "--word-strange",
        type=_PROBABILITY,
        help="Probability of a word that says no value to be one that nobody has heard before.",
    ),
    click.option(
        "--n-best", type=click.IntRange(0, 20), help="Length of the recogniser's n-best list."
    ),
)


@contextmanager
def told(*errors: Type[Exception]) -> Iterator[None]:
    """Ends the command with a message, and no traceback, where one of these is raised."""
    try:
        yield
    except errors as error:
        raise click.ClickException(str(error)) from error


def progress(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """`items` with a progress bar on stderr if that is a terminal."""
    from tqdm import tqdm

    hidden = not sys.stderr.isatty()
    return iter(tqdm(items, total=total, desc=what, unit="dlg", file=sys.stderr, disable=hidden))


def show_json(result: Any) -> None:
    """Prints one JSON object in a line."""
    click.echo(json.dumps(result, ensure_ascii=False))


def show(result: Dict[str, Any], as_json: bool, title: str) -> None:
    """Prints a result on stdout: a table, or one JSON object."""
    if as_json:
        show_json(result)
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


def show_table(table: Any) -> None:
    """Prints a table of `rich`, as wide as the terminal, and 140 characters where there is none."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 140).print(table)
