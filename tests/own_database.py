"""A database of a test's own on a server that all tests share."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import Iterator

import sqlalchemy as sa


@contextmanager
def own_database(server_url: str) -> Iterator[str]:
    """Makes a PostgreSQL database, and drops it with whatever is connected to it when the block ends."""
    name = f"test_{uuid.uuid4().hex}"
    server = sa.create_engine(
        server_url, future=True, poolclass=sa.pool.NullPool, isolation_level="AUTOCOMMIT"
    )
    with server.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    try:
        url = sa.engine.make_url(server_url).set(database=name)
        yield url.render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.execute(
                sa.text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
                ),
                {"name": name},
            )
            connection.execute(sa.text(f"DROP DATABASE {name}"))
