"""Rasa's trackers and stories <-> `Dialogue`, the same for training and for live conversations.

A turn begins with `UserUttered` and ends with `action_listen`. Slots that stories set before the first action of a turn
are the label of the belief; what an action, a form, a rule or a button sets is an override, an input of the tracker.
Events that our policy wrote itself (metadata `hybrid.source: model`) are not read back in: the belief is computed anew.
"""

from __future__ import annotations

import copy
import math
import operator
import threading
from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from rasa.shared.core.constants import ACTION_LISTEN_NAME, ACTION_SESSION_START_NAME
from rasa.shared.core.events import (
    ActionExecuted,
    ActiveLoop,
    AllSlotsReset,
    BotUttered,
    Event,
    SlotSet,
    UserUttered,
)
from rasa.shared.core.slots import (
    TextSlot,
)
from rasa.shared.core.trackers import DialogueStateTracker
from rasa.shared.core.training_data.story_reader.yaml_story_reader import DEFAULT_VALUE_TEXT_SLOTS

from rasa_hybrid.dialogue import (
    DONTCARE,
    NONE,
    Dialogue,
    DomainFacts,
    Entity,
    Hypothesis,
    Override,
    ResultSummary,
    SystemAction,
    Turn,
    Utterance,
    without_none,
)

#: Key of everything that we put into metadata and parse data.
HYBRID = "hybrid"
#: Probability that a value needs to be kept there: most distributions are one value, and trackers stay short.
LEAST_KEPT = 0.001
#: Key under which the metadata of a message may carry a recogniser's n-best list.
ASR_HYPOTHESES = "asr_hypotheses"
#: Sources of a slot's value as they stand in the metadata of `SlotSet`.
MODEL, KNOWLEDGE_BASE, TEACHER = "model", "knowledge_base", "teacher"
#: What the source of a taught story begins with, so that training tells it from the project's own.
TAUGHT_SOURCE = "taught:"

#: What stands in a goal for a value that a story does not name (`entities: [date]`, `slot_was_set: [date]`).
UNNAMED = ""
#: Values of entities without one.
NO_VALUE = (UNNAMED, NONE)

#: Conversations of which the events read so far are kept, so that each message's are read once.
_BEING_ANSWERED = 64


def hybrid_metadata(event: Event) -> Mapping[str, Any]:
    """What we know of an event: the source of a slot, what a teacher corrected, the model."""
    return (event.metadata or {}).get(HYBRID) or {}


@dataclass
class Reading:
    """A tracker as the model sees it.

    Args:
        dialogue: its turns; the last one may be open.
        slots: values of all slots now.
        loop: active loop, None if there is none.
        open: whether the last turn goes on.
        offers: (query, entity id) of everything that was offered.
        decided: for each turn the events of its decisions, the one to listen included.
    """

    dialogue: Dialogue
    slots: Dict[str, Any]
    loop: Optional[str]
    open: bool
    offers: List[Tuple[Any, str]]
    decided: Tuple[Tuple[ActionExecuted, ...], ...] = ()


