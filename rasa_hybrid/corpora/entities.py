"""Where the words of a labelled dialogue say its goal's values, for corpora that do not mark them.

A tagger that finds values never seen before learns from marked words. Where a corpus has goals only, the marks are the
literal occurrences of the goal's values (or of their synonyms) in the user's words.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from rasa_hybrid.dialogue import DONTCARE, NONE, Dialogue, Entity, Token, Turn, tokenize

#: Slot to value to what users call it besides.
Forms = Mapping[str, Mapping[str, Sequence[str]]]


def mark_entities(
    dialogue: Dialogue, forms: Optional[Forms] = None, language: str = "en"
) -> Dialogue:
    """The dialogue with an entity wherever a user says a value of the goal; unchanged if it has entities already.

    Args:
        dialogue: labelled.
        forms: synonyms of values (`synonyms.find_synonyms`).
        language: of the normalisation.
    """
    if any(turn.user is not None and turn.user.entities for turn in dialogue.turns):
        return dialogue
    turns = tuple(_marked(turn, forms or {}, language) for turn in dialogue.turns)
    return replace(dialogue, turns=turns)


def _marked(turn: Turn, forms: Forms, language: str) -> Turn:
    if turn.user is None or not turn.user.text or not turn.goal:
        return turn
    tokens = tokenize(turn.user.text, language)
    found: List[Tuple[int, int, str, str]] = []
    for slot, value in turn.goal.items():
        if value in (NONE, DONTCARE):
            continue
        for form in (value, *forms.get(slot, {}).get(value, ())):
            words = [token.text for token in tokenize(form, language)]
            found += [(start, start + len(words), slot, value) for start in _find(words, tokens)]
    entities: Dict[int, Entity] = {}
    taken = [False] * len(tokens)
    for start, end, slot, value in sorted(found, key=lambda place: (place[0] - place[1], place)):
        if not any(taken[start:end]):
            taken[start:end] = [True] * (end - start)
            entities[start] = Entity(slot, value, tokens[start].start, tokens[end - 1].end)
    marked = tuple(entities[start] for start in sorted(entities))
    return replace(turn, user=replace(turn.user, entities=marked))


def _find(words: Sequence[str], tokens: Sequence[Token]) -> List[int]:
    texts = [token.text for token in tokens]
    size = len(words)
    return [i for i in range(len(texts) - size + 1) if size and texts[i : i + size] == list(words)]
