"""A dialogue between a teacher and the bot, one step at a time: the same code under `rasa interactive` and the page.

A step is a message, a correction of the tracked goal, an action, or taking one of them back. All are events of Rasa's tracker,
and each is in the journal before the step is over. What the events say is read by `teaching_events`; what stands in the end
becomes stories in `teaching_stories`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from rasa.core.agent import Agent
from rasa.core.channels.channel import CollectingOutputChannel, UserMessage
from rasa.core.policies.policy import PolicyPrediction
from rasa.exceptions import ActionLimitReached
from rasa.shared.core.constants import ACTION_LISTEN_NAME, DEFAULT_ACTION_NAMES
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import (
    ActionExecuted,
    ActionReverted,
    Event,
    Restarted,
    SlotSet,
    UserUtteranceReverted,
    UserUttered,
)
from rasa.shared.core.trackers import DialogueStateTracker

from rasa_hybrid.components import activity
from rasa_hybrid.components.conversion import HYBRID, TEACHER
from rasa_hybrid.components.facts import slot_value
from rasa_hybrid.components.policy import HybridPolicy
from rasa_hybrid.components.runtime import TurnState
from rasa_hybrid.components.teaching_events import (
    goal_before,
    is_listening,
    last_step,
    withdrawn_offers,
)
from rasa_hybrid.components.teaching_stories import standing
from rasa_hybrid.corpora.taught import Journal, Record, TaughtCorpus
from rasa_hybrid.dialogue import DONTCARE, NONE

#: Entities of an answer that a teacher is shown.
_SHOWN_ENTITIES = 5
#: Values of a slot that are offered to choose from.
_SHOWN_VALUES = 300


class TeachingError(Exception):
    """What a teacher asked for is not possible; the message says why."""


@dataclass(frozen=True)
class SlotView:
    """A goal slot as a teacher sees it.

    Args:
        slot: its name.
        value: tracked, `NONE` if there is none.
        probability: of the value.
        changed: whether it changed in this turn.
        taught: whether the teacher set it in this turn.
        alternatives: likely values with their probabilities, best first, the tracked one among them.
    """

    slot: str
    value: str
    probability: float
    changed: bool
    taught: bool
    alternatives: Tuple[Tuple[str, float], ...]


@dataclass(frozen=True)
class TurnView:
    """What a teacher sees before an action runs.

    Args:
        goal: every goal slot.
        query: what the knowledge base was asked for; None if it was not.
        matches: how many entities it found; None if unknown.
        remaining: how many of them were not offered yet; None if unknown.
        entities: the first of them.
        acts: actions with their probabilities, best first; what Rasa would do stands at the top.
        policy: which policy would do it.
    """

    goal: Tuple[SlotView, ...]
    query: Optional[Dict[str, str]]
    matches: Optional[int]
    remaining: Optional[int]
    entities: Tuple[Dict[str, str], ...]
    acts: Tuple[Tuple[str, float], ...]
    policy: str


class TeachingSession:
    """One dialogue.

    Args:
        agent: that talks, with a loaded model that has a `HybridPolicy`.
        conversation: id of the conversation.
        corpus: where the dialogue goes.
        journal: of a dialogue that is taken up again, see `resume`; None for a new one.

    Raises:
        TeachingError: if the model has no policy of ours.
    """

    def __init__(
        self,
        agent: Agent,
        conversation: str,
        corpus: TaughtCorpus,
        journal: Optional[Journal] = None,
    ) -> None:
        self.agent = agent
        self.conversation = conversation
        self.corpus = corpus
        self._journal = journal
        self._over = False
        #: Marks of the conversation's events when they were last looked at.
        self._seen: List[Mark] = []
        self.policy  # noqa: B018, says now that there is none

    @property
    def policy(self) -> HybridPolicy:
        """Our policy in the model that the agent has now."""
        policy = HybridPolicy.loaded(self.agent.model_id or "")
        if policy is None or policy.runtime is None:
            raise TeachingError("The model has no HybridPolicy that could be taught.")
        return policy

    @property
    def domain(self) -> Domain:
        """The domain of the agent."""
        assert self.agent.processor is not None
        return self.agent.processor.domain

    async def tracker(self) -> DialogueStateTracker:
        """The conversation, or its last session: what a tracker store gives that the tracker is saved in again."""
        tracker = await self.agent.tracker_store.retrieve(self.conversation)
        return tracker or DialogueStateTracker(self.conversation, self.domain.slots)

    async def record(self) -> None:
        """Puts everything that has happened since the last call on disk."""
        if self._over:
            return
        events = await self._events()
        marks = _marks(events)
        new = events[_overlap(self._seen, marks) :]
        if self._journal is None:
            if not any(event["event"] == UserUttered.type_name for event in new):
                return
            self._journal = self.corpus.start(self.conversation)
        self._journal.append(new)
        self._seen = marks

    async def _events(self) -> List[Record]:
        """All events that the tracker store has of the conversation."""
        tracker = await self.agent.tracker_store.retrieve_full_tracker(self.conversation)
        return [event.as_dict() for event in tracker.events] if tracker is not None else []

    async def begin(self) -> None:
        """Begins after what the conversation has already, in a tracker store that kept it."""
        self._seen = _marks(await self._events())

    async def resume(self) -> None:
        """Brings the conversation to where its journal ends."""
        assert self._journal is not None
        async with self.agent.lock_store.lock(self.conversation):
            tracker = await self.tracker()
            kept, wanted = _marks(await self._events()), _marks(self._journal.events)
            start = kept.index(wanted[0]) if wanted and wanted[0] in kept else len(kept)
            missing = self._journal.events[len(kept) - start :]
            # As if it were now: Rasa begins a new session when the last message is an hour old.
            later = time.time() - missing[-1]["timestamp"] if missing else 0.0
            for record in missing:
                event = Event.from_parameters({**record, "timestamp": record["timestamp"] + later})
                if event is not None:
                    tracker.update(event, self.domain)
            await self.agent.tracker_store.save(tracker)
            self._seen = _marks(await self._events())[: start + len(wanted)]

    async def message(self) -> Optional[float]:
        """Time of the user's message that the bot has not acted on yet; None if there is none."""
        step = last_step((await self.tracker()).applied_events())
        return step.timestamp if isinstance(step, UserUttered) else None

    @property
    def stories_path(self) -> Optional[Path]:
        """Where the corpus keeps the stories of this dialogue; None before it began."""
        return self.corpus.stories_path(self._journal) if self._journal is not None else None

    async def is_listening(self) -> bool:
        """Whether it is the user's turn."""
        return is_listening((await self.tracker()).applied_events())

    async def hear(self, text: str) -> None:
        """The user says something; nothing is done about it yet.

        Raises:
            TeachingError: if it is not the user's turn, or nothing was said.
        """
        if not text.strip():
            raise TeachingError("Nothing was said.")
        assert self.agent.processor is not None
        async with self.agent.lock_store.lock(self.conversation):
            if not is_listening((await self.tracker()).applied_events()):
                raise TeachingError("It is the bot's turn: choose its next action first.")
            channel = CollectingOutputChannel()
            message = UserMessage(text.strip(), channel, self.conversation)
            tracker = await self.agent.processor.log_message(message, should_save_tracker=False)
            tracker = await self.agent.processor.run_action_extract_slots(channel, tracker)
            await self.agent.processor.save_tracker(tracker)
            await self.record()

    async def view(self) -> TurnView:
        """Goal, answer of the knowledge base and next actions, now."""
        tracker = await self.tracker()
        state, prediction = self._state(tracker), self._predict(tracker)
        scores = zip(self.domain.action_names_or_texts, prediction.probabilities)
        acts = [
            (name, float(score))
            for name, score in scores
            if score > 0 or name not in DEFAULT_ACTION_NAMES or name == ACTION_LISTEN_NAME
        ]
        return TurnView(
            goal=tuple(self._slots(tracker, state)),
            query=dict(state.query) if state.query is not None else None,
            matches=state.summary.matches,
            remaining=state.summary.remaining,
            entities=tuple(
                {key: str(value) for key, value in entity.items()}
                for entity in (state.entities or ())[:_SHOWN_ENTITIES]
            ),
            acts=tuple(sorted(acts, key=lambda act: (-act[1], act[0]))),
            policy=_policy_name(prediction.policy_name),
        )

    def values(self, slot: str) -> List[str]:
        """Values that are known for a goal slot."""
        runtime = self.policy.runtime
        assert runtime is not None
        known = runtime.model.encoder.ontology.values[slot]
        return sorted(dict.fromkeys([*known.values, *known.closed]))[:_SHOWN_VALUES]

    async def correct(self, goal: Mapping[str, str]) -> None:
        """The teacher says what the user wants; it is in force at once, until the user says otherwise.

        Args:
            goal: goal slots with their values; `NONE` and `DONTCARE` are values.

        Raises:
            TeachingError: if a slot is no goal slot or can't hold the value, or it is the user's turn.
        """
        async with self.agent.lock_store.lock(self.conversation):
            tracker = await self.tracker()
            applied = tracker.applied_events()
            if is_listening(applied):
                raise TeachingError("The goal can be corrected after the user's next message.")
            if not isinstance(last_step(applied), UserUttered):
                raise TeachingError("An action has run already: undo it to correct the goal.")
            state = self._state(tracker)
            events = [self._correction(state, slot, text) for slot, text in goal.items()]
            tracker.update_with_events(events, self.domain)
            await self.agent.tracker_store.save(tracker)
            await self.record()

    async def act(self, action: str, original: Optional[str] = None) -> List[Dict[str, Any]]:
        """Runs an action, `action_listen` included, with all that belongs to it.

        Args:
            action: that the teacher accepted or chose.
            original: what the bot wanted, if the teacher saw something else than what it wants now.

        Returns:
            What the bot said, as a channel gets it.

        Raises:
            TeachingError: if there is no such action, or it is the user's turn.
        """
        if action not in self.domain.action_names_or_texts:
            raise TeachingError(f"The domain has no action {action!r}.")
        assert self.agent.processor is not None
        async with self.agent.lock_store.lock(self.conversation):
            tracker = await self.tracker()
            if is_listening(tracker.applied_events()):
                raise TeachingError("It is the user's turn.")
            prediction = self._predict(tracker)
            wanted = self.domain.action_names_or_texts[prediction.max_confidence_index]
            if action != wanted:
                corrected = {
                    "action": original or wanted,
                    "probability": float(prediction.max_confidence),
                    "policy": _policy_name(prediction.policy_name),
                }
                prediction = self.policy.taught_prediction(tracker, self.domain, action, corrected)
            channel = CollectingOutputChannel()
            await self.agent.processor.execute_action(
                self.conversation, action, channel, self.agent.nlg, prediction
            )
            await self.record()
            return channel.messages

    async def undo(self) -> bool:
        """Takes the last action or message back, with everything that came after it.

        Returns:
            Whether there was something to take back.
        """
        async with self.agent.lock_store.lock(self.conversation):
            tracker = await self.tracker()
            applied = tracker.applied_events()
            if not any(isinstance(event, UserUttered) for event in applied):
                return False
            if isinstance(last_step(applied), UserUttered):
                tracker.update(UserUtteranceReverted(), self.domain)
                tracker.update(ActionExecuted(ACTION_LISTEN_NAME), self.domain)
            else:
                tracker.update(ActionReverted(), self.domain)
                # What the action would have offered stands before it.
                tracker.update_with_events(withdrawn_offers(tracker, self.domain), self.domain)
            await self.agent.tracker_store.save(tracker)
            await self.record()
            return True

    async def restart(self) -> None:
        """Begins anew; what was said so far becomes a story of its own."""
        async with self.agent.lock_store.lock(self.conversation):
            tracker = await self.tracker()
            tracker.update(Restarted(), self.domain)
            tracker.update(ActionExecuted(ACTION_LISTEN_NAME), self.domain)
            await self.agent.tracker_store.save(tracker)
            await self.record()

    def finish(
        self, rating: Optional[int] = None, stories_path: Optional[Path] = None
    ) -> Optional[Path]:
        """Puts what stands of the dialogue into the corpus, as far as it was recorded.

        Args:
            rating: what the teacher thinks of the dialogue, 1 (bad) to 5 (good).
            stories_path: a file of the teacher's choice for the stories.

        Returns:
            The file of the stories; None if nothing was finished that could be learnt.
        """
        if self._journal is None:
            return None
        events = [Event.from_parameters(record) for record in self._journal.events]
        name = f"taught {self._journal.path.stem}"
        stories, corrections = standing([e for e in events if e is not None], self.domain, name)
        if rating is not None:
            corrections = [*corrections, {"kind": "rating", "rating": rating}]
        path = self.corpus.finish(self._journal, stories, corrections, stories_path)
        self._journal, self._over = None, True
        return path

    def discard(self) -> None:
        """Throws the dialogue away."""
        if self._journal is not None:
            self.corpus.discard(self._journal)
        self._journal, self._over = None, True

    def close(self) -> None:
        """Leaves the dialogue as it is, to be taken up another time."""
        if self._journal is not None:
            self._journal.close()
        self._journal, self._over = None, True

    def _state(self, tracker: DialogueStateTracker) -> TurnState:
        runtime = self.policy.runtime
        assert runtime is not None
        runtime.use_domain(self.domain)
        return runtime.turn(tracker)

    def _predict(self, tracker: DialogueStateTracker) -> PolicyPrediction:
        """What Rasa would do: our policy and the others, rules first."""
        assert self.agent.processor is not None
        try:
            with activity.being_taught():
                return self.agent.processor.predict_next_with_tracker_if_should(tracker)[1]
        except ActionLimitReached:  # of one turn: now it can only listen
            return PolicyPrediction.for_action_name(self.domain, ACTION_LISTEN_NAME)

    def _slots(self, tracker: DialogueStateTracker, state: TurnState) -> Iterable[SlotView]:
        runtime = self.policy.runtime
        assert runtime is not None
        before = goal_before(tracker, self.domain)
        taught = {o.slot for o in state.turn.overrides if o.source == TEACHER}
        for slot in runtime.goal_slots:
            best = state.belief.best(slot)
            top = state.belief.top(runtime.configuration.top_k)[slot]
            held = before.get(slot)
            dontcare = runtime.configuration.dontcare_value
            text = DONTCARE if held == dontcare else runtime.facts.text(slot, held)
            yield SlotView(
                slot,
                best,
                float(state.belief.probability(slot, best)),
                best != text,
                slot in taught,
                tuple((value, float(chance)) for value, chance in top),
            )

    def _correction(self, state: TurnState, slot: str, text: str) -> SlotSet:
        runtime = self.policy.runtime
        assert runtime is not None
        if slot not in runtime.goal_slots:
            raise TeachingError(
                f"{slot!r} is no goal slot; there are {', '.join(runtime.goal_slots)}."
            )
        facts = runtime.facts.slots[slot]
        ontology = runtime.model.encoder.ontology
        text = text.strip()
        if not text:
            raise TeachingError(f"{slot} needs a value; {NONE!r} empties it.")
        if text not in (NONE, DONTCARE):
            text = ontology.canonical(ontology.position(slot), text)
            if facts.kind == "categorical" and text not in facts.values:
                raise TeachingError(
                    f"{slot} can't be {text!r}; its values are {', '.join(facts.values)}."
                )
            if facts.kind == "bool" and text not in ("true", "false"):
                raise TeachingError(f"{slot} can't be {text!r}; it is true or false.")
        try:
            value = slot_value(facts, text, runtime.configuration.dontcare_value)
        except ValueError as error:
            raise TeachingError(f"{slot} can't be {text!r}, it is a {facts.kind}.") from error
        believed = state.belief.best(slot)
        source = {
            "source": TEACHER,
            "believed": believed,
            "probability": float(state.belief.probability(slot, believed)),
            "model_id": runtime.name,
        }
        return SlotSet(slot, value, metadata={HYBRID: source})


#: What tells an event from the others of its conversation: its kind and time.
Mark = Tuple[str, float]


def _marks(events: Sequence[Record]) -> List[Mark]:
    return [(event["event"], event["timestamp"]) for event in events]


def _overlap(seen: Sequence[Mark], now: Sequence[Mark]) -> int:
    """How many of the events that are there now were seen before.

    They are the last ones that were seen: a tracker store in memory drops the sessions before the last one.
    """
    lengths = range(min(len(seen), len(now)), 0, -1)
    return next((n for n in lengths if list(seen[-n:]) == list(now[:n])), 0)


def _policy_name(name: Optional[str]) -> str:
    """`HybridPolicy` for `policy_0_rasa_hybrid.HybridPolicy`."""
    return (name or "").rsplit(".", 1)[-1].rsplit("_", 1)[-1]
