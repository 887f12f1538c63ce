"""From the events of a dialogue that was taught to what is kept of it: stories, and what was corrected in them."""

from __future__ import annotations

from typing import Any, Container, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from rasa.shared.core.constants import ACTION_LISTEN_NAME
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import (
    ActionExecuted,
    ActiveLoop,
    AllSlotsReset,
    Event,
    Restarted,
    SessionStarted,
    SlotSet,
    UserUttered,
)
from rasa.shared.core.trackers import DialogueStateTracker
from rasa.shared.nlu.training_data.formats.readerwriter import TrainingDataWriter

from rasa_hybrid.components.configuration import INTERNAL_SLOTS
from rasa_hybrid.components.conversion import TEACHER, hybrid_metadata
from rasa_hybrid.components.teaching_events import UNNAMED
from rasa_hybrid.corpora.taught import Record, Story


def standing(
    events: Sequence[Event], domain: Domain, name: str
) -> Tuple[List[Story], List[Record]]:
    """The stories that stand in the events of a conversation, and what was corrected in them.

    Each restart begins a story. A turn that was not finished by `action_listen` is left out, and so is a story that another
    one goes on with.

    Args:
        events: of the conversation, with those that were taken back.
        domain: of the project.
        name: of the stories; from the second on with a number.
    """
    parts: List[List[Event]] = [[]]
    for event in events:
        if isinstance(event, (Restarted, SessionStarted)):
            parts.append([])
        else:
            parts[-1].append(event)
    found = []
    for part in parts:
        tracker = DialogueStateTracker.from_events("part", part, domain.slots, domain=domain)
        finished = _finished(tracker.applied_events())
        steps = tuple(_steps(finished, domain))
        if any(isinstance(event, UserUttered) for event in finished):
            found.append((steps, finished))
    kept = [
        (steps, finished)
        for i, (steps, finished) in enumerate(found)
        if not any(
            other[: len(steps)] == steps and (len(other) > len(steps) or j < i)
            for j, (other, _) in enumerate(found)
            if j != i
        )
    ]
    stories: List[Story] = []
    corrections: List[Record] = []
    told = set()
    for number, (steps, finished) in enumerate(kept, 1):
        story = name if number == 1 else f"{name}, {number}"
        stories.append(Story(story, steps))
        for record in _corrections(finished):
            # A story that branches off from another one has the events that they share.
            key = (record["time"], record.get("slot"))
            if key not in told:
                told.add(key)
                corrections.append({"story": story, **record})
    return stories, corrections


def _finished(applied: Sequence[Event]) -> List[Event]:
    """The events up to the last `action_listen`."""
    last = max(
        (
            i
            for i, event in enumerate(applied)
            if isinstance(event, ActionExecuted) and event.action_name == ACTION_LISTEN_NAME
        ),
        default=-1,
    )
    return list(applied[: last + 1])


def _steps(events: Sequence[Event], domain: Domain) -> Iterable[Dict[str, Any]]:
    """The steps of a story. Of several values that a slot got between two steps the last one stands."""
    initial = {slot.name: slot.initial_value for slot in domain.slots}
    known, values = dict(initial), dict(initial)
    for i, event in enumerate(events):
        if isinstance(event, SlotSet) and event.key not in INTERNAL_SLOTS - {"requested_slot"}:
            values[event.key] = event.value
            continue
        if isinstance(event, AllSlotsReset):
            values = dict(initial)
            continue
        step = _step(event, events[i + 1 :], values)
        if step is None and not isinstance(event, ActionExecuted):
            continue
        changed = {slot: v for slot, v in values.items() if v != known.get(slot)}
        if changed:
            yield {"slot_was_set": changed}
            known = dict(values)
        if step is not None:
            yield step


def _step(
    event: Event, following: Sequence[Event], before: Mapping[str, Any]
) -> Optional[Dict[str, Any]]:
    if isinstance(event, UserUttered):
        changed, taught = _set_by_message(following)
        return _user_step(event, {**before, **changed}, taught)
    if isinstance(event, ActionExecuted):
        if event.action_text:
            return {"bot": event.action_text}
        named = event.action_name not in UNNAMED
        return {"action": event.action_name} if named else None
    if isinstance(event, ActiveLoop):
        return {"active_loop": event.name}
    return None


