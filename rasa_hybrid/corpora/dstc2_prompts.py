"""The system's side of DSTC2 as dialogue acts, found again in its prompts.

The JSON form of the corpus keeps only the words of the system. They come from a few dozen templates, so a table of
patterns gives the acts back: the first *frame* that matches says which kind of act a prompt is, *phrases* find the
slots and values in it. Being made of parts, the table also covers combinations that the training dialogues lack. Acts
and their names are those of the original logs (Henderson et al. 2014, appendix B).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Dict, List, NamedTuple, Optional, Pattern, Tuple

from rasa_hybrid.dialogue import DONTCARE, DialogueAct

AREA, FOOD, PRICE = "area", "food", "price range"

#: What the corpus spells in two ways, in words and values alike.
RESPELLED = {"centre": "center"}


class _Frame(NamedTuple):
    """A kind of prompt.

    Args:
        pattern: searched in the prompt's plain words; its group `name` is a restaurant.
        constraint: act of the values that the phrases find, None to leave them out.
        acts: acts that it stands for besides.
        alone: act of a prompt in which no value is found.
    """

    pattern: Pattern[str]
    constraint: Optional[str] = "inform"
    acts: Tuple[DialogueAct, ...] = ()
    alone: Optional[str] = None


_NAME = r"(?P<name>\w[\w ]*?)"

#: Frames in the order in which they are tried.
_FRAMES: Tuple[_Frame, ...] = tuple(
    _Frame(re.compile(pattern), *rest)
    for pattern, *rest in (
        (r"^hello welcome\b", None, (DialogueAct("welcomemsg"),)),
        (r"\b(cant hear|confused|(please|could you) repeat)\b", None, (DialogueAct("repeat"),)),
        (
            r"\bhelp you with anything else\b|\banything else i can\b",
            None,
            (DialogueAct("reqmore"),),
        ),
        (r"^(good ?bye|thank you)\b", None, (DialogueAct("bye"),)),
        (r"\bno (other|more)\b", "canthelp", (DialogueAct("canthelp.exception"),)),
        (r"\bthere (is|are) no\b", "canthelp", (), "canthelp"),
        (
            r"\bcheap (or )?moderate (priced )?or expensive\b",
            None,
            (DialogueAct("request", PRICE),),
        ),
        (r"^(sorry )?would you like\b.*\bor\b", "select"),
        (r"\bright$|^did you say\b|^let me confirm\b", "expl-conf", (), "confirm-domain"),
        (r"^there (are|is)\b", "impl-conf"),
        (r"^what\b", "impl-conf"),
        (rf"^{_NAME} is an? (great|nice|good) (restaurant|place)\b",),
        (
            rf"^(sure )?the (phone number|post ?code|address|price ?range|type of food)( of| at)? {_NAME} is\b",
        ),
        (rf"^sure {_NAME} is (on|in|at)\b",),
        (rf"^{_NAME} (serves|is (on|in|at))\b",),
    )
)

_AREAS = "north|south|east|west|center"
_PRICES = "cheap|moderate|expensive"
_ANY = r"\b(?:dont|do not) care about\b(?:(?!\bwhat\b).)*\b"

#: Where a constraint stands, by slot; the group `value`, or any value where there is no group.
_PHRASES: Tuple[Tuple[str, Pattern[str]], ...] = tuple(
    (slot, re.compile(pattern))
    for slot, pattern in (
        (AREA, rf"\b(?:in )?the (?P<value>{_AREAS})\b(?! priced?)"),
        (AREA, r"\b(?:any|all) parts? of town\b"),
        (AREA, rf"{_ANY}(?:area|part of town)\b"),
        (PRICE, rf"\b(?P<value>{_PRICES})(?:ly)?(?: priced)? price ?range\b"),
        (PRICE, rf"\bprices are (?P<value>{_PRICES})\b"),
        (PRICE, rf"\bprice ?range (?:at|of) .* is (?P<value>{_PRICES})\b"),
        (PRICE, rf"\b(?:serving|serves|no|no other|a|an) (?P<value>{_PRICES})\b(?! price)"),
        (PRICE, r"\bany price ?range\b"),
        (PRICE, rf"{_ANY}price ?range\b"),
        (
            FOOD,
            rf"\b(?:serving|serves) (?:tasty )?(?:(?:{_PRICES}) )?(?!any\b)(?P<value>[a-z ]+?)"
            r"(?: food\b| in the\b| in any\b| and it\b|$)",
        ),
        (
            FOOD,
            rf"\b(?:an?|no|no other) (?!(?:{_PRICES}|other|great|nice|good)\b)(?P<value>[a-z ]+?) restaurant\b",
        ),
        (FOOD, r"\bany (?:kind|type) of food\b"),
        (FOOD, rf"{_ANY}(?:food|type of food)\b"),
        (FOOD, r"\btype of food (?:of|at) .* is (?P<value>[a-z ]+)$"),
    )
)

#: The slots that a prompt asks for, whatever else it says.
_REQUESTS: Tuple[Tuple[str, Pattern[str]], ...] = (
    (FOOD, re.compile(r"\bwhat (?:kind|type|sort) of food\b")),
    (AREA, re.compile(r"\b(?:what|that|which) (?:part|area)\b")),
    (PRICE, re.compile(r"\b(?:what|which) (?:type of )?price ?range\b")),
)

#: What a prompt tells about a restaurant; digits, commas and dots still stand in it.
_FACTS: Tuple[Tuple[str, Pattern[str]], ...] = (
    ("postcode", re.compile(r"\b(c\.b [\d]+ ?,? ?[\d]+ ?[a-z]\.[a-z])")),
    ("phone", re.compile(r"\b((?:0\d{3,5}|\d{5}) ?\d{5,7}(?: \d+)?)\b")),
    (
        "addr",
        re.compile(
            r"(?:\bis (?:on|at)|\baddress of name is) (?!c\.b\b)(.+?)(?= ,? ?(?:c\.b|and\b|,)| \.|$)"
        ),
    ),
)

_SELECTED = re.compile(r"\bwould you like (?:something )?(?P<first>.+?) or (?P<second>.+)$")
_DONT_CARE = re.compile(r"\byou (?:dont|do not) care\b(?! about)")


@lru_cache(maxsize=8192)
def prompt_acts(prompt: str) -> Tuple[DialogueAct, ...]:
    """The acts of a system prompt of DSTC2; empty if it matches no template.

    Args:
        prompt: the system's words.

    Returns:
        Acts without repetition, in the order: fixed act of the frame, name of the restaurant, constraints, facts,
        requests.
    """
    words = _plain(prompt)
    frame, name = _frame(words)
    if frame is None:
        return ()
    acts: List[DialogueAct] = list(frame.acts)
    if name is not None:
        acts.append(DialogueAct("offer", "name", name))
        words = words.replace(name, "name", 1)
    constraints = _selected(words) if frame.constraint == "select" else _constraints(words)
    if frame.constraint is not None:
        acts.extend(DialogueAct(frame.constraint, slot, value) for slot, value in constraints)
    if name is not None:
        acts.extend(DialogueAct("inform", slot, value) for slot, value in _facts(prompt, name))
    acts.extend(
        DialogueAct("request", slot) for slot, pattern in _REQUESTS if pattern.search(words)
    )
    if not constraints and frame.alone is not None:
        acts.append(DialogueAct(frame.alone))
    return tuple(dict.fromkeys(acts))


def respell(text: str) -> str:
    """The text in the spelling of the JSON form (`RESPELLED`)."""
    for spelling, ours in RESPELLED.items():
        text = re.sub(rf"\b{spelling}\b", ours, text, flags=re.IGNORECASE)
    return text


def _plain(prompt: str) -> str:
    """Lower-case words without punctuation."""
    letters = re.sub(r"['’]", "", prompt.lower())
    return respell(" ".join(re.findall(r"\w+", letters)))


def _frame(words: str) -> Tuple[Optional[_Frame], Optional[str]]:
    for frame in _FRAMES:
        match = frame.pattern.search(words)
        if match:
            return frame, match.groupdict().get("name")
    return None, None


def _constraints(words: str) -> List[Tuple[str, str]]:
    found = []
    for slot, pattern in _PHRASES:
        for match in pattern.finditer(words):
            value = match.groupdict().get("value")
            found.append((slot, DONTCARE if value is None else value))
    return found


def _selected(words: str) -> List[Tuple[str, str]]:
    """The alternatives of "would you like A or B": the slot is clear from either of them."""
    match = _SELECTED.search(words)
    if match is None:
        return []
    sides = [match.group("first"), match.group("second")]
    slot, found = FOOD, []
    for side in sides:
        if re.search(rf"\b(?:{_PRICES})\b|\bprice ?range\b", side):
            slot = PRICE
        elif re.search(rf"\bthe (?:{_AREAS})\b", side):
            slot = AREA
    closed = {AREA: _AREAS, PRICE: _PRICES}
    for side in sides:
        if _DONT_CARE.search(side):
            found.append((slot, DONTCARE))
        elif slot in closed:
            found.extend((slot, value) for value in re.findall(rf"\b(?:{closed[slot]})\b", side))
        else:
            found.append((slot, re.sub(r" food$", "", side)))
    return found


def _facts(prompt: str, name: str) -> List[Tuple[str, str]]:
    """Address, phone number and post code, as spelled in the prompt."""
    text = respell(re.sub(r"['’]", "", prompt.lower()))
    spelled = re.search(r"\W+".join(map(re.escape, name.split())), text)
    if spelled:  # so that the name is not taken for a part of the address
        text = text[: spelled.start()] + "name" + text[spelled.end() :]
    found: Dict[str, str] = {}
    for slot, pattern in _FACTS:
        match = pattern.search(text)
        if match:
            found[slot] = match.group(1).strip(" ,.")
    return list(found.items())
