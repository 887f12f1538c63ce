"""The joint model in NumPy, as it acts: the equations of `network`, one turn of many conversations at a time.

Acting needs no gradients, so it needs no TensorFlow graph: starting is instant, a turn takes a fraction of the time,
and any number of threads may use the same model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from rasa_hybrid.dialogue import Belief, Override, ResultSummary, SystemAction, Turn, Utterance
from rasa_hybrid.model.batching import Batch, collate
from rasa_hybrid.model.encoding import (
    DONTCARE_CELL,
    NONE_CELL,
    Decision,
    EncodedTurn,
    EncodedUtterance,
    Encoder,
    Span,
    Tracked,
    goal_slot,
    summary_features,
)
from rasa_hybrid.model.parameters import BELIEF_FEATURES, BELIEF_FLOOR, TEMPERATURE
from rasa_hybrid.model.vocabulary import spans_of_tags, split_entity_label


@dataclass
class Conversation:
    """What the model remembers between the turns of one conversation.

    Args:
        tracked: values mentioned so far.
        hidden, cell: state of the dialogue LSTM.
        carried: of each slot the belief that is carried on, by cell.
        held, best: of each slot the cell that others set and the model's best one (`liu2018`).
    """

    tracked: Tracked
    hidden: np.ndarray
    cell: np.ndarray
    carried: List[np.ndarray]
    held: np.ndarray
    best: np.ndarray
    observed: Optional[Observed] = None

    def copy(self) -> Conversation:
        """An independent copy, for a cache or a rewind."""
        return Conversation(
            self.tracked.copy(),
            self.hidden,
            self.cell,
            list(self.carried),
            self.held,
            self.best,
            self.observed,
        )


#: Single utterances whose encoding is remembered.
_REMEMBERED = 64


@dataclass
class Observed:
    """A turn that was heard but not yet answered."""

    turn: EncodedTurn
    state: np.ndarray
    in_force: np.ndarray
    belief: Belief
    features: np.ndarray


@dataclass(frozen=True)
class Understanding:
    """What the utterance heads read from an utterance alone.

    Args:
        intents: intents with probabilities, best first.
        entities: (type, role, group, first character, one past the last character, probability).
    """

    intents: Tuple[Tuple[str, float], ...]
    entities: Tuple[Tuple[str, Optional[str], Optional[str], int, int, float], ...]


class ActingModel:
    """Tracks beliefs and decides, for conversations in lockstep or for a single one.

    Args:
        encoder: of the model.
        weights: parameters by name; with `parameters.TEMPERATURE` the beliefs that `observe` returns are calibrated.

    The calling protocol for each turn:

        conversation = model.start()
        [belief] = model.observe([conversation], [Turn(user=Utterance("friday please"))])
        probabilities = model.decide([conversation], [summary], [taken], [context])   # again after each action
        model.close([conversation], [Turn(..., actions=taken)])
    """

    def __init__(self, encoder: Encoder, weights: Mapping[str, np.ndarray]) -> None:
        self.encoder = encoder
        self.settings = encoder.settings
        self.weights = {name: np.asarray(value, np.float32) for name, value in weights.items()}
        self._slots = len(encoder.ontology.slots)
        directions = [_gates(self.weights, f"utterance_{way}") for way in ("forward", "backward")]
        self._readers = [np.stack(parts) for parts in zip(*directions)]
        self._dialogue = _gates(self.weights, "dialogue")
        self._read_before: Dict[Tuple[bytes, ...], Tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        #: `[slots]` temperatures of the beliefs that are shown, None if they were not calibrated.
        self.temperature = self.weights.get(TEMPERATURE)

    def start(self) -> Conversation:
        """A conversation before its first turn."""
        tracked = self.encoder.start()
        size = self.settings.dialogue_lstm_size
        carried = [_one_hot(NONE_CELL, len(values)) for values in tracked.values]
        nothing = np.full(self._slots, -1, np.int32)
        return Conversation(
            tracked,
            np.zeros(size, np.float32),
            np.zeros(size, np.float32),
            carried,
            nothing,
            nothing.copy(),
        )

    def understand(self, utterances: Sequence[Utterance]) -> List[Understanding]:
        """Intents and entities of utterances without a conversation."""
        encoded = [self.encoder.utterance(Utterance(u.text)) for u in utterances]
        batch = collate(self.encoder, [], encoded)
        states, vectors, _ = self._encode_utterances(batch)
        rows = _rows(encoded)
        return [
            self._read(states[row], vectors[row], utterance)
            for row, utterance in zip(rows, encoded)
        ]

    def observe(self, conversations: Sequence[Conversation], turns: Sequence[Turn]) -> List[Belief]:
        """Hears the user's side of a turn in each conversation and returns the beliefs in force.

        Args:
            conversations: changed in place.
            turns: user's utterance and overrides before the first decision are read.
        """
        spans = self.open_spans([turn.user for turn in turns])
        encoded = [
            self.encoder.observe(c.tracked, turn, spans=found)
            for c, turn, found in zip(conversations, turns, spans)
        ]
        batch = collate(self.encoder, [[turn] for turn in encoded])
        states, vectors, utterance_slots = self._encode_utterances(batch)
        hidden, cell = self._dialogue_step(batch, vectors, conversations)
        _, in_force, held, best = self._belief_step(
            batch, hidden, states, utterance_slots, conversations
        )
        features = self._belief_features(in_force)
        slots = self.encoder.ontology.slots
        beliefs = []
        for i, conversation in enumerate(conversations):
            conversation.hidden, conversation.cell = hidden[i], cell[i]
            conversation.held, conversation.best = held[i], best[i]
            values = conversation.tracked.values
            shown = in_force[i] if self.temperature is None else self._cooled(in_force[i])
            belief = Belief({s: _distribution(values[m], shown[m]) for m, s in enumerate(slots)})
            conversation.observed = Observed(
                encoded[i], hidden[i], in_force[i], belief, features[i]
            )
            beliefs.append(belief)
        return beliefs

    def decide(
        self,
        conversations: Sequence[Conversation],
        summaries: Sequence[ResultSummary],
        taken: Sequence[Sequence[SystemAction]],
        contexts: Sequence[Sequence[str]],
        overrides: Optional[Sequence[Sequence[Override]]] = None,
    ) -> np.ndarray:
        """Probabilities of the next action `[conversations, actions]` (0 is `action_listen`).

        Args:
            conversations: after `observe`.
            summaries: answers of the knowledge base in this turn.
            taken: actions taken in this turn so far.
            contexts: features of the state now.
            overrides: what others set since the turn began.
        """
        overrides = overrides if overrides is not None else [()] * len(conversations)
        turns = []
        for conversation, summary, done, context, others in zip(
            conversations, summaries, taken, contexts, overrides
        ):
            assert conversation.observed is not None, "observe() comes before decide()"
            decision = self.encoder.decision(conversation.tracked, done, context, others)
            turns.append((conversation.observed, summary_features(summary), decision))
        probabilities = _softmax(self._policy(turns))
        if self.settings.actions_per_turn == 1:
            for row, done in zip(probabilities, taken):
                if done:
                    row[:] = 0.0
                    row[0] = 1.0
        return probabilities

    def close(self, conversations: Sequence[Conversation], turns: Sequence[Turn]) -> None:
        """Ends a turn: remembers the actions that were taken and what others set meanwhile."""
        for conversation, turn in zip(conversations, turns):
            observed = conversation.observed
            assert observed is not None, "observe() comes before close()"
            late = self.encoder.close(conversation.tracked, turn)
            carried = []
            for slot, values in enumerate(conversation.tracked.values):
                row = np.zeros(len(values), np.float32)
                known = observed.in_force[slot][: len(values)]
                row[: len(known)] = known
                carried.append(row)
            conversation.held = conversation.held.copy()
            for slot, cell in late:
                carried[slot] = _one_hot(cell, len(conversation.tracked.values[slot]))
                conversation.held[slot] = cell
            conversation.carried = carried
            conversation.observed = None

    def open_spans(self, users: Sequence[Optional[Utterance]]) -> List[List[Span]]:
        """For each utterance the spans that may be values of open slots, more than one where that is not clear."""
        spans: List[List[Span]] = [[] for _ in users]
        values = self.encoder.ontology.values
        tags = self.encoder.vocabulary.tags
        read = {label: goal_slot(label, values) for label in {name[2:] for name in tags.names[1:]}}
        opened = [(label, s) for label, s in sorted(read.items()) if s and values[s].kind == "open"]
        if not opened or not self.settings.candidates:
            return spans
        said = [(i, user) for i, user in enumerate(users) if user is not None and user.text]
        spoken = [i for i, _ in said]
        utterances = [self.encoder.utterance(user) for _, user in said]
        states, _, _ = self._encode_utterances(collate(self.encoder, [], utterances))
        kernel, bias = self.weights["tags/kernel"], self.weights["tags/bias"]
        for i, row, utterance in zip(spoken, _rows(utterances), utterances):
            chances = _softmax(states[row][: len(utterance.tokens)] @ kernel + bias)
            for label, slot in opened:
                begins, goes_on = chances[:, tags[f"B-{label}"]], chances[:, tags[f"I-{label}"]]
                found = likely_spans(begins, goes_on)
                spans[i] += [Span(slot, start, end, p) for start, end, p in found]
        return spans

    def _read(
        self, states: np.ndarray, vector: np.ndarray, utterance: EncodedUtterance
    ) -> Understanding:
        w = self.weights
        names = self.encoder.vocabulary.intents.names
        chances = _softmax(vector @ w["intent/kernel"] + w["intent/bias"]) if names else np.zeros(0)
        order = np.argsort(-chances, kind="stable")
        spans, confidences = self._tag_spans(states, utterance)
        entities = []
        for (label, start, end), confidence in zip(spans, confidences):
            name, role, group = split_entity_label(label)
            first, last = utterance.tokens[start].start, utterance.tokens[end - 1].end
            entities.append((name, role, group, first, last, confidence))
        return Understanding(tuple((names[i], float(chances[i])) for i in order), tuple(entities))

    def _tag_spans(
        self, states: np.ndarray, utterance: EncodedUtterance
    ) -> Tuple[List[Tuple[str, int, int]], List[float]]:
        w, count = self.weights, len(utterance.tokens)
        names = self.encoder.vocabulary.tags.names
        if len(names) == 1 or not count:
            return [], []
        chances = _softmax(states[:count] @ w["tags/kernel"] + w["tags/bias"])
        best = chances.argmax(axis=-1)
        spans = spans_of_tags([names[i] for i in best])
        confidence = chances.max(axis=-1)
        return spans, [float(confidence[start:end].min()) for _, start, end in spans]

    def _encode_utterances(self, batch: Batch) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the encoder reads of utterances; of a single one it is remembered, since several ask for it in a turn."""
        if len(batch["tokens"]) != 1:
            return self._read_utterances(batch)
        names = ("words", "subwords", "tokens", "token_slots")
        key = tuple(batch[name].tobytes() for name in names)
        read = self._read_before.get(key)
        if read is None:
            read = self._read_utterances(batch)
            if len(self._read_before) >= _REMEMBERED:
                self._read_before.clear()
            self._read_before[key] = read
        return read

    def _read_utterances(self, batch: Batch) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        w, settings = self.weights, self.settings
        lengths = batch["lengths"]
        longest = int(lengths.max(initial=1))  # not what `collate` pads to
        tokens = batch["tokens"][:, :longest]
        count = len(tokens)
        units = 2 * settings.utterance_lstm_size
        if not count:
            slots = self._slots if settings.candidates else 1
            return (
                np.zeros((0, longest, units), np.float32),
                np.zeros((0, units), np.float32),
                np.zeros((0, slots, units if settings.candidates else 1), np.float32),
            )
        vectors = self._word_vectors(batch["words"], batch["subwords"])
        mask = (np.arange(longest)[None] < lengths[:, None]).astype(np.float32)[:, :, None]
        kernel, recurrent, bias = self._readers
        gates = (vectors @ kernel)[:, tokens] + bias[:, None]
        if settings.candidates:
            gates += batch["token_slots"][:, :longest] @ (w["token_slots"] @ kernel)[:, None]
        gates[1] = _reverse(gates[1], lengths)
        (forward, backward), _, _ = _lstm(gates, recurrent)
        backward = _reverse(backward, lengths)
        states = np.concatenate([forward, backward], axis=-1) * mask
        last = np.maximum(lengths - 1, 0)
        encoded = np.concatenate([forward[np.arange(count), last], backward[:, 0]], axis=-1)
        encoded *= (lengths > 0)[:, None]
        if not settings.candidates:
            return states, encoded, np.zeros((count, 1, 1), np.float32)
        scores = (
            np.einsum("ulh,mh->uml", states, w["belief/attention"])
            + (mask[:, None, :, 0] - 1.0) * 1e9
        )
        return states, encoded, _softmax(scores) @ states

    def _word_vectors(self, words: np.ndarray, subwords: np.ndarray) -> np.ndarray:
        w = self.weights
        vectors = w["words"][words]
        if self.settings.subword_buckets and subwords.shape[1]:
            present = (subwords > 0).astype(np.float32)[:, :, None]
            grams = (w["subwords"][subwords] * present).sum(axis=1)
            vectors = vectors + grams / np.maximum(present.sum(axis=1), 1.0)
        return vectors

    def _dialogue_step(
        self, batch: Batch, vectors: np.ndarray, conversations: Sequence[Conversation]
    ) -> Tuple[np.ndarray, np.ndarray]:
        w, count = self.weights, len(conversations)
        parts = [w["acts"][batch["act_id"]], w["act_slots"][batch["act_slot"]]]
        if not self.settings.candidates:
            parts.append(w["act_values"][batch["act_value"]])
        inputs = [
            _gather_weighted(vectors, batch),
            _bag(np.concatenate(parts, axis=-1), batch["act_at"], count),
        ]
        if self.settings.system_words and len(batch["said_at"]):
            words = self._word_vectors(batch["system_words"], batch["system_subwords"])
            said = words[batch["said_id"]] * batch["said_weight"][:, None]
            inputs[1] = inputs[1] + _bag(said, batch["said_at"], count) @ w["system_words/kernel"]
        if self.settings.context:
            inputs.append(_bag(w["actions"][batch["last_id"]], batch["last_at"], count))
            inputs.append(_bag(w["features"][batch["feature_id"]], batch["feature_at"], count))
        x = np.concatenate(inputs, axis=-1)
        hidden = np.stack([c.hidden for c in conversations])
        cell = np.stack([c.cell for c in conversations])
        kernel, recurrent, bias = self._dialogue
        _, hidden, cell = _lstm((x @ kernel + bias)[:, None], recurrent, hidden, cell)
        return hidden, cell

    def _belief_step(
        self,
        batch: Batch,
        state: np.ndarray,
        token_states: np.ndarray,
        utterance_slots: np.ndarray,
        conversations: Sequence[Conversation],
    ) -> Tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The model's belief and the one in force `[B, M, C]`; held and best cells `[B, M]`."""
        w = self.weights
        mask = batch["cell_mask"][:, 0]
        count, slots, cells = mask.shape
        override = batch["override"][:, 0]
        nothing = np.full((count, slots), -1, np.int32)
        if not slots:
            return mask, mask, nothing, nothing
        if not self.settings.candidates:
            hidden = (
                np.einsum("bs,msh->bmh", state, w["belief/slot_hidden_kernel"])
                + w["belief/slot_hidden_bias"]
            )
            belief = _softmax(
                self._closed_logits(batch, np.maximum(hidden, 0.0)) + (mask - 1.0) * 1e9
            )
            best = belief.argmax(axis=-1).astype(np.int32)
            held = np.stack([c.held for c in conversations])
            held = np.where(best == np.stack([c.best for c in conversations]), held, -1)
            held = np.where(override >= 0, override, held)
            return belief, _override(belief, held), held, best
        read = _gather_weighted(utterance_slots, batch)
        requested = _bag(
            w["acts"][batch["slot_act_id"]], batch["slot_act_at"], count * slots
        ).reshape(count, slots, -1)
        names = np.broadcast_to(w["belief/slots"], (count, *w["belief/slots"].shape))
        repeated = np.repeat(state[:, None], slots, axis=1)
        context = np.concatenate([repeated, read, requested, names], axis=-1)
        hidden = context @ w["belief/context_kernel"] + w["belief/context_bias"]
        settled = np.maximum(hidden, 0.0)
        evidence = w["belief/acts"][batch["cell_act_id"]]
        at = batch["cell_act_at"]
        if len(batch["match_at"]):
            spans = _span_means(token_states, batch) @ w["belief/match_kernel"]
            spans += _span_edges(token_states, batch) @ w["belief/edges_kernel"]
            evidence = np.concatenate([spans * batch["match_weight"][:, None], evidence])
            at = np.concatenate([batch["match_at"], at])
        scores = _bag(evidence, at, count * slots * cells).reshape(count, slots, cells, -1)
        scores = scores + batch["cell_features"][:, 0] @ w["belief/feature_kernel"]
        scores += w["belief/kinds"][np.minimum(np.arange(cells), 2)] + hidden[:, :, None]
        carried = np.zeros((count, slots, cells), np.float32)
        for i, conversation in enumerate(conversations):
            for m, row in enumerate(conversation.carried):
                carried[i, m, : len(row)] = row
        scores = np.maximum(scores + carried[..., None] * w["belief/previous_kernel"], 0.0)
        logits = (
            scores @ w["belief/score_kernel"]
            + self._closed_logits(batch, settled)
            + (mask - 1.0) * 1e9
        )
        keep = settled @ w["belief/keep_kernel"] + w["belief/keep_bias"]
        keep = keep + carried[..., [NONE_CELL, DONTCARE_CELL]] @ w["belief/keep_previous"]
        chances = _softmax(np.concatenate([keep[..., None], logits], axis=-1))
        belief = chances[..., :1] * (carried * mask) + chances[..., 1:]
        belief /= belief.sum(axis=-1, keepdims=True)
        return belief, _override(belief, override), nothing, nothing

    def _cooled(self, belief: np.ndarray) -> np.ndarray:
        """Beliefs `[M, C]` at the temperatures of their slots; state and policy go on with those before."""
        assert self.temperature is not None
        cooled = belief ** (1.0 / self.temperature[:, None])
        return cooled / cooled.sum(axis=-1, keepdims=True)

    def _closed_logits(self, batch: Batch, hidden: np.ndarray) -> np.ndarray:
        w = self.weights
        listed = (
            np.einsum("bmh,mhv->bmv", hidden, w["belief/closed_kernel"]) + w["belief/closed_bias"]
        )
        outside = 0.0 if self.settings.candidates else -1e9
        padded = np.concatenate(
            [np.full((*listed.shape[:2], 1), outside, np.float32), listed], axis=-1
        )
        return np.take_along_axis(padded, batch["closed"], axis=-1)

    def _policy(self, turns: Sequence[Tuple[Observed, np.ndarray, Decision]]) -> np.ndarray:
        w, settings = self.weights, self.settings
        features = [
            self._belief_features(_overridden(observed.in_force, decision.overrides)[None])[0]
            if decision.overrides
            else observed.features
            for observed, _, decision in turns
        ]
        inputs = [
            np.stack([observed.state for observed, _, _ in turns]),
            np.stack(features),
            np.stack([summary for _, summary, _ in turns]),
        ]
        if settings.actions_per_turn > 1:
            done = np.zeros((len(turns), 2, settings.act_embedding_size), np.float32)
            for i, (_, _, decision) in enumerate(turns):
                if decision.taken:
                    done[i, 0] = w["actions"][list(decision.taken)].sum(axis=0)
                    if decision.taken[-1]:
                        done[i, 1] = w["actions"][decision.taken[-1]]
            inputs += [done[:, 0], done[:, 1]]
        hidden = np.concatenate(inputs, axis=-1) @ w["policy/kernel"] + w["policy/bias"]
        if settings.context:
            for i, (observed, _, decision) in enumerate(turns):
                seen = [*decision.context, *observed.turn.features]
                if seen:
                    hidden[i] += w["policy/features"][seen].sum(axis=0)
        return np.maximum(hidden, 0.0) @ w["policy/output_kernel"] + w["policy/output_bias"]

    def _belief_features(self, belief: np.ndarray) -> np.ndarray:
        """v_k `[B, .]` of beliefs `[B, M, C]`."""
        logs = np.log(np.maximum(belief, BELIEF_FLOOR))
        count = len(belief)
        if not self.settings.candidates:
            width = self.weights["belief/closed_bias"].shape[1]
            padded = np.zeros((count, self._slots, width), np.float32)
            known = min(width, logs.shape[-1])
            padded[..., :known] = 1.0 - logs[..., :known] / np.log(BELIEF_FLOOR)
            return padded.reshape(count, -1)
        others = np.zeros((*belief.shape[:2], belief.shape[2]), np.float32)
        others[..., : belief.shape[2] - 2] = belief[..., 2:]
        best = -np.partition(-others, 1, axis=-1)[..., :2]
        features = np.empty((count, self._slots, BELIEF_FEATURES), np.float32)
        features[..., 0], features[..., 1] = logs[..., NONE_CELL], logs[..., DONTCARE_CELL]
        features[..., 2:4] = np.log(np.maximum(best, BELIEF_FLOOR))
        features[..., :4] /= -np.log(BELIEF_FLOOR)
        features[..., 4] = -(belief * logs).sum(axis=-1)
        features[..., 5] = np.maximum(others.sum(axis=-1) - best.sum(axis=-1), 0.0)
        return features.reshape(count, -1)


