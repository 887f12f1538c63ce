"""How an agent does with users: success, turns, reward, belief and act accuracy, each with its 95 % interval.

Rates of dialogues have Wilson intervals. Everything counted in turns has bootstrap intervals over dialogues, because
the turns of one dialogue are not independent.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Sequence, Tuple

import numpy as np

from rasa_hybrid.dialogue import LISTEN, Belief, Dialogue, goal_value, normalise
from rasa_hybrid.evaluation.intervals import bootstrap_interval, wilson_interval
from rasa_hybrid.simulation.agents import ReadTurn
from rasa_hybrid.simulation.environment import Rollout


@dataclass
class _Counts:
    """One dialogue in numbers."""

    turns: int
    joint: int
    slots: Tuple[int, ...]
    decisions: int
    decided: int


@dataclass
class InteractionReport:
    """Gathers rollouts.

    Args:
        slots: the goal slots.
        keep_worst: how many of the worst dialogues are kept.
    """

    slots: Sequence[str]
    keep_worst: int = 20
    _counts: List[_Counts] = field(default_factory=list)
    _successes: List[bool] = field(default_factory=list)
    _rewards: List[float] = field(default_factory=list)
    _profiles: List[str] = field(default_factory=list)
    _ended: Counter = field(default_factory=Counter)
    _worst: List[Tuple[float, int, str]] = field(default_factory=list)

    def add(self, rollout: Rollout) -> None:
        """Counts a dialogue."""
        counts = _count(self.slots, rollout.dialogue, [turn.belief for turn in rollout.turns])
        for turn, right in zip(rollout.turns, rollout.expert):
            done = (*(action.name for action in turn.actions), LISTEN)
            counts.decisions += len(done)
            counts.decided += sum(a == b for a, b in zip(done, right))
        self._counts.append(counts)
        self._successes.append(rollout.success)
        self._rewards.append(sum(rollout.rewards))
        self._profiles.append(rollout.profile)
        self._ended[rollout.ended] += 1
        badness = (
            (not rollout.success) * 100.0
            + (counts.turns - counts.joint)
            + len(rollout.turns) / 100.0
        )
        entry = (badness, -len(self._counts), "")
        if self.keep_worst and (len(self._worst) < self.keep_worst or entry > self._worst[0]):
            entry = (badness, -len(self._counts), written_out(rollout))
            (heapq.heappush if len(self._worst) < self.keep_worst else heapq.heappushpop)(
                self._worst, entry
            )

    @property
    def successes(self) -> List[bool]:
        """Whether each dialogue succeeded, in order: to compare two agents on the same users."""
        return list(self._successes)

    @property
    def joint_goals(self) -> List[Tuple[int, int]]:
        """Turns of each dialogue whose goal was tracked in full, and its turns."""
        return [(counts.joint, counts.turns) for counts in self._counts]

    @property
    def lengths(self) -> List[int]:
        """Turns of each dialogue."""
        return [counts.turns for counts in self._counts]

    def worst(self) -> List[str]:
        """The worst dialogues, the worst of all first: failures before successes, then by turns with a wrong belief."""
        return [text for _, _, text in sorted(self._worst, reverse=True)]

    def to_dict(self) -> Dict[str, Any]:
        """JSON-able figures; rates are fractions of 1."""
        successes, total = sum(self._successes), len(self._successes)
        turns = np.array([counts.turns for counts in self._counts], float)
        won = np.array(self._successes, bool)
        result: Dict[str, Any] = {
            "dialogues": total,
            "success_rate": _ratio(successes, total),
            "success_rate_interval": list(wilson_interval(successes, total)),
            "average_turns": _mean(turns),
            "average_turns_successful": _mean(turns[won]),
            "average_reward": _mean(np.array(self._rewards)),
        }
        accuracies, intervals = _accuracies(self.slots, self._counts)
        result.update(accuracies)
        result["intervals"] = {
            "average_turns": bootstrap_interval(turns),
            "average_turns_successful": bootstrap_interval(turns[won]),
            "average_reward": bootstrap_interval(self._rewards),
            **intervals,
        }
        result["profiles"] = self._per_profile()
        result["ended"] = dict(self._ended.most_common())
        return result

    def _per_profile(self) -> Dict[str, Dict[str, Any]]:
        members: Dict[str, List[int]] = defaultdict(list)
        for position, profile in enumerate(self._profiles):
            members[profile].append(position)
        result = {}
        for profile, positions in sorted(members.items()):
            successes = sum(self._successes[i] for i in positions)
            counts = [self._counts[i] for i in positions]
            result[profile] = {
                "dialogues": len(positions),
                "success_rate": _ratio(successes, len(positions)),
                "success_rate_interval": list(wilson_interval(successes, len(positions))),
                "average_turns": _mean(np.array([c.turns for c in counts], float)),
                "joint_goal_accuracy": _ratio(
                    sum(c.joint for c in counts), sum(c.turns for c in counts)
                ),
            }
        return result


def corpus_report(
    slots: Sequence[str], dialogues: Iterable[Dialogue], read: Iterable[Sequence[ReadTurn]]
) -> Dict[str, Any]:
    """Belief and act accuracy on recorded dialogues, each turn given what was really said and done before.

    Args:
        slots: the goal slots.
        dialogues: with labels.
        read: what the agent made of their turns.

    Returns:
        The keys of `InteractionReport.to_dict`, those that need a user to talk to as None.
    """
    all_counts = []
    for dialogue, turns in zip(dialogues, read):
        counts = _count(slots, dialogue, [turn.belief for turn in turns])
        for recorded, turn in zip(dialogue.turns, turns):
            if not turn.decisions:
                continue
            right = recorded.right_actions()
            if recorded is dialogue.turns[-1] and not dialogue.complete:
                right = right[: len(recorded.actions)]
            counts.decisions += len(right)
            counts.decided += sum(a == b for a, b in zip(right, turn.decisions))
        all_counts.append(counts)
    accuracies, intervals = _accuracies(slots, all_counts)
    unknown = (
        "success_rate",
        "success_rate_interval",
        "average_turns_successful",
        "average_reward",
    )
    return {
        "dialogues": len(all_counts),
        **dict.fromkeys(unknown),
        "average_turns": _mean(np.array([counts.turns for counts in all_counts], float)),
        **accuracies,
        "intervals": intervals,
    }


def written_out(rollout: Rollout) -> str:
    """A dialogue for people: what was said, what the agent believed where it was wrong, what the expert would have done."""
    dialogue = rollout.dialogue
    lines = [
        f"{dialogue.id}  profile {rollout.profile}  {rollout.ended}  reward {sum(rollout.rewards):g}",
        "wanted: " + ", ".join(f"{slot}={value}" for slot, value in (dialogue.goal or {}).items()),
    ]
    for position, (turn, agent) in enumerate(zip(dialogue.turns, rollout.turns)):
        assert turn.user is not None
        lines.append(f"  user  {turn.user.text}")
        belief = agent.belief.goal()
        for slot in agent.belief.distributions:
            is_right = normalise(goal_value(turn.goal or {}, slot)) == normalise(
                goal_value(belief, slot)
            )
            if not is_right:
                lines.append(
                    f"        ! {slot}: believed {goal_value(belief, slot)} "
                    f"({agent.belief.probability(slot, agent.belief.best(slot)):.2f}), said {goal_value(turn.goal or {}, slot)}"
                )
        right = rollout.expert[position] if position < len(rollout.expert) else ()
        for number, action in enumerate(agent.actions):
            instead = (
                right[number] if number < len(right) and right[number] != action.name else None
            )
            acts = " ".join(map(str, action.acts))
            lines.append(
                f"  bot   {action.name}  {acts}" + (f"    ! expert: {instead}" if instead else "")
            )
        if right and right[-1] != LISTEN:
            lines.append(f"        ! expert goes on: {right[-1]}")
    return "\n".join(lines)


def _count(slots: Sequence[str], dialogue: Dialogue, beliefs: Sequence[Belief]) -> _Counts:
    right = [0] * len(slots)
    joint = turns = 0
    for turn, belief in zip(dialogue.turns, beliefs):
        if turn.user is None or turn.goal is None:
            continue
        turns += 1
        goal = belief.goal()
        same = [_same(goal_value(goal, slot), goal_value(turn.goal, slot)) for slot in slots]
        joint += all(same)
        for i, is_right in enumerate(same):
            right[i] += is_right
    return _Counts(turns, joint, tuple(right), 0, 0)


def _same(first: str, second: str) -> bool:
    return first == second or normalise(first) == normalise(second)


def _accuracies(
    slots: Sequence[str], counts: Sequence[_Counts]
) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    turns = np.array([c.turns for c in counts], float)
    joint = np.array([c.joint for c in counts], float)
    decisions = np.array([c.decisions for c in counts], float)
    decided = np.array([c.decided for c in counts], float)
    per_slot = {slot: np.array([c.slots[i] for c in counts], float) for i, slot in enumerate(slots)}
    accuracies = {
        "joint_goal_accuracy": _ratio(joint.sum(), turns.sum()),
        "slot_accuracy": {
            slot: _ratio(right.sum(), turns.sum()) for slot, right in per_slot.items()
        },
        "act_accuracy": _ratio(decided.sum(), decisions.sum()),
    }
    intervals = {
        "joint_goal_accuracy": bootstrap_interval(joint, turns),
        "slot_accuracy": {
            slot: bootstrap_interval(right, turns) for slot, right in per_slot.items()
        },
        "act_accuracy": bootstrap_interval(decided, decisions) if decisions.sum() else None,
    }
    return accuracies, intervals


def _ratio(part: float, whole: float) -> Any:
    return float(part / whole) if whole else None


def _mean(values: np.ndarray) -> Any:
    return float(values.mean()) if len(values) else None
