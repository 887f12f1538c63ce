"""Lists of the values that slots can have, for trackers: a catalogue written by hand, an ontology, or the rows of a table."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Sequence, Tuple, Union

import yaml

from rasa_hybrid.corpora.jsonl import CorpusError

#: Slot to values to their synonyms.
Catalogue = Dict[str, Dict[str, Tuple[str, ...]]]


def read_catalogue(path: Union[str, Path], slots: Sequence[str]) -> Catalogue:
    """The values of slots in a file.

    Args:
        path: `.csv` (a table whose columns are slots, for example an export of a knowledge base), or `.json`, `.yml`,
            `.yaml`: either `{slot: [value, ...]}`, `{slot: {value: [synonym, ...]}}`, or a list of rows
            `{slot: value}`. The ontology of DSTC2 (`informable`) is read too.
        slots: goal slots; a column names a slot whatever its case, blanks and underscores. Other columns are skipped.

    Returns:
        Values with synonyms of the slots that the file knows.

    Raises:
        CorpusError: if the file can't be read, or names no value of any of the slots.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".csv":
            content: Any = list(csv.DictReader(text.splitlines()))
        elif path.suffix.lower() == ".json":
            content = json.loads(text)
        else:
            # Nothing but text: 7:30 is no number, and Yes no truth.
            content = yaml.load(text, Loader=yaml.BaseLoader)
    except (OSError, ValueError, csv.Error, yaml.YAMLError) as error:
        raise CorpusError(f"{path}: the list of values can't be read ({error}).") from error
    if isinstance(content, dict):
        content = content.get("informable", content)
    names = {_plain(slot): slot for slot in slots}
    catalogue: Catalogue = {}
    for name, value, synonyms in _entries(content, path):
        slot = names.get(_plain(name))
        if slot is not None and value.strip():
            catalogue.setdefault(slot, {})[value.strip()] = synonyms
    if not catalogue:
        raise CorpusError(f"{path}: no values for any of the slots {', '.join(slots)}.")
    return catalogue


def _entries(content: Any, path: Path) -> Iterable[Tuple[str, str, Tuple[str, ...]]]:
    """Name, value and synonyms of all that a file lists."""
    if isinstance(content, Mapping):
        for name, values in content.items():
            if isinstance(values, Mapping):
                for value, synonyms in values.items():
                    yield str(name), str(value), tuple(map(str, _listed(synonyms)))
            else:
                for value in _listed(values):
                    yield str(name), str(value), ()
    elif isinstance(content, list) and all(isinstance(row, Mapping) for row in content):
        for row in content:
            for name, value in row.items():
                if isinstance(name, str) and isinstance(value, (str, int, float)):
                    yield name, str(value), ()
    else:
        raise CorpusError(
            f"{path}: a mapping of slots to values or a list of rows is expected, "
            f"not {type(content).__name__}."
        )


def _listed(values: Any) -> List[Any]:
    return [] if values is None else list(values) if isinstance(values, (list, tuple)) else [values]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())