def likely_spans(
    begins: np.ndarray, goes_on: np.ndarray, least: float = 0.05, most: int = 3, longest: int = 10
) -> List[Tuple[int, int, float]]:
    """The most probable spans of a label, tokens taken as independent, best first.

    Args:
        begins: `[tokens]` probability of `B-`.
        goes_on: `[tokens]` probability of `I-`; one that continues nothing begins a span.
        least: probability of a span that is worth a candidate.
        most: spans of an utterance, of those that overlap.
        longest: tokens of a span.

    Returns:
        (first token, one past the last token, probability).
    """
    count = len(begins)
    before = np.concatenate([[0.0], begins[:-1] + goes_on[:-1]])
    starts = begins + goes_on * np.maximum(1.0 - before, 0.0)
    found: List[Tuple[int, int, float]] = []
    for start in np.flatnonzero(starts >= least):
        inside = float(starts[start])
        for end in range(start + 1, min(count, start + longest) + 1):
            over = 1.0 - float(goes_on[end]) if end < count else 1.0
            if inside * over >= least:
                found.append((int(start), end, inside * over))
            if end == count:
                break
            inside *= float(goes_on[end])
            if inside < least:
                break
    kept: List[Tuple[int, int, float]] = []
    for span in sorted(found, key=lambda s: -s[2]):
        if sum(other[0] < span[1] and span[0] < other[1] for other in kept) < most:
            kept.append(span)
    return kept


