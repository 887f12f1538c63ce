"""What users call a value besides its name ("moderately" for "moderate"), found in labelled dialogues.

Wherever the goal takes on a value that nobody has said in so many words, the user must have said something else that
means it. Phrases that occur there again and again, and hardly anywhere else, are synonyms of the value.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from rapidfuzz.distance import LCSseq

from rasa_hybrid.dialogue import DONTCARE, NONE, Dialogue, SystemAction, tokenize

Phrase = Tuple[str, ...]
_LONGEST = 3


def find_synonyms(
    dialogues: Iterable[Dialogue],
    slots: Optional[Sequence[str]] = None,
    support: int = 2,
    precision: float = 0.8,
    alike: float = 0.6,
    language: str = "en",
) -> Dict[str, Dict[str, Tuple[str, ...]]]:
    """Synonyms of the goal's values.

    Args:
        dialogues: labelled dialogues with the words that were said, not those of a recogniser.
        slots: goal slots to look at; all by default.
        support: turns that a phrase has to explain that no other phrase of the value does.
        precision: least share of a phrase's occurrences at which the goal has the value.
        alike: least share of letters in common with the value; a phrase that is less alike needs five times the
            support.
        language: of the normalisation.

    Returns:
        Slot to value to its synonyms as normalised words; values without synonyms are left out.
    """
    needs: Dict[Tuple[str, str], List[Set[Phrase]]] = defaultdict(list)
    occurrences: Counter = Counter()
    together: Counter = Counter()
    names: Dict[str, Set[Phrase]] = defaultdict(set)
    for dialogue in dialogues:
        answered = ""
        goal: Mapping[str, str] = {}
        for turn in dialogue.turns:
            if turn.user is not None and turn.goal is not None:
                words = _words(turn.user.text, language)
                phrases = _phrases(words)
                said = f"{answered} {_padded(words)}"
                occurrences.update(phrases)
                for slot, value in turn.goal.items():
                    if value in (NONE, DONTCARE) or (slots is not None and slot not in slots):
                        continue
                    name = _words(value, language)
                    names[slot].add(name)
                    together.update((slot, value, phrase) for phrase in phrases)
                    if goal.get(slot) != value and _padded(name) not in said:
                        needs[(slot, value)].append(phrases)
                goal = turn.goal
            answered = _said_by_system(turn.actions, language)
    found: Dict[str, Dict[str, Tuple[str, ...]]] = {}
    for (slot, value), turns in needs.items():
        name = _words(value, language)
        precise = {
            phrase
            for phrases in turns
            for phrase in phrases
            if phrase not in names[slot]
            and together[(slot, value, phrase)] >= precision * occurrences[phrase]
        }
        synonyms = _cover(turns, precise, name, support, alike)
        if synonyms:
            found.setdefault(slot, {})[value] = tuple(" ".join(phrase) for phrase in synonyms)
    return found


def _cover(
    turns: List[Set[Phrase]], precise: Set[Phrase], name: Phrase, support: int, alike: float
) -> List[Phrase]:
    """The phrases that explain most turns, one after the other, each counted on what is left."""
    likeness = {phrase: _likeness(phrase, name) for phrase in precise}
    chosen: List[Phrase] = []
    left = list(turns)
    while left:
        explained = Counter(phrase for phrases in left for phrase in phrases & precise)
        enough = [
            phrase
            for phrase, count in explained.items()
            if count >= (support if likeness[phrase] >= alike else 5 * support)
        ]
        if not enough:
            return chosen
        best = max(
            enough, key=lambda p: (likeness[p] >= alike, explained[p], likeness[p], -len(p), p)
        )
        chosen.append(best)
        left = [phrases for phrases in left if best not in phrases]
    return chosen


def _likeness(phrase: Phrase, name: Phrase) -> float:
    """Share of the letters that both have in common, in order; 1 if they share a word."""
    if set(phrase) & set(name):
        return 1.0
    return LCSseq.normalized_similarity("".join(phrase), "".join(name))


def _said_by_system(actions: Iterable[SystemAction], language: str) -> str:
    said = [action.text for action in actions if action.text]
    said += [act.value for action in actions for act in action.acts if act.value is not None]
    return " | ".join(_padded(_words(text, language)) for text in said)


def _padded(words: Phrase) -> str:
    """The words with a blank at each side, so that they are found as whole words only."""
    return f" {' '.join(words)} "


def _phrases(words: Phrase) -> Set[Phrase]:
    return {words[i : i + n] for n in range(1, _LONGEST + 1) for i in range(len(words) - n + 1)}


def _words(text: str, language: str) -> Phrase:
    return tuple(token.text for token in tokenize(text, language))
