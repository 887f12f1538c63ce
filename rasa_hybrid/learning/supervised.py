"""Supervised learning: eq. 4 of Liu et al. (2018), minimised by Adam over batches of whole dialogues.

Besides the paper's belief and action losses there are two for what a Rasa pipeline needs, intents and entities; their
weights are settings, 0 in the paper's preset.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import tensorflow as tf

from rasa_hybrid.dialogue import Dialogue, Utterance
from rasa_hybrid.learning.optimiser import (
    RunningAverage,
    optimiser_state,
    restore_optimiser,
    restore_weights,
)
from rasa_hybrid.model.acting import ActingModel
from rasa_hybrid.model.batching import Batch, collate
from rasa_hybrid.model.encoded import (
    CONFLICT,
    ENTITY,
    PART,
    SHARING,
    WHOLE,
    EncodedTurn,
    EncodedUtterance,
    Span,
)
from rasa_hybrid.model.encoding import Encoder
from rasa_hybrid.model.network import EPSILON, JointModel, Outputs, as_tensors
from rasa_hybrid.model.parameters import sizes_of
from rasa_hybrid.model.settings import Settings

logger = logging.getLogger(__name__)

#: NLU examples in a batch at least, where there are so many.
_EXAMPLES_TOGETHER = 64
#: Utterances that are tagged at once.
_TAGGED_TOGETHER = 256

#: Called after every epoch with its figures.
Progress = Callable[["EpochResult"], None]
#: Told the share of an epoch that is done.
Within = Callable[[float], None]


class Losses(NamedTuple):
    """The parts of the loss; `total` is their weighted sum, averaged over the dialogues of the batch."""

    total: tf.Tensor
    belief: tf.Tensor
    action: tf.Tensor
    intent: tf.Tensor
    entity: tf.Tensor


@dataclass(frozen=True)
class EpochResult:
    """Figures of one epoch, averaged over the training dialogues, and its seconds on the clock."""

    epoch: int
    loss: float
    belief_loss: float
    action_loss: float
    joint_goal_accuracy: float
    action_accuracy: float
    seconds: float
    validation_loss: Optional[float] = None


def supervised_losses(
    outputs: Outputs, batch: Mapping[str, tf.Tensor], settings: Settings
) -> Losses:
    """Eq. 4: `sum over turns of -[sum_m lambda_m log P(l_k^m*) + lambda_a log P(a_k*)]`, averaged over dialogues.

    Turns without label and decisions with weight 0 contribute nothing; a dialogue's weight multiplies its terms.
    Intent and entity losses are means over the labelled utterances and tokens of the batch.
    """
    dialogues = tf.maximum(tf.reduce_sum(tf.reduce_max(batch["turn_mask"], axis=1)), 1.0)
    labels = batch["labels"]
    labelled = (
        tf.cast(labels >= 0, tf.float32)
        * batch["turn_mask"][:, :, None]
        * batch["weight"][:, None, None]
    )
    chosen = tf.gather(outputs.belief, tf.maximum(labels, 0), batch_dims=3)
    belief = -tf.reduce_sum(tf.math.log(tf.maximum(chosen, EPSILON)) * labelled) / dialogues
    crossed = tf.nn.sparse_softmax_cross_entropy_with_logits(
        tf.maximum(batch["decision_action"], 0), outputs.action_logits
    )
    action = tf.reduce_sum(crossed * batch["decision_weight"]) / dialogues
    intent = _mean_crossed(outputs.intent_logits, batch["intents"])
    entity = _mean_crossed(outputs.tag_logits, batch["tags"])
    total = (
        settings.belief_loss_weight * belief
        + settings.action_loss_weight * action
        + settings.intent_loss_weight * intent
        + settings.entity_loss_weight * entity
    )
    return Losses(total, belief, action, intent, entity)


class SupervisedTrainer:
    """Trains a joint model on labelled dialogues.

    Args:
        encoder: of the model.
        weights: to start from; None: drawn with the seed.
    """

    def __init__(
        self, encoder: Encoder, weights: Optional[Mapping[str, np.ndarray]] = None
    ) -> None:
        self.encoder = encoder
        self.settings = encoder.settings
        self.model = JointModel(
            encoder.settings, sizes_of(encoder.vocabulary, encoder.ontology), weights
        )
        self._optimizer = tf.keras.optimizers.Adam(self.settings.learning_rate)
        self._optimizer.build(list(self.model.parameters.values()))
        self._average = RunningAverage(self.model, self.settings.weight_averaging)
        self._step: Optional[Callable] = None
        self._evaluate: Optional[Callable] = None
        self._steps = 0

    def fit(
        self,
        dialogues: Sequence[Dialogue],
        utterances: Sequence[Utterance] = (),
        progress: Optional[Progress] = None,
        fresh: Optional[Callable[[int], Sequence[Dialogue]]] = None,
        within: Optional[Within] = None,
    ) -> List[EpochResult]:
        """Minimises the loss for `settings.epochs` epochs, or until the validation loss stops falling.

        Args:
            dialogues: labelled dialogues.
            utterances: NLU examples for the intent and entity heads.
            progress: called after every epoch.
            fresh: further dialogues of an epoch, which are made for it alone.
            within: called after every batch.

        Returns:
            The figures of every epoch.
        """
        settings = self.settings
        rng = np.random.default_rng(settings.seed)
        encoded = [turns for turns in self.encoder.dialogues(dialogues) if turns]
        examples = [self.encoder.utterance(utterance) for utterance in utterances]
        held_out: List[List[EncodedTurn]] = []
        if settings.patience:
            order = rng.permutation(len(encoded))
            count = int(len(encoded) * settings.validation_fraction)
            held_out = [encoded[i] for i in order[:count]]
            encoded = [encoded[i] for i in sorted(order[count:])]
        results: List[EpochResult] = []
        best: Tuple[float, Dict[str, np.ndarray]] = (np.inf, {})
        since = 0
        made = fresh(1) if fresh else []
        epochs = self.epochs(len(encoded) + len(made), len(examples))
        with ThreadPoolExecutor(max_workers=1) as ahead:
            for epoch in range(1, epochs + 1):
                # What the next epoch needs is made while the network works on this one.
                following = ahead.submit(fresh, epoch + 1) if fresh and epoch < epochs else None
                result = self._epoch(
                    epoch, encoded + self._encoded(made, epoch), examples, rng, within
                )
                made = following.result() if following else []
                if held_out:
                    result = replace(result, validation_loss=self._validation_loss(held_out))
                results.append(result)
                if progress:
                    progress(result)
                if held_out and result.validation_loss is not None:
                    if result.validation_loss < best[0]:
                        best, since = (result.validation_loss, self.model.weights()), 0
                    else:
                        since += 1
                    if since >= settings.patience:
                        break
        for name, value in (best[1] or self.weights()).items():
            self.model.parameters[name].assign(value)
        return results

    def _encoded(self, dialogues: Sequence[Dialogue], epoch: int) -> List[List[EncodedTurn]]:
        """Dialogues made for an epoch; open slots get the spans that the tagger finds by now, right or wrong."""
        kinds = {values.kind for values in self.encoder.ontology.values.values()}
        if epoch == 1 or "open" not in kinds:
            return self.encoder.dialogues(dialogues)
        tagger = ActingModel(self.encoder, self.model.weights())
        said = {t.user.text: t.user for d in dialogues for t in d.turns if t.user is not None}
        texts = sorted(said, key=len)  # of similar length together, so that little is padded
        spans: Dict[str, List[Span]] = {}
        for start in range(0, len(texts), _TAGGED_TOGETHER):
            group = texts[start : start + _TAGGED_TOGETHER]
            spans.update(zip(group, tagger.open_spans([said[text] for text in group])))
        found = [
            [spans[turn.user.text] if turn.user is not None else [] for turn in dialogue.turns]
            for dialogue in dialogues
        ]
        return self.encoder.dialogues(dialogues, found)

    def weights(self) -> Dict[str, np.ndarray]:
        """The parameters that training would end with now: their running average, if `weight_averaging` asks for it."""
        return self._average.weights()

    def epochs(self, dialogues: int, examples: int = 0) -> int:
        """Passes over so many dialogues and NLU examples: `epochs`, or as many as make `least_steps` updates."""
        batches = self._batch_count(dialogues, examples)
        return max(self.settings.epochs, -(-self.settings.least_steps // max(batches, 1)))

    def _batch_count(self, dialogues: int, examples: int) -> int:
        """Batches of an epoch: of dialogues, or of NLU examples where there are none."""
        size = self.settings.batch_size
        return -(-dialogues // size) if dialogues else -(-examples // (4 * size))

    def train_step(self, batch: Batch) -> np.ndarray:
        """One step of Adam on a batch; returns loss, its belief and action parts, and counts of what was right."""
        if self._step is None:
            # Without AutoGraph, which has nothing to convert here, compiling takes half the time.
            self._step = tf.function(
                self._update,
                input_signature=[signature(batch), tf.TensorSpec([2], tf.int32)],
                autograph=False,
            )
        self._steps += 1
        return self._step(as_tensors(batch), tf.constant([self.settings.seed, self._steps])).numpy()

    def state(self) -> Dict[str, np.ndarray]:
        """Everything that the next `train_step` depends on: weights and their average, Adam's moments, number of steps."""
        state = {f"weights/{name}": value for name, value in self.model.weights().items()}
        state.update({f"adam/{k}": v for k, v in optimiser_state(self._optimizer).items()})
        return {**state, **self._average.state(), "steps": np.array(self._steps)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Puts back what `state` gave.

        Raises:
            ValueError: if it belongs to another model.
        """
        restore_weights(self.model, state)
        restore_optimiser(
            self._optimizer, {k[5:]: v for k, v in state.items() if k.startswith("adam/")}
        )
        self._average.restore(state)
        self._steps = int(state["steps"])

    def _epoch(
        self,
        epoch: int,
        encoded: Sequence[List[EncodedTurn]],
        examples: Sequence[EncodedUtterance],
        rng: np.random.Generator,
        within: Optional[Within] = None,
    ) -> EpochResult:
        totals, started = np.zeros(8), time.perf_counter()
        batches = self._batch_count(len(encoded), len(examples))
        for done, batch in enumerate(_prefetched(self._batches(encoded, examples, rng)), start=1):
            totals += self.train_step(batch)
            if within:
                within(done / batches)
        count, turns, decisions = max(totals[3], 1.0), max(totals[5], 1.0), max(totals[7], 1.0)
        return EpochResult(
            epoch,
            totals[0] / count,
            totals[1] / count,
            totals[2] / count,
            totals[4] / turns,
            totals[6] / decisions,
            time.perf_counter() - started,
        )

    def _batches(
        self,
        encoded: Sequence[List[EncodedTurn]],
        examples: Sequence[EncodedUtterance],
        rng: np.random.Generator,
    ) -> Iterator[Batch]:
        """Batches of dialogues of similar length in random order, each with its share of the NLU examples."""
        size = self.settings.batch_size
        order = rng.permutation(len(encoded))
        window = 16 * size
        groups = []
        for start in range(0, len(order), window):
            near = sorted(order[start : start + window], key=lambda i: len(encoded[i]))
            groups += [near[i : i + size] for i in range(0, len(near), size)]
        if not groups and examples:
            groups = [[] for _ in range(0, len(examples), 4 * size)]
        shares = _shares(len(examples), len(groups), rng)
        for g in rng.permutation(len(groups)):
            turns = [as_heard(encoded[i], self.settings, rng) for i in groups[g]]
            yield collate(self.encoder, turns, [examples[i] for i in shares[g]])

    def _validation_loss(self, held_out: Sequence[List[EncodedTurn]]) -> float:
        total, count = 0.0, 0
        for start in range(0, len(held_out), self.settings.batch_size):
            group = held_out[start : start + self.settings.batch_size]
            batch = collate(self.encoder, group)
            if self._evaluate is None:
                self._evaluate = tf.function(
                    self._losses, input_signature=[signature(batch)], autograph=False
                )
            total += float(self._evaluate(as_tensors(batch))) * len(group)
            count += len(group)
        return total / max(count, 1)

    def _losses(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return supervised_losses(self.model(batch), batch, self.settings).total

    def _update(self, batch: Mapping[str, tf.Tensor], seed: tf.Tensor) -> tf.Tensor:
        variables = list(self.model.parameters.values())
        with tf.GradientTape() as tape:
            outputs = self.model(batch, seed)
            losses = supervised_losses(outputs, batch, self.settings)
        gradients = tape.gradient(
            losses.total, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        if self.settings.gradient_clip:
            gradients, _ = tf.clip_by_global_norm(gradients, self.settings.gradient_clip)
        self._optimizer.apply_gradients(zip(gradients, variables))
        self._average.update()
        count = tf.reduce_sum(tf.reduce_max(batch["turn_mask"], axis=1))
        right, turns = _joint_goals(outputs, batch)
        learnt = tf.cast(batch["decision_weight"] > 0, tf.float32)
        best = tf.argmax(outputs.action_logits, axis=-1, output_type=tf.int32)
        hits = tf.reduce_sum(tf.cast(best == batch["decision_action"], tf.float32) * learnt)
        sums = [losses.total * count, losses.belief * count, losses.action * count, count]
        return tf.stack([*sums, right, turns, hits, tf.reduce_sum(learnt)])


def _shares(examples: int, batches: int, rng: np.random.Generator) -> List[np.ndarray]:
    """The NLU examples of each batch: every one once an epoch, more often where a batch would have few."""
    rounds = 1
    if batches and examples:
        rounds = -(-min(_EXAMPLES_TOGETHER, examples) * batches // examples)
    shuffled = np.concatenate([rng.permutation(examples) for _ in range(rounds)])
    return np.array_split(shuffled, batches) if batches else []


def as_heard(
    turns: Sequence[EncodedTurn], settings: Settings, rng: np.random.Generator
) -> List[EncodedTurn]:
    """The turns of a dialogue as an update sees them.

    Some are shown without their words, or without intent and entities, so that either suffices.
    """
    return [_drop_modality(turn, settings, rng) for turn in turns]


def _drop_modality(turn: EncodedTurn, settings: Settings, rng: np.random.Generator) -> EncodedTurn:
    if not (turn.features and turn.utterances):
        return turn
    draw, rate = rng.random(), settings.modality_dropout
    if draw < rate:
        said = {WHOLE, PART, SHARING, CONFLICT}
        features = {at: x for at, x in turn.cell_features.items() if at[2] not in said}
        return replace(
            turn, utterances=[], utterance_weights=[], matches=[], cell_features=features
        )
    if draw < 2 * rate or not settings.pipeline:
        return replace(
            turn,
            features=[],
            cell_features={at: x for at, x in turn.cell_features.items() if at[2] != ENTITY},
        )
    return turn


def signature(batch: Batch) -> Dict[str, tf.TensorSpec]:
    """The types of a batch with open sizes: one compilation serves every batch."""
    fixed = {"summary": 1, "cell_features": 1, "dropout_seed": 1}
    specs = {}
    for name, array in batch.items():
        known = fixed.get(name, 0)
        shape = [None] * (array.ndim - known) + list(array.shape[array.ndim - known :])
        specs[name] = tf.TensorSpec(shape, tf.as_dtype(array.dtype))
    return specs


def _mean_crossed(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Mean cross entropy over the labels >= 0; 0 if there is none or nothing to tell apart."""
    if logits.shape[-1] is not None and logits.shape[-1] < 2:
        return tf.constant(0.0)
    known = tf.cast(labels >= 0, tf.float32)
    crossed = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(labels, 0), logits)
    return tf.reduce_sum(crossed * known) / tf.maximum(tf.reduce_sum(known), 1.0)


def _joint_goals(outputs: Outputs, batch: Mapping[str, tf.Tensor]) -> Tuple[tf.Tensor, tf.Tensor]:
    """Labelled turns whose every labelled slot is right, and labelled turns."""
    known = batch["labels"] >= 0
    best = tf.argmax(outputs.belief, axis=-1, output_type=tf.int32)
    right = tf.reduce_all(tf.logical_or(best == batch["labels"], tf.logical_not(known)), axis=-1)
    turns = tf.logical_and(tf.reduce_any(known, axis=-1), batch["turn_mask"] > 0)
    return (
        tf.reduce_sum(tf.cast(tf.logical_and(right, turns), tf.float32)),
        tf.reduce_sum(tf.cast(turns, tf.float32)),
    )


def _prefetched(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Prepares the next batch while the network works on this one."""
    with ThreadPoolExecutor(max_workers=1) as executor:
        following = executor.submit(next, batches, None)
        while True:
            batch = following.result()
            if batch is None:
                return
            following = executor.submit(next, batches, None)
            yield batch
