"""A corpus as Rasa training data: stories with the users' words, and nlu.yml with their intents and entities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, Optional, Tuple, Union

from rasa_hybrid.dialogue import Dialogue, Entity, Utterance
from rasa_hybrid.simulation.flow import slots_of


def write_rasa(
    directory: Union[str, Path],
    dialogues: Iterable[Dialogue],
    synonyms: Optional[Mapping[str, Mapping[str, List[str]]]] = None,
) -> int:
    """Writes `stories.yml` and `nlu.yml`.

    Every story step has the intent, the words and the entities of the utterance; what the utterance changed in the goal
    and what an action set follows as `slot_was_set`.

    Args:
        directory: where to; made if missing.
        dialogues: utterances need an intent.
        synonyms: slot, value, and how else it is said.

    Returns:
        Number of dialogues.

    Raises:
        ValueError: if an utterance has no intent; names the dialogue.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    examples: Dict[str, Dict[str, None]] = {}
    used: Dict[Tuple[str, str], Dict[str, None]] = {}
    count = 0
    with open(directory / "stories.yml", "w", encoding="utf-8") as file:
        file.write('version: "3.1"\nstories:\n')
        for dialogue in dialogues:
            file.write("\n".join(_story(dialogue)) + "\n")
            count += 1
            for turn in dialogue.turns:
                if turn.user is not None:
                    examples.setdefault(str(turn.user.intent), {})[_annotated(turn.user)] = None
                    for entity in turn.user.entities:
                        said = turn.user.text[entity.start : entity.end]
                        if said != entity.value:
                            used.setdefault((entity.name, entity.value), {})[said] = None
    for slot, values in (synonyms or {}).items():
        for value, forms in values.items():
            for form in forms:
                used.setdefault((slot, value), {})[form] = None
    (directory / "nlu.yml").write_text(_nlu(examples, used), encoding="utf-8")
    return count


def _story(dialogue: Dialogue) -> List[str]:
    lines = [f"- story: {_quoted(dialogue.id)}", "  steps:"]
    goal: Mapping[str, str] = {}
    state: Dict[str, str] = {}
    for turn in dialogue.turns:
        if turn.user is not None:
            if not turn.user.intent:
                raise ValueError(
                    f"dialogue {dialogue.id}: {turn.user.text!r} has no intent; Rasa stories need one"
                )
            lines += [f"  - intent: {turn.user.intent}", f"    user: {_quoted(turn.user.text)}"]
            if turn.user.entities:
                lines.append("    entities:")
                lines += [
                    f"    - {_quoted(e.name)}: {_quoted(e.value)}" for e in turn.user.entities
                ]
        if turn.goal is not None:
            changed = {slot: value for slot, value in turn.goal.items() if goal.get(slot) != value}
            gone = {slot: None for slot in goal if slot not in turn.goal}
            lines += _slots({**changed, **gone})
            goal = turn.goal
        for action in turn.actions:
            lines += _slots(_news(action.context, state))
            lines.append(f"  - action: {action.name}")
    return lines


def _news(context: Iterable[str], state: Dict[str, str]) -> Dict[str, Optional[str]]:
    """Slots of the context that differ from what is known; updates `state`."""
    news: Dict[str, Optional[str]] = {}
    for slot, value in slots_of(context).items():
        if state.get(slot) != value:
            news[slot] = state[slot] = value
    return news


def _slots(values: Mapping[str, Optional[str]]) -> List[str]:
    if not values:
        return []
    lines = ["  - slot_was_set:"]
    return lines + [
        f"    - {slot}: {'null' if value is None else _quoted(value)}"
        for slot, value in values.items()
    ]


def _annotated(utterance: Utterance) -> str:
    """The words with their entities as in nlu.yml."""
    text, position = "", 0
    for entity in sorted(utterance.entities, key=lambda e: e.start):
        text += utterance.text[position : entity.start] + _entity(utterance.text, entity)
        position = entity.end
    return text + utterance.text[position:]


def _entity(text: str, entity: Entity) -> str:
    said = text[entity.start : entity.end]
    if said == entity.value:
        return f"[{said}]({entity.name})"
    return (
        f"[{said}]{json.dumps({'entity': entity.name, 'value': entity.value}, ensure_ascii=False)}"
    )


def _nlu(
    examples: Mapping[str, Iterable[str]], synonyms: Mapping[Tuple[str, str], Iterable[str]]
) -> str:
    lines = ['version: "3.1"', "nlu:"]
    for intent, texts in sorted(examples.items()):
        lines += [f"- intent: {intent}", "  examples: |", *(f"    - {text}" for text in texts)]
    merged: Dict[str, Dict[str, None]] = {}
    for (_, value), forms in synonyms.items():
        merged.setdefault(value, {}).update(dict.fromkeys(forms))
    for value, texts in sorted(merged.items()):
        lines += [
            f"- synonym: {_quoted(value)}",
            "  examples: |",
            *(f"    - {text}" for text in texts),
        ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Text as a YAML scalar; JSON strings are YAML."""
    return json.dumps(text, ensure_ascii=False)
