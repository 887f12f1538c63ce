"""Rasa projects of `tests/projects`: copied, trained, tested and talked to in this process.

A test compares what a project does with one configuration with what it did with another one. For that the
bundled test stories, a conversation and a file of held-out wordings each become plain data here.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
import logging
import shutil
import threading
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, Dict, FrozenSet, Iterator, List, Optional, Set, Tuple

import yaml

PROJECTS = Path(__file__).resolve().parents[1] / "projects"
NAMES = ("moodbot", "formbot", "concertbot", "retailbot")

#: What a conversation is compared by, turn by turn: see `converse`.
TurnRecord = Dict[str, Any]


def copy_project(name: str, destination: Path) -> Path:
    """Puts a project of `tests/projects` into `destination`, `moodbot` over what `rasa init` creates.

    Returns:
        `destination`.
    """
    destination.mkdir(parents=True, exist_ok=True)
    if name == "moodbot":
        from rasa.cli.scaffold import create_initial_project

        create_initial_project(str(destination))
    shutil.copytree(PROJECTS / name, destination, dirs_exist_ok=True)
    return destination


def train(
    project: Path, config: str, nlu_only: bool = False, augmentation: Optional[int] = 0
) -> str:
    """Trains as `rasa train` (or `rasa train nlu`) does, without a process of its own.

    Args:
        project: folder of the project.
        config: file name of the configuration in it.
        nlu_only: leaves stories, rules and policies out.
        augmentation: as `--augmentation`; None for what Rasa does without it, which takes some seconds
            and changes nothing for our policy, as `test_training` proves.

    Returns:
        Path of the archive.
    """
    from rasa.model_training import train as train_project
    from rasa.model_training import train_nlu

    _quiet_rasa()
    name = Path(config).stem
    if nlu_only:
        archive = train_nlu(
            str(project / config),
            str(project / "data"),
            str(project / "models"),
            fixed_model_name=name,
            domain=str(project / "domain.yml"),
        )
    else:
        archive = train_project(
            domain=str(project / "domain.yml"),
            config=str(project / config),
            training_files=[str(project / "data")],
            output=str(project / "models"),
            fixed_model_name=name,
            core_additional_arguments=(
                {} if augmentation is None else {"augmentation_factor": augmentation}
            ),
        ).model
    if archive is None:
        raise RuntimeError(f"Rasa trained no model for {project / config}; its output says why.")
    return str(archive)


def load_agent(archive: str, actions_url: Optional[str] = None) -> Any:
    """A `rasa.core.agent.Agent` with the model, its custom actions behind `actions_url`."""
    from rasa.core.agent import Agent
    from rasa.utils.endpoints import EndpointConfig

    _quiet_rasa()
    endpoint = EndpointConfig(actions_url) if actions_url else None
    return Agent.load(archive, action_endpoint=endpoint)


def validate(project: Path, config: str) -> bool:
    """What `rasa data validate` says of the intents, responses, actions, forms, slots and rules of a project."""
    from rasa.shared.importers.importer import TrainingDataImporter
    from rasa.validator import Validator

    importer = TrainingDataImporter.load_from_config(
        str(project / config), str(project / "domain.yml"), [str(project / "data")]
    )
    validator = Validator.from_importer(importer)
    return all(
        (
            validator.verify_domain_validity(),
            validator.verify_nlu(ignore_warnings=True),
            validator.verify_actions_in_stories_rules(),
            validator.verify_forms_in_stories_rules(),
            validator.verify_form_slots(),
            validator.verify_slot_mappings(),
        )
    )


# --- custom actions ---------------------------------------------------------------------------------


@contextmanager
def action_server(project: Path) -> Iterator[str]:
    """Serves the actions of `actions.py` in the project on a free port, as `rasa run actions` would.

    Yields:
        URL for `action_endpoint`.
    """
    executor = _executor(project / "actions.py")
    with serve_actions(lambda call: _run_action(executor, call)) as url:
        yield url


@contextmanager
def serve_actions(run: Callable[[Dict[str, Any]], Tuple[int, Any]]) -> Iterator[str]:
    """Serves custom actions on a free port.

    Args:
        run: gives status and answer to a call of Rasa's.

    Yields:
        URL for `action_endpoint`.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = run(call)
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Keeps requests out of the output of the tests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/webhook"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _executor(module_file: Path) -> Any:
    from rasa_sdk import Action
    from rasa_sdk.executor import ActionExecutor

    executor = ActionExecutor()
    if not module_file.exists():
        return executor
    # A name of its own: two projects have a module `actions`.
    specification = importlib.util.spec_from_file_location(
        f"actions_{uuid.uuid4().hex}", module_file
    )
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    for _, kind in inspect.getmembers(module, inspect.isclass):
        if issubclass(kind, Action) and kind.__module__ == module.__name__:
            executor.register_action(kind)
    return executor


