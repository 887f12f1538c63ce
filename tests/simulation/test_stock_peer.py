"""The stock bot that `benchmarks.peers` compares with knows what its knowledge base says."""

from __future__ import annotations

from pathlib import Path

import yaml
from rasa_sdk import Tracker

from benchmarks import stock
from benchmarks.common import PROJECT
from rasa_hybrid.knowledge import SqlKnowledgeBase
from rasa_hybrid.simulation import load_simulator


def _tracker(slots: dict, events: list, message: dict) -> Tracker:
    return Tracker("someone", slots, message, events, False, None, {}, "action_listen")


def test_the_domain_fills_goal_slots_from_entities() -> None:
    domain = yaml.safe_load(stock.domain((PROJECT / "domain.yml").read_text(encoding="utf-8")))
    assert domain["slots"]["movie"]["mappings"] == [{"type": "from_entity", "entity": "movie"}]
    assert "action_validate_slot_mappings" in domain["actions"]
    assert "{accepted_movie}" in domain["responses"]["utter_confirm"][0]["text"]


def test_an_answer_without_entity_to_a_question_means_anything() -> None:
    asked = [{"event": "action", "name": "utter_request_date"}]
    message = {"intent": {"name": "inform"}, "entities": []}
    assert stock.indifferent_about(_tracker({}, asked, message)) == "date"
    assert stock.indifferent_about(_tracker({}, [], message)) is None


def test_what_was_offered_is_not_offered_again(movie_project: Path) -> None:
    database = movie_project / "db" / "screenings.db"
    movie = load_simulator(movie_project).catalogue.everything[0]["movie"]
    base = SqlKnowledgeBase(f"sqlite:///{database}", "screenings", order_by=["id"])
    found = base.query({"movie": movie})
    events = [
        {"event": "slot", "name": "movie", "value": movie},
        {"event": "slot", "name": "offer_id", "value": found[0]["id"]},
        {"event": "action", "name": "utter_offer"},
    ]
    message = {"intent": {"name": "request_alternatives"}, "entities": []}
    slots = stock.slots_after(_tracker({"movie": movie}, events, message), database)
    assert slots["offer_id"] == found[1]["id"]
    assert slots["accepted_id"] == found[0]["id"]
    assert slots["remaining"] == stock.amount(len(found) - 1)


def test_with_a_catalogue_a_slot_keeps_its_value_where_the_next_one_makes_no_sense(
    movie_project: Path,
) -> None:
    database = movie_project / "db" / "screenings.db"
    message = {"intent": {"name": "inform"}, "entities": [{"entity": "date", "value": "holiday"}]}
    events = [
        {"event": "slot", "name": "date", "value": "friday"},
        {"event": "user"},
        {"event": "slot", "name": "date", "value": "holiday"},
        {"event": "slot", "name": "time", "value": "tram"},
        {"event": "slot", "name": "num_tickets", "value": "2"},
    ]
    tracker = _tracker({"date": "holiday", "time": "tram", "num_tickets": "2"}, events, message)
    assert stock.slots_after(tracker, database)["date"] == "holiday"
    slots = stock.slots_after(tracker, database, checks=True)
    assert [slots[name] for name in ("date", "time", "num_tickets")] == ["friday", None, "2"]
