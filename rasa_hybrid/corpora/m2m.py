"""Google's "Machines Talking To Machines" dialogues (Shah et al. 2018): Sim-M, Sim-R and Sim-GEN.

A turn of the corpus is what the system said *before* a user's utterance together with that utterance, its acts, the
token spans of the values in it and the goal after it. A turn of ours is a user's utterance with what follows, so each
system side moves one turn up. What the system did after the last user's utterance is not recorded: such a dialogue is
not `complete`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from rasa_hybrid.corpora.json_file import read_json
from rasa_hybrid.corpora.jsonl import CorpusError
from rasa_hybrid.corpora.labels import is_dontcare
from rasa_hybrid.corpora.system_side import recorded_action
from rasa_hybrid.dialogue import (
    DONTCARE,
    Dialogue,
    DialogueAct,
    Entity,
    SystemAction,
    Turn,
    Utterance,
    normalise,
    without_none,
)

#: Goal slots of Sim-M and Sim-GEN.
MOVIE_SLOTS = ("num_tickets", "movie", "theatre_name", "date", "time")
#: Goal slots of Sim-R.
RESTAURANT_SLOTS = (
    "restaurant_name",
    "category",
    "location",
    "price_range",
    "meal",
    "rating",
    "num_people",
    "date",
    "time",
)
_SLOTS = frozenset(MOVIE_SLOTS) | frozenset(RESTAURANT_SLOTS)


def read_m2m(path: Union[str, Path], require_labels: bool = True) -> List[Dialogue]:
    """Dialogues of a file such as `sim-M/train.json`.

    An utterance without words stays as a turn with an empty text. A slot that `dialogue_state` does not mention is
    not part of the goal.

    Args:
        path: the JSON file, a list of dialogues.
        require_labels: whether a turn without `dialogue_state` is an error; else its goal is None.

    Raises:
        CorpusError: if the file is no such corpus; names file and dialogue.
    """
    records = read_json(path)
    if not isinstance(records, list):
        raise CorpusError(f"{path}: a list of dialogues is expected, not {type(records).__name__}.")
    dialogues = []
    for number, record in enumerate(records):
        name = record.get("dialogue_id") if isinstance(record, dict) else None
        where = f"{path}: dialogue {name if name is not None else f'number {number}'}"
        try:
            dialogues.append(
                _dialogue(record, str(name or f"{Path(path).stem}-{number}"), require_labels)
            )
        except CorpusError as error:
            raise CorpusError(f"{where}, {error}") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CorpusError(
                f"{where}: not an M2M dialogue ({type(error).__name__}: {error})."
            ) from error
    return dialogues


class _Span(NamedTuple):
    """Tokens of an utterance that say a value: their slot, words and characters `[start, end)`."""

    slot: str
    words: str
    start: int
    end: int


def _dialogue(record: Mapping[str, Any], name: str, require_labels: bool) -> Dialogue:
    turns: List[Turn] = []
    intents: List[str] = []
    for number, raw in enumerate(record["turns"]):
        try:
            actions = _system_side(raw)
            if actions and turns:
                turns[-1] = replace(turns[-1], actions=actions)
            elif actions:
                turns.append(Turn(actions=actions))
            if "user_utterance" in raw:
                turns.append(_user_side(raw, require_labels))
            intents.extend(str(intent) for intent in raw.get("user_intents", ()))
        except CorpusError as error:
            raise CorpusError(f"turn {number}: {error}") from error
    if not turns:
        raise CorpusError("there are no turns.")
    metadata = {"intents": intents} if intents else {}
    return Dialogue(name, tuple(turns), metadata=metadata, complete=bool(turns[-1].actions))


def _system_side(raw: Mapping[str, Any]) -> Tuple[SystemAction, ...]:
    if "system_acts" not in raw and "system_utterance" not in raw:
        return ()
    acts = []
    for act in raw.get("system_acts", ()):
        slot = act.get("slot")
        if slot is not None:
            _check_slot(slot)
        acts.append(DialogueAct(_act_type(act), slot, _value(act.get("value"))))
    text, _ = _words(raw["system_utterance"]) if "system_utterance" in raw else (None, ())
    return (recorded_action(acts, text),)


def _user_side(raw: Mapping[str, Any], require_labels: bool) -> Turn:
    text, spans = _words(raw["user_utterance"])
    if "dialogue_state" in raw:
        goal: Optional[Dict[str, str]] = _goal(raw["dialogue_state"])
    elif require_labels:
        raise CorpusError("the label `dialogue_state` is missing.")
    else:
        goal = None
    entities = tuple(
        Entity(span.slot, _canonical(span, goal), span.start, span.end) for span in spans
    )
    acts = _user_acts(raw.get("user_acts", ()), entities)
    return Turn(user=Utterance(text, entities=entities, acts=acts), goal=goal)


def _goal(state: Sequence[Mapping[str, Any]]) -> Dict[str, str]:
    values: Dict[str, Optional[str]] = {}
    for entry in state:
        _check_slot(entry["slot"])
        values[entry["slot"]] = _value(entry["value"]) or None
    return without_none(values)


def _words(raw: Mapping[str, Any]) -> Tuple[str, Tuple[_Span, ...]]:
    """The text of an utterance and the values in it."""
    text, tokens = raw["text"], raw.get("tokens", ())
    if not isinstance(text, str):
        raise CorpusError(f"`text` has to be a string, not {text!r}.")
    offsets = _offsets(text, tokens)
    if offsets is None:  # the tokens are what the spans count
        text = " ".join(tokens)
        offsets = _offsets(text, tokens) or []
    spans = []
    for slot in raw.get("slots", ()):
        first, last = slot["start"], slot["exclusive_end"] - 1
        _check_slot(slot["slot"])
        if not 0 <= first <= last < len(offsets):
            raise CorpusError(
                f"the span [{first}, {last + 1}) of {slot['slot']} is outside of {len(offsets)} tokens."
            )
        start, end = offsets[first][0], offsets[last][1]
        spans.append(_Span(slot["slot"], text[start:end], start, end))
    return text, tuple(spans)


def _offsets(text: str, tokens: Sequence[str]) -> Optional[List[Tuple[int, int]]]:
    """Characters of each token; None if they do not stand in the text one after the other."""
    offsets, position = [], 0
    for token in tokens:
        start = text.find(token, position)
        if start < 0:
            return None
        position = start + len(token)
        offsets.append((start, position))
    return offsets


def _canonical(span: _Span, goal: Optional[Mapping[str, str]]) -> str:
    """The spelling of the goal if the words say the goal's value, else the words."""
    labelled = (goal or {}).get(span.slot)
    if labelled is not None and normalise(labelled) == normalise(span.words):
        return labelled
    return span.words


