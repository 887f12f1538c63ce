"""The project's own corpus format: one JSON object a line, one dialogue a line, only what differs from the defaults.

{"id": "17", "goal": {"date": "friday"}, "turns": [
  {"actions": [{"name": "utter_greet", "acts": [["greeting"]]}]},
  {"user": {"text": "hi, friday please", "acts": [["inform", "date", "friday"]]},
   "goal": {"date": "friday"}, "summary": {"matches": 4, "remaining": 4},
   "actions": [{"name": "utter_request_time", "acts": [["request", "time"]]}]}]}
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple, Union

from rasa_hybrid.dialogue import (
    Dialogue,
    DialogueAct,
    Entity,
    Hypothesis,
    Override,
    ResultSummary,
    SystemAction,
    Turn,
    Utterance,
)


class CorpusError(ValueError):
    """A corpus file that can't be read; the message names file, line or dialogue, and what is wrong."""


def read_jsonl(path: Union[str, Path]) -> Iterator[Dialogue]:
    """Dialogues of a corpus file, one at a time.

    Raises:
        CorpusError: if the file does not exist or a line is not a dialogue; names file and line.
    """
    try:
        file = open(path, encoding="utf-8")  # noqa: SIM115 - closed below, errors of opening here
    except OSError as error:
        raise CorpusError(f"{path}: the corpus can't be opened ({error.strerror}).") from error
    with file:
        for number, line in enumerate(_decoded(file, path), start=1):
            if not line.strip():
                continue
            try:
                yield dialogue_from_json(json.loads(line))
            except json.JSONDecodeError as error:
                raise CorpusError(f"{path}:{number}: broken JSON ({error}).") from error
            except RecursionError:
                raise CorpusError(
                    f"{path}:{number}: lists or objects are nested too deeply."
                ) from None
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise CorpusError(
                    f"{path}:{number}: not a dialogue ({type(error).__name__}: {error})."
                ) from error


