"""What `HybridPolicy` learns from: stories, corpora, NLU examples and listed values of a project, as labelled dialogues."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

import numpy as np
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import ActiveLoop, SlotSet, UserUttered
from rasa.shared.core.trackers import DialogueStateTracker
from rasa.shared.exceptions import InvalidConfigException
from rasa.shared.nlu.training_data.training_data import TrainingData

from rasa_hybrid.components.configuration import (
    GOAL_SLOT_TYPES,
    INTERNAL_SLOTS,
    PolicyConfiguration,
)
from rasa_hybrid.components.conversion import TAUGHT_SOURCE, UNNAMED, TrackerReader
from rasa_hybrid.components.corpus import make_missing
from rasa_hybrid.components.wordings import Wordings, story_key, with_named_values
from rasa_hybrid.corpora import CorpusError, read_jsonl
from rasa_hybrid.dialogue import (
    LISTEN,
    NONE,
    TAUGHT,
    Dialogue,
    DomainFacts,
    ResultSummary,
    Turn,
    Utterance,
)
from rasa_hybrid.knowledge import GuardedKnowledgeBase
from rasa_hybrid.learning.rehearsal import mixed
from rasa_hybrid.model.candidates import SlotValues
from rasa_hybrid.model.embeddings import read_vectors
from rasa_hybrid.model.encoding import Encoder
from rasa_hybrid.model.preparation import unsaid_values
from rasa_hybrid.model.settings import SettingsError

logger = logging.getLogger(__name__)

#: Stories are worded so often that there are about so many dialogues.
_WORDED_DIALOGUES = 300
_MOST_WORDINGS = 20
#: Passes that a quick update makes over its dialogues.
_REHEARSAL_PASSES = 4
#: Dialogues that break off with words which only rules answer, for each other dialogue.
_DIGRESSIONS = 0.25
#: Dialogues that break off with words which nobody knows: so many for each other dialogue, and at most.
_UNKNOWN_ANSWERS, _MOST_UNKNOWN_ANSWERS = 0.25, 150


def goal_slots_of(
    configuration: PolicyConfiguration, domain: Domain, trackers: Sequence[DialogueStateTracker]
) -> Tuple[str, ...]:
    """Configured goal slots, or all that stories and corpora set and whose type can be tracked."""
    if configuration.goal_slots is not None:
        return configuration.goal_slots
    filled = {*configuration.offer_slots, *configuration.choice_slots}
    taken = INTERNAL_SLOTS | filled
    kinds = {
        slot.name: slot.type_name for slot in domain.slots if slot.type_name in GOAL_SLOT_TYPES
    }
    found = {
        event.key for tracker in trackers for event in tracker.events if isinstance(event, SlotSet)
    }
    found |= {
        slot
        for dialogue in corpus_dialogues(configuration, None)
        for turn in dialogue.turns
        for slot in turn.goal or {}
    }
    return tuple(sorted(name for name in found if name in kinds and name not in taken))


def corpus_dialogues(
    configuration: PolicyConfiguration, goal_slots: Optional[Sequence[str]]
) -> List[Dialogue]:
    """The dialogues of `corpus:`; their labels are checked, unless the goal slots are None.

    Raises:
        InvalidConfigException: if a file can't be read or labels what is no goal slot.
    """
    dialogues: List[Dialogue] = []
    make_missing(configuration.corpus)
    for file in configuration.corpus:
        try:
            dialogues.extend(read_jsonl(file.path))
        except CorpusError as error:
            raise InvalidConfigException(f"HybridPolicy: corpus: {error}") from error
    for dialogue in dialogues if goal_slots is not None else ():
        for slot in {slot for turn in dialogue.turns for slot in turn.goal or {}} - set(
            goal_slots or ()
        ):
            raise InvalidConfigException(
                f"HybridPolicy: corpus: dialogue {dialogue.id!r} labels {slot!r}, which is no goal slot of this "
                f"project ({', '.join(goal_slots or ()) or 'it has none'})."
            )
    return dialogues


def word_vectors(configuration: PolicyConfiguration) -> Dict[str, np.ndarray]:
    """The vectors of `embeddings:`, by word.

    Raises:
        InvalidConfigException: if the file can't be used.
    """
    settings = configuration.settings
    if not settings.embeddings:
        return {}
    try:
        return read_vectors(settings.embeddings, settings.embedding_size, settings.language)
    except SettingsError as error:
        raise InvalidConfigException(f"HybridPolicy: {error}") from error


def listed_values(
    facts: DomainFacts,
    goal_slots: Sequence[str],
    training_data: Optional[TrainingData],
    knowledge_base: Optional[GuardedKnowledgeBase],
    dontcare_value: str,
) -> Dict[str, SlotValues]:
    """Values of the goal slots: lookup tables, synonyms and examples of nlu.yml, knowledge base, domain.

    The domain comes last: Rasa keeps its values in lower case.
    """
    synonyms = dict(training_data.entity_synonyms) if training_data else {}
    tables = (
        {table["name"]: table["elements"] for table in training_data.lookup_tables}
        if training_data
        else {}
    )
    examples = training_data.entity_examples if training_data else []
    meant = {form.lower(): value for form, value in synonyms.items()}
    targets = {value.lower(): value for value in synonyms.values()}
    least = knowledge_base.knowledge_base.at_least if knowledge_base is not None else {}
    listed = {}
    for slot in goal_slots:
        slot_facts = facts.slots[slot]
        elements = tables.get(slot, ())
        values: Dict[str, Tuple[str, ...]] = {
            str(e): () for e in (elements if isinstance(elements, (list, tuple)) else ())
        }
        if knowledge_base is not None and slot in knowledge_base.columns:
            values.update(dict.fromkeys(knowledge_base.values(slot), ()))
        named = [value for value in slot_facts.values if value != dontcare_value.lower()]
        lowered = [value for value in named if value not in {*values, *targets.values()}]
        # Where nothing lists the values of a text slot, new ones come from the words: the examples are only some.
        kinds = {"bool": "bool", "float": "number", "text": "list" if values else "open"}
        for example in examples:
            for entity in example.get("entities") or ():
                if slot in (entity.get("role"), entity.get("entity")) and slot_facts.kind != "bool":
                    said = str(entity["value"])
                    values.setdefault(meant.get(said.lower(), said), ())
        spelt = {value.lower() for value in values}
        for value in named:
            if value not in spelt:
                values.setdefault(targets.get(value, value), ())
        for form, value in sorted(synonyms.items()):
            if value in values and form != value:
                values[value] = (*values[value], form)
        kind = kinds.get(slot_facts.kind, "list")
        if kind == "open" and slot in least:  # what is compared as a number is one
            kind = "number"
        listed[slot] = SlotValues(values, kind, lowered=tuple(lowered))
    return listed


def is_own(action: str) -> bool:
    """Whether the policy may choose an action: not Rasa's internal ones that stories never name."""
    from rasa.shared.core.constants import DEFAULT_ACTION_NAMES

    return action not in DEFAULT_ACTION_NAMES or action == LISTEN


