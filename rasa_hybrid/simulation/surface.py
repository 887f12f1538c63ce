"""Surface forms: how the user's acts become words. Templates are data, one set per file (`templates` says how they look).

Acts for which there is no template together are said one after the other.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import (
    Dict,
    FrozenSet,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import numpy as np

from rasa_hybrid.dialogue import DONTCARE, DialogueAct, Entity
from rasa_hybrid.simulation.located_yaml import Located, SimulatorError, load_located
from rasa_hybrid.simulation.spoken_values import SpokenValue
from rasa_hybrid.simulation.templates import (
    INFORMING,
    PLACE,
    Signature,
    Template,
    TemplateKey,
    format_key,
    parse_key,
    parse_template,
)

#: What the system said right before, as far as templates care: (act, slot or "").
Heard = FrozenSet[Tuple[str, str]]


class SurfaceSet:
    """The surface forms of one kind of speaker.

    Args:
        name: for the metadata of dialogues.
        slots: goal slots of the domain.
        fallback: where acts are looked up that this set has no words for.
    """

    def __init__(
        self, name: str, slots: Sequence[str], fallback: Optional[SurfaceSet] = None
    ) -> None:
        self.name = name
        self.slots = tuple(slots)
        self.fallback = fallback
        self.between_values: Tuple[str, ...] = (", ", " and ", " ")
        self.between_acts: Tuple[str, ...] = (", ", ". ")
        self.polite: Tuple[str, ...] = ()
        self.hesitant: Tuple[str, ...] = ()
        self.source: List[Tuple[TemplateKey, Template]] = []
        self._general: Dict[Signature, List[Template]] = {}
        self._replies: Dict[Signature, List[Tuple[Tuple[str, str], Template]]] = {}
        self._candidates: Dict[Tuple[Signature, Heard], Tuple[List[Template], List[Template]]] = {}
        self._after: FrozenSet[Tuple[str, str]] = frozenset()

    def __len__(self) -> int:
        """Number of templates as written (`*` counts once)."""
        return len(self.source)

    def add(self, key: TemplateKey, text: str, line: int = 0) -> None:
        """Adds one template; `*` is filled with every goal slot.

        Raises:
            ValueError: if slot, value or template don't fit.
        """
        if sum(slot == "*" for _, slot, _ in key.terms) > 1:
            raise ValueError("* can stand there once only")
        self.source.append((key, parse_template(text, key.terms, line)))
        for filled in self._fill(key):
            slots = [slot for _, slot, _ in filled.terms if slot]
            if filled.after and filled.after[1]:
                slots.append(filled.after[1])
            for slot in slots:
                if slot not in self.slots:
                    raise ValueError(f"unknown slot {slot!r}; goal slots: {', '.join(self.slots)}")
            bound = next(
                (s for (_, s, _), (_, w, _) in zip(filled.terms, key.terms) if w == "*"), ""
            )
            template = parse_template(_bind(text, bound), filled.terms, line)
            if filled.after is None:
                self._general.setdefault(filled.terms, []).append(template)
            else:
                self._replies.setdefault(filled.terms, []).append((filled.after, template))
                self._after |= {filled.after}
        self._candidates.clear()

    def _fill(self, key: TemplateKey) -> List[TemplateKey]:
        if not any(slot == "*" for _, slot, _ in key.terms) and (key.after or ("", ""))[1] != "*":
            return [key]
        others = {slot for _, slot, _ in key.terms}
        return [
            TemplateKey(
                tuple(
                    (act, slot if name == "*" else name, value) for act, name, value in key.terms
                ),
                (key.after[0], slot if key.after[1] == "*" else key.after[1])
                if key.after
                else None,
            )
            for slot in self.slots
            if slot not in others
        ]

    def says(self, signature: Signature) -> bool:
        """Whether there are words for exactly these acts whatever was said before."""
        return signature in self._general

    def missing(self, signatures: Iterable[Signature]) -> List[str]:
        """Those of `signatures` for which there are no words, as keys."""
        return [
            format_key(TemplateKey(s, None))
            for s in signatures
            if not self._lookup(s, frozenset())[0]
        ]

    def templates(self) -> Iterator[Tuple[Signature, Template]]:
        """All templates with `*` filled, under the acts that they are for."""
        for signature, general in self._general.items():
            for template in general:
                yield signature, template
        for signature, replies in self._replies.items():
            for _, template in replies:
                yield signature, template

    def words(self) -> FrozenSet[str]:
        """The words of the templates, lower case, without the values."""
        text = " ".join(PLACE.sub(" ", template.text) for _, template in self.source)
        return frozenset(re.findall(r"[a-z]+(?:'[a-z]+)*", text.lower().replace("’", "'")))

    def heard(self, acts: Iterable[DialogueAct]) -> Heard:
        """The part of the system's acts that decides which templates fit."""
        found = set()
        for act in acts:
            for key in ((act.act, act.slot or ""), (act.act, "")):
                if key in self._after or (
                    self.fallback is not None and key in self.fallback._after
                ):
                    found.add(key)
        return frozenset(found)

    def _lookup(self, signature: Signature, heard: Heard) -> Tuple[List[Template], List[Template]]:
        """Templates that always fit, and those that fit after what was heard."""
        found = self._candidates.get((signature, heard))
        if found is None:
            general = list(self._general.get(signature, ()))
            replies = [
                template for after, template in self._replies.get(signature, ()) if after in heard
            ]
            if not general and not replies and self.fallback is not None:
                general, replies = self.fallback._lookup(signature, heard)
            found = self._candidates[(signature, heard)] = (general, replies)
        return found

    def _pick(
        self, acts: Sequence[DialogueAct], heard: Heard, rng: np.random.Generator
    ) -> Optional[Template]:
        general, replies = self._lookup(signature_of(acts), heard)
        choice = replies if replies and (not general or rng.random() < 0.6) else general
        if not choice:
            return None
        template = choice[int(rng.random() * len(choice))]
        if template.many and any(act.value == "1" for act in acts if act.slot in template.many):
            choice = [t for t in (*general, *replies) if not t.many]
            return choice[int(rng.random() * len(choice))] if choice else None
        return template

    def realise(
        self,
        acts: Sequence[DialogueAct],
        heard: Heard,
        spoken: Mapping[str, Mapping[str, SpokenValue]],
        rng: np.random.Generator,
        wrong: Optional[Mapping[str, str]] = None,
        polite: bool = False,
        hesitant: bool = False,
    ) -> Tuple[str, Tuple[Entity, ...]]:
        """Words for acts.

        Args:
            acts: what the user does; `change` and `correct` tell a value as `inform` does.
            heard: what the system said right before (`heard`).
            spoken: slot, value, ways to say it.
            rng: source of chance.
            wrong: for slots of `correct`, the value that is taken back.
            polite: adds a please or the like.
            hesitant: adds a filler.

        Returns:
            The text, and the values in it with their places.

        Raises:
            SimulatorError: if there are no words for one of the acts.
        """
        parts = self._arrange(acts, heard, rng)
        text = ""
        entities: List[Entity] = []
        for template, said, kind in parts:
            if text:
                joiners = self.between_values if kind == "value" else self.between_acts
                joiner = joiners[int(rng.random() * len(joiners))]
                text = text.rstrip(" .!?,") + joiner if joiner.strip() else text + joiner
            for words, slot, form in template.pieces:
                text += words
                if not slot:
                    continue
                if form[:1] == "?":
                    text += form[1:].split("|")[said[slot] != "1"]
                    continue
                value = said[slot] if form != "wrong" else (wrong or {})[slot]
                forms = spoken[slot].get(value)
                if forms is None:
                    phrase = value
                else:
                    choice = forms.any if form != "plain" else forms.plain
                    phrase = choice[int(rng.random() * len(choice))]
                if form != "wrong":
                    entities.append(Entity(slot, value, len(text), len(text) + len(phrase)))
                text += phrase
        if hesitant:
            text, entities = _decorated(self._patterns("hesitant"), text, entities, rng)
        if polite:
            text, entities = _decorated(self._patterns("polite"), text, entities, rng)
        return text, tuple(entities)

    def _patterns(self, kind: str) -> Tuple[str, ...]:
        patterns: Tuple[str, ...] = getattr(self, kind)
        return (
            self.fallback._patterns(kind)
            if not patterns and self.fallback is not None
            else patterns
        )

    def _arrange(
        self, acts: Sequence[DialogueAct], heard: Heard, rng: np.random.Generator
    ) -> List[Tuple[Template, Dict[str, str], str]]:
        """Templates that together say the acts, each with the values it shows."""
        said = {
            act.slot: act.value for act in acts if act.slot is not None and act.value is not None
        }
        # Now and then what could be said at once comes in parts; yes and no stay with what follows them.
        together = len(acts) == 1 or any(act.act in ("affirm", "negate") for act in acts)
        if together or rng.random() > 0.15:
            template = self._pick(acts, heard, rng)
            if template is not None:
                return [(template, said, "act")]
        parts: List[Tuple[Template, Dict[str, str], str]] = []
        values = [act for act in acts if act.act in INFORMING]
        for i in range(len(values) - 1, 0, -1):
            j = int(rng.random() * (i + 1))
            values[i], values[j] = values[j], values[i]
        told = False
        for act in acts:
            if act.act not in INFORMING:
                parts.append((self._single(act, heard, rng), said, "act"))
            elif not told:
                told = True
                kind = "act"
                while values:
                    for size in range(len(values), 0, -1):
                        template = self._pick(values[:size], heard, rng)
                        if template is not None:
                            break
                    else:
                        size, template = 1, self._single(values[0], heard, rng)
                    parts.append((template, said, kind))
                    kind, values = "value", values[size:]
        return parts

    def _single(self, act: DialogueAct, heard: Heard, rng: np.random.Generator) -> Template:
        template = self._pick((act,), heard, rng)
        if template is None and act.act == "change":
            template = self._pick((DialogueAct("inform", act.slot, act.value),), heard, rng)
        if template is None:
            key = format_key(TemplateKey(signature_of((act,)), None))
            raise SimulatorError(f"surface forms {self.name}: no template for {key}")
        return template


