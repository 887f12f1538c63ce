"""A knowledge base in memory, from rows or from a CSV or YAML file that is read again when it changes."""

from __future__ import annotations

import csv
import logging
import time
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple, Union

import yaml

from rasa_hybrid.knowledge.base import (
    ID,
    KnowledgeBase,
    KnowledgeBaseError,
    active_constraints,
    cell_text,
    check_names,
    match_key,
    number,
    required_number,
    with_id,
)

logger = logging.getLogger(__name__)

#: Seconds between two looks at whether the file changed.
_LOOK_EVERY = 1.0


class InMemoryKnowledgeBase(KnowledgeBase):
    """Rows in memory; their order is their rank.

    Args:
        rows: column to cell; a column that a row lacks is an empty cell.
        at_least: constraint to the numeric column that has to be at least its value.
        id_column: column that identifies a row; by default `id` if there is one, else a digest of the row.
        language: ISO 639-1 code for the comparison of values.

    Raises:
        KnowledgeBaseError: if there is no row, an `at_least` cell is not a number, or two rows have the same id.
    """

    clean = True

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        at_least: Optional[Mapping[str, str]] = None,
        id_column: Optional[str] = None,
        language: str = "en",
    ) -> None:
        self.at_least = dict(at_least or {})
        self._id_column = id_column
        self._language = language
        self._file: Optional[Path] = None
        self._stamp: Tuple[int, int] = (0, 0)
        self._next_look = 0.0
        self._index = _Index(rows, self.at_least, id_column, language)

    @classmethod
    def from_file(
        cls,
        path: Union[str, Path],
        at_least: Optional[Mapping[str, str]] = None,
        id_column: Optional[str] = None,
        language: str = "en",
    ) -> InMemoryKnowledgeBase:
        """Rows of a `.csv` file with a header, or of a `.yml` file with a list of mappings.

        The file is read again when it changes; if it can't be read then, the rows stay as they were.

        Raises:
            KnowledgeBaseError: if the file is missing or is not such a table; names file and line.
        """
        path = Path(path)
        stamp = _stamp(path)
        knowledge_base = cls(rows_from_file(path), at_least, id_column, language)
        knowledge_base._file, knowledge_base._stamp = path, stamp
        return knowledge_base

    @property
    def columns(self) -> Sequence[str]:
        return self._current().columns

    def query(self, constraints: Mapping[str, str]) -> List[Dict[str, str]]:
        return self._current().query(active_constraints(constraints))

    def values(self, column: str) -> List[str]:
        return self._current().values(column)

    def settings(self) -> Mapping[str, Any]:
        return {**super().settings(), "id_column": self._id_column}

    def _current(self) -> _Index:
        """The rows, read again if the file changed since the last look."""
        if self._file is not None and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _LOOK_EVERY
            try:
                stamp = _stamp(self._file)
                if stamp != self._stamp:
                    self._index = _Index(
                        rows_from_file(self._file), self.at_least, self._id_column, self._language
                    )
                    self._stamp = stamp
                    logger.info("%s changed, it was read again.", self._file)
            except KnowledgeBaseError as error:
                logger.warning(
                    "%s changed but can't be used, its rows stay as they were: %s",
                    self._file,
                    error,
                )
        return self._index


