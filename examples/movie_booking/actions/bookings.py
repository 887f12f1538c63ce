"""Taking seats: one transaction, never more than there are, and the same booking never twice."""

from __future__ import annotations

import sqlalchemy as sa

BOOKED, SOLD_OUT, FAILED = "booked", "sold_out", "failed"

# The insert comes first: it locks the booking (in SQLite the database), so that nobody reads what we are changing.
_LOCK = sa.text(
    "INSERT INTO bookings (conversation, screening_id, tickets) VALUES (:conversation, :screening, 0) "
    "ON CONFLICT (conversation, screening_id) DO UPDATE SET tickets = bookings.tickets"
)
_BOOKED_BEFORE = sa.text(
    "SELECT tickets FROM bookings WHERE conversation = :conversation AND screening_id = :screening"
)
_TAKE = sa.text(
    "UPDATE screenings SET seats = seats - :more WHERE id = :screening AND seats >= :more"
)
_WRITE = sa.text(
    "UPDATE bookings SET tickets = :tickets WHERE conversation = :conversation AND screening_id = :screening"
)
_EXISTS = sa.text("SELECT 1 FROM screenings WHERE id = :screening")


def book(engine: sa.engine.Engine, conversation: str, screening: int, tickets: int) -> str:
    """Makes the booking of a conversation for a screening one of `tickets` tickets.

    Doing it again changes nothing; another number of tickets takes or gives back the difference.

    Args:
        engine: the database with the tables `screenings` and `bookings`.
        conversation: who books.
        screening: what is booked.
        tickets: how many seats, at least 1.

    Returns:
        `BOOKED`; `SOLD_OUT` if there are not enough seats, or `FAILED` if there is no such screening: then nothing changed.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: if the database can't be asked; then nothing changed.
    """
    booking = {"conversation": conversation, "screening": screening}
    with engine.connect() as connection, connection.begin() as transaction:
        if connection.execute(_EXISTS, booking).first() is None:
            return FAILED
        connection.execute(_LOCK, booking)
        more = tickets - connection.execute(_BOOKED_BEFORE, booking).scalar_one()
        if more and connection.execute(_TAKE, {**booking, "more": more}).rowcount == 0:
            transaction.rollback()
            return SOLD_OUT
        connection.execute(_WRITE, {**booking, "tickets": tickets})
        return BOOKED
