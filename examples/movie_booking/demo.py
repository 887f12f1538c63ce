"""Trains the bot, starts it as Rasa does, and lets it talk: `make demo`.

First a scripted conversation over Rasa's REST channel, with what the model tracked, what the
knowledge base answered and what the policy did beside each turn; then, in a terminal, a prompt.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import sqlalchemy as sa
from build_knowledge_base import DEFAULT_PATH, build
from rich.console import Console
from rich.markup import escape
from rich.table import Table

PROJECT = Path(__file__).resolve().parent
REPOSITORY = PROJECT.parents[1]
MODELS = PROJECT / "models"
MODEL_NAME = "movie_booking"
DATABASE_URL = f"sqlite:///{DEFAULT_PATH}"
SECONDS_TO_START = 180

console = Console(width=max(100, min(130, Console().width)), highlight=False)


class DemoError(Exception):
    """Something that the demo needs does not work; the message says what and what to look at."""


@dataclass(frozen=True)
class Step:
    """A line of the scripted conversation.

    Args:
        text: what the user says.
        after: said only if this was the bot's last action; None: whatever it was.
        meanwhile: a remark, if somebody else buys the offered seats before.
    """

    text: str
    after: Optional[str] = None
    meanwhile: Optional[str] = None


SCRIPT = (
    Step("hi there"),
    Step("we'd like to watch The Grand Illusionist on friday, the four of us"),
    Step("at the Harbour Cinema please"),
    Step("any time is fine"),
    Step("no, that's too early, do you have something else?"),
    Step("yes, that one"),
    Step(
        "yes, everything is right",
        after="utter_confirm",
        meanwhile="(meanwhile, somebody else buys the seats that were just offered)",
    ),
    Step("what a pity. then let's go on saturday instead"),
    Step("oh, and my sister comes along, so it's five tickets"),
    Step("yes, great", after="utter_offer"),
    Step("that's correct, book it", after="utter_confirm"),
    Step("thank you, bye"),
)


@dataclass
class TurnDetails:
    """What happened behind a turn.

    Args:
        goal: what the user wants so far, as tracked.
        result: the answer of the knowledge base in words.
        acts: the actions taken, each with its probability, None if another policy decided.
        slots: slots that were set in the turn.
    """

    goal: Dict[str, str] = field(default_factory=dict)
    result: str = ""
    acts: List[Tuple[str, Optional[float]]] = field(default_factory=list)
    slots: Dict[str, Any] = field(default_factory=dict)


def turn_details(events: Sequence[Mapping[str, Any]]) -> TurnDetails:
    """Reads the last turn of a tracker: parse data and action metadata have it under `hybrid`."""
    details = TurnDetails()
    last = max((i for i, event in enumerate(events) if event["event"] == "user"), default=0)
    for event in events[last:]:
        hybrid = (event.get("metadata") or {}).get("hybrid") or {}
        if event["event"] == "user":
            details.goal = ((event.get("parse_data") or {}).get("hybrid") or {}).get("goal", {})
        elif event["event"] == "slot":
            details.slots[event["name"]] = event["value"]
        elif (
            event["event"] == "action" and event.get("policy") and event["name"] != "action_listen"
        ):
            # The probability is that of the action that the model preferred; a rule may have won.
            own = hybrid.get("action") == event["name"]
            details.acts.append((event["name"], hybrid.get("propensity") if own else None))
        if "summary" in hybrid and not details.result:
            details.result = _result_in_words(hybrid["summary"])
    return details


def _act_in_words(act: Tuple[str, Optional[float]]) -> str:
    name, probability = act
    return name if probability is None else f"{name} ({probability:.2f})"


def _result_in_words(summary: Mapping[str, Optional[int]]) -> str:
    matches, remaining = summary.get("matches"), summary.get("remaining")
    if matches is None:
        return "no answer"
    if not matches:
        return "nothing matches"
    screenings = "1 screening matches" if matches == 1 else f"{matches} screenings match"
    return f"{screenings}, {remaining} not offered yet"


def main() -> int:
    """Runs the demo; returns the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    try:
        console.print("[bold]A cinema's bot: Rasa on one joint model[/bold]\n")
        MODELS.mkdir(exist_ok=True)
        count = build(DATABASE_URL)
        console.print(
            f"Knowledge base: {count} screenings of an invented week in {_shown(DEFAULT_PATH)}"
        )
        model = train()
        with ExitStack() as stack:
            url = serve(model, stack)
            console.print(f"Ready after {time.monotonic() - started:.0f} s.\n")
            run_script(url)
            if sys.stdin.isatty():
                talk(url)
    except DemoError as error:
        console.print(f"\n[bold red]The demo can't go on:[/bold red] {escape(str(error))}")
        return 1
    except KeyboardInterrupt:
        console.print()
        return 130
    return 0


