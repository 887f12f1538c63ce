"""The joint model in TensorFlow, as it learns: equations 1 to 4 over a batch of whole dialogues.

`acting` holds the same equations in NumPy, as the model acts; `parameters` of both are one specification, and a test
holds them equal.
"""

from __future__ import annotations

from typing import Dict, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np
import tensorflow as tf

from rasa_hybrid.model.batching import Batch
from rasa_hybrid.model.encoded import CELL_FEATURES, DONTCARE_CELL, NONE_CELL
from rasa_hybrid.model.lstm import packed_lstm
from rasa_hybrid.model.parameters import BELIEF_FEATURES, BELIEF_FLOOR, parameter_shapes
from rasa_hybrid.model.settings import Settings
from rasa_hybrid.model.vocabulary import UNKNOWN

#: Probabilities below this have this one's logarithm in the loss.
EPSILON = 1e-8


class Outputs(NamedTuple):
    """What the network says about a batch.

    Args:
        belief: `[B, T, M, C]` P(l_k^m) as the model sees it, before what others set.
        belief_in_force: the same with overrides applied, which the policy reads.
        action_logits: `[D, actions]`.
        intent_logits: `[U, intents]`.
        tag_logits: `[U, L, tags]`.
        state: `[B, T, S]` s_k.
    """

    belief: tf.Tensor
    belief_in_force: tf.Tensor
    action_logits: tf.Tensor
    intent_logits: tf.Tensor
    tag_logits: tf.Tensor
    state: tf.Tensor


