from hypothesis import given
from hypothesis import strategies as st

from rasa_hybrid.dialogue import DONTCARE
from rasa_hybrid.knowledge import InMemoryKnowledgeBase, KnowledgeBase
from rasa_hybrid.simulation.catalogue import Catalogue

ROWS = [
    {"id": str(i), "film": film, "day": day, "seats": str(seats)}
    for i, (film, day, seats) in enumerate(
        (film, day, seats)
        for film in ("Up", "Jaws", "Big Fish")
        for day in ("monday", "friday")
        for seats in (0, 2, 5)
    )
]
TABLE = InMemoryKnowledgeBase(ROWS, at_least={"tickets": "seats"})
CATALOGUE = Catalogue(TABLE)

goals = st.fixed_dictionaries(
    {},
    optional={
        "film": st.sampled_from(["Up", "jaws", "Big fish", "Alien", DONTCARE]),
        "day": st.sampled_from(["monday", "Friday", "sunday", DONTCARE]),
        "tickets": st.sampled_from(["1", "two", "3", "6", DONTCARE]),
        "colour": st.just("red"),
    },
)


def asked(goal):
    return TABLE.query({slot: value for slot, value in goal.items() if slot != "colour"})


@given(goals, st.lists(st.sampled_from([row["id"] for row in ROWS]), max_size=4))
def test_answers_are_those_of_the_knowledge_base(goal, offered):
    found, entities = CATALOGUE.find(goal), asked(goal)
    assert [entity["id"] for entity in found] == [entity["id"] for entity in entities]
    assert len(found) == len(entities)
    left = [entity for entity in entities if entity["id"] not in offered]
    assert found.summary(offered).matches == len(entities)
    assert found.summary(offered).remaining == len(left)
    assert (found.next_offer(offered) or {}).get("id") == (left[0]["id"] if left else None)
    assert all(
        found.contains(row["id"]) == (row["id"] in {e["id"] for e in entities}) for row in ROWS
    )


class Ranked(KnowledgeBase):
    """A service that ranks by the query, so that it can't be read once and indexed."""

    columns = ("film",)

    def __init__(self):
        self.queries = 0

    def query(self, constraints):
        self.queries += 1
        rows = [{"id": "1", "film": "Up"}, {"id": "2", "film": "Jaws"}]
        return list(reversed(rows)) if constraints else rows

    def values(self, column):
        return ["Jaws", "Up"]


def test_any_other_service_is_asked_once_for_every_distinct_query():
    service = Ranked()
    catalogue = Catalogue(service)
    assert [e["id"] for e in catalogue.find({})] == ["1", "2"]
    assert [e["id"] for e in catalogue.find({"film": "Up"})] == ["2", "1"]
    before = service.queries
    assert [e["id"] for e in catalogue.find({"film": "Up", "other": "x"})] == ["2", "1"]
    assert service.queries == before
