"""A rules-only Rasa bot: the least that a message costs in Rasa, for `benchmarks.serving` to compare with.

It understands by `KeywordIntentClassifier`, acts by `RulePolicy`, says as much as the movie booking bot and asks the
same database once a turn, in its own process (an action server would cost a request more).
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Dict, List

from rasa.engine.graph import ExecutionContext, GraphComponent
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.shared.nlu.constants import INTENT
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

_CONFIG = """recipe: default.v1
assistant_id: floor
language: en
pipeline:
  - name: KeywordIntentClassifier
  - name: benchmarks.floor.AskDatabase
    database: {database}
policies:
  - name: RulePolicy
"""
_DOMAIN = """version: "3.1"
intents: [said, asked]
responses:
  utter_one: [{{text: "{words}"}}]
  utter_two: [{{text: "{words}"}}]
"""
_NLU = """version: "3.1"
nlu:
  - intent: said
    examples: |
      - tickets
      - please
  - intent: asked
    examples: |
      - which
      - what
"""
_RULES = """version: "3.1"
rules:
  - rule: one action
    steps:
      - intent: said
      - action: utter_one
  - rule: two actions
    steps:
      - intent: asked
      - action: utter_one
      - action: utter_two
"""


def write_project(folder: Path, database: Path, characters: int) -> Path:
    """Writes the project.

    Args:
        folder: where to; made if missing.
        database: SQLite file with the table `screenings`.
        characters: length of a response.
    """
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "config.yml").write_text(_CONFIG.format(database=database))
    (folder / "domain.yml").write_text(_DOMAIN.format(words="x" * characters))
    (folder / "data" / "nlu.yml").write_text(_NLU)
    (folder / "data" / "rules.yml").write_text(_RULES)
    (folder / "credentials.yml").write_text("rest:\n")
    return folder


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.MESSAGE_TOKENIZER, is_trainable=False)
class AskDatabase(GraphComponent):
    """Asks the database once a message, and gives messages without keyword the intent `said`."""

    @staticmethod
    def get_default_config() -> Dict[str, Any]:
        return {"database": ""}

    def __init__(self, database: str) -> None:
        self._connection = sqlite3.connect(database, check_same_thread=False)

    @classmethod
    def create(
        cls,
        config: Dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
    ) -> AskDatabase:
        return cls(config["database"])

    def process_training_data(self, training_data: TrainingData) -> TrainingData:
        return training_data

    def process(self, messages: List[Message]) -> List[Message]:
        for message in messages:
            query = "SELECT * FROM screenings WHERE date = ? AND seats >= ? LIMIT 100"
            self._connection.execute(query, ("friday", 2)).fetchall()
            if not (message.get(INTENT) or {}).get("name"):
                message.set(INTENT, {"name": "said", "confidence": 1.0}, add_to_output=True)
        return messages