def _rows(utterances: Sequence[EncodedUtterance]) -> List[int]:
    """The rows that `collate` gives to utterances."""
    rows: Dict[Tuple, int] = {}
    return [rows.setdefault((u.words, u.intent, u.tags), len(rows)) for u in utterances]


def _gates(w: Mapping[str, np.ndarray], name: str) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kernel, recurrent kernel and bias of an LSTM; of sigmoid gates the half, as sigmoid(x) = (tanh(x / 2) + 1) / 2."""
    kernel, recurrent, bias = (
        w[f"{name}/{part}"] for part in ("kernel", "recurrent_kernel", "bias")
    )
    halved = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], np.float32), len(bias) // 4)
    return kernel * halved, recurrent * halved, (bias * halved)[None]


def _lstm(
    inputs: np.ndarray,
    recurrent: np.ndarray,
    hidden: Optional[np.ndarray] = None,
    cell: Optional[np.ndarray] = None,
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outputs `[..., batch, time, units]` and last states of LSTMs, or of several at once.

    Args:
        inputs: what their gates i, f, g, o read, `[..., batch, time, 4 * units]`; sigmoid gates as in `_gates`.
        recurrent: `[..., units, 4 * units]`.
        hidden: states `[..., batch, units]` to go on from, None: zeros.
        cell: the same.
    """
    units = recurrent.shape[-2]
    h = np.zeros((*inputs.shape[:-2], units), np.float32) if hidden is None else hidden
    c = np.zeros_like(h) if cell is None else cell
    outputs = np.empty((*inputs.shape[:-1], units), np.float32)
    for t in range(inputs.shape[-2]):
        gates = np.tanh(inputs[..., t, :] + h @ recurrent)
        sigmoids = 0.5 * gates + 0.5
        g = gates[..., 2 * units : 3 * units]
        c = sigmoids[..., units : 2 * units] * c + sigmoids[..., :units] * g
        h = sigmoids[..., 3 * units :] * np.tanh(c)
        outputs[..., t, :] = h
    return outputs, h, c


