"""A batch of encoded turns as padded arrays: each distinct word and each distinct utterance once.

The arrays are the interface between encoding and the two implementations of the network (`network` to learn,
`acting` to act). Bags of variable size are flat pairs (where, what), summed by position.
"""

from __future__ import annotations

from typing import Dict, List, Sequence, Tuple

import numpy as np

from rasa_hybrid.model.encoded import CELL_FEATURES, UNLABELLED, EncodedTurn, EncodedUtterance
from rasa_hybrid.model.encoding import Encoder
from rasa_hybrid.model.vocabulary import PADDING, SUMMARY_SIZE, UNKNOWN, UNKNOWN_WORD, Vocabulary

#: Arrays by name; `collate` says what each is.
Batch = Dict[str, np.ndarray]


def collate(
    encoder: Encoder,
    dialogues: Sequence[Sequence[EncodedTurn]],
    extra: Sequence[EncodedUtterance] = (),
) -> Batch:
    """The arrays of a batch of dialogues.

    With B dialogues of at most T turns, M goal slots of at most C cells, U distinct utterances of at most L tokens, W
    distinct words, D decisions (N stands for the length of a flat list):

    Args:
        encoder: knows vocabulary and closed lists.
        dialogues: encoded turns of each dialogue.
        extra: further labelled utterances for the intent and entity heads.

    Returns:
        words `[W]`, subwords `[W, S]`; tokens `[U, L]` (rows of words), lengths `[U]`, token_slots `[U, L, M]`,
        intents `[U]`, tags `[U, L]`; utterance `[B, T, H]` (row + 1, 0 none) and utterance_weight; turn_mask `[B, T]`;
        feature_at/feature_id, act_at/act_id/act_slot/act_value, last_at/last_id `[N]` at positions of `[B*T]`;
        slot_act_at/slot_act_id at `[B*T*M]`; cell_act_at/cell_act_id, match_at/match_row/match_start/match_end/match_weight/match_length at
        `[B*T*M*C]`, and the tokens of the matches as span_at (which match), span_row, span_token `[tokens]`; cell_features `[B, T, M, C, F]`; cell_mask `[B, T, M, C]`; closed `[B, M, C]`
        (position in the slot's closed list + 1, 0 none); override, late_override, labels `[B, T, M]` (cell or -1);
        summary `[B, T, E]`; weight `[B]` of the dialogue; decision_at `[D]` (position in `[B*T]`), decision_action, decision_weight, taken_at/
        taken_id, last_taken `[D]`, context_at/context_id, decision_override `[D, M]`.
        With `system_words` also the words of system actions without acts: distinct ones as system_words `[V]`,
        system_subwords `[V, S]`, and said_at/said_id (rows of them)/said_weight `[N]` at positions of `[B*T]`.
    """
    batch_size, slots = len(dialogues), len(encoder.ontology.slots)
    length = max((len(turns) for turns in dialogues), default=0)
    cells = max((_most_cells(turn) for turns in dialogues for turn in turns), default=2)
    hypotheses = (
        max((len(turn.utterances) for turns in dialogues for turn in turns), default=1) or 1
    )
    utterances, rows = _distinct(dialogues, extra)

    batch: Batch = {
        "utterance": np.zeros((batch_size, length, hypotheses), np.int32),
        "utterance_weight": np.zeros((batch_size, length, hypotheses), np.float32),
        "turn_mask": np.zeros((batch_size, length), np.float32),
        "cell_features": np.zeros((batch_size, length, slots, cells, CELL_FEATURES), np.float32),
        "cell_mask": np.zeros((batch_size, length, slots, cells), np.float32),
        "closed": np.zeros((batch_size, slots, cells), np.int32),
        "override": np.full((batch_size, length, slots), -1, np.int32),
        "late_override": np.full((batch_size, length, slots), -1, np.int32),
        "labels": np.full((batch_size, length, slots), UNLABELLED, np.int32),
        "summary": np.zeros((batch_size, length, SUMMARY_SIZE), np.float32),
        "weight": np.array([turns[0].weight if turns else 0.0 for turns in dialogues], np.float32),
    }
    batch.update(_utterance_arrays(encoder, utterances))
    for slot, values in enumerate(encoder.ontology.values.values()):
        width = min(cells, 2 + len(values.closed))
        batch["closed"][:, slot, :width] = np.arange(1, width + 1)

    lists: Dict[str, List] = {name: [] for name in _LISTS}
    add = {name: rows.append for name, rows in lists.items()}
    for b, turns in enumerate(dialogues):
        for t, turn in enumerate(turns):
            at = b * length + t
            add["turns"](at)
            add["labels"](turn.labels)
            add["summaries"](turn.summary)
            add["cells"](turn.cells)
            for h, utterance in enumerate(turn.utterances):
                add["utterance"]((at * hypotheses + h, rows[id(utterance)] + 1))
                add["weights"](turn.utterance_weights[h])
            for feature in turn.features:
                add["feature"]((at, feature))
            for act in turn.acts:
                add["act"]((at, *act))
            for action in turn.last_actions:
                add["last"]((at, action))
            first = at * slots
            for slot, act_id in turn.slot_acts:
                add["slot_act"]((first + slot, act_id))
            for slot, cell, act_id in turn.cell_acts:
                add["cell_act"](((first + slot) * cells + cell, act_id))
            for slot, cell, h, start, end in turn.matches:
                row = rows[id(turn.utterances[h])]
                weight = turn.utterance_weights[h]
                add["match"](((first + slot) * cells + cell, row, start, end, weight))
            for (slot, cell, which), value in turn.cell_features.items():
                add["cell_feature"](((first + slot) * cells + cell) * CELL_FEATURES + which)
                add["cell_value"](value)
            for slot, cell in turn.rejected:
                add["rejected"]((first + slot) * cells + cell)
            for slot, cell in turn.overrides:
                batch["override"][b, t, slot] = cell
            for slot, cell in turn.late_overrides:
                batch["late_override"][b, t, slot] = cell
            for taken, context, label, weight, overrides in turn.decisions:
                d = len(lists["decision"])
                add["decision"]((at, label, weight, taken[-1] if taken else 0))
                for action in taken:
                    add["taken"]((d, action))
                for feature in context:
                    add["context"]((d, feature))
                for slot, cell in overrides:
                    add["decision_override"]((d, slot, cell))
    taking_place = lists["turns"]
    batch["turn_mask"].reshape(-1)[taking_place] = 1.0
    if taking_place and slots:
        batch["labels"].reshape(-1, slots)[taking_place] = lists["labels"]
        present = np.arange(cells) < np.array(lists["cells"])[:, :, None]
        batch["cell_mask"].reshape(-1, slots, cells)[taking_place] = present
    if taking_place:
        batch["summary"].reshape(-1, SUMMARY_SIZE)[taking_place] = lists["summaries"]
    # Also where a dialogue is over, so that every belief sums to 1.
    batch["cell_mask"][..., 0] = 1.0
    batch["cell_mask"].reshape(-1)[lists["rejected"]] = 0.0
    batch["cell_features"].reshape(-1)[lists["cell_feature"]] = lists["cell_value"]
    said = np.array(lists["utterance"], np.int32).reshape(-1, 2)
    batch["utterance"].reshape(-1)[said[:, 0]] = said[:, 1]
    batch["utterance_weight"].reshape(-1)[said[:, 0]] = lists["weights"]
    _add_flat(batch, "feature", lists["feature"], ("id",))
    _add_flat(batch, "act", lists["act"], ("id", "slot", "value"))
    _add_flat(batch, "last", lists["last"], ("id",))
    _add_flat(batch, "slot_act", lists["slot_act"], ("id",))
    _add_flat(batch, "cell_act", lists["cell_act"], ("id",))
    _add_matches(batch, lists["match"])
    _add_flat(batch, "taken", lists["taken"], ("id",))
    _add_flat(batch, "context", lists["context"], ("id",))
    columns = np.array(lists["decision"], np.float64).reshape(-1, 4)
    batch["decision_at"] = columns[:, 0].astype(np.int32)
    batch["decision_action"] = columns[:, 1].astype(np.int32)
    batch["decision_weight"] = columns[:, 2].astype(np.float32)
    batch["last_taken"] = columns[:, 3].astype(np.int32)
    batch["decision_override"] = np.full((len(columns), slots), -1, np.int32)
    for d, slot, cell in lists["decision_override"]:
        batch["decision_override"][d, slot] = cell
    if encoder.settings.system_words:
        batch.update(_system_words(encoder.vocabulary, dialogues, length))
    return batch