class TrackerReader:
    """Reads trackers.

    Args:
        facts: of the domain.
        goal_slots: slots whose values the model tracks.
        pipeline: whether intents and entities of texts are inputs; else those of live texts are left out, as they are
            the model's own.
        dontcare_value: what a slot holds when anything is fine.
    """

    def __init__(
        self,
        facts: DomainFacts,
        goal_slots: Sequence[str],
        pipeline: bool,
        dontcare_value: str = DONTCARE,
    ) -> None:
        self.facts = facts
        self.goal_slots = tuple(goal_slots)
        self._goal_slots = set(goal_slots)
        self._pipeline = pipeline
        self._dontcare = dontcare_value
        self._live: Dict[str, Tuple[List[Event], _Progress]] = {}
        self._storing = threading.Lock()

    def live(self, tracker: DialogueStateTracker) -> Reading:
        """A conversation that goes on; while a message is answered only events that are new are read."""
        events = tracker.applied_events()
        # Taken out while it changes: who reads the same conversation meanwhile begins anew.
        with self._storing:
            known, progress = self._live.pop(tracker.sender_id, ([], None))
        if progress is None or not _begins_with(events, known):
            known, progress = [], self._begin()
        for event in events[len(known) :]:
            self._read_event(progress, event)
        with self._storing:
            while len(self._live) >= _BEING_ANSWERED:
                self._live.pop(next(iter(self._live)), None)
            self._live[tracker.sender_id] = events, progress
        return self._reading(progress.copy(), tracker.sender_id)

    def recorded(self, tracker: DialogueStateTracker) -> Reading:
        """A conversation that is over, with the context of every decision as the model saw it, and what was said; without labels."""
        reading = self._read(tracker, contexts=True)
        turns = tuple(replace(turn, goal=None) for turn in reading.dialogue.turns)
        return replace(reading, dialogue=replace(reading.dialogue, turns=turns))

    def story(self, tracker: DialogueStateTracker) -> Dialogue:
        """A story of the training data, with labels; its metadata name the `file`."""
        dialogue = self._read(tracker, labelled=True).dialogue
        return replace(dialogue, metadata={"file": tracker.sender_source})

    def context(
        self, slots: Mapping[str, Any], goal: Mapping[str, str], loop: Optional[str]
    ) -> Tuple[str, ...]:
        """Features of the state: influencing slots (goal slots by `goal`), and the active loop."""
        shown = dict(slots)
        for name in self.goal_slots:
            shown[name] = self._dontcare if goal.get(name) == DONTCARE else goal.get(name)
        return self.facts.context(shown, loop)

    def utterance(
        self,
        text: Optional[str],
        parse_data: Mapping[str, Any],
        metadata: Mapping[str, Any],
        labelled: bool,
    ) -> Utterance:
        """What the user said, from a message's text and parse data."""
        said = text or ""
        payload = said.startswith("/")
        intent = (parse_data.get("intent") or {}).get("name")
        entities = tuple(entity_of(entity) for entity in parse_data.get("entities") or ())
        if said and not payload and not labelled and not self._pipeline:
            intent, entities = None, ()
        hypotheses = _hypotheses((metadata or {}).get(ASR_HYPOTHESES))
        return Utterance("" if payload else said, hypotheses, intent, entities)

    def _read(
        self, tracker: DialogueStateTracker, labelled: bool = False, contexts: bool = False
    ) -> Reading:
        progress = self._begin()
        for event in tracker.applied_events():
            self._read_event(progress, event, labelled, contexts)
        return self._reading(progress, tracker.sender_id)

    def _begin(self) -> _Progress:
        progress = _Progress({name: facts.initial for name, facts in self.facts.slots.items()})
        for slot in self.goal_slots:
            value = progress.slots[slot]
            if value is not None:
                text = self.text(slot, value)
                self._override(progress.turn, slot, text, "action", progress.goal)
        return progress

    def _reading(self, progress: _Progress, sender_id: str) -> Reading:
        """What was read so far; the progress itself can't go on afterwards."""
        self._finish(progress, keep=progress.open)
        dialogue = Dialogue(sender_id, tuple(progress.turns), complete=not progress.open)
        return Reading(
            dialogue,
            progress.slots,
            progress.loop,
            progress.open,
            progress.offers,
            tuple(progress.decided),
        )

    def _read_event(
        self, progress: _Progress, event: Event, labelled: bool = False, contexts: bool = False
    ) -> None:
        turn, goal, slots = progress.turn, progress.goal, progress.slots
        kind = event.type_name  # `isinstance` of an abstract class takes its time
        if kind == UserUttered.type_name:
            progress.carried_over = False
            self._finish(progress)
            user = self.utterance(
                event.text, event.parse_data or {}, event.metadata or {}, labelled
            )
            turn = progress.turn = _OpenTurn(user=user)
            progress.open = True
            self._read_entities(
                turn, goal, payload=(event.text or "").startswith("/"), labelled=labelled
            )
        elif kind == ActionExecuted.type_name:
            name = event.action_name or event.action_text
            if name == ACTION_SESSION_START_NAME:
                return
            progress.carried_over = False
            turn.settle(goal)
            hybrid = hybrid_metadata(event)
            context: Tuple[str, ...] = ()
            if labelled or contexts:
                tracked = goal if labelled else turn.tracked(goal, hybrid)
                context = self.context(slots, tracked, progress.loop)
            turn.decided.append(event)
            if hybrid.get("offered"):
                progress.offers.append((hybrid.get("query"), str(hybrid["offered"])))
            progress.open = name != ACTION_LISTEN_NAME
            if not progress.open:
                turn.closing_context = context
                return
            turn.hidden.append(event.hide_rule_turn)
            turn.actions.append(SystemAction(name, self.facts.acts(name, slots), context))
            turn.summary = _summary(hybrid) or turn.summary
        elif kind == SlotSet.type_name:
            self._read_slot(event, turn, slots, goal, progress.carried_over, labelled)
        elif kind == BotUttered.type_name:
            # For those who read what was recorded; a live turn has no need of it.
            if contexts and event.text and turn.actions:
                turn.actions[-1] = turn.actions[-1].said(event.text)
        elif kind == AllSlotsReset.type_name:
            before = dict(slots)
            slots.update({name: facts.initial for name, facts in self.facts.slots.items()})
            for slot in self.goal_slots:
                value = self.text(slot, slots.get(slot))
                self._override(turn, slot, value, "action", goal, before.get(slot))
        elif isinstance(event, ActiveLoop):
            progress.loop = event.name

    def _read_entities(
        self, turn: _OpenTurn, goal: Dict[str, str], payload: bool, labelled: bool
    ) -> None:
        """Entities that have the name of a goal slot nobody else fills are its value."""
        assert turn.user is not None
        for entity in turn.user.entities:
            for slot in (entity.role, entity.name):
                if slot in self._goal_slots and self.facts.slots[slot].custom:
                    value = entity.value
                    if value in NO_VALUE:
                        value = NONE if payload or turn.user.text else UNNAMED
                    else:
                        value = self.text(slot, value)
                    if payload:
                        turn.overrides.append(Override(slot, value, "button"))
                    if labelled or payload:
                        set_value(goal, slot, value)
                    break

    def _read_slot(
        self,
        event: SlotSet,
        turn: _OpenTurn,
        slots: Dict[str, Any],
        goal: Dict[str, str],
        carried_over: bool,
        labelled: bool,
    ) -> None:
        source = hybrid_metadata(event).get("source")
        before = slots.get(event.key)
        slots[event.key] = event.value
        if event.key not in self._goal_slots or (source == MODEL and not carried_over):
            return
        text = self.facts.slots[event.key].kind == TextSlot.type_name
        if labelled and text and event.value == DEFAULT_VALUE_TEXT_SLOTS:
            slots[event.key] = UNNAMED
        value = self.text(event.key, slots[event.key])
        if turn.actions or turn.user is None:
            rejected = before if turn.actions else None
            self._override(turn, event.key, value, source or "action", goal, rejected)
            return
        if not self.facts.slots[event.key].custom or source:
            turn.overrides.append(Override(event.key, value, source or "mapping"))
        # Nobody but us fills a custom slot at this point: it is a story's label, which `rasa test` must not see.
        set_value(goal, event.key, value)

    def _override(
        self,
        turn: _OpenTurn,
        slot: str,
        value: str,
        source: str,
        goal: Dict[str, str],
        before: Any = None,
    ) -> None:
        """Somebody else sets a slot; who empties one rejects the value that it had before."""
        turn.settle(goal)
        rejects = None
        if value == NONE and before is not None and self.facts.slots[slot].kind != "bool":
            rejects = self.text(slot, before)
        if (
            rejects == DONTCARE
        ):  # nothing that the user says is this value, so it would never come back
            rejects = None
        turn.overrides.append(Override(slot, value, source, len(turn.actions), rejects))
        set_value(goal, slot, value)

    def text(self, slot: str, value: Any) -> str:
        """A slot's value as the model names it."""
        return DONTCARE if value == self._dontcare else self.facts.text(slot, value)

    def _finish(self, progress: _Progress, keep: bool = False) -> None:
        """Ends a turn. One that only rules took is left out, as Rasa's own policies do; what it set stays."""
        turn, turns, decided = progress.turn, progress.turns, progress.decided
        turn.settle(progress.goal)
        if turn.hidden and all(turn.hidden) and not keep:
            if turn.overrides and turns:
                after = max(1, len(turns[-1].actions))
                late = tuple(replace(o, after=after) for o in turn.overrides)
                turns[-1] = replace(turns[-1], overrides=(*turns[-1].overrides, *late))
            elif turn.overrides:
                early = tuple(replace(o, after=0) for o in turn.overrides)
                turns.append(Turn(overrides=early))
                decided.append(())
        elif turn.user is not None or turn.actions or turn.overrides:
            turns.append(turn.build())
            decided.append(tuple(turn.decided))


