"""Real people's wordings: surface forms from a Google M2M file (Sim-M, Sim-R), whose user acts and value spans give
delexicalised templates. Nothing of the file is kept on disk.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import FrozenSet, List, Mapping, Optional, Sequence, Set, Tuple, Union

from rasa_hybrid.corpora import CorpusError
from rasa_hybrid.corpora.m2m import read_m2m
from rasa_hybrid.dialogue import DONTCARE, Dialogue, DialogueAct, Entity, Utterance, normalise
from rasa_hybrid.simulation.located_yaml import SimulatorError
from rasa_hybrid.simulation.surface import SurfaceSet
from rasa_hybrid.simulation.templates import TemplateKey, Term

#: Acts of the corpus that are one of ours, with our name. `inform` is handled by its values.
_ACTS: Mapping[str, str] = {
    "affirm": "affirm",
    "negate": "negate",
    "thank_you": "thank_you",
    "good_bye": "good_bye",
    "greeting": "greeting",
    "cant_understand": "repeat",
}
#: A template with so few words beside the value is only understood as the answer to a question.
_BARE = 2
_MARKS = re.compile(r" ([.,!?;:])")
_APOSTROPHE = re.compile(r"(\w) ?['’] ?(s|t|m|re|ll|ve|d)\b")


def m2m_surfaces(
    path: Union[str, Path], slots: Sequence[str], fallback: Optional[SurfaceSet] = None
) -> SurfaceSet:
    """Surface forms from the utterances of a Google M2M file.

    Utterances are left out that say something the annotation doesn't cover: a value without a span, a change of the
    goal without words for it, a value twice, slots that the domain lacks.

    Args:
        path: a JSON file such as `sim-M/train.json`.
        slots: goal slots of the domain.
        fallback: a set for the acts that the file has no words for.

    Returns:
        The set, named after the file.

    Raises:
        SimulatorError: if the file is no such corpus, or nothing in it can be used.
    """
    try:
        dialogues = read_m2m(path)
    except CorpusError as error:
        raise SimulatorError(str(error)) from error
    surfaces = SurfaceSet(f"m2m-{Path(path).stem}", slots, fallback)
    values = _values(dialogues)
    seen: Set[Tuple[TemplateKey, str]] = set()
    for dialogue in dialogues:
        before: Mapping[str, str] = {}
        heard: Tuple[DialogueAct, ...] = ()
        for position, turn in enumerate(dialogue.turns):
            goal = turn.goal or {}
            if turn.user is not None:
                entry = _template(turn.user, before, goal, heard, position == 0, values)
                if (
                    entry is not None
                    and entry not in seen
                    and all(s in slots for _, s, _ in entry[0].terms if s)
                ):
                    seen.add(entry)
                    surfaces.add(*entry)
            before = goal
            heard = tuple(act for action in turn.actions for act in action.acts)
    if not len(surfaces):
        raise SimulatorError(f"{path}: no utterance can be used for the slots {', '.join(slots)}")
    return surfaces


def _values(dialogues: Sequence[Dialogue]) -> FrozenSet[str]:
    """Everything that is marked as a value somewhere."""
    return frozenset(
        normalise(turn.user.text[entity.start : entity.end])
        for dialogue in dialogues
        for turn in dialogue.turns
        if turn.user is not None
        for entity in turn.user.entities
    )


def _template(
    user: Utterance,
    before: Mapping[str, str],
    goal: Mapping[str, str],
    heard: Sequence[DialogueAct],
    first: bool,
    values: FrozenSet[str],
) -> Optional[Tuple[TemplateKey, str]]:
    text, rest = _delexicalised(user.text, user.entities)
    told = [entity.name for entity in user.entities]
    if (
        not text
        or len(set(told)) < len(told)
        or _says_a_value(rest, values)
        or re.search(r"[{}]", rest)
    ):
        return None
    acts = {act.act.lower() for act in user.acts}
    if not acts <= {*_ACTS, "inform"}:
        return None
    terms: List[Term] = [(_ACTS[act], "", "") for act in sorted(acts) if act in _ACTS]
    changed = {slot for slot, value in goal.items() if before.get(slot) != value}
    if "affirm" in acts:
        # Whoever says yes takes over what the system said; only a plain yes is a template for that.
        return (TemplateKey(tuple(sorted(terms)), None), text) if not told else None
    careless = {slot for slot in changed - set(told) if goal[slot] == DONTCARE}
    if changed - set(told) - careless:
        return None
    if "negate" in acts and not changed >= set(told):
        return None
    if {"negate", "good_bye"} <= acts and not told:
        terms = [("cancel", "", "")]
    if first:
        terms.append(("start", "", ""))
    kind = "change" if "negate" in acts else "inform"
    terms += [(kind, slot, "") for slot in told] + [
        ("inform", slot, DONTCARE) for slot in sorted(careless)
    ]
    if not terms:
        return None
    requested = {act.slot for act in heard if act.act.lower() == "request"}
    after = None
    if len(terms) == 1 and terms[0][1] in requested and (careless or len(rest.split()) <= _BARE):
        after = ("request", terms[0][1])
    return TemplateKey(tuple(sorted(terms)), after), text


def _delexicalised(text: str, entities: Sequence[Entity]) -> Tuple[str, str]:
    """The text with `{slot}` for each value, in usual spelling, and what is left of it."""
    template, rest, position = "", "", 0
    for entity in sorted(entities, key=lambda e: e.start):
        if entity.start < position:
            return "", ""
        template += text[position : entity.start] + "{" + entity.name + ":plain}"
        rest += text[position : entity.start] + " | "
        position = entity.end
    template, rest = template + text[position:], rest + text[position:]
    return _APOSTROPHE.sub(r"\1'\2", _MARKS.sub(r"\1", template)).strip(' "'), rest


def _says_a_value(rest: str, values: FrozenSet[str]) -> bool:
    """Whether the words beside the marked values say another one."""
    for part in rest.split("|"):
        words = normalise(part).split()
        if any(word[:1].isdigit() for word in words):
            return True
        for start in range(len(words)):
            for end in range(start + 1, min(len(words), start + 6) + 1):
                if " ".join(words[start:end]) in values:
                    return True
    return False
