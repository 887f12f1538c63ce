"""The SQL knowledge base: equal to the in-memory one, bound parameters only, PostgreSQL as well as SQLite."""

from __future__ import annotations

import datetime
import logging
import os
import tempfile
import threading
import time
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from rasa_hybrid.dialogue import DONTCARE
from rasa_hybrid.knowledge import (
    InMemoryKnowledgeBase,
    KnowledgeBaseError,
    KnowledgeBaseUnavailable,
    SqlKnowledgeBase,
)
from tests.own_database import own_database

ROWS = [
    {"id": 1, "movie": "Harbour Lights", "time": "6:00 pm", "seats": 4},
    {"id": 2, "movie": "Harbour Lights", "time": "9:15 pm", "seats": 40},
    {"id": 3, "movie": "The Glass Orchard", "time": "6 PM", "seats": 0},
    {"id": 4, "movie": "Robert'); DROP TABLE screenings;--", "time": "6:00 pm", "seats": None},
]


def screenings_table(metadata):
    return sa.Table(
        "screenings",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("movie", sa.Text),
        sa.Column("time", sa.Text),
        sa.Column("seats", sa.Integer),
    )


def fill(url, rows, table=screenings_table):
    """Creates the table anew with these rows."""
    engine = sa.create_engine(url, future=True)
    metadata = sa.MetaData()
    created = table(metadata)
    with engine.begin() as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
        if rows:
            connection.execute(created.insert(), rows)
    engine.dispose()


@pytest.fixture
def sqlite_url(tmp_path):
    url = f"sqlite:///{tmp_path / 'screenings.db'}"
    fill(url, ROWS)
    return url


@pytest.fixture
def screenings(sqlite_url):
    return SqlKnowledgeBase(sqlite_url, "screenings", at_least={"num_tickets": "seats"})


def ids(entities):
    return [entity["id"] for entity in entities]


def test_stored_spellings_are_found_however_the_value_is_said(screenings):
    assert ids(screenings.query({"time": "six in the evening"})) == ["1", "3", "4"]
    assert ids(screenings.query({"movie": "HARBOUR  lights", "time": "9.15 p.m."})) == ["2"]


def test_enough_seats_have_to_be_left(screenings):
    assert ids(screenings.query({"num_tickets": "four"})) == ["1", "2"]
    assert ids(screenings.query({"num_tickets": DONTCARE})) == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    "order_by, expected", [([], "123"), (["-seats"], "213"), (["movie", "-id"], "213")]
)
def test_the_table_is_ranked_by_the_columns_of_order_by(sqlite_url, order_by, expected):
    knowledge_base = SqlKnowledgeBase(
        sqlite_url, "screenings", order_by=order_by, at_least={"num_tickets": "seats"}
    )
    assert "".join(ids(knowledge_base.query({"num_tickets": "0"}))) == expected


def test_a_limit_keeps_the_best(sqlite_url):
    assert ids(SqlKnowledgeBase(sqlite_url, "screenings", order_by=["-id"], limit=2).query({})) == [
        "4",
        "3",
    ]


def test_hostile_values_stay_values(screenings):
    hostile = "Robert'); DROP TABLE screenings;--"
    assert ids(screenings.query({"movie": hostile})) == ["4"]
    assert screenings.query({"movie": "' OR '1'='1"}) == []
    assert screenings.query({"movie": '"; DELETE FROM screenings; --', "time": "x' OR 1=1"}) == []
    assert len(screenings.query({})) == 4


def test_no_statement_contains_a_value(sqlite_url):
    knowledge_base = SqlKnowledgeBase(sqlite_url, "screenings", at_least={"num_tickets": "seats"})
    statements = []
    sa.event.listen(
        knowledge_base._engine,
        "before_cursor_execute",
        lambda c, cursor, text, *rest: statements.append(text),
    )
    knowledge_base.query({"movie": "The Glass Orchard", "time": "6 pm", "num_tickets": "7411"})
    assert statements
    assert not any(
        value in text for text in statements for value in ("Orchard", "6 PM", "6 pm", "7411")
    )


