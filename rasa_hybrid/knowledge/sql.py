"""A knowledge base in a table or view of a SQL database, by SQLAlchemy.

Values reach the database as bound parameters only, and table and column names come from its own schema.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    NoSuchModuleError,
    NoSuchTableError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.sqltypes import Float, Integer, Numeric, String

from rasa_hybrid.knowledge.base import (
    ID,
    KnowledgeBase,
    KnowledgeBaseError,
    KnowledgeBaseUnavailable,
    active_constraints,
    cell_text,
    check_names,
    match_key,
    required_number,
    with_id,
    without_passwords,
)

#: Cells as the database gives them, by the form in which values are compared.
_Spellings = Dict[str, List[Any]]
#: Rows whose text is remembered, and sets of constraints whose statement is.
_REMEMBERED, _STATEMENTS = 50_000, 500


class SqlKnowledgeBase(KnowledgeBase):
    """A table or view; the database is first asked by `check` or the first query.

    Args:
        url: SQLAlchemy URL; a relative SQLite path starts at `base_dir`.
        table: table or view.
        schema: its schema, None for the default one.
        order_by: columns that rank the entities, a leading `-` for descending; by default the id column.
        at_least: constraint to the numeric column that has to be at least its value.
        id_column: column that identifies an entity; by default `id` if there is one, else a digest of the row.
        limit: most entities that a query gives, so that counts stop there; None for no limit.
        language: ISO 639-1 code for the comparison of values.
        values_seconds: seconds after which the stored spellings of a column are read again.
        timeout: seconds that the database itself may take for a statement; None for its default.
        base_dir: where a relative SQLite path starts.

    Raises:
        KnowledgeBaseError: if the URL can't be used or its SQLite file does not exist.
    """

    clean = True

    def __init__(
        self,
        url: str,
        table: str,
        schema: Optional[str] = None,
        order_by: Sequence[str] = (),
        at_least: Optional[Mapping[str, str]] = None,
        id_column: Optional[str] = None,
        limit: Optional[int] = None,
        language: str = "en",
        values_seconds: float = 60.0,
        timeout: Optional[float] = None,
        base_dir: Union[str, Path] = ".",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.at_least = dict(at_least or {})
        self._url = _resolved(url, Path(base_dir))
        self._table_name, self._schema = table, schema
        self._order_by, self._id_column, self._limit = tuple(order_by), id_column, limit
        self._language, self._values_seconds, self._clock = language, values_seconds, clock
        self._engine = _engine(self._url, timeout)
        self._checked: Optional[sa.Table] = None
        self._spellings: Dict[str, Tuple[float, _Spellings]] = {}
        self._remembered = lru_cache(maxsize=_REMEMBERED)(self._as_text)
        self._statement = lru_cache(maxsize=_STATEMENTS)(self._select)

    @property
    def masked_url(self) -> str:
        """The URL without its password."""
        return self._url.set(query={}).render_as_string(hide_password=True)

    @property
    def columns(self) -> Sequence[str]:
        return tuple(column.name for column in self._table().columns)

    def check(self) -> None:
        self._table()

    def close(self) -> None:
        self._engine.dispose()

    def settings(self) -> Mapping[str, Any]:
        return {
            **super().settings(),
            "table": self._table_name,
            "order_by": list(self._order_by),
            "id_column": self._id_column,
            "limit": self._limit,
        }

    def query(self, constraints: Mapping[str, str]) -> List[Dict[str, str]]:
        table = self._table()
        active = active_constraints(constraints)
        check_names(active, self.constraint_names, f"Table {table.name!r}")
        names = tuple(sorted(active))
        parameters: Dict[str, Any] = {}
        for i, name in enumerate(names):
            parameters.update(self._bound(i, name, active[name]))
        rows = self._rows(self._statement(names), parameters)
        return [self._entity(row) for row in map(tuple, rows)]

    def values(self, column: str) -> List[str]:
        table = self._table()
        check_names({column: ""}, frozenset(table.c.keys()), f"Table {table.name!r}")
        cells = [row[0] for row in self._rows(sa.select(table.c[column]).distinct(), {})]
        spellings: _Spellings = {}
        texts = set()
        for cell in cells:
            text = cell_text(cell)
            if text is not None:
                texts.add(text)
                spellings.setdefault(match_key(text, self._language), []).append(cell)
        self._spellings[column] = (self._clock(), spellings)
        return sorted(texts)

    def _select(self, names: Tuple[str, ...]) -> Any:
        """The query for constraints of these names, its values left open; `_bound` binds those of the i-th name."""
        table = self._table()
        statement = sa.select(table).order_by(*self._ranking(table)).limit(self._limit)
        for i, name in enumerate(names):
            if name in self.at_least:
                least = sa.bindparam(f"value_{i}", type_=sa.Float())
                statement = statement.where(table.c[self.at_least[name]] >= least)
            elif isinstance(table.c[name].type, Float):
                ends = sa.bindparam(f"low_{i}"), sa.bindparam(f"high_{i}")
                statement = statement.where(table.c[name].between(*ends))
            else:
                cells = sa.bindparam(f"value_{i}", expanding=True)
                statement = statement.where(table.c[name].in_(cells))
        return statement

    def _bound(self, i: int, name: str, value: str) -> Dict[str, Any]:
        """The parameters of the i-th constraint: the stored spellings of its value, or the number to be reached."""
        if name in self.at_least:
            return {f"value_{i}": required_number(name, value, self._language)}
        known = self._spellings.get(name)
        if known is None or self._clock() - known[0] >= self._values_seconds:
            self.values(name)
            known = self._spellings[name]
        cells = known[1].get(match_key(value, self._language), [])
        column = self._table().c[name]
        if isinstance(column.type, Float):
            low, high = _around([float(cell) for cell in cells])
            return {f"low_{i}": low, f"high_{i}": high}
        if isinstance(column.type, String) and cell_text(value) is not None:
            # A value that is newer than the spellings is found at least as it is written.
            cells = [*cells, value]
        return {f"value_{i}": cells}

    def _ranking(self, table: sa.Table) -> List[ColumnElement]:
        identifier = self._identifier(table)
        names = [*self._order_by, *([identifier] if identifier is not None else [])]
        if not names:
            names = [column.name for column in table.primary_key] or list(table.c.keys())
        return [
            table.c[name[1:]].desc() if name.startswith("-") else table.c[name].asc()
            for name in names
        ]

    def _entity(self, row: Tuple[Any, ...]) -> Dict[str, str]:
        """A row as text, not to be changed; most rows of a query were in the one before."""
        try:
            return self._remembered(row)
        except TypeError:  # a cell that can't be a key, such as a list of PostgreSQL
            return self._as_text(row)

    def _as_text(self, row: Tuple[Any, ...]) -> Dict[str, str]:
        table = self._table()
        texts = zip(table.c.keys(), map(cell_text, row))
        entity = {name: text for name, text in texts if text is not None}
        return with_id(entity, self._identifier(table), tuple(self.at_least.values()))

    def _identifier(self, table: sa.Table) -> Optional[str]:
        return self._id_column or (ID if ID in table.c else None)

    def _rows(self, statement: Any, parameters: Mapping[str, Any]) -> List[Tuple[Any, ...]]:
        with self._reporting(), self._engine.connect() as connection:
            return connection.execute(statement, parameters).all()

    def _table(self) -> sa.Table:
        """The table as the database describes it, checked against the settings.

        Raises:
            KnowledgeBaseError: if there is no such table or column.
            KnowledgeBaseUnavailable: if the database does not answer.
        """
        if self._checked is None:
            with self._reporting():
                table = self._reflected()
            self._check_columns(table)
            self._checked = table
        return self._checked

    def _reflected(self) -> sa.Table:
        try:
            return sa.Table(
                self._table_name, sa.MetaData(), schema=self._schema, autoload_with=self._engine
            )
        except NoSuchTableError:
            inspector = sa.inspect(self._engine)
            names = [
                *inspector.get_table_names(self._schema),
                *inspector.get_view_names(self._schema),
            ]
            raise KnowledgeBaseError(
                f"table: {self.masked_url} has no table {self._table_name!r}; "
                f"allowed: {', '.join(sorted(names)) or 'none, the database is empty'}."
            ) from None

    def _check_columns(self, table: sa.Table) -> None:
        named = [
            ("order_by", name[1:] if name.startswith("-") else name) for name in self._order_by
        ]
        named += [("id_column", self._id_column)] if self._id_column is not None else []
        named += [
            (f"at_least: {constraint}", column) for constraint, column in self.at_least.items()
        ]
        for key, column in named:
            if column not in table.c:
                raise KnowledgeBaseError(
                    f"{key}: table {table.name!r} has no column {column!r}; "
                    f"allowed: {', '.join(sorted(table.c.keys()))}."
                )
        for constraint, column in self.at_least.items():
            if not isinstance(table.c[column].type, (Integer, Numeric)):
                numeric = [
                    name for name, c in table.c.items() if isinstance(c.type, (Integer, Numeric))
                ]
                raise KnowledgeBaseError(
                    f"at_least: {constraint}: column {column!r} is {table.c[column].type!r}, not a number; "
                    f"allowed: {', '.join(sorted(numeric)) or 'none'}."
                )

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """Errors of the database as ours, without statements, parameters and passwords."""
        try:
            yield
        except (DBAPIError, PoolTimeout) as error:
            cause = getattr(error, "orig", None) or error
            what = without_passwords(str(cause)).strip().splitlines()
            raise KnowledgeBaseUnavailable(
                f"{self.masked_url} does not answer: {type(cause).__name__}: {what[0] if what else ''}"
            ) from None
        except SQLAlchemyError as error:
            raise KnowledgeBaseError(
                f"{self.masked_url}: {without_passwords(str(error))}"
            ) from None


def _around(numbers: Sequence[float]) -> Tuple[float, float]:
    """Between which a four-byte float lies that stands for one of these spellings of a number; nowhere without any."""
    if not numbers:
        return 1.0, 0.0
    margin = max(1.0, *map(abs, numbers)) * 1e-6
    return min(numbers) - margin, max(numbers) + margin


def _resolved(url: str, base_dir: Path) -> URL:
    """The URL with a relative SQLite path made absolute.

    Raises:
        KnowledgeBaseError: if it is not a URL, or the SQLite file does not exist.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The text is not repeated: it may hold a password.
        raise KnowledgeBaseError(
            "url: not a database URL; allowed: `sqlite:///db/file.db`, `postgresql://user:password@host/database` "
            "and the like."
        ) from None
    if parsed.get_backend_name() != "sqlite":
        return parsed
    if not parsed.database or parsed.database == ":memory:" or parsed.database.startswith("file:"):
        raise KnowledgeBaseError(
            f"url: {url!r} names no file; allowed: `sqlite:///path/to/file.db`."
        )
    path = base_dir / parsed.database
    if not path.is_file():
        raise KnowledgeBaseError(f"url: the SQLite file {path} does not exist; build it first.")
    return parsed.set(database=str(path.resolve()))