def _user_step(
    event: UserUttered, goal: Mapping[str, Any], taught: Container[str]
) -> Dict[str, Any]:
    """What the user said; entities that contradict the goal are no labels.

    Args:
        event: the message.
        goal: values of the slots after it.
        taught: slots that the teacher set.
    """
    step: Dict[str, Any] = {"intent": event.intent_name} if event.intent_name else {}
    entities = [
        entity
        for entity in event.entities
        if not any(
            _contradicts(slot, str(entity.get("value")), goal, taught)
            for slot in (entity.get("role"), entity.get("entity"))
            if slot is not None
        )
    ]
    if (event.text or "").startswith("/") or not event.text:
        labelled = [
            {
                str(entity["entity"]): entity.get("value"),
                **{key: entity[key] for key in ("role", "group") if entity.get(key)},
            }
            for entity in entities
        ]
        return {**step, "entities": labelled} if labelled else step
    placed = _apart([entity for entity in entities if entity.get("end") is not None])
    text = event.text.replace("](", "] (").replace("]{", "] {")
    if placed and text == event.text:
        text = TrainingDataWriter.generate_message({"text": text, "entities": placed})
    step["user"] = text
    return step


def _apart(entities: Sequence[Mapping[str, Any]]) -> List[Dict[str, Any]]:
    """Entities that do not share a character, the first of those that do."""
    kept: List[Dict[str, Any]] = []
    for entity in sorted(entities, key=lambda e: (e["start"], -e["end"])):
        if not kept or entity["start"] >= kept[-1]["end"]:
            kept.append(dict(entity))
    return kept


def _contradicts(slot: str, value: str, goal: Mapping[str, Any], taught: Container[str]) -> bool:
    """Whether an entity of a slot is not what the teacher said, or a value of another slot."""
    if slot not in goal or str(goal[slot]) == value:
        return False
    return slot in taught or any(str(other) == value for other in goal.values())


def _set_by_message(following: Sequence[Event]) -> Tuple[Dict[str, Any], Set[str]]:
    """Slots that a message set before an action ran, and those of them that the teacher set."""
    values: Dict[str, Any] = {}
    taught: Set[str] = set()
    for event in following:
        if isinstance(event, (UserUttered, ActionExecuted)):
            break
        if isinstance(event, SlotSet):
            values[event.key] = event.value
            if hybrid_metadata(event).get("source") == TEACHER:
                taught.add(event.key)
    return values, taught


def _corrections(events: Sequence[Event]) -> List[Record]:
    """What the agent believed and would have done, and what the teacher said instead."""
    records: List[Record] = []
    turn, text = 0, None
    goal: Dict[str, Record] = {}
    for event in events:
        hybrid = hybrid_metadata(event)
        if isinstance(event, UserUttered):
            turn, text, goal = turn + 1, event.text, {}
        elif isinstance(event, SlotSet) and hybrid.get("source") == TEACHER:
            if event.key in goal:
                goal[event.key]["taught"] = event.value
                continue
            record = {
                "kind": "goal",
                "turn": turn,
                "text": text,
                "slot": event.key,
                "believed": hybrid.get("believed"),
                "probability": hybrid.get("probability"),
                "taught": event.value,
                "model_id": hybrid.get("model_id"),
                "time": event.timestamp,
            }
            goal[event.key] = record
            records.append(record)
        elif isinstance(event, ActionExecuted) and hybrid.get("corrected"):
            corrected = hybrid["corrected"]
            records.append(
                {
                    "kind": "action",
                    "turn": turn,
                    "text": text,
                    "would_have": corrected.get("action"),
                    "probability": corrected.get("probability"),
                    "policy": corrected.get("policy"),
                    "taught": event.action_name,
                    "model_id": hybrid.get("model_id"),
                    "time": event.timestamp,
                }
            )
    return records
