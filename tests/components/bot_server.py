"""`rasa run` as a process, with channels, workers and stores as a test wants them; requests to it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, NamedTuple, Optional, Sequence

import yaml


class Answer(NamedTuple):
    """Status, JSON and headers of an answer."""

    status: int
    body: Any
    headers: Mapping[str, str]


class BotServer:
    """A running server."""

    def __init__(self, url: str, process: subprocess.Popen) -> None:
        self.url, self.process = url, process

    def ask(
        self, method: str, path: str, body: Any = None, headers: Optional[Dict[str, str]] = None
    ) -> Answer:
        """Sends a request; errors are answers too."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body else None
        sent = {"Content-Type": "application/json", **(headers or {})}
        request = urllib.request.Request(self.url + path, data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Answer(answer.status, _content(answer.read()), dict(answer.headers))
        except urllib.error.HTTPError as error:
            return Answer(error.code, _content(error.read()), dict(error.headers))

    def say(self, sender: str, text: str, **more: Any) -> Answer:
        """Says something over our channel."""
        body = {"sender": sender, "message": text, **more}
        return self.ask("POST", "/webhooks/hybrid/webhook", body)

    def rate(self, sender: str, token: Optional[str], **values: Any) -> Answer:
        """Gives feedback."""
        body = {"sender": sender, **({"token": token} if token else {}), **values}
        return self.ask("POST", "/webhooks/hybrid/feedback", body)


def _content(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def bot_server(
    model: Optional[Path],
    folder: Path,
    actions_url: str,
    channel: Mapping[str, Any],
    options: Sequence[str] = (),
    endpoints: Optional[Mapping[str, Any]] = None,
    environment: Optional[Mapping[str, str]] = None,
) -> Iterator[BotServer]:
    """Runs a server with our channel and REST; conversations are kept in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    trackers = {"type": "SQL", "dialect": "sqlite", "db": str(folder / "trackers.db")}
    named = {
        "tracker_store": trackers,
        "action_endpoint": {"url": actions_url},
        **(endpoints or {}),
    }
    (folder / "endpoints.yml").write_text(yaml.safe_dump(named))
    credentials = {"rest": None, "rasa_hybrid.FeedbackChannel": dict(channel)}
    (folder / "credentials.yml").write_text(yaml.safe_dump(credentials))
    port = free_port()
    command = [sys.executable, "-m", "rasa", "run", "-i", "127.0.0.1", "-p", str(port), *options]
    if model is not None:
        command += ["-m", str(model)]
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": os.getcwd(), **(environment or {})},
        )
    server = BotServer(f"http://127.0.0.1:{port}", process)
    try:
        end = time.monotonic() + 180
        while True:
            try:
                if server.ask("GET", "/webhooks/hybrid/health").status == 200:
                    break
            except OSError:
                pass
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError((folder / "log.txt").read_text())
            time.sleep(0.3)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def eventually(condition: Any, seconds: float = 30.0) -> None:
    """Waits until something is so; the time is a limit, not a measure."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)