def _user_acts(
    raw: Sequence[Mapping[str, Any]], entities: Sequence[Entity]
) -> Tuple[DialogueAct, ...]:
    """The user's acts with values, which the corpus marks in the words only.

    `INFORM` has no slot there: it becomes one act for each value that no other act speaks of. The first turn has an
    intent instead of acts: what it says is informed.
    """
    values = {entity.name: entity.value for entity in entities}
    acts, informs = [], not raw
    for act in raw:
        slot = act.get("slot")
        if slot is not None:
            _check_slot(slot)
            acts.append(
                DialogueAct(_act_type(act), slot, _value(act.get("value")) or values.get(slot))
            )
        elif _act_type(act) == "inform":
            informs = True
        else:
            acts.append(DialogueAct(_act_type(act)))
    if informs:
        covered = {act.slot for act in acts}
        acts.extend(
            DialogueAct("inform", e.name, e.value) for e in entities if e.name not in covered
        )
    return tuple(acts)


def _value(raw: Any) -> Optional[str]:
    """A value of a slot as text; None if there is none."""
    if raw is not None and (isinstance(raw, bool) or not isinstance(raw, (str, int, float))):
        raise CorpusError(f"a value has to be text or a number, not {raw!r}.")
    if raw is None:
        return None
    return DONTCARE if is_dontcare(str(raw)) else str(raw)


def _act_type(act: Mapping[str, Any]) -> str:
    return str(act["type"]).lower()


def _check_slot(slot: Any) -> None:
    if slot not in _SLOTS:
        raise CorpusError(f"unknown slot {slot!r}; known: {', '.join(sorted(_SLOTS))}.")
