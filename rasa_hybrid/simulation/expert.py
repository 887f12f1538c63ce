"""The rule-based expert: a finite-state machine that knows what the user really meant.

It plays the system in self-play, labels every turn with the goal expressed so far, and tells for any state of any
conversation, whoever led it there, which action comes next: the label of imitation and the measure of act accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Dict, FrozenSet, List, Mapping, Optional, Sequence, Tuple

from rasa_hybrid.dialogue import (
    LISTEN,
    Dialogue,
    DialogueAct,
    ResultSummary,
    SystemAction,
    Utterance,
)
from rasa_hybrid.simulation.agents import AgentTurn, ReadTurn, certain
from rasa_hybrid.simulation.catalogue import NOTHING, Catalogue, Entity, Found, Query
from rasa_hybrid.simulation.flow import SystemFlow, decided, slots_of
from rasa_hybrid.simulation.side_effects import SideEffects

#: Actions after which the user is expected to answer something definite.
_QUESTIONS = ("request", "select", "offer", "confirm")
#: What a user does who wants another offer.
_REFUSING = frozenset({"negate", "request_alternatives"})
_Perform = Callable[[int, str, Optional[Entity]], Dict[str, str]]


def track(goal: Mapping[str, str], acts: Sequence[DialogueAct]) -> Dict[str, str]:
    """The goal after the user's acts: the label of the belief."""
    tracked = dict(goal)
    for act in acts:
        if act.slot is None:
            continue
        if act.act == "inform" and act.value is not None:
            tracked[act.slot] = act.value
        elif act.act == "negate" and act.value is None:
            tracked.pop(act.slot, None)
    return tracked


@dataclass
class _Conversation:
    """What the expert knows about a conversation.

    Args:
        goal: as tracked.
        found: entities that satisfy it.
        summary: of this turn.
        offered: ids of the entities offered so far, by query.
        current: the entity whose offer stands.
        question: role of the system's last question, "" if it has not asked anything.
        question_action: the action that asked it.
        finished: whether the user was told that all is done.
        heard: act names of this turn's utterance.
        asked_for: slot of which the user wants to know the values.
        told: whether the utterance told or took back a value.
        changed: whether it changed the tracked goal.
    """

    goal: Dict[str, str] = field(default_factory=dict)
    found: Found = NOTHING
    summary: ResultSummary = field(default_factory=ResultSummary)
    offered: Dict[Query, List[str]] = field(default_factory=dict)
    current: Optional[Entity] = None
    question: str = ""
    question_action: str = ""
    finished: bool = False
    heard: FrozenSet[str] = frozenset()
    asked_for: Optional[str] = None
    told: bool = False
    changed: bool = False


