"""DSTC2, callers looking for a restaurant in Cambridge (Henderson et al. 2014), in both forms that are in use.

*JSON form*: one file, a list of dialogues with the utterances of `user` and `bot` and a `goal` for each user turn; the
k-th utterance of the bot precedes the k-th of the user. Acts of the system are found again in its prompts.

*Original layout*: a directory for each call with `log.json` (system acts, n-best lists of the recogniser) and
`label.json` (transcript, goal labels), and file lists that name the calls of a split.

What the recogniser would never output is taken out of transcripts (`noise`, `sil`, `unintelligible`, ...), so that a
turn in which nothing was understood has an empty text; "centre" becomes "center" everywhere. The goal slots are
`area`, `food` and `price range`; the label `name` of the original is left out, as is usual.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Union

from rasa_hybrid.corpora.dstc2_prompts import AREA, FOOD, PRICE, prompt_acts, respell
from rasa_hybrid.corpora.json_file import read_json
from rasa_hybrid.corpora.jsonl import CorpusError
from rasa_hybrid.corpora.labels import is_dontcare
from rasa_hybrid.corpora.system_side import recorded_action
from rasa_hybrid.dialogue import (
    DONTCARE,
    Dialogue,
    DialogueAct,
    Hypothesis,
    SystemAction,
    Turn,
    Utterance,
    without_none,
)

#: The goal slots.
SLOTS = (AREA, FOOD, PRICE)

#: Marks of the transcribers for what is not a word.
NOISE_MARKS = frozenset(
    "noise nosie tv_noise sil unintelligible unitelligible inaudible breath breathing cough static crosstalk laugh "
    "laughing sigh".split()
)
_SLOT_NAMES = {"pricerange": PRICE}
_LEFT_OUT = frozenset({"name"})
_NO_VALUE = frozenset({"null", "none", ""})


def read_dstc2(
    path: Union[str, Path],
    words: str = "recognised",
    require_labels: bool = True,
    data: Optional[Union[str, Path]] = None,
) -> List[Dialogue]:
    """Dialogues of DSTC2: a JSON file, a directory of calls, or a file list.

    Every dialogue begins with a turn in which only the system speaks. What it said after the last user's utterance is
    not recorded, so the dialogues are not `complete`. A user's utterance without words stays as a turn with an empty
    text. In the JSON form several entries for one user turn are an n-best list, best first.

    Args:
        path: `X.json` (JSON form), a directory with calls anywhere below it, or `X.flist` (one call directory a line).
        words: of the original layout, the user's words: `recognised` (live 1-best, with the n-best list) or
            `transcribed`.
        require_labels: whether a user turn without a goal label is an error; else its goal is None.
        data: directory that the lines of a file list start from; by default looked for near the list.

    Raises:
        CorpusError: if a file or dialogue is not as expected; names file and dialogue.
        ValueError: if `words` is something else.
    """
    if words not in ("recognised", "transcribed"):
        raise ValueError(f"words: {words!r} is neither 'recognised' nor 'transcribed'.")
    path = Path(path)
    if path.is_dir():
        calls = sorted(log.parent for log in path.rglob("log.json"))
        if not calls:
            raise CorpusError(f"{path}: no call (a directory with log.json) below it.")
        return [_read_call(call, words, require_labels) for call in calls]
    if path.suffix == ".flist":
        return [_read_call(call, words, require_labels) for call in _listed_calls(path, data)]
    return _read_json_form(path, require_labels)


def _read_json_form(path: Path, require_labels: bool) -> List[Dialogue]:
    records = read_json(path)
    if not isinstance(records, list):
        raise CorpusError(f"{path}: a list of dialogues is expected, not {type(records).__name__}.")
    dialogues = []
    for number, record in enumerate(records):
        try:
            dialogues.append(_json_dialogue(record, f"{path.stem}-{number}", require_labels))
        except CorpusError as error:
            raise CorpusError(f"{path}: dialogue number {number}, {error}") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CorpusError(
                f"{path}: dialogue number {number}: not a DSTC2 dialogue ({type(error).__name__}: {error})."
            ) from error
    return dialogues


def _json_dialogue(record: Mapping[str, Any], name: str, require_labels: bool) -> Dialogue:
    user = [_utterance(entry) for entry in record["user"]]
    bot = [_texts(entry) for entry in record["bot"]]
    goals = record.get("goal")
    if not user:
        raise CorpusError("the user says nothing in it.")
    if not len(user) <= len(bot) <= len(user) + 1:
        raise CorpusError(f"{len(bot)} utterances of the bot do not fit {len(user)} of the user.")
    if goals is None and not require_labels:
        goals = [None] * len(user)
    if goals is None or len(goals) != len(user):
        raise CorpusError(
            f"{len(goals or ())} goals do not fit {len(user)} utterances of the user: labels are missing."
        )
    turns = [Turn(actions=(_prompt(bot[0]),))]
    for k, (utterance, goal) in enumerate(zip(user, goals)):
        actions = (_prompt(bot[k + 1]),) if k + 1 < len(bot) else ()
        turns.append(Turn(utterance, _goal(goal, k, require_labels), actions=actions))
    metadata = {"index": record["index"]} if "index" in record else {}
    return Dialogue(name, tuple(turns), metadata=metadata, complete=len(bot) > len(user))


def _prompt(texts: Sequence[str]) -> SystemAction:
    text = texts[0] if texts else ""
    return recorded_action(prompt_acts(text), respell(text))


def _utterance(entry: Union[str, Sequence[str]]) -> Utterance:
    texts = [_clean(text) for text in _texts(entry)]
    hypotheses = tuple(Hypothesis(text, 1 / rank) for rank, text in enumerate(texts, start=1))
    return Utterance(texts[0] if texts else "", hypotheses if len(texts) > 1 else ())


def _texts(entry: Union[str, Sequence[str], None]) -> List[str]:
    """The texts of an utterance, which is a string or a list of strings."""
    if entry is not None and not isinstance(entry, (str, list)):
        raise CorpusError(f"an utterance has to be text or a list of texts, not {entry!r}.")
    texts = [entry] if isinstance(entry, str) else list(entry or ())
    for text in texts:
        if not isinstance(text, str):
            raise CorpusError(f"an utterance has to be text, not {text!r}.")
    return texts


def _clean(text: str) -> str:
    """The words without the transcribers' marks."""
    return respell(
        " ".join(word for word in text.lower().split() if word.strip("[]()<>*") not in NOISE_MARKS)
    )


