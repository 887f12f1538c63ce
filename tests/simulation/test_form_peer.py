"""The bots with a catalogue lookup that `benchmarks.peers` compares with: what they find, and what the form makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Optional

import pytest
import yaml
from rasa_sdk import Tracker

from benchmarks import form, lookup, peers
from rasa_hybrid.dialogue import DONTCARE

_WANTED = {"movie": "Paper Moons", "num_tickets": "1", "theatre_name": DONTCARE, "date": DONTCARE}


@pytest.fixture(scope="module")
def database(movie_project: Path) -> Path:
    return movie_project / "db" / "screenings.db"


def _entity(name: str, start: int, end: int, extractor: str) -> Dict[str, Any]:
    return {"entity": name, "start": start, "end": end, "extractor": extractor}


def _after(
    database: Path,
    slots: Dict[str, Any],
    asked: Optional[str],
    intent: str,
    text: str,
    told: Optional[Dict[str, str]] = None,
    confidence: float = 1.0,
) -> Dict[str, Any]:
    """The slots after a message with the entities that it told."""
    entities = [{"entity": slot, "value": value} for slot, value in (told or {}).items()]
    heard = {"name": intent, "confidence": confidence}
    message = {"text": text, "intent": heard, "entities": entities}
    slots = {**slots, "requested_slot": asked}
    tracker = Tracker("someone", slots, message, [], False, None, {}, "action_listen")
    return {**slots, **form.slots_after(tracker, database)}


@pytest.fixture(scope="module")
def offered(database: Path) -> Dict[str, Any]:
    """The slots after the last of the five was told."""
    slots = _after(database, {**_WANTED, "time": None}, "time", "inform", "I don't mind")
    assert slots["time"] == DONTCARE
    assert slots["offer_movie"] == "Paper Moons"
    assert slots["offer_accepted"] is None
    return slots


def test_longer_titles_stand_before_their_parts() -> None:
    synonyms = {"movie": {"Starfall": [], "Starfall: The End": ["The End"]}, "theatre_name": {}}
    tables = yaml.safe_load(lookup.tables(synonyms))["nlu"]
    assert tables[0]["examples"].split("- ")[1:] == [
        "Starfall: The End\n",
        "Starfall\n",
        "The End\n",
    ]


def test_what_lies_in_a_title_is_no_entity() -> None:
    cinema = _entity("theatre_name", 3, 23, "RegexEntityExtractor")
    film = _entity("movie", 3, 9, "RegexEntityExtractor")
    same_film = _entity("movie", 30, 36, "DIETClassifier")
    day = _entity("date", 40, 46, "DIETClassifier")
    part = _entity("time", 4, 8, "DIETClassifier")
    assert lookup.one_reading([day, part, same_film, film, cinema]) == [cinema, day]


def test_rasa_accepts_the_project_of_the_form_bot(tmp_path: Path) -> None:
    from rasa.shared.importers.importer import TrainingDataImporter
    from rasa.validator import Validator

    project = peers.write_project(tmp_path, "form", dialogues=60, seed=1)
    importer = TrainingDataImporter.load_from_config(
        str(project / "config.yml"), str(project / "domain.yml"), [str(project / "data")]
    )
    validator = Validator.from_importer(importer)
    assert validator.verify_domain_validity()
    assert validator.verify_intents(ignore_warnings=False)
    assert validator.verify_actions_in_stories_rules()
    assert validator.verify_forms_in_stories_rules()
    assert validator.verify_form_slots()
    assert validator.verify_slot_mappings()
    assert validator.verify_story_structure(ignore_warnings=False)
    assert not (project / "data" / "stories.yml").exists()


def test_an_accepted_and_confirmed_offer_ends_the_form(
    database: Path, offered: Dict[str, Any]
) -> None:
    accepted = _after(database, offered, "offer_accepted", "affirm", "yes")
    assert (accepted["offer_accepted"], accepted["booking_confirmed"]) == (True, None)
    confirmed = _after(database, accepted, "booking_confirmed", "affirm", "yes")
    assert (confirmed["offer_accepted"], confirmed["booking_confirmed"]) == (True, True)
    assert confirmed["offer_id"] == offered["offer_id"]


@pytest.mark.parametrize("asked", ["offer_accepted", "booking_confirmed"])
def test_after_a_refusal_the_next_screening_is_offered(
    database: Path, offered: Dict[str, Any], asked: str
) -> None:
    slots = {**offered, "offer_accepted": asked == "booking_confirmed" or None}
    slots = _after(database, slots, asked, "deny", "no")
    assert slots["offer_movie"] == "Paper Moons"
    assert slots["offer_id"] not in (None, offered["offer_id"])
    assert slots["offer_accepted"] is None


def test_a_correction_takes_back_what_was_agreed_upon(
    database: Path, offered: Dict[str, Any]
) -> None:
    slots, told = {**offered, "offer_accepted": True}, {"movie": "aurora"}
    slots = _after(database, slots, "booking_confirmed", "deny", "no, aurora", told)
    assert (slots["movie"], slots["offer_movie"]) == ("Aurora", "Aurora")
    assert slots["offer_accepted"] is None
    assert not slots["refused"]


def test_a_correction_that_the_offer_fulfils_leads_to_the_confirmation(
    database: Path, offered: Dict[str, Any]
) -> None:
    told = {"date": offered["offer_date"]}
    assert _after(database, offered, "offer_accepted", "inform", "", told)["offer_accepted"]


def test_a_wrong_value_without_another_one_is_asked_for(
    database: Path, offered: Dict[str, Any]
) -> None:
    slots = {**offered, "offer_accepted": True, "date": "monday"}
    slots = _after(database, slots, "booking_confirmed", "deny", "the day is wrong")
    assert slots["date"] is None


def test_a_value_that_the_knowledge_base_does_not_have_is_not_taken(
    database: Path, offered: Dict[str, Any]
) -> None:
    told = {"date": "noday", "num_tickets": "some"}
    slots = _after(database, {"num_tickets": "2"}, "date", "inform", "on noday", told)
    assert (slots["date"], slots["num_tickets"]) == (None, "2")


def test_who_is_hardly_understood_is_asked_again(database: Path, offered: Dict[str, Any]) -> None:
    slots = _after(database, {}, "date", "inform", "are you a robot", confidence=0.4)
    assert slots["date"] is None
    slots = _after(database, {}, "date", "goodbye", "do you like dogs", confidence=0.4)
    assert "date" in slots  # the form goes on
    slots = _after(database, offered, "offer_accepted", "deny", "until next time", confidence=0.4)
    assert slots["time"] == offered["time"]


def test_what_nothing_matches_is_said_at_once(database: Path, offered: Dict[str, Any]) -> None:
    slots, told = {**offered, "time": None}, {"num_tickets": "999"}
    slots = _after(database, slots, "num_tickets", "inform", "999", told)
    assert (slots["requested_slot"], slots["offer_id"]) == ("offer_accepted", None)
    slots = _after(database, slots, "offer_accepted", "inform", "2", {"num_tickets": "2"})
    assert slots["offer_accepted"] is None


def test_chat_changes_nothing(database: Path, offered: Dict[str, Any]) -> None:
    assert _after(database, offered, "offer_accepted", "out_of_scope", "a joke") == {
        **offered,
        "requested_slot": "offer_accepted",
    }


def test_the_next_booking_starts_afresh(database: Path, offered: Dict[str, Any]) -> None:
    booked = {**offered, "booking_status": "booked", "offer_accepted": True, "date": "monday"}
    slots = _after(database, booked, None, "inform", "on friday", {"date": "friday"})
    assert (slots["movie"], slots["date"]) == (None, "friday")
    assert (slots["offer_accepted"], slots["booking_status"]) == (None, None)


def test_a_screening_that_is_sold_out_is_not_offered_again(
    database: Path, offered: Dict[str, Any]
) -> None:
    sold = {**offered, "booking_status": "sold_out", "offer_accepted": True}
    slots = _after(database, sold, None, "affirm", "yes")
    assert slots["offer_id"] not in (None, offered["offer_id"])
    assert (slots["offer_accepted"], slots["booking_confirmed"]) == (None, None)


def test_choices_fit_the_rest_of_the_goal(database: Path, movies: Any) -> None:
    there = {entity["date"] for entity in movies.catalogue.find({"movie": "Aurora"})}
    assert set(form.choices(database, {"movie": "Aurora"}, "date").split(", ")) <= there
