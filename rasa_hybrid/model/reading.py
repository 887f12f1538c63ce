"""The utterance encoder in NumPy, and what is read from an utterance alone: intent, entities, values of open slots.

It belongs to `acting`, which tracks the belief and decides. Any number of threads may use the same reader.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from rasa_hybrid.dialogue import Utterance
from rasa_hybrid.model.arithmetic import lstm_step, lstm_weights, softmax
from rasa_hybrid.model.batching import word_arrays
from rasa_hybrid.model.encoded import EncodedUtterance, Span
from rasa_hybrid.model.encoding import Encoder, goal_slot
from rasa_hybrid.model.vocabulary import UNKNOWN_WORD, spans_of_tags, split_entity_label

#: Utterances heard alone whose reading is remembered, and words whose part in it is.
_REMEMBERED, _REMEMBERED_WORDS = 64, 2000


class Reading(NamedTuple):
    """What the utterance encoder reads of distinct utterances.

    Args:
        rows: row of each, by its words.
        states: of their tokens `[U, 1 + tokens + 1, .]`, zeros at both ends.
        vectors: `U_k` `[U, .]`.
        slots: what each slot reads of them `[U, slots, .]`.
    """

    rows: Dict[Tuple[str, ...], int]
    states: np.ndarray
    vectors: np.ndarray
    slots: np.ndarray

    def tokens(self, utterance: EncodedUtterance) -> np.ndarray:
        """States of an utterance's tokens `[tokens, .]`."""
        return self.states[self.rows[utterance.words], 1 : 1 + len(utterance.words)]


@dataclass(frozen=True)
class Understanding:
    """What the utterance heads read from an utterance alone.

    Args:
        intents: intents with probabilities, best first.
        entities: (type, role, group, first character, one past the last character, probability).
    """

    intents: Tuple[Tuple[str, float], ...]
    entities: Tuple[Tuple[str, Optional[str], Optional[str], int, int, float], ...]


