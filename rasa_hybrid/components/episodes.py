"""The events of a conversation -> episodes of the store.

A conversation has one episode for each of Rasa's sessions. Tracker stores and event brokers hold the same events, so both
ways give the same episodes with the same ids. What the conversation itself says of its outcome is read here too:
an intent or a button's payload, a slot, an action that marks success.
"""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import sqlalchemy as sa
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import (
    ActionExecuted,
    Event,
    Restarted,
    SessionStarted,
    SlotSet,
    UserUttered,
)
from rasa.shared.core.trackers import DialogueStateTracker

from rasa_hybrid.components.conversion import TEACHER, TrackerReader, hybrid_metadata
from rasa_hybrid.dialogue import LISTEN, Decision
from rasa_hybrid.feedback import assembly
from rasa_hybrid.feedback.records import Outcome, Recorded, Step, episode_id
from rasa_hybrid.feedback.store import EpisodeStore

logger = logging.getLogger(__name__)

#: The store does not answer, which no conversation is to blame for.
STORE_ERRORS = (sa.exc.OperationalError, sa.exc.TimeoutError)
#: Seconds after which a conversation that could not be stored is tried again.
TRIED_AGAIN = 3600.0

_OUTCOMES = ("success", "reward", "rating")


@dataclass(frozen=True)
class Signals:
    """What tells the outcome within a conversation.

    Args:
        intents: name to its outcome, e.g. `{thumbs_up: {success: true}, rate: {rating: stars}}`; a text names the
            entity that holds the value.
        slots: name to what its value means: success, reward or rating.
        success_actions: actions that mark success when they have run.
        reward_range: least and most reward points; others are no outcome.
    """

    intents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    slots: Mapping[str, str] = field(default_factory=dict)
    success_actions: Tuple[str, ...] = ()
    reward_range: Tuple[float, float] = (-math.inf, math.inf)

    def __post_init__(self) -> None:
        for name, means in self.intents.items():
            if not isinstance(means, Mapping) or not means or set(means) - set(_OUTCOMES):
                raise ValueError(
                    f"intents: {name}: {means!r} is not allowed; it has to be a mapping with {', '.join(_OUTCOMES)}."
                )
        for name, meaning in self.slots.items():
            if meaning not in _OUTCOMES:
                raise ValueError(
                    f"slots: {name}: {meaning!r} is not allowed; it has to be one of {', '.join(_OUTCOMES)}."
                )


class Told(NamedTuple):
    """An outcome that the conversation tells; the episode are the events before `end`."""

    outcome: Outcome
    at: float
    end: int


class Session(NamedTuple):
    """One session of a conversation; `closed` if another one follows."""

    id: str
    begun: float
    events: Sequence[Event]
    closed: bool


class SetAside:
    """Conversations that are not tried for a while, as they can't be read or stored now.

    Args:
        most: how many are remembered.
    """

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._until: OrderedDict[str, float] = OrderedDict()

    def put(self, sender: str, seconds: float) -> None:
        """Sets a conversation aside."""
        self._until[sender] = time.monotonic() + seconds
        self._until.move_to_end(sender)
        while len(self._until) > self._most:
            self._until.popitem(last=False)

    def holds(self, sender: str) -> bool:
        """Whether a conversation is set aside still."""
        return self._until.get(sender, 0.0) > time.monotonic()

    def over(self) -> List[str]:
        """Takes out those that were aside long enough."""
        senders = [sender for sender in self._until if not self.holds(sender)]
        for sender in senders:
            del self._until[sender]
        return senders

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._until))


def sessions(sender: str, events: Sequence[Event]) -> List[Session]:
    """The sessions of a conversation in order; a restart begins a new one too.

    Args:
        sender: of the conversation.
        events: all of them, in order.
    """
    starts = [i for i, e in enumerate(events) if isinstance(e, (SessionStarted, Restarted))]
    # What stands before the first start is a session of its own only if somebody said something in it.
    first = starts[0] if starts else len(events)
    if any(isinstance(event, UserUttered) for event in events[:first]):
        starts.insert(0, 0)
    ends = [*starts[1:], len(events)]
    return [
        Session(
            episode_id(sender, events[start].timestamp),
            events[start].timestamp,
            events[start:end],
            end < len(events),
        )
        for start, end in zip(starts, ends)
    ]


def told(events: Sequence[Event], signals: Signals) -> Optional[Told]:
    """The last outcome that the events of a session tell; None if they tell none."""
    found: Optional[Told] = None
    for i, event in enumerate(events):
        if isinstance(event, UserUttered) and event.intent_name in signals.intents:
            means = signals.intents[event.intent_name]
            outcome = _of_intent(event, means, signals.reward_range)
            if outcome is not None:
                found = Told(outcome, event.timestamp, i)
        elif isinstance(event, SlotSet) and event.key in signals.slots:
            outcome = _of_value(signals.slots[event.key], event.value, signals.reward_range)
            if outcome is not None:
                found = Told(outcome, event.timestamp, i + 1)
        elif (
            isinstance(event, ActionExecuted)
            and event.action_name in signals.success_actions
            # What users say counts more than that an action ran.
            and (found is None or found.outcome == Outcome(success=True))
        ):
            found = Told(Outcome(success=True), event.timestamp, len(events))
    return found


