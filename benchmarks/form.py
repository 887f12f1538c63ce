"""The movie booking bot as Rasa users write it today (DIET, a form and rules), for `benchmarks.peers`: project and actions.

The form asks for the five slots, then whether the offer suits, then whether all is right. After each message
`validate_booking_form` asks the knowledge base: values are checked, corrections taken at any time, and what was agreed
upon holds as long as the offer stands. Rules do the rest.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

import yaml
from rasa_sdk import Action, Tracker
from rasa_sdk.events import SlotSet
from rasa_sdk.executor import CollectingDispatcher

from benchmarks import stock
from benchmarks.stock import COLUMNS, GOAL, known
from rasa_hybrid.dialogue import DONTCARE

POLICIES = "policies:\n  - name: RulePolicy\n"
RULES = """version: "3.1"
rules:
- rule: greet
  steps:
  - intent: greet
  - action: utter_greet

- rule: book
  steps:
  - or:
    - intent: book
    - intent: inform
    - intent: affirm
    - intent: deny
    - intent: request_alternatives
    - intent: ask_repeat
  - action: booking_form
  - active_loop: booking_form

- rule: tell what there is
  steps:
  - intent: ask_options
  - action: action_tell_choices

- rule: come back to the question
  steps:
  - intent: out_of_scope
  - action: utter_cannot_help
  - action: booking_form
  - active_loop: booking_form

- rule: cancel
  steps:
  - intent: cancel
  - action: utter_cancelled
  - action: action_deactivate_loop
  - active_loop: null

- rule: say goodbye
  steps:
  - intent: goodbye
  - action: utter_good_bye
  - action: action_deactivate_loop
  - active_loop: null

- rule: say goodbye to who thanks
  steps:
  - intent: thank
  - action: utter_good_bye

- rule: book what was confirmed
  wait_for_user_input: false
  condition:
  - active_loop: booking_form
  steps:
  - action: booking_form
  - active_loop: null
  - slot_was_set:
    - requested_slot: null
  - action: action_book_tickets

- rule: tell that it is booked
  steps:
  - action: action_book_tickets
  - slot_was_set:
    - booking_status: booked
  - action: utter_notify_success

- rule: tell that it is sold out, and offer the next one
  steps:
  - action: action_book_tickets
  - slot_was_set:
    - booking_status: sold_out
  - action: utter_sold_out
  - action: booking_form
  - active_loop: booking_form

- rule: tell that the booking did not work
  steps:
  - action: action_book_tickets
  - slot_was_set:
    - booking_status: failed
  - action: utter_booking_failed
