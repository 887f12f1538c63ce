"""Films and theatres from a catalogue, for stock Rasa: lookup tables in nlu.yml, and a pipeline that finds them.

DIET learns from the same annotations as without the tables and sees their matches as features. The tables alone tell
films and theatres, DIET the rest: each extractor has entities of its own, as Rasa advises, so that none is found twice.
"The Last Friday" is no day, and "Aurora Picture House" no film "Aurora": what lies in a title is not an entity.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence

from rasa.engine.graph import ExecutionContext, GraphComponent
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.shared.nlu.constants import ENTITIES
from rasa.shared.nlu.training_data.message import Message

from benchmarks import stock

#: The entities that have a table.
TABLES = ("movie", "theatre_name")
_EXTRACTOR = "RegexEntityExtractor"
PIPELINE = stock.PIPELINE.replace(
    "  - name: EntitySynonymMapper\n",
    f"""  - name: {_EXTRACTOR}
    use_lookup_tables: true
    use_regexes: false
  - name: EntitySynonymMapper
  - name: benchmarks.lookup.OneReading
""",
)


def tables(synonyms: Mapping[str, Mapping[str, Sequence[str]]]) -> str:
    """The lookup tables as nlu.yml: every title, and what its synonyms there say for it.

    Args:
        synonyms: slot, value, and how else it is said.
    """
    lines = ['version: "3.1"', "nlu:"]
    for name in TABLES:
        said = {form for value, forms in synonyms[name].items() for form in (value, *forms)}
        lines += [f"- lookup: {name}", "  examples: |"]
        # The extractor takes the first entry that fits, which has to be the longest.
        lines += [f"    - {form}" for form in sorted(said, key=lambda form: (-len(form), form))]
    return "\n".join(lines) + "\n"


def one_reading(entities: Sequence[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """Entities that don't overlap: the longest titles of the tables, then what DIET found elsewhere."""
    titles = [entity for entity in entities if entity.get("extractor") == _EXTRACTOR]
    titles.sort(key=lambda entity: entity["start"] - entity["end"])
    kept: List[Dict[str, Any]] = []
    for entity in titles + [entity for entity in entities if entity["entity"] not in TABLES]:
        if all(entity["end"] <= k["start"] or k["end"] <= entity["start"] for k in kept):
            kept.append(entity)
    return sorted(kept, key=lambda entity: entity["start"])


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.ENTITY_EXTRACTOR, is_trainable=False)
class OneReading(GraphComponent):
    """Leaves one of the entities that overlap."""

    @classmethod
    def create(
        cls,
        config: Dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
    ) -> OneReading:
        return cls()

    def process(self, messages: List[Message]) -> List[Message]:
        for message in messages:
            message.set(ENTITIES, one_reading(message.get(ENTITIES, [])), add_to_output=True)
        return messages
