"""How alike two English words sound, from spelling alone.

Letter-to-sound rules in the manner of Soundex and its heirs, but with vowels kept, since telephone recognisers confuse
"danish" with "english" and "world" with "welsh". One character stands for one sound.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import List, Sequence, Tuple

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

#: (letters, sounds), the first that fits at a place is taken; `^` and `$` are the ends of the word, a part in
#: parentheses is looked at but not used up.
_RULES: Tuple[Tuple[str, str], ...] = (
    (r"^kn", "n"), (r"^gn", "n"), (r"^wr", "r"), (r"^ps", "s"), (r"^wh", "w"), (r"^x", "z"),
    (r"tch", "C"), (r"sch", "S"), (r"sh", "S"), (r"ch(?=r)", "k"), (r"ch", "C"), (r"ph", "f"), (r"th", "T"),
    (r"ck", "k"), (r"ng(?=$|s$)", "N"), (r"n(?=k|g[^eiy])", "N"), (r"qu", "kw"), (r"que$", "k"),
    (r"^gu(?=[aei])", "g"), (r"igh", "I"), (r"eigh", "A"), (r"augh|ough(?=t)", "o"), (r"gh", ""),
    (r"tion|sion", "S@n"), (r"cian|tian", "S@n"), (r"ture", "C@r"), (r"sure", "S@r"),
    (r"c(?=[eiy])", "s"), (r"c", "k"), (r"dge?(?=[eiy]|$)", "J"), (r"g(?=[eiy][a-z])", "J"), (r"ge$", "J"), (r"g", "g"),
    (r"j", "J"), (r"q", "k"), (r"x", "ks"), (r"mb$", "m"), (r"mn$", "m"), (r"tt?le$", "t@l"), (r"([bdkp])le$", r"\1@l"),
    (r"ee|ea(?!u)|ie(?=.)|^e$|ei", "E"), (r"ai|ay|ey(?=.)", "A"), (r"oo|ou(?=p|th)|ew|ue$|eu|ui", "U"),
    (r"ou|ow(?=n|$)|ow", "W"), (r"oi|oy", "Y"), (r"oa|oe$", "O"), (r"au|aw", "o"), (r"ie$|y$", "E"),
    (r"^y", "y"), (r"y(?=[aeiou])", "y"), (r"y", "i"),
    (r"er$|or$|ar$|re$", "@r"), (r"ed$", "d"), (r"es$", "s"),
    (r"i(?=[bcdfgklmnprstvz]e$)", "I"), (r"a(?=[bcdfgklmnprstvz]e$)", "A"), (r"o(?=[bcdfgklmnprstvz]e$)", "O"),
    (r"u(?=[bcdfgklmnprstvz]e$)", "U"), (r"(?<=[a-z])e$", ""),
    (r"([bdfklmnprstvz])\1", r"\1"), (r"a", "a"), (r"e", "e"), (r"i", "i"), (r"o", "o"), (r"u", "u"),
    (r"([bdfhklmnprstvwz])", r"\1"),
)  # fmt: skip
_COMPILED = tuple((re.compile(letters), sounds) for letters, sounds in _RULES)

#: Sounds of one manner of articulation, which noise on the line makes alike.
_MANNERS = {
    **dict.fromkeys("aeiou@AEIOUWY", "V"),
    **dict.fromkeys("ptkbdg", "B"),
    **dict.fromkeys("fvszTSCJh", "F"),
    **dict.fromkeys("mnN", "N"),
    **dict.fromkeys("lrwy", "L"),
}

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen \
eighteen nineteen".split()
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


@lru_cache(maxsize=65536)
def sounds(text: str) -> str:
    """The sounds of a word or of several words without a pause; digits are read as numbers."""
    spoken = re.sub(r"\d+", lambda match: f" {_read_number(match.group())} ", text.lower())
    return "".join(_word_sounds(word) for word in re.findall(r"[a-z]+", spoken))


def distances(heard: str, said: Sequence[str]) -> np.ndarray:
    """Distances of one sequence of sounds to many.

    Half of it counts sounds, the other half manners of articulation, so that "b" is nearer to "p" than to "s".

    Args:
        heard: result of `sounds`.
        said: results of `sounds`.

    Returns:
        `[len(said)]` float, 0 for equal sounds, about 1 for nothing in common.
    """
    lengths = np.array([len(heard) + len(other) for other in said], dtype=float)
    fine = process.cdist([heard], said, scorer=Levenshtein.distance)[0]
    coarse = process.cdist(
        [_manners(heard)], [_manners(other) for other in said], scorer=Levenshtein.distance
    )[0]
    return (fine.astype(float) + coarse) / np.maximum(lengths, 1.0)


@lru_cache(maxsize=65536)
def _manners(sequence: str) -> str:
    return "".join(_MANNERS[sound] for sound in sequence)


def _word_sounds(word: str) -> str:
    result: List[str] = []
    position = 0
    while position < len(word):
        for letters, output in _COMPILED:
            match = letters.match(word, position)
            if match and match.end() > position:
                result.append(match.expand(output))
                position = match.end()
                break
        else:
            position += 1
    return "".join(result)


def _read_number(digits: str) -> str:
    number = int(digits)
    if number < 20:
        return _UNITS[number]
    if number < 100:
        return _TENS[number // 10 - 2] + (f" {_UNITS[number % 10]}" if number % 10 else "")
    return " ".join(_UNITS[int(digit)] for digit in digits)
