"""Every command of the documentation runs: as it is written there, in a copy of this checkout, with small numbers.

Whether each is run or named with a reason is a fast test. Running them takes minutes: `make test-docs`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import click
import pexpect
import pytest
import yaml
from click.testing import CliRunner

from benchmarks import serving
from rasa_hybrid.commands import main
from rasa_hybrid.corpora import read_jsonl, write_jsonl
from rasa_hybrid.dialogue import Dialogue
from tests.components.bot_server import eventually, free_port
from tests.documentation import ROOT, Command, commands
from tests.small_corpora import booking, search

MOVIES = "examples/movie_booking"
SIZES = {
    "embedding_size": 8,
    "utterance_lstm_size": 6,
    "dialogue_lstm_size": 7,
    "act_embedding_size": 4,
    "belief_hidden_size": 5,
    "policy_hidden_size": 5,
    "epochs": 1,
    "least_steps": 1,
}
_SETS = " ".join(f"--set {name}={value}" for name, value in SIZES.items())
#: What is run (a regular expression, all that fit), and what makes it small or ends it. `click` takes the last of an
#: option that is given twice. `{bot}` and `{actions}` are servers of the movie booking bot and of its actions.
SMALL = {
    "rasa-hybrid simulate ": "--dialogues 3",
    "rasa-hybrid evaluate ": "--dialogues 2",
    "rasa-hybrid evaluate .*--url ": "--url {bot}",
    "rasa-hybrid track ": f"--seeds 1 {_SETS}",
    "rasa-hybrid (teach|reinforce) ": "--episodes 2 --earlier 2 --measure-dialogues 1 --measure-surface train",
    "rasa-hybrid teach ": "--set steps=1 --set update_every=2 --set batch_size=2",
    "rasa-hybrid reinforce ": "--set batch_size=2",
    "rasa-hybrid reproduce ": "--seeds 1 --jobs 1",
    "rasa-hybrid reproduce (?!.*(--quick|--experiment))": "--experiment benchmarks/experiments/full.yml",
    "rasa-hybrid learn ": "--least 2 --most 4 --margin 1 --once",
    "rasa-hybrid collect ": "--once",
    "rasa-hybrid serve-(models|ratings) ": "--port 0",
    "rasa-hybrid (rollback|report|forget|ratings) ": "",
    r"python -m benchmarks\.production ": "--conversations 2 --users 2",
    r"python -m benchmarks\.peers train ": "--dialogues 8 --augmentation 0 --epochs 1",
    r"python -m benchmarks\.peers talk ": "--dialogues 1",
    r"python -m benchmarks\.peers read ": "--dialogues 2",
    r"python -m benchmarks\.serving ": "--messages 4 --clients 2 --repetitions 1",
    r"python -m benchmarks\.feedback ": "--actions {actions} --rate 5 --seconds 1 --conversations 1 --feedback 10 --kills 1",
    r"python -m tests\.components\.record_stock ": "moodbot",
    "python build_knowledge_base.py$": "",
    r"python -m benchmarks\.speed( |$)": "--dialogues 8 --repetitions 1",
    r"python -m benchmarks\.titles ": "--dialogues 2",
    r"python -m benchmarks\.training_step$": "--dialogues 40",
    r"python -m benchmarks --only growth$": "--growth 12",
    r"python -m benchmarks --only serving$": "--dialogues 8 --epochs 1 --messages 4 --clients 2 --repetitions 1",
    "make bench( |$)": "ARGS='--dialogues 8 --epochs 1 --growth 12 --recorded 2 --users 1 --messages 4 --clients 2 --played 8 --repetitions 1'",
    "make (demo|format)$": "",
    f"cd {MOVIES}$": "",
    "rasa (train|test|data validate)$": "",
    "rasa (run actions & rasa )?shell( --debug)?$": "",
}
#: What is not run here, and why.
NOT_HERE = {
    "make test": "It runs the tests.",
    "make test-fast": "It runs the tests.",
    "make test 'ARGS=-k test_understanding'": "It runs tests.",
    "make test PYTHON=python3.8": "It makes another environment; tests/test_setup.py looks at how.",
    "make lock UPGRADE=--upgrade": "It asks the network for the newest versions.",
    "pip install /path/to/rasa_hybrid": "It changes this environment, which was made that way: scripts/bootstrap.",
    "rasa interactive": "tests/components/test_interactive.py runs it.",
    "rasa train --finetune": "tests/components/test_interactive.py runs it.",
    "rasa train --force": "tests/components/test_commands.py trains so.",
    "rasa run": "It has a fixed port; tests/components/bot_server.py runs it on others.",
    "rasa run --enable-api": "It has a fixed port; `{bot}` here is run so on another.",
    "rasa run -m models/": "It has a fixed port; tests/components/bot_server.py runs it on others.",
    "rasa-hybrid learn --release rejected": "A part of a command; tests/components/test_learner.py releases.",
    "rasa-hybrid report --model": "A part of a command that is on the same page.",
}
_PATIENT = (r"SECONDS_TO_START = \d+", "SECONDS_TO_START = 1800")
#: Files of the copy, and what stands in them instead of what: bots that learn in no time, and may be slow to start.
CHANGED: Dict[str, List[Tuple[str, str]]] = {
    f"{MOVIES}/config.yml": [
        ("epochs: 5", "\n    ".join(f"{name}: {value}" for name, value in SIZES.items())),
        ("simulate: 3000", "simulate: 20"),
        ("type: sql", "type: sql\n      timeout: 60"),
    ],
    f"{MOVIES}/endpoints.yml": [("5055", "{port}")],
    f"{MOVIES}/demo.py": [_PATIENT],
    "benchmarks/peers.py": [('"least_steps": 420', '"least_steps": 1')],
    "benchmarks/serving.py": [_PATIENT],
    "tests/projects/moodbot/config_diet.yml": [(r"epochs: \d+", "epochs: 1")],
}
TINY_EXPERIMENT = {
    "supervised_dialogues": 4,
    "taught": [1, 2],
    "earlier": 2,
    "reinforced_dialogues": 2,
    "measure_every": 2,
    "measure_dialogues": 1,
    "final_dialogues": 2,
}
COMMANDS = commands()
RUN = [command for command in COMMANDS if command.text not in NOT_HERE]


def smaller(command: Command) -> List[str]:
    """What is added to a command, for each line of the table that it fits."""
    return [added for pattern, added in SMALL.items() if re.match(pattern, command.text)]


# --- what stands on the pages -------------------------------------------------------------------------


def test_every_command_is_run_or_has_a_reason_why_not():
    assert len(COMMANDS) > 60, "the pages were not read"
    neither = [f"{command}: {command.text}" for command in RUN if not smaller(command)]
    assert not neither, "add them to SMALL or NOT_HERE"


def test_nothing_is_listed_that_stands_on_no_page():
    texts = {command.text for command in COMMANDS}
    assert not set(NOT_HERE) - texts
    assert not [p for p in SMALL if not any(re.match(p, command.text) for command in RUN)]
    named = re.findall(r"tests/[\w/]+\.py", " ".join(NOT_HERE.values()))
    assert all((ROOT / path).is_file() for path in named)


@pytest.mark.parametrize("command", [c for c in RUN if c.text.startswith("rasa-hybrid ")], ids=str)
def test_options_exist_and_their_values_are_allowed(command):
    _, name, *arguments = shlex.split(command.text)
    subcommand = main.commands[name]
    context = click.Context(subcommand, info_name=name)
    values, left, _ = subcommand.make_parser(context).parse_args(list(arguments))
    assert not left
    for parameter in subcommand.params:
        given = values.get(parameter.name)
        if given is None:
            assert not parameter.required, f"{parameter.name} is missing"
        elif not isinstance(parameter.type, click.Path):
            parameter.type_cast_value(context, given)


# --- a copy in which all is small ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout in which bots and experiments are small, with a knowledge base."""
    folder = tmp_path_factory.mktemp("docs") / "copied"
    left_out = (".*", "__pycache__", "*.egg-info", "results", "models", "site", "*.db", "*.jsonl")
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*left_out))
    (folder / "scripts" / "bootstrap").write_text("#!/bin/sh\n")
    for path, changes in CHANGED.items():
        text = (folder / path).read_text(encoding="utf-8")
        for old, new in changes:
            text, count = re.subn(old, new.replace("{port}", str(free_port())), text)
            assert count, f"{path} has no {old}"
        (folder / path).write_text(text, encoding="utf-8")
    for experiment in (folder / "benchmarks" / "experiments").glob("*.yml"):
        content = yaml.safe_load(experiment.read_text(encoding="utf-8"))
        experiment.write_text(yaml.safe_dump(tiny_experiment(content)), encoding="utf-8")
    subprocess.run([sys.executable, "build_knowledge_base.py"], cwd=folder / MOVIES, check=True)
    return folder