def story_dialogues(
    configuration: PolicyConfiguration,
    reader: TrackerReader,
    trackers: Sequence[DialogueStateTracker],
    wordings: Wordings,
    knowledge_base: Optional[GuardedKnowledgeBase],
) -> List[Dialogue]:
    """Stories as labelled dialogues, those whose steps only name intents in several wordings."""
    read = [_story(configuration, reader, tracker) for tracker in trackers]
    # Of two equal ones the taught one stays.
    read.sort(key=lambda story: bool(story.metadata.get(TAUGHT)))
    stories = {story_key(story): story for story in read if story.turns}
    ordered = [stories[key] for key in sorted(stories)]
    if knowledge_base is not None:
        ordered = [_with_summaries(configuration, story, knowledge_base) for story in ordered]
    rng = np.random.default_rng(configuration.settings.seed)
    copies = configuration.wordings_per_story or min(
        _MOST_WORDINGS, max(1, round(_WORDED_DIALOGUES / max(len(ordered), 1)))
    )
    worded = []
    for story in ordered:
        count = copies if wordings.needed(story) else 1
        worded += [
            with_named_values(wordings.word_dialogue(story, rng), reader) for _ in range(count)
        ]
    return worded


def _story(
    configuration: PolicyConfiguration, reader: TrackerReader, tracker: DialogueStateTracker
) -> Dialogue:
    """A story, with its weight if it was taught."""
    story = reader.story(tracker)
    if not (tracker.sender_source or "").startswith(TAUGHT_SOURCE):
        return story
    return replace(story, weight=configuration.taught_weight, metadata={TAUGHT: True})


