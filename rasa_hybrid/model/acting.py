"""The joint model in NumPy, as it acts: the equations of `network`, one turn of many conversations at a time.

Acting needs no gradients, so it needs no TensorFlow graph: starting is instant, a turn takes a fraction of the time,
and any number of threads may use the same model. Utterances are read by `reading`; here are state, belief and policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from rasa_hybrid.dialogue import Belief, Override, ResultSummary, SystemAction, Turn, Utterance
from rasa_hybrid.model.arithmetic import (
    bag_sums,
    lstm_step,
    lstm_weights,
    on_one_thread,
    product,
    softmax,
)
from rasa_hybrid.model.encoded import (
    CELL_FEATURES,
    DONTCARE_CELL,
    NONE_CELL,
    Decision,
    EncodedTurn,
    MatchCell,
    Span,
    Tracked,
)
from rasa_hybrid.model.encoding import Encoder, summary_features
from rasa_hybrid.model.parameters import BELIEF_FEATURES, BELIEF_FLOOR, TEMPERATURE
from rasa_hybrid.model.reading import Reading, Understanding, UtteranceReader


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


@dataclass
class Observed:
    """A turn that was heard but not yet answered."""

    turn: EncodedTurn
    state: np.ndarray
    in_force: np.ndarray
    belief: Belief
    features: np.ndarray


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
        self._reader = UtteranceReader(encoder, self.weights)
        self._dialogue = lstm_weights(self.weights, "dialogue")
        closed = [2 + len(values.closed) for values in encoder.ontology.values.values()]
        #: `[slots, cells]` which cells have a score of their own from the closed list.
        self._closed = np.arange(max(closed, default=2)) < np.array(closed).reshape(-1, 1)
        if self.settings.candidates:
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

    @on_one_thread
    def understand(self, utterances: Sequence[Utterance]) -> List[Understanding]:
        """Intents and entities of utterances without a conversation."""
        return self._reader.understand(utterances)

    @on_one_thread
    def open_spans(self, users: Sequence[Optional[Utterance]]) -> List[List[Span]]:
        """For each utterance the spans that may be values of open slots, more than one where that is not clear."""
        return self._reader.open_spans(users)

    @on_one_thread
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
        reading = self._reader.read(
            [utterance for turn in encoded for utterance in turn.utterances]
        )
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

    @on_one_thread
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
        probabilities = softmax(self._policy(turns))
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

    def _dialogue_step(
        self,
        turns: Sequence[EncodedTurn],
        conversations: Sequence[Conversation],
        reading: Reading,
    ) -> Tuple[np.ndarray, np.ndarray]:
        w = self.weights
        acts = [turn.acts for turn in turns]
        inputs = [
            _heard(reading.vectors, reading, turns),
            bag_sums(w["acts"], [[act for act, _, _ in row] for row in acts]),
            bag_sums(w["act_slots"], [[slot for _, slot, _ in row] for row in acts]),
        ]
        if not self.settings.candidates:
            inputs.append(
                bag_sums(w["act_values"], [[value for _, _, value in row] for row in acts])
            )
        if any(turn.system_words for turn in turns):
            acted = np.concatenate(inputs[1:], axis=-1)
            said = np.stack([self._reader.mean_vector(turn.system_words) for turn in turns])
            inputs[1:] = [acted + said @ w["system_words/kernel"]]
        if self.settings.context:
            inputs.append(bag_sums(w["actions"], [turn.last_actions for turn in turns]))
            inputs.append(bag_sums(w["features"], [turn.features for turn in turns]))
        kernel, recurrent, bias = self._dialogue
        gates = product(np.concatenate(inputs, axis=-1), kernel) + bias
        hidden, cell = np.stack([c.hidden for c in conversations]), [c.cell for c in conversations]
        return lstm_step(gates, recurrent, hidden, np.stack(cell))

    def _belief_step(
        self,
        turns: Sequence[EncodedTurn],
        conversations: Sequence[Conversation],
        reading: Reading,
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
            belief = softmax(self._closed_logits(hidden, cells) + absent)
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
        chances = softmax(np.concatenate([keep[..., None], logits], axis=-1))
        belief = chances[..., :1] * (carried * present) + chances[..., 1:]
        belief /= belief.sum(axis=-1, keepdims=True)
        return _override(belief, override), nothing, nothing

    def _evidence(
        self, turns: Sequence[EncodedTurn], reading: Reading
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
        hidden = product(np.concatenate(inputs, axis=-1), w["policy/kernel"]) + w["policy/bias"]
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


def _most_cells(tracked: Tracked) -> int:
    return max(map(len, tracked.values), default=2)


def _heard(values: np.ndarray, reading: Reading, turns: Sequence[EncodedTurn]) -> np.ndarray:
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
