"""How people say values: "6:00 pm" as "six in the evening", "friday" as "this friday", a title in part.

A slot's kind names the rules; a spoken form is kept only if it can't mean another value of the slot.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Callable, Dict, Iterable, List, Mapping, Sequence, Tuple

from rasa_hybrid.dialogue import normalise

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS = {20: "twenty", 30: "thirty", 40: "forty", 50: "fifty"}
_ARTICLES = {"the", "a", "an"}
#: A part of a title doesn't end in one of these.
_LOOSE_ENDS = {
    "the",
    "a",
    "an",
    "of",
    "in",
    "on",
    "at",
    "and",
    "to",
    "for",
    "&",
    "with",
    "from",
    "by",
    "is",
}
_WEEKDAYS = {
    "monday": ["mon"],
    "tuesday": ["tue", "tues"],
    "wednesday": ["wed"],
    "thursday": ["thu", "thurs"],
    "friday": ["fri"],
    "saturday": ["sat"],
    "sunday": ["sun"],
}


@dataclass(frozen=True)
class SpokenValue:
    """The forms of one value; a form that is said more often stands there more than once.

    Args:
        plain: forms that fit wherever the value does.
        any: those and such that don't go after an article or before a noun ("this friday").
    """

    plain: Tuple[str, ...]
    any: Tuple[str, ...]


def number_in_words(number: int) -> str:
    """A number below a hundred in words, in digits from there."""
    if number < 20:
        return _UNITS[number]
    if number < 60:
        tens, unit = _TENS[number - number % 10], number % 10
        return f"{tens} {_UNITS[unit]}" if unit else tens
    return str(number)


def _plain(value: str) -> Tuple[List[str], List[str]]:
    return [value], []


def _number(value: str) -> Tuple[List[str], List[str]]:
    if not value.isdigit():
        return [value], []
    return [value, number_in_words(int(value))], []


def _weekday(value: str) -> Tuple[List[str], List[str]]:
    short = _WEEKDAYS.get(value.lower())
    if short is None:
        return [value], []
    return [value] * 6 + short[:1], [f"this {value}", f"this coming {value}"]


_CLOCK = re.compile(r"(\d{1,2}):(\d{2}) ?([ap])\.?m\.?", re.IGNORECASE)


def _clock(value: str) -> Tuple[List[str], List[str]]:
    match = _CLOCK.fullmatch(value.strip())
    if not match:
        return [value], []
    hour, minute, half = int(match.group(1)), int(match.group(2)), match.group(3).lower() + "m"
    in_24 = hour % 12 + (12 if half == "pm" else 0)
    if half == "am":
        part = "in the morning"
    elif in_24 < 17:
        part = "in the afternoon"
    else:
        part = "in the evening" if in_24 < 21 else "at night"
    word = number_in_words(hour)
    plain = [f"{hour}:{minute:02d} {half}"] * 3 + [f"{hour}:{minute:02d}{half}"]
    if in_24 >= 13:
        plain.append(f"{in_24}:{minute:02d}")
    loose: List[str] = []
    if minute == 0:
        plain += [f"{hour} {half}"] * 3 + [f"{hour}{half}", f"{word} {half}"]
        loose += [f"{word} {part}", f"{hour} {part}", f"{word} o'clock {part}"]
        if in_24 == 12:
            loose.append("noon")
    else:
        plain += [f"{hour}.{minute:02d} {half}"]
        if minute % 10 == 0 or minute > 10:
            plain.append(f"{word} {number_in_words(minute)} {half}")
        following = number_in_words(hour % 12 + 1)
        if minute == 30:
            loose.append(f"half past {word} {part}")
        elif minute == 15:
            loose.append(f"quarter past {word} {part}")
        elif minute == 45:
            loose.append(f"quarter to {following} {part}")
    same = normalise(value)
    return [f for f in plain if normalise(f) == same], [f for f in loose if normalise(f) == same]


def _title(value: str) -> Tuple[List[str], List[str]]:
    """The title, and after it its parts: without the article, up to a colon, without the last word."""
    words = value.split()
    parts = []
    if words[0].lower() in _ARTICLES and len(words) > 1:
        parts.append(words[1:])
    colon = next((i for i, word in enumerate(words) if word.endswith(":")), None)
    if colon is not None:
        parts.append(words[: colon + 1])
    core = words[1:] if words[0].lower() in _ARTICLES else words
    if len(core) >= 2:
        parts.append(core[:-1])
    if len(core) >= 4:
        parts.append(core[:2])
    kept = []
    for part in parts:
        while part and part[-1].lower() in _LOOSE_ENDS:
            part = part[:-1]
        text = " ".join(part).rstrip(":,")
        if (
            len(text) >= 4
            and any(len(w) >= 4 and w.lower() not in _LOOSE_ENDS for w in part)
            and text not in kept
        ):
            kept.append(text)
    return [value] * (5 * max(1, len(kept))) + kept, []


#: Kinds of values that people say in several ways.
KINDS: Mapping[str, Callable[[str], Tuple[List[str], List[str]]]] = {
    "plain": _plain,
    "number": _number,
    "weekday": _weekday,
    "clock": _clock,
    "title": _title,
}


def spoken_values(
    kind: str,
    values: Iterable[str],
    further: Mapping[str, Sequence[str]],
    others: Iterable[str] = (),
) -> Dict[str, SpokenValue]:
    """The spoken forms of the values of a slot.

    Args:
        kind: one of `KINDS`.
        values: canonical values.
        further: more forms of single values, from the configuration.
        others: values of other slots; a part of a value that is also one of these (or part of one) isn't used.

    Returns:
        Canonical value to its forms; the canonical spelling is always among them.
    """
    values = list(values)
    rows = {value: KINDS[kind](value) for value in values}
    meant: Dict[str, set] = {}
    for value in values:
        for phrase in _phrases(value) if kind == "title" else [normalise(value)]:
            meant.setdefault(phrase, set()).add(value)
    taken = {phrase for other in others for phrase in _phrases(other)} if kind == "title" else set()
    result = {}
    for value, (plain, loose) in rows.items():

        def own(form: str, value: str = value) -> bool:
            phrase = normalise(form)
            return form == value or (meant.get(phrase, {value}) == {value} and phrase not in taken)

        plain = [form for form in list(plain) + list(further.get(value, ())) if own(form)]
        result[value] = SpokenValue(
            tuple(plain), tuple(plain * 2) + tuple(form for form in loose if own(form))
        )
    return result


def _phrases(value: str) -> List[str]:
    words = normalise(value).split()
    return [" ".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1)]