def _goal(raw: Any, turn: int, require_labels: bool) -> Optional[Dict[str, str]]:
    """The labelled goal; None if there is none and that is allowed."""
    if raw is None:
        if require_labels:
            raise CorpusError(f"user turn {turn}: the goal label is missing.")
        return None
    values: Dict[str, Optional[str]] = {}
    for slot, value in raw.items():
        slot = _SLOT_NAMES.get(slot, slot)
        if slot in _LEFT_OUT:
            continue
        if slot not in SLOTS:
            raise CorpusError(
                f"user turn {turn}: unknown slot {slot!r}; known: {', '.join(SLOTS)}."
            )
        if value is not None and not isinstance(value, str):
            raise CorpusError(
                f"user turn {turn}: the value of {slot} has to be text, not {value!r}."
            )
        value = (value or "").strip().lower()
        if value in _NO_VALUE:
            values[slot] = None
        else:
            values[slot] = DONTCARE if is_dontcare(value) else respell(value)
    return without_none(values)


def _listed_calls(file_list: Path, data: Optional[Union[str, Path]]) -> List[Path]:
    """The directories that a file list names."""
    try:
        lines = [line.strip() for line in file_list.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise CorpusError(
            f"{file_list}: the file list can't be opened ({error.strerror})."
        ) from error
    except UnicodeDecodeError as error:
        raise CorpusError(f"{file_list}: not UTF-8 text (byte {error.start}).") from error
    names = [line for line in lines if line]
    if not names:
        raise CorpusError(f"{file_list}: the file list is empty.")
    here = file_list.resolve().parent
    # The archives hold scripts/config/X.flist and data/; the data is also often put beside the list.
    roots = (
        [Path(data)]
        if data is not None
        else [here / "data", here, here.parent / "data", here.parent.parent / "data"]
    )
    for root in roots:
        if (root / names[0]).is_dir():
            return [root / name for name in names]
    looked = ", ".join(map(str, roots))
    raise CorpusError(f"{file_list}: the call {names[0]} is in none of {looked}.")


def _read_call(call: Path, words: str, require_labels: bool) -> Dialogue:
    log = read_json(call / "log.json")
    labelled = (call / "label.json").exists()
    if not labelled and (require_labels or words == "transcribed"):
        raise CorpusError(f"{call}: label.json is missing.")
    label = read_json(call / "label.json") if labelled else None
    try:
        return _call(log, label, call.name, words, require_labels)
    except CorpusError as error:
        raise CorpusError(f"{call}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise CorpusError(f"{call}: not a DSTC2 call ({type(error).__name__}: {error}).") from error


def _call(
    log: Mapping[str, Any],
    label: Optional[Mapping[str, Any]],
    name: str,
    words: str,
    require_labels: bool,
) -> Dialogue:
    logged = log["turns"]
    labels: Sequence[Mapping[str, Any]] = (
        label["turns"] if label is not None else [{}] * len(logged)
    )
    if not logged:
        raise CorpusError("there are no turns.")
    if len(labels) != len(logged):
        raise CorpusError(
            f"label.json has {len(labels)} turns, log.json {len(logged)}: labels are missing."
        )
    turns = [Turn(actions=(_logged_action(logged[0]["output"]),))]
    for k, (turn, labelled) in enumerate(zip(logged, labels)):
        actions = (_logged_action(logged[k + 1]["output"]),) if k + 1 < len(logged) else ()
        goal = _goal(labelled.get("goal-labels"), k, require_labels)
        turns.append(Turn(_logged_utterance(turn["input"], labelled, words), goal, actions=actions))
    constraints = (
        label.get("task-information", {}).get("goal", {}).get("constraints", ()) if label else ()
    )
    return Dialogue(
        str(log.get("session-id", name)),
        tuple(turns),
        goal=_goal(dict(constraints), -1, False) if constraints else None,
        complete=False,
    )


def _logged_action(output: Mapping[str, Any]) -> SystemAction:
    return recorded_action(
        _logged_acts(output.get("dialog-acts", ())), respell(output.get("transcript", ""))
    )


def _logged_utterance(given: Mapping[str, Any], label: Mapping[str, Any], words: str) -> Utterance:
    acts = tuple(_logged_acts(label.get("semantics", {}).get("json", ())))
    if words == "transcribed":
        return Utterance(_clean(label["transcription"]), acts=acts)
    hypotheses = tuple(
        Hypothesis(_clean(hypothesis["asr-hyp"]), _confidence(hypothesis["score"]))
        for hypothesis in given.get("live", {}).get("asr-hyps", ())
    )
    return Utterance(hypotheses[0].text if hypotheses else "", hypotheses, acts=acts)


def _confidence(score: float) -> float:
    """The recogniser's scores are logarithms of probabilities."""
    if not math.isfinite(score):
        raise CorpusError(f"the score of a hypothesis has to be a number, not {score}.")
    return math.exp(score) if score <= 0 else float(score)


def _logged_acts(raw: Iterable[Mapping[str, Any]]) -> List[DialogueAct]:
    """Acts of the logs: one act for each slot; `request` names the slot that it asks for."""
    acts = []
    for act in raw:
        if not act["slots"]:
            acts.append(DialogueAct(act["act"]))
        for slot, value in act["slots"]:
            if slot == "slot":
                acts.append(DialogueAct(act["act"], _SLOT_NAMES.get(value, value)))
            else:
                acts.append(
                    DialogueAct(act["act"], _SLOT_NAMES.get(slot, slot), respell(str(value)))
                )
    return acts
