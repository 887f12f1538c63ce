"""From turns of a dialogue to what the network reads (`encoded`), one turn after the other.

The same encoder serves training (all turns of a dialogue) and acting (one turn at a time), so that both see the same.
"""

from __future__ import annotations

import random
import re
from functools import lru_cache
from typing import Container, Dict, List, Optional, Sequence, Set, Tuple

import numpy as np

from rasa_hybrid.dialogue import (
    DONTCARE,
    LISTEN,
    NONE,
    Dialogue,
    Override,
    ResultSummary,
    SystemAction,
    Turn,
    Utterance,
    goal_value,
    tokenize,
)
from rasa_hybrid.dialogue.memory import objects_that_stay
from rasa_hybrid.model.candidates import Match, Ontology
from rasa_hybrid.model.encoded import (
    CONFLICT,
    ENTITY,
    PART,
    SHARING,
    SPAN,
    SYSTEM,
    SYSTEM_BEFORE,
    UNLABELLED,
    USER_BEFORE,
    WHOLE,
    Decision,
    EncodedTurn,
    EncodedUtterance,
    MatchCell,
    Span,
    Tracked,
)
from rasa_hybrid.model.settings import Settings
from rasa_hybrid.model.vocabulary import (
    SUMMARY_SIZE,
    Vocabulary,
    entity_label,
    spans_of_tags,
    split_entity_label,
)

_MOST_TOKENS = 100
_POSSESSIVE = re.compile(r"\s*['’´`]\s*s$")
#: While learning, the chance that a labelled span comes with a probability below 1, as a tagger's would, and that there
#: is one more with wrong ends or in a wrong slot.
_UNSURE, _WRONG = 0.4, 0.15


