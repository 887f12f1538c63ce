"""Personal data of the store: what is of a sender and how it is deleted for good, and which text is dropped or hashed later."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import Any, Callable, Dict, Optional

import sqlalchemy as sa

from rasa_hybrid.feedback.database import Database
from rasa_hybrid.feedback.records import LOST, PROMOTED, REJECTED, ROLLED_BACK, UNRATED
from rasa_hybrid.feedback.schema import episodes, events, feedback, forgotten, judgements


def hashed_sender(database: Database, sender: str) -> str:
    """What a sender's name becomes when their personal data are redacted or deleted (64 hexadecimal digits)."""
    return database.signature(f"forget\n{sender}")


def lock_sender(connection: sa.engine.Connection, hashed: str) -> None:
    """Lets others who begin, store or delete conversations of a sender wait until this transaction is over."""
    if connection.dialect.name == "postgresql":  # with SQLite there is one writer at a time anyway
        number = int.from_bytes(bytes.fromhex(hashed[:16]), "big", signed=True)
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})


def forget(database: Database, sender: str, now: Optional[float] = None) -> Dict[str, int]:
    """Deletes everything of a sender, and keeps it from coming back from trackers and brokers.

    What was learnt stays in the models; their manifests hold ids of episodes, which name nobody.

    Returns:
        Deleted rows by table.
    """
    now = time.time() if now is None else now
    with database.writing() as connection:
        deleted = {}
        hashed = hashed_sender(database, sender)
        lock_sender(connection, hashed)
        names = (sender, hashed)  # what was redacted stands under the hash
        theirs = sa.select(episodes.c.id).where(episodes.c.sender.in_(names))
        done = connection.execute(sa.delete(judgements).where(judgements.c.dialogue.in_(theirs)))
        deleted["judgements"] = done.rowcount
        for name, table in (("episodes", episodes), ("feedback", feedback), ("events", events)):
            done = connection.execute(sa.delete(table).where(table.c.sender.in_(names)))
            deleted[name] = done.rowcount
        connection.execute(sa.delete(forgotten).where(forgotten.c.sender_hash == hashed))
        connection.execute(sa.insert(forgotten).values(sender_hash=hashed, until=now))
    return deleted


def forgotten_until(database: Database, connection: sa.engine.Connection, sender: str) -> float:
    """Unix time up to which nothing of a sender is to be stored again, minus infinity if they never asked for that.

    Nobody can be forgotten between this and the end of the transaction, which has to be one that writes.
    """
    hashed = hashed_sender(database, sender)
    lock_sender(connection, hashed)
    query = sa.select(forgotten.c.until).where(forgotten.c.sender_hash == hashed)
    until = connection.execute(query).scalar()
    return float("-inf") if until is None else float(until)


def redact(database: Database, how: str, before: float) -> int:
    """Drops or hashes the personal text of episodes that are decided on or lost and ended before a time.

    Args:
        database: of the store.
        how: `drop` or `hash`.
        before: Unix time.

    Returns:
        How many episodes.

    Raises:
        ValueError: if `how` is something else.
    """
    if how not in ("drop", "hash"):
        raise ValueError(f"retention: {how!r} is not allowed; it has to be drop or hash.")
    hashed = partial(hashed_sender, database)

    def hidden(text: Any) -> str:
        return "" if how == "drop" else hashed(str(text))[:12]

    done = (PROMOTED, REJECTED, ROLLED_BACK, UNRATED, LOST)
    # Of what is lost nobody knows when it ended, but there may be comments, and there is a name.
    ended = sa.func.coalesce(episodes.c.ended, episodes.c.settled, episodes.c.begun)
    query = sa.select(episodes).where(
        episodes.c.status.in_(done), episodes.c.redacted.is_(False), ended < before
    )
    count = 0
    with database.writing() as connection:
        for row in connection.execute(query.with_for_update()).all():
            values: Dict[str, Any] = {"redacted": True, "sender": hashed(row.sender)}
            for name in ("dialogue", "decisions"):
                if row._mapping[name] is not None:
                    content = json.loads(row._mapping[name])
                    values[name] = json.dumps(_redacted(content, hidden, hashed))
            connection.execute(sa.update(episodes).where(episodes.c.id == row.id).values(**values))
            connection.execute(
                sa.update(feedback)
                .where(feedback.c.episode == row.id)
                .values(comment=None, sender=values["sender"])
            )
            count += 1
    return count


def _redacted(content: Any, hidden: Callable[[Any], str], hashed: Callable[[str], str]) -> Any:
    """JSON of a dialogue or of decisions without words and values that somebody said."""
    if isinstance(content, list):
        return [_redacted(item, hidden, hashed) for item in content]
    if not isinstance(content, dict):
        return content
    result: Dict[str, Any] = {}
    for key, value in content.items():
        if key in ("text", "value"):
            result[key] = hidden(value)
        elif key == "id":
            result[key] = hashed(str(value))
        elif key == "hypotheses":
            result[key] = [[hidden(text), confidence] for text, confidence in value]
        elif key == "goal":
            result[key] = {slot: hidden(v) for slot, v in value.items()}
        elif key == "belief":
            result[key] = {s: [[hidden(v), p] for v, p in best] for s, best in value.items()}
        elif key == "acts":
            result[key] = [act[:2] + [hidden(v) for v in act[2:]] for act in value]
        elif key == "overrides":
            result[key] = [
                [slot, hidden(v), source, after, *map(hidden, rejects)]
                for slot, v, source, after, *rejects in value
            ]
        elif key in ("context", "closing_context"):
            result[key] = []
        elif key == "metadata":
            result[key] = {}
        else:
            result[key] = _redacted(value, hidden, hashed)
    return result