class JointModel(tf.Module):
    """Encoder, belief tracker and policy with one set of parameters.

    Args:
        settings: sizes and preset.
        sizes: numbers of words, acts ... (`parameters.sizes_of`).
        weights: parameters by name; None: drawn with `settings.seed`.
    """

    def __init__(
        self,
        settings: Settings,
        sizes: Mapping[str, int],
        weights: Optional[Mapping[str, np.ndarray]] = None,
    ) -> None:
        super().__init__(name="joint_model")
        self.settings = settings
        self.sizes = dict(sizes)
        shapes = parameter_shapes(settings, sizes)
        values = weights if weights is not None else initial_weights(shapes, settings.seed)
        self.parameters: Dict[str, tf.Variable] = {
            name: tf.Variable(np.asarray(values[name], np.float32), name=name, dtype=tf.float32)
            for name in shapes
        }

    @property
    def policy_parameters(self) -> List[tf.Variable]:
        """The parameters of the policy network alone."""
        return [
            variable for name, variable in self.parameters.items() if name.startswith("policy/")
        ]

    def weights(self) -> Dict[str, np.ndarray]:
        """The parameters as arrays."""
        return {name: variable.numpy() for name, variable in self.parameters.items()}

    def __call__(
        self, batch: Mapping[str, tf.Tensor], dropout_seed: Optional[tf.Tensor] = None
    ) -> Outputs:
        """Runs a batch.

        Args:
            batch: arrays of `batching.collate`.
            dropout_seed: `[2]` int32; None: no dropout, as in acting and in REINFORCE.
        """
        drop = _Dropout(dropout_seed, self.settings)
        p = self.parameters
        states, encoded, utterance_slots = self._encode_utterances(batch, drop)
        intent_logits = encoded @ p["intent/kernel"] + p["intent/bias"]
        tag_logits = tf.tensordot(states, p["tags/kernel"], 1) + p["tags/bias"]
        state = self._dialogue_states(batch, encoded, drop)
        belief, in_force = self._beliefs(batch, state, states, utterance_slots, drop)
        logits = self._policy(batch, state, in_force, drop)
        return Outputs(belief, in_force, logits, intent_logits, tag_logits, state)

    def _encode_utterances(
        self, batch: Mapping[str, tf.Tensor], drop: _Dropout
    ) -> Tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Token states `[U, L, 2h]`, `U_k` `[U, 2h]`, and what each slot reads of an utterance `[U, M, 2h]`."""
        p, settings = self.parameters, self.settings
        vectors = self._word_vectors(drop.identities(batch["words"]), batch["subwords"])
        lengths = batch["lengths"]
        mask = tf.sequence_mask(lengths, tf.shape(batch["tokens"])[1], tf.float32)
        tokens = drop.words(batch["tokens"], batch["token_slots"], batch["tags"])
        token_slots = drop.marks(batch["token_slots"])
        forward, backward = self._read_both_ways(drop(vectors), tokens, token_slots, lengths)
        states = tf.concat([forward, backward], axis=-1)
        last = tf.maximum(lengths - 1, 0)
        encoded = tf.concat([tf.gather(forward, last, batch_dims=1), backward[:, 0]], axis=-1)
        encoded *= tf.cast(lengths > 0, tf.float32)[:, None]
        if not settings.candidates:
            return states, drop(encoded), tf.zeros([tf.shape(encoded)[0], 1, 1])
        scores = tf.tensordot(states, p["belief/attention"], [[2], [1]])
        weights = tf.nn.softmax(scores + (mask[:, :, None] - 1.0) * 1e9, axis=1)
        read = tf.matmul(weights, states, transpose_a=True)
        return drop(states), drop(encoded), drop(read)

    def _word_vectors(self, words: tf.Tensor, subwords: tf.Tensor) -> tf.Tensor:
        """Embeddings of distinct words `[W, e]`, the mean of their character n-grams added."""
        p = self.parameters
        vectors = tf.gather(p["words"], words)
        if self.settings.subword_buckets:
            # One for padding, because TensorFlow's gradient of a mean of no rows at all is left uninitialised.
            at = tf.concat([tf.zeros([1, 2], tf.int64), tf.where(subwords > 0)], axis=0)
            grams = tf.gather_nd(subwords, at)
            vectors += tf.sparse.segment_mean(p["subwords"], grams, at[:, 0], tf.shape(words)[0])
        return vectors

    def _read_both_ways(
        self, vectors: tf.Tensor, tokens: tf.Tensor, token_slots: tf.Tensor, lengths: tf.Tensor
    ) -> Tuple[tf.Tensor, tf.Tensor]:
        """Outputs `[U, L, h]` of the utterance LSTM in both directions, 0 behind the end of an utterance.

        The inputs' share of the gates is computed once for each distinct word.
        """
        p = self.parameters
        order = tf.argsort(lengths, direction="DESCENDING", stable=True)
        going_on = tf.range(tf.maximum(tf.reduce_max(lengths), 1))[:, None] < tf.gather(
            lengths, order
        )
        counts = tf.reduce_sum(tf.cast(going_on, tf.int32), axis=1)
        step, row = tf.unstack(tf.cast(tf.where(going_on), tf.int32), axis=1)
        row = tf.gather(order, row)
        shape = [*tf.unstack(tf.shape(tokens)), self.settings.utterance_lstm_size]
        read = []
        for name, place in (
            ("utterance_forward", step),
            ("utterance_backward", tf.gather(lengths, row) - 1 - step),
        ):
            kernel = p[f"{name}/kernel"]
            at = tf.stack([row, place], axis=1)
            words = vectors @ kernel + p[f"{name}/bias"]
            gates = tf.gather(words, tf.gather_nd(tokens, at))
            if self.settings.candidates and self.sizes["slots"]:
                gates += tf.gather_nd(token_slots, at) @ (p["token_slots"] @ kernel)
            states = packed_lstm(gates, p[f"{name}/recurrent_kernel"], counts)
            read.append(tf.scatter_nd(at, states, shape))
        return read[0], read[1]

    def _dialogue_states(
        self, batch: Mapping[str, tf.Tensor], encoded: tf.Tensor, drop: _Dropout
    ) -> tf.Tensor:
        """s_k `[B, T, S]` of eq. 1."""
        p = self.parameters
        shape = tf.shape(batch["turn_mask"])
        turns = shape[0] * shape[1]
        acts = tf.concat(
            [tf.gather(p[name], batch[f"act_{part}"]) for name, part in self._act_embeddings()],
            axis=-1,
        )
        inputs = [_gather_weighted(encoded, batch), _bag(acts, batch["act_at"], turns, shape)]
        if self.settings.system_words:
            vectors = self._word_vectors(batch["system_words"], batch["system_subwords"])
            said = drop(tf.gather(vectors, batch["said_id"])) * batch["said_weight"][:, None]
            words = _bag(said, batch["said_at"], turns, shape)
            inputs[1] += tf.einsum("bte,ea->bta", words, p["system_words/kernel"])
        if self.settings.context:
            inputs.append(
                _bag(tf.gather(p["actions"], batch["last_id"]), batch["last_at"], turns, shape)
            )
            inputs.append(
                _bag(
                    tf.gather(p["features"], batch["feature_id"]), batch["feature_at"], turns, shape
                )
            )
        inputs = [tf.reshape(tf.transpose(x, [1, 0, 2]), [turns, x.shape[-1]]) for x in inputs]
        gates = tf.concat(inputs, axis=-1) @ p["dialogue/kernel"] + p["dialogue/bias"]
        states = packed_lstm(gates, p["dialogue/recurrent_kernel"], tf.fill([shape[1]], shape[0]))
        states = tf.reshape(states, [shape[1], shape[0], states.shape[-1]])
        return drop(tf.transpose(states, [1, 0, 2]))

    def _act_embeddings(self) -> List[Tuple[str, str]]:
        pairs = [("acts", "id"), ("act_slots", "slot")]
        return pairs if self.settings.candidates else pairs + [("act_values", "value")]

    def _beliefs(
        self,
        batch: Mapping[str, tf.Tensor],
        state: tf.Tensor,
        token_states: tf.Tensor,
        utterance_slots: tf.Tensor,
        drop: _Dropout,
    ) -> Tuple[tf.Tensor, tf.Tensor]:
        """P(l_k^m) `[B, T, M, C]` of eq. 2, before and after what others set."""
        p = self.parameters
        shape = tf.shape(batch["cell_mask"])
        if not self.sizes["slots"]:
            return batch["cell_mask"], batch["cell_mask"]
        if not self.settings.candidates:
            hidden = (
                tf.einsum("bts,msh->btmh", state, p["belief/slot_hidden_kernel"])
                + p["belief/slot_hidden_bias"]
            )
            hidden = drop(tf.nn.relu(hidden))
            logits = self._closed_logits(batch, hidden)
            return _anew(batch, logits)
        slots = self.sizes["slots"]
        turns = shape[0] * shape[1]
        # What a slot's network reads, each part multiplied by its rows of the kernel where there are fewest of it.
        sizes = [state.shape[-1], utterance_slots.shape[-1], p["acts"].shape[-1], -1]
        of_state, of_words, of_acts, of_name = tf.split(p["belief/context_kernel"], sizes)
        read = _gather_weighted(tf.tensordot(utterance_slots, of_words, 1), batch)
        requested = _bag(
            tf.gather(p["acts"] @ of_acts, batch["slot_act_id"]),
            batch["slot_act_at"],
            turns * slots,
            shape[:3],
        )
        named = p["belief/slots"] @ of_name + p["belief/context_bias"]
        hidden = tf.tensordot(state, of_state, 1)[:, :, None] + read + requested + named
        settled = drop(tf.nn.relu(hidden))

        cells = turns * slots * shape[3]
        spans = _span_means(token_states, batch) @ p["belief/match_kernel"]
        spans += _span_edges(token_states, batch) @ p["belief/edges_kernel"]
        evidence = tf.concat(
            [
                spans * batch["match_weight"][:, None],
                tf.gather(p["belief/acts"], batch["cell_act_id"]),
            ],
            0,
        )
        at = tf.concat([batch["match_at"], batch["cell_act_at"]], 0)
        scores = _bag(evidence, at, cells, shape)
        scores += tf.tensordot(batch["cell_features"], p["belief/feature_kernel"], 1)
        kinds = tf.minimum(tf.range(shape[3]), 2)
        scores += tf.gather(p["belief/kinds"], kinds) + hidden[:, :, :, None]
        closed = self._closed_logits(batch, settled)
        keep = tf.tensordot(settled, p["belief/keep_kernel"], 1) + p["belief/keep_bias"]
        return self._track(batch, scores, closed, keep)

    def _closed_logits(self, batch: Mapping[str, tf.Tensor], hidden: tf.Tensor) -> tf.Tensor:
        """Logits of the cells that stand on the slots' closed lists `[B, T, M, C]`; of others 0 or, without candidates, none."""
        p = self.parameters
        listed = (
            tf.einsum("btmh,mhv->btmv", hidden, p["belief/closed_kernel"]) + p["belief/closed_bias"]
        )
        shape = tf.shape(batch["cell_mask"])
        padded = tf.pad(listed, [[0, 0], [0, 0], [0, 0], [1, 0]])
        if not self.settings.candidates:
            padded += tf.one_hot(0, tf.shape(padded)[-1], on_value=-1e9)
        index = tf.tile(batch["closed"][:, None], [1, shape[1], 1, 1])
        return tf.gather(padded, index, batch_dims=3)

    def _track(
        self, batch: Mapping[str, tf.Tensor], scores: tf.Tensor, closed: tf.Tensor, keep: tf.Tensor
    ) -> Tuple[tf.Tensor, tf.Tensor]:
        """P_k = keep * P_{k-1} + update; keep and the candidates share one softmax. Turn by turn, as P_{k-1} is an input."""
        p = self.parameters
        shape = tf.shape(batch["cell_mask"])

        def step(
            previous: Tuple[tf.Tensor, tf.Tensor, tf.Tensor], turn: Tuple[tf.Tensor, ...]
        ) -> Tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            carried = previous[2]
            score, closed_now, keep_now, mask, override, late = turn
            hidden = tf.nn.relu(score + carried[..., None] * p["belief/previous_kernel"])
            logits = tf.tensordot(hidden, p["belief/score_kernel"], 1) + closed_now
            logits += (mask - 1.0) * 1e9
            settled = keep_now + tf.reduce_sum(
                tf.stack([carried[..., NONE_CELL], carried[..., DONTCARE_CELL]], -1)
                * p["belief/keep_previous"],
                -1,
            )
            chances = tf.nn.softmax(tf.concat([settled[..., None], logits], axis=-1))
            kept = carried * mask
            belief = chances[..., :1] * kept + chances[..., 1:]
            belief /= tf.reduce_sum(belief, axis=-1, keepdims=True)
            in_force = _override(belief, override)
            return belief, in_force, _override(in_force, late)

        start = tf.one_hot(tf.fill([shape[0], shape[2]], NONE_CELL), shape[3])
        turns = tuple(
            tf.transpose(x, tf.concat([[1, 0], tf.range(2, tf.rank(x))], 0))
            for x in (
                scores,
                closed,
                keep,
                batch["cell_mask"],
                batch["override"],
                batch["late_override"],
            )
        )
        belief, in_force, _ = tf.scan(step, turns, (start, start, start))
        return tf.transpose(belief, [1, 0, 2, 3]), tf.transpose(in_force, [1, 0, 2, 3])

    def _policy(
        self,
        batch: Mapping[str, tf.Tensor],
        state: tf.Tensor,
        in_force: tf.Tensor,
        drop: _Dropout,
    ) -> tf.Tensor:
        """Logits of eq. 3 for every decision `[D, actions]`."""
        p = self.parameters
        at, shape = batch["decision_at"], tf.shape(batch["cell_mask"])
        decisions = tf.shape(at)[0]
        belief = tf.gather(tf.reshape(in_force, [-1, shape[2], shape[3]]), at)
        belief = _override(belief, batch["decision_override"])
        summary = tf.gather(tf.reshape(batch["summary"], [-1, tf.shape(batch["summary"])[-1]]), at)
        s = tf.gather(tf.reshape(state, [-1, tf.shape(state)[-1]]), at)
        inputs = [s, self._belief_features(belief), summary]
        if self.settings.actions_per_turn > 1:
            taken = tf.math.unsorted_segment_sum(
                tf.gather(p["actions"], batch["taken_id"]), batch["taken_at"], decisions
            )
            last = tf.gather(p["actions"], batch["last_taken"])
            later = tf.cast(batch["last_taken"] > 0, tf.float32)[:, None]
            inputs[0] = drop.state(s, later)
            inputs += [taken, last * later]
        hidden = tf.concat(inputs, axis=-1) @ p["policy/kernel"] + p["policy/bias"]
        if self.settings.context:
            seen = tf.gather(p["policy/features"], batch["context_id"])
            hidden += tf.math.unsorted_segment_sum(seen, batch["context_at"], decisions)
            said = tf.math.unsorted_segment_sum(
                tf.gather(p["policy/features"], batch["feature_id"]),
                batch["feature_at"],
                shape[0] * shape[1],
            )
            hidden += tf.gather(said, at)
        hidden = drop(tf.nn.relu(hidden))
        return hidden @ p["policy/output_kernel"] + p["policy/output_bias"]

    def _belief_features(self, belief: tf.Tensor) -> tf.Tensor:
        """v_k `[D, .]`: the paper's log-probabilities, or a fixed number a slot whatever the number of candidates."""
        logs = tf.math.log(tf.maximum(belief, BELIEF_FLOOR))
        decisions = tf.shape(belief)[0]
        if not self.settings.candidates:
            width = self.sizes["closed"]
            above = 1.0 - logs / np.log(BELIEF_FLOOR)
            padded = tf.pad(above, [[0, 0], [0, 0], [0, width]])[:, :, :width]
            return tf.reshape(padded, [decisions, self.sizes["slots"] * width])
        entropy = -tf.reduce_sum(belief * logs, axis=-1)
        others = tf.pad(belief[:, :, 2:], [[0, 0], [0, 0], [0, 2]])
        best = tf.math.top_k(others, 2).values
        rest = tf.maximum(tf.reduce_sum(others, axis=-1) - tf.reduce_sum(best, axis=-1), 0.0)
        best_logs = tf.math.log(tf.maximum(best, BELIEF_FLOOR))
        columns = [
            logs[:, :, NONE_CELL],
            logs[:, :, DONTCARE_CELL],
            best_logs[:, :, 0],
            best_logs[:, :, 1],
        ]
        columns = [column / -np.log(BELIEF_FLOOR) for column in columns]
        features = tf.stack(columns + [entropy, rest], axis=-1)
        return tf.reshape(features, [decisions, self.sizes["slots"] * BELIEF_FEATURES])