def _with_summaries(
    configuration: PolicyConfiguration, story: Dialogue, knowledge_base: GuardedKnowledgeBase
) -> Dialogue:
    """Asks the knowledge base with the labelled goal of each turn, and counts what the story has offered."""
    offers: Counter = Counter()
    turns = []
    for turn in story.turns:
        if UNNAMED in (turn.goal or {}).values():  # what would be asked for is not known
            turns.append(turn)
            continue
        result = knowledge_base.query(turn.goal or {})
        asked = tuple(sorted(result.query.items()))
        if result.entities is not None:
            matches = len(result.entities)
            turn = replace(turn, summary=ResultSummary(matches, max(0, matches - offers[asked])))
        offers[asked] += sum(action.name in configuration.offer_actions for action in turn.actions)
        turns.append(turn)
    return replace(story, turns=tuple(turns))


def digressions(
    configuration: PolicyConfiguration,
    dialogues: Sequence[Dialogue],
    rules: Sequence[DialogueStateTracker],
    wordings: Wordings,
) -> List[Dialogue]:
    """Dialogues that break off with words which only rules answer, wherever they come: they change no goal.

    What is done then is the rules' affair; without these the belief of such a turn, which the actions of the
    rule see, would be a guess.
    """
    said = {t.user.intent for d in dialogues for t in d.turns if t.user is not None}
    intents = sorted(_intents_of_rules(rules) - said)
    rng = np.random.default_rng(configuration.settings.seed)
    digressions: List[Dialogue] = []
    for dialogue in dialogues[:: round(1 / _DIGRESSIONS)] if intents else ():
        intent = intents[int(rng.integers(len(intents)))]
        user = wordings.word(Utterance("", intent=intent), rng)
        if user.text:
            before = dialogue.turns[: int(rng.integers(len(dialogue.turns) + 1))]
            turns = (*before, Turn(user=user, goal=_goal_after(before)))
            name = f"{dialogue.id}, then {intent}"
            digressions.append(replace(dialogue, id=name, turns=turns, complete=False))
    return digressions


def _intents_of_rules(rules: Sequence[DialogueStateTracker]) -> Set[str]:
    """Intents that rules answer wherever they come, outside of forms and without goals in them."""
    intents: Set[Any] = set()
    for rule in rules:
        loop = None
        for event in rule.events:
            if isinstance(event, ActiveLoop):
                loop = event.name
            elif isinstance(event, UserUttered) and loop is None and not event.entities:
                intents.add(event.intent_name)
    return intents - {None}


def unknown_answers(
    configuration: PolicyConfiguration, dialogues: Sequence[Dialogue], encoder: Encoder
) -> List[Dialogue]:
    """Dialogues that break off with words which the model does not know, or with none: they change no goal.

    Without these the answers of a small project, each of which is a value or a "don't care", would teach that
    whatever is no value is a "don't care". Where a slot's values are on no list, a word that nobody knows may be one.
    """
    if any(values.kind == "open" for values in encoder.ontology.values.values()):
        return []
    rng = np.random.default_rng(configuration.settings.seed)
    words = [word for word in encoder.vocabulary.words.names if len(word) > 2 and word.isalpha()]
    count = min(round(len(dialogues) * _UNKNOWN_ANSWERS), _MOST_UNKNOWN_ANSWERS)
    asked = [d for d in dialogues if any(t.user is not None and t.user.text for t in d.turns)]
    answers: List[Dialogue] = []
    for i in rng.permutation(len(asked))[:count] if words else ():
        before = asked[i].turns[: int(rng.integers(len(asked[i].turns) + 1))]
        user = Utterance(_made_up(words, int(rng.integers(5)), rng))
        labelled = all(turn.goal is not None for turn in before if turn.user is not None)
        if labelled and not encoder.utterance(user).matches:
            turns = (*before, Turn(user=user, goal=_goal_after(before)))
            name = f"{asked[i].id}, then unknown words"
            answers.append(replace(asked[i], id=name, turns=turns, complete=False))
    return answers


