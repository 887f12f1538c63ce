"""The real `rasa interactive`: a correction, a process that is killed, an export, and what `rasa train --finetune` learns of it."""

from __future__ import annotations

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List, Tuple

import pexpect
import pytest
import yaml

from tests import services
from tests.components import projects
from tests.components.running import Conversation, read_config, write_config, write_project

DOWN, ENTER, CTRL_C = "\x1b[B", "\r", "\x03"
#: Ways to say that any cuisine is fine, none of them in the training data.
WORDINGS = ("on friday, you pick the kitchen", "on friday, surprise me")
OTHER_CONVERSATIONS = (
    ("hello", "i want thai food", "on friday"),
    ("on tuesday", "french please"),
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project `tables` without rules, so that nothing depends on intents; trained."""
    project = write_project(tmp_path_factory.mktemp("lessons") / "project")
    (project / "data" / "rules.yml").unlink()
    config = read_config(project)
    config["importers"] = [{"name": "rasa_hybrid.TaughtDataImporter"}]
    write_config(project, config)
    projects.train(project, "config.yml", augmentation=None)
    return project


load_agent = functools.lru_cache(maxsize=None)(projects.load_agent)


def talk(model: Path, texts: Tuple[str, ...]) -> List[Any]:
    """Goal and actions of each turn of a conversation."""
    conversation = Conversation(load_agent(str(model)))
    turns = [conversation.say(text) for text in texts]
    return [(turn.parse["hybrid"]["goal"], turn.actions) for turn in turns]


def answers(address: str, port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as client:
        client.settimeout(5)
        return client.connect_ex((address, port)) == 0


class Terminal:
    """A teacher at a terminal."""

    def __init__(self, project: Path) -> None:
        self.port = services._free_port()
        model = str(project / "models" / "config.tar.gz")
        command = ["-m", "rasa", "interactive", "-m", model, "--skip-visualization"]
        self._process = pexpect.spawn(
            sys.executable,
            [*command, "--port", str(self.port)],
            cwd=str(project),
            env={**os.environ, "PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "xterm"},
            encoding="utf-8",
            dimensions=(60, 200),
            timeout=120,
        )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.close(force=True)

    def answer(self, question: str, keys: str) -> str:
        """Waits for a question and answers it; gives what was shown before."""
        self._process.expect(question)
        shown = self._process.before
        time.sleep(0.2)  # the prompt draws itself before it reads keys
        self._process.send(keys)
        return shown

    def choose(self, question: str, answer: str) -> None:
        """Chooses an answer by the key that stands before it."""
        self.answer(question, "")
        self._process.expect(rf"(\w)\) {answer}")
        self._process.send(self._process.match.group(1) + ENTER)

    def kill(self) -> None:
        self._process.kill(signal.SIGKILL)
        self._process.wait()

    def wait(self) -> None:
        self._process.expect(pexpect.EOF)


@pytest.fixture(scope="module")
def lesson(project: Path) -> Any:
    """What a teacher sees and leaves behind who corrects one misunderstood wording."""
    before = {f: f.read_bytes() for f in (project / "data" / "nlu.yml", project / "domain.yml")}
    model = project / "models" / "config.tar.gz"
    wording = next(w for w in WORDINGS if "cuisine" not in talk(model, ("hello", w))[-1][0])
    others = [talk(model, texts) for texts in OTHER_CONVERSATIONS]
    with Terminal(project) as teacher:
        teacher.answer("Your input", "hello" + ENTER)
        # No question about the intent: nothing depends on it.
        teacher.answer("Is this what the user wants", "y")
        teacher.answer("run 'utter_greet'", CTRL_C)
        teacher.answer("Do you want to stop", DOWN + ENTER)  # undo last
        teacher.answer("Your input", "hello" + ENTER)
        teacher.answer("Is this what the user wants", "y")
        teacher.answer("run 'utter_greet'", "y")
        teacher.answer("run 'action_listen'", "y")
        teacher.answer("Your input", wording + ENTER)
        # Who listens on all addresses would answer at the second one too.
        listening = [answers(address, teacher.port) for address in ("127.0.0.1", "127.0.0.2")]
        shown = teacher.answer("Is this what the user wants", "")
        teacher.kill()
    with Terminal(project) as teacher:
        resumed = teacher.answer("Resume it", ENTER)
        teacher.answer("Is this what the user wants", "n")
        teacher.choose("Which slot is wrong", "cuisine")
        teacher.choose("What does the user want as cuisine", "dontcare")
        corrected = teacher.answer("Which slot is wrong", ENTER)
        teacher.answer("run 'utter_offer'", "y")
        teacher.answer("run 'action_listen'", "y")
        teacher.answer("Your input", CTRL_C)
        teacher.answer("Do you want to stop", 2 * DOWN + ENTER)  # fork
        teacher.answer("Before which user message", ENTER)  # the last one
        teacher.answer("Your input", "french food on friday" + ENTER)
        teacher.answer("Is this what the user wants", CTRL_C)
        teacher.answer("Do you want to stop", ENTER)  # continue
        teacher.answer("Is this what the user wants", "y")
        teacher.answer("run 'utter_offer'", "y")
        teacher.answer("run 'action_listen'", "y")
        teacher.answer("Your input", CTRL_C)
        teacher.answer("Do you want to stop", 3 * DOWN + ENTER)  # start fresh
        teacher.answer("Your input", "good morning" + ENTER)
        teacher.answer("Is this what the user wants", "y")
        teacher.answer("run 'utter_greet'", "y")
        teacher.answer("run 'action_listen'", CTRL_C)
        teacher.answer("Do you want to stop", 4 * DOWN + ENTER)  # export and quit
        teacher.answer("Is the bot's turn over", "y")
        for question in ("Export stories", "Export NLU", "Export domain"):
            teacher.answer(question, ENTER)
        teacher.wait()
    return SimpleNamespace(**locals())


def stories(lesson: Any) -> List[Dict[str, Any]]:
    [file] = (lesson.project / "data_taught").glob("*.yml")
    return yaml.safe_load(file.read_text())["stories"]


@pytest.mark.process
@pytest.mark.slow
def test_the_teacher_sees_goal_and_answer_before_an_action_runs_and_is_not_asked_for_intents(
    lesson,
):
    assert "date" in lesson.shown and "friday" in lesson.shown
    assert "Knowledge base, date=friday: 5 found, 5 not offered yet" in lesson.shown
    assert "intent" not in lesson.shown
    assert "Knowledge base, cuisine=dontcare" not in lesson.corrected
    assert "by you" in lesson.corrected


@pytest.mark.process
@pytest.mark.slow
def test_the_teaching_server_listens_on_localhost_only(lesson):
    assert lesson.listening == [True, False]


@pytest.mark.process
@pytest.mark.slow
def test_a_killed_process_loses_the_question_on_the_screen_and_nothing_else(lesson):
    assert "unfinished dialogue" in lesson.resumed
    assert lesson.wording in lesson.resumed
    texts = [step["user"] for step in stories(lesson)[0]["steps"] if "user" in step]
    assert len(texts) == 2


@pytest.mark.process
@pytest.mark.slow
def test_exported_stories_have_texts_and_slots_and_nothing_twice(lesson):
    first, forked, fresh = stories(lesson)
    assert [s for s in first["steps"] if "user" not in s] == [
        {"action": "utter_greet"},
        {
            "slot_was_set": [
                {"cuisine": "dontcare"},
                {"date": "friday"},
                {"offer_restaurant": "Bangkok"},
            ]
        },
        {"action": "utter_offer"},
    ]
    assert [s["user"] for s in first["steps"] if "user" in s] == [
        "hello",
        lesson.wording.replace("friday", "[friday](date)"),
    ]
    assert [s["user"] for s in forked["steps"] if "user" in s] == [
        "hello",
        "[french](cuisine) food on [friday](date)",
    ]
    assert [s["action"] for s in forked["steps"] if "action" in s] == ["utter_greet", "utter_offer"]
    assert [list(step) for step in fresh["steps"]] == [["intent", "user"], ["action"]]
    assert projects.validate(lesson.project, "config.yml")
    # What the teacher added nothing to is as it was.
    assert {file: file.read_bytes() for file in lesson.before} == lesson.before


@pytest.mark.process
@pytest.mark.slow
def test_the_correction_says_what_the_agent_believed(lesson):
    lines = (lesson.project / "data_taught" / "corrections.jsonl").read_text().splitlines()
    [correction] = [json.loads(line) for line in lines]
    assert (correction["kind"], correction["text"]) == ("goal", lesson.wording)
    assert (correction["slot"], correction["believed"], correction["taught"]) == (
        "cuisine",
        "none",
        "dontcare",
    )
    assert correction["probability"] > 0.1 and correction["model_id"] and correction["time"]


@pytest.mark.process
@pytest.mark.slow
def test_after_finetuning_the_wording_is_understood_and_other_conversations_are_as_before(lesson):
    command = [sys.executable, "-m", "rasa", "train", "--finetune", str(lesson.model)]
    done = subprocess.run(
        [*command, "--fixed-model-name", "finetuned", "--skip-validation"],
        cwd=lesson.project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    model = lesson.project / "models" / "finetuned.tar.gz"
    goal, actions = talk(model, ("hello", lesson.wording))[-1]
    assert goal == {"cuisine": "dontcare", "date": "friday"}
    assert actions == ["utter_offer"]
    assert [talk(model, texts) for texts in OTHER_CONVERSATIONS] == lesson.others
