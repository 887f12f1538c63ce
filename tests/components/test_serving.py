"""A bot that is served: over HTTP, by several workers, restarted, and with models that are swapped in."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

import pytest
import yaml

from tests.components import projects
from tests.components.running import Conversation, best_values, run


class Server:
    """`rasa run --enable-api` in a process of its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def request(self, method: str, path: str, body: Optional[Any] = None) -> Any:
        """The JSON that a route answers with, None if it answers with nothing."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def say(self, sender: str, text: str) -> List[str]:
        """Texts that the REST channel answers with."""
        replies = self.request(
            "POST", "/webhooks/rest/webhook", {"sender": sender, "message": text}
        )
        return [reply["text"] for reply in replies]

    def tracker(self, sender: str) -> Dict[str, Any]:
        return self.request("GET", f"/conversations/{sender}/tracker?include_events=ALL")


@contextmanager
def serve(
    archive: Path, folder: Path, actions_url: str, project: Optional[Path] = None
) -> Iterator[Server]:
    """Runs a server whose conversations are kept in `folder`, in the folder of a project or there."""
    (folder / "endpoints.yml").write_text(
        yaml.safe_dump(
            {
                "tracker_store": {
                    "type": "SQL",
                    "dialect": "sqlite",
                    "db": str(folder / "trackers.db"),
                },
                "action_endpoint": {"url": actions_url},
            }
        )
    )
    (folder / "credentials.yml").write_text("rest:\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "rasa",
        "run",
        "--enable-api",
        "-i",
        "127.0.0.1",
        "-p",
        str(port),
        "-m",
        str(archive),
    ]
    log = (folder / "log.txt").open("ab")
    command += [
        "--endpoints",
        str(folder / "endpoints.yml"),
        "--credentials",
        str(folder / "credentials.yml"),
    ]
    process = subprocess.Popen(
        command,
        cwd=project or folder,
        stdout=log,
        stderr=log,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    server = Server(f"http://127.0.0.1:{port}")
    try:
        end = time.monotonic() + 180
        while True:
            try:
                server.request("GET", "/status")
                break
            except (OSError, urllib.error.URLError):
                if process.poll() is not None or time.monotonic() > end:
                    raise AssertionError((folder / "log.txt").read_text()) from None
                time.sleep(0.3)
        yield server
    finally:
        process.terminate()
        process.wait(60)
        log.close()


@pytest.mark.process
def test_conversation_over_rest_survives_a_restart_of_the_server(
    archive: Path, tmp_path: Path, actions_url: str
) -> None:
    with serve(archive, tmp_path, actions_url) as server:
        assert server.say("anna", "hello") == ["Hello. What would you like to eat?"]
        assert server.say("anna", "i want thai food") == ["On which day?"]
        parse = server.request("POST", "/model/parse", {"text": "on friday"})
        assert parse["hybrid"]["goal"] == {"date": "friday"}
        assert parse["intent"]["name"] == "inform"
        before = server.tracker("anna")
        swapped = tmp_path / "other.tar.gz"
        shutil.copy(archive, swapped)
        server.request("PUT", "/model", {"model_file": str(swapped)})
        assert server.request("GET", "/status")["model_file"] == "other.tar.gz"
        assert server.say("bert", "italian food on friday") == ["How about Roma on friday?"]
    with serve(archive, tmp_path, actions_url) as server:
        assert server.tracker("anna")["events"] == before["events"]
        assert server.say("anna", "on friday") == ["How about Bangkok on friday?"]
        assert server.say("bert", "something else please") == ["How about Napoli on friday?"]
        tracker = server.tracker("anna")
    users = [event for event in tracker["events"] if event["event"] == "user"]
    assert [user["parse_data"]["hybrid"]["goal"] for user in users] == [
        {},
        {"cuisine": "thai"},
        {"cuisine": "thai", "date": "friday"},
    ]
    assert tracker["slots"]["offer_restaurant"] == "Bangkok"
    offer = next(
        e for e in tracker["events"] if e["event"] == "action" and e["name"] == "utter_offer"
    )
    hybrid = offer["metadata"]["hybrid"]
    assert best_values(hybrid["belief"]) == {"cuisine": "thai", "date": "friday"}
    assert hybrid["offered"] == "1"
    assert hybrid["propensity"] > 0.5


def test_two_workers_on_one_tracker_store_answer_like_one(
    archive: Path, tmp_path: Path, actions_url: str
) -> None:
    from rasa.core.tracker_store import SQLTrackerStore

    workers = []
    for _ in range(2):
        worker = projects.load_agent(str(archive), actions_url)
        worker.tracker_store = SQLTrackerStore(
            worker.domain, dialect="sqlite", db=str(tmp_path / "shared.db")
        )
        worker.processor.tracker_store = worker.tracker_store
        workers.append(worker)
    texts = [
        "italian food on friday",
        "the same as last time",
        "something else please",
        "rather on monday",
        "yes please",
    ]
    alone = Conversation(workers[0], "alone")
    expected = [alone.say(text) for text in texts]
    for i, text in enumerate(texts):
        user = Conversation(workers[i % 2], "shared")
        if i:
            user.new_events()
        said = user.say(text)
        assert (said.actions, said.replies) == (expected[i].actions, expected[i].replies)
        for one, other in zip(said.decisions, expected[i].decisions):
            ours, theirs = one.get("shadow", one), other.get("shadow", other)
            assert ours["propensity"] == pytest.approx(theirs["propensity"], abs=1e-6)
            for slot, values in one["belief"].items():
                assert dict(values) == pytest.approx(dict(other["belief"][slot]), abs=1e-6)


def test_model_that_a_server_offers_is_pulled_and_used(archive: Path, actions_url: str) -> None:
    from rasa.core.agent import Agent, _update_model_from_server
    from rasa.utils.endpoints import EndpointConfig

    asked: List[Optional[str]] = []

    class ModelServer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("If-None-Match"))
            known = self.headers.get("If-None-Match") == "first"
            self.send_response(304 if known else 200)
            if not known:
                self.send_header("ETag", "first")
                self.send_header("filename", "pulled.tar.gz")
                self.send_header("Content-Length", str(archive.stat().st_size))
            self.end_headers()
            if not known:
                self.wfile.write(archive.read_bytes())

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), ModelServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        endpoint = EndpointConfig(f"http://127.0.0.1:{server.server_address[1]}/model")
        agent = Agent(action_endpoint=EndpointConfig(actions_url))

        async def pull_twice() -> None:
            await _update_model_from_server(endpoint, agent)
            await _update_model_from_server(endpoint, agent)

        run(pull_twice())
    finally:
        server.shutdown()
        server.server_close()
    assert len(asked) == 2
    assert asked[1] == "first"
    assert Conversation(agent).say("thai food on friday").replies == [
        "How about Bangkok on friday?"
    ]
