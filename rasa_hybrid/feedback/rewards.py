"""From what users said to reward points, and from stored episodes to what learning reads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Dict, List, Optional

from rasa_hybrid.dialogue import NONE, Dialogue, Turn
from rasa_hybrid.dialogue.episode import Episode
from rasa_hybrid.feedback.records import Outcome, StoredEpisode


@dataclass(frozen=True)
class Rewards:
    """Reward points of a conversation, as in section 4.3 of Liu et al. (2018).

    Args:
        success: for reaching the user's goal.
        failure: for not reaching it.
        turn: for every turn.
    """

    success: float = 15.0
    failure: float = 0.0
    turn: float = -1.0

    def final(self, outcome: Outcome) -> float:
        """Points for how the conversation ended: a given reward, else success, else the rating's place between 1 and 5."""
        if outcome.reward is not None:
            return outcome.reward
        if outcome.success is not None:
            return self.success if outcome.success else self.failure
        assert outcome.rating is not None
        return self.failure + (self.success - self.failure) * (outcome.rating - 1) / 4


def succeeded(outcome: Outcome) -> Optional[bool]:
    """Whether the user's goal was reached: as was said, or by a rating of 4 and 5 against 1 and 2; None if unclear."""
    if outcome.success is not None:
        return outcome.success
    if outcome.rating is not None and outcome.rating != 3:
        return outcome.rating > 3
    return None


def tracked_goals(stored: StoredEpisode) -> List[Optional[Dict[str, str]]]:
    """Of each turn of a recorded dialogue the goal that was tracked, None where no belief was recorded."""
    assert stored.recorded is not None
    goals = []
    for steps in stored.recorded.steps:
        beliefs = [step.belief for step in steps if step.belief]
        best = (
            {slot: values[0][0] for slot, values in beliefs[-1].items() if values}
            if beliefs
            else {}
        )
        goal = {slot: value for slot, value in best.items() if value != NONE}
        goals.append(goal if beliefs else None)
    return goals


def to_episode(stored: StoredEpisode, rewards: Rewards) -> Episode:
    """An episode as learning reads it.

    Raises:
        ValueError: if its dialogue or its outcome is missing.
    """
    if stored.recorded is None or stored.outcome is None:
        raise ValueError(f"the episode {stored.id!r} has no dialogue or no outcome yet")
    dialogue = stored.recorded.dialogue
    points = [rewards.turn] * len(dialogue.turns)
    points[-1] += rewards.final(stored.outcome)
    turns = (replace(turn, goal=goal) for turn, goal in zip(dialogue.turns, tracked_goals(stored)))
    return Episode(
        dialogue=replace(dialogue, turns=tuple(turns)),
        decisions=tuple(tuple(step.decision for step in steps) for steps in stored.recorded.steps),
        rewards=tuple(points),
        success=succeeded(stored.outcome),
        model_id=stored.recorded.model,
    )


def labelled_by_belief(stored: StoredEpisode) -> Dialogue:
    """A successful dialogue as something to learn from.

    What was tracked at the end was right, as the conversation went well. A turn is labelled with what was tracked in it if
    that agrees with the end; actions are learnt where our own policy chose them.
    """
    assert stored.recorded is not None
    dialogue, steps = stored.recorded.dialogue, stored.recorded.steps
    tracked = tracked_goals(stored)
    final = next((goal for goal in reversed(tracked) if goal is not None), None)
    turns: List[Turn] = []
    for turn, turn_steps, goal in zip(dialogue.turns, steps, tracked):
        agrees = (
            goal is not None
            and final is not None
            and all(final.get(slot) == value for slot, value in goal.items())
        )
        actions = tuple(
            replace(action, learn=step.policy == "hybrid")
            for action, step in zip(turn.actions, turn_steps)
        )
        turns.append(
            replace(turn, goal=goal if agrees and turn.user is not None else None, actions=actions)
        )
    return replace(dialogue, turns=tuple(turns))
