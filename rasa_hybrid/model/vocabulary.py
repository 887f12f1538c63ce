"""What the model has names for: words, acts, slots, actions, context features, intents, entity tags.

Index 0 of every list is "nothing" (padding) except where said; index 1 of the words is the unknown word. Words that
were never seen share that embedding and keep their character n-grams apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Dict, Iterable, List, Mapping, Tuple
from zlib import crc32

from rasa_hybrid.dialogue import LISTEN, Dialogue, Utterance

PADDING, UNKNOWN = 0, 1
UNKNOWN_WORD = "<unknown>"
#: Features of the knowledge base's answer (`E_k`), see `encoding.summary_features`.
SUMMARY_SIZE = 8
_MOST_NGRAMS = 24


class Index(Dict[str, int]):
    """A list of names and their positions; unknown names map to `default`."""

    def __init__(self, names: Iterable[str], default: int = 0) -> None:
        self.names: Tuple[str, ...] = tuple(names)
        self.default = default
        super().__init__((name, i) for i, name in enumerate(self.names))

    def __missing__(self, name: str) -> int:
        return self.default


@dataclass(frozen=True)
class Vocabulary:
    """The names a model was trained with.

    Args:
        words: normalised words; 0 padding, 1 unknown.
        acts: types of system acts; 0 nothing.
        act_slots: slots that system acts mention; 0 nothing.
        act_values: values in system acts (used by `liu2018`); 0 nothing.
        features: features of the user's turn and of the state; 0 nothing.
        actions: system actions; 0 is `action_listen`.
        intents: intents, without a "nothing".
        tags: entity tags, 0 outside, then `B-`/`I-` of each entity label.
        buckets: number of character n-gram buckets.
    """

    words: Index
    acts: Index
    act_slots: Index
    act_values: Index
    features: Index
    actions: Index
    intents: Index
    tags: Index
    buckets: int = 0

    def subwords(self, word: str) -> Tuple[int, ...]:
        """Buckets 1..buckets of the word's character n-grams."""
        return character_ngrams(word, self.buckets) if self.buckets else ()

    def with_words(self, words: Iterable[str]) -> Vocabulary:
        """The same with further words at the end of the list, in the given order."""
        names = dict.fromkeys((*self.words.names, *words))
        return replace(self, words=Index(names, UNKNOWN))

    def to_dict(self) -> Dict[str, Any]:
        """JSON-able form."""
        names = {name: list(getattr(self, name).names) for name in _LISTS}
        return {**names, "buckets": self.buckets}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Vocabulary:
        """Inverse of `to_dict`."""
        lists = {name: Index(record[name], UNKNOWN if name == "words" else 0) for name in _LISTS}
        return cls(**lists, buckets=int(record["buckets"]))


_LISTS = ("words", "acts", "act_slots", "act_values", "features", "actions", "intents", "tags")


@lru_cache(maxsize=65536)
def character_ngrams(word: str, buckets: int) -> Tuple[int, ...]:
    """Buckets of the 3- and 4-grams of `<word>` (as in fastText), stable between processes."""
    marked = f"<{word}>"
    grams = [marked[i : i + n] for n in (3, 4) for i in range(len(marked) - n + 1)]
    return tuple(1 + crc32(gram.encode("utf-8")) % buckets for gram in grams[:_MOST_NGRAMS])


def entity_label(name: str, role: Any = None, group: Any = None) -> str:
    """The tag of an entity: its type with role and group where it has them."""
    return "#".join(
        [name] + ([str(role or "")] if role or group else []) + ([str(group)] if group else [])
    )


def split_entity_label(label: str) -> Tuple[str, Any, Any]:
    """Type, role and group of a tag."""
    name, role, group = (label.split("#") + ["", ""])[:3]
    return name, role or None, group or None


@dataclass
class VocabularyBuilder:
    """Collects names from dialogues and labelled utterances."""

    words: set = field(default_factory=set)
    acts: set = field(default_factory=set)
    act_slots: set = field(default_factory=set)
    act_values: set = field(default_factory=set)
    features: set = field(default_factory=set)
    actions: set = field(default_factory=set)
    intents: set = field(default_factory=set)
    labels: set = field(default_factory=set)

    def add_utterance(self, utterance: Utterance) -> None:
        """Takes over intent and entities of an utterance."""
        if utterance.intent:
            self.intents.add(utterance.intent)
        self.labels.update(entity_label(e.name, e.role, e.group) for e in utterance.entities)

    def add_dialogue(self, dialogue: Dialogue) -> None:
        """Takes over everything but the words of a dialogue."""
        for turn in dialogue.turns:
            if turn.user is not None:
                self.add_utterance(turn.user)
            self.features.update(turn.closing_context)
            self.actions.update(turn.expert or ())
            for action in turn.actions:
                self.actions.add(action.name)
                self.features.update(action.context)
                for act in action.acts:
                    self.acts.add(act.act)
                    self.act_slots.update([act.slot] if act.slot else [])
                    self.act_values.update([act.value] if act.value else [])

    def build(self, actions: Iterable[str] = (), buckets: int = 0) -> Vocabulary:
        """The vocabulary of all that was added.

        Args:
            actions: further actions (of a domain), which stories need not contain.
            buckets: number of character n-gram buckets.
        """
        features = set(self.features)
        features.update(f"intent:{intent}" for intent in self.intents)
        features.update(f"entity:{label}" for label in self.labels)
        tags = [f"{prefix}-{label}" for label in sorted(self.labels) for prefix in "BI"]
        known = sorted((self.actions | set(actions)) - {LISTEN})
        return Vocabulary(
            words=Index(["", UNKNOWN_WORD] + sorted(self.words), UNKNOWN),
            acts=Index([""] + sorted(self.acts)),
            act_slots=Index([""] + sorted(self.act_slots)),
            act_values=Index([""] + sorted(self.act_values)),
            features=Index([""] + sorted(features)),
            actions=Index([LISTEN] + known),
            intents=Index(sorted(self.intents)),
            tags=Index(["O"] + tags),
            buckets=buckets,
        )


def spans_of_tags(tags: List[str]) -> List[Tuple[str, int, int]]:
    """Entity label, first and one-past-last token of each span in a list of B-/I-/O tags.

    An `I-` tag that continues nothing begins a span, so that every list of tags has a reading.
    """
    spans: List[Tuple[str, int, int]] = []
    for i, tag in enumerate(tags):
        if tag == "O":
            continue
        prefix, label = tag[0], tag[2:]
        if prefix == "I" and spans and spans[-1][0] == label and spans[-1][2] == i:
            spans[-1] = (label, spans[-1][1], i + 1)
        else:
            spans.append((label, i, i + 1))
    return spans
