"""How far two sets of surface forms are apart: evaluation on one tells little if the other contains nearly the same."""

from __future__ import annotations

import re
from typing import Dict, FrozenSet, List, Tuple

from rasa_hybrid.simulation.noise import edit_distance
from rasa_hybrid.simulation.surface import SurfaceSet
from rasa_hybrid.simulation.templates import Signature, TemplateKey, format_key

#: Templates whose token edit distance is at most this share of their length count as the same.
TOO_CLOSE = 0.35
_TOKEN = re.compile(r"\{[^{}]*\}|[^\W_]+(?:['’][^\W_]+)*")


def tokens(template: str) -> Tuple[str, ...]:
    """Words and slots of a template, lower case; punctuation and the form of a value don't count."""
    agreed = re.sub(r"\{\w+\?[^{}|]*\|([^{}]*)\}", r"\1", template)
    found = (token.lower().replace("’", "'") for token in _TOKEN.findall(agreed))
    return tuple(
        re.sub(r":.*\}", "}", token) if token.startswith("{") else token for token in found
    )


def too_close(
    first: SurfaceSet, second: SurfaceSet, share: float = TOO_CLOSE
) -> List[Tuple[str, str, str]]:
    """Pairs of templates for the same acts that are nearly the same.

    Args:
        first, second: the sets.
        share: of the length of the longer one, up to which the token edit distance is too small.

    Returns:
        Key, template of the first set, template of the second, for each such pair.
    """
    by_acts: Dict[Signature, List[Tuple[Tuple[str, ...], str]]] = {}
    for signature, template in second.templates():
        by_acts.setdefault(signature, []).append((tokens(template.text), template.text))
    found = []
    for signature, template in first.templates():
        words = tokens(template.text)
        for others, text in by_acts.get(signature, ()):
            limit = share * max(len(words), len(others))
            if abs(len(words) - len(others)) <= limit and edit_distance(words, others) <= limit:
                found.append((format_key(TemplateKey(signature, None)), template.text, text))
    return found


def new_words(surfaces: SurfaceSet, known: SurfaceSet) -> FrozenSet[str]:
    """The words of a set that another one lacks."""
    return surfaces.words() - known.words()