def test_hostile_column_names_are_unknown_columns(screenings):
    for name in ('movie" = "movie" OR "1', "1; DROP TABLE screenings", "genre"):
        with pytest.raises(
            KnowledgeBaseError,
            match="has no column .* allowed: id, movie, num_tickets, seats, time",
        ):
            screenings.query({name: "x"})
        with pytest.raises(KnowledgeBaseError, match="has no column"):
            screenings.values(name)


def test_a_row_that_changed_is_told_as_it_is_now(screenings, sqlite_url):
    before = screenings.query({})
    with sa.create_engine(sqlite_url, future=True).begin() as connection:
        connection.execute(sa.text("UPDATE screenings SET movie = 'Another Film'"))
    after = screenings.query({})
    assert {entity["movie"] for entity in after} == {"Another Film"}
    assert ids(after) == ids(before)


def test_a_file_that_was_put_in_the_place_of_the_database_is_read_a_second_later(tmp_path):
    urls = [f"sqlite:///{tmp_path / name}" for name in ("served.db", "new.db")]
    for url, count in zip(urls, (3, 1)):
        fill(url, ROWS[:count])
    with closing(SqlKnowledgeBase(urls[0], "screenings")) as screenings:
        assert len(screenings.query({})) == 3
        os.replace(tmp_path / "new.db", tmp_path / "served.db")
        time.sleep(1.1)
        assert [entity["id"] for entity in screenings.query({})] == ["1"]


def test_a_new_row_is_found_as_it_is_written_before_the_spellings_are_read_again(sqlite_url):
    now = [0.0]
    knowledge_base = SqlKnowledgeBase(
        sqlite_url, "screenings", values_seconds=60.0, clock=lambda: now[0]
    )
    assert knowledge_base.query({"movie": "Opened Yesterday"}) == []
    engine = sa.create_engine(sqlite_url)
    with engine.begin() as connection:
        connection.execute(
            sa.text("INSERT INTO screenings VALUES (5, 'Opened Yesterday', '6 pm', 9)")
        )
    assert ids(knowledge_base.query({"movie": "Opened Yesterday"})) == ["5"]
    assert ids(knowledge_base.query({"movie": "opened yesterday!"})) == []
    now[0] += 60.0
    assert ids(knowledge_base.query({"movie": "opened yesterday!"})) == ["5"]


def test_cells_of_other_types_are_text_and_can_be_asked_for(tmp_path):
    def shows(metadata):
        return sa.Table(
            "shows",
            metadata,
            sa.Column("code", sa.String(10)),
            sa.Column("day", sa.Date),
            sa.Column("start", sa.Time),
            sa.Column("rating", sa.Float),
            sa.Column("subtitled", sa.Boolean),
        )

    url = f"sqlite:///{tmp_path / 'shows.db'}"
    row = {
        "code": "a1",
        "day": datetime.date(2024, 5, 3),
        "start": datetime.time(18),
        "rating": 4.1,
        "subtitled": True,
    }
    fill(
        url,
        [
            row,
            {
                **row,
                "code": "b2",
                "start": datetime.time(20, 30),
                "rating": 4.0,
                "subtitled": False,
            },
        ],
        shows,
    )
    knowledge_base = SqlKnowledgeBase(url, "shows", id_column="code")
    expected = {
        "id": "a1",
        "code": "a1",
        "day": "2024-05-03",
        "start": "18:00",
        "rating": "4.1",
        "subtitled": "true",
    }
    assert knowledge_base.query({"start": "6 pm"}) == [expected]
    assert knowledge_base.query({"rating": "4.1", "subtitled": "true", "day": "2024-05-03"}) == [
        expected
    ]
    assert ids(knowledge_base.query({"rating": "4"})) == ["b2"]
    assert knowledge_base.query({"rating": "good"}) == knowledge_base.query({"day": "friday"}) == []