class _Dropout:
    """Dropout whose masks follow from a seed alone, so that a run can be repeated."""

    def __init__(self, seed: Optional[tf.Tensor], settings: Settings) -> None:
        self._seed = seed
        self._settings = settings
        self._calls = 0

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        if self._seed is None or not self._settings.dropout:
            return x
        return tf.nn.experimental.stateless_dropout(x, self._settings.dropout, self._next())

    def identities(self, words: tf.Tensor) -> tf.Tensor:
        """Makes some distinct words unknown: what is left of them is their character n-grams, as of words never seen."""
        if self._seed is None or not self._settings.identity_dropout:
            return words
        dropped = tf.random.stateless_uniform(tf.shape(words), self._next())
        hidden = tf.logical_and(dropped < self._settings.identity_dropout, words > 0)
        return tf.where(hidden, UNKNOWN, words)

    def words(self, tokens: tf.Tensor, token_slots: tf.Tensor, tags: tf.Tensor) -> tf.Tensor:
        """Replaces words by the unknown word (row 1), more of them where a candidate value or an entity stands."""
        if self._seed is None:
            return tokens
        inside = tf.logical_or(tf.reduce_max(token_slots, axis=-1) > 0, tags > 0)
        rate = tf.where(inside, self._settings.value_dropout, self._settings.word_dropout)
        dropped = tf.random.stateless_uniform(tf.shape(tokens), self._next()) < rate
        return tf.where(tf.logical_and(dropped, tokens > 0), UNKNOWN, tokens)

    def state(self, state: tf.Tensor, later: tf.Tensor) -> tf.Tensor:
        """Hides the dialogue's state `[D, S]` from some decisions that follow another one: what that did counts there."""
        if self._seed is None or not self._settings.modality_dropout:
            return state
        drawn = tf.random.stateless_uniform(tf.shape(later), self._next())
        return state * (1.0 - later * tf.cast(drawn < self._settings.modality_dropout, tf.float32))

    def marks(self, token_slots: tf.Tensor) -> tf.Tensor:
        """Hides from some utterances which of their words are listed values of a slot."""
        if self._seed is None or not self._settings.mark_dropout:
            return token_slots
        shape = tf.shape(token_slots)
        drawn = tf.random.stateless_uniform([shape[0], 1, shape[2]], self._next())
        return token_slots * tf.cast(drawn >= self._settings.mark_dropout, tf.float32)

    def _next(self) -> tf.Tensor:
        self._calls += 1
        assert self._seed is not None
        return self._seed + tf.constant([0, 7919 * self._calls])


