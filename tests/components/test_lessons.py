"""What `HybridPolicy` learns from."""

from __future__ import annotations

from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from rasa_hybrid.components.lessons import listed_values
from rasa_hybrid.dialogue import DomainFacts
from rasa_hybrid.dialogue.domain import SlotFacts
from rasa_hybrid.knowledge import GuardedKnowledgeBase, InMemoryKnowledgeBase

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
