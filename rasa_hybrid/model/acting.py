"""The joint model in NumPy, as it acts: the equations of `network`, one turn of many conversations at a time.

Acting needs no gradients, so it needs no TensorFlow graph: starting is instant, a turn takes a fraction of the time,
and any number of threads may use the same model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from rasa_hybrid.dialogue import Belief, Override, ResultSummary, SystemAction, Turn, Utterance
from rasa_hybrid.model.batching import word_arrays
from rasa_hybrid.model.encoding import (
    CELL_FEATURES,
    DONTCARE_CELL,
    NONE_CELL,
    Decision,
    EncodedTurn,
    EncodedUtterance,
    Encoder,
    MatchCell,
    Span,
    Tracked,
    goal_slot,
    summary_features,
)
from rasa_hybrid.model.parameters import BELIEF_FEATURES, BELIEF_FLOOR, TEMPERATURE
from rasa_hybrid.model.vocabulary import UNKNOWN_WORD, spans_of_tags, split_entity_label


@dataclass
class Conversation:
    """What the model remembers between the turns of one conversation.

    Args:
        tracked: values mentioned so far.
        hidden, cell: state of the dialogue LSTM.
        carried: belief that is carried on `[slots, cells]`; cells that are newer had 0.
        held, best: of each slot the cell that others set and the model's best one (`liu2018`).
    """

    tracked: Tracked
    hidden: np.ndarray
    cell: np.ndarray
    carried: np.ndarray
    held: np.ndarray
    best: np.ndarray
    observed: Optional[Observed] = None

    def copy(self) -> Conversation:
        """An independent copy, for a cache or a rewind."""
        return Conversation(
            self.tracked.copy(),
            self.hidden,
            self.cell,
            self.carried,
            self.held,
            self.best,
            self.observed,
        )


#: Utterances heard alone whose reading is remembered, and words whose part in it is.
_REMEMBERED, _REMEMBERED_WORDS = 64, 2000


class _Reading(NamedTuple):
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
        self._read_before: Dict[Tuple[str, ...], _Reading] = {}
        self._words_before: Dict[str, np.ndarray] = {}
        closed = [2 + len(values.closed) for values in encoder.ontology.values.values()]
        #: `[slots, cells]` which cells have a score of their own from the closed list.
        self._closed = np.arange(max(closed, default=2)) < np.array(closed).reshape(-1, 1)
        if self.settings.candidates:
            self._marks = self.weights["token_slots"] @ self._readers[0]
            parts = (self.settings.dialogue_lstm_size, 2 * self.settings.utterance_lstm_size)
            ends = np.cumsum([*parts, self.settings.act_embedding_size])
            self._context = np.split(self.weights["belief/context_kernel"], ends)
            self._names = self.weights["belief/slots"] @ self._context.pop()
        #: `[slots]` temperatures of the beliefs that are shown, None if they were not calibrated.
        self.temperature = self.weights.get(TEMPERATURE)

    def start(self) -> Conversation:
        """A conversation before its first turn."""
        tracked = self.encoder.start()
        size = self.settings.dialogue_lstm_size
        carried = np.zeros((self._slots, _most_cells(tracked)), np.float32)
        carried[:, NONE_CELL] = 1.0
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
        reading = self._read(encoded)
        return [self._understood(reading, utterance) for utterance in encoded]

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
        reading = self._read([utterance for turn in encoded for utterance in turn.utterances])
        hidden, cell = self._dialogue_step(encoded, conversations, reading)
        in_force, held, best = self._belief_step(encoded, conversations, reading, hidden)
        features = self._belief_features(in_force)
        slots = self.encoder.ontology.slots
        beliefs = []
        for i, conversation in enumerate(conversations):
            conversation.hidden, conversation.cell = hidden[i], cell[i]
            conversation.held, conversation.best = held[i], best[i]
            values = conversation.tracked.values
            belief_now = in_force[i, :, : max(encoded[i].cells, default=2)]
            shown = belief_now if self.temperature is None else self._cooled(belief_now)
            belief = Belief({s: _distribution(values[m], shown[m]) for m, s in enumerate(slots)})
            conversation.observed = Observed(encoded[i], hidden[i], belief_now, belief, features[i])
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
            before = observed.in_force
            carried = np.zeros((self._slots, _most_cells(conversation.tracked)), np.float32)
            carried[:, : before.shape[1]] = before
            conversation.held = conversation.held.copy()
            for slot, cell in late:
                carried[slot] = 0.0
                carried[slot, cell] = 1.0
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
        said = {
            i: self.encoder.utterance(user)
            for i, user in enumerate(users)
            if user is not None and user.text
        }
        reading = self._read(list(said.values()))
        kernel, bias = self.weights["tags/kernel"], self.weights["tags/bias"]
        for i, utterance in said.items():
            chances = _softmax(reading.tokens(utterance) @ kernel + bias)
            for label, slot in opened:
                begins, goes_on = chances[:, tags[f"B-{label}"]], chances[:, tags[f"I-{label}"]]
                found = likely_spans(begins, goes_on)
                spans[i] += [Span(slot, start, end, p) for start, end, p in found]
        return spans

    def _understood(self, reading: _Reading, utterance: EncodedUtterance) -> Understanding:
        w, vector = self.weights, reading.vectors[reading.rows[utterance.words]]
        names = self.encoder.vocabulary.intents.names
        chances = _softmax(vector @ w["intent/kernel"] + w["intent/bias"]) if names else np.zeros(0)
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
        chances = _softmax(states @ w["tags/kernel"] + w["tags/bias"])
        best = chances.argmax(axis=-1)
        spans = spans_of_tags([names[i] for i in best])
        confidence = chances.max(axis=-1)
        return spans, [float(confidence[start:end].min()) for _, start, end in spans]

    def _read(self, utterances: Sequence[EncodedUtterance]) -> _Reading:
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

    def _read_anew(self, utterances: Sequence[EncodedUtterance]) -> _Reading:
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
            return _Reading(rows, states, vectors, np.zeros((count, slots, width), np.float32))
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
        recurrent = self._readers[1]
        h = c = np.zeros((2, count, units), np.float32)
        for t in range(longest):
            going_on = int((lengths > t).sum())
            h, c = h[:, :going_on], c[:, :going_on]
            h, c = _lstm_step(inputs[t, :, :going_on], recurrent, h, c)
            states[:going_on, 1 + t, :units] = h[0]
            states[np.arange(going_on), lengths[:going_on] - t, units:] = h[1]
        vectors[:, :units] = states[np.arange(count), lengths, :units]
        vectors[:, units:] = states[:, 1, units:]
        if not settings.candidates:
            return _Reading(rows, states, vectors, np.zeros((count, 1, 1), np.float32))
        inner = states[:, 1:-1]
        silent = (np.arange(longest) >= lengths[:, None]) * np.float32(-1e9)
        scores = inner @ self.weights["belief/attention"].T + silent[:, :, None]
        read = _softmax(scores.swapaxes(1, 2)) @ inner
        return _Reading(rows, states, vectors, read)

    def _word_gates(self, words: Sequence[str]) -> np.ndarray:
        """What the gates of the utterance LSTMs read of words, `[2, words, 4 * units]`; remembered word by word."""
        before = self._words_before
        new = [word for word in words if word not in before]
        if new:
            if len(before) + len(new) > _REMEMBERED_WORDS:
                before = self._words_before = {}
                new = list(words)
            vectors = self._word_vectors(new)
            kernel, _, bias = self._readers
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

    def _mean_vector(self, words: Sequence[str]) -> np.ndarray:
        """The mean embedding of what the system said `[e]`, 0 if there is nothing."""
        if not words:
            return np.zeros(self.settings.embedding_size, np.float32)
        return self._word_vectors(words).mean(axis=0)

    def _dialogue_step(
        self,
        turns: Sequence[EncodedTurn],
        conversations: Sequence[Conversation],
        reading: _Reading,
    ) -> Tuple[np.ndarray, np.ndarray]:
        w = self.weights
        acts = [turn.acts for turn in turns]
        inputs = [
            _heard(reading.vectors, reading, turns),
            _bags(w["acts"], [[act for act, _, _ in row] for row in acts]),
            _bags(w["act_slots"], [[slot for _, slot, _ in row] for row in acts]),
        ]
        if not self.settings.candidates:
            inputs.append(_bags(w["act_values"], [[value for _, _, value in row] for row in acts]))
        if any(turn.system_words for turn in turns):
            acted = np.concatenate(inputs[1:], axis=-1)
            said = np.stack([self._mean_vector(turn.system_words) for turn in turns])
            inputs[1:] = [acted + said @ w["system_words/kernel"]]
        if self.settings.context:
            inputs.append(_bags(w["actions"], [turn.last_actions for turn in turns]))
            inputs.append(_bags(w["features"], [turn.features for turn in turns]))
        kernel, recurrent, bias = self._dialogue
        gates = np.concatenate(inputs, axis=-1) @ kernel + bias
        hidden, cell = np.stack([c.hidden for c in conversations]), [c.cell for c in conversations]
        return _lstm_step(gates, recurrent, hidden, np.stack(cell))

    def _belief_step(
        self,
        turns: Sequence[EncodedTurn],
        conversations: Sequence[Conversation],
        reading: _Reading,
        state: np.ndarray,
    ) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The belief in force `[B, M, C]`; held and best cells `[B, M]`."""
        w = self.weights
        count, slots = len(turns), self._slots
        cells = max((cell for turn in turns for cell in turn.cells), default=2)
        nothing = np.full((count, slots), -1, np.int32)
        if not slots:
            return np.zeros((count, 0, cells), np.float32), nothing, nothing
        present = np.arange(cells) < np.array([turn.cells for turn in turns])[:, :, None]
        override = nothing.copy()
        for b, turn in enumerate(turns):
            for slot, cell in turn.rejected:
                present[b, slot, cell] = False
            for slot, cell in turn.overrides:
                override[b, slot] = cell
        absent = ~present * np.float32(-1e9)
        if not self.settings.candidates:
            hidden = (state @ w["belief/slot_hidden_kernel"]).swapaxes(0, 1)
            hidden = np.maximum(hidden + w["belief/slot_hidden_bias"], 0.0)
            belief = _softmax(self._closed_logits(hidden, cells) + absent)
            best = belief.argmax(axis=-1).astype(np.int32)
            held = np.stack([c.held for c in conversations])
            held = np.where(best == np.stack([c.best for c in conversations]), held, -1)
            held = np.where(override >= 0, override, held)
            return _override(belief, held), held, best
        of_state, of_read, of_request = self._context
        requested = np.zeros((count, slots, len(w["acts"])), np.float32)
        features = np.zeros((count, slots, cells, CELL_FEATURES), np.float32)
        carried = np.zeros((count, slots, cells), np.float32)
        for b, turn in enumerate(turns):
            for slot, act in turn.slot_acts:
                requested[b, slot, act] += 1.0
            for place, value in turn.cell_features.items():
                features[(b, *place)] = value
            before = conversations[b].carried
            carried[b, :, : before.shape[1]] = before
        hidden = (state @ of_state + w["belief/context_bias"])[:, None] + self._names
        hidden += _heard(reading.slots, reading, turns) @ of_read
        hidden += (requested @ w["acts"]) @ of_request
        settled = np.maximum(hidden, 0.0)
        scores = features @ w["belief/feature_kernel"]
        scores += w["belief/kinds"][np.minimum(np.arange(cells), 2)] + hidden[:, :, None]
        scores += carried[..., None] * w["belief/previous_kernel"]
        for b, turn in enumerate(turns):
            for slot, cell, act in turn.cell_acts:
                scores[b, slot, cell] += w["belief/acts"][act]
        for (b, match), evidence in self._evidence(turns, reading):
            scores[b, match.slot, match.cell] += evidence
        logits = np.maximum(scores, 0.0) @ w["belief/score_kernel"]
        logits += self._closed_logits(settled, cells) + absent
        keep = settled @ w["belief/keep_kernel"] + w["belief/keep_bias"]
        keep = keep + carried[..., [NONE_CELL, DONTCARE_CELL]] @ w["belief/keep_previous"]
        chances = _softmax(np.concatenate([keep[..., None], logits], axis=-1))
        belief = chances[..., :1] * (carried * present) + chances[..., 1:]
        belief /= belief.sum(axis=-1, keepdims=True)
        return _override(belief, override), nothing, nothing

    def _evidence(
        self, turns: Sequence[EncodedTurn], reading: _Reading
    ) -> Iterator[Tuple[Tuple[int, MatchCell], np.ndarray]]:
        """For each place where a value was said, what its words and those beside them say of it."""
        matches = [(b, match) for b, turn in enumerate(turns) for match in turn.matches]
        if not matches:
            return iter(())
        said = [turns[b].utterances[match.hypothesis] for b, match in matches]
        rows = np.array([reading.rows[utterance.words] for utterance in said])
        starts = np.array([match.start for _, match in matches])
        ends = np.array([match.end for _, match in matches])
        weights = [turns[b].utterance_weights[match.hypothesis] for b, match in matches]
        lengths = ends - starts
        firsts = np.cumsum(lengths) - lengths
        within = np.arange(lengths.sum()) - np.repeat(firsts, lengths)
        tokens = reading.states[np.repeat(rows, lengths), 1 + np.repeat(starts, lengths) + within]
        means = np.add.reduceat(tokens, firsts, axis=0) / lengths[:, None].astype(np.float32)
        edges = np.concatenate(
            [reading.states[rows, starts], reading.states[rows, ends + 1]], axis=-1
        )
        w = self.weights
        evidence = means @ w["belief/match_kernel"] + edges @ w["belief/edges_kernel"]
        return zip(matches, evidence * np.array(weights, np.float32)[:, None])

    def _cooled(self, belief: np.ndarray) -> np.ndarray:
        """Beliefs `[M, C]` at the temperatures of their slots; state and policy go on with those before."""
        assert self.temperature is not None
        cooled = belief ** (1.0 / self.temperature[:, None])
        return cooled / cooled.sum(axis=-1, keepdims=True)

    def _closed_logits(self, hidden: np.ndarray, cells: int) -> np.ndarray:
        """Scores `[B, M, C]` of the cells of closed lists."""
        w = self.weights
        listed = (hidden.swapaxes(0, 1) @ w["belief/closed_kernel"]).swapaxes(0, 1)
        listed += w["belief/closed_bias"]
        outside = np.float32(0.0 if self.settings.candidates else -1e9)
        logits = np.full((*hidden.shape[:2], cells), outside, np.float32)
        width = min(cells, listed.shape[-1], self._closed.shape[1])
        logits[..., :width] = np.where(self._closed[:, :width], listed[..., :width], outside)
        return logits

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