def _begins_with(events: Sequence[Event], known: Sequence[Event]) -> bool:
    """Whether these very events come first; events of another message are others, whatever they say."""
    return len(events) >= len(known) and all(map(operator.is_, events, known))


class _OpenTurn:
    """A turn while its events are read."""

    def __init__(
        self, user: Optional[Utterance] = None, overrides: Sequence[Override] = ()
    ) -> None:
        self.user = user
        self.overrides = list(overrides)
        self.actions: List[SystemAction] = []
        self.hidden: List[bool] = []
        self.decided: List[ActionExecuted] = []
        self.closing_context: Tuple[str, ...] = ()
        self.summary: Optional[ResultSummary] = None
        self._goal: Optional[Dict[str, str]] = None

    def copy(self) -> _OpenTurn:
        """An independent copy."""
        copied = copy.copy(self)
        for name in ("overrides", "actions", "hidden", "decided"):
            setattr(copied, name, list(getattr(self, name)))
        return copied

    def settle(self, goal: Mapping[str, str]) -> None:
        """The user's side of the turn is over: what is tracked now is its label."""
        if self._goal is None:
            self._goal = dict(goal)

    def tracked(self, goal: Mapping[str, str], hybrid: Mapping[str, Any]) -> Dict[str, str]:
        """The goal that a decision was taken by: the belief in its metadata, and what others set since."""
        believed = {slot: best[0][0] for slot, best in (hybrid.get("belief") or {}).items() if best}
        late = {o.slot: o.value for o in self.overrides if o.after} if believed else {}
        return without_none({**goal, **believed, **late})

    def build(self) -> Turn:
        return Turn(
            self.user,
            self._goal if self.user is not None else None,
            self.summary or ResultSummary(),
            tuple(self.overrides),
            tuple(self.actions),
            self.closing_context,
        )


