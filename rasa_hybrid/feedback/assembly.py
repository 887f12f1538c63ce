"""Assembly: dialogues come from the tracker store or the broker to the episodes that wait for them, and are given up if they don't."""

from __future__ import annotations

import time
from typing import Any, Dict, Iterable, List, Optional, Tuple

import sqlalchemy as sa

from rasa_hybrid.feedback.database import Database, insert_missing
from rasa_hybrid.feedback.privacy import forgotten_until
from rasa_hybrid.feedback.records import LOST, NEW, OPEN, UNDECIDED, UNRATED, Outcome, Recorded
from rasa_hybrid.feedback.schema import episodes


def waiting(
    database: Database, quiet_since: Optional[float] = None, limit: int = 1000
) -> List[Tuple[str, str]]:
    """Episodes (id, sender) to be assembled, perhaps again: those with an outcome, and those begun before `quiet_since`."""
    due = episodes.c.settled.isnot(None)
    if quiet_since is not None:
        due = sa.or_(due, episodes.c.begun < quiet_since)
    query = (
        sa.select(episodes.c.id, episodes.c.sender)
        .where(episodes.c.status == OPEN, episodes.c.ended.is_(None), due)
        .order_by(episodes.c.settled.is_(None), episodes.c.settled, episodes.c.begun)
        .limit(limit)
    )
    with database.reading() as connection:
        return [(row.id, row.sender) for row in connection.execute(query)]


def keep(
    database: Database,
    id: str,
    sender: str,
    begun: float,
    recorded: Recorded,
    outcome: Optional[Outcome] = None,
    settled: Optional[float] = None,
    rated: Optional[float] = None,
) -> bool:
    """Stores the dialogue of an episode; its outcome too, if it is known and nobody has given feedback.

    Args:
        database: with the episode.
        id: of the episode.
        sender: of the conversation.
        begun: timestamp of the session's first event.
        recorded: what the model saw and did.
        outcome: as an intent, a slot or an action told it.
        settled: Unix time at which it was told.
        rated: Unix time of the feedback that it was cut at (`settled`), None if there was none.

    Returns:
        Whether it was stored; not if the episode is being learnt from, its personal text is gone already, its
        sender is to be forgotten, or other feedback has come or gone since it was cut.
    """
    values = recorded.to_row()
    with database.writing() as connection:
        if begun <= forgotten_until(database, connection, sender):
            return False
        insert_missing(connection, episodes, id=id, sender=sender, begun=begun, status=OPEN)
        row = connection.execute(
            sa.select(episodes).where(episodes.c.id == id).with_for_update()
        ).one()
        if row.status not in UNDECIDED or row.redacted:
            return False
        if rated != (row.settled if row.source == "feedback" else None):
            return False
        told = row.settled is not None
        if outcome is not None and row.source != "feedback":
            values.update(outcome.to_row(), source="event", settled=settled or recorded.ended)
            told = True
        values["status"] = NEW if told else row.status
        connection.execute(sa.update(episodes).where(episodes.c.id == id).values(**values))
    return True


def settle_silent(
    database: Database, before: float, default: Optional[Outcome], now: Optional[float] = None
) -> int:
    """Settles assembled episodes that ended before a time without anyone saying anything.

    Args:
        database: with the episodes.
        before: Unix time.
        default: the outcome that silence stands for; None: they are not learnt from.
        now: Unix time.

    Returns:
        How many.
    """
    values: Dict[str, Any] = {"status": UNRATED}
    if default is not None:
        now = time.time() if now is None else now
        values = {"status": NEW, "source": "silence", "settled": now, **default.to_row()}
    with database.writing() as connection:
        return connection.execute(
            sa.update(episodes)
            .where(
                episodes.c.status == OPEN,
                episodes.c.dialogue.isnot(None),
                episodes.c.settled.is_(None),
                episodes.c.ended < before,
            )
            .values(**values)
        ).rowcount


def discard(database: Database, id: str) -> None:
    """Deletes an episode in which nobody said anything, unless there is feedback about it."""
    with database.writing() as connection:
        connection.execute(
            sa.delete(episodes).where(
                episodes.c.id == id,
                episodes.c.status == OPEN,
                episodes.c.dialogue.is_(None),
                episodes.c.settled.is_(None),
            )
        )


def lose(
    database: Database, before: float, spared: Iterable[str] = (), absent: Iterable[str] = ()
) -> int:
    """Gives up episodes that were rated before a time and whose dialogue could not be found; says how many.

    Where only what was said since an earlier look is gone, the dialogue that is there counts. What nobody rated is
    given up as well if it began before that time and its conversation is not there any more.

    Args:
        database: with the episodes.
        before: Unix time.
        spared: senders whose conversations are there, but could not be stored.
        absent: senders whose conversations are not there.
    """
    columns = (episodes.c.id, episodes.c.sender, episodes.c.begun, episodes.c.settled)
    is_there = episodes.c.dialogue.isnot(None)
    query = sa.select(*columns, is_there.label("is_there")).where(
        episodes.c.status == OPEN,
        episodes.c.ended.is_(None),
        sa.or_(
            episodes.c.settled < before,
            sa.and_(episodes.c.settled.is_(None), episodes.c.begun < before),
        ),
    )
    senders, gone = set(spared), set(absent)
    count = 0
    with database.writing() as connection:
        for row in connection.execute(query.with_for_update()).all():
            one = sa.update(episodes).where(episodes.c.id == row.id)
            if row.is_there and row.settled is None:  # silence settles it
                connection.execute(one.values(ended=row.begun))
            elif row.is_there:
                connection.execute(one.values(status=NEW, ended=row.settled))
            elif row.settled is None:
                if row.sender in gone:
                    connection.execute(one.values(status=LOST))
            elif row.sender not in senders:
                count += connection.execute(one.values(status=LOST)).rowcount
    return count