def _system_words(
    vocabulary: Vocabulary, dialogues: Sequence[Sequence[EncodedTurn]], length: int
) -> Batch:
    """The words of system actions without acts, weighted so that those of a turn give their mean."""
    words: Dict[str, int] = {"": 0, UNKNOWN_WORD: UNKNOWN}
    said = [
        (b * length + t, words.setdefault(word, len(words)), 1.0 / len(turn.system_words))
        for b, turns in enumerate(dialogues)
        for t, turn in enumerate(turns)
        for word in turn.system_words
    ]
    batch: Batch = {}
    _add_flat(batch, "said", said, ("id", "weight"))
    arrays = word_arrays(vocabulary, list(words))
    return {**batch, **{f"system_{name}": array for name, array in arrays.items()}}


#: What `collate` gathers from the turns before it makes arrays.
_LISTS = (
    "turns labels summaries cells utterance weights feature act last slot_act cell_act match cell_feature cell_value "
    "rejected decision decision_override taken context"
).split()


def _most_cells(turn: EncodedTurn) -> int:
    """Cells of the slot with the most of them, those that others added during the turn included."""
    set_later = [cell for decision in turn.decisions for _, cell in decision.overrides]
    return max(
        [
            2,
            *turn.cells,
            *(cell + 1 for cell in set_later),
            *(cell + 1 for _, cell in turn.late_overrides),
        ]
    )