def _engine(url: URL, timeout: Optional[float]) -> sa.engine.Engine:
    """An engine whose statements end by themselves, so that no abandoned query holds a connection for long.

    Raises:
        KnowledgeBaseError: if there is no driver for the URL.
    """
    limits: Dict[str, Any] = {}
    options: Dict[str, Any] = {}
    if url.get_backend_name() == "sqlite":
        # A new connection reads the schema again, which takes as long as a query. An old one would not see that the
        # file was replaced: so they are used for a second.
        options.update(poolclass=sa.pool.QueuePool, max_overflow=-1, pool_recycle=1)
        limits = {"check_same_thread": False}
        limits.update({"timeout": timeout} if timeout is not None else {})
    else:
        options["pool_pre_ping"] = True
        if timeout is not None:
            options["pool_timeout"] = timeout
    if (
        timeout is not None
        and url.get_backend_name() == "postgresql"
        and url.get_driver_name() == "psycopg2"
    ):
        limits = {
            "connect_timeout": max(1, round(timeout)),
            "options": f"-c statement_timeout={round(timeout * 1000)}",
        }
    try:
        return sa.create_engine(
            url, hide_parameters=True, connect_args=limits, future=True, **options
        )
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        driver = error.name if isinstance(error, ModuleNotFoundError) else url.drivername
        raise KnowledgeBaseError(
            f"url: no driver for {url.drivername!r} ({driver}); install one, for PostgreSQL `pip install psycopg2-binary`."
        ) from error
