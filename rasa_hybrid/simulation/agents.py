"""The protocol between the environment and whoever plays the system: the expert, the model, a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Protocol, Sequence, Tuple

from rasa_hybrid.dialogue import Belief, Dialogue, Goal, ResultSummary, SystemAction, Utterance


@dataclass(frozen=True)
class AgentTurn:
    """What the system did in one turn.

    Args:
        belief: after the user's utterance.
        summary: what the knowledge base answered.
        actions: in order, without the closing `action_listen`.
        offered: the entity that was offered in this turn, None if none was.
        propensities: probability of each decision, the closing `action_listen` included; empty if unknown.
    """

    belief: Belief
    summary: ResultSummary
    actions: Tuple[SystemAction, ...]
    offered: Optional[Mapping[str, str]] = None
    propensities: Tuple[float, ...] = ()


@dataclass(frozen=True)
class ReadTurn:
    """What an agent makes of a recorded turn.

    Args:
        belief: after the user's utterance.
        decisions: what it would do before each of the recorded actions, and (`action_listen`) after the last one;
            empty for an agent that takes its decisions in another order than the recorded ones.
    """

    belief: Belief
    decisions: Tuple[str, ...]


class DialogueReader(Protocol):
    """Follows recorded dialogues instead of leading its own."""

    def read(self, dialogues: Sequence[Dialogue]) -> List[List[ReadTurn]]:
        """For each dialogue what the agent makes of each of its turns, given what was really said and done before."""


class DialogueAgent(Protocol):
    """Plays the system in N conversations at once.

    The calling protocol of a batch:

        agent.begin(count)
        while utterances:                                       # conversation -> what its user said
            turns = agent.respond(utterances)                   # conversation -> what the system did
            utterances = {i: user_says(i, turns[i].actions) for i in turns if still_talking(i)}
    """

    def begin(self, count: int) -> None:
        """Starts fresh conversations 0 to `count` - 1."""

    def respond(self, utterances: Mapping[int, Utterance]) -> Dict[int, AgentTurn]:
        """Answers the conversations that are still going on."""


def certain(goal: Goal, slots: Tuple[str, ...], none: str = "none") -> Belief:
    """The belief of somebody who has no doubts."""
    return Belief({slot: ((goal.get(slot, none), 1.0),) for slot in slots})