@dataclass
class _Progress:
    """How far a tracker was read.

    Args:
        slots: values of all slots.
        goal: what is tracked, as far as events say it.
        loop: the active loop.
        open: whether the turn goes on.
        carried_over: whether nothing was said or done yet: what stands there comes from the session before.
        turn: the last one.
        turns: those before.
        decided: beside each of them the events of its decisions.
        offers: (query, entity id) of everything that was offered.
    """

    slots: Dict[str, Any]
    goal: Dict[str, str] = field(default_factory=dict)
    loop: Optional[str] = None
    open: bool = False
    carried_over: bool = True
    turn: _OpenTurn = field(default_factory=_OpenTurn)
    turns: List[Turn] = field(default_factory=list)
    decided: List[Tuple[ActionExecuted, ...]] = field(default_factory=list)
    offers: List[Tuple[Any, str]] = field(default_factory=list)

    def copy(self) -> _Progress:
        """An independent copy."""
        return replace(
            self,
            slots=dict(self.slots),
            goal=dict(self.goal),
            turn=self.turn.copy(),
            turns=list(self.turns),
            decided=list(self.decided),
            offers=list(self.offers),
        )


def entity_of(entity: Mapping[str, Any]) -> Entity:
    """An entity of Rasa's parse data or examples."""
    return Entity(
        name=str(entity.get("entity")),
        value=NONE if entity.get("value") is None else str(entity["value"]),
        start=int(entity["start"]) if entity.get("start") is not None else -1,
        end=int(entity["end"]) if entity.get("end") is not None else -1,
        role=entity.get("role"),
        group=entity.get("group"),
    )


def _hypotheses(listed: Any) -> Tuple[Hypothesis, ...]:
    """A recogniser's n-best list from a message's metadata; what is no hypothesis in it is left out."""
    found = []
    for entry in listed if isinstance(listed, (list, tuple)) else ():
        if not (isinstance(entry, Mapping) and isinstance(entry.get("text"), str)):
            continue
        confidence = entry.get("confidence", 1.0)
        if isinstance(confidence, (int, float)) and 0.0 <= confidence < math.inf:
            found.append(Hypothesis(entry["text"], float(confidence)))
    return tuple(found)


def set_value(goal: Dict[str, str], slot: str, value: str) -> None:
    """Puts a value into a goal, in which slots without one do not stand."""
    if value == NONE:
        goal.pop(slot, None)
    else:
        goal[slot] = value


def _summary(hybrid: Mapping[str, Any]) -> Optional[ResultSummary]:
    summary = hybrid.get("summary")
    return ResultSummary(summary.get("matches"), summary.get("remaining")) if summary else None
