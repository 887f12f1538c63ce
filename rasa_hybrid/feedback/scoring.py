"""What a model would have done in recorded conversations, and what that says of it before it acts.

Off-policy estimates weight each conversation's return by how much more, or less, probable its actions are under the model
than they were when the policy explored: inverse propensity scores (IPS), and the same divided by the sum of the weights
(self-normalised).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from rasa_hybrid.dialogue import LISTEN, Belief, Dialogue
from rasa_hybrid.dialogue.episode import Episode
from rasa_hybrid.evaluation.intervals import bootstrap_interval
from rasa_hybrid.model.acting import ActingModel

#: Largest weight of a conversation; weights above it are cut, which makes returns count a little too little.
LARGEST_WEIGHT = 100.0


@dataclass(frozen=True)
class ScoredTurn:
    """What a model makes of a recorded turn.

    Args:
        belief: after the user's words.
        chances: `[actions]` for each decision, the last one to listen.
    """

    belief: Belief
    chances: Tuple[np.ndarray, ...]


def score(model: ActingModel, dialogue: Dialogue) -> List[ScoredTurn]:
    """Follows a recorded dialogue: the belief of each turn, and the model's probabilities at each decision."""
    conversation = model.start()
    turns = []
    for turn in dialogue.turns:
        [belief] = model.observe([conversation], [turn])
        contexts = [*(action.context for action in turn.actions), turn.closing_context]
        chances = []
        for taken, context in enumerate(contexts):
            others = [o for o in turn.overrides if 0 < o.after <= taken]
            chances.append(
                model.decide(
                    [conversation], [turn.summary], [turn.actions[:taken]], [context], [others]
                )[0]
            )
        model.close([conversation], [turn])
        turns.append(ScoredTurn(belief, tuple(chances)))
    return turns


@dataclass(frozen=True)
class OffPolicyEstimate:
    """What conversations would have earned with another model.

    Args:
        episodes: how many are counted.
        logged: what they earned, on average.
        ips: inverse propensity estimate.
        self_normalised: the same, self-normalised.
        effective: effective number of episodes under the weights.
    """

    episodes: int
    logged: Optional[float]
    ips: Optional[float]
    ips_interval: Optional[List[float]]
    self_normalised: Optional[float]
    self_normalised_interval: Optional[List[float]]
    effective: float

    def to_dict(self) -> Dict[str, Any]:
        """JSON-able figures."""
        return dict(self.__dict__)


def off_policy_estimate(weights: Sequence[float], returns: Sequence[float]) -> OffPolicyEstimate:
    """Estimates the average return of a model from conversations that another one led.

    Args:
        weights: of each conversation, as `importance_weight` gives it.
        returns: of each conversation.
    """
    weight = np.minimum(np.asarray(weights, float), LARGEST_WEIGHT)
    earned = np.asarray(returns, float)
    if not len(weight):
        return OffPolicyEstimate(0, None, None, None, None, None, 0.0)
    total = float(weight.sum())
    effective = total**2 / float((weight**2).sum()) if total else 0.0
    return OffPolicyEstimate(
        len(weight),
        float(earned.mean()),
        float((weight * earned).mean()),
        bootstrap_interval(weight * earned),
        float((weight * earned).sum() / total) if total else None,
        bootstrap_interval(weight * earned, weight) if total else None,
        effective,
    )


def importance_weight(model: ActingModel, episode: Episode) -> Optional[float]:
    """The product of pi(a) / propensity over the decisions of a policy that explored; None if there were none.

    Those count, too, where it could try one action only: another model might do something else there. An action that the
    model does not have makes it 0.
    """
    names = {name: i for i, name in enumerate(model.encoder.vocabulary.actions.names)}
    logs, explored = 0.0, 0
    for turn, decisions in zip(score(model, episode.dialogue), episode.decisions):
        for chances, decision in zip(turn.chances, decisions):
            if not decision.propensity or not (decision.explored or decision.sampled):
                continue
            explored += 1
            if decision.action not in names:
                return 0.0
            chance = float(chances[names[decision.action]])
            logs += np.log(max(chance, 1e-30)) - np.log(decision.propensity)
    return float(np.exp(min(logs, 50.0))) if explored else None


def agreement(model: ActingModel, episodes: Sequence[Episode]) -> Tuple[int, int]:
    """Decisions in which a model would have done what was done, and all decisions that it knows (shadow mode)."""
    names = model.encoder.vocabulary.actions.names
    known = set(names)
    same = total = 0
    for episode in episodes:
        for turn, decisions in zip(score(model, episode.dialogue), episode.decisions):
            for chances, decision in zip(turn.chances, decisions):
                if decision.action in known and (decision.action != LISTEN or turn.chances):
                    total += 1
                    same += names[int(np.argmax(chances))] == decision.action
    return same, total
