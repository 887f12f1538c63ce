"""The movie booking bot as stock Rasa has it (DIET and TED), for `benchmarks.peers`: project and custom actions.

Slots come from entities. After each message `action_validate_slot_mappings` asks the knowledge base: how many screenings
remain (which TED sees) and the next one to offer; "anything is fine" is understood by the question before it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

import yaml
from rasa_sdk import Action, Tracker
from rasa_sdk.events import SlotSet
from rasa_sdk.executor import CollectingDispatcher

from rasa_hybrid.dialogue import DONTCARE, Dialogue

#: Defaults of `rasa init` without what this bot has no data for (responses to choose from) or does without.
PIPELINE = """recipe: default.v1
assistant_id: stock
language: en
pipeline:
  - name: WhitespaceTokenizer
  - name: RegexFeaturizer
  - name: LexicalSyntacticFeaturizer
  - name: CountVectorsFeaturizer
  - name: CountVectorsFeaturizer
    analyzer: char_wb
    min_ngram: 1
    max_ngram: 4
  - name: DIETClassifier
    epochs: 100
    constrain_similarities: true
  - name: EntitySynonymMapper
"""
POLICIES = """policies:
  - name: MemoizationPolicy
  - name: RulePolicy
  - name: TEDPolicy
    max_history: 5
    epochs: 100
    constrain_similarities: true
"""
GOAL = ("movie", "theatre_name", "date", "time", "num_tickets")
COLUMNS = ("id", "movie", "theatre_name", "date", "time", "price")
REMAINING = ("none", "one", "few", "many")


def domain(text: str) -> str:
    """The domain of the example, with slots that stock components fill."""
    content = yaml.safe_load(text)
    slots = content["slots"]
    for name in GOAL:
        mappings = [{"type": "from_entity", "entity": name}]
        slots[name] = {"type": "text", "influence_conversation": True, "mappings": mappings}
    custom: Dict[str, Any] = {"mappings": [{"type": "custom"}]}
    slots["remaining"] = {"type": "categorical", "values": list(REMAINING), **custom}
    for column in COLUMNS:
        slots[f"accepted_{column}"] = {"type": "text", "influence_conversation": False, **custom}
    for action in ("utter_confirm", "utter_notify_success"):
        for response in content["responses"][action]:
            response["text"] = response["text"].replace("{offer_", "{accepted_")
    content["actions"].append("action_validate_slot_mappings")
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def with_remaining(dialogue: Dialogue) -> Dialogue:
    """The dialogue with the slot `remaining`, which its stories then set."""
    turns = [
        turn
        if turn.goal is None
        else replace(turn, goal={**turn.goal, "remaining": amount(turn.summary.remaining or 0)})
        for turn in dialogue.turns
    ]
    return replace(dialogue, turns=tuple(turns))


def amount(count: int) -> str:
    """The value of `remaining`."""
    return REMAINING[0 if count == 0 else 1 if count == 1 else 2 if count <= 5 else 3]


class ActionValidateSlotMappings(Action):
    """Asks the knowledge base after every message."""

    #: Whether values that the knowledge base doesn't have leave a slot as it was.
    checks = False

    def name(self) -> str:
        return "action_validate_slot_mappings"

    def run(
        self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Dict[str, Any]
    ) -> List[Dict[str, Any]]:
        news = slots_after(tracker, Path("db") / "screenings.db", self.checks)
        return [SlotSet(slot, value) for slot, value in news.items()]


def slots_after(tracker: Tracker, database: Path, checks: bool = False) -> Dict[str, Optional[str]]:
    """What a message changes, once the slots of its entities are set.

    Args:
        tracker: with the message.
        database: SQLite file with the table `screenings`.
        checks: whether values that it doesn't have leave a slot as it was.
    """
    goal = {slot: tracker.get_slot(slot) for slot in GOAL}
    if checks:
        before = slots_before(tracker.events)
        for slot, value in goal.items():
            if value != before.get(slot):
                goal[slot] = known(database, slot, str(value)) or before.get(slot)
    indifferent = indifferent_about(tracker)
    if indifferent is not None:
        goal[indifferent] = DONTCARE
    offered = offers(tracker.events)
    mine = [id for query, id in offered if query == query_of(goal)]
    count, following = remaining(database, goal, mine)
    news: Dict[str, Optional[str]] = {**goal, "remaining": amount(count)}
    news.update({f"offer_{column}": value for column, value in following.items()})
    if offered:
        accepted = screening(database, offered[-1][1])
        news.update({f"accepted_{column}": value for column, value in accepted.items()})
    return news


def indifferent_about(tracker: Tracker) -> Optional[str]:
    """The slot that was asked for, if the answer is to inform without naming anything."""
    message = tracker.latest_message
    if (message.get("intent") or {}).get("name") != "inform" or message.get("entities"):
        return None
    asked = [
        str(event["name"])
        for event in tracker.events
        if event.get("event") == "action" and str(event.get("name")).startswith("utter_")
    ]
    slot = asked[-1][len("utter_request_") :] if asked else ""
    return slot if slot in GOAL else None


def slots_before(events: Iterable[Mapping[str, Any]]) -> Dict[str, Any]:
    """The slots before the last message."""
    slots: Dict[str, Any] = {}
    before: Dict[str, Any] = {}
    for event in events:
        if event.get("event") == "slot":
            slots[str(event["name"])] = event.get("value")
        elif event.get("event") == "user":
            before = dict(slots)
    return before


def known(database: Path, slot: str, value: str) -> Optional[str]:
    """A value as the knowledge base writes it, None for one that it can't look up."""
    if slot == "num_tickets":
        return value if value.isdigit() else None
    with closing(sqlite3.connect(str(database))) as connection:
        query = f"SELECT {slot} FROM screenings WHERE {slot} = ? COLLATE NOCASE LIMIT 1"
        row = connection.execute(query, (value,)).fetchone()
    return row[0] if row else None