def initial_weights(shapes: Mapping[str, Tuple[int, ...]], seed: int) -> Dict[str, np.ndarray]:
    """Glorot-uniform kernels, small uniform embeddings (larger ones of features), zero biases with a forget gate of one."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in shapes.items():
        if name.endswith("bias"):
            value = np.zeros(shape)
            if name in {"utterance_forward/bias", "utterance_backward/bias", "dialogue/bias"}:
                units = shape[0] // 4
                value[units : 2 * units] = 1.0
        elif name.endswith("kernel"):
            fan_in, fan_out = (shape[-2], shape[-1]) if len(shape) > 1 else (shape[0], 1)
            limit = np.sqrt(6.0 / (fan_in + fan_out))
            value = rng.uniform(-limit, limit, shape)
        elif name == "policy/features":  # inputs of the hidden layer that are 0 or 1
            value = rng.uniform(-0.25, 0.25, shape)
        else:
            value = rng.uniform(-0.05, 0.05, shape)
        weights[name] = value.astype(np.float32)
    return weights


def _bag(rows: tf.Tensor, at: tf.Tensor, count: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """Sums rows by position and gives them the shape `shape + [row size]`."""
    summed = tf.math.unsorted_segment_sum(rows, at, count)
    return tf.reshape(summed, tf.concat([shape, [tf.shape(rows)[-1]]], 0))


def _gather_weighted(rows: tf.Tensor, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Rows of the turns' hypotheses, weighted by their confidence: `[B, T, ...]`."""
    none = tf.zeros(tf.concat([[1], tf.shape(rows)[1:]], 0))
    padded = tf.concat([none, rows], axis=0)
    gathered = tf.gather(padded, batch["utterance"])
    weight = batch["utterance_weight"]
    extra = tf.rank(gathered) - tf.rank(weight)
    weight = tf.reshape(weight, tf.concat([tf.shape(weight), tf.ones([extra], tf.int32)], 0))
    return tf.reduce_sum(gathered * weight, axis=2)


