"""From training data to an encoder: which words, acts, actions and values the model will know."""

from __future__ import annotations

from collections import Counter
from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from rasa_hybrid.dialogue import DONTCARE, NONE, TAUGHT, Dialogue, Turn, Utterance, tokenize
from rasa_hybrid.dialogue.normalise import Splitter
from rasa_hybrid.model.candidates import Ontology, SlotValues
from rasa_hybrid.model.encoding import Encoder
from rasa_hybrid.model.settings import Settings
from rasa_hybrid.model.vocabulary import Vocabulary, VocabularyBuilder

#: A value joins the closed list of its slot if at least this share of the dialogues means it without saying it.
_LEAST_SHARE = 0.002

#: What a goal may hold that is no value: nothing, anything, and a value that is not known.
_NO_VALUES = (NONE, DONTCARE, "")


def prepare(
    settings: Settings,
    dialogues: Sequence[Dialogue],
    utterances: Iterable[Utterance] = (),
    listed: Optional[Mapping[str, SlotValues]] = None,
    actions: Iterable[str] = (),
    splitter: Optional[Splitter] = None,
    words: Iterable[str] = (),
) -> Encoder:
    """The encoder of a model that is to be trained.

    Args:
        settings: of the model.
        dialogues: labelled dialogues.
        utterances: further labelled utterances (NLU examples).
        listed: goal slots with the values known beforehand; slots that only the labels name are added.
        actions: actions that the model has to know though no dialogue may show them.
        splitter: tokenizer of the pipeline, None for our own.
        words: further words to know (of word vectors).
    """
    utterances = list(utterances)
    ontology = build_ontology(settings, dialogues, listed or {}, splitter)
    builder = VocabularyBuilder()
    builder.words.update(words)
    texts = {utterance.text for utterance in utterances}
    for utterance in utterances:
        builder.add_utterance(utterance)
    for dialogue in dialogues:
        builder.add_dialogue(dialogue)
        for turn in dialogue.turns:
            if turn.user is not None:
                texts.add(turn.user.text)
                texts.update(h.text for h in turn.user.hypotheses[: settings.n_best_hypotheses])
            if settings.system_words:
                texts.update(action.text for action in turn.actions if action.text)
    for text in texts:
        builder.words.update(t.text for t in tokenize(text, settings.language, splitter))
    vocabulary: Vocabulary = builder.build(actions, settings.subword_buckets)
    return Encoder(settings, vocabulary, ontology)


def build_ontology(
    settings: Settings,
    dialogues: Sequence[Dialogue],
    listed: Mapping[str, SlotValues],
    splitter: Optional[Splitter] = None,
) -> Ontology:
    """Values of each goal slot: what was listed and what the labels name, each value in one spelling.

    With candidates, a closed list holds what has to be chosen without having been mentioned: the values of `bool`
    slots, and labels that neither side had said, if taught or frequent enough. Without (`liu2018`) it holds every value.
    """
    labelled: Dict[str, Counter] = {slot: Counter() for slot in listed}
    for dialogue in dialogues:
        for turn in dialogue.turns:
            for slot, value in (turn.goal or {}).items():
                labelled.setdefault(slot, Counter())[value] += 1
    listed = {slot: _spelt(values, labelled[slot]) for slot, values in listed.items()}
    names = list(listed) + sorted(set(labelled) - set(listed))
    bare = Ontology(
        {slot: _all_values(listed.get(slot), ()) for slot in names}, settings.language, splitter
    )
    slots: Dict[str, SlotValues] = {}
    for position, slot in enumerate(names):
        spellings: Dict[str, str] = {}
        for value in sorted(labelled[slot], key=lambda v: (-labelled[slot][v], v)):
            if value not in _NO_VALUES:
                spellings.setdefault(bare.key(position, value), bare.canonical(position, value))
        named = [] if slot in listed and listed[slot].kind == "open" else sorted(spellings.values())
        slots[slot] = _all_values(listed.get(slot), named)
    complete = Ontology(slots, settings.language, splitter)
    unsaid = _unsaid(complete, dialogues) if settings.candidates else {}
    taught = [dialogue for dialogue in dialogues if dialogue.metadata.get(TAUGHT)]
    meant = _unsaid(complete, taught) if settings.candidates else {}
    least = max(1, round(_LEAST_SHARE * len(dialogues)))
    for slot in names:
        if slots[slot].kind == "bool":
            closed: Iterable[str] = ("true", "false")
        elif not settings.candidates:
            closed = [*slots[slot].values, *slots[slot].closed]
        else:
            closed = sorted(
                v for v, count in unsaid[slot].items() if count >= least or v in meant[slot]
            )
        closed = dict.fromkeys([*listed[slot].closed, *closed] if slot in listed else closed)
        closed = tuple(value for value in closed if value not in _NO_VALUES)
        slots[slot] = SlotValues(slots[slot].values, slots[slot].kind, closed)
    return Ontology(slots, settings.language, splitter)


