"""Training of a belief tracker on a corpus of labelled dialogues, with nothing else to learn from.

The model sees every training dialogue several times: as it was recorded, as a recogniser would have misheard it
(`corpora.noise`), and about values nobody has heard of (`corpora.substitution`). The development dialogues decide
which epoch's weights are kept, and how sharp the probabilities may be (`calibration`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from rasa_hybrid.corpora.entities import mark_entities
from rasa_hybrid.corpora.heard import misheard_share
from rasa_hybrid.corpora.noise import RecogniserNoise
from rasa_hybrid.corpora.substitution import ValueSubstitution, open_ended
from rasa_hybrid.corpora.synonyms import find_synonyms
from rasa_hybrid.dialogue import DONTCARE, NONE, Belief, Dialogue, Turn, Utterance, normalise
from rasa_hybrid.learning.calibration import fit_temperatures
from rasa_hybrid.learning.supervised import EpochResult, SupervisedTrainer
from rasa_hybrid.model.acting import ActingModel
from rasa_hybrid.model.candidates import SlotValues
from rasa_hybrid.model.encoding import Encoder
from rasa_hybrid.model.parameters import TEMPERATURE
from rasa_hybrid.model.preparation import prepare
from rasa_hybrid.model.settings import Settings

#: What differs from the model's settings in a Rasa project, for every corpus: there is no tracker to read, the recorded
#: system's actions need not be learnt, and no pipeline predicts entities.
TRACKING: Dict[str, Any] = {
    "context": False,
    "system_words": True,
    "action_loss_weight": 0.0,
    "modality_dropout": 0.0,
    "n_best_hypotheses": 1,
    "value_dropout": 0.4,
    "mark_dropout": 0.5,
    "entity_loss_weight": 5.0,
    "epochs": 6,
    "least_steps": 2400,
    "embedding_size": 128,
    "utterance_lstm_size": 100,
    "dialogue_lstm_size": 128,
    "weight_averaging": 0.99,
}
#: What the paper's model keeps of it.
PAPER: Dict[str, Any] = {
    **{name: TRACKING[name] for name in ("action_loss_weight",)},
    "epochs": 8,
    "least_steps": 3000,
}
#: Word error rates of the noise copies, one copy each.
NOISE_RATES = (0.25, 0.4)
#: Dialogues about other values that are made for every epoch if no more than so many copies of each suffice, else those.
SUBSTITUTED, MOST_COPIES = 1000, 3
#: Least share of values that the system misheard at which dialogues are taken for spoken ones: those are tracked as
#: misheard when an epoch is chosen and when probabilities are calibrated.
LEAST_MISHEARD = 0.05
#: Word error rate of the development dialogues that stand in for a recogniser's output, and how often each is heard: what
#: one draw of errors says of an epoch is less than what epochs differ in.
DEV_NOISE, DEV_HEARINGS = 0.35, 3
#: Share of the system's actions in noise copies whose acts are taken away, so that the words of those that no reader
#: could map to acts can be read.
UNMAPPED = 0.05
#: Dialogues tracked at once.
_TOGETHER = 64


@dataclass(frozen=True)
class TrackingPlan:
    """What a tracker is trained with; everything but the seed is the same for every corpus.

    Args:
        settings: of the model; `seed` is set by `train_tracker`.
        catalogue: slot to values known beforehand and their synonyms, beside the values of the training labels.
        noise: whether to train on noise copies.
        synonyms: whether to use other words for values, found in the training dialogues.
        substitution: whether to train on copies about other values.
        spans: whether words that the tagger marks can be values, beside those listed.
        transcripts: the training dialogues as transcribed, if what is trained on are a recogniser's words: synonyms are
            found in what was said.
    """

    settings: Settings
    catalogue: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    noise: bool = True
    synonyms: bool = True
    substitution: bool = True
    spans: bool = True
    transcripts: Sequence[Dialogue] = ()


def tracking_settings(preset: str = "default", **changes: Any) -> Settings:
    """The settings of a preset for tracking alone.

    Args:
        preset: of the model.
        changes: settings that differ.

    Raises:
        SettingsError: for an unknown or impossible setting.
    """
    chosen = PAPER if preset == "liu2018" else TRACKING
    return Settings.from_mapping({"preset": preset, **chosen, **changes})


def train_tracker(
    plan: TrackingPlan,
    train: Sequence[Dialogue],
    dev: Sequence[Dialogue],
    seed: int = 0,
    progress: Optional[Callable[[EpochResult, Optional[float]], None]] = None,
) -> ActingModel:
    """Trains a tracker.

    Args:
        plan: how.
        train: labelled dialogues.
        dev: labelled dialogues that choose the epoch.
        seed: of weights, order, noise and substitution.
        progress: called after every epoch with its figures and the joint goal accuracy on the development dialogues,
            None in epochs that can't be chosen.

    Returns:
        The tracker with the weights of the best epoch, its beliefs calibrated on the development dialogues.
    """
    plan = replace(plan, settings=replace(plan.settings, seed=seed))
    unlisted = open_ended(train, dev)
    encoder, forms = tracking_encoder(plan, train, unlisted)
    copies = TrainingCopies(plan, train, forms, unlisted, seed)
    trainer = SupervisedTrainer(encoder)
    # As the tracker will hear them, and as they were recorded: for weights that serve both.
    heard = trials = list(dev)
    if plan.noise and misheard_share(train) >= LEAST_MISHEARD:
        noise = RecogniserNoise.from_dialogues([*train, *dev], DEV_NOISE, forms)
        rng = np.random.default_rng(seed + 1)
        heard = [dialogue for _ in range(DEV_HEARINGS) for dialogue in _misheard(noise, dev, rng)]
        trials = [*dev, *heard]
    last = trainer.epochs(copies.epoch_size)
    best: Tuple[float, Dict[str, np.ndarray]] = (-1.0, {})

    def choose(result: EpochResult) -> None:
        nonlocal best
        accuracy = None
        if trials and result.epoch > last // 2:
            weights = trainer.weights()
            accuracy = joint_accuracy(ActingModel(encoder, weights), trials)
            if accuracy > best[0]:
                best = (accuracy, weights)
        if progress:
            progress(result, accuracy)

    trainer.fit(copies.lasting, progress=choose, fresh=copies.of_epoch)
    weights = best[1] or trainer.model.weights()
    if heard:
        uncalibrated = track(ActingModel(encoder, weights), heard)
        weights[TEMPERATURE] = fit_temperatures(uncalibrated, encoder.ontology.slots)
    return ActingModel(encoder, weights)


def tracking_encoder(
    plan: TrackingPlan, train: Sequence[Dialogue], unlisted: Sequence[str] = ()
) -> Tuple[Encoder, Mapping[str, Mapping[str, Sequence[str]]]]:
    """The encoder of a tracker that is to be trained, and the synonyms it knows.

    Args:
        plan: how to train.
        train: labelled dialogues.
        unlisted: slots that may have further values.
    """
    forms = find_synonyms(plan.transcripts or train) if plan.synonyms else {}
    values: Dict[str, Dict[str, Tuple[str, ...]]] = {}
    for dialogue in train:
        for turn in dialogue.turns:
            for slot, value in (turn.goal or {}).items():
                known = values.setdefault(slot, {})
                if value not in (NONE, DONTCARE):
                    known.setdefault(value, tuple(forms.get(slot, {}).get(value, ())))
    for slot, listed in plan.catalogue.items():
        if slot in values:
            for value, other in listed.items():
                values[slot][value] = (*values[slot].get(value, ()), *other)
    spans = (set(unlisted) if plan.spans else set()) - set(plan.catalogue)
    slots = {
        slot: SlotValues(_one_spelling(values[slot]), _kind(values[slot], slot in spans))
        for slot in sorted(values)
    }
    marked = [mark_entities(dialogue, forms) for dialogue in train]
    return prepare(plan.settings, marked, listed=slots), forms


class TrainingCopies:
    """All that the model is trained on: the dialogues, noise copies, and copies about other values.

    Args:
        plan: which copies to make.
        train: labelled dialogues.
        forms: synonyms of values.
        unlisted: slots that may have further values.
        seed: of the copies.
    """

    def __init__(
        self,
        plan: TrackingPlan,
        train: Sequence[Dialogue],
        forms: Mapping[str, Mapping[str, Sequence[str]]],
        unlisted: Sequence[str],
        seed: int,
    ) -> None:
        #: Dialogues of every epoch: those that were recorded.
        self.lasting: List[Dialogue] = [mark_entities(dialogue, forms) for dialogue in train]
        self._seed = seed
        self._n_best = plan.settings.n_best_hypotheses
        self._reads_words = plan.settings.system_words
        self._noise = [
            RecogniserNoise.from_dialogues(train, rate, forms)
            for rate in (NOISE_RATES if plan.noise else ())
        ]
        self._substitution: Optional[ValueSubstitution] = None
        if plan.substitution and plan.settings.candidates:
            listed = {slot: list(values) for slot, values in plan.catalogue.items()}
            self._substitution = ValueSubstitution(self.lasting, unlisted, listed)

    @property
    def epoch_size(self) -> int:
        """Dialogues of an epoch, copies included."""
        return len(self.lasting) * (1 + len(self._noise) + self._about_other_values())

    def of_epoch(self, epoch: int) -> List[Dialogue]:
        """Dialogues of this epoch alone: noise copies, and copies about other values."""
        rng = np.random.default_rng([self._seed, epoch])
        copies = [
            replace(
                self._known_by_words(d, rng), id=f"{d.id} epoch {epoch} heard with {noise.rate}"
            )
            for noise in self._noise
            for d in _misheard(noise, self.lasting, rng, self._n_best)
        ]
        if self._substitution is not None:
            copies += [
                replace(self._substitution.substitute(d, rng), id=f"{d.id} epoch {epoch}.{number}")
                for number in range(self._about_other_values())
                for d in self.lasting
            ]
        return copies

    def _known_by_words(self, dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
        """The dialogue with some of the system's actions known by their words alone."""
        if not self._reads_words:
            return dialogue
        turns = []
        for turn in dialogue.turns:
            unmapped = [action.text and rng.random() < UNMAPPED for action in turn.actions]
            actions = [replace(a, acts=()) if u else a for a, u in zip(turn.actions, unmapped)]
            turns.append(replace(turn, actions=tuple(actions)))
        return replace(dialogue, turns=tuple(turns))

    def _about_other_values(self) -> int:
        """Copies of each dialogue about other values."""
        if self._substitution is None:
            return 0
        return min(MOST_COPIES, -(-SUBSTITUTED // len(self.lasting)))


def track(
    model: ActingModel, dialogues: Sequence[Dialogue]
) -> Iterator[Tuple[Dialogue, List[Belief]]]:
    """Beliefs after each user turn, from nothing but the words, what the system did, and what others set.

    Args:
        model: the tracker.
        dialogues: recorded dialogues; labels, entities and intents in them are not read.

    Returns:
        Each dialogue with its beliefs, in order.
    """
    for start in range(0, len(dialogues), _TOGETHER):
        group = dialogues[start : start + _TOGETHER]
        conversations = [model.start() for _ in group]
        beliefs: List[List[Belief]] = [[] for _ in group]
        for number in range(max(len(dialogue.turns) for dialogue in group)):
            going = [i for i, dialogue in enumerate(group) if number < len(dialogue.turns)]
            turns = [_heard(group[i].turns[number]) for i in going]
            now = [conversations[i] for i in going]
            for i, turn, belief in zip(going, turns, model.observe(now, turns)):
                if turn.user is not None:
                    beliefs[i].append(belief)
            model.close(now, turns)
        yield from zip(group, beliefs)


def joint_accuracy(model: ActingModel, dialogues: Sequence[Dialogue]) -> float:
    """Share of the labelled user turns whose goal is tracked in full."""
    right = turns = 0
    for dialogue, beliefs in track(model, dialogues):
        labelled = [turn.goal for turn in dialogue.turns if turn.user is not None]
        for goal, belief in zip(labelled, beliefs):
            if goal is not None:
                turns += 1
                right += _normal(belief.goal()) == _normal(goal)
    return right / max(turns, 1)


def _heard(turn: Turn) -> Turn:
    """What a bot would have of a recorded turn."""
    user = None if turn.user is None else Utterance(turn.user.text, turn.user.hypotheses)
    return Turn(user, None, turn.summary, turn.overrides, turn.actions)


def _normal(goal: Mapping[str, str]) -> Dict[str, str]:
    return {slot: normalise(value) for slot, value in goal.items() if value != NONE}


def _misheard(
    noise: RecogniserNoise,
    dialogues: Sequence[Dialogue],
    rng: np.random.Generator,
    n_best: int = 1,
) -> Iterator[Dialogue]:
    return (noise.corrupt_dialogue(dialogue, rng, n_best) for dialogue in dialogues)


def _kind(values: Iterable[str], unlisted: bool) -> str:
    """Kind of a slot: there may be further values of an open-ended one, and of numbers."""
    if unlisted:
        return "open"
    return "number" if all(normalise(value).isdigit() for value in values) else "list"


def _one_spelling(values: Mapping[str, Tuple[str, ...]]) -> Dict[str, Tuple[str, ...]]:
    """The values without further spellings of the same ("6 pm", "6:00 pm")."""
    chosen: Dict[str, str] = {}
    for value in values:
        chosen.setdefault(normalise(value), value)
    return {value: values[value] for value in chosen.values()}