def recorded(
    sender: str, events: Sequence[Event], reader: TrackerReader, domain: Domain
) -> Optional[Recorded]:
    """What the model saw and did in a session; None if nobody said anything in it.

    Args:
        sender: of the conversation.
        events: of the session.
        reader: of the model.
        domain: of the project.
    """
    if not any(isinstance(event, UserUttered) for event in events):
        return None
    tracker = DialogueStateTracker.from_events(
        sender, list(events), domain.slots, sender_source=None, domain=domain
    )
    reading = reader.recorded(tracker)
    dialogue = reading.dialogue
    if not dialogue.turns:
        return None
    model = None
    for event in events:
        if isinstance(event, ActionExecuted):
            model = hybrid_metadata(event).get("model_id") or model
    steps = tuple(map(_steps, reading.decided))
    return Recorded(dialogue, steps, model, events[-1].timestamp)


def assemble(
    store: EpisodeStore,
    sender: str,
    events: Sequence[Event],
    reader: TrackerReader,
    domain: Domain,
    signals: Signals,
    quiet_before: float = -math.inf,
) -> List[str]:
    """Stores the sessions of a conversation that are over or rated; makes the others known.

    A session is over when another one follows, or when nothing has happened in it since `quiet_before`.

    Args:
        store: of the episodes.
        sender: of the conversation.
        events: all of them, in order.
        reader: of the model.
        domain: of the project.
        signals: what tells the outcome.
        quiet_before: Unix time.

    Returns:
        Ids of the stored episodes.
    """
    stored = []
    for session in sessions(sender, events):
        if not any(isinstance(event, UserUttered) for event in session.events):
            assembly.discard(store, session.id)
            continue
        store.begin(sender, session.begun)
        outcome = told(session.events, signals)
        rated = store.settled(session.id)
        is_over = session.closed or session.events[-1].timestamp < quiet_before
        if rated is not None:
            kept: Sequence[Event] = [e for e in session.events if e.timestamp <= rated]
        elif outcome is not None:
            kept = session.events[: outcome.end]
        elif is_over:
            kept = session.events
        else:
            continue
        conversation = recorded(sender, kept, reader, domain)
        if conversation is None:
            continue
        if assembly.keep(
            store,
            session.id,
            sender,
            session.begun,
            conversation,
            outcome.outcome if outcome is not None else None,
            settled=outcome.at if outcome is not None else None,
            rated=rated,
        ):
            stored.append(session.id)
    return stored


def _steps(decided: Sequence[ActionExecuted]) -> Tuple[Step, ...]:
    """One decision for each action of a turn, and one to listen, as the model takes them."""
    acted = [event for event in decided if event.action_name != LISTEN]
    listened = [event for event in decided if event.action_name == LISTEN]
    last = _step(listened[-1]) if listened else Step(Decision(LISTEN))
    return (*map(_step, acted), last)


def _step(event: ActionExecuted) -> Step:
    """A decision; only what our policy wrote into the metadata of this very action is its own."""
    name = event.action_name or event.action_text or ""
    hybrid = hybrid_metadata(event)
    belief = {
        slot: tuple((str(value), float(chance)) for value, chance in best)
        for slot, best in (hybrid.get("belief") or {}).items()
    }
    if hybrid.get("source") == TEACHER:
        return Step(Decision(name), TEACHER, hybrid.get("action"), belief)
    if hybrid.get("action") != name:
        shadow = (hybrid.get("shadow") or {}).get("action")
        return Step(Decision(name), event.policy, shadow, belief)
    flags = (bool(hybrid.get(flag)) for flag in ("sampled", "explored"))
    decision = Decision(name, float(hybrid["propensity"]), *flags)
    return Step(decision, "hybrid", hybrid.get("greedy", name), belief)


def _of_intent(
    event: UserUttered, means: Mapping[str, Any], reward_range: Tuple[float, float]
) -> Optional[Outcome]:
    values: Dict[str, Any] = {}
    for kind, value in means.items():
        if isinstance(value, str):
            value = next(
                (e.get("value") for e in event.entities or () if e.get("entity") == value), None
            )
        if value is not None:
            values[kind] = value
    outcomes = [_of_value(kind, value, reward_range) for kind, value in values.items()]
    known: Dict[str, Any] = {}
    for outcome in outcomes:
        known.update(outcome.to_dict() if outcome is not None else {})
    return Outcome(**known) if known else None


def _of_value(kind: str, value: Any, reward_range: Tuple[float, float]) -> Optional[Outcome]:
    """The outcome that a value stands for; None if it stands for none."""
    if value is None:
        return None
    if kind == "success":
        if isinstance(value, str):
            words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
            known = words.get(value.lower())
            return None if known is None else Outcome(success=known)
        return Outcome(success=bool(value))
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    least, most = (1.0, 5.0) if kind == "rating" else reward_range
    if not math.isfinite(number) or not least <= number <= most:
        _told_once(kind, least, most)
        return None
    return Outcome(rating=number) if kind == "rating" else Outcome(reward=number)


@lru_cache(maxsize=None)
def _told_once(kind: str, least: float, most: float) -> None:
    """Logs that values are out of range; they come back with every look at their conversation."""
    logger.warning(
        f"A {kind} that a conversation told is not from {least:g} to {most:g}; such ones are no outcome."
    )
