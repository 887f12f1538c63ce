"""The experiment behind `rasa-hybrid track`: train on one file, choose by the second, score on the third, seed by seed.

The test dialogues are read for scoring only: neither values, nor words, nor noise come from them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from rasa_hybrid.corpora import read_dstc2, read_m2m
from rasa_hybrid.corpora.catalogue import read_catalogue
from rasa_hybrid.corpora.dstc2_prompts import respell
from rasa_hybrid.corpora.noise import RecogniserNoise
from rasa_hybrid.dialogue import Dialogue
from rasa_hybrid.evaluation.tracking import TrackingScore, score_tracking, summarise
from rasa_hybrid.learning.tracking import TrackingPlan, track, train_tracker
from rasa_hybrid.model.acting import ActingModel

#: Seeds of the recognisers that mishear the test dialogues; one alone may be two points off.
_HEARINGS = (20, 21, 22)
#: Readers by the names that `--dataset` takes.
DATASETS = ("dstc2", "m2m")


@dataclass(frozen=True)
class Splits:
    """The dialogues of a corpus: to learn from, to choose by, to score on."""

    train: Sequence[Dialogue]
    dev: Sequence[Dialogue]
    test: Sequence[Dialogue]


def read_dataset(dataset: str, path: str, words: str = "recognised") -> List[Dialogue]:
    """The labelled dialogues of a file.

    Args:
        dataset: one of `DATASETS`.
        path: as the reader takes it.
        words: of DSTC2 in its original layout, `recognised` or `transcribed`.

    Raises:
        CorpusError: if the file is no such corpus; names file and dialogue.
    """
    return read_dstc2(path, words) if dataset == "dstc2" else read_m2m(path)


def read_values(
    dataset: str, path: str, slots: Sequence[str]
) -> Dict[str, Dict[str, Tuple[str, ...]]]:
    """The values of a catalogue file and their synonyms, spelled as the reader of the corpus spells its words.

    Raises:
        CorpusError: if the file is no catalogue; names it.
    """
    values = read_catalogue(path, slots)
    spell = respell if dataset == "dstc2" else str
    return {
        slot: {spell(value): tuple(map(spell, others)) for value, others in listed.items()}
        for slot, listed in values.items()
    }


def goal_slots(dialogues: Sequence[Dialogue]) -> List[str]:
    """The slots that the labels of the dialogues name."""
    return sorted({s for d in dialogues for turn in d.turns for s in turn.goal or ()})


def has_n_best(dialogues: Sequence[Dialogue]) -> bool:
    """Whether a recogniser gave lists of hypotheses: in half of the turns or more, so that a stray one tells nothing."""
    said = [t.user for dialogue in dialogues for t in dialogue.turns if t.user and t.user.text]
    return bool(said) and 2 * sum(len(user.hypotheses) > 1 for user in said) >= len(said)


def hypotheses(splits: Splits) -> int:
    """How many hypotheses of the recogniser a tracker should read: three if there are lists to train or to score on."""
    return 3 if has_n_best(splits.test) or has_n_best(splits.train) else 1


def misheard(
    dialogues: Sequence[Dialogue],
    train: Sequence[Dialogue],
    rate: float,
    seeds: Sequence[int] = _HEARINGS,
) -> List[Dialogue]:
    """The dialogues as simulated recognisers of this word error rate deliver them, each of them once a seed.

    Args:
        dialogues: with transcripts; their words can be heard, too.
        train: whose words can be heard.
        rate: word error rate.
        seeds: of the errors.
    """
    noise = RecogniserNoise.from_dialogues([*train, *dialogues], rate)
    heard = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        heard += [noise.corrupt_dialogue(dialogue, rng) for dialogue in dialogues]
    return heard


def run_tracking(
    plan: TrackingPlan,
    splits: Splits,
    seeds: Sequence[int],
    report: Callable[[str], None] = lambda line: None,
    finished: Optional[Callable[[int, ActingModel], None]] = None,
    trained: Optional[Callable[[int], ActingModel]] = None,
) -> Dict[str, Any]:
    """Trains and scores one tracker a seed.

    Args:
        plan: how to train.
        splits: the dialogues.
        seeds: one run each.
        report: called with a line about every epoch.
        finished: called with every seed and its tracker.
        trained: gives the tracker of a seed, which is then not trained.

    Returns:
        What `evaluation.tracking.summarise` returns, with `reliability` (bins of the joint goal's confidence, all seeds
        together), `seconds_per_seed` and `milliseconds_per_turn`.

    Raises:
        ValueError: if a split is empty, or a label's slot is none of the training labels'; names the dialogue.
    """
    slots = goal_slots(splits.train)
    _check(splits, slots)
    scores: List[TrackingScore] = []
    training_seconds: List[float] = []
    tracking_seconds = 0.0
    for seed in seeds:
        started = time.perf_counter()

        def told(result: Any, accuracy: Optional[float], seed: int = seed) -> None:
            chosen = "" if accuracy is None else f", dev joint {accuracy:.4f}"
            report(
                f"seed {seed}, epoch {result.epoch}: loss {result.belief_loss:.3f}, "
                f"joint {result.joint_goal_accuracy:.4f}{chosen}"
            )

        if trained:
            model = trained(seed)
        else:
            model = train_tracker(plan, splits.train, splits.dev, seed, told)
        ready = time.perf_counter()
        scores.append(score_tracking(track(model, splits.test), slots))
        tracking_seconds += time.perf_counter() - ready
        training_seconds.append(round(ready - started, 1))
        report(f"seed {seed}: joint goal accuracy {scores[-1].joint.rate:.4f}")
        if finished:
            finished(seed, model)
    turns = sum(score.turns for score in scores)
    return {
        **summarise(scores),
        "reliability": _reliability(scores),
        "seconds_per_seed": training_seconds,
        "milliseconds_per_turn": round(1000 * tracking_seconds / turns, 3),
    }


def save_trackers(directory: str) -> Callable[[int, ActingModel], None]:
    """What writes each seed's tracker into a directory of its own below `directory`."""
    from rasa_hybrid.model import checkpoint

    def save(seed: int, model: ActingModel) -> None:
        checkpoint.save(Path(directory) / f"seed-{seed}", model.encoder, model.weights)

    return save


