"""The project `data/tables` in Rasa: written, trained, talked to. Its bot finds a table in a restaurant and reserves it."""

from __future__ import annotations

import asyncio
import csv
import json
import shutil
import sqlite3
import tarfile
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import yaml

TABLES = Path(__file__).resolve().parent / "data" / "tables"


def write_project(destination: Path, **policy: Any) -> Path:
    """Puts the project into a folder, with its knowledge base, and `policy` as further settings of `HybridPolicy`."""
    shutil.copytree(TABLES, destination)
    database = destination / "tables.db"
    with sqlite3.connect(database) as connection:
        connection.execute(
            "CREATE TABLE tables (id INTEGER, restaurant TEXT, cuisine TEXT, date TEXT)"
        )
    with (destination / "tables.csv").open() as file:
        add_rows(destination, *(tuple(row) for row in list(csv.reader(file))[1:]))
    configure(destination, **policy)
    return destination


def configure(project: Path, **policy: Any) -> None:
    """Changes settings of the project's `HybridPolicy`, relative paths of the knowledge base made absolute."""
    config = read_config(project)
    entry = config["policies"][0]
    entry.update(policy)
    if entry.get("knowledge_base"):
        entry["knowledge_base"]["url"] = f"sqlite:///{project / 'tables.db'}"
    write_config(project, config)


def read_config(project: Path) -> Dict[str, Any]:
    return yaml.safe_load((project / "config.yml").read_text())


def write_config(project: Path, config: Mapping[str, Any]) -> None:
    (project / "config.yml").write_text(yaml.safe_dump(dict(config), sort_keys=False))


def add_rows(project: Path, *rows: Tuple[Any, ...]) -> None:
    """Adds tables (id, restaurant, cuisine, date) to the knowledge base."""
    with sqlite3.connect(project / "tables.db") as connection:
        connection.executemany("INSERT INTO tables VALUES (?, ?, ?, ?)", rows)
    connection.close()


def copy_trained(project: Path, destination: Path) -> Path:
    """Copies a trained project with its knowledge base; its model asks the copy from then on.

    Returns:
        The model, `models/config.tar.gz` of the copy.
    """
    shutil.copytree(project, destination)
    archive = destination / "models" / "config.tar.gz"
    unpacked = destination / "unpacked"
    with tarfile.open(archive) as tar:
        tar.extractall(unpacked)
    for file in [*unpacked.rglob("*.json"), *unpacked.rglob("*.yml")]:
        file.write_text(file.read_text().replace(str(project), str(destination)))
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(unpacked.iterdir()):
            tar.add(path, path.name)
    shutil.rmtree(unpacked)
    return archive


@contextmanager
def eagerly() -> Iterator[None]:
    """Learning without compilation, which takes longer than a few small steps."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


@dataclass(frozen=True)
class Said:
    """A turn of a conversation.

    Args:
        actions: that ran, without `action_listen`.
        replies: texts of the bot.
        events: of this turn, as the tracker store keeps them.
        parse: parse data of the user's message.
    """

    actions: List[str]
    replies: List[str]
    events: List[Dict[str, Any]]
    parse: Dict[str, Any]

    @property
    def goal(self) -> Dict[str, str]:
        """The tracked goal of the turn, as the last decision of the policy knew it."""
        return best_values(self.decisions[-1]["belief"])

    @property
    def decisions(self) -> List[Dict[str, Any]]:
        """Metadata that our policy wrote to the actions of this turn."""
        found = [
            (e.get("metadata") or {}).get("hybrid") for e in self.events if e["event"] == "action"
        ]
        return [metadata for metadata in found if metadata]


def best_values(belief: Mapping[str, Sequence[Sequence[Any]]]) -> Dict[str, str]:
    """Best value of each slot of a belief as it stands in metadata, `none` left out."""
    return {slot: values[0][0] for slot, values in belief.items() if values[0][0] != "none"}


class Conversation:
    """One user who talks to an agent in this process."""

    def __init__(self, agent: Any, sender: Optional[str] = None) -> None:
        self.agent = agent
        self.sender = sender or uuid.uuid4().hex
        self._seen = 0.0

    def say(self, text: str, metadata: Optional[Dict[str, Any]] = None) -> Said:
        """Sends a message and gives the turn that follows."""
        from rasa.core.channels import UserMessage

        message = UserMessage(text, sender_id=self.sender, metadata=metadata)
        replies = run(self.agent.handle_message(message)) or []
        events = self.new_events()
        actions = [e["name"] for e in events if e["event"] == "action"]
        users = [e for e in events if e["event"] == "user"]
        return Said(
            [name for name in actions if name not in ("action_listen", "action_session_start")],
            [reply["text"] for reply in replies if "text" in reply],
            events,
            users[-1]["parse_data"] if users else {},
        )

    def new_events(self) -> List[Dict[str, Any]]:
        """Events since the last call, through JSON as any tracker store would keep them."""
        events = [event for event in self.tracker.events if event.timestamp > self._seen]
        self._seen = max([self._seen, *(event.timestamp for event in events)])
        return [json.loads(json.dumps(event.as_dict())) for event in events]

    @property
    def tracker(self) -> Any:
        return run(self.agent.tracker_store.retrieve_full_tracker(self.sender))

    @property
    def slots(self) -> Dict[str, Any]:
        """Slots that have a value."""
        values = self.tracker.current_slot_values()
        return {
            k: v for k, v in values.items() if v is not None and k != "session_started_metadata"
        }

    def post(self, *events: Any) -> None:
        """Appends events to the tracker, as `POST /conversations/<id>/tracker/events` does."""
        tracker = run(self.agent.processor.fetch_tracker_with_initial_session(self.sender))
        for event in events:
            tracker.update(event, self.agent.domain)
        run(self.agent.tracker_store.save(tracker))
        self.new_events()

    def go_on(self) -> Said:
        """Lets the bot act without a message, as `POST /conversations/<id>/trigger_intent` or a channel may."""
        from rasa.core.channels import CollectingOutputChannel

        async def act() -> List[Dict[str, Any]]:
            tracker = await self.agent.processor.fetch_tracker_with_initial_session(self.sender)
            output = CollectingOutputChannel()
            await self.agent.processor._run_prediction_loop(output, tracker)
            await self.agent.tracker_store.save(tracker)
            return output.messages

        replies = run(act())
        events = self.new_events()
        actions = [e["name"] for e in events if e["event"] == "action"]
        return Said(
            [name for name in actions if name not in ("action_listen", "action_session_start")],
            [reply["text"] for reply in replies if "text" in reply],
            events,
            {},
        )


def run(awaitable: Any) -> Any:
    """The result of a coroutine."""
    return asyncio.run(awaitable)
