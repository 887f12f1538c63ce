"""The rule-based expert: a finite-state machine that knows what the user really meant.

It plays the system in self-play, labels every turn with the goal expressed so far, and tells for any state of any
conversation, whoever led it there, which action comes next: the label of imitation and the measure of act accuracy.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from rasa_hybrid.dialogue import LISTEN, DialogueAct, ResultSummary, SystemAction, Utterance
from rasa_hybrid.simulation.agents import AgentTurn, certain
from rasa_hybrid.simulation.catalogue import Catalogue, Entity, Found
from rasa_hybrid.simulation.flow import SystemFlow, action, state_features
from rasa_hybrid.simulation.side_effects import SideEffects

#: Actions after which the user is expected to answer something definite.
_QUESTIONS = ("request", "select", "offer", "confirm")


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
        offered: ids of all entities offered so far.
        current: the entity whose offer stands.
        question: role and slot of the system's last question, "" if it has not asked anything.
        question_action: its name.
        slots: set by side effects.
        heard: act names of this turn's utterance.
        asked_for: slot of which the user wants to know the values.
        told: whether the utterance told or took back a value.
        changed: whether it changed the tracked goal.
    """

    goal: Dict[str, str] = field(default_factory=dict)
    found: Optional[Found] = None
    summary: ResultSummary = ResultSummary()
    offered: List[str] = field(default_factory=list)
    current: Optional[Entity] = None
    question: Tuple[str, str] = ("", "")
    question_action: str = ""
    slots: Dict[str, str] = field(default_factory=dict)
    heard: frozenset = frozenset()
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
        goal = expert.hear(i, utterance)                       # label of the belief
        name = expert.next_action(i, taken)                    # label of the next decision, LISTEN at the end
        expert.executed(i, actions, offered, slots)            # what was really done
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
        summary = self._conversations[i].summary
        actions, offered, slots = self._act(i)
        self.executed(i, actions, offered, slots)
        return AgentTurn(certain(goal, self._slots), summary, actions, offered, (1.0,) * (len(actions) + 1))

    def advise(self, i: int) -> Tuple[SystemAction, ...]:
        """The whole turn that the expert would take now, without taking it; `hear` comes first."""
        return self._act(i)[0]

    def _act(self, i: int) -> Tuple[Tuple[SystemAction, ...], Optional[Entity], Dict[str, str]]:
        conversation = self._conversations[i]
        taken: List[SystemAction] = []
        offered, standing = None, conversation.current
        slots = dict(conversation.slots)
        while True:
            name = self.next_action(i, taken, slots)
            if name == LISTEN:
                return tuple(taken), offered, slots
            if name == self.flow.offer:
                offered = standing = self._to_offer(conversation)
            decided = action(name, self.flow, conversation.goal, standing, self.catalogue, slots)
            taken.append(decided)
            slots.update(self.side_effects.perform(i, name, standing))

    def hear(self, i: int, utterance: Utterance) -> Dict[str, str]:
        """Takes in what the user said.

        Returns:
            The goal expressed so far.
        """
        conversation = self._conversations[i]
        acts = utterance.acts
        before = conversation.goal
        conversation.goal = goal = track(before, acts)
        conversation.changed = goal != before
        conversation.heard = heard = frozenset(act.act for act in acts)
        conversation.told = any(act.slot is not None and act.act in ("inform", "negate") for act in acts)
        conversation.asked_for = next((act.slot for act in acts if act.act == "request"), None)
        conversation.found = found = self.catalogue.find(goal)
        conversation.summary = found.summary(conversation.offered)
        current = conversation.current
        refused = "negate" in heard and not conversation.told and conversation.question[0] in ("offer", "confirm")
        if current is not None and (refused or current["id"] not in found.ids):
            conversation.current = None
        return goal

    def next_action(
        self, i: int, taken: Sequence[SystemAction], slots: Optional[Mapping[str, str]] = None
    ) -> str:
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
            return self._further_action(conversation, taken, dict(slots or conversation.slots))
        flow, plain, heard = self.flow, self.flow.plain, conversation.heard
        if "cancel" in heard:
            return plain["cancelled"]
        if "good_bye" in heard:
            return plain["good_bye"]
        if "out_of_domain" in heard and not conversation.told:
            return plain["cannot_help"]
        if "repeat" in heard and conversation.question_action:
            return conversation.question_action
        if self._completed(conversation):
            return plain["good_bye"]
        if conversation.asked_for in flow.select:
            others = {s: v for s, v in conversation.goal.items() if s != conversation.asked_for}
            found = self.catalogue.find(others)
            return flow.select[conversation.asked_for] if found.entities else plain["no_match"]
        if heard <= {"greeting"} and not conversation.goal:
            return plain["greet"]
        assert conversation.found is not None
        if not conversation.found.entities:
            return plain["no_match"]
        missing = next((slot for slot in flow.request if slot not in conversation.goal), None)
        if missing is not None:
            return flow.request[missing]
        if conversation.current is not None:
            if conversation.question[0] == "confirm" and "affirm" in heard and not conversation.changed:
                return flow.completion.action if flow.completion else plain["success"]
            return flow.confirm
        return flow.offer if self._to_offer(conversation) is not None else plain["no_match"]

    def _further_action(
        self, conversation: _Conversation, taken: Sequence[SystemAction], slots: Mapping[str, str]
    ) -> str:
        """What follows an action in the same turn."""
        flow, last = self.flow, taken[-1].name
        completion = flow.completion
        if completion is not None and last == completion.action:
            return completion.outcomes.get(slots.get(completion.slot, ""), LISTEN)
        role = flow.role(last)[0]
        if role == "outcome":
            return flow.offer if conversation.found and conversation.found.next_offer(conversation.offered) else LISTEN
        if role == "cannot_help" and len(taken) == 1 and conversation.question[0] in ("request", "confirm"):
            return conversation.question_action
        return LISTEN

    def _completed(self, conversation: _Conversation) -> bool:
        if self.flow.completion is None:
            return conversation.slots.get("") == "done"
        return conversation.slots.get(self.flow.completion.slot) == self.flow.completion.done

    def _to_offer(self, conversation: _Conversation) -> Optional[Entity]:
        """The offer that stands, else the next one."""
        if conversation.current is not None and not self._failed(conversation):
            return conversation.current
        return conversation.found.next_offer(conversation.offered) if conversation.found is not None else None

    def _failed(self, conversation: _Conversation) -> bool:
        return False

    def executed(
        self,
        i: int,
        actions: Sequence[SystemAction],
        offered: Optional[Mapping[str, str]],
        slots: Mapping[str, str],
    ) -> None:
        """Takes note of what the system did in this turn.

        Args:
            i: the conversation.
            actions: in order.
            offered: the entity that was offered, None if none was.
            slots: slots that side effects have set so far.
        """
        raise NotImplementedError