def _gates(w: Mapping[str, np.ndarray], name: str) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kernel, recurrent kernel and bias of an LSTM; of sigmoid gates the half, as sigmoid(x) = (tanh(x / 2) + 1) / 2."""
    kernel, recurrent, bias = (
        w[f"{name}/{part}"] for part in ("kernel", "recurrent_kernel", "bias")
    )
    halved = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], np.float32), len(bias) // 4)
    return kernel * halved, recurrent * halved, (bias * halved)[None]


def _lstm_step(
    inputs: np.ndarray, recurrent: np.ndarray, h: np.ndarray, c: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """The next states `[..., batch, units]` of LSTMs, of several at once or of one.

    Args:
        inputs: what their gates i, f, g, o read, `[..., batch, 4 * units]`; sigmoid gates as in `_gates`.
        recurrent: `[..., units, 4 * units]`.
        h: outputs so far, `[..., batch, units]`.
        c: states so far, the same.
    """
    units = recurrent.shape[-2]
    gates = np.tanh(inputs + h @ recurrent)
    g = gates[..., 2 * units : 3 * units].copy()
    gates *= 0.5
    gates += 0.5
    c = gates[..., units : 2 * units] * c + gates[..., :units] * g
    return gates[..., 3 * units :] * np.tanh(c), c


def _most_cells(tracked: Tracked) -> int:
    return max(map(len, tracked.values), default=2)


def _bags(table: np.ndarray, bags: Sequence[Sequence[int]]) -> np.ndarray:
    """Sums of a table's rows, `[bags, row size]`."""
    counts = np.zeros((len(bags), len(table)), np.float32)
    for row, bag in zip(counts, bags):
        for i in bag:
            row[i] += 1.0
    return counts @ table


def _heard(values: np.ndarray, reading: _Reading, turns: Sequence[EncodedTurn]) -> np.ndarray:
    """Values of utterances `[U, ...]` for each turn, hypotheses weighted by confidence: `[B, ...]`."""
    heard = np.zeros((len(turns), *values.shape[1:]), np.float32)
    for row, turn in zip(heard, turns):
        for utterance, weight in zip(turn.utterances, turn.utterance_weights):
            row += weight * values[reading.rows[utterance.words]]
    return heard


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


def _softmax(x: np.ndarray) -> np.ndarray:
    exponents = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)