def _distinct(
    dialogues: Sequence[Sequence[EncodedTurn]], extra: Sequence[EncodedUtterance]
) -> Tuple[List[EncodedUtterance], Dict[int, int]]:
    """Each distinct utterance once, and the row of every encoded utterance by identity."""
    utterances: List[EncodedUtterance] = []
    by_content: Dict[Tuple, int] = {}
    rows: Dict[int, int] = {}
    spoken = (utterance for turns in dialogues for turn in turns for utterance in turn.utterances)
    for utterance in (*spoken, *extra):
        if id(utterance) not in rows:
            content = (utterance.words, utterance.intent, utterance.tags)
            if content not in by_content:
                by_content[content] = len(utterances)
                utterances.append(utterance)
            rows[id(utterance)] = by_content[content]
    return utterances, rows


def _utterance_arrays(encoder: Encoder, utterances: Sequence[EncodedUtterance]) -> Batch:
    count, slots = len(utterances), len(encoder.ontology.slots)
    longest = max((len(utterance.words) for utterance in utterances), default=0) or 1
    words: Dict[str, int] = {"": 0, UNKNOWN_WORD: UNKNOWN}
    batch = {
        "tokens": np.zeros((count, longest), np.int32),
        "lengths": np.zeros(count, np.int32),
        "token_slots": np.zeros((count, longest, slots), np.float32),
        "intents": np.full(count, -1, np.int32),
        "tags": np.full((count, longest), -1, np.int32),
    }
    for u, utterance in enumerate(utterances):
        count = len(utterance.words)
        batch["tokens"][u, :count] = [words.setdefault(w, len(words)) for w in utterance.words]
        batch["lengths"][u] = count
        batch["intents"][u] = utterance.intent
        if utterance.tags:
            batch["tags"][u, :count] = utterance.tags
        for slot, _, start, end, coverage, _ in utterance.matches:
            for i in range(start, end):
                if coverage > batch["token_slots"][u, i, slot]:
                    batch["token_slots"][u, i, slot] = coverage
    batch.update(word_arrays(encoder.vocabulary, list(words)))
    return batch


def word_arrays(vocabulary: Vocabulary, words: Sequence[str]) -> Batch:
    """Ids of words (the first two are padding and unknown) and of their character n-grams, padded with 0."""
    ids = np.array([PADDING, UNKNOWN] + [vocabulary.words[word] for word in words[2:]], np.int32)
    subwords = [(), ()] + [vocabulary.subwords(word) for word in words[2:]]
    width = max((len(grams) for grams in subwords), default=0) or 1
    padded = np.zeros((len(words), width), np.int32)
    for row, grams in zip(padded, subwords):
        row[: len(grams)] = grams
    return {"words": ids, "subwords": padded}


def _add_matches(batch: Batch, matches: List[Tuple]) -> None:
    """The matches (cell, row, start, end, weight), and each of their tokens."""
    table = np.array(matches, np.float64).reshape(-1, 5)
    lengths = (table[:, 3] - table[:, 2]).astype(np.int32)
    batch["match_at"] = table[:, 0].astype(np.int32)
    batch["match_row"] = table[:, 1].astype(np.int32)
    batch["match_start"] = table[:, 2].astype(np.int32)
    batch["match_end"] = table[:, 3].astype(np.int32)
    batch["match_weight"] = table[:, 4].astype(np.float32)
    batch["match_length"] = lengths.astype(np.float32)
    batch["span_at"] = np.repeat(np.arange(len(table), dtype=np.int32), lengths)
    batch["span_row"] = np.repeat(table[:, 1].astype(np.int32), lengths)
    offsets = np.arange(lengths.sum(), dtype=np.int32) - np.repeat(
        np.cumsum(lengths) - lengths, lengths
    )
    batch["span_token"] = (np.repeat(table[:, 2].astype(np.int32), lengths) + offsets).astype(
        np.int32
    )


def _add_flat(batch: Batch, name: str, rows: List[Tuple], columns: Tuple[str, ...]) -> None:
    table = np.array(rows, np.float64).reshape(-1, 1 + len(columns))
    batch[f"{name}_at"] = table[:, 0].astype(np.int32)
    for i, column in enumerate(columns, start=1):
        batch[f"{name}_{column}"] = table[:, i].astype(
            np.float32 if column == "weight" else np.int32
        )
