"""Templates: one way each to say some acts of a user.

    user:
      inform(movie, date): |
        I want to see {movie} on {date}
      inform(date) after request(date): |
        {date}
      inform(*=dontcare) after request(*): |
        I don't mind

A key names the acts (joined by " + ") and, with `after`, a system act that has to come right before; `*` stands for any
goal slot. Every line below it is one template. `{slot}` is replaced by one of the ways to say the value, `{slot:plain}`
by one that fits everywhere, `{slot:wrong}` by the value that the speaker takes back. `{slot:many}` keeps the template
from being used when the value is 1, and `{slot?ticket|tickets}` is a word that agrees with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, List, Mapping, NamedTuple, Optional, Tuple

#: What users do, and whether it is about a slot: never, maybe, always.
USER_ACTS: Mapping[str, str] = {
    "greeting": "never",
    "start": "never",  # says what it came for, without any detail
    "inform": "always",
    "change": "always",  # a value that differs from what was said before
    "correct": "always",  # a value that was misspoken and is put right in the same breath
    "affirm": "never",
    "negate": "maybe",
    "request_alternatives": "never",  # wants another offer
    "request": "always",  # asks what there is
    "thank_you": "never",
    "good_bye": "never",
    "cancel": "never",
    "repeat": "never",  # did not understand
    "out_of_domain": "never",
}
#: Acts that tell a value; to the label they are all the same.
INFORMING = frozenset({"inform", "change", "correct"})
#: System acts that `after` may name.
SYSTEM_ACTS = (
    "request",
    "offer",
    "confirm",
    "select",
    "notify_failure",
    "notify_success",
    "greeting",
)

#: An act as templates are looked up by: act, slot or "", and "" for a value that the template shows, else the value.
Term = Tuple[str, str, str]
Signature = Tuple[Term, ...]


class TemplateKey(NamedTuple):
    """What a block of templates is for: user acts, and the system act that has to come before."""

    terms: Signature
    after: Optional[Tuple[str, str]]


_TERM = re.compile(r"([a-z_]+)\s*(?:\(([^()]*)\))?")
_NAME = re.compile(r"[^\W\d]\w*|\*")


def parse_key(key: str) -> TemplateKey:
    """Reads `inform(movie, date=dontcare) + affirm after request(movie)`.

    Args:
        key: acts joined by "+", then optionally `after` and a system act.

    Returns:
        Its parts, the terms sorted.

    Raises:
        ValueError: if it isn't one; says what is wrong.
    """
    acts, _, after = (part.strip() for part in key.partition(" after "))
    terms: List[Term] = []
    for part in acts.split("+"):
        match = _TERM.fullmatch(part.strip())
        if not match:
            raise ValueError(f"{part.strip()!r} is not an act such as inform(date)")
        act, arguments = (
            match.group(1),
            [a.strip() for a in (match.group(2) or "").split(",") if a.strip()],
        )
        if act not in USER_ACTS:
            raise ValueError(f"unknown user act {act!r}; allowed: {', '.join(USER_ACTS)}")
        if arguments and USER_ACTS[act] == "never":
            raise ValueError(f"{act} takes no slot")
        if not arguments and USER_ACTS[act] == "always":
            raise ValueError(f"{act} needs a slot, as in {act}(date)")
        for argument in arguments:
            slot, equals, value = (a.strip() for a in argument.partition("="))
            if not _NAME.fullmatch(slot):
                raise ValueError(f"{slot!r} is not a slot name")
            if equals and (not value or act not in INFORMING):
                raise ValueError(
                    f"{argument!r}: a value can only be given to inform, change or correct, and not an empty one"
                )
            terms.append((act, slot, value))
        if not arguments:
            terms.append((act, "", ""))
    if len({term[:2] for term in terms}) != len(terms):
        raise ValueError("the same act and slot stand there twice")
    if not after:
        return TemplateKey(tuple(sorted(terms)), None)
    match = _TERM.fullmatch(after)
    if not match or match.group(1) not in SYSTEM_ACTS or "," in (match.group(2) or ""):
        raise ValueError(
            f"after {after!r}: has to be one system act of {', '.join(SYSTEM_ACTS)}, with a slot or without"
        )
    return TemplateKey(tuple(sorted(terms)), (match.group(1), (match.group(2) or "").strip()))


def format_key(key: TemplateKey) -> str:
    """The text that `parse_key` reads."""
    acts: Dict[str, List[str]] = {}
    for act, slot, value in key.terms:
        acts.setdefault(act, [])
        if slot:
            acts[act].append(f"{slot}={value}" if value else slot)
    text = " + ".join(f"{act}({', '.join(slots)})" if slots else act for act, slots in acts.items())
    if key.after:
        text += f" after {key.after[0]}" + (f"({key.after[1]})" if key.after[1] else "")
    return text


class Piece(NamedTuple):
    """Words, and the value that follows them ("" at the end of the template)."""

    words: str
    slot: str
    form: str


@dataclass(frozen=True)
class Template:
    """One way to say some acts.

    Args:
        text: as it stands in the file, with `{slot}`s.
        pieces: the same, split at the slots.
        line: where it stands; 0 if not in a file of ours.
        many: slots for which it can't be said when the value is 1.
    """

    text: str
    pieces: Tuple[Piece, ...]
    line: int = 0
    many: Tuple[str, ...] = ()


#: Where a value stands in a template.
PLACE = re.compile(r"\{([^{}]*)\}")


def parse_template(text: str, terms: Signature, line: int = 0) -> Template:
    """Reads the text of a template for these acts.

    Raises:
        ValueError: for a slot that the acts don't have, a value that isn't said, or a stray brace.
    """
    shown = {slot for act, slot, value in terms if act in INFORMING and not value}
    taken_back = {slot for act, slot, _ in terms if act == "correct"}
    pieces, position, seen, wrong = [], 0, [], set()
    for match in PLACE.finditer(text):
        slot, agreement, form = match.group(1).partition("?")
        if agreement:
            pieces.append(Piece(text[position : match.start()], slot, "?" + form))
            position = match.end()
            if slot not in shown or form.count("|") != 1:
                raise ValueError(f"{{{match.group(1)}}} has to be like {{slot?ticket|tickets}}")
            continue
        slot, _, form = match.group(1).partition(":")
        if slot not in shown:
            raise ValueError(
                f"unknown slot {{{match.group(1)}}}; here: {', '.join(sorted(shown)) or 'none'}"
            )
        if form not in ("", "plain", "many", "wrong") or (
            form == "wrong" and slot not in taken_back
        ):
            raise ValueError(
                f"{{{match.group(1)}}}: the form has to be plain, many, or wrong in a template for correct(...)"
            )
        wrong.add(slot) if form == "wrong" else seen.append(slot)
        pieces.append(Piece(text[position : match.start()], slot, form))
        position = match.end()
    rest = text[position:]
    if (
        any(brace in piece.words for piece in pieces for brace in "{}")
        or "{" in rest
        or "}" in rest
    ):
        raise ValueError("a stray { or }")
    if sorted(seen) != sorted(shown):
        raise ValueError(
            f"each of {', '.join('{' + slot + '}' for slot in sorted(shown))} has to stand here once"
        )
    if wrong != taken_back:
        raise ValueError(f"{{{sorted(taken_back)[0]}:wrong}} is missing")
    if not text.strip():
        raise ValueError("an empty template")
    pieces.append(Piece(rest, "", ""))
    return Template(
        text, tuple(pieces), line, tuple(piece.slot for piece in pieces if piece.form == "many")
    )