class _Index:
    """Immutable rows with, for each column, the rows of each value."""

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        at_least: Mapping[str, str],
        id_column: Optional[str],
        language: str,
    ) -> None:
        self.columns: Tuple[str, ...] = tuple(
            dict.fromkeys(str(name) for row in rows for name in row)
        )
        self._at_least, self._language = at_least, language
        if not self.columns:
            raise KnowledgeBaseError(
                "A knowledge base needs at least one row, to know its columns."
            )
        for constraint, column in at_least.items():
            self._check_column(column, f"at_least: {constraint}")
        if id_column is None:
            id_column = ID if ID in self.columns else None
        else:
            self._check_column(id_column, "id_column")
        changing = tuple(at_least.values())
        self._entities: List[Dict[str, str]] = []
        self._rows_of: Dict[str, Dict[str, Set[int]]] = {column: {} for column in self.columns}
        for position, row in enumerate(rows):
            texts = {str(name): cell_text(cell) for name, cell in row.items()}
            entity = {name: text for name, text in texts.items() if text is not None}
            for name, text in entity.items():
                self._rows_of[name].setdefault(match_key(text, language), set()).add(position)
            self._entities.append(with_id(entity, id_column, changing))
        self._numbers = {column: self._column_of_numbers(column) for column in set(changing)}
        if id_column is not None:
            self._check_unique(id_column)

    def query(self, constraints: Mapping[str, str]) -> List[Dict[str, str]]:
        check_names(
            constraints, frozenset(self.columns) | frozenset(self._at_least), "The knowledge base"
        )
        positions: Optional[Set[int]] = None
        for name, value in constraints.items():
            if name not in self._at_least:
                matching = self._rows_of[name].get(match_key(value, self._language), set())
                positions = matching if positions is None else positions & matching
        found: Sequence[int] = (
            range(len(self._entities)) if positions is None else sorted(positions)
        )
        for name, column in self._at_least.items():
            if name in constraints:
                least, cells = (
                    required_number(name, constraints[name], self._language),
                    self._numbers[column],
                )
                found = [position for position in found if cells[position] >= least]
        return [self._entities[position] for position in found]

    def values(self, column: str) -> List[str]:
        check_names({column: ""}, frozenset(self.columns), "The knowledge base")
        return sorted({entity[column] for entity in self._entities if column in entity})

    def _check_column(self, column: str, key: str) -> None:
        if column not in self.columns:
            raise KnowledgeBaseError(
                f"{key}: no column {column!r}; allowed: {', '.join(sorted(self.columns))}."
            )

    def _column_of_numbers(self, column: str) -> List[float]:
        """The cells of an `at_least` column; an empty one satisfies nothing."""
        cells = []
        for position, entity in enumerate(self._entities, start=1):
            text = entity.get(column)
            found = float("-inf") if text is None else number(text, self._language)
            if found is None:
                raise KnowledgeBaseError(
                    f"Row {position}: {column!r} is compared as a number (at_least), {text!r} is not one."
                )
            cells.append(found)
        return cells

    def _check_unique(self, id_column: str) -> None:
        first: Dict[str, int] = {}
        for position, entity in enumerate(self._entities, start=1):
            if first.setdefault(entity[ID], position) != position:
                raise KnowledgeBaseError(
                    f"Rows {first[entity[ID]]} and {position} have the same {id_column!r}, {entity[ID]!r}; "
                    "identifiers have to differ."
                )


def rows_from_file(path: Union[str, Path]) -> List[Dict[str, Any]]:
    """Rows of a CSV or YAML file, every cell as text.

    Raises:
        KnowledgeBaseError: if the file is missing or is not a table; names file and line.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in {".csv", ".yml", ".yaml"}:
        raise KnowledgeBaseError(
            f"path: {path} is neither CSV nor YAML; allowed: .csv, .yml, .yaml."
        )
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = _csv_rows(path, file) if suffix == ".csv" else _yaml_rows(path, file)
    except OSError as error:
        raise KnowledgeBaseError(f"path: {path} can't be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise KnowledgeBaseError(
            f"path: {path} is not UTF-8 ({error.reason} at byte {error.start})."
        ) from error
    if not rows:
        raise KnowledgeBaseError(f"path: {path} has no rows.")
    return rows


def _csv_rows(path: Path, file: Any) -> List[Dict[str, Any]]:
    reader = csv.reader(file)
    try:
        header = [name.strip() for name in next(reader, [])]
        if not header or "" in header or len(set(header)) < len(header):
            raise KnowledgeBaseError(
                f"{path}:1: every column needs a name of its own, found {header!r}."
            )
        rows = []
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise KnowledgeBaseError(
                    f"{path}:{reader.line_num}: {len(cells)} cells, the header has {len(header)} columns."
                )
            rows.append(dict(zip(header, cells)))
        return rows
    except csv.Error as error:
        raise KnowledgeBaseError(f"{path}:{reader.line_num}: not CSV ({error}).") from error


def _yaml_rows(path: Path, file: Any) -> List[Dict[str, Any]]:
    try:
        # Every scalar is text: a plain loader would read 6:30 as 390 and no as False.
        rows = yaml.load(file, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise KnowledgeBaseError(f"{path}: not YAML ({error}).") from error
    rows = rows or []
    if not isinstance(rows, list):
        raise KnowledgeBaseError(
            f"{path}: a list of rows is needed (`- movie: ...`), found a {type(rows).__name__}."
        )
    for position, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or not all(isinstance(cell, str) for cell in row.values()):
            raise KnowledgeBaseError(
                f"{path}: row {position} is not a mapping of columns to values: {row!r}."
            )
    return rows


def _stamp(path: Path) -> Tuple[int, int]:
    """Changes when the file does.

    Raises:
        KnowledgeBaseError: if there is no such file.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise KnowledgeBaseError(f"path: {path} can't be read ({error.strerror}).") from error
    return status.st_mtime_ns, status.st_size
