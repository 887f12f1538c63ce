"""Words and values of stories that name neither: texts of the NLU examples stand for intents, and name the values."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from rasa.shared.nlu.training_data.message import Message

from rasa_hybrid.components.conversion import (
    NO_VALUE,
    UNNAMED,
    TrackerReader,
    entity_of,
    set_value,
)
from rasa_hybrid.dialogue import Dialogue, Entity, SystemAction, Turn, Utterance


class Wordings:
    """Texts of the NLU examples, to word the steps of stories that only name an intent.

    Args:
        examples: messages with intent, text and entities.
    """

    def __init__(self, examples: Iterable[Message]) -> None:
        self._texts: Dict[Tuple[str, Tuple[str, ...]], List[Utterance]] = defaultdict(list)
        self._by_intent: Dict[str, List[Utterance]] = defaultdict(list)
        for message in examples:
            utterance = utterance_of(message)
            if utterance is not None and utterance.intent:
                self._texts[(utterance.intent, _types(utterance.entities))].append(utterance)
                self._by_intent[utterance.intent].append(utterance)

    def word(self, user: Utterance, rng: np.random.Generator) -> Utterance:
        """The utterance with a text of the same intent and entity types, its values put into it; unchanged if none.

        A step that names no entities may get any text of its intent.
        """
        if user.text or not user.intent:
            return user
        texts = self._texts.get((user.intent, _types(user.entities)))
        if not texts and not user.entities:
            texts = self._by_intent.get(user.intent)
        if not texts:
            return user
        text = texts[int(rng.integers(len(texts)))]
        return _with_values(text, user.entities)

    def count(self, intent: str) -> int:
        """Number of examples of an intent."""
        return len(self._by_intent.get(intent, ()))

    def word_dialogue(self, dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
        """The dialogue with texts for all steps that have none."""
        return replace(dialogue, turns=tuple(self._word_turn(turn, rng) for turn in dialogue.turns))

    def _word_turn(self, turn: Turn, rng: np.random.Generator) -> Turn:
        if turn.user is None:
            return turn
        user = self.word(turn.user, rng)
        unnamed = {slot for slot, value in (turn.goal or {}).items() if value == UNNAMED}
        # The story does not say what became of entities that only the text has.
        had, has = (
            sum(unnamed.isdisjoint((entity.role, entity.name)) for entity in said.entities)
            for said in (turn.user, user)
        )
        unknown = has > had
        return replace(turn, user=user, goal=None if unknown else turn.goal)

    def needed(self, dialogue: Dialogue) -> bool:
        """Whether a step of the dialogue has no text."""
        return any(
            turn.user is not None and not turn.user.text and turn.user.intent
            for turn in dialogue.turns
        )


def utterance_of(message: Message) -> Optional[Utterance]:
    """An NLU example as an utterance; None if it has no text."""
    text = message.get("text")
    if not text or text.startswith("/"):
        return None
    entities = tuple(entity_of(entity) for entity in message.get("entities") or ())
    return Utterance(text, intent=message.get("intent"), entities=entities)


def story_key(dialogue: Dialogue) -> str:
    """A text by which stories are sorted, so that their order does not hang on Rasa's random ids."""
    return repr(
        [(t.user, sorted((t.goal or {}).items()), t.overrides, t.actions) for t in dialogue.turns]
    )


def with_named_values(dialogue: Dialogue, reader: TrackerReader) -> Dialogue:
    """A worded story in which values that it does not name are those of the entities in its texts.

    One that no text names either stays `UNNAMED`, which is no label.

    Args:
        dialogue: of the story.
        reader: that has read it.
    """
    known: Dict[str, str] = {}
    turns = []
    for turn in dialogue.turns:
        for entity in turn.user.entities if turn.user is not None else ():
            for slot in (entity.role, entity.name):
                if slot in reader.goal_slots:
                    if entity.value not in NO_VALUE:
                        known[slot] = reader.text(slot, entity.value)
                    break
        goal = turn.goal
        if goal is not None:
            goal = {s: known.get(s, v) if v == UNNAMED else v for s, v in goal.items()}
            known = {s: v for s, v in goal.items() if v != UNNAMED or s in known}
        overrides = []
        for override in turn.overrides:
            if override.value == UNNAMED:
                override = replace(override, value=known.get(override.slot, UNNAMED))
            if override.rejects == UNNAMED:
                override = replace(override, rejects=known.get(override.slot) or None)
            set_value(known, override.slot, override.value)
            overrides.append(override)
        actions = tuple(_with_named_values(action, known) for action in turn.actions)
        turns.append(replace(turn, goal=goal, overrides=tuple(overrides), actions=actions))
    return replace(dialogue, turns=tuple(turns))


def _types(entities: Iterable[Entity]) -> Tuple[str, ...]:
    return tuple(sorted(f"{e.name}#{e.role or ''}#{e.group or ''}" for e in entities))


def _with_values(text: Utterance, entities: Sequence[Entity]) -> Utterance:
    """The text with its entities' words replaced by the values that the story names."""
    wanted: Dict[str, List[Entity]] = defaultdict(list)
    for entity in entities:
        wanted[_types([entity])[0]].append(entity)
    words, labelled, end, length = [], [], 0, 0
    for spoken in sorted(text.entities, key=lambda e: e.start):
        meant = wanted[_types([spoken])[0]].pop(0) if wanted[_types([spoken])[0]] else spoken
        said = (
            text.text[spoken.start : spoken.end]
            if meant.value in (spoken.value, *NO_VALUE)
            else meant.value
        )
        before = text.text[end : spoken.start]
        words += [before, said]
        start = length + len(before)
        length = start + len(said)
        value = meant.value if meant.value not in NO_VALUE else spoken.value
        labelled.append(replace(spoken, value=value, start=start, end=length))
        end = spoken.end
    words.append(text.text[end:])
    return replace(text, text="".join(words), entities=tuple(labelled))


def _with_named_values(action: SystemAction, known: Mapping[str, str]) -> SystemAction:
    acts = tuple(
        replace(act, value=known.get(act.slot)) if act.slot and act.value == UNNAMED else act
        for act in action.acts
    )
    return replace(action, acts=acts)
