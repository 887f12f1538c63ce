"""The demo's own machinery: processes that always go, errors that say where to look, turns read from the tracker."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import pytest


def is_gone(pid):
    """Whether a process ends within some seconds; one that nobody has asked for its status is gone too."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        done = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        if done.stdout.strip()[:1] in ("", "Z"):
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def log(tmp_path):
    return tmp_path / "process.log"


def test_a_turn_is_read_from_the_events_after_the_last_message(demo):
    events = [
        {"event": "user", "text": "hi", "parse_data": {"hybrid": {"goal": {"movie": "Aurora"}}}},
        {"event": "action", "name": "utter_greet", "policy": "p", "metadata": {}},
        {"event": "action", "name": "action_listen", "policy": "p"},
        {"event": "user", "text": "friday", "parse_data": {"hybrid": {"goal": {"date": "friday"}}}},
        {
            "event": "slot",
            "name": "offer_id",
            "value": "7",
            "metadata": {"hybrid": {"source": "knowledge_base"}},
        },
        {
            "event": "action",
            "name": "utter_offer",
            "policy": "policy_0_HybridPolicy",
            "metadata": {
                "hybrid": {
                    "action": "utter_offer",
                    "propensity": 0.987,
                    "summary": {"matches": 3, "remaining": 2},
                }
            },
        },
        {"event": "bot", "text": "How about ..."},
        {
            "event": "action",
            "name": "utter_booking_failed",
            "policy": "policy_1_RulePolicy",
            "metadata": {"hybrid": {"action": "utter_offer", "propensity": 0.4}},
        },
        {"event": "action", "name": "action_listen", "policy": "p", "metadata": {}},
    ]
    details = demo.turn_details(events)
    assert details.goal == {"date": "friday"}
    assert details.slots == {"offer_id": "7"}
    assert details.result == "3 screenings match, 2 not offered yet"
    assert details.acts == [("utter_offer", 0.987), ("utter_booking_failed", None)]


@pytest.mark.parametrize(
    ("summary", "words"),
    [
        ({"matches": None, "remaining": None}, "no answer"),
        ({"matches": 0, "remaining": 0}, "nothing matches"),
        ({"matches": 1, "remaining": 0}, "1 screening matches, 0 not offered yet"),
    ],
)
def test_the_answer_of_the_knowledge_base_in_words(demo, summary, words):
    events = [
        {
            "event": "action",
            "name": "utter_greet",
            "policy": "p",
            "metadata": {"hybrid": {"summary": summary}},
        }
    ]
    assert demo.turn_details(events).result == words


def test_a_tracker_without_our_metadata_is_read_as_well(demo):
    events = [
        {"event": "session_started"},
        {"event": "user", "text": "hi", "parse_data": None, "metadata": None},
    ]
    assert demo.turn_details(events) == demo.TurnDetails()


def test_free_ports_are_different_and_free(demo):
    ports = demo.free_ports(3)
    assert len(set(ports)) == 3
    for port in ports:
        with socket.socket() as one:
            one.bind(("127.0.0.1", port))


@pytest.mark.process
def test_a_process_and_its_children_are_gone_after_the_block(demo, log):
    child = "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)']); print(p.pid, flush=True); time.sleep(99)"
    with pytest.raises(RuntimeError, match="something else"), demo.process(
        "it", [sys.executable, "-c", child], log
    ) as running:
        deadline = time.monotonic() + 20
        while not log.read_text().strip() and time.monotonic() < deadline:
            time.sleep(0.05)
        raise RuntimeError("something else went wrong")
    assert is_gone(running.pid)
    assert is_gone(int(log.read_text()))


@pytest.mark.process
def test_a_server_that_ends_is_reported_with_the_end_of_its_log(demo, log):
    command = [sys.executable, "-c", "print('port is taken'); raise SystemExit(3)"]
    with demo.process("the server", command, log) as running, pytest.raises(
        demo.DemoError
    ) as caught:
        demo.wait_until_ready("the server", running, lambda: False, log, seconds=30)
    assert "the server ended with status 3" in str(caught.value)
    assert f"From {log}" in str(caught.value)
    assert "port is taken" in str(caught.value)


@pytest.mark.process
def test_a_server_without_a_model_is_reported_with_the_cause(demo, log):
    program = (
        "import http.server, sys\n"
        "print('CheckpointError: the weights are damaged')\n"
        "print('\\n'.join(['a line of a traceback'] * 40), flush=True)\n"
        "class Refuses(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self): self.send_error(409, 'No agent loaded')\n"
        "http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Refuses).serve_forever()\n"
    )
    (port,) = demo.free_ports(1)
    url = f"http://127.0.0.1:{port}/status"
    command = [sys.executable, "-c", program, str(port)]
    with demo.process("the server", command, log) as running, pytest.raises(
        demo.DemoError
    ) as caught:
        demo.wait_until_ready("the server", running, lambda: demo.answers(url), log, seconds=30)
    assert "the server says HTTP Error 409: No agent loaded" in str(caught.value)
    assert "CheckpointError: the weights are damaged" in str(caught.value)


@pytest.mark.process
def test_a_server_that_never_gets_ready_is_reported(demo, log):
    command = [sys.executable, "-c", "import time; time.sleep(99)"]
    with demo.process("the server", command, log) as running, pytest.raises(
        demo.DemoError, match="not ready after 1 s"
    ):
        demo.wait_until_ready("the server", running, lambda: False, log, seconds=1)


@pytest.mark.process
def test_a_command_that_fails_or_is_missing_is_reported(demo, log):
    with pytest.raises(demo.DemoError, match="Training: exit status 2"):
        demo.run_logged("Training", [sys.executable, "-c", "raise SystemExit(2)"], log)
    with pytest.raises(demo.DemoError, match="Training can't be started"):
        demo.run_logged("Training", ["/no/such/program"], log)


def test_selling_out_and_bookings_are_those_of_the_database(demo, database_url, monkeypatch):
    import sqlalchemy as sa

    monkeypatch.setattr(demo, "DATABASE_URL", database_url)
    engine = sa.create_engine(database_url, future=True)
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO bookings VALUES ('me', 1, 2)"))
    demo.sell_out(1)
    assert demo.booked("nobody") == []
    (line,) = demo.booked("me")
    assert line.startswith("2 x ")
    assert line.endswith("(0 seats left)")
    engine.dispose()


def test_training_is_repeated_when_a_file_of_the_project_changes(demo, monkeypatch, tmp_path):
    project = tmp_path / "examples" / "movie_booking"
    (project / "data").mkdir(parents=True)
    (tmp_path / "rasa_hybrid").mkdir()
    for name in ("config.yml", "domain.yml", "build_knowledge_base.py", "data/stories.yml"):
        (project / name).write_text("a")
    monkeypatch.setattr(demo, "PROJECT", project)
    monkeypatch.setattr(demo, "REPOSITORY", tmp_path)
    before = demo.training_digest()
    assert demo.training_digest() == before
    (project / "data" / "stories.yml").write_text("b")
    changed = demo.training_digest()
    (tmp_path / "rasa_hybrid" / "module.py").write_text("")
    assert len({before, changed, demo.training_digest()}) == 3
