"""Events of a broker, kept in the store until their conversation is over, and how far the broker was read."""

from __future__ import annotations

import json
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

import sqlalchemy as sa

from rasa_hybrid.feedback.database import Database, insert_missing
from rasa_hybrid.feedback.privacy import forgotten_until
from rasa_hybrid.feedback.schema import events, facts


class CollectedEvents:
    """The kept events of a database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, source: str, received: Iterable[Tuple[int, Optional[Mapping[str, Any]]]]) -> int:
        """Keeps events; the same position again changes nothing, nor what is of before its sender's deletion.

        Args:
            source: name of the broker.
            received: position in the broker, and event with `sender_id` and `timestamp`; None for what is no event.

        Returns:
            How many were new.
        """
        count, last = 0, self.up_to(source)
        forgotten: Dict[str, float] = {}
        with self.database.writing() as connection:
            for position, event in received:
                last = max(last, position)
                if event is None:
                    continue
                sender, at = str(event["sender_id"]), float(event["timestamp"])
                if sender not in forgotten:
                    forgotten[sender] = forgotten_until(self.database, connection, sender)
                if at <= forgotten[sender]:
                    continue
                count += insert_missing(
                    connection,
                    events,
                    source=source,
                    position=position,
                    sender=sender,
                    at=at,
                    data=json.dumps(event),  # ASCII: what is no Unicode can be kept, too
                )
            insert_missing(connection, facts, name=f"read:{source}", value="-1")
            row = facts.c.name == f"read:{source}"
            connection.execute(sa.update(facts).where(row).values(value=str(last)))
        return count

    def up_to(self, source: str) -> int:
        """The last position of a broker that was read, -1 if none was."""
        query = sa.select(facts.c.value).where(facts.c.name == f"read:{source}")
        with self.database.reading() as connection:
            last = connection.execute(query).scalar()
        return -1 if last is None else int(last)

    def rename(self, source: str, new: str) -> None:
        """Gives a broker another name, unless something was read under that already."""
        if source == new or self.up_to(source) < 0 or self.up_to(new) >= 0:
            return
        with self.database.writing() as connection:
            theirs = events.c.source == source
            connection.execute(sa.update(events).where(theirs).values(source=new))
            row = facts.c.name == f"read:{source}"
            connection.execute(sa.update(facts).where(row).values(name=f"read:{new}"))

    def senders(self) -> List[str]:
        """Senders of whom events are kept."""
        with self.database.reading() as connection:
            return [row[0] for row in connection.execute(sa.select(events.c.sender).distinct())]

    def of(self, sender: str) -> List[Dict[str, Any]]:
        """The events of a sender in order."""
        query = (
            sa.select(events.c.data)
            .where(events.c.sender == sender)
            .order_by(events.c.at, events.c.source, events.c.position)
        )
        with self.database.reading() as connection:
            return [json.loads(row.data) for row in connection.execute(query)]

    def drop(self, sender: str, before: float) -> int:
        """Deletes events of a sender that are older than a time; says how many."""
        old = sa.delete(events).where(events.c.sender == sender, events.c.at < before)
        with self.database.writing() as connection:
            return connection.execute(old).rowcount