def _run_action(executor: Any, call: Dict[str, Any]) -> Tuple[int, Any]:
    from rasa_sdk.interfaces import ActionExecutionRejection, ActionNotFoundException

    try:
        return 200, asyncio.run(executor.run(call))
    except ActionExecutionRejection as error:
        return 400, {"error": error.message, "action_name": error.action_name}
    except ActionNotFoundException as error:
        return 404, {"error": error.message, "action_name": error.action_name}


# --- test stories -----------------------------------------------------------------------------------


def run_test_stories(agent: Any, stories: Path, end_to_end: bool) -> Dict[str, List[str]]:
    """What `rasa test core` (with `--e2e` if `end_to_end`) finds wrong in each test story.

    Returns:
        Name of each story to its wrong predictions in words; an empty list if it passed.
    """
    from rasa.core.test import _collect_story_predictions, _create_data_generator

    _quiet_rasa()
    generator = _create_data_generator(str(stories), agent, use_conversation_test_files=end_to_end)
    trackers = generator.generate_story_trackers()
    evaluation, _, _ = asyncio.run(_collect_story_predictions(trackers, agent, use_e2e=end_to_end))
    found = {tracker.sender_id: [] for tracker in evaluation.successful_stories}
    found.update({tracker.sender_id: _mistakes(tracker) for tracker in evaluation.failed_stories})
    return found


def story_names(stories: Path) -> Set[str]:
    """Names of the stories of a file."""
    return {story["story"] for story in yaml.safe_load(stories.read_text())["stories"]}


def _mistakes(tracker: Any) -> List[str]:
    from rasa.core.test import WronglyClassifiedUserUtterance, WronglyPredictedAction

    mistakes = []
    for event in tracker.events:
        if isinstance(event, WronglyPredictedAction):
            mistakes.append(f"{event.action_name_prediction} instead of {event.action_name}")
        elif isinstance(event, WronglyClassifiedUserUtterance):
            mistakes.append(event.inline_comment() or f"misunderstood {event.text!r}")
    return mistakes


# --- conversations ----------------------------------------------------------------------------------


def read_conversations(project: Path) -> Dict[str, List[str]]:
    """The conversations of a project by name, as the messages that the user sends one after the other."""
    conversations = yaml.safe_load((project / "tests" / "conversations.yml").read_text())
    return {name: list(messages) for name, messages in conversations.items()}


def converse(agent: Any, messages: List[str]) -> List[TurnRecord]:
    """Talks to an agent in a new conversation.

    Which component set a slot and in how many steps is its own affair, so slots are compared by the value that
    they have when the turn is over.

    Returns:
        For each message a record of: `user`, the message; `steps`, the actions that ran and the rejections by a
        form, without `action_listen`; `loop`, the active loop afterwards; `slots`, those that have a value
        afterwards; `replies`, texts with the payloads of their buttons.
    """
    _quiet_rasa()
    return asyncio.run(_converse(agent, messages))


async def _converse(agent: Any, messages: List[str]) -> List[TurnRecord]:
    from rasa.core.channels import UserMessage

    sender = uuid.uuid4().hex
    records: List[TurnRecord] = []
    seen = 0
    for message in messages:
        replies = await agent.handle_message(UserMessage(message, sender_id=sender)) or []
        tracker = await agent.tracker_store.retrieve_full_tracker(sender)
        events = list(tracker.events)
        records.append(
            {
                "user": message,
                "steps": _steps(events[seen:]),
                "loop": tracker.active_loop_name,
                "slots": _filled_slots(tracker),
                "replies": [_reply(reply) for reply in replies],
            }
        )
        seen = len(events)
    return records


def _steps(events: List[Any]) -> List[str]:
    from rasa.shared.core.constants import ACTION_LISTEN_NAME
    from rasa.shared.core.events import ActionExecuted, ActionExecutionRejected

    steps = []
    for event in events:
        if isinstance(event, ActionExecutionRejected):
            steps.append(f"rejected {event.action_name}")
        elif isinstance(event, ActionExecuted) and event.action_name != ACTION_LISTEN_NAME:
            steps.append(event.action_name)
    return steps


def _filled_slots(tracker: Any) -> Dict[str, Any]:
    return {
        slot: value
        for slot, value in sorted(tracker.current_slot_values().items())
        if value is not None and slot != "session_started_metadata"
    }


def _reply(reply: Dict[str, Any]) -> str:
    payloads = [button["payload"] for button in reply.get("buttons", [])]
    return " ".join([reply.get("text") or "", *payloads]).strip()


# --- understanding ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Understanding:
    """How well a model understands a file of labelled messages.

    Args:
        messages: their number.
        intent_accuracy: fraction of messages with the right intent, the one below it where a
            `FallbackClassifier` put `nlu_fallback` on top.
        span_f1: micro F1 of entities by type, role, first and last character.
        value_f1: micro F1 of entities by type, role and value, synonyms resolved, whatever its case.
        mistakes: every message that was misunderstood, in words.
    """

    messages: int
    intent_accuracy: float
    span_f1: Optional[float]
    value_f1: Optional[float]
    mistakes: List[str] = field(default_factory=list)