def offers(events: Iterable[Mapping[str, Any]]) -> List[Tuple[Tuple[str, ...], str]]:
    """What was offered, each with the query that it answered."""
    slots: Dict[str, Any] = {}
    found = []
    for event in events:
        if event.get("event") == "slot":
            slots[str(event["name"])] = event.get("value")
        elif event.get("name") == "utter_offer" and slots.get("offer_id") is not None:
            found.append((query_of(slots), str(slots["offer_id"])))
    return found


def query_of(slots: Mapping[str, Any]) -> Tuple[str, ...]:
    """The constraints that a goal puts on screenings; "" is none."""
    values = [slots.get(slot) for slot in GOAL]
    return tuple("" if value in (None, DONTCARE) else str(value) for value in values)


def remaining(
    database: Path, goal: Mapping[str, Any], offered: List[str]
) -> Tuple[int, Dict[str, str]]:
    """Number of screenings that suit and were not offered, and the first of them."""
    where, arguments = suiting(goal, offered)
    with closing(sqlite3.connect(str(database))) as connection:
        count = connection.execute(f"SELECT count(*) FROM screenings WHERE {where}", arguments)
        first = f"SELECT {', '.join(COLUMNS)} FROM screenings WHERE {where} ORDER BY id LIMIT 1"
        row = connection.execute(first, arguments).fetchone()
        return count.fetchone()[0], dict(zip(COLUMNS, map(str, row or ())))


def suiting(goal: Mapping[str, Any], offered: List[str]) -> Tuple[str, List[str]]:
    """The condition, as SQL with its arguments, of screenings that suit and were not offered."""
    conditions, values = ["1"], []
    for slot, value in zip(GOAL, query_of(goal)):
        if value and slot == "num_tickets":
            conditions.append("seats >= ?")
            values.append(value if value.isdigit() else "0")
        elif value:
            conditions.append(f"{slot} = ? COLLATE NOCASE")
            values.append(value)
    conditions += ["id != ?"] * len(offered)
    return " AND ".join(conditions), [*values, *offered]


def screening(database: Path, id: str) -> Dict[str, str]:
    """A screening as text."""
    with closing(sqlite3.connect(str(database))) as connection:
        query = f"SELECT {', '.join(COLUMNS)} FROM screenings WHERE id = ?"
        row = connection.execute(query, (id,)).fetchone()
        return dict(zip(COLUMNS, map(str, row or ())))
