"""The values that a goal slot can have, and where they occur in an utterance.

Values come from the domain, lookup tables, the corpus and the knowledge base, and may change without training. A value
occurs where all of its normalised tokens (or those of a synonym) stand in a row, or where a distinctive part of it
does ("ove" for "a man called ove").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from rasa_hybrid.dialogue import DONTCARE, NONE, Token
from rasa_hybrid.dialogue.normalise import Splitter, normalise

#: A part of a value counts as distinctive if at most so many values of the slot contain it.
_MOST_SHARED = 3
_LONGEST = 10
#: Least letters of each word that a compound may be written in.
_LEAST_OF_SPLIT = 3
_COMMON = frozenset(
    "a an the of in on at to and or for with by from my your is it i you me we he she they this that no not yes".split()
)

_CLOCK = re.compile(r"(\d{1,2}:\d{2})[ap]m")


class Match(NamedTuple):
    """A value that occurs at tokens `[start, end)`.

    Args:
        slot: position of the slot in the ontology.
        value: canonical value.
        coverage: share of the value's tokens that was said, 1 if all.
        sharing: 1 / number of values of this slot that the same words may mean.
    """

    slot: int
    value: str
    start: int
    end: int
    coverage: float
    sharing: float


@dataclass(frozen=True)
class SlotValues:
    """Values of one goal slot.

    Args:
        values: canonical value to its further surface forms (synonyms).
        kind: `list` (only listed values), `open` (any words that the tagger finds as well), `number` (any number as
            well), `bool` (`true` and `false`).
        closed: values that the model may choose without their being mentioned (the paper's value list).
        lowered: values listed in lower case though others may spell them otherwise; read before training only.
    """

    values: Mapping[str, Tuple[str, ...]]
    kind: str = "list"
    closed: Tuple[str, ...] = ()
    lowered: Tuple[str, ...] = ()


class Ontology:
    """The goal slots with their values, indexed for matching.

    Args:
        slots: goal slots, in the order the model knows them by.
        language: of the normalisation.
        splitter: tokenizer of the pipeline, None for our own.
    """

    def __init__(
        self,
        slots: Mapping[str, SlotValues],
        language: str = "en",
        splitter: Optional[Splitter] = None,
    ) -> None:
        self.slots: Tuple[str, ...] = tuple(slots)
        self.values: Dict[str, SlotValues] = dict(slots)
        self.language = language
        self.splitter = splitter
        self._position = {slot: i for i, slot in enumerate(self.slots)}
        self._numbers = [i for i, v in enumerate(slots.values()) if v.kind == "number"]
        self._listed: List[Dict[str, str]] = []
        self._canonical: List[Dict[str, str]] = []
        self._phrases = _Phrases()
        for position, values in enumerate(slots.values()):
            self._add_slot(position, values)

    def position(self, slot: str) -> int:
        """Position of a goal slot, -1 if it is not one."""
        return self._position.get(slot, -1)

    def canonical(self, slot: int, value: str) -> str:
        """The listed spelling of a value; the value itself if it is not listed."""
        listed = self._listed[slot].get(value)
        if listed is not None:
            return listed
        normal = self.normalise(value)
        number = slot in self._numbers and _is_number(normal)
        return self._canonical[slot].get(normal, normal if number else value)

    def key(self, slot: int, value: str) -> str:
        """What two spellings of one value have in common: the listed spelling, else the normalised words."""
        listed = self._listed[slot].get(value)
        if listed is not None:
            return listed
        normal = self.normalise(value)
        return self._canonical[slot].get(normal, normal)

    def normalise(self, value: str) -> str:
        """A value as normalised tokens."""
        return normalise(value, self.language, self.splitter)

    def with_values(self, values: Mapping[str, Iterable[str]]) -> Ontology:
        """The same slots with these values added (knowledge base rows that came after training)."""
        slots = dict(self.values)
        for slot, added in values.items():
            if slot in slots:
                listed = dict(slots[slot].values)
                listed.update({value: () for value in added if value not in listed})
                slots[slot] = SlotValues(listed, slots[slot].kind, slots[slot].closed)
        return Ontology(slots, self.language, self.splitter)

    def matches(self, tokens: Sequence[Token]) -> List[Match]:
        """Values that occur in an utterance, whole occurrences before parts, at most one per slot, value and place."""
        words = [token.text for token in tokens]
        found: List[Match] = []
        for start, word in enumerate(words):
            phrase = self._phrases.following.get(word)
            end = start + 1
            while phrase is not None:
                for slot, value, coverage, sharing in phrase.meanings:
                    found.append(Match(slot, value, start, end, coverage, sharing))
                phrase = phrase.following.get(words[end]) if end < len(words) else None
                end += 1
            if self._numbers and _is_number(word):
                for slot in self._numbers:
                    number = Match(slot, self.canonical(slot, word), start, start + 1, 1.0, 1.0)
                    if all(m[:4] != number[:4] for m in found):
                        found.append(number)
        return _longest_matches(found) if len(found) > 1 else found

    def to_dict(self) -> Dict[str, Any]:
        """JSON-able form (without the splitter)."""
        return {
            slot: {
                "kind": values.kind,
                "closed": list(values.closed),
                "values": {value: list(forms) for value, forms in values.values.items()},
            }
            for slot, values in self.values.items()
        }

    @classmethod
    def from_dict(
        cls, record: Mapping[str, Any], language: str = "en", splitter: Optional[Splitter] = None
    ) -> Ontology:
        """Inverse of `to_dict`."""
        slots = {
            slot: SlotValues(
                {value: tuple(forms) for value, forms in values["values"].items()},
                values["kind"],
                tuple(values["closed"]),
            )
            for slot, values in record.items()
        }
        return cls(slots, language, splitter)

    def _add_slot(self, slot: int, values: SlotValues) -> None:
        listed = {NONE: NONE, DONTCARE: DONTCARE}
        canonical: Dict[str, str] = {}
        phrases: Dict[Tuple[str, ...], Dict[str, float]] = {}
        self._listed.append(listed)
        self._canonical.append(canonical)
        if values.kind == "bool":
            return
        normal = {value: self.normalise(value) for value in values.values}
        for value, name in normal.items():
            canonical.setdefault(name, value)
        for value, forms in values.values.items():
            # Two listed spellings of one value are one candidate.
            value, names = canonical[normal[value]], [normal[value], *map(self.normalise, forms)]
            for name in names:
                canonical.setdefault(name, value)
                tokens = tuple(name.split())
                if not tokens:
                    continue
                ways = (*_parts(tokens), *_possessive(tokens, self.language), *_split(tokens))
                for part, coverage in ways:
                    shared = phrases.setdefault(part, {})
                    shared[value] = max(coverage, shared.get(value, 0.0))
        canonical.pop("", None)
        for value, forms in values.values.items():
            for form in (value, *forms):
                listed.setdefault(form, canonical.get(self.normalise(form), form))
        for phrase, meant in phrases.items():
            whole = [value for value, coverage in meant.items() if coverage == 1.0]
            if not whole and len(meant) > _MOST_SHARED:
                continue
            self._phrases.add(
                phrase,
                [
                    (slot, value, coverage, 1.0 / len(meant))
                    for value, coverage in meant.items()
                    if coverage == 1.0 or len(meant) <= _MOST_SHARED
                ],
            )


class _Phrases:
    """What may be said, word by word, so that reading stops at the first word that leads nowhere.

    Args:
        meanings: (slot, value, coverage, sharing) of the words up to here.
        following: what goes on with a further word.
    """

    __slots__ = ("following", "meanings")

    def __init__(self) -> None:
        self.meanings: Tuple[Tuple[int, str, float, float], ...] = ()
        self.following: Dict[str, _Phrases] = {}

    def add(self, words: Sequence[str], meanings: Sequence[Tuple[int, str, float, float]]) -> None:
        """Adds meanings of a phrase."""
        phrase = self
        for word in words:
            phrase = phrase.following.setdefault(word, _Phrases())
        phrase.meanings += tuple(meanings)


def _parts(tokens: Tuple[str, ...]) -> Iterable[Tuple[Tuple[str, ...], float]]:
    """The value's tokens and its distinctive parts, each with the share of the value that it covers."""
    yield tokens, 1.0
    clock = _CLOCK.fullmatch(tokens[0]) if len(tokens) == 1 else None
    if clock:  # "6:30" may mean "6:30pm", "6" may mean "6:00pm"
        yield (clock.group(1),), 0.7
        if clock.group(1).endswith(":00"):
            yield (clock.group(1)[:-3],), 0.4
    if len(tokens) > _LONGEST:
        return
    for length in range(1, len(tokens)):
        for start in range(len(tokens) - length + 1):
            part = tokens[start : start + length]
            telling = [
                word
                for word in part
                if word not in _COMMON and len(word) > 2 and not word[0].isdigit()
            ]
            if telling and part[0] not in _COMMON and part[-1] not in _COMMON:
                yield part, length / len(tokens)


def _possessive(tokens: Tuple[str, ...], language: str) -> Iterable[Tuple[Tuple[str, ...], float]]:
    """The value as it stands before what belongs to it ("tonight's"), which normalisation joins to one word."""
    if language.startswith("en") and tokens[-1].isalpha() and not tokens[-1].endswith("s"):
        yield (*tokens[:-1], tokens[-1] + "s"), 1.0


def _split(tokens: Tuple[str, ...]) -> Iterable[Tuple[Tuple[str, ...], float]]:
    """A compound in two words, as recognisers and people write it ("gastro pub")."""
    word = tokens[0]
    if len(tokens) == 1 and word.isalpha():
        for place in range(_LEAST_OF_SPLIT, len(word) - _LEAST_OF_SPLIT + 1):
            yield (word[:place], word[place:]), 1.0


def _longest_matches(found: List[Match]) -> List[Match]:
    """Drops, slot by slot, what lies inside of a longer match, and parts where the whole value stands too."""
    kept: List[Match] = []
    for match in sorted(found, key=lambda m: (m.start - m.end, -m.coverage, m.start)):
        inside = any(
            other.slot == match.slot
            and other.start <= match.start
            and match.end <= other.end
            and (
                other.end - other.start > match.end - match.start or other.coverage > match.coverage
            )
            for other in kept
        )
        if not inside:
            kept.append(match)
    return sorted(kept, key=lambda m: (m.start, m.end, m.slot))


def _is_number(word: str) -> bool:
    return word.replace(".", "", 1).replace(",", "").isdigit()
