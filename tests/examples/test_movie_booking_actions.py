"""action_book_tickets through rasa_sdk on a real database: never oversold, never booked twice."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa
from rasa_sdk.executor import ActionExecutor

from tests.own_database import own_database


@pytest.fixture
def executor(actions, database_url, monkeypatch):
    monkeypatch.setenv("MOVIE_BOOKING_DATABASE", database_url)
    executor = ActionExecutor()
    executor.register_package("actions")
    return executor


@pytest.fixture
def engine(database_url):
    engine = sa.create_engine(database_url, future=True)
    yield engine
    engine.dispose()


def seats(engine, screening):
    with engine.connect() as connection:
        return connection.execute(
            sa.text("SELECT seats FROM screenings WHERE id = :id"), {"id": screening}
        ).scalar_one()


def bookings(engine):
    with engine.connect() as connection:
        rows = connection.execute(
            sa.text("SELECT conversation, screening_id, tickets FROM bookings ORDER BY 1, 2")
        )
        return [tuple(row) for row in rows]


def set_seats(engine, screening, number):
    with engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE screenings SET seats = :number WHERE id = :id"),
            {"number": number, "id": screening},
        )


async def booking_status(executor, conversation, screening, tickets):
    """What the action server answers to Rasa."""
    answer = await executor.run(
        {
            "next_action": "action_book_tickets",
            "sender_id": conversation,
            "tracker": {
                "sender_id": conversation,
                "slots": {"offer_id": screening, "num_tickets": tickets},
                "events": [],
                "latest_message": {},
                "active_loop": {},
                "paused": False,
                "followup_action": None,
                "latest_action_name": None,
            },
            "domain": {},
        }
    )
    (event,) = answer["events"]
    assert (event["event"], event["name"]) == ("slot", "booking_status")
    return event["value"]


async def test_a_booking_takes_its_seats(executor, engine):
    set_seats(engine, 7, 10)
    assert await booking_status(executor, "anna", "7", "3") == "booked"
    assert seats(engine, 7) == 7
    assert bookings(engine) == [("anna", 7, 3)]


async def test_repeating_a_booking_books_nothing_twice(executor, engine):
    set_seats(engine, 7, 10)
    for _ in range(3):
        assert await booking_status(executor, "anna", "7", "3") == "booked"
    assert seats(engine, 7) == 7
    assert bookings(engine) == [("anna", 7, 3)]


async def test_another_number_of_tickets_takes_or_gives_back_the_difference(executor, engine):
    set_seats(engine, 7, 10)
    left = []
    for tickets in ("2", "5", "1"):
        assert await booking_status(executor, "anna", "7", tickets) == "booked"
        left.append(seats(engine, 7))
    assert left == [8, 5, 9]


async def test_too_few_seats_are_sold_out_and_nothing_changes(executor, engine):
    set_seats(engine, 7, 2)
    assert await booking_status(executor, "anna", "7", "3") == "sold_out"
    assert (seats(engine, 7), bookings(engine)) == (2, [])
    assert await booking_status(executor, "anna", "7", "2") == "booked"
    assert await booking_status(executor, "anna", "7", "3") == "sold_out"
    assert (seats(engine, 7), bookings(engine)) == (0, [("anna", 7, 2)])


async def test_two_screenings_are_two_bookings(executor, engine):
    set_seats(engine, 7, 5)
    set_seats(engine, 8, 5)
    assert await booking_status(executor, "anna", "7", "2") == "booked"
    assert await booking_status(executor, "anna", "8", "2") == "booked"
    assert bookings(engine) == [("anna", 7, 2), ("anna", 8, 2)]


@pytest.mark.parametrize(
    ("screening", "tickets"),
    [
        (None, "2"),
        ("7", None),
        ("7", "dontcare"),
        ("7", "0"),
        ("7", "-1"),
        ("7", "1000000"),
        ("7; DROP TABLE bookings", "2"),
        ("999999", "2"),
    ],
)
async def test_what_cannot_be_booked_fails_and_changes_nothing(
    executor, engine, screening, tickets
):
    before = seats(engine, 7)
    assert await booking_status(executor, "anna", screening, tickets) == "failed"
    assert (seats(engine, 7), bookings(engine)) == (before, [])


async def test_a_database_that_is_gone_fails_instead_of_breaking_the_conversation(
    executor, engine, caplog
):
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE bookings"))
    assert await booking_status(executor, "anna", "7", "2") == "failed"
    assert "The booking of 2 tickets for screening 7 failed" in caplog.text


def book_at_once(url, requests):
    """Books from a thread for each request, each with its own connections, all starting together."""
    from actions.bookings import book

    barrier = threading.Barrier(len(requests))
    results = [None] * len(requests)

    def work(position, conversation, tickets):
        engine = sa.create_engine(url, future=True, poolclass=sa.pool.NullPool)
        barrier.wait()
        results[position] = book(engine, conversation, 7, tickets)

    threads = [
        threading.Thread(target=work, args=(position, *request))
        for position, request in enumerate(requests)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def assert_never_oversold(url):
    engine = sa.create_engine(url, future=True, poolclass=sa.pool.NullPool)
    set_seats(engine, 7, 11)
    results = book_at_once(url, [(f"user {n}", 2) for n in range(12)])
    assert sorted(results) == ["booked"] * 5 + ["sold_out"] * 7
    assert seats(engine, 7) == 1
    assert sum(tickets for _, _, tickets in bookings(engine)) == 10


def assert_never_twice(url):
    engine = sa.create_engine(url, future=True, poolclass=sa.pool.NullPool)
    set_seats(engine, 7, 11)
    assert book_at_once(url, [("anna", 3)] * 8) == ["booked"] * 8
    assert (seats(engine, 7), bookings(engine)) == (8, [("anna", 7, 3)])


def test_the_last_seats_are_never_sold_to_more_than_they_hold(actions, database_url):
    assert_never_oversold(database_url)


def test_the_same_booking_at_once_from_many_threads_is_one_booking(actions, database_url):
    assert_never_twice(database_url)


@pytest.mark.postgres
@pytest.mark.parametrize("claim", [assert_never_oversold, assert_never_twice])
def test_postgresql_never_oversells_and_never_books_twice(actions, builder, postgres_url, claim):
    with own_database(postgres_url) as url:
        builder.build(url)
        claim(url)
