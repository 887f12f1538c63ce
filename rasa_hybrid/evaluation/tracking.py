"""How well beliefs follow the user's goal, scored as in dialogue state tracking.

A slot is right in a turn if its most probable value is the goal's (`none` where the goal does not mention it); a turn
is jointly right if all slots are. Values are compared by `dialogue.normalise`: case, punctuation, number words and the
spellings of clock times do not count, nothing else is forgiven. *All user turns* count, as in the NBT literature;
*schedule 2* of DSTC2 (Henderson et al. 2014) counts a slot from the turn on in which it is first mentioned, and the
joint goal from the first mention of any slot.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Mapping, Sequence, Set, Tuple

from rasa_hybrid.dialogue import Belief, Dialogue, DialogueAct, goal_value, normalise
from rasa_hybrid.evaluation.intervals import Proportion

#: Bins of equal width for the reliability of probabilities.
BINS = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """Decisions whose confidence lies in `[lower, upper)` (the last bin includes 1).

    Args:
        count: number of decisions.
        confidence: their mean confidence, 0 if there are none.
        accuracy: share of them that is right, 0 if there are none.
    """

    lower: float
    upper: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """Whether probabilities mean what they say.

    Args:
        bins: from the lowest confidence to the highest.
        expected_error: expected calibration error, the mean distance of confidence and accuracy over bins, weighted by
            their counts (Naeini et al. 2015).
    """

    bins: Tuple[ReliabilityBin, ...]
    expected_error: float


@dataclass(frozen=True)
class TrackingScore:
    """Scores of one tracker on one corpus.

    Args:
        turns: labelled user turns.
        unlabelled: user turns without a goal label, which are left out.
        slots: each slot over all user turns.
        joint: all slots together.
        schedule2_slots: each slot from its first mention on.
        schedule2_joint: all slots from the first mention of any on.
        calibration: of the best values of all slots, pooled.
        slot_calibration: of the best value of each slot.
        joint_calibration: of the best goal, whose confidence is the product over slots.
    """

    turns: int
    unlabelled: int
    slots: Mapping[str, Proportion]
    joint: Proportion
    schedule2_slots: Mapping[str, Proportion]
    schedule2_joint: Proportion
    calibration: Calibration
    slot_calibration: Mapping[str, Calibration]
    joint_calibration: Calibration


def score_tracking(
    tracked: Iterable[Tuple[Dialogue, Sequence[Belief]]],
    slots: Sequence[str],
    language: str = "en",
    bins: int = BINS,
) -> TrackingScore:
    """Scores beliefs against the goals of the turns.

    Args:
        tracked: dialogues with `Turn.goal`, each with the beliefs after its user turns, in order.
        slots: goal slots.
        language: of the normalisation.
        bins: of the reliability.

    Raises:
        ValueError: if beliefs and user turns do not fit, a belief lacks a slot, or no turn is labelled; names the
            dialogue.
    """
    counts = _Counts(slots)
    unlabelled = 0
    for dialogue, beliefs in tracked:
        user_turns = [turn for turn in dialogue.turns if turn.user is not None]
        if len(user_turns) != len(beliefs):
            raise ValueError(
                f"Dialogue {dialogue.id}: {len(beliefs)} beliefs do not fit {len(user_turns)} user turns."
            )
        mentions = mentioned_slots(dialogue, slots)
        for turn, belief, mentioned in zip(user_turns, beliefs, mentions):
            if turn.goal is None:
                unlabelled += 1
                continue
            counts.add(turn.goal, belief, mentioned, dialogue.id, language)
    if not counts.turns:
        raise ValueError("There is no labelled user turn to score.")
    return counts.score(unlabelled, bins)


def mentioned_slots(dialogue: Dialogue, slots: Sequence[str]) -> List[Set[str]]:
    """For each user turn the slots that have been mentioned up to it (schedule 2).

    A slot is mentioned once the goal has a value for it, the user's acts give it a value, or a system act before the
    user's utterance does. (The challenge also counted what its language understanding suspected; that exists in the
    original logs only and no tracker is needed for it, so it is not used.)
    """
    mentioned: Set[str] = set()
    result: List[Set[str]] = []
    for turn in dialogue.turns:
        if turn.user is not None:
            mentioned |= {slot for slot in turn.goal or {} if slot in slots}
            mentioned |= _with_value(turn.user.acts, slots)
            result.append(set(mentioned))
        for action in turn.actions:
            mentioned |= _with_value(action.acts, slots)
    return result


def summarise(scores: Sequence[TrackingScore]) -> Dict[str, Any]:
    """Mean and standard deviation over seeds, as `rasa-hybrid track --json` prints them.

    Args:
        scores: of the same corpus, one a seed.

    Returns:
        `turns`, `joint_goal_accuracy` {mean, std, interval, per_seed}, `slot_accuracy` {slot: {mean, std}},
        `schedule2` {joint_goal_accuracy, slot_accuracy}, `expected_calibration_error` (of the joint goal) and
        `slot_calibration_error` (of all slots, pooled) {mean, std}. Rates are fractions of 1; the deviation is that
        of a sample, 0 for one seed; `interval` is Wilson's for the mean rate at the corpus' size: what another corpus
        of this size could have shown, not the spread of seeds.

    Raises:
        ValueError: if there are no scores or they are not of the same corpus.
    """
    if not scores:
        raise ValueError("There are no scores to summarise.")
    if len({(score.turns, tuple(score.slots)) for score in scores}) > 1:
        raise ValueError("The scores are not of the same corpus: turns or slots differ.")
    joint: Dict[str, Any] = _spread([score.joint.rate for score in scores])
    mean_correct = round(sum(score.joint.correct for score in scores) / len(scores))
    joint["interval"] = list(Proportion(mean_correct, scores[0].joint.total).interval)
    joint["per_seed"] = [score.joint.rate for score in scores]
    slots = list(scores[0].slots)
    return {
        "turns": scores[0].turns,
        "joint_goal_accuracy": joint,
        "slot_accuracy": {
            slot: _spread([score.slots[slot].rate for score in scores]) for slot in slots
        },
        "schedule2": {
            "joint_goal_accuracy": _spread([score.schedule2_joint.rate for score in scores]),
            "slot_accuracy": {
                slot: _spread([score.schedule2_slots[slot].rate for score in scores])
                for slot in slots
            },
        },
        "expected_calibration_error": _spread([s.joint_calibration.expected_error for s in scores]),
        "slot_calibration_error": _spread([s.calibration.expected_error for s in scores]),
    }


def calibration(decisions: Sequence[Tuple[float, bool]], bins: int = BINS) -> Calibration:
    """Reliability of decisions.

    Args:
        decisions: confidence in [0, 1] and whether the decision was right.
        bins: number of bins of equal width.
    """
    confidence = [0.0] * bins
    count: Counter = Counter()
    right: Counter = Counter()
    for probability, correct in decisions:
        b = min(bins - 1, max(0, int(probability * bins)))
        confidence[b] += probability
        count[b] += 1
        right[b] += correct
    rows = tuple(
        ReliabilityBin(
            b / bins,
            (b + 1) / bins,
            count[b],
            confidence[b] / count[b] if count[b] else 0.0,
            right[b] / count[b] if count[b] else 0.0,
        )
        for b in range(bins)
    )
    total = sum(row.count for row in rows)
    error = sum(row.count * abs(row.confidence - row.accuracy) for row in rows)
    return Calibration(rows, error / total if total else 0.0)


class _Counts:
    """What was right so far."""

    def __init__(self, slots: Sequence[str]) -> None:
        self.slots = tuple(slots)
        self.turns = self.joint = self.joint2 = self.turns2 = 0
        self.right: Counter = Counter()
        self.right2: Counter = Counter()
        self.counted2: Counter = Counter()
        self.decisions: Dict[str, List[Tuple[float, bool]]] = {slot: [] for slot in slots}
        self.joint_decisions: List[Tuple[float, bool]] = []

    def add(
        self,
        goal: Mapping[str, str],
        belief: Belief,
        mentioned: Set[str],
        dialogue: str,
        language: str,
    ) -> None:
        confidence, all_right = 1.0, True
        for slot in self.slots:
            if not belief.distributions.get(slot):
                raise ValueError(
                    f"Dialogue {dialogue}: a belief has no distribution for the slot {slot!r}."
                )
            value, probability = belief.distributions[slot][0]
            right = normalise(value, language) == normalise(goal_value(goal, slot), language)
            self.right[slot] += right
            if slot in mentioned:
                self.right2[slot] += right
                self.counted2[slot] += 1
            self.decisions[slot].append((probability, right))
            confidence *= probability
            all_right &= right
        self.turns += 1
        self.joint += all_right
        if mentioned:
            self.turns2 += 1
            self.joint2 += all_right
        self.joint_decisions.append((confidence, all_right))

    def score(self, unlabelled: int, bins: int) -> TrackingScore:
        pooled = [decision for slot in self.slots for decision in self.decisions[slot]]
        return TrackingScore(
            turns=self.turns,
            unlabelled=unlabelled,
            slots={slot: Proportion(self.right[slot], self.turns) for slot in self.slots},
            joint=Proportion(self.joint, self.turns),
            schedule2_slots={
                slot: Proportion(self.right2[slot], self.counted2[slot]) for slot in self.slots
            },
            schedule2_joint=Proportion(self.joint2, self.turns2),
            calibration=calibration(pooled, bins),
            slot_calibration={slot: calibration(self.decisions[slot], bins) for slot in self.slots},
            joint_calibration=calibration(self.joint_decisions, bins),
        )


def _with_value(acts: Iterable[DialogueAct], slots: Sequence[str]) -> Set[str]:
    return {act.slot for act in acts if act.slot is not None and act.slot in slots and act.value}


def _spread(values: Sequence[float]) -> Dict[str, Any]:
    """Mean and standard deviation; None where there was nothing to count (a slot that nobody mentions)."""
    if any(math.isnan(value) for value in values):
        return {"mean": None, "std": None}
    return {
        "mean": statistics.fmean(values),
        "std": statistics.stdev(values) if len(values) > 1 else 0.0,
    }