def _made_up(words: Sequence[str], count: int, rng: np.random.Generator) -> str:
    """Words that are made of the first half of one word and the second half of another one."""
    pairs = [(words[int(a)], words[int(b)]) for a, b in rng.integers(len(words), size=(count, 2))]
    return " ".join(a[: len(a) // 2 + 1] + b[len(b) // 2 :] for a, b in pairs)


def _goal_after(turns: Sequence[Turn]) -> Dict[str, str]:
    """The goal that is carried on after some labelled turns."""
    goal: Dict[str, str] = {}
    for turn in turns:
        goal = dict(turn.goal) if turn.goal is not None else goal
        for override in turn.overrides:
            if override.after or turn.goal is None:
                goal[override.slot] = override.value
    return {slot: value for slot, value in goal.items() if value != NONE}


def rehearsal(
    configuration: PolicyConfiguration,
    encoder: Encoder,
    dialogues: Sequence[Dialogue],
    taught: Sequence[Dialogue],
    with_unknown: bool = True,
) -> Tuple[Encoder, List[Dialogue]]:
    """What a quick update goes over: `finetune_steps` batches that mix taught and earlier dialogues.

    With `with_unknown`, some of the earlier ones make room for `unknown_answers`.
    """
    settings, taught_ids = encoder.settings, {id(dialogue) for dialogue in taught}
    earlier = [dialogue for dialogue in dialogues if id(dialogue) not in taught_ids]
    steps = configuration.finetune_steps
    passes = max(1, min(_REHEARSAL_PASSES, steps))
    count = round(steps / passes) * settings.batch_size
    rehearsed = mixed(taught, earlier, count, settings.seed)
    if with_unknown:
        answers = unknown_answers(configuration, rehearsed, encoder)
        rehearsed[count - len(answers) :] = answers  # the earlier ones stand at the end
    settings = replace(settings, epochs=passes, least_steps=0, patience=0)
    return type(encoder)(settings, encoder.vocabulary, encoder.ontology), rehearsed


def warn_about_data(
    dialogues: Sequence[Dialogue],
    goal_slots: Sequence[str],
    wordings: Wordings,
    has_examples: bool,
) -> None:
    """Warnings about what can't be learnt from the data."""
    labelled = {
        slot
        for dialogue in dialogues
        for turn in dialogue.turns
        for slot, value in (turn.goal or {}).items()
        if value != UNNAMED
    }
    for slot in sorted(set(goal_slots) - labelled):
        logger.warning(
            f"HybridPolicy: no story and no corpus sets the goal slot {slot!r}: it can't be learnt."
        )
    used: Dict[str, Dialogue] = {}
    for dialogue in dialogues:
        for turn in dialogue.turns:
            if turn.user is not None and turn.user.intent and not turn.user.text:
                used.setdefault(turn.user.intent, dialogue)
    for intent in sorted(used) if has_examples else ():
        what = "of which nlu.yml has no example"
        if wordings.count(intent):
            what = "with entities that no example of it in nlu.yml has"
        story = used[intent]
        logger.warning(
            f"HybridPolicy: the story {story.id!r} in {story.metadata.get('file') or 'a corpus'} "
            f"uses the intent {intent!r}, {what}, "
            "without a text of its own: "
            "what users say there can't be learnt."
        )


def warn_about_new_labels(encoder: Encoder, dialogues: Sequence[Dialogue]) -> None:
    """Says which labels a model that is fine-tuned can't learn, because it does not know them."""
    actions = {action.name for d in dialogues for turn in d.turns for action in turn.actions}
    new = [f"action {name}" for name in sorted(actions - set(encoder.vocabulary.actions.names))]
    for slot, values in sorted(unsaid_values(encoder.ontology, dialogues).items()):
        closed = encoder.ontology.values[slot].closed
        new += [f"{slot}={value} where nobody says it" for value in values if value not in closed]
    if new:
        logger.warning(
            f"HybridPolicy: fine-tuning can't learn what the model has no label for: {', '.join(new)}. "
            "Train in full, with `rasa train`."
        )
