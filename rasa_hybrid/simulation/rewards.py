"""What a turn is worth to the learner: +15 for success, 0 for failure, -1 a turn, and whatever else a project adds."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Callable, List, Mapping, Optional, Sequence, Tuple

from rasa_hybrid.dialogue import Utterance
from rasa_hybrid.simulation.agents import AgentTurn
from rasa_hybrid.simulation.located_yaml import Located


@dataclass(frozen=True)
class RewardedTurn:
    """A turn as reward terms see it.

    Args:
        position: 0 for the first turn.
        user: what the user said.
        agent: what the system did.
        previous: what it did in the turn before, None in the first.
        last: whether the dialogue ended with this turn.
        success: whether it ended well; False before the end.
    """

    position: int
    user: Utterance
    agent: AgentTurn
    previous: Optional[AgentTurn]
    last: bool
    success: bool


#: Reward points of a turn before the weight.
RewardTerm = Callable[[RewardedTurn], float]


def success(turn: RewardedTurn) -> float:
    """1 at the end of a successful dialogue."""
    return float(turn.last and turn.success)


def failure(turn: RewardedTurn) -> float:
    """1 at the end of a dialogue that failed."""
    return float(turn.last and not turn.success)


def turn(turn: RewardedTurn) -> float:
    """1 every turn."""
    return 1.0


def query(turn: RewardedTurn) -> float:
    """1 for every turn in which the knowledge base had to be asked something new."""
    goal = turn.agent.belief.goal()
    return float(bool(goal) and (turn.previous is None or turn.previous.belief.goal() != goal))


_BUILT_IN: Mapping[str, RewardTerm] = {
    "success": success,
    "failure": failure,
    "turn": turn,
    "query": query,
}


class Rewards:
    """A weighted sum of reward terms.

    Args:
        terms: name, term and weight of each.
    """

    def __init__(
        self,
        terms: Sequence[Tuple[str, RewardTerm, float]] = (
            ("success", success, 15.0),
            ("failure", failure, 0.0),
            ("turn", turn, -1.0),
        ),
    ) -> None:
        self.terms = tuple(terms)

    def of(self, turn: RewardedTurn) -> float:
        """Reward points of a turn."""
        return sum(weight * term(turn) for _, term, weight in self.terms)


def read_rewards(section: Located) -> Rewards:
    """The `rewards:` section: name of a term (built in, or a module path to a function) to its weight.

    Raises:
        SimulatorError: for a term that doesn't exist or a weight that is no number; names file and line.
    """
    if not section:
        return Rewards()
    terms: List[Tuple[str, RewardTerm, float]] = []
    for name in section:
        weight = section.number(name, 0.0, -1e6, 1e6)
        terms.append((name, _term(section, name), float(weight)))
    return Rewards(terms)


def _term(section: Located, name: str) -> RewardTerm:
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    module, _, attribute = name.rpartition(".")
    if not module:
        section.fail(
            f"unknown reward {name!r}; built in: {', '.join(_BUILT_IN)}; others by module path",
            name,
        )
    try:
        term = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        section.fail(f"the reward {name!r} can't be loaded ({error})", name)
    if not callable(term):
        section.fail(f"the reward {name!r} is not a function of a turn", name)
    return term() if isinstance(term, type) else term