class Encoder:
    """Turns of a dialogue as the network reads them.

    Args:
        settings: of the model.
        vocabulary: of the model.
        ontology: goal slots and values.
    """

    def __init__(self, settings: Settings, vocabulary: Vocabulary, ontology: Ontology) -> None:
        self.settings = settings
        self.vocabulary = vocabulary
        self.ontology = ontology
        self._utterance = lru_cache(maxsize=200_000)(self._encode_utterance)
        self._open = [s for s, values in ontology.values.items() if values.kind == "open"]

    def start(self) -> Tracked:
        """The state before the first turn."""
        values = [
            [NONE, DONTCARE, *(v for v in slot.closed if v not in (NONE, DONTCARE))]
            for slot in self.ontology.values.values()
        ]
        keys = [[self.ontology.key(slot, v) for v in row] for slot, row in enumerate(values)]
        return Tracked(values, [{key: i for i, key in enumerate(row)} for row in keys])

    def dialogues(
        self,
        dialogues: Sequence[Dialogue],
        spans: Optional[Sequence[Sequence[Sequence[Span]]]] = None,
    ) -> List[List[EncodedTurn]]:
        """All turns of many labelled dialogues; arguments as for one, by dialogue."""
        with objects_that_stay():
            return [
                self.dialogue(dialogue, None if spans is None else spans[i])
                for i, dialogue in enumerate(dialogues)
            ]

    def dialogue(
        self, dialogue: Dialogue, spans: Optional[Sequence[Sequence[Span]]] = None
    ) -> List[EncodedTurn]:
        """All turns of a labelled dialogue.

        Args:
            dialogue: with its labels.
            spans: of each turn what a tagger found for open slots; None: what the labels say, and now and then a
                mistake.
        """
        tracked = self.start()
        turns = []
        rng = random.Random(dialogue.id)
        tagged = any(turn.user is not None and turn.user.entities for turn in dialogue.turns)
        for i, turn in enumerate(dialogue.turns):
            found = self._labelled_spans(turn.user, rng) if spans is None else spans[i]
            encoded = self.observe(tracked, turn, True, found)
            user = turn.user
            if tagged and user is not None and not user.entities:
                # Where some utterances have labelled entities, the others have none.
                encoded.utterances[:1] = [
                    u if u.tags else self._utterance(u.text, None, (), outside=True)
                    for u in encoded.utterances[:1]
                ]
            last = i == len(dialogue.turns) - 1
            encoded.decisions = self._decisions(
                tracked, turn, dialogue.weight, dialogue.complete or not last
            )
            encoded.late_overrides = self.close(tracked, turn)
            encoded.weight = dialogue.weight
            turns.append(encoded)
        return turns

    def utterance(self, utterance: Utterance) -> EncodedUtterance:
        """A user's utterance with its labels."""
        return self._utterance(utterance.text, utterance.intent, utterance.entities)

    def observe(
        self,
        tracked: Tracked,
        turn: Turn,
        labelled: bool = False,
        spans: Sequence[Span] = (),
    ) -> EncodedTurn:
        """Reads what is known at the start of a turn; `tracked` learns the values that were mentioned.

        Args:
            tracked: state of the dialogue, changed in place.
            turn: its user's utterance, overrides before the first decision, and summary are read.
            labelled: whether to encode the belief's labels.
            spans: what a tagger found in the utterance, for open slots.
        """
        utterances, weights = self._hypotheses(turn.user)
        acts, slot_acts, cell_acts = self._system_acts(tracked)
        features: Dict[Tuple[int, int, int], float] = {}
        for slot, cell in tracked.user_said:
            features[slot, cell, USER_BEFORE] = 1.0
        for slot, cell in tracked.system_said:
            features[slot, cell, SYSTEM_BEFORE] = 1.0
        for slot, cell, _ in cell_acts:
            features[slot, cell, SYSTEM] = 1.0
        matches: List[MatchCell] = []
        said: Set[Tuple[int, int]] = set()
        named: Set[Tuple[int, int]] = set()
        if self.settings.candidates:
            for number, (utterance, weight) in enumerate(zip(utterances, weights)):
                found = utterance.matches
                if spans and turn.user is not None and utterance.text == turn.user.text:
                    found, spans = self._with_open_spans(utterance, spans), ()
                for i, (slot, value, start, end, coverage, sharing) in enumerate(found):
                    cell = self._cell(tracked, slot, value)
                    matches.append(MatchCell(slot, cell, number, start, end))
                    said.add((slot, cell))
                    which = slot, cell, WHOLE if coverage == 1.0 else PART
                    features[which] = max(weight * coverage, features.get(which, 0.0))
                    which = slot, cell, SHARING
                    features[which] = max(sharing, features.get(which, 0.0))
                    if i >= len(utterance.matches):
                        which = slot, cell, SPAN
                        features[which] = max(sharing, features.get(which, 0.0))
                    for other in utterance.matches:
                        if other.slot != slot and other.start < end and start < other.end:
                            features[slot, cell, CONFLICT] = 1.0
            for slot, value in self._entity_values(turn.user):
                cell = self._cell(tracked, slot, value)
                named.add((slot, cell))
                features[slot, cell, ENTITY] = 1.0
        overrides = [
            pair
            for override in by_rank(turn.overrides)
            if override.after == 0
            for pair in self._override(tracked, override)
        ]
        if tracked.rejected:
            tracked.rejected.difference_update(said, named, overrides)
        labels = (
            self._labels(tracked, turn) if labelled else [UNLABELLED] * len(self.ontology.slots)
        )
        tracked.user_said |= said
        return EncodedTurn(
            utterances=utterances,
            utterance_weights=weights,
            features=self._features(turn.user),
            acts=acts,
            last_actions=[self.vocabulary.actions[a.name] for a in tracked.last_actions],
            slot_acts=slot_acts,
            cell_acts=cell_acts,
            matches=matches,
            cell_features=features,
            cells=[len(values) for values in tracked.values],
            rejected=sorted(tracked.rejected),
            overrides=overrides,
            late_overrides=[],
            labels=labels,
            summary=summary_features(turn.summary),
            decisions=[],
            system_words=tuple(
                word for said in self._without_acts(tracked.last_actions) for word in said.words
            ),
        )

    def decision(
        self,
        tracked: Tracked,
        taken: Sequence[SystemAction],
        context: Sequence[str],
        overrides: Sequence[Override] = (),
        action: int = -1,
        weight: float = 0.0,
    ) -> Decision:
        """What the policy reads beside belief and state for its next decision in a turn, and the label if there is one."""
        known = self.vocabulary.actions
        return Decision(
            tuple([known[done.name] for done in taken]),
            self._context(context),
            action,
            weight,
            tuple([pair for o in by_rank(overrides) for pair in self._override(tracked, o)]),
        )

    def close(self, tracked: Tracked, turn: Turn) -> List[Tuple[int, int]]:
        """Ends a turn: remembers the system's actions and what others set or rejected after the first of them.

        Returns:
            (slot, cell) that were overridden during the turn, which the belief carries on.
        """
        late = []
        for override in by_rank(turn.overrides):
            if override.after:
                late.extend(self._override(tracked, override))
        tracked.last_actions = turn.actions
        return late

    def _encode_utterance(
        self, text: str, intent: Optional[str], entities: Tuple, outside: bool = False
    ) -> EncodedUtterance:
        """An utterance; its words are tagged if there are labels, or `outside` of all entities on request."""
        tokens = tokenize(text, self.ontology.language, self.ontology.splitter)[:_MOST_TOKENS]
        intents = self.vocabulary.intents
        tags: Tuple[int, ...] = ()
        located = all(entity.start >= 0 for entity in entities)
        if located and (entities or intent or outside):
            names = ["O"] * len(tokens)
            for entity in entities:
                inside = [
                    i for i, t in enumerate(tokens) if entity.start < t.end and t.start < entity.end
                ]
                label = entity_label(entity.name, entity.role, entity.group)
                for i in inside:
                    names[i] = f"{'B' if i == inside[0] else 'I'}-{label}"
            tags = tuple(self.vocabulary.tags[name] for name in names)
        return EncodedUtterance(
            text=text,
            tokens=tokens,
            words=tuple(token.text for token in tokens),
            matches=tuple(self.ontology.matches(tokens)),
            intent=intents[intent] if intent and intent in intents else -1,
            tags=tags,
        )

    def _hypotheses(self, user: Optional[Utterance]) -> Tuple[List[EncodedUtterance], List[float]]:
        if user is None:
            return [], []
        if not user.hypotheses or self.settings.n_best_hypotheses == 1:
            return ([self.utterance(user)], [1.0]) if user.text else ([], [])
        best = user.hypotheses[: self.settings.n_best_hypotheses]
        total = sum(h.confidence for h in best) or float(len(best))
        weights = [
            h.confidence / total if sum(x.confidence for x in best) else 1.0 / len(best)
            for h in best
        ]
        encoded = [
            self.utterance(user) if h.text == user.text else self._utterance(h.text, None, ())
            for h in best
        ]
        return encoded, weights

    def _features(self, user: Optional[Utterance]) -> List[int]:
        if user is None or not self.settings.context:
            return []
        names = [f"intent:{user.intent}"] if user.intent else []
        if user.entities:
            labels = {entity_label(e.name, e.role, e.group) for e in user.entities}
            names += [f"entity:{label}" for label in sorted(labels)]
        return [index for index in (self.vocabulary.features[name] for name in names) if index]

    def _context(self, context: Sequence[str]) -> Tuple[int, ...]:
        if not context or not self.settings.context:
            return ()
        known = self.vocabulary.features
        return tuple(known[name] for name in context if known[name])

    def _system_acts(
        self, tracked: Tracked
    ) -> Tuple[List[Tuple[int, int, int]], List[Tuple[int, int]], List[Tuple[int, int, int]]]:
        """Acts of the system's last turn: all of them, by goal slot, by goal slot and value."""
        vocabulary, acts, slot_acts, cell_acts = self.vocabulary, [], [], []
        for action in tracked.last_actions:
            for act in action.acts:
                name = vocabulary.acts[act.act]
                acts.append(
                    (
                        name,
                        vocabulary.act_slots[act.slot or ""],
                        vocabulary.act_values[act.value or ""],
                    )
                )
                slot = self.ontology.position(act.slot) if act.slot else -1
                if slot < 0:
                    continue
                slot_acts.append((slot, name))
                if act.value is not None and self.settings.candidates:
                    cell = self._cell(tracked, slot, act.value)
                    cell_acts.append((slot, cell, name))
                    tracked.system_said.add((slot, cell))
        for said in self._without_acts(tracked.last_actions):
            for match in said.matches if self.settings.candidates else ():
                if match.coverage == 1.0:
                    cell = self._cell(tracked, match.slot, match.value)
                    cell_acts.append((match.slot, cell, 0))
                    tracked.system_said.add((match.slot, cell))
        return acts, slot_acts, cell_acts

    def _without_acts(self, actions: Sequence[SystemAction]) -> List[EncodedUtterance]:
        """The words of system actions that no acts describe."""
        if not self.settings.system_words:
            return []
        return [self._utterance(a.text, None, ()) for a in actions if a.text and not a.acts]

    def _entity_values(self, user: Optional[Utterance]) -> List[Tuple[int, str]]:
        """Goal slots that have the name of an extracted entity (or of its role), with its value."""
        found = []
        for entity in user.entities if user is not None and self.settings.context else ():
            slot = self.ontology.position(entity.role or "")
            slot = slot if slot >= 0 else self.ontology.position(entity.name)
            if slot >= 0:
                found.append((slot, self.ontology.canonical(slot, entity.value)))
        return found

    def _with_open_spans(
        self, utterance: EncodedUtterance, spans: Sequence[Span]
    ) -> Tuple[Match, ...]:
        """The matches of an utterance, then for open slots the spans that a tagger or the labels name."""
        matches = list(utterance.matches)
        for slot_name, start, end, probability in spans:
            slot = self.ontology.position(slot_name)
            if slot_name not in self._open:
                continue
            if any(
                m.slot == slot and m.coverage == 1.0 and m.start <= start and end <= m.end
                for m in matches
            ):
                continue
            tokens = utterance.tokens
            value = utterance.text[tokens[start].start : tokens[end - 1].end]
            value = _POSSESSIVE.sub("", value)
            found = self.ontology.canonical(slot, value)
            matches.append(Match(slot, found, start, end, 1.0, probability))
        return tuple(matches)

    def _labelled_spans(self, user: Optional[Utterance], rng: random.Random) -> List[Span]:
        """The open slots' spans by the labels, with mistakes such as a tagger makes."""
        names = self._open
        if not names or user is None or not user.text:
            return []
        utterance = self.utterance(user)
        count = len(utterance.tokens)
        tags = [self.vocabulary.tags.names[tag] for tag in utterance.tags]
        spans: List[Span] = []
        for label, start, end in spans_of_tags(tags):
            slot = goal_slot(label, names)
            if slot is None:
                continue
            probability = 1.0 - rng.random() ** 2 if rng.random() < _UNSURE else 1.0
            spans.append(Span(slot, start, end, probability))
            if rng.random() > probability or rng.random() < _WRONG:
                first = max(0, start + rng.choice((-2, -1, 0, 0, 1)))
                last = min(count, end + rng.choice((-1, 0, 0, 1, 2)))
                if first < last and (first, last) != (start, end):
                    spans.append(Span(slot, first, last, rng.random()))
            if rng.random() < _WRONG:
                spans.append(Span(rng.choice(names), start, end, rng.random() ** 2))
        if count and rng.random() < 2 * _WRONG:
            start = rng.randrange(count)
            end = min(count, start + rng.choice((1, 1, 2, 3)))
            spans.append(Span(rng.choice(names), start, end, rng.random() ** 2))
        return spans

    def _override(self, tracked: Tracked, override: Override) -> List[Tuple[int, int]]:
        slot = self.ontology.position(override.slot)
        if slot < 0:
            return []
        if override.rejects is not None:
            refused = self._cell(tracked, slot, override.rejects)
            tracked.rejected.add((slot, refused))
        return [(slot, self._cell(tracked, slot, override.value))]

    def _cell(self, tracked: Tracked, slot: int, value: str) -> int:
        return tracked.cell(
            slot, self.ontology.canonical(slot, value), self.ontology.key(slot, value)
        )

    def _labels(self, tracked: Tracked, turn: Turn) -> List[int]:
        if turn.goal is None:
            return [UNLABELLED] * len(self.ontology.slots)
        labels = []
        for slot, name in enumerate(self.ontology.slots):
            key = self.ontology.key(slot, goal_value(turn.goal, name))
            cell = tracked.positions[slot].get(key, UNLABELLED)
            # What nobody mentioned and no list holds, or was rejected, can't be predicted: no loss for it.
            labels.append(UNLABELLED if (slot, cell) in tracked.rejected else cell)
        return labels

    def _decisions(
        self, tracked: Tracked, turn: Turn, weight: float, complete: bool
    ) -> List[Decision]:
        actions, known = turn.actions[: self.settings.actions_per_turn], self.vocabulary.actions
        right = turn.right_actions()
        decisions = []
        for i, action in enumerate(actions):
            overrides = [o for o in turn.overrides if 0 < o.after <= i]
            name = right[i] if i < len(right) else None
            # An action that the model has no name for can't be chosen: nothing to learn from it.
            learnt = weight if action.learn and name in known else 0.0
            label = known[name or action.name]
            decisions.append(
                self.decision(tracked, actions[:i], action.context, overrides, label, learnt)
            )
        if complete and self.settings.actions_per_turn > 1 and len(actions) == len(turn.actions):
            name = right[len(actions)] if len(actions) < len(right) else None
            # That a system keeps silent before anybody spoke tells nothing, unless an expert says what was right.
            telling = turn.user is not None or actions or turn.expert
            learnt = weight if telling and name in known else 0.0
            overrides = [o for o in turn.overrides if o.after]
            label = known[name or LISTEN]
            decisions.append(
                self.decision(tracked, actions, turn.closing_context, overrides, label, learnt)
            )
        return decisions


def goal_slot(label: str, slots: Container[str]) -> Optional[str]:
    """The goal slot that an entity's role or else its type has the name of; None if there is none."""
    name, role, _ = split_entity_label(label)
    return next((slot for slot in (role, name) if slot and slot in slots), None)


def by_rank(overrides: Sequence[Override]) -> List[Override]:
    """Overrides of a turn in the order in which they take effect: what a teacher set is not undone by others."""
    return sorted(overrides, key=lambda override: override.source == "teacher")


def summary_features(summary: ResultSummary) -> np.ndarray:
    """`E_k`: unknown; none, one, 2-3, 4-10, more matches; some left, none left to offer. float32 `[SUMMARY_SIZE]`."""
    return _summary_features(summary.matches, summary.remaining)


@lru_cache(maxsize=65536)
def _summary_features(matches: Optional[int], remaining: Optional[int]) -> np.ndarray:
    features = np.zeros(SUMMARY_SIZE, np.float32)
    if matches is None:
        features[0] = 1.0
    else:
        bounds = (0, 1, 3, 10)
        features[1 + sum(matches > bound for bound in bounds)] = 1.0
        features[6 if (matches if remaining is None else remaining) > 0 else 7] = 1.0
    features.setflags(write=False)
    return features