@pytest.fixture(scope="module")
def checkout(copied: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The copy, with a trained bot and the files that commands read."""
    from tests.components.running import eagerly

    folder = Path(shutil.copytree(copied, tmp_path_factory.mktemp("docs") / "checkout"))
    with pytest.MonkeyPatch.context() as patch, eagerly():
        patch.chdir(folder / MOVIES)
        patch.setenv("RASA_CACHE_DIRECTORY", str(folder / MOVIES / ".rasa" / "cache"))
        _train_and_talk(folder)
    _write_corpora(folder)
    return folder


def tiny_experiment(content: Dict[str, Any]) -> Dict[str, Any]:
    """An experiment as it is, but for its sizes."""
    preset = content.get("model", {}).get("preset", "default")
    imitation = {"update_every": 1, "steps": 1, "batch_size": 2}
    return {
        **content,
        **TINY_EXPERIMENT,
        "model": {**content.get("model", {}), **SIZES, "preset": preset},
        "imitation": {**content.get("imitation", {}), **imitation},
        "reinforce": {**content.get("reinforce", {}), "batch_size": 2},
    }


def _train_and_talk(folder: Path) -> None:
    """Trains the bot; its conversations go into `feedback.db`, and the events of one of them into `events.db`."""
    from rasa.core.brokers.sql import SQLEventBroker

    from rasa_hybrid.components import activity
    from rasa_hybrid.components.activity import Exploration
    from rasa_hybrid.components.episodes import Signals, assemble, sessions
    from rasa_hybrid.components.loading import served_runtime
    from rasa_hybrid.feedback.store import EpisodeStore, Outcome
    from tests.components import projects
    from tests.components.running import Conversation

    archive = projects.train(folder / MOVIES, "config.yml")
    (folder / "models").mkdir()
    for name in ("X", "base", "taught", "candidate"):
        shutil.copy(archive, folder / "models" / f"{name}.tar.gz")
    agent = projects.load_agent(archive)
    runtime = served_runtime()
    store = EpisodeStore(f"sqlite:///{folder / 'feedback.db'}")
    broker = SQLEventBroker(dialect="sqlite", db=str(folder / "events.db"))
    activity.explore(Exploration(True, temperature=3.0, floor=0.01))
    for i, sender in enumerate(("anna", "bert", "carl", "dora")):
        user = Conversation(agent, sender)
        for text in ("hello", "two tickets for friday", "yes please"):
            user.say(text)
        events = list(user.tracker.events)
        id = store.begin(sender, sessions(sender, events)[0].begun)
        store.give(sender, Outcome(success=i % 2 == 0), episode=id)
        assert assemble(store, sender, events, runtime.reader, agent.domain, Signals()) == [id]
    activity.explore(None)
    for event in events:
        broker.publish({"sender_id": "emil", **json.loads(json.dumps(event.as_dict()))})
    store.close()


def _write_corpora(folder: Path) -> None:
    """Public corpora of a few dialogues, dialogues of the expert, a list of films, a channel's configuration."""
    films = ("up", "the red sea", "arrival")
    for part in ("train", "dev", "test"):
        booked = [booking(f"{part}{i}", film, "friday") for i, film in enumerate(films)]
        searched = [search(i, food) for i, food in enumerate(("thai", "indian", "french"))]
        for path, dialogues in (
            (f"sim-M/{part}.json", booked),
            (f"dstc2/{part}.json", searched),
            (f"{part}.json", booked),
        ):
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(json.dumps(dialogues))
    (folder / "films.csv").write_text("\n".join(("movie", *films)))
    (folder / "credentials.yml").write_text("rasa_hybrid.FeedbackChannel:\n")
    for name in ("taught", "held-out", "supervised", "reinforced"):
        arguments = ["--project", str(folder / MOVIES), "--dialogues", "4"]
        path = folder / f"{name}.jsonl"
        ours(["simulate", *arguments, "--out", str(path)])
        spoken = [with_words(dialogue) for dialogue in read_jsonl(path)]
        write_jsonl(path, spoken)


def with_words(dialogue: Dialogue) -> Dialogue:
    """The dialogue with something that the bot said, as those of a server have it: judges see no others."""
    turns = [
        replace(turn, actions=tuple(replace(a, text=a.name) for a in turn.actions))
        for turn in dialogue.turns
    ]
    return replace(dialogue, turns=tuple(turns))


# --- running them -------------------------------------------------------------------------------------


def ours(arguments: List[str]) -> str:
    """Runs a command of `rasa-hybrid` in this process; its output."""
    done = CliRunner().invoke(main, arguments)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


class Terminal:
    """Runs commands one after the other in a copy of the checkout, those of Rasa in the project."""

    def __init__(self, checkout: Path, stack: ExitStack) -> None:
        self.checkout, self.project = checkout, checkout / MOVIES
        self.folder, self._stack = checkout, stack
        self._addresses: Dict[str, str] = {}
        programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        paths = {"PATH": programs, "PYTHONPATH": str(checkout)}
        cache = {"RASA_CACHE_DIRECTORY": str(self.project / ".rasa" / "cache")}
        self._environment = {**os.environ, **paths, **cache}

    def run(self, command: Command) -> None:
        """Runs it to its end; what serves or asks is used and then stopped."""
        text = " ".join((command.text, *smaller(command)))
        for name, start in (("{bot}", self._bot), ("{actions}", self._actions)):
            if name in text:
                if name not in self._addresses:
                    self._addresses[name] = start()
                text = text.replace(name, self._addresses[name])
        print(f"{command}: {text}")
        program, *arguments = shlex.split(text)
        if program == "cd":
            self.folder = self.checkout / arguments[0]
        elif program == "rasa-hybrid" and arguments[0].startswith("serve-"):
            self._serve(arguments)
        elif program == "rasa-hybrid":
            print(ours(arguments))
        elif re.search(r"rasa shell\b", text):
            self._shell(text)
        else:
            folder = self.project if program == "rasa" else self.folder
            text = text.replace("make ", f"make BIN={Path(sys.executable).parent} ")
            subprocess.run(text, shell=True, cwd=folder, env=self._environment, check=True)

    def _serve(self, arguments: List[str]) -> None:
        command = [sys.executable, "-m", "rasa_hybrid.commands", *arguments]
        process = subprocess.Popen(
            command, cwd=self.folder, env=self._environment, stderr=subprocess.PIPE, text=True
        )
        try:
            said = [""]
            while not said[-1].startswith("http://"):
                said.append(process.stderr.readline())
                assert said[-1], "".join(said)
            address = said[-1]
            with urllib.request.urlopen(address.strip(), timeout=60) as answer:
                assert answer.read()
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0, process.stderr.read()
        finally:
            process.kill()
            process.stderr.close()

    def _shell(self, text: str) -> None:
        """Says something in `rasa shell`."""
        terminal = {"PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "xterm"}
        process = pexpect.spawn(
            "/bin/sh",
            ["-c", text],
            cwd=str(self.project),
            env={**self._environment, **terminal},
            encoding="utf-8",
            dimensions=(60, 200),
            timeout=300,
        )
        try:
            for said in ("hello", "/stop"):
                process.expect("Your input")
                time.sleep(0.5)  # the prompt draws itself before it reads keys
                process.send(f"{said}\r")

            def ended() -> bool:
                with suppress(pexpect.TIMEOUT, pexpect.EOF):  # unread output would hold it up
                    process.read_nonblocking(100_000, timeout=0)
                return not process.isalive()

            eventually(ended, 60)
            assert process.exitstatus == 0
        finally:
            with suppress(ProcessLookupError):  # the action server goes on behind
                os.killpg(process.pid, signal.SIGKILL)
            process.close(force=True)

    def _actions(self) -> str:
        self._stack.enter_context(serving.action_server(self.project))
        endpoints = yaml.safe_load((self.project / "endpoints.yml").read_text())
        return endpoints["action_endpoint"]["url"]

    def _bot(self) -> str:
        self._addresses.setdefault("{actions}", self._actions())
        model = self.checkout / "models" / "X.tar.gz"
        return self._stack.enter_context(serving.served(model, self.project))[0]


def test_commands_that_need_no_model_run(copied, tmp_path, monkeypatch):
    fitting = r"rasa-hybrid (simulate|evaluate .*--model expert|forget|ratings) "
    chosen = [command for command in RUN if re.match(fitting, command.text)]
    assert len(chosen) > 6
    monkeypatch.chdir(shutil.copytree(copied, tmp_path / "copied"))
    with ExitStack() as stack:
        for command in chosen:
            Terminal(Path.cwd(), stack).run(command)


@pytest.fixture
def terminal(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """In a copy of its own."""
    from rasa_hybrid.evaluation import experiment as experiments
    from tests.components.running import eagerly

    # Who starts the tests in the background may have told them, and so what they start, not to hear it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    copy = Path(shutil.copytree(checkout, tmp_path / "checkout"))
    monkeypatch.chdir(copy)
    monkeypatch.setattr(serving, "SECONDS_TO_START", 1800)
    tiny = experiments.Experiment.read("benchmarks/experiments/full.yml")
    monkeypatch.setattr(experiments, "QUICK", tiny)
    with ExitStack() as stack, eagerly():
        yield Terminal(copy, stack)


@pytest.mark.documented
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    "page", sorted({command.page for command in RUN}), ids=lambda page: str(page.relative_to(ROOT))
)
def test_commands_of_the_page_run_in_their_order(page, terminal):
    before = 0
    done = set()
    for command in RUN:
        if command.page == page and command.text not in done:
            if command.line != before + 1:
                terminal.folder = terminal.checkout
            before = command.line
            done.add(command.text)
            terminal.run(command)