def load_trackers(directory: str) -> Callable[[int], ActingModel]:
    """What reads each seed's tracker from where `save_trackers` wrote it."""
    from rasa_hybrid.model import checkpoint

    def load(seed: int) -> ActingModel:
        encoder, weights, _ = checkpoint.load(Path(directory) / f"seed-{seed}")
        return ActingModel(encoder, weights)

    return load


def _check(splits: Splits, slots: Sequence[str]) -> None:
    """Refuses splits that can't be of one corpus."""
    for name, dialogues in (("train", splits.train), ("dev", splits.dev), ("test", splits.test)):
        if not dialogues:
            raise ValueError(f"--{name}: there is no dialogue in it.")
        for dialogue in dialogues:
            unknown = set(goal_slots([dialogue])) - set(slots)
            if unknown:
                raise ValueError(
                    f"--{name}: dialogue {dialogue.id} has a label for {min(unknown)}, "
                    f"which --train never labels; known: {', '.join(slots)}."
                )


def _reliability(scores: Sequence[TrackingScore]) -> List[Dict[str, float]]:
    rows = []
    for bins in zip(*(score.joint_calibration.bins for score in scores)):
        count = sum(b.count for b in bins)
        rows.append(
            {
                "from": bins[0].lower,
                "to": bins[0].upper,
                "turns": count,
                "confidence": sum(b.count * b.confidence for b in bins) / max(count, 1),
                "accuracy": sum(b.count * b.accuracy for b in bins) / max(count, 1),
            }
        )
    return rows