def _span_means(states: tf.Tensor, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Mean state of the tokens of each match `[N, 2h]`."""
    tokens = tf.gather_nd(states, tf.stack([batch["span_row"], batch["span_token"]], 1))
    total = tf.math.unsorted_segment_sum(tokens, batch["span_at"], tf.shape(batch["match_at"])[0])
    return total / batch["match_length"][:, None]


def _span_edges(states: tf.Tensor, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """States of the tokens before and after each match, 0 where the utterance begins or ends `[N, 4h]`."""
    padded = tf.pad(states, [[0, 0], [1, 1], [0, 0]])
    row = batch["match_row"]
    before = tf.gather_nd(padded, tf.stack([row, batch["match_start"]], 1))
    after = tf.gather_nd(padded, tf.stack([row, batch["match_end"] + 1], 1))
    return tf.concat([before, after], axis=-1)


def _override(belief: tf.Tensor, cells: tf.Tensor) -> tf.Tensor:
    """Sets the slots whose cell is >= 0 to that cell."""
    forced = tf.one_hot(cells, tf.shape(belief)[-1])
    return tf.where(cells[..., None] >= 0, forced, belief)


def _anew(batch: Mapping[str, tf.Tensor], logits: tf.Tensor) -> Tuple[tf.Tensor, tf.Tensor]:
    """The paper's softmax anew in every turn; what others set stays in force until the best value changes."""
    belief = tf.nn.softmax(logits + (batch["cell_mask"] - 1.0) * 1e9)
    best = tf.argmax(belief, axis=-1, output_type=tf.int32)

    def step(previous: Tuple[tf.Tensor, ...], turn: Tuple[tf.Tensor, ...]) -> Tuple[tf.Tensor, ...]:
        _, held, best_before = previous
        best_now, override, late = turn
        held = tf.where(best_now == best_before, held, -1)
        now = tf.where(override >= 0, override, held)
        return now, tf.where(late >= 0, late, now), best_now

    turns = tuple(
        tf.transpose(x, [1, 0, 2]) for x in (best, batch["override"], batch["late_override"])
    )
    none = tf.fill(tf.shape(best[:, 0]), -1)
    held, _, _ = tf.scan(step, turns, (none, none, none))
    return belief, _override(belief, tf.transpose(held, [1, 0, 2]))


def as_tensors(batch: Batch) -> Dict[str, tf.Tensor]:
    """A batch as tensors."""
    return {name: tf.convert_to_tensor(array) for name, array in batch.items()}


__all__ = ["CELL_FEATURES", "EPSILON", "JointModel", "Outputs", "as_tensors", "initial_weights"]