def train() -> Path:
    """Trains with `rasa train`, unless nothing changed since the last time.

    Returns:
        The model archive.

    Raises:
        DemoError: if the training fails.
    """
    model, note = MODELS / f"{MODEL_NAME}.tar.gz", MODELS / f"{MODEL_NAME}.trained_from"
    if model.exists() and note.exists() and note.read_text() == training_digest():
        console.print(f"Model: {_shown(model)} is up to date")
        return model
    run_logged(
        "Simulating dialogues and learning them with `rasa train` (a few minutes, once)",
        [
            sys.executable,
            "-m",
            "rasa",
            "train",
            "--augmentation",
            "0",
            "--fixed-model-name",
            MODEL_NAME,
        ],
        MODELS / "train.log",
    )
    note.write_text(training_digest())  # now with the simulated dialogues
    return model


def training_digest() -> str:
    """Digest of everything that the model is trained from."""
    files = [PROJECT / "config.yml", PROJECT / "domain.yml", PROJECT / "build_knowledge_base.py"]
    files += sorted(path for path in (PROJECT / "data").iterdir() if path.is_file())
    files += sorted((REPOSITORY / "rasa_hybrid").rglob("*.py"))
    digest = hashlib.sha256(sys.version.encode())
    for path in files:
        digest.update(str(path.relative_to(REPOSITORY)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def run_logged(what: str, command: Sequence[str], log: Path) -> None:
    """Runs a command to its end, its output in a log file.

    Raises:
        DemoError: if it fails, with the end of the log.
    """
    started = time.monotonic()
    with console.status(f"{what} ..."), process(what, command, log) as running:
        status = running.wait()
    if status != 0:
        raise DemoError(f"{what}: exit status {status}.\n{tail(log)}")
    seconds = time.monotonic() - started
    console.print(f"{what}: done in {seconds:.0f} s, log in {_shown(log)}", soft_wrap=True)


def serve(model: Path, stack: ExitStack) -> str:
    """Starts Rasa's server and the action server on free ports; the stack stops them.

    Returns:
        URL of Rasa's server.

    Raises:
        DemoError: if one of them does not start.
    """
    port, action_port = free_ports(2)
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="movie_booking_")))
    # endpoints.yml, but for the port.
    endpoints = directory / "endpoints.yml"
    endpoints.write_text(f'action_endpoint:\n  url: "http://localhost:{action_port}/webhook"\n')
    rasa = [sys.executable, "-m", "rasa", "run"]
    servers = (
        (
            "the action server (`rasa run actions`)",
            [*rasa, "actions", "--port", str(action_port)],
            f"http://127.0.0.1:{action_port}/health",
            MODELS / "actions.log",
        ),
        (
            "Rasa's server (`rasa run`)",
            [
                *rasa,
                "--model",
                str(model),
                "--enable-api",
                "--interface",
                "127.0.0.1",
                "--port",
                str(port),
            ]
            + ["--endpoints", str(endpoints), "--credentials", "credentials.yml"],
            f"http://127.0.0.1:{port}/status",
            MODELS / "server.log",
        ),
    )
    with console.status("Starting Rasa and the action server ..."):
        running = [
            (name, stack.enter_context(process(name, command, log)), url, log)
            for name, command, url, log in servers
        ]
        for name, server, url, log in running:
            wait_until_ready(name, server, lambda url=url: answers(url), log)
    return f"http://127.0.0.1:{port}"


