"""Episodes from Rasa's event broker: for servers whose tracker store is elsewhere, or that have no channel of ours.

Events are kept in the episode store until their conversation is over; whoever reads the same broker twice changes nothing.
Read are the SQL broker's table, the file broker's file, and JSON lines from standard input (`kcat`, `amqp-consume`).
"""

from __future__ import annotations

import json
import logging
import math
import sys
import tarfile
import time
import uuid
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Tuple

import sqlalchemy as sa
import yaml
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import Event

from rasa_hybrid.components.channel_configuration import (
    DEFAULTS,
    ChannelConfiguration,
    check_channel,
)
from rasa_hybrid.components.conversion import TrackerReader
from rasa_hybrid.components.episodes import STORE_ERRORS, TRIED_AGAIN, SetAside, assemble
from rasa_hybrid.dialogue import DomainFacts
from rasa_hybrid.feedback.collected import CollectedEvents
from rasa_hybrid.feedback.records import can_name_sender
from rasa_hybrid.feedback.store import EpisodeStore
from rasa_hybrid.model.checkpoint import load_archive

logger = logging.getLogger(__name__)

_AT_ONCE = 1000
_CHANNEL = "rasa_hybrid.FeedbackChannel"


class CollectorError(ValueError):
    """A broker or a configuration that can't be read; the message says what to do."""


class Collector:
    """Reads a broker into a store.

    Args:
        store: of the episodes.
        model: archive whose domain and slots the conversations are read by.
        broker: `-` for standard input, a URL of SQLAlchemy, or the path of a file.
        configuration: what tells the outcome, and how long to wait.
    """

    def __init__(
        self, store: EpisodeStore, model: str, broker: str, configuration: ChannelConfiguration
    ) -> None:
        self.store, self.broker, self.configuration = store, broker, configuration
        self.collected = CollectedEvents(store)
        self.source = f"stdin {uuid.uuid4().hex}" if broker == "-" else broker[-128:]
        self._failed = SetAside()
        self.domain = _domain(model)
        encoder, _, extra = load_archive(model)
        self.reader = TrackerReader(
            DomainFacts.from_dict(extra["facts"]),
            extra["goal_slots"],
            encoder.settings.pipeline,
            extra["dontcare_value"],
        )

    def step(self) -> int:
        """Reads what is new, and stores the conversations that are over or rated; how many episodes."""
        batch: List[Tuple[int, Mapping[str, Any]]] = []
        for received in self._events(self.collected.up_to(self.source)):
            batch.append(received)
            if len(batch) == _AT_ONCE:
                self.collected.add(self.source, batch)
                batch = []
        if batch:
            self.collected.add(self.source, batch)
        now = time.time()
        quiet_before = now - self.configuration.reward_wait_time
        count = 0
        for sender in self.collected.senders():
            if self._failed.holds(sender):
                continue
            try:
                count += self._assemble(sender, quiet_before)
            except STORE_ERRORS:
                raise
            except Exception:
                # Whatever one user has sent must not keep the others from being heard.
                logger.exception(
                    f"The conversation {sender!r} could not be stored; it is tried again in an hour."
                )
                self._failed.put(sender, TRIED_AGAIN)
        self.store.settle_silent(quiet_before, self.configuration.default_reward, now)
        return count

    def _assemble(self, sender: str, quiet_before: float) -> int:
        """Stores what is due of one conversation; how many episodes."""
        # The same event may have come twice, from a broker that was read again.
        kept = {json.dumps(e, sort_keys=True): e for e in self.collected.of(sender)}
        events = [e for e in map(Event.from_parameters, kept.values()) if e is not None]
        stored = assemble(
            self.store,
            sender,
            events,
            self.reader,
            self.domain,
            self.configuration.signals,
            quiet_before,
        )
        if events and events[-1].timestamp < quiet_before:
            self.collected.drop(sender, quiet_before)
        return len(stored)

    def _events(self, after: int) -> Iterator[Tuple[int, Dict[str, Any]]]:
        """Position and event of everything in the broker after a position."""
        if "://" in self.broker:
            engine = sa.create_engine(self.broker, future=True)
            table = sa.table("events", sa.column("id"), sa.column("data"))
            query = sa.select(table.c.id, table.c.data).where(table.c.id > after)
            try:
                with engine.connect() as connection:
                    for row in connection.execute(query.order_by(table.c.id)):
                        yield from _event(row.id, row.data)
            except sa.exc.SQLAlchemyError as error:
                raise CollectorError(f"The event broker {engine.url!r}: {error}") from error
            finally:
                engine.dispose()
        elif self.broker == "-":
            for number, line in enumerate(sys.stdin):
                yield from _event(number, line)
        else:
            try:
                with open(self.broker, encoding="utf-8") as file:
                    for number, line in enumerate(file):
                        if number > after and line.endswith("\n"):
                            yield from _event(number, line)
            except OSError as error:
                raise CollectorError(f"{self.broker} can't be read: {error.strerror}.") from error


def read_channel_configuration(path: str) -> ChannelConfiguration:
    """The entry of our channel in `credentials.yml`; the defaults if it has none."""
    credentials = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    return check_channel(credentials.get(_CHANNEL) or DEFAULTS)


def _event(position: int, text: str) -> Iterator[Tuple[int, Dict[str, Any]]]:
    try:
        event = json.loads(text)
        if isinstance(event, dict) and event.get("sender_id") and "event" in event:
            at = float(event.setdefault("timestamp", 0.0))
            if math.isfinite(at) and can_name_sender(str(event["sender_id"])):
                yield position, event
                return
    except (ValueError, TypeError, OverflowError, RecursionError):
        pass
    if text.strip():
        logger.warning(f"What the event broker has at {position} is no event of a conversation.")


def _domain(model: str) -> Domain:
    with tarfile.open(model) as archive:
        names = [m.name for m in archive.getmembers() if m.name.endswith("/domain.yml")]
        if not names:
            raise CollectorError(f"{model} has no domain.")
        file = archive.extractfile(names[0])
        assert file is not None
        return Domain.from_yaml(file.read().decode("utf-8"))
