"""One text normalisation for everything that is compared: training words, live words, recogniser output, values.

A text becomes tokens that know where they stood. In every language: Unicode NFKC, case folded (in Turkish and
Azerbaijani with their two letters i), punctuation dropped, scripts without spaces split by character. In English
besides: contractions joined ("don ' t" -> "dont", "I'd" -> "id") but for verbs after other words than "I" ("we'd" -> "we d", as "wed" is a day), fillers dropped, number words as digits ("twenty one" -> "21"),
clock times in one form ("6 pm", "6.00 p.m." -> "6:00pm"; "half past six", "six thirty" -> "6:30").
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Callable, Dict, List, Optional, Sequence, Tuple

#: Splits a text into (start, end) character spans; a Rasa tokenizer can stand in.
Splitter = Callable[[str], Sequence[Tuple[int, int]]]


@dataclass(frozen=True)
class Token:
    """A normalised token and the characters `[start, end)` of the original text that it stands for."""

    text: str
    start: int
    end: int


def _marks() -> str:
    """What belongs to the letter before it (accents, vowel signs), for a character class of a regular expression."""
    ranges: List[List[int]] = []
    for code in range(0x300, 0x20000):
        if unicodedata.category(chr(code)).startswith("M"):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


_MARKS = f"[{_marks()}]*"
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f"
_LETTERS = rf"(?:[^\W\d_{_UNSPACED}]{_MARKS})+"
_WORD = re.compile(
    r"\d+(?:[.:,]\d+)*"  # numbers, times, decimals
    rf"|[{_UNSPACED}]{_MARKS}"  # scripts that are written without spaces
    rf"|{_LETTERS}(?:['’´`]{_LETTERS})*"  # words, with apostrophes inside
    r"|[&]"
)
_SUFFIXES = frozenset({"s", "t"})
_VERB = re.compile(r"['’´`](m|re|ll|ve|d)$", re.IGNORECASE)
#: Verbs that are joined to "i", as transcribers write them ("im", "id").
_VERBS_OF_I = frozenset({"m", "ve", "d", "ll"})
#: Other words with a verb of two letters, without an apostrophe, where that is no other word.
_WITH_VERB = frozenset("youve weve theyve youre theyre youll theyll".split())
_FILLERS = frozenset({"uh", "um", "uhm", "erm", "er", "hmm", "mm", "ah"})
_UNITS = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen".split()
    )
}
_TENS = {
    word: 10 * n
    for n, word in enumerate(
        "twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2
    )
}
#: Characters of the longest text whose words are remembered.
_LONGEST_CACHED = 2000
_CLOCK = re.compile(r"(\d{1,2})[:.](\d{2})")


def split_words(text: str) -> List[Tuple[int, int]]:
    """Spans of words, numbers and single characters of scripts without spaces."""
    return [match.span() for match in _WORD.finditer(text)]


def tokenize(
    text: str, language: str = "en", splitter: Optional[Splitter] = None
) -> Tuple[Token, ...]:
    """Normalised tokens of `text`.

    Args:
        text: any text.
        language: ISO 639-1 code; "en" adds the English rules.
        splitter: what finds the words instead of `split_words`, e.g. the tokenizer of a Rasa pipeline.

    Returns:
        Tokens in order; their spans index the characters of `text`.
    """
    if splitter is None and len(text) <= _LONGEST_CACHED:
        return _tokenize_cached(text, language)
    return _normalise(text, (splitter or split_words)(text), language)


def normalise(text: str, language: str = "en", splitter: Optional[Splitter] = None) -> str:
    """`text` as its tokens joined by blanks: two texts that normalise alike are the same value."""
    return " ".join(token.text for token in tokenize(text, language, splitter))


@lru_cache(maxsize=65536)
def _tokenize_cached(text: str, language: str) -> Tuple[Token, ...]:
    return _normalise(text, split_words(text), language)


def _normalise(text: str, spans: Sequence[Tuple[int, int]], language: str) -> Tuple[Token, ...]:
    tokens = []
    for start, end in spans:
        folded = _fold(text[start:end], language)
        if any(character.isalnum() for character in folded) or folded == "&":
            tokens.append(Token(folded, start, end))
    return tuple(_english(text, tokens)) if language.startswith("en") else tuple(tokens)


def _fold(word: str, language: str) -> str:
    """One spelling for all ways to write a word: its characters, their case, without apostrophes and blanks."""
    folded = unicodedata.normalize("NFKC", word)
    if language[:2] in {"tr", "az"}:
        folded = folded.replace("I", "ı").replace("İ", "i")
    # Folding "İ" leaves a dot above the i, which nobody types.
    folded = unicodedata.normalize("NFKC", folded.casefold().replace("i\u0307", "i"))
    return re.sub(r"['’´`\s]", "", folded)


def _english(text: str, tokens: List[Token]) -> List[Token]:
    return _clock_times(_numbers(_join_contractions(text, _part_verbs(text, tokens))))


def _part_verbs(text: str, tokens: List[Token]) -> List[Token]:
    """Verbs that are contracted with the word before them, but for "I", as words of their own."""
    parted: List[Token] = []
    for token in tokens:
        verb = _VERB.search(text, token.start, token.end)
        count = 0
        if verb and verb.start() > token.start:
            count, ends = len(verb.group(1)), verb.start()
        elif token.text in _WITH_VERB and token.end - token.start == len(token.text):
            count, ends = 2, token.end - 2
        if count and token.text[:-count] != "i":
            parted.append(Token(token.text[:-count], token.start, ends))
            token = Token(token.text[-count:], token.end - count, token.end)
        parted.append(token)
    return parted


def _join_contractions(text: str, tokens: List[Token]) -> List[Token]:
    """Joins what a tokenizer split at an apostrophe; "&" becomes "and"; fillers go."""
    joined: List[Token] = []
    for token in tokens:
        between = text[joined[-1].end : token.start] if joined else ""
        if (
            joined
            and joined[-1].text[-1].isalpha()
            and (token.text in _SUFFIXES or (joined[-1].text == "i" and token.text in _VERBS_OF_I))
            and between.strip() in {"'", "’", "´", "`"}
        ):
            joined[-1] = Token(joined[-1].text + token.text, joined[-1].start, token.end)
        elif token.text == "&":
            joined.append(Token("and", token.start, token.end))
        elif token.text not in _FILLERS:
            joined.append(token)
    return joined


def _numbers(tokens: List[Token]) -> List[Token]:
    """Number words below a hundred as digits."""
    result: List[Token] = []
    i = 0
    while i < len(tokens):
        token = tokens[i]
        following = tokens[i + 1] if i + 1 < len(tokens) else None
        if token.text in _TENS:
            if following is not None and 0 < _UNITS.get(following.text, 0) < 10:
                number = _TENS[token.text] + _UNITS[following.text]
                result.append(Token(str(number), token.start, following.end))
                i += 2
                continue
            result.append(Token(str(_TENS[token.text]), token.start, token.end))
        elif token.text in _UNITS:
            result.append(Token(str(_UNITS[token.text]), token.start, token.end))
        else:
            result.append(token)
        i += 1
    return result


def _clock_times(tokens: List[Token]) -> List[Token]:
    """Clock times as one token `h:mm`, with `am`/`pm` where said."""
    result: List[Token] = []
    i = 0
    while i < len(tokens):
        time, used = _time_at(tokens, i, bool(result) and result[-1].text.isdigit())
        if time is None:
            result.append(tokens[i])
            i += 1
        else:
            result.append(Token(time, tokens[i].start, tokens[i + used - 1].end))
            i += used
    return result


_NAMED: Dict[str, str] = {"noon": "12:00pm", "midday": "12:00pm", "midnight": "12:00am"}
_FRACTIONS = {"half": 30, "quarter": 15}


def _time_at(tokens: List[Token], i: int, after_number: bool) -> Tuple[Optional[str], int]:
    """The time that starts at token i and how many tokens it takes; (None, 0) if there is none."""
    words = [token.text for token in tokens[i : i + 6]]
    if words[0] in _NAMED:
        return _NAMED[words[0]], 1
    if words[0] in _FRACTIONS or (words[0] == "a" and words[1:2] == ["quarter"]):
        lead = 1 if words[0] != "a" else 2
        minutes = _FRACTIONS[words[lead - 1]]
        if (
            words[lead : lead + 1]
            and words[lead] in {"past", "after", "to", "before"}
            and _hour(words[lead + 1 :]) is not None
        ):
            hour = int(words[lead + 1])
            if words[lead] in {"to", "before"}:
                hour, minutes = (hour - 1) or 12, 60 - minutes
            half, used = _half(words[lead + 2 :])
            return f"{hour}:{minutes:02d}{half}", lead + 2 + used
        return None, 0
    clock = _CLOCK.fullmatch(words[0])
    if clock:
        hour, minute = int(clock.group(1)), int(clock.group(2))
        if hour > 24 or minute > 59:
            return None, 0
        half, used = _half(words[1:])
        return _twelve_hours(hour, minute, half), 1 + used
    if _hour(words) is not None:
        hour = int(words[0])
        if words[1:3] == ["o", "clock"] or words[1:2] == ["oclock"]:
            clock_words = 2 if words[1] == "o" else 1
            half, used = _half(words[1 + clock_words :])
            return f"{hour}:00{half}", 1 + clock_words + used
        minute = int(words[1]) if len(words) > 1 and re.fullmatch(r"[1-5]\d", words[1]) else 0
        half, used = _half(words[2 if minute else 1 :])
        if half:
            return f"{hour}:{minute:02d}{half}", (2 if minute else 1) + used
        if minute in (15, 30, 45) and not after_number:  # "six thirty"
            return f"{hour}:{minute}", 2
    attached = re.fullmatch(r"(\d{1,2})(am|pm)", words[0])
    if attached and 1 <= int(attached.group(1)) <= 12:
        return f"{int(attached.group(1))}:00{attached.group(2)}", 1
    return None, 0


def _hour(words: Sequence[str]) -> Optional[int]:
    return int(words[0]) if words and re.fullmatch(r"[1-9]|1[0-2]", words[0]) else None


def _half(words: Sequence[str]) -> Tuple[str, int]:
    """am/pm in its spellings and the number of tokens it takes; also "in the evening"."""
    if not words:
        return "", 0
    if words[0] in {"am", "pm"}:
        return words[0], 1
    if words[0] in {"a", "p"} and words[1:2] == ["m"]:
        return words[0] + "m", 2
    if (
        words[:2] == ["in", "the"]
        and len(words) > 2
        and words[2] in {"morning", "afternoon", "evening"}
    ):
        return ("am" if words[2] == "morning" else "pm"), 3
    if words[:2] == ["at", "night"]:
        return "pm", 2
    return "", 0


def _twelve_hours(hour: int, minute: int, half: str) -> str:
    if not half and (hour > 12 or hour == 0):
        half = "am" if hour in (0, 24) else "pm"
    hour = hour % 12 or 12 if (hour > 12 or hour == 0) else hour
    return f"{hour}:{minute:02d}{half}"