def _decorated(
    patterns: Sequence[str], text: str, entities: List[Entity], rng: np.random.Generator
) -> Tuple[str, List[Entity]]:
    """The text in one of the patterns, unless it has those words already."""
    if not patterns:
        return text, entities
    before, _, after = patterns[int(rng.random() * len(patterns))].partition("{}")
    if (before.strip(" ,.:") or after.strip(" ,.:")) in text:
        return text, entities
    if after.strip():
        text = text.rstrip(" .!?,")
    moved = [Entity(e.name, e.value, e.start + len(before), e.end + len(before)) for e in entities]
    return before + text + after, moved


def _bind(text: str, slot: str) -> str:
    """The template with this slot in the place of `*`."""
    return PLACE.sub(lambda place: place.group(0).replace("*", slot), text)


def signature_of(acts: Iterable[DialogueAct]) -> Signature:
    """How the templates of these acts are looked up."""
    return tuple(
        sorted((act.act, act.slot or "", DONTCARE if act.value == DONTCARE else "") for act in acts)
    )


def read_surfaces(
    path: Union[str, Path],
    slots: Sequence[str],
    name: Optional[str] = None,
    fallback: Optional[SurfaceSet] = None,
) -> SurfaceSet:
    """A set of surface forms from a YAML file.

    Args:
        path: the file.
        slots: goal slots of the domain.
        name: name of the set; the file's name without extension if None.
        fallback: a set that knows what this one doesn't.

    Returns:
        The set.

    Raises:
        SimulatorError: for anything that is wrong in the file, naming its line.
    """
    content = load_located(path)
    content.only(
        ("user", "between_values", "between_acts", "polite", "hesitant"), "section of surface forms"
    )
    surfaces = SurfaceSet(name or Path(path).stem, slots, fallback)
    user = content.section("user")
    for text_key in user:
        try:
            key = parse_key(text_key)
        except ValueError as error:
            user.fail(f"{text_key}: {error}", text_key)
        for line, text in _lines(user, text_key):
            try:
                surfaces.add(key, text, line)
            except ValueError as error:
                raise SimulatorError(f"{path}:{line}: {text!r}: {error}") from error
    for pattern in ("polite", "hesitant"):
        if pattern in content:
            lines = list(_lines(content, pattern))
            for line, text in lines:
                if text.count("{}") != 1:
                    raise SimulatorError(
                        f"{path}:{line}: {text!r} needs {{}} once, where the utterance goes"
                    )
            setattr(surfaces, pattern, tuple(text for _, text in lines))
    for joiners in ("between_values", "between_acts"):
        if joiners in content:
            listed = content[joiners]
            if (
                not isinstance(listed, list)
                or not listed
                or not all(isinstance(joiner, str) for joiner in listed)
            ):
                content.fail(f"{joiners} has to be a list of texts", joiners)
            setattr(surfaces, joiners, tuple(listed))
    return surfaces


def _lines(section: Located, key: str) -> Iterator[Tuple[int, str]]:
    block = section[key]
    if not isinstance(block, str):
        section.fail(f"{key} has to be a block of lines (`{key}: |`), one template a line", key)
    for offset, line in enumerate(block.splitlines(), start=1):
        text = line.strip()
        if text and not text.startswith("#"):
            yield section.lines[key] + offset, text