def test_a_view_serves_as_well_as_a_table(sqlite_url):
    with sa.create_engine(sqlite_url).begin() as connection:
        connection.execute(
            sa.text("CREATE VIEW left_over AS SELECT id, movie FROM screenings WHERE seats > 0")
        )
    assert ids(SqlKnowledgeBase(sqlite_url, "left_over").query({})) == ["1", "2"]


@pytest.mark.parametrize(
    "table, options, message",
    [
        ("shows", {}, "table: .* has no table 'shows'; allowed: screenings"),
        (
            "screenings",
            {"order_by": ["-rank"]},
            "order_by: .* no column 'rank'; allowed: id, movie, seats, time",
        ),
        ("screenings", {"id_column": "code"}, "id_column: .* no column 'code'"),
        ("screenings", {"at_least": {"n": "places"}}, "at_least: n: .* no column 'places'"),
        (
            "screenings",
            {"at_least": {"n": "movie"}},
            "at_least: n: column 'movie' is TEXT.*allowed: id, seats",
        ),
    ],
)
def test_a_configuration_that_does_not_fit_the_schema_says_what_would(
    sqlite_url, table, options, message
):
    with pytest.raises(KnowledgeBaseError, match=message):
        SqlKnowledgeBase(sqlite_url, table, **options).check()


@pytest.mark.parametrize(
    "url, message",
    [
        ("not a url with hunter2", "not a database URL"),
        ("sqlite://", "names no file"),
        ("sqlite:///nowhere.db", "nowhere.db does not exist; build it first"),
        ("nosuchbase://bot:hunter2@host/db", "no driver for 'nosuchbase'"),
    ],
)
def test_a_url_that_cannot_be_used_is_an_error_without_its_password(url, message, tmp_path):
    with pytest.raises(KnowledgeBaseError, match=message) as caught:
        SqlKnowledgeBase(url, "screenings", base_dir=tmp_path)
    assert "hunter2" not in str(caught.value)


def test_a_database_that_is_down_is_unavailable_and_keeps_its_password_to_itself(caplog):
    caplog.set_level(logging.DEBUG)
    url = "postgresql://bot:hunter2@127.0.0.1:1/cinema?password=hunter3"
    with pytest.raises(
        KnowledgeBaseUnavailable, match="bot:\\*\\*\\*@127.0.0.1:1/cinema does not answer"
    ) as caught:
        SqlKnowledgeBase(url, "screenings", timeout=0.5).check()
    assert "hunter" not in str(caught.value) + caplog.text


def test_the_fingerprint_ignores_rows_and_place_but_not_schema_and_ranking(sqlite_url, tmp_path):
    def fingerprint(url, **options):
        return SqlKnowledgeBase(url, "screenings", **options).config_fingerprint()

    elsewhere = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    fill(elsewhere, ROWS[:1])
    assert fingerprint(sqlite_url) == fingerprint(elsewhere)
    assert fingerprint(sqlite_url) != fingerprint(sqlite_url, order_by=["-seats"])
    with sa.create_engine(elsewhere).begin() as connection:
        connection.execute(sa.text("ALTER TABLE screenings ADD COLUMN price TEXT"))
    assert fingerprint(sqlite_url) != fingerprint(elsewhere)


def test_threads_can_ask_at_once(screenings):
    wrong = []

    def ask():
        for _ in range(10):
            if ids(screenings.query({"time": "6 pm"})) != ["1", "3", "4"]:
                wrong.append("query")

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# Few distinct values, in spellings that mean the same, so that random constraints do match.
_TITLES = st.sampled_from(
    ["Harbour Lights", "harbour lights!", "Marl", "the 3rd", "Æther", "seven", "7", " ", "??", ""]
)
_TIMES = st.sampled_from(["6:00 pm", "6 pm", "18:00", "9:15 pm", "quarter past nine pm", "noon"])
_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "movie": st.none()
            | _TITLES
            | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4),
            "time": st.none() | _TIMES,
            "seats": st.none() | st.integers(0, 9),
        }
    ),
    min_size=1,
    max_size=12,
)
_CONSTRAINTS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "movie": _TITLES | st.just(DONTCARE),
            "time": _TIMES,
            "num_tickets": st.integers(0, 9).map(str),
            "seats": st.integers(0, 9).map(str),
        },
    ),
    min_size=1,
    max_size=6,
)


