"""The database of the episode store: how SQLite and PostgreSQL are opened, one writer at a time, versions, the secret."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from contextlib import contextmanager
from typing import Any, Iterator, Optional

import sqlalchemy as sa

from rasa_hybrid.feedback import schema
from rasa_hybrid.feedback.schema import facts

#: Seconds that a writer waits for those of its own process, and then for those of others (SQLite). Together they are
#: less than the minute after which a server gives a request up.
_OWN_PATIENCE, _PATIENCE = 15, 30
_LOCK = 0x68796272  # number of the advisory lock under which PostgreSQL's schema is changed


class StoreError(RuntimeError):
    """The store can't be opened or used; the message says what to do."""


class Database:
    """Opens a database and brings its tables to this version.

    Args:
        url: of SQLAlchemy: `sqlite:///feedback.db`, `postgresql+psycopg2://...`.

    Raises:
        StoreError: if it can't be opened, or was made by a later version.
    """

    def __init__(self, url: str) -> None:
        #: Writers of this process wait for each other here; SQLite would let them ask again and again.
        self._writer: Optional[threading.Lock] = None
        try:
            self.engine = _engine(url)
            if self.engine.dialect.name == "sqlite":
                self._writer = threading.Lock()
            with self.writing() as connection:
                _bring_up_to_date(connection)
                self._secret = _secret(connection)
        except (sa.exc.SQLAlchemyError, ImportError, OSError) as error:
            raise StoreError(
                f"The episode store {_without_password(url)} can't be opened: {error}"
            ) from error

    def close(self) -> None:
        """Closes all connections."""
        self.engine.dispose()

    def signature(self, text: str) -> str:
        """HMAC of a text under the store's secret (64 hexadecimal digits), the same in every process."""
        # Users may have sent half of a surrogate pair.
        return hmac.new(
            self._secret, text.encode("utf-8", "surrogatepass"), hashlib.sha256
        ).hexdigest()

    @contextmanager
    def writing(self) -> Iterator[sa.engine.Connection]:
        """A transaction that may write; with SQLite there is one at a time."""
        with self._one_writer(), self.engine.connect() as connection:
            connection = connection.execution_options(hybrid_writes=True)
            with connection.begin():
                yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.engine.Connection]:
        """A transaction that only reads."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def _one_writer(self) -> Iterator[None]:
        if self._writer is None:
            yield
            return
        if not self._writer.acquire(timeout=_OWN_PATIENCE):
            raise sa.exc.TimeoutError("The episode store is busy: other writers do not end.")
        try:
            yield
        finally:
            self._writer.release()


def insert_missing(connection: sa.engine.Connection, table: sa.Table, **values: Any) -> bool:
    """Inserts a row unless its key is there already; says whether it did."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    elif connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        raise StoreError(
            f"The episode store can't be a {connection.dialect.name} database; it has to be SQLite or PostgreSQL."
        )
    return bool(
        connection.execute(insert(table).values(**values).on_conflict_do_nothing()).rowcount
    )


def _engine(url: str) -> sa.engine.Engine:
    parsed = sa.engine.make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return sa.create_engine(url, future=True, pool_pre_ping=True, pool_size=10, max_overflow=10)
    if parsed.database in (None, "", ":memory:"):
        raise StoreError(f"The episode store {url} has to be a file: sqlite:///feedback.db.")
    engine = sa.create_engine(
        url,
        future=True,
        poolclass=sa.pool.QueuePool,
        pool_size=10,
        max_overflow=10,
        connect_args={"timeout": _PATIENCE, "check_same_thread": False},
    )

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin below, not where sqlite3 thinks fit
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")  # also a power failure loses nothing acknowledged
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.engine.Connection) -> None:
        writes = connection.get_execution_options().get("hybrid_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _bring_up_to_date(connection: sa.engine.Connection) -> None:
    """Makes or upgrades the tables; other processes that open the store wait meanwhile."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
    if sa.inspect(connection).has_table(schema.VERSION_TABLE):
        query = sa.text(f"SELECT version_num FROM {schema.VERSION_TABLE}")
        version = connection.execute(query).scalar()
        if version == schema.VERSION:
            return
        if version is not None and version > schema.VERSION:
            raise StoreError(
                f"The episode store has schema {version}, this version of rasa_hybrid knows {schema.VERSION}: "
                "update rasa_hybrid, or use another store."
            )
    schema.upgrade(connection)


def _secret(connection: sa.engine.Connection) -> bytes:
    insert_missing(connection, facts, name="secret", value=secrets.token_hex(32))
    found = connection.execute(sa.select(facts.c.value).where(facts.c.name == "secret"))
    return bytes.fromhex(found.scalar_one())


def _without_password(url: str) -> str:
    try:
        return repr(sa.engine.make_url(url))
    except sa.exc.SQLAlchemyError:
        return "(its URL is not one that SQLAlchemy reads)"