def _reverse(x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The first `lengths` steps in reverse order, the rest as it is."""
    steps = np.arange(x.shape[1])[None]
    index = np.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    return np.take_along_axis(x, index[:, :, None], axis=1)


def _bag(rows: np.ndarray, at: np.ndarray, count: int) -> np.ndarray:
    """Sums rows by position: `[count, row size]`."""
    summed = np.zeros((count, rows.shape[-1]), np.float32)
    if len(at):
        order = np.argsort(at, kind="stable")
        places, starts = np.unique(at[order], return_index=True)
        summed[places] = np.add.reduceat(rows[order], starts, axis=0)
    return summed


def _gather_weighted(rows: np.ndarray, batch: Batch) -> np.ndarray:
    """Rows of the hypotheses of the (single) turn, weighted by confidence: `[B, ...]`."""
    padded = np.concatenate([np.zeros((1, *rows.shape[1:]), np.float32), rows])
    gathered = padded[batch["utterance"][:, 0]]
    weight = batch["utterance_weight"][:, 0].reshape(*gathered.shape[:2], *([1] * (rows.ndim - 1)))
    return (gathered * weight).sum(axis=1)


def _span_means(states: np.ndarray, batch: Batch) -> np.ndarray:
    tokens = states[batch["span_row"], batch["span_token"]]
    return _bag(tokens, batch["span_at"], len(batch["match_at"])) / batch["match_length"][:, None]


def _span_edges(states: np.ndarray, batch: Batch) -> np.ndarray:
    padded = np.pad(states, ((0, 0), (1, 1), (0, 0)))
    row = batch["match_row"]
    return np.concatenate(
        [padded[row, batch["match_start"]], padded[row, batch["match_end"] + 1]], axis=-1
    )


def _override(belief: np.ndarray, cells: np.ndarray) -> np.ndarray:
    forced = (np.arange(belief.shape[-1]) == cells[..., None]).astype(np.float32)
    return np.where(cells[..., None] >= 0, forced, belief)


def _overridden(belief: np.ndarray, overrides: Sequence[Tuple[int, int]]) -> np.ndarray:
    """A belief `[M, C]` with what others set since, in cells that may be new."""
    cells = np.full(len(belief), -1, np.int32)
    for slot, cell in overrides:
        cells[slot] = cell
    width = max(belief.shape[1], int(cells.max()) + 1)
    return _override(np.pad(belief, ((0, 0), (0, width - belief.shape[1]))), cells)


def _distribution(
    values: Sequence[str], probabilities: np.ndarray
) -> Tuple[Tuple[str, float], ...]:
    pairs = zip(values, probabilities.tolist())
    return tuple(sorted(pairs, key=_probability, reverse=True))


def _probability(pair: Tuple[str, float]) -> float:
    return pair[1]


def _one_hot(index: int, size: int) -> np.ndarray:
    row = np.zeros(size, np.float32)
    row[index] = 1.0
    return row


def _softmax(x: np.ndarray) -> np.ndarray:
    exponents = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)
