"""The words everyone speaks: acts, utterances, turns, dialogues.

Plain frozen data without TensorFlow or Rasa, so that a simulated dialogue, a public corpus, a hand-written
story and a live conversation are the same thing to the model.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Dict, Mapping, Optional, Tuple

#: Value of a goal slot about which the user said that anything is fine.
DONTCARE = "dontcare"
#: Value of a goal slot about which the user said nothing (absent from a `Goal`).
NONE = "none"
#: The action that ends a turn of the system (Rasa's name for it).
LISTEN = "action_listen"
#: Key in the metadata of a dialogue that a person or an expert taught.
TAUGHT = "taught"

#: Goal slots with a value; a slot that is absent has the value `NONE`.
Goal = Mapping[str, str]


@dataclass(frozen=True)
class DialogueAct:
    """One act of either side, for example `request(date)` or `confirm(date=friday)`."""

    act: str
    slot: Optional[str] = None
    value: Optional[str] = None

    def __str__(self) -> str:
        if self.slot is None:
            return f"{self.act}()"
        return (
            f"{self.act}({self.slot})"
            if self.value is None
            else f"{self.act}({self.slot}={self.value})"
        )


@dataclass(frozen=True)
class Hypothesis:
    """One entry of a recogniser's n-best list.

    Args:
        text: the words.
        confidence: its weight, >= 0; the weights of a list need not sum to 1.
    """

    text: str
    confidence: float = 1.0


@dataclass(frozen=True)
class Entity:
    """A labelled or extracted span of a user's utterance, as in Rasa.

    Args:
        name: entity type.
        value: its value, after synonyms.
        start: first character, -1 if unknown.
        end: one past the last character, -1 if unknown.
    """

    name: str
    value: str
    start: int = -1
    end: int = -1
    role: Optional[str] = None
    group: Optional[str] = None


@dataclass(frozen=True)
class Utterance:
    """What the user said in one turn.

    Args:
        text: the words (1-best); empty when the user pressed a button or sent an intent only.
        hypotheses: n-best list where a recogniser gave one, best first.
        intent: label or prediction of an intent classifier, None where there is none.
        entities: labelled or extracted entities.
        acts: the user's true dialogue acts, where a corpus or the simulator knows them.
    """

    text: str
    hypotheses: Tuple[Hypothesis, ...] = ()
    intent: Optional[str] = None
    entities: Tuple[Entity, ...] = ()
    acts: Tuple[DialogueAct, ...] = ()


@dataclass(frozen=True)
class Override:
    """A slot that somebody other than the model set: an input of the tracker, in force until the user says otherwise.

    Args:
        slot: the goal slot.
        value: its new value; `NONE` if it was emptied.
        source: `teacher`, `user`, `form`, `rule`, `button`, `action` or `mapping`.
        after: number of system actions of the turn that had been taken before (0: before the first decision).
        rejects: the value that was refused by this, not to be proposed again until the user says it again.
    """

    slot: str
    value: str
    source: str
    after: int = 0
    rejects: Optional[str] = None


@dataclass(frozen=True)
class ResultSummary:
    """What the knowledge base answered, as much of it as the policy sees (`E_k`).

    Args:
        matches: number of entities that satisfy the query; None if unknown (not asked, failed, too slow).
        remaining: how many of them have not been offered yet; None if unknown.
    """

    matches: Optional[int] = None
    remaining: Optional[int] = None


@dataclass(frozen=True)
class SystemAction:
    """One decision of the system.

    Args:
        name: the action, in a Rasa project the name in `domain.yml`.
        acts: what it says to the user; values are those it was filled with.
        context: features of the state that the decision was taken in and that the dialogue itself does not show,
            for example `slot:logged_in=1` or `loop:booking_form`.
        text: the words that were said, where they are known: `acts` rarely cover them all, and people read words.
        learn: False if the action is given but must not be learnt (a goal-only correction, another policy's choice).
    """

    name: str
    acts: Tuple[DialogueAct, ...] = ()
    context: Tuple[str, ...] = ()
    text: Optional[str] = None
    learn: bool = True

    def said(self, text: str) -> SystemAction:
        """The action with words that it said, after those that it has said already."""
        return replace(self, text=f"{self.text}\n{text}" if self.text else text)


@dataclass(frozen=True)
class Turn:
    """A user's utterance and the system actions that follow it, in order; `action_listen` is implied at the end.

    Args:
        user: None if nothing was said, as before the greeting of a bot that speaks first.
        goal: the user's goal as expressed so far, the label of the belief; None if unlabelled.
        summary: answer of the knowledge base to the query of this turn.
        overrides: slots that others set during the turn.
        actions: the system's actions; empty if it only listened.
        closing_context: features of the state in which the system decided to listen, like `SystemAction.context`.
        expert: where the actions are those of an agent that is being taught: what would have been right before each of
            them, and at the end; may be shorter, what is missing is not learnt. None: what was done was right.
    """

    user: Optional[Utterance] = None
    goal: Optional[Goal] = None
    summary: ResultSummary = ResultSummary()
    overrides: Tuple[Override, ...] = ()
    actions: Tuple[SystemAction, ...] = ()
    closing_context: Tuple[str, ...] = ()
    expert: Optional[Tuple[str, ...]] = None

    def right_actions(self) -> Tuple[str, ...]:
        """Names of the right actions, the label of the policy: the expert's, else those taken and `action_listen`."""
        if self.expert is not None:
            return self.expert
        return (*(action.name for action in self.actions), LISTEN)


@dataclass(frozen=True)
class Dialogue:
    """A conversation.

    Args:
        id: name to find it again in messages.
        turns: in order.
        goal: the user's true goal, where it is known (simulated and recorded users).
        weight: how much it counts in learning.
        metadata: anything else that is worth keeping (profile, source, file).
        complete: whether the last turn's `action_listen` is known; False for a turn that is still going on.
    """

    id: str
    turns: Tuple[Turn, ...]
    goal: Optional[Goal] = None
    weight: float = 1.0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    complete: bool = True

    def transcript(self) -> str:
        """The dialogue as a person reads it: one line per utterance, with goal and acts."""
        lines = []
        for turn in self.turns:
            if turn.user is not None:
                goal = ", ".join(f"{slot}={value}" for slot, value in (turn.goal or {}).items())
                lines.append(
                    f"user  {turn.user.text or turn.user.intent}"
                    + (f"    [{goal}]" if goal else "")
                )
            for action in turn.actions:
                acts = " ".join(map(str, action.acts))
                lines.append(f"  bot {action.name}" + (f"    {acts}" if acts else ""))
        return "\n".join(lines)


def goal_value(goal: Goal, slot: str) -> str:
    """Value of `slot`, `NONE` if the goal does not mention it."""
    return goal.get(slot, NONE)


def without_none(values: Mapping[str, Optional[str]]) -> Dict[str, str]:
    """The slots that have a value."""
    return {slot: value for slot, value in values.items() if value is not None and value != NONE}
