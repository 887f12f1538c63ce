"""A conversation with what reinforcement learning needs beside it: who decided, how likely that was, what it earned.

Simulated users and stored conversations both become episodes, so eq. 5 has one input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

from rasa_hybrid.dialogue.acts import Dialogue


@dataclass(frozen=True)
class Decision:
    """One decision of a turn.

    Args:
        action: the action that was executed; `action_listen` for the decision that ends the turn.
        propensity: its probability under the policy that acted, in (0, 1]; None if it was not our model's choice (a
            rule, another policy, a follow-up), which is then given and not learnt from.
        sampled: whether it was drawn from the policy, which might have done something else; False for the most probable
            action, whose propensity says nothing about what else might have been tried.
        explored: whether the policy tried things out when it decided, even if there was one thing only to be tried.
    """

    action: str
    propensity: Optional[float] = None
    sampled: bool = False
    explored: bool = False


@dataclass(frozen=True)
class Episode:
    """A conversation that is over, and its reward.

    Args:
        dialogue: as the model saw it: words, overrides, summaries, actions; the goal of a turn is what was tracked in it.
        decisions: for each turn of the dialogue the decisions in order, one per action and one to listen.
        rewards: reward points of each turn; the conversation's own reward is part of the last.
        success: whether the user's goal was reached; None if nobody said.
        model_id: the model that acted; None if unknown.
    """

    dialogue: Dialogue
    decisions: Tuple[Tuple[Decision, ...], ...]
    rewards: Tuple[float, ...]
    success: Optional[bool] = None
    model_id: Optional[str] = None

    def __post_init__(self) -> None:
        if not len(self.dialogue.turns) == len(self.decisions) == len(self.rewards):
            raise ValueError(
                f"episode {self.dialogue.id!r}: {len(self.dialogue.turns)} turns, {len(self.decisions)} "
                f"turns of decisions, {len(self.rewards)} rewards; they have to be equally many"
            )

    def returns(self, discount: float) -> Tuple[float, ...]:
        """Discounted return `R_k = r_k + discount * R_{k+1}` of each turn."""
        returns, following = [], 0.0
        for reward in reversed(self.rewards):
            following = reward + discount * following
            returns.append(following)
        return tuple(reversed(returns))