def _decoded(file: Iterable[str], path: Union[str, Path]) -> Iterator[str]:
    try:
        yield from file
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path}: not UTF-8 text (byte {error.object[error.start]:#x})."
        ) from error


def write_jsonl(path: Union[str, Path], dialogues: Iterable[Dialogue]) -> int:
    """Writes a corpus file and returns the number of dialogues."""
    count = 0
    with open(path, "w", encoding="utf-8") as file:
        for dialogue in dialogues:
            file.write(json.dumps(dialogue_to_json(dialogue), ensure_ascii=False) + "\n")
            count += 1
    return count


def dialogue_to_json(dialogue: Dialogue) -> Dict[str, Any]:
    """The JSON-able form of a dialogue; fields at their defaults are left out."""
    return _sparse(
        {
            "id": dialogue.id,
            "goal": dict(dialogue.goal) if dialogue.goal is not None else None,
            "weight": None if dialogue.weight == 1.0 else dialogue.weight,
            "complete": None if dialogue.complete else False,
            "metadata": dict(dialogue.metadata) or None,
            "turns": [_turn_to_json(turn) for turn in dialogue.turns],
        }
    )


def dialogue_from_json(record: Mapping[str, Any]) -> Dialogue:
    """The dialogue of a JSON object.

    Raises:
        KeyError, TypeError, ValueError: if it is not one.
    """
    _known(record, {"id", "goal", "weight", "complete", "metadata", "turns"}, "dialogue")
    weight = float(record.get("weight", 1.0))
    if not 0 <= weight < math.inf:
        raise ValueError(f"weight: {weight} is not allowed; it has to be a number from 0.")
    return Dialogue(
        id=str(record["id"]),
        turns=tuple(_turn_from_json(turn) for turn in record["turns"]),
        goal=_goal_from_json(record.get("goal")),
        weight=weight,
        metadata=dict(record.get("metadata", {})),
        complete=bool(record.get("complete", True)),
    )


def _turn_to_json(turn: Turn) -> Dict[str, Any]:
    summary = _sparse({"matches": turn.summary.matches, "remaining": turn.summary.remaining})
    return _sparse(
        {
            "user": _utterance_to_json(turn.user) if turn.user is not None else None,
            "goal": dict(turn.goal) if turn.goal is not None else None,
            "summary": summary or None,
            "overrides": [
                [o.slot, o.value, o.source, o.after] + ([] if o.rejects is None else [o.rejects])
                for o in turn.overrides
            ]
            or None,
            "actions": [_action_to_json(action) for action in turn.actions] or None,
            "closing_context": list(turn.closing_context) or None,
            "expert": None if turn.expert is None else list(turn.expert),
        }
    )


def _turn_from_json(record: Mapping[str, Any]) -> Turn:
    known = {"user", "goal", "summary", "overrides", "actions", "closing_context", "expert"}
    _known(record, known, "turn")
    expert = record.get("expert")
    if not (expert is None or isinstance(expert, list)):
        raise TypeError(f"`expert` of a turn has to be a list of actions, not {expert!r}")
    summary = record.get("summary", {})
    _known(summary, {"matches", "remaining"}, "summary")
    return Turn(
        user=_utterance_from_json(record["user"]) if record.get("user") is not None else None,
        goal=_goal_from_json(record.get("goal")),
        summary=ResultSummary(_count(summary.get("matches")), _count(summary.get("remaining"))),
        overrides=tuple(
            Override(str(slot), str(value), str(source), int(after), *map(str, rejects))
            for slot, value, source, after, *rejects in record.get("overrides", ())
        ),
        actions=tuple(_action_from_json(action) for action in record.get("actions", ())),
        closing_context=tuple(str(feature) for feature in record.get("closing_context", ())),
        expert=None if expert is None else tuple(str(name) for name in expert),
    )


def _utterance_to_json(utterance: Utterance) -> Dict[str, Any]:
    return _sparse(
        {
            "text": utterance.text,
            "hypotheses": [[h.text, h.confidence] for h in utterance.hypotheses] or None,
            "intent": utterance.intent,
            "entities": [
                _sparse(
                    {
                        "entity": entity.name,
                        "value": entity.value,
                        "start": None if entity.start < 0 else entity.start,
                        "end": None if entity.end < 0 else entity.end,
                        "role": entity.role,
                        "group": entity.group,
                    }
                )
                for entity in utterance.entities
            ]
            or None,
            "acts": _acts_to_json(utterance.acts) or None,
        }
    )


def _utterance_from_json(record: Mapping[str, Any]) -> Utterance:
    _known(record, {"text", "hypotheses", "intent", "entities", "acts"}, "user")
    if not isinstance(record["text"], str):
        raise TypeError(f"`text` of a user's utterance has to be a string, not {record['text']!r}")
    return Utterance(
        text=record["text"],
        hypotheses=tuple(
            Hypothesis(str(text), float(confidence))
            for text, confidence in record.get("hypotheses", ())
        ),
        intent=record.get("intent"),
        entities=tuple(
            Entity(
                str(entity["entity"]),
                str(entity["value"]),
                int(entity.get("start", -1)),
                int(entity.get("end", -1)),
                entity.get("role"),
                entity.get("group"),
            )
            for entity in record.get("entities", ())
        ),
        acts=_acts_from_json(record.get("acts", ())),
    )


def _action_to_json(action: SystemAction) -> Dict[str, Any]:
    return _sparse(
        {
            "name": action.name,
            "acts": _acts_to_json(action.acts) or None,
            "context": list(action.context) or None,
            "text": action.text,
            "learn": None if action.learn else False,
        }
    )


def _action_from_json(record: Mapping[str, Any]) -> SystemAction:
    _known(record, {"name", "acts", "context", "text", "learn"}, "action")
    return SystemAction(
        name=str(record["name"]),
        acts=_acts_from_json(record.get("acts", ())),
        context=tuple(str(feature) for feature in record.get("context", ())),
        text=record.get("text"),
        learn=bool(record.get("learn", True)),
    )


def _acts_to_json(acts: Iterable[DialogueAct]) -> List[List[Optional[str]]]:
    """`[act]`, `[act, slot]` or `[act, slot, value]`; null for the slot of an act that has a value only."""
    return [
        [act.act]
        + ([act.slot] if act.slot is not None or act.value is not None else [])
        + ([act.value] if act.value is not None else [])
        for act in acts
    ]


def _acts_from_json(acts: Iterable[Iterable[Any]]) -> Tuple[DialogueAct, ...]:
    return tuple(_act_from_json(*act) for act in acts)


def _act_from_json(act: Any, *rest: Any) -> DialogueAct:
    return DialogueAct(str(act), *(None if part is None else str(part) for part in rest))


def _goal_from_json(goal: Optional[Mapping[str, Any]]) -> Optional[Dict[str, str]]:
    return (
        None
        if goal is None
        else {str(slot): str(value) for slot, value in goal.items() if value is not None}
    )


def _count(value: Any) -> Optional[int]:
    return None if value is None else int(value)


def _sparse(record: Dict[str, Any]) -> Dict[str, Any]:
    return {key: value for key, value in record.items() if value is not None}


def _known(record: Mapping[str, Any], allowed: set, what: str) -> None:
    unknown = sorted(set(record) - allowed)
    if unknown:
        raise ValueError(
            f"unknown key {unknown[0]!r} in a {what}; allowed: {', '.join(sorted(allowed))}"
        )