"""
ACCEPTED, CONFIRMED = "offer_accepted", "booking_confirmed"
#: Without values these leave the form to the rules.
_INTERRUPTING = ("out_of_scope", "ask_options", "cancel", "goodbye")
#: Least confidence of an intent that ends the form, interrupts it, takes a value back or means that anything is fine.
_SURE = 0.6
#: Words that name a slot: "the day is wrong", "any cinema will do".
_WORDS = {
    "movie": r"movies?|films?",
    "theatre_name": r"theat(?:re|er)s?|cinemas?|where",
    "date": r"days?|dates?|when",
    "time": r"times?",
    "num_tickets": r"tickets?|seats?|people|many|number",
}
_DATABASE = Path("db") / "screenings.db"


def domain(text: str) -> str:
    """The domain of the example with the form."""
    content = yaml.safe_load(text)
    slots, responses = content["slots"], content["responses"]
    custom: Dict[str, Any] = {"influence_conversation": False, "mappings": [{"type": "custom"}]}
    for name in GOAL:
        responses[f"utter_ask_{name}"] = responses.pop(f"utter_request_{name}")
    slots["refused"] = {"type": "list", **custom}
    slots[ACCEPTED], slots[CONFIRMED] = {"type": "bool", **custom}, {"type": "bool", **custom}
    asked = ["movie", "num_tickets", "theatre_name", "date", "time", ACCEPTED, CONFIRMED]
    content["forms"] = {"booking_form": {"required_slots": asked}}
    content["actions"] += ["validate_booking_form", "action_tell_choices"]
    content["actions"] += [f"action_ask_{ACCEPTED}", f"action_ask_{CONFIRMED}"]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


class ValidateBookingForm(Action):
    """Takes in a message, and looks for what to offer."""

    def name(self) -> str:
        return "validate_booking_form"

    def run(
        self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Dict[str, Any]
    ) -> List[Dict[str, Any]]:
        news = slots_after(tracker, _DATABASE)
        return [SlotSet(slot, value) for slot, value in news.items()]


class ActionAskOfferAccepted(Action):
    """Makes the offer, or says that there is none."""

    def name(self) -> str:
        return f"action_ask_{ACCEPTED}"

    def run(
        self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Dict[str, Any]
    ) -> List[Dict[str, Any]]:
        found = tracker.get_slot("offer_id") is not None
        dispatcher.utter_message(response="utter_offer" if found else "utter_no_match")
        return []


class ActionAskBookingConfirmed(Action):
    """Asks whether everything is right."""

    def name(self) -> str:
        return f"action_ask_{CONFIRMED}"

    def run(
        self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Dict[str, Any]
    ) -> List[Dict[str, Any]]:
        dispatcher.utter_message(response="utter_confirm")
        return []


class ActionTellChoices(Action):
    """Names some values of the slot that the user asks about."""

    def name(self) -> str:
        return "action_tell_choices"

    def run(
        self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Dict[str, Any]
    ) -> List[Dict[str, Any]]:
        asked = tracker.get_slot("requested_slot")
        slot = asked if asked in GOAL else named(tracker.latest_message.get("text") or "")
        slot = "movie" if slot in (None, "num_tickets") else slot
        there_is = choices(_DATABASE, tracker.slots, str(slot))
        dispatcher.utter_message(response=f"utter_select_{slot}", **{f"choices_{slot}": there_is})
        return []


def slots_after(tracker: Tracker, database: Path) -> Dict[str, Any]:
    """The slots after a message, but for `requested_slot` none if it interrupts the form: the rules answer it."""
    slots = tracker.slots
    asked, status = slots.get("requested_slot"), slots.get("booking_status")
    intent, confidence = intent_of(tracker.latest_message)
    if asked is None and status == "booked":  # the next booking
        slots = {}
    goal, told = heard(tracker.latest_message, asked, slots, database)
    offered, refused = slots.get("offer_id"), list(slots.get("refused") or ())
    declined = asked in (ACCEPTED, CONFIRMED) and intent in ("deny", "request_alternatives")
    if offered and ((declined and not told) or (asked is None and status == "sold_out")):
        refused.append(offered)
    offer = next_offer(database, goal, refused, offered)
    news: Dict[str, Any] = {} if offer else {"requested_slot": ACCEPTED}
    if intent in _INTERRUPTING and confidence >= _SURE and not told:
        return news
    if offer is None or all(goal.values()):
        news.update({f"offer_{column}": (offer or {}).get(column) for column in COLUMNS})
    stands = asked is not None and offer is not None and offer["id"] == offered
    # A wish that the offer fulfils accepts it; the confirmation then tells all of it.
    accepted = slots.get(ACCEPTED) or (asked == ACCEPTED and (intent == "affirm" or told))
    changed = any(goal[slot] != slots.get(slot) for slot in GOAL)
    confirmed = asked == CONFIRMED and intent == "affirm" and not changed
    news[ACCEPTED] = True if stands and accepted else None
    news[CONFIRMED] = True if stands and accepted and confirmed else None
    return {**news, **goal, "refused": refused, "booking_status": None}


def heard(
    message: Mapping[str, Any], asked: Optional[str], slots: Mapping[str, Any], database: Path
) -> Tuple[Dict[str, Optional[str]], bool]:
    """The goal after a message, and whether it said anything about the goal."""
    goal = {slot: slots.get(slot) for slot in GOAL}
    told = {e["entity"]: e["value"] for e in message.get("entities") or () if e["entity"] in GOAL}
    for slot, value in told.items():
        # What can't be looked up leaves the slot as it was; where it was empty the form asks again.
        goal[slot] = known(database, slot, value) or goal[slot]
    if told or asked is None:
        return goal, bool(told)
    (intent, confidence), about = intent_of(message), named(message.get("text") or "")
    if confidence < _SURE:
        return goal, False
    if intent == "deny" and about:
        goal[about] = None
        return goal, True
    any_of = about or asked
    if intent == "inform" and any_of in GOAL and any_of != "num_tickets":
        goal[any_of] = DONTCARE
        return goal, True
    return goal, False


def asks(action: str) -> Optional[str]:
    """The slot that the form would ask for by an action of the other bots, None if it isn't a question."""
    if action.startswith("utter_request_"):
        return action[len("utter_request_") :]
    questions = {"utter_offer": ACCEPTED, "utter_no_match": ACCEPTED, "utter_confirm": CONFIRMED}
    return questions.get(action)


def named(text: str) -> Optional[str]:
    """The slot that a text names, None if it names none."""
    found = (s for s, words in _WORDS.items() if re.search(rf"\b(?:{words})\b", text, re.I))
    return next(found, None)


def intent_of(message: Mapping[str, Any]) -> Tuple[Optional[str], float]:
    """Name and confidence of the intent of a message."""
    intent = message.get("intent") or {}
    return intent.get("name"), float(intent.get("confidence") or 0)


def next_offer(
    database: Path, goal: Mapping[str, Any], refused: List[str], offered: Optional[str]
) -> Optional[Dict[str, str]]:
    """The screening that was offered if it still suits, else the first that does."""
    where, arguments = stock.suiting(goal, refused)
    query = f"SELECT {', '.join(COLUMNS)} FROM screenings WHERE {where} ORDER BY id = ? DESC, id"
    rows = _rows(database, query + " LIMIT 1", [*arguments, offered or ""])
    return dict(zip(COLUMNS, map(str, rows[0]))) if rows else None


def choices(database: Path, goal: Mapping[str, Any], slot: str) -> str:
    """Three values of a slot that the rest of the goal leaves."""
    where, arguments = stock.suiting({**goal, slot: None}, [])
    query = f"SELECT DISTINCT {slot} FROM screenings WHERE {where} ORDER BY id LIMIT 3"
    return ", ".join(value for (value,) in _rows(database, query, arguments))


def _rows(database: Path, query: str, arguments: List[str]) -> List[Any]:
    with closing(sqlite3.connect(str(database))) as connection:
        return connection.execute(query, arguments).fetchall()