def unsaid_values(ontology: Ontology, dialogues: Sequence[Dialogue]) -> Dict[str, Tuple[str, ...]]:
    """Values that became labels before either side had mentioned them: only those of a closed list can be learnt."""
    return {slot: tuple(sorted(counts)) for slot, counts in _unsaid(ontology, dialogues).items()}


def _all_values(known: Optional[SlotValues], labelled: Iterable[str]) -> SlotValues:
    values = dict.fromkeys(labelled, ())
    if known is None:
        return SlotValues(values)
    return SlotValues({**values, **known.values}, known.kind, known.closed)


def _spelt(known: SlotValues, labels: Counter) -> SlotValues:
    """Values of a slot, those listed in lower case in the most frequent spelling of the labels."""
    spellings: Dict[str, str] = {}
    for label in sorted(labels, key=lambda v: (-labels[v], v)):
        spellings.setdefault(label.lower(), label)
    values: Dict[str, Tuple[str, ...]] = {}
    for value, forms in known.values.items():
        spelling = spellings.get(value, value) if value in known.lowered else value
        values[spelling] = (*values.get(spelling, ()), *forms)
    return SlotValues(values, known.kind, known.closed)


def _unsaid(ontology: Ontology, dialogues: Sequence[Dialogue]) -> Dict[str, Counter]:
    """How often each value became a label before either side had mentioned it."""
    counts: Dict[str, Counter] = {slot: Counter() for slot in ontology.slots}
    found: Dict[str, List[Tuple[str, str]]] = {}
    for dialogue in dialogues:
        mentioned: Set[Tuple[str, str]] = set()
        before: Mapping[str, str] = {}
        for turn in dialogue.turns:
            mentioned.update(_mentions(ontology, turn, found))
            for slot, value in (turn.goal or {}).items():
                if slot not in counts:
                    continue
                value = ontology.canonical(ontology.position(slot), value)
                if value in _NO_VALUES or before.get(slot) == value:
                    continue
                if (slot, value) not in mentioned:
                    counts[slot][value] += 1
            if turn.goal is not None:
                before = {
                    s: ontology.canonical(ontology.position(s), v) for s, v in turn.goal.items()
                }
            mentioned.update(
                (act.slot, ontology.canonical(ontology.position(act.slot), act.value))
                for action in turn.actions
                for act in action.acts
                if act.slot and act.value is not None and ontology.position(act.slot) >= 0
            )
            mentioned.update(_set_by_others(ontology, turn))
    return counts


def _set_by_others(
    ontology: Ontology, turn: Turn, latest: Optional[int] = None
) -> List[Tuple[str, str]]:
    return [
        (o.slot, ontology.canonical(ontology.position(o.slot), o.value))
        for o in turn.overrides
        if ontology.position(o.slot) >= 0 and (latest is None or o.after <= latest)
    ]


def _mentions(
    ontology: Ontology, turn: Turn, known: Dict[str, List[Tuple[str, str]]]
) -> List[Tuple[str, str]]:
    """Slots and values that are there before a turn's first action; `known` remembers those of texts."""
    found = _set_by_others(ontology, turn, latest=0)
    if turn.user is None:
        return found
    for text in {turn.user.text, *(h.text for h in turn.user.hypotheses)}:
        if text not in known:
            tokens = tokenize(text, ontology.language, ontology.splitter)
            known[text] = [(ontology.slots[m.slot], m.value) for m in ontology.matches(tokens)]
        found += known[text]
    for entity in turn.user.entities:
        for slot in (entity.role or "", entity.name):
            if ontology.position(slot) >= 0:
                found.append((slot, ontology.canonical(ontology.position(slot), entity.value)))
    return found
