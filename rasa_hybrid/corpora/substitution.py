"""Training dialogues about values that nobody has heard of.

A corpus shows a few films again and again, and a model learns their names instead of how people talk about films. In a
copy of a dialogue each value of an open-ended slot gives way to another one everywhere: in the user's words, in the
system's acts and in the goal. The new values come from a catalogue or are made up.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

import numpy as np

from rasa_hybrid.dialogue import (
    DONTCARE,
    NONE,
    Dialogue,
    DialogueAct,
    Entity,
    SystemAction,
    Turn,
    Utterance,
    normalise,
)

#: A slot is open-ended if at least this share of its labels in other dialogues has a value that training lacks.
LEAST_NEW = 0.02
#: Chance that the values of a slot that is not open-ended are replaced in a copy.
_KNOWN_REPLACED = 0.5
#: Share of the made-up values that keep the frame of a real one ("the ... on the ..."), and of made-up words in them.
_FRAMED, _NEW_WORDS = 0.5, 0.6
_FRAME = frozenset("a an the of in on at and or with by from my your".split())
#: Share of the made-up values that are like titles, whatever the known ones are like: longer, with words that people say
#: elsewhere, too ("The Lake Where Nobody Goes"), with marks and numbers.
_TITLES, _LONGEST_TITLE = 0.5, 8
#: Words of titles that are said elsewhere, too, and their share: of the first and inner words at most, as some titles have
#: many of them and some none, and of the last ones. Half of the inner ones are any that users of this corpus say.
_JOINING = (
    *"a an the of in on at and or with by from for to into no not my your his her our you me it one two all".split(),
    *"this that who what where when before after i is are be don't can't i'm it's".split(),
)
_JOINED, _JOINED_AT_END = 0.9, 0.08
#: What may follow a word inside of a title, and its chance; the chance that a number comes first.
_MARKS, _MARKED = ("'s", " ' s", ":", " :", " &", " -", ","), 0.1
_NUMBERED = 0.08
_END = "$"
#: Words that were said at most so often outside of values may be words of made-up values.
_RARE = 2


def open_ended(
    known: Iterable[Dialogue],
    others: Iterable[Dialogue],
    least: float = LEAST_NEW,
    language: str = "en",
) -> List[str]:
    """The goal slots that have values in `others` which `known` lacks, in at least a share of `least` of their labels."""
    values = {slot: set(found) for slot, found in _labelled(known, language).items()}
    slots = []
    for slot, found in sorted(_labelled(others, language).items()):
        new = sum(count for v, count in found.items() if v not in values.get(slot, ()))
        if new >= least * sum(found.values()):
            slots.append(slot)
    return slots


def _labelled(dialogues: Iterable[Dialogue], language: str) -> Dict[str, Counter]:
    """How many labels of each slot have a value."""
    values: Dict[str, Counter] = defaultdict(Counter)
    for dialogue in dialogues:
        for turn in dialogue.turns:
            for slot, value in (turn.goal or {}).items():
                if value not in (NONE, DONTCARE):
                    values[slot][normalise(value, language)] += 1
    return values


class ValueSubstitution:
    """Replaces values by others: in open-ended slots always, by new ones; in the others now and then, by known ones.

    Args:
        dialogues: training dialogues with entities; their words are what new values are made of.
        unlisted: the open-ended slots.
        catalogue: slot to values to choose from, instead of making them up.
        language: of the normalisation.
    """

    def __init__(
        self,
        dialogues: Sequence[Dialogue],
        unlisted: Sequence[str],
        catalogue: Optional[Mapping[str, Sequence[str]]] = None,
        language: str = "en",
    ) -> None:
        self._language = language
        labelled = _labelled(dialogues, language)
        self._known = {slot: sorted(values) for slot, values in labelled.items() if values}
        self._unlisted = frozenset(unlisted)
        self._catalogue = {
            slot: list(values) for slot, values in (catalogue or {}).items() if values
        }
        inside = {word for values in self._known.values() for v in values for word in v.split()}
        outside: Counter = Counter()
        for dialogue in dialogues:
            for turn in dialogue.turns:
                if turn.user is not None:
                    outside.update(_around(turn.user, language))
        # What people say around values is no part of them: "please" after a film is not its last word.
        words = inside | {word for word, count in outside.items() if count <= _RARE}
        self._words = sorted(word for word in words if word.isalpha()) or ["x"]
        self._said = sorted(word for word in outside if word.isalpha()) or self._words
        self._letters = _following(self._words)

    def substitute(self, dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
        """A copy of the dialogue about other values; a value that nobody says in full stays as it is."""
        mentioned = self._mentioned(dialogue)
        replaced = {
            slot
            for slot in sorted({slot for slot, _ in mentioned})
            if slot in self._unlisted or rng.random() < _KNOWN_REPLACED
        }
        new = {
            (slot, value): self._another(slot, rng)
            for slot, value in sorted(mentioned)
            if slot in replaced
        }
        if not new:
            return dialogue
        return replace(
            dialogue,
            turns=tuple(self._turn(turn, new) for turn in dialogue.turns),
            goal=None if dialogue.goal is None else self._goal(dialogue.goal, new),
        )

    def _mentioned(self, dialogue: Dialogue) -> Set[Tuple[str, str]]:
        """The values that can be replaced: entities and acts name them, and no goal has them unsaid."""
        said: Set[Tuple[str, str]] = set()
        for turn in dialogue.turns:
            for entity in turn.user.entities if turn.user is not None else ():
                if entity.start >= 0 and turn.user is not None:
                    words = turn.user.text[entity.start : entity.end]
                    if self._normal(words) == self._normal(entity.value):
                        said.add((entity.name, self._normal(entity.value)))
            for action in turn.actions:
                said |= {(a.slot, self._normal(a.value)) for a in action.acts if a.slot and a.value}
        return {(slot, value) for slot, value in said if slot in self._known and value != DONTCARE}

    def _turn(self, turn: Turn, new: Mapping[Tuple[str, str], str]) -> Turn:
        return replace(
            turn,
            user=None if turn.user is None else self._utterance(turn.user, new),
            goal=None if turn.goal is None else self._goal(turn.goal, new),
            actions=tuple(self._action(action, new) for action in turn.actions),
        )

    def _utterance(self, user: Utterance, new: Mapping[Tuple[str, str], str]) -> Utterance:
        text, entities, shift, reached = user.text, [], 0, 0
        for entity in sorted(user.entities, key=lambda e: e.start):
            value = new.get((entity.name, self._normal(entity.value)))
            start, end = entity.start, entity.end
            if value is None or not reached <= start < end:
                entities.append(
                    replace(entity, start=start + shift, end=end + shift) if start >= 0 else entity
                )
                continue
            text = text[: start + shift] + value + text[end + shift :]
            entities.append(Entity(entity.name, value, start + shift, start + shift + len(value)))
            shift += len(value) - (end - start)
            reached = end
        return Utterance(text, (), user.intent, tuple(entities))

    def _action(self, action: SystemAction, new: Mapping[Tuple[str, str], str]) -> SystemAction:
        acts = tuple(
            DialogueAct(a.act, a.slot, new.get((a.slot, self._normal(a.value)), a.value))
            if a.slot and a.value
            else a
            for a in action.acts
        )
        return replace(action, acts=acts, text=action.text if acts == action.acts else None)

    def _goal(self, goal: Mapping[str, str], new: Mapping[Tuple[str, str], str]) -> Dict[str, str]:
        return {slot: new.get((slot, self._normal(value)), value) for slot, value in goal.items()}

    def _another(self, slot: str, rng: np.random.Generator) -> str:
        known = self._known[slot]
        listed = self._catalogue.get(slot) or ([] if slot in self._unlisted else known)
        if listed:
            return listed[rng.integers(len(listed))]
        if rng.random() < _TITLES:
            return self._title(rng)
        model = known[rng.integers(len(known))].split()
        framed = rng.random() < _FRAMED
        words = [word if framed and word in _FRAME else self._word(word, rng) for word in model]
        return " ".join(words)

    def _title(self, rng: np.random.Generator) -> str:
        count = int(rng.integers(1, _LONGEST_TITLE + 1))
        joined = rng.uniform(0.0, _JOINED)
        words: List[str] = []
        if count > 1 and rng.random() < _NUMBERED:
            number = int(rng.integers(2, 30))
            words.append(f"{number}th" if rng.random() < 0.5 else str(number))
        while len(words) < count:
            is_last = len(words) == count - 1
            if count > 1 and rng.random() < (_JOINED_AT_END if is_last else joined):
                said = _JOINING if is_last or rng.random() < 0.5 else self._said
                words.append(said[rng.integers(len(said))])
                continue
            word = self._word("x", rng)
            if not is_last and rng.random() < _MARKED:
                word += _MARKS[rng.integers(len(_MARKS))]
            words.append(word)
        return " ".join(words)

    def _word(self, model: str, rng: np.random.Generator) -> str:
        if model[0].isdigit():
            return str(rng.integers(1, 30))
        if rng.random() >= _NEW_WORDS:
            return self._words[rng.integers(len(self._words))]
        letters = [_END, _END]
        while len(letters) < 12:
            choices = self._letters["".join(letters[-2:])]
            letter = choices[rng.integers(len(choices))]
            if letter == _END:
                break
            letters.append(letter)
        return "".join(letters[2:])

    def _normal(self, value: str) -> str:
        return normalise(value, self._language)


def _around(user: Utterance, language: str) -> List[str]:
    """The words of an utterance that are outside of its entities."""
    text, reached = "", 0
    for entity in sorted(user.entities, key=lambda e: e.start):
        if entity.start >= reached:
            text += user.text[reached : entity.start] + " "
            reached = entity.end
    return normalise(text + user.text[reached:], language).split()


def _following(words: Iterable[str]) -> Mapping[str, Sequence[str]]:
    """What letters follow two letters in the words."""
    table: Dict[str, List[str]] = defaultdict(list)
    for word in words:
        spelled = f"{_END}{_END}{word}{_END}"
        for i in range(len(spelled) - 2):
            table[spelled[i : i + 2]].append(spelled[i + 2])
    return dict(table)
