"""What the system's acts show it to have heard of its users' values: it repeats them, asks again, answers to others."""

from __future__ import annotations

from functools import lru_cache
from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from rasa_hybrid.dialogue import NONE, Dialogue, Turn, tokenize

Words = Tuple[str, ...]

#: Acts by which a system shows what it took a value for.
ECHOES = frozenset({"expl-conf", "impl-conf", "confirm", "canthelp"})
#: Acts by which it asks for a value.
REQUESTS = frozenset({"request"})
#: Turns in which the system's reaction to a value may come.
_REACTION = 3


def heard_values(dialogue: Dialogue, language: str = "en") -> List[Dict[str, str]]:
    """What the system's acts show it to have heard, turn by turn.

    Returns:
        For each turn the slots whose value the user said in it (the goal changed, or its value was said again), with
        what the system took it for: the value itself, another one (it confirmed that, or could not help with it), or
        `NONE` (it asked again, or kept to an older value, or the user had to say it again). Slots about which the
        next acts say nothing are left out.
    """
    heard: List[Dict[str, str]] = []
    goal: Mapping[str, str] = {}
    known: Dict[str, Set[str]] = {}
    words = [
        normalised(turn.user.text, language) if turn.user is not None else ()
        for turn in dialogue.turns
    ]
    for number, turn in enumerate(dialogue.turns):
        found: Dict[str, str] = {}
        if turn.user is not None and turn.goal is not None:
            for slot, value in turn.goal.items():
                name = normalised(value, language)
                again = [
                    find(name, said) is not None for said in words[number : number + _REACTION]
                ]
                if value != goal.get(slot, NONE) or again[0]:
                    reaction = _reaction(
                        dialogue.turns[number:], again, slot, value, known.get(slot, set())
                    )
                    if reaction is not None:
                        found[slot] = reaction
                known.setdefault(slot, set()).add(value)
            goal = turn.goal
        for action in turn.actions:
            for act in action.acts:
                if act.slot is not None and act.value is not None:
                    known.setdefault(act.slot, set()).add(act.value)
        heard.append(found)
    return heard


def misheard_share(dialogues: Iterable[Dialogue], language: str = "en") -> float:
    """Share of the values that users said and systems reacted to that the system took for another one or for none.

    About a quarter in DSTC2, where the system heard recogniser output though the words are transcripts; about a
    hundredth in dialogues that were typed.
    """
    right = wrong = 0
    for dialogue in dialogues:
        for turn, heard in zip(dialogue.turns, heard_values(dialogue, language)):
            for slot, taken in heard.items():
                understood = turn.goal is not None and taken == turn.goal.get(slot)
                right, wrong = right + understood, wrong + (not understood)
    return wrong / max(right + wrong, 1)


def _reaction(
    turns: Sequence[Turn], again: Sequence[bool], slot: str, value: str, known: Set[str]
) -> Optional[str]:
    """What the system took `value` for, which the user said in the first of these turns; None if that is not clear."""
    for i, turn in enumerate(turns[:_REACTION]):
        if i > 0 and (turn.goal is None or turn.goal.get(slot) != value):
            return None
        if i > 0 and again[i]:
            return NONE
        acts = [act for action in turn.actions for act in action.acts if act.slot == slot]
        if any(act.value == value for act in acts):
            return value
        for act in acts:
            if act.act in ECHOES and act.value is not None:
                return NONE if act.value in known else act.value
        if any(act.act in REQUESTS for act in acts):
            return NONE
    return None


def find(part: Words, words: Words) -> Optional[Tuple[int, int]]:
    """Where `part` stands in `words` as a whole."""
    if not part or part[0] not in words:
        return None
    for start in range(words.index(part[0]), len(words) - len(part) + 1):
        if words[start : start + len(part)] == part:
            return start, start + len(part)
    return None


@lru_cache(maxsize=65536)
def normalised(text: str, language: str) -> Words:
    """The normalised words of a text."""
    return tuple(token.text for token in tokenize(text, language))