@contextmanager
def process(name: str, command: Sequence[str], log: Path) -> Iterator[subprocess.Popen]:
    """A process in the project's directory that is gone, children included, when the block ends."""
    environment = {
        **os.environ,
        "RASA_TELEMETRY_ENABLED": "false",
        "SQLALCHEMY_SILENCE_UBER_WARNING": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYTHONUNBUFFERED": "1",
        "MOVIE_BOOKING_DATABASE": DATABASE_URL,
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])
        ),
    }
    with open(log, "w", encoding="utf-8") as output:
        try:
            running = subprocess.Popen(
                command,
                cwd=PROJECT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise DemoError(f"{name} can't be started: {error}.") from error
        try:
            yield running
        finally:
            _stop(running)


def _stop(running: subprocess.Popen) -> None:
    for stop, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        try:
            os.killpg(running.pid, stop)
        except ProcessLookupError:
            return
        try:
            running.wait(patience)
        except subprocess.TimeoutExpired:
            continue


def wait_until_ready(
    name: str,
    server: subprocess.Popen,
    is_ready: Callable[[], bool],
    log: Path,
    seconds: float = SECONDS_TO_START,
) -> None:
    """Waits for a server.

    Raises:
        DemoError: if it ends or takes too long, with the end of its log.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            if is_ready():
                return
        except urllib.error.HTTPError as error:
            # Rasa's server runs on without a model that could not be loaded.
            raise DemoError(f"{name} says {error}.\n{tail(log)}") from error
        if server.poll() is not None:
            raise DemoError(f"{name} ended with status {server.returncode}.\n{tail(log)}")
        if time.monotonic() > deadline:
            raise DemoError(f"{name} is not ready after {seconds:.0f} s.\n{tail(log)}")
        time.sleep(0.2)


def answers(url: str) -> bool:
    """Whether somebody answers at a URL.

    Raises:
        urllib.error.HTTPError: if the answer is that something is wrong.
    """
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        raise
    except OSError:
        return False


def ask(url: str, body: Optional[Mapping[str, Any]] = None) -> Any:
    """JSON from a URL, by POST if there is a body.

    Raises:
        DemoError: if the server does not answer.
    """
    data = None if body is None else json.dumps(body).encode("utf-8")
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)
    except (OSError, ValueError) as error:
        raise DemoError(
            f"Rasa's server did not answer ({error}), see {MODELS / 'server.log'}."
        ) from error


def free_ports(count: int) -> Tuple[int, ...]:
    """Ports on which nobody listens now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return tuple(one.getsockname()[1] for one in sockets)


def tail(log: Path, lines: int = 12) -> str:
    """What a log file says about errors, its end, and where it is."""
    text = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line for line in text[:-lines] if re.match(r"[\w.]*(Error|Exception)\b.*: ", line)]
    shown = [*dict.fromkeys(errors), *text[-lines:]]
    return "\n".join([f"From {log}:", *(f"  {line}" for line in shown)])


def run_script(url: str) -> None:
    """Has the scripted conversation and shows what it changed."""
    conversation = f"demo-{int(time.time())}"
    offered: Optional[str] = None
    last_act: Optional[str] = None
    for step in SCRIPT:
        if step.after not in (None, last_act):
            continue
        if step.meanwhile is not None and offered is not None:
            console.print(f"[italic]{escape(step.meanwhile)}[/italic]\n")
            sell_out(int(offered))
        details = say(url, conversation, step.text)
        offered = details.slots.get("offer_id", offered)
        last_act = details.acts[-1][0] if details.acts else None
    for line in booked(conversation):
        console.print(f"[bold]Booked:[/bold] {escape(line)}")


def talk(url: str) -> None:
    """Lets the person at the terminal talk to the bot."""
    console.print("\nNow you. An empty line ends it.\n")
    conversation = f"you-{int(time.time())}"
    while True:
        try:
            text = input("you > ").strip()
        except EOFError:
            break
        if not text:
            break
        say(url, conversation, text, echo=False)
    for line in booked(conversation):
        console.print(f"[bold]Booked:[/bold] {escape(line)}")


def say(url: str, conversation: str, text: str, echo: bool = True) -> TurnDetails:
    """Says something to the bot and prints the turn, with its details beside it."""
    replies = ask(f"{url}/webhooks/rest/webhook", {"sender": conversation, "message": text})
    tracker = ask(f"{url}/conversations/{conversation}/tracker")
    details = turn_details(tracker["events"])
    table = Table.grid(padding=(0, 3), expand=True)
    table.add_column(ratio=10)
    table.add_column(ratio=11, style="dim")
    said = [f"[bold cyan]you[/bold cyan]  {escape(text)}"] if echo else []
    said += [
        f"[bold green]bot[/bold green]  {escape(reply.get('text') or '')}" for reply in replies
    ]
    behind = [
        "goal   "
        + (", ".join(f"{slot}={value}" for slot, value in sorted(details.goal.items())) or "-"),
        "query  " + (details.result or "-"),
        "act    " + (", ".join(map(_act_in_words, details.acts)) or "-"),
    ]
    table.add_row("\n".join(said), escape("\n".join(behind)))
    console.print(table)
    console.print()
    return details


def sell_out(screening: int) -> None:
    """Somebody else buys all seats of a screening."""
    engine = sa.create_engine(DATABASE_URL, future=True)
    with engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE screenings SET seats = 0 WHERE id = :id"), {"id": screening}
        )
    engine.dispose()


def booked(conversation: str) -> List[str]:
    """What a conversation has booked, as the database has it."""
    engine = sa.create_engine(DATABASE_URL, future=True)
    with engine.connect() as connection:
        rows = connection.execute(
            sa.text(
                "SELECT tickets, movie, theatre_name, date, time, seats FROM bookings "
                "JOIN screenings ON id = screening_id WHERE conversation = :conversation"
            ),
            {"conversation": conversation},
        ).all()
    engine.dispose()
    return [
        f"{tickets} x {movie}, {theatre}, {date} {hour} ({seats} seats left)"
        for tickets, movie, theatre, date, hour, seats in rows
    ]


def _shown(path: Path) -> str:
    """A path as one would type it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


if __name__ == "__main__":
    sys.exit(main())
