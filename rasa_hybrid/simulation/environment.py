"""N simulated users talk to one agent in lockstep, so that a model is called on batches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from rasa_hybrid.dialogue import (
    NONE,
    Dialogue,
    DialogueAct,
    Goal,
    ResultSummary,
    Turn,
    Utterance,
    normalise,
)
from rasa_hybrid.simulation.agenda import AgendaUser
from rasa_hybrid.simulation.agents import AgentTurn, DialogueAgent
from rasa_hybrid.simulation.catalogue import Entity
from rasa_hybrid.simulation.expert import Expert
from rasa_hybrid.simulation.flow import slots_of, state_features
from rasa_hybrid.simulation.rewards import RewardedTurn
from rasa_hybrid.simulation.side_effects import SideEffects
from rasa_hybrid.simulation.simulator import Simulator


@dataclass(frozen=True)
class Rollout:
    """A simulated dialogue with everything that learning and evaluation need.

    Args:
        dialogue: what was said and done; `Turn.goal` is the expert's label, `Dialogue.goal` what the user wanted.
        turns: the agent's side, one per turn of the dialogue.
        rewards: reward points, one per turn.
        success: whether the goal was reached.
        ended: why it is over: `success`, `gave_up`, `left` (satisfied, but without success) or `limit`.
        profile: name of the user's profile.
        expert: what the expert would have decided, for each turn the action before each of the agent's decisions (the
            closing `action_listen` included); empty without labels.
        advice: the whole turn that the expert would have taken, for each turn; empty without labels.
        answers: what the knowledge base answers to the expert's label of each turn; empty without labels. Where the
            agent tracked another goal, the expert's decisions fit to this answer, not to the one that the agent had.
    """

    dialogue: Dialogue
    turns: Tuple[AgentTurn, ...]
    rewards: Tuple[float, ...]
    success: bool
    ended: str
    profile: str
    expert: Tuple[Tuple[str, ...], ...] = ()
    advice: Tuple[Tuple, ...] = ()
    answers: Tuple[ResultSummary, ...] = ()


@dataclass
class _Conversation:
    user: AgendaUser
    said: Optional[Utterance]
    turns: List[Turn] = field(default_factory=list)
    agent: List[AgentTurn] = field(default_factory=list)
    expert: List[Tuple[str, ...]] = field(default_factory=list)
    advice: List[Tuple] = field(default_factory=list)
    answers: List[ResultSummary] = field(default_factory=list)
    understood: bool = False
    standing: Optional[Entity] = None


class Environment:
    """Lets an agent talk to simulated users.

    Args:
        simulator: the domain and its users.
        agent: who plays the system.
        side_effects: shared with the agent; None for an agent whose actions have effects of their own.
        label: whether the expert labels the agent's decisions (costs time, and nothing else).

    The same seed gives the same dialogues whatever the batch size, as far as the agent is deterministic.
    """

    def __init__(
        self,
        simulator: Simulator,
        agent: DialogueAgent,
        side_effects: Optional[SideEffects] = None,
        label: bool = False,
    ) -> None:
        self.simulator, self.agent, self.label = simulator, agent, label
        self.side_effects = side_effects or SideEffects(simulator.flow)
        # The expert labels the goal of every turn; when it plays itself it need not be asked twice.
        self._expert = Expert(simulator.flow, simulator.catalogue, self.side_effects)

    def rollouts(
        self, count: int, seed: int = 0, batch_size: int = 128, first: int = 0
    ) -> Iterator[Rollout]:
        """Simulated dialogues in order.

        Args:
            count: how many.
            seed: of everything.
            batch_size: how many at once.
            first: index of the first; dialogue `i` of a seed is always the same.
        """
        for start in range(first, first + count, batch_size):
            yield from self._batch(range(start, min(start + batch_size, first + count)), seed)

    def _batch(self, indices: Sequence[int], seed: int) -> Iterator[Rollout]:
        simulator, expert = self.simulator, self._expert
        self.side_effects.begin([(seed, index) for index in indices])
        self.agent.begin(len(indices))
        labelling = self.label or not isinstance(self.agent, Expert)
        if labelling:
            expert.begin(len(indices))
        users = [simulator.user(np.random.default_rng([seed, index])) for index in indices]
        talks = [_Conversation(user, user.respond(())) for user in users]
        active = list(range(len(talks)))
        for _ in range(simulator.max_turns):
            utterances = {i: said for i in active for said in (talks[i].said,) if said is not None}
            if not utterances:
                break
            before = {i: self.side_effects.slots(i) for i in utterances} if self.label else {}
            answers = self.agent.respond(utterances)
            for i, utterance in utterances.items():
                talk, answer = talks[i], answers[i]
                label: Goal = answer.belief.goal()
                if labelling:
                    label = expert.hear(i, utterance)
                    if self.label:
                        talk.advice.append(expert.advise(i, before[i]))
                        talk.expert.append(self._decisions(i, answer))
                        talk.answers.append(expert.summary(i))
                    expert.executed(i, answer)
                self._close_turn(talk, utterance, answer, label, self.side_effects.slots(i))
            active = [i for i in active if talks[i].said is not None]
        for i, talk in enumerate(talks):
            yield self._rollout(i, indices[i], seed, talk)

    def _close_turn(
        self,
        talk: _Conversation,
        utterance: Utterance,
        answer: AgentTurn,
        label: Goal,
        slots: Mapping[str, str],
    ) -> None:
        talk.turns.append(
            Turn(
                user=utterance,
                goal=label,
                summary=answer.summary,
                actions=answer.actions,
                closing_context=state_features(slots),
            )
        )
        talk.agent.append(answer)
        if talk.user.confirmed and any(act.act == "affirm" for act in utterance.acts):
            talk.understood = same_goal(answer.belief.goal(), talk.user.goal, self.simulator.slots)
        talk.standing = answer.offered or talk.standing
        goal, catalogue = answer.belief.goal(), self.simulator.catalogue
        heard: List[DialogueAct] = []
        for action in answer.actions:
            heard += self.simulator.flow.heard(action, goal, talk.standing, catalogue)
        talk.said = talk.user.respond(heard)

    def _decisions(self, i: int, answer: AgentTurn) -> Tuple[str, ...]:
        """What the expert would have done instead of each of the agent's decisions."""
        decisions = []
        for position in range(len(answer.actions) + 1):
            here = position < len(answer.actions)
            slots = (
                slots_of(answer.actions[position].context) if here else self.side_effects.slots(i)
            )
            decisions.append(self._expert.next_action(i, answer.actions[:position], slots))
        return tuple(decisions)

    def _rollout(self, i: int, index: int, seed: int, talk: _Conversation) -> Rollout:
        user, simulator = talk.user, self.simulator
        completed = simulator.flow.completion is None or self.side_effects.completed(i) is not None
        success = user.accepted and user.confirmed and talk.understood and completed
        if success:
            ended = "success"
        elif user.gave_up:
            ended = "gave_up"
        else:
            ended = "limit" if talk.said is not None else "left"
        rewards = []
        for position, (turn, agent) in enumerate(zip(talk.turns, talk.agent)):
            last = position == len(talk.turns) - 1
            previous = talk.agent[position - 1] if position else None
            assert turn.user is not None
            rewards.append(
                simulator.rewards.of(
                    RewardedTurn(position, turn.user, agent, previous, last, last and success)
                )
            )
        metadata = {
            "profile": user.profile.name,
            "surface": simulator.surfaces.name,
            "seed": seed,
            "index": index,
            "success": success,
        }
        dialogue = Dialogue(
            f"{simulator.surfaces.name}-{seed}-{index}",
            tuple(talk.turns),
            dict(user.goal),
            metadata=metadata,
        )
        return Rollout(
            dialogue,
            tuple(talk.agent),
            tuple(rewards),
            success,
            ended,
            user.profile.name,
            tuple(talk.expert),
            tuple(talk.advice),
            tuple(talk.answers),
        )


def same_goal(tracked: Mapping[str, str], goal: Mapping[str, str], slots: Sequence[str]) -> bool:
    """Whether two goals agree in all slots, values compared as `normalise` sees them."""
    for slot in slots:
        first, second = tracked.get(slot, NONE), goal.get(slot, NONE)
        if first != second and normalise(first) != normalise(second):
            return False
    return True


def self_play(
    simulator: Simulator, count: int, seed: int = 0, batch_size: int = 128, first: int = 0
) -> Iterator[Dialogue]:
    """Dialogues of the expert with simulated users: a corpus.

    Args:
        simulator: the domain and its users.
        count: number of dialogues.
        seed: of everything.
        batch_size: how many at once; makes no difference.
        first: index of the first dialogue.
    """
    side_effects = SideEffects(simulator.flow)
    expert = Expert(simulator.flow, simulator.catalogue, side_effects)
    for rollout in Environment(simulator, expert, side_effects).rollouts(
        count, seed, batch_size, first
    ):
        yield rollout.dialogue