def understanding(agent: Any, project: Path) -> Understanding:
    """Compares what an agent understands with the labels of `tests/test_nlu.yml` of a project.

    Raises:
        ValueError: if the file has no message.
    """
    from rasa.shared.nlu.training_data.loading import load_data

    _quiet_rasa()
    synonyms = load_data(str(project / "data" / "nlu.yml")).entity_synonyms
    examples = load_data(str(project / "tests" / "test_nlu.yml")).intent_examples
    if not examples:
        raise ValueError(f"{project / 'tests' / 'test_nlu.yml'} has no labelled message.")
    parses = parse(agent, [example.get("text") for example in examples])
    right, mistakes = 0, []
    spans: List[Tuple[Set[Any], Set[Any]]] = []
    values: List[Tuple[Set[Any], Set[Any]]] = []
    for example, prediction in zip(examples, parses):
        intent = _intent(prediction)
        right += intent == example.get("intent")
        found = prediction["entities"]
        expected = [
            {**entity, "value": synonyms.get(str(entity["value"]), entity["value"])}
            for entity in example.get("entities", [])
        ]
        spans.append((_spans(expected), _spans(found)))
        values.append((_values(expected), _values(found)))
        if intent != example.get("intent"):
            mistakes.append(f"{example.get('text')!r}: {intent} instead of {example.get('intent')}")
        for side in (spans[-1], values[-1]):
            if side[0] != side[1]:
                missing, surplus = (
                    sorted(map(str, side[0] - side[1])),
                    sorted(map(str, side[1] - side[0])),
                )
                mistakes.append(f"{example.get('text')!r}: missing {missing}, too much {surplus}")
    return Understanding(
        len(examples), right / len(examples), _micro_f1(spans), _micro_f1(values), mistakes
    )


def figures(agent: Any, project: Path) -> Dict[str, Optional[float]]:
    """`understanding` of an agent in numbers; and, where a project has `tests/out_of_domain.txt`, how much of its
    own held-out messages and of those a `FallbackClassifier` rejects.
    """
    found = understanding(agent, project)
    numbers: Dict[str, Optional[float]] = {
        "intent_accuracy": found.intent_accuracy,
        "span_f1": found.span_f1,
        "value_f1": found.value_f1,
    }
    foreign = project / "tests" / "out_of_domain.txt"
    if foreign.exists():
        numbers["fallback_rate"] = fallback_rate(agent, held_out_texts(project))
        numbers["fallback_rate_out_of_domain"] = fallback_rate(
            agent, foreign.read_text().splitlines()
        )
    return {name: None if value is None else round(value, 4) for name, value in numbers.items()}


def fallback_rate(agent: Any, messages: List[str]) -> float:
    """Fraction of the messages that a `FallbackClassifier` rejects."""
    from rasa.nlu.classifiers.fallback_classifier import is_fallback_classifier_prediction

    _quiet_rasa()
    parses = parse(agent, messages)
    return sum(map(is_fallback_classifier_prediction, parses)) / len(parses)


def parse(agent: Any, messages: List[str]) -> List[Dict[str, Any]]:
    """Parse data of each message, outside of any conversation."""

    async def parse_all() -> List[Dict[str, Any]]:
        return [await agent.parse_message(message) for message in messages]

    return asyncio.run(parse_all())


def held_out_texts(project: Path) -> List[str]:
    """The messages of `tests/test_nlu.yml` of a project."""
    from rasa.shared.nlu.training_data.loading import load_data

    examples = load_data(str(project / "tests" / "test_nlu.yml")).intent_examples
    return [example.get("text") for example in examples]


def _intent(prediction: Dict[str, Any]) -> Optional[str]:
    from rasa.nlu.classifiers.fallback_classifier import (
        is_fallback_classifier_prediction,
        undo_fallback_prediction,
    )

    if is_fallback_classifier_prediction(prediction):
        prediction = undo_fallback_prediction(prediction)
    return prediction["intent"].get("name")


def _spans(entities: List[Dict[str, Any]]) -> Set[Tuple[Any, ...]]:
    return {(e["entity"], e.get("role"), e["start"], e["end"]) for e in entities}


def _values(entities: List[Dict[str, Any]]) -> FrozenSet[Tuple[Any, ...]]:
    return frozenset((e["entity"], e.get("role"), str(e["value"]).lower()) for e in entities)


def _micro_f1(pairs: List[Tuple[Any, Any]]) -> Optional[float]:
    """F1 over (expected, found) sets; None if nothing was expected and nothing found."""
    hits = sum(len(expected & found) for expected, found in pairs)
    total = sum(len(expected) + len(found) for expected, found in pairs)
    return 2 * hits / total if total else None


def _quiet_rasa() -> None:
    """Rasa logs every event to stdout until it is told not to."""
    from rasa.utils.log_utils import configure_structlog

    logging.getLogger("rasa").setLevel(logging.ERROR)
    configure_structlog(logging.ERROR)