class Expert:
    """Plays the system by rules, from the user's true acts.

    Args:
        flow: the actions of the domain.
        catalogue: the knowledge base.
        side_effects: shared with the environment.

    As an agent it has `begin` and `respond`. To label somebody else's conversations:

        expert.begin(count)
        goal = expert.hear(i, utterance)                # label of the belief
        actions = expert.advise(i, slots)                   # what it would do in this turn
        name = expert.next_action(i, taken, slots)      # the next decision after `taken`, LISTEN at the end
        expert.executed(i, turn)                        # what was really done
    """

    def __init__(self, flow: SystemFlow, catalogue: Catalogue, side_effects: SideEffects) -> None:
        self.flow, self.catalogue, self.side_effects = flow, catalogue, side_effects
        self._slots = tuple(flow.request)
        self._conversations: List[_Conversation] = []

    def begin(self, count: int) -> None:
        """Starts fresh conversations."""
        self._conversations = [_Conversation() for _ in range(count)]

    def respond(self, utterances: Mapping[int, Utterance]) -> Dict[int, AgentTurn]:
        """Answers as the rules say."""
        return {i: self._respond(i, utterance) for i, utterance in utterances.items()}

    def _respond(self, i: int, utterance: Utterance) -> AgentTurn:
        goal = self.hear(i, utterance)
        actions, offered = self._act(i, self.side_effects.slots(i), self.side_effects.perform)
        turn = AgentTurn(
            certain(goal, self._slots),
            self._conversations[i].summary,
            actions,
            offered,
            (1.0,) * (len(actions) + 1),
        )
        self.executed(i, turn)
        return turn

    def read(self, dialogues: Sequence[Dialogue]) -> List[List[ReadTurn]]:
        """Reads recorded dialogues: the belief of each turn, and what the expert would decide where the system did."""
        return [self._read(dialogue) for dialogue in dialogues]

    def _read(self, dialogue: Dialogue) -> List[ReadTurn]:
        self.begin(1)
        self.side_effects.begin([(0, 0)])
        result = []
        for turn in dialogue.turns:
            goal = self.hear(0, turn.user or Utterance(""))
            decisions = []
            for position in range(len(turn.actions) + 1):
                here = position < len(turn.actions)
                context = turn.actions[position].context if here else turn.closing_context
                slots = slots_of(context)
                decisions.append(self.next_action(0, turn.actions[:position], slots))
                self.side_effects.record(0, slots, None)
            offered = self._recorded_offer(turn.actions)
            belief = certain(goal, self._slots)
            self.executed(0, AgentTurn(belief, self.summary(0), turn.actions, offered))
            result.append(ReadTurn(belief, tuple(decisions)))
        return result

    def _recorded_offer(self, actions: Sequence[SystemAction]) -> Optional[Entity]:
        """The entity that the last offer among these actions names."""
        for done in reversed(actions):
            if done.name == self.flow.offer:
                told = {act.slot: act.value for act in done.acts if act.slot and act.value}
                return next(iter(self.catalogue.find(told)), None)
        return None

    def advise(self, i: int, slots: Mapping[str, str]) -> Tuple[SystemAction, ...]:
        """The turn that the expert would take now; nothing is done. `hear` comes first.

        Args:
            i: the conversation.
            slots: what side effects had set before this turn.
        """
        return self._act(i, dict(slots), self.side_effects.foresee)[0]

    def _act(
        self, i: int, slots: Dict[str, str], perform: _Perform
    ) -> Tuple[Tuple[SystemAction, ...], Optional[Entity]]:
        conversation = self._conversations[i]
        taken: List[SystemAction] = []
        offered, standing = None, conversation.current
        while True:
            name = self.next_action(i, taken, slots)
            if name == LISTEN:
                return tuple(taken), offered
            if name == self.flow.offer:
                offered = standing = self._to_offer(conversation, taken)
            taken.append(
                decided(name, self.flow, conversation.goal, standing, self.catalogue, slots)
            )
            slots.update(perform(i, name, standing))

    def hear(self, i: int, utterance: Utterance) -> Dict[str, str]:
        """Takes in what the user said.

        Returns:
            The goal expressed so far.
        """
        conversation = self._conversations[i]
        acts, before = utterance.acts, conversation.goal
        told = track(before, acts)
        conversation.goal = goal = {slot: told[slot] for slot in self._slots if slot in told}
        conversation.changed = goal != before
        conversation.heard = heard = frozenset([act.act for act in acts])
        conversation.told = any(
            act.slot is not None and act.act in ("inform", "negate") for act in acts
        )
        conversation.asked_for = next((act.slot for act in acts if act.act == "request"), None)
        if conversation.changed or conversation.found is NOTHING:
            conversation.found = self.catalogue.find(goal)
        found, current = conversation.found, conversation.current
        conversation.summary = found.summary(conversation.offered.get(found.query, ()))
        refused = (
            bool(heard & _REFUSING)
            and not conversation.told
            and conversation.question in ("offer", "confirm")
        )
        if current is not None and (refused or not found.contains(current["id"])):
            conversation.current = None
        return goal

    def summary(self, i: int) -> ResultSummary:
        """What the knowledge base answers to the goal expressed so far."""
        return self._conversations[i].summary

    def next_action(self, i: int, taken: Sequence[SystemAction], slots: Mapping[str, str]) -> str:
        """The action that is right now.

        Args:
            i: the conversation, after `hear`.
            taken: actions of this turn so far.
            slots: slots that side effects have set, those of this turn included.

        Returns:
            Its name; `LISTEN` if it is the user's turn.
        """
        conversation = self._conversations[i]
        if taken:
            return self._further_action(conversation, taken, slots)
        flow, plain, heard = self.flow, self.flow.plain, conversation.heard
        if "cancel" in heard:
            return plain["cancelled"]
        if "good_bye" in heard:
            return plain["good_bye"]
        if "out_of_domain" in heard and not conversation.told:
            return plain["cannot_help"]
        if "repeat" in heard and conversation.question_action:
            return conversation.question_action
        if conversation.finished:
            return plain["good_bye"]
        if conversation.asked_for in flow.select:
            return self._answer_what_there_is(conversation, str(conversation.asked_for))
        if heard <= {"greeting"} and not conversation.goal:
            return plain["greet"]
        if not len(conversation.found):
            return plain["no_match"]
        missing = next((slot for slot in flow.request if slot not in conversation.goal), None)
        if missing is not None:
            return flow.request[missing]
        if conversation.current is not None:
            if (
                conversation.question == "confirm"
                and "affirm" in heard
                and not conversation.changed
            ):
                return flow.completion.action if flow.completion else plain["success"]
            return flow.confirm
        return flow.offer if self._to_offer(conversation, taken) is not None else plain["no_match"]

    def _answer_what_there_is(self, conversation: _Conversation, slot: str) -> str:
        others = {s: value for s, value in conversation.goal.items() if s != slot}
        return (
            self.flow.select[slot]
            if len(self.catalogue.find(others))
            else self.flow.plain["no_match"]
        )

    def _further_action(
        self, conversation: _Conversation, taken: Sequence[SystemAction], slots: Mapping[str, str]
    ) -> str:
        """What follows an action in the same turn."""
        flow, last = self.flow, taken[-1].name
        if flow.completion is not None and last == flow.completion.action:
            return flow.completion.outcomes.get(slots.get(flow.completion.slot, ""), LISTEN)
        role = flow.role(last)[0]
        if role == "outcome" and self._to_offer(conversation, taken) is not None:
            return flow.offer
        if (
            role == "cannot_help"
            and len(taken) == 1
            and conversation.question in ("request", "confirm")
        ):
            return conversation.question_action
        return LISTEN

    def _to_offer(
        self, conversation: _Conversation, taken: Sequence[SystemAction]
    ) -> Optional[Entity]:
        """The offer that stands (unless it has just failed), else the next one."""
        if conversation.current is not None and not taken:
            return conversation.current
        return conversation.found.next_offer(conversation.offered.get(conversation.found.query, ()))

    def executed(self, i: int, turn: AgentTurn) -> None:
        """Takes note of what the system did in this turn."""
        conversation, flow = self._conversations[i], self.flow
        slots = self.side_effects.slots(i)
        for done in turn.actions:
            role = flow.role(done.name)[0]
            if role == "offer":
                conversation.current = turn.offered
                if turn.offered is not None:
                    conversation.offered.setdefault(conversation.found.query, []).append(
                        turn.offered["id"]
                    )
            elif role == "complete" and flow.completion is not None:
                if slots.get(flow.completion.slot) != flow.completion.done:
                    conversation.current = None
            elif role == "success":
                conversation.finished = True
            if role in _QUESTIONS:
                conversation.question, conversation.question_action = role, done.name
            elif role in ("no_match", "greet"):
                conversation.question, conversation.question_action = "", ""