def agree(url, rows, queries):
    numbered = [{"id": position, **row} for position, row in enumerate(rows, start=1)]
    at_least = {"num_tickets": "seats"}
    fill(url, numbered)
    in_memory = InMemoryKnowledgeBase(numbered, at_least=at_least)
    in_sql = SqlKnowledgeBase(url, "screenings", at_least=at_least)
    try:
        for constraints in queries:
            assert in_sql.query(constraints) == in_memory.query(constraints), constraints
        for column in ("movie", "time", "seats"):
            assert in_sql.values(column) == in_memory.values(column)
        assert set(in_sql.columns) == set(in_memory.columns)
    finally:
        in_sql.close()


@settings(max_examples=60, deadline=None)
@given(rows=_ROWS, queries=_CONSTRAINTS)
def test_sqlite_and_memory_give_the_same_entities(rows, queries):
    with tempfile.TemporaryDirectory() as folder:
        agree(f"sqlite:///{Path(folder) / 'rows.db'}", rows, queries)


@pytest.fixture
def database_url(postgres_url):
    """A PostgreSQL database of the test's own."""
    with own_database(postgres_url) as url:
        yield url


@pytest.mark.postgres
def test_postgresql_and_memory_give_the_same_entities(database_url):
    @settings(max_examples=15, deadline=None)
    @given(rows=_ROWS, queries=_CONSTRAINTS)
    def property_holds(rows, queries):
        agree(database_url, rows, queries)

    property_holds()


@pytest.fixture
def postgres_knowledge_base(database_url):
    """A function that makes a knowledge base on a table; its connections are given back."""
    made = []

    def make(table, **options):
        made.append(SqlKnowledgeBase(database_url, table, **options))
        return made[-1]

    yield make
    for knowledge_base in made:
        knowledge_base.close()


@pytest.mark.postgres
def test_postgresql_types_are_text_and_can_be_asked_for(database_url, postgres_knowledge_base):
    def shows(metadata):
        return sa.Table(
            "shows",
            metadata,
            sa.Column("code", sa.CHAR(6)),
            sa.Column("price", sa.Numeric(6, 2)),
            sa.Column("rating", sa.REAL),
            sa.Column("seats", sa.SmallInteger),
        )

    fill(database_url, [{"code": "a1", "price": Decimal("9.50"), "rating": 4.1, "seats": 3}], shows)
    knowledge_base = postgres_knowledge_base(
        "shows", id_column="code", at_least={"n": "seats", "m": "price"}
    )
    expected = [{"id": "a1", "code": "a1", "price": "9.50", "rating": "4.1", "seats": "3"}]
    assert (
        knowledge_base.query({"rating": "4.1", "price": "9.50", "code": "a1", "n": "3", "m": "9.5"})
        == expected
    )
    assert knowledge_base.query({"price": "9.51"}) == knowledge_base.query({"m": "9.51"}) == []


@pytest.mark.postgres
def test_postgresql_ends_a_statement_that_takes_too_long(database_url, postgres_knowledge_base):
    engine = sa.create_engine(database_url, future=True, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP VIEW IF EXISTS endless"))
        connection.execute(
            sa.text("CREATE VIEW endless AS SELECT 1 AS id, pg_sleep(60)::text AS movie")
        )
    knowledge_base = postgres_knowledge_base("endless", timeout=0.2)
    with pytest.raises(KnowledgeBaseUnavailable, match="statement timeout"):
        knowledge_base.query({})
