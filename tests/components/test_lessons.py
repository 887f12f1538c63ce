"""What `HybridPolicy` learns from."""

from __future__ import annotations

from typing import Any, Dict

import pytest
from rasa.shared.core.domain import Domain
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from rasa_hybrid.components.facts import domain_facts
from rasa_hybrid.components.lessons import listed_values
from rasa_hybrid.dialogue import Dialogue, DomainFacts, Turn, Utterance
from rasa_hybrid.dialogue.domain import SlotFacts
from rasa_hybrid.knowledge import GuardedKnowledgeBase, InMemoryKnowledgeBase
from rasa_hybrid.model.preparation import build_ontology
from rasa_hybrid.model.settings import Settings

SCREENINGS = InMemoryKnowledgeBase(
    [{"id": "1", "movie": "Aurora", "seats": 4}], at_least={"num_tickets": "seats"}
)
FACTS = DomainFacts(
    {name: SlotFacts("text") for name in ("movie", "num_tickets", "surname")}, {}, {}
)


def test_a_slots_kind_follows_from_what_lists_or_compares_its_values():
    said = [{"start": 0, "end": 1, "value": "4", "entity": "num_tickets"}]
    examples = TrainingData([Message.build("4 of us", "inform", said)])
    listed = listed_values(
        FACTS, list(FACTS.slots), examples, GuardedKnowledgeBase(SCREENINGS), "dontcare"
    )
    assert {slot: values.kind for slot, values in listed.items()} == {
        "movie": "list",  # a column of the knowledge base
        "num_tickets": "number",  # compared with a column as a number
        "surname": "open",  # whatever is said
    }
    assert "4" in listed["num_tickets"].values


def said(city: str) -> Message:
    entity = {"entity": "city", "value": city, "start": 3, "end": 3 + len(city)}
    return Message.build(f"to {city}", "inform", [entity])


@pytest.mark.parametrize(
    ("nlu", "labels", "spelling"),
    [
        ({"lookup_tables": [{"name": "city", "elements": ["New York"]}]}, ["NEW YORK"], "New York"),
        ({"training_examples": [said("New York")]}, [], "New York"),
        ({"entity_synonyms": {"big apple": "New York"}}, [], "New York"),
        ({}, ["NEW YORK", "New York", "New York"], "New York"),
        ({"training_examples": [said("new york")]}, ["New York"], "New York"),
        ({}, [], "new york"),
    ],
)
def test_a_categorical_value_is_spelt_as_the_project_spells_it(
    nlu: Dict[str, Any], labels: list, spelling: str
) -> None:
    domain = Domain.from_yaml("""
    slots:
      city: {type: categorical, values: [New York, Any, Paris], mappings: [{type: custom}]}
    """)
    listed = listed_values(domain_facts(domain), ["city"], TrainingData(**nlu), None, "Any")
    dialogue = Dialogue("1", tuple(Turn(Utterance("x"), goal={"city": city}) for city in labels))
    ontology = build_ontology(Settings(), [dialogue], listed)
    assert ontology.canonical(0, "nEw YoRk") == spelling
    assert {ontology.canonical(0, city) for city in ("New York", "new york")} == {spelling}
    assert "paris" in ontology.values["city"].values
    assert "any" not in ontology.values["city"].values
    if "entity_synonyms" in nlu:
        assert ontology.canonical(0, "big apple") == spelling