class UtteranceReader:
    """Reads utterances.

    Args:
        encoder: of the model.
        weights: parameters by name, float32.
    """

    def __init__(self, encoder: Encoder, weights: Mapping[str, np.ndarray]) -> None:
        self.encoder = encoder
        self.settings = encoder.settings
        self.weights = weights
        self._slots = len(encoder.ontology.slots)
        directions = [lstm_weights(weights, f"utterance_{way}") for way in ("forward", "backward")]
        #: Kernels, recurrent kernels and biases of both directions.
        self._lstms = [np.stack(parts) for parts in zip(*directions)]
        self._read_before: Dict[Tuple[str, ...], Reading] = {}
        self._words_before: Dict[str, np.ndarray] = {}
        if self.settings.candidates:
            self._marks = weights["token_slots"] @ self._lstms[0]

    def read(self, utterances: Sequence[EncodedUtterance]) -> Reading:
        """What the encoder reads of utterances; of a single one it is remembered, since several ask for it in a turn."""
        distinct = {utterance.words: utterance for utterance in utterances}
        if len(distinct) != 1:
            return self._read_anew(list(distinct.values()))
        [words] = distinct
        reading = self._read_before.get(words)
        if reading is None:
            reading = self._read_anew(list(distinct.values()))
            if len(self._read_before) >= _REMEMBERED:
                self._read_before.clear()
            self._read_before[words] = reading
        return reading

    def _read_anew(self, utterances: Sequence[EncodedUtterance]) -> Reading:
        """Longest first: a step of the LSTMs reads only what goes on so far."""
        settings, slots = self.settings, self._slots if self.settings.candidates else 1
        utterances = sorted(utterances, key=lambda u: -len(u.words))
        rows = {utterance.words: row for row, utterance in enumerate(utterances)}
        count, longest = len(utterances), max([1, *(len(u.words) for u in utterances[:1])])
        units = settings.utterance_lstm_size
        states = np.zeros((count, longest + 2, 2 * units), np.float32)
        vectors = np.zeros((count, 2 * units), np.float32)
        if not rows or not utterances[0].words:
            width = 2 * units if settings.candidates else 1
            return Reading(rows, states, vectors, np.zeros((count, slots, width), np.float32))
        words: Dict[str, int] = {}
        tokens = np.zeros((2, count, longest), np.int32)
        marks = np.zeros((2, count, longest, self._slots), np.float32)
        for u, utterance in enumerate(utterances):
            length = len(utterance.words)
            row = [words.setdefault(word, len(words)) for word in utterance.words]
            tokens[0, u, :length], tokens[1, u, :length] = row, row[::-1]
            for slot, _, start, end, coverage, _ in utterance.matches:
                said = marks[0, u, start:end, slot]
                np.maximum(said, coverage, out=said)
            marks[1, u, :length] = marks[0, u, :length][::-1]
        word_gates = self._word_gates(list(words))
        lengths = np.array([len(utterance.words) for utterance in utterances])
        inputs = np.stack([word_gates[way][tokens[way].T] for way in (0, 1)], axis=1)
        if settings.candidates:
            inputs += marks.transpose(2, 0, 1, 3) @ self._marks
        recurrent, places = self._lstms[1], np.arange(longest)
        h = c = np.zeros((2, count, units), np.float32)
        for t, going_on in enumerate((lengths > places[:, None]).sum(axis=1).tolist()):
            h, c = h[:, :going_on], c[:, :going_on]
            h, c = lstm_step(inputs[t, :, :going_on], recurrent, h, c)
            states[:going_on, 1 + t, :units], states[:going_on, 1 + t, units:] = h
        # The backward direction has read an utterance's last token first.
        within = places < lengths[:, None]
        order = np.where(within, lengths[:, None] - 1 - places, places)
        states[:, 1:-1, units:] = states[np.arange(count)[:, None], 1 + order, units:]
        vectors[:, :units] = states[np.arange(count), lengths, :units]
        vectors[:, units:] = states[:, 1, units:]
        if not settings.candidates:
            return Reading(rows, states, vectors, np.zeros((count, 1, 1), np.float32))
        inner = states[:, 1:-1]
        silent = ~within * np.float32(-1e9)
        scores = inner @ self.weights["belief/attention"].T + silent[:, :, None]
        read = softmax(scores.swapaxes(1, 2)) @ inner
        return Reading(rows, states, vectors, read)

    def _word_gates(self, words: Sequence[str]) -> np.ndarray:
        """What the gates of the utterance LSTMs read of words, `[2, words, 4 * units]`; remembered word by word."""
        before = self._words_before
        new = [word for word in words if word not in before]
        if new:
            if len(before) + len(new) > _REMEMBERED_WORDS:
                before = self._words_before = {}
                new = list(words)
            vectors = self._word_vectors(new)
            kernel, _, bias = self._lstms
            before.update(zip(new, (vectors @ kernel + bias).swapaxes(0, 1)))
        return np.stack([before[word] for word in words], axis=1)

    def _word_vectors(self, words: Sequence[str]) -> np.ndarray:
        """Embeddings of words, the mean of their character n-grams added `[words, e]`."""
        w, arrays = self.weights, word_arrays(self.encoder.vocabulary, ["", UNKNOWN_WORD, *words])
        vectors = w["words"][arrays["words"][2:]]
        if self.settings.subword_buckets and arrays["subwords"].shape[1]:
            grams = arrays["subwords"][2:]
            present = (grams > 0).astype(np.float32)[:, :, None]
            summed = (w["subwords"][grams] * present).sum(axis=1)
            vectors = vectors + summed / np.maximum(present.sum(axis=1), 1.0)
        return vectors

    def mean_vector(self, words: Sequence[str]) -> np.ndarray:
        """The mean embedding of what the system said `[e]`, 0 if there is nothing."""
        if not words:
            return np.zeros(self.settings.embedding_size, np.float32)
        return self._word_vectors(words).mean(axis=0)

    def understand(self, utterances: Sequence[Utterance]) -> List[Understanding]:
        """Intents and entities of utterances without a conversation."""
        encoded = [self.encoder.utterance(Utterance(u.text)) for u in utterances]
        reading = self.read(encoded)
        return [self._understood(reading, utterance) for utterance in encoded]

    def open_spans(self, users: Sequence[Optional[Utterance]]) -> List[List[Span]]:
        """For each utterance the spans that may be values of open slots, more than one where that is not clear."""
        spans: List[List[Span]] = [[] for _ in users]
        values = self.encoder.ontology.values
        tags = self.encoder.vocabulary.tags
        read = {label: goal_slot(label, values) for label in {name[2:] for name in tags.names[1:]}}
        opened = [(label, s) for label, s in sorted(read.items()) if s and values[s].kind == "open"]
        if not opened or not self.settings.candidates:
            return spans
        said = {
            i: self.encoder.utterance(user)
            for i, user in enumerate(users)
            if user is not None and user.text
        }
        reading = self.read(list(said.values()))
        kernel, bias = self.weights["tags/kernel"], self.weights["tags/bias"]
        for i, utterance in said.items():
            chances = softmax(reading.tokens(utterance) @ kernel + bias)
            for label, slot in opened:
                begins, goes_on = chances[:, tags[f"B-{label}"]], chances[:, tags[f"I-{label}"]]
                found = likely_spans(begins, goes_on)
                spans[i] += [Span(slot, start, end, p) for start, end, p in found]
        return spans

    def _understood(self, reading: Reading, utterance: EncodedUtterance) -> Understanding:
        w, vector = self.weights, reading.vectors[reading.rows[utterance.words]]
        names = self.encoder.vocabulary.intents.names
        chances = softmax(vector @ w["intent/kernel"] + w["intent/bias"]) if names else np.zeros(0)
        order = np.argsort(-chances, kind="stable")
        spans, confidences = self._tag_spans(reading.tokens(utterance))
        entities = []
        for (label, start, end), confidence in zip(spans, confidences):
            name, role, group = split_entity_label(label)
            first, last = utterance.tokens[start].start, utterance.tokens[end - 1].end
            entities.append((name, role, group, first, last, confidence))
        return Understanding(tuple((names[i], float(chances[i])) for i in order), tuple(entities))

    def _tag_spans(self, states: np.ndarray) -> Tuple[List[Tuple[str, int, int]], List[float]]:
        w = self.weights
        names = self.encoder.vocabulary.tags.names
        if len(names) == 1 or not len(states):
            return [], []
        chances = softmax(states @ w["tags/kernel"] + w["tags/bias"])
        best = chances.argmax(axis=-1)
        spans = spans_of_tags([names[i] for i in best])
        confidence = chances.max(axis=-1)
        return spans, [float(confidence[start:end].min()) for _, start, end in spans]


def likely_spans(
    begins: np.ndarray,
    goes_on: np.ndarray,
    least: float = 0.05,
    most: int = 3,
    longest: int = 10,
    joined: int = 2,
) -> List[Tuple[int, int, float]]:
    """The most probable spans of a label, tokens taken as independent, best first; then what two of them may be ends of.

    The words between two spans may be of one value with them though they look like others ("kite and the two drums").

    Args:
        begins: `[tokens]` probability of `B-`.
        goes_on: `[tokens]` probability of `I-`; one that continues nothing begins a span.
        least: probability of a span that is worth a candidate.
        most: spans of an utterance, of those that overlap.
        longest: tokens of a span.
        joined: spans from the beginning of one to the end of another, with the product of their probabilities.

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
    ends: Dict[Tuple[int, int], float] = {}
    for first, until, p in kept:
        for start, end, q in kept:
            if until <= start and end - first <= longest and p * q >= least:
                ends[first, end] = max(p * q, ends.get((first, end), 0.0))
    known = {(start, end) for start, end, _ in kept}
    whole = [(first, end, p) for (first, end), p in ends.items() if (first, end) not in known]
    return kept + sorted(whole, key=lambda s: (-s[2], s))[:joined]
