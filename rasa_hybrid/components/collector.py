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
from typing import Any, Dict, Iterator, List, Optional, Tuple, Union

import sqlalchemy as sa
import yaml
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import Event, Restarted, SessionStarted

from rasa_hybrid.components.channel_configuration import (
    DEFAULTS,
    ChannelConfiguration,
    check_channel,
)
from rasa_hybrid.components.conversion import TrackerReader
from rasa_hybrid.components.episodes import STORE_ERRORS, assemble
from rasa_hybrid.dialogue import DomainFacts
from rasa_hybrid.feedback import assembly, privacy
from rasa_hybrid.feedback.collected import CollectedEvents
from rasa_hybrid.feedback.records import can_name_sender
from rasa_hybrid.feedback.store import EpisodeStore
from rasa_hybrid.model.checkpoint import load_archive

logger = logging.getLogger(__name__)

#: Position in a broker, and the event there; None if there is none of a conversation.
_Received = Tuple[int, Optional[Dict[str, Any]]]

_AT_ONCE = 1000
#: Seconds for which events are kept when Rasa's session is over: they may be read late.
_MARGIN = 600.0
#: Seconds after which a session is taken for over if Rasa lets it go on for ever.
_ENDLESS = 86_400.0
#: Seconds after which feedback whose conversation the broker never had is given up.
_GIVE_UP = 86_400.0
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
        #: Senders whose conversation could not be read, and how many events it had: it is tried again with more.
        self._left_out: Dict[str, int] = {}
        self.source = f"stdin {uuid.uuid4().hex}" if broker == "-" else _source(broker)
        self.collected.rename(broker[-128:], self.source)  # earlier versions kept the password
        self.domain = _domain(model)
        #: Seconds after its last event in which a conversation may go on, and be rated.
        self.patience = max(configuration.reward_wait_time, _session_seconds(self.domain)) + _MARGIN
        encoder, _, extra = load_archive(model)
        self.reader = TrackerReader(
            DomainFacts.from_dict(extra["facts"]),
            extra["goal_slots"],
            encoder.settings.pipeline,
            extra["dontcare_value"],
        )

    def step(self) -> int:
        """Reads what is new, and stores the conversations that are over or rated; how many episodes."""
        batch: List[_Received] = []
        for received in self._events(self.collected.up_to(self.source)):
            batch.append(received)
            if len(batch) == _AT_ONCE:
                self.collected.add(self.source, batch)
                batch = []
        if batch:
            self.collected.add(self.source, batch)
        now = time.time()
        quiet_before, over_before = now - self.configuration.reward_wait_time, now - self.patience
        count = 0
        for sender in self.collected.senders():
            # The same event may have come twice, from a broker that was read again.
            kept = list(
                {json.dumps(e, sort_keys=True): e for e in self.collected.of(sender)}.values()
            )
            if self._left_out.get(sender) != len(kept):
                count += self._assemble(sender, kept, quiet_before)
            over = _over(kept, over_before)
            if kept and kept[0]["timestamp"] < over:
                self.collected.drop(sender, over)
                self._left_out.pop(sender, None)
        self._look_after(quiet_before, over_before, now)
        return count

    def _assemble(self, sender: str, kept: List[Dict[str, Any]], quiet_before: float) -> int:
        """Stores the episodes of a sender; how many. A conversation that can't be read is left out, the others go on."""
        try:
            events = [e for e in map(Event.from_parameters, kept) if e is not None]
            return len(
                assemble(
                    self.store,
                    sender,
                    events,
                    self.reader,
                    self.domain,
                    self.configuration.signals,
                    quiet_before,
                )
            )
        except STORE_ERRORS:
            raise
        except Exception:
            # Whatever one user has sent must not keep the others from being heard.
            logger.exception(f"The conversation {sender!r} can't be read: it is left out.")
            self._left_out[sender] = len(kept)
            return 0

    def _look_after(self, quiet_before: float, over_before: float, now: float) -> None:
        """Settles silent episodes, gives lost ones up, and keeps personal text no longer than allowed."""
        assembly.settle_silent(self.store, quiet_before, self.configuration.default_reward, now)
        lost = assembly.lose(self.store, now - _GIVE_UP, list(self._left_out))
        if lost:
            logger.warning(
                f"The event broker did not have {lost} conversations with feedback: nothing can be learnt from them."
            )
        if self.configuration.retention_text != "keep":
            # Not before the events are gone, or the text would come back from them.
            before = min(now - self.configuration.retention_days * 86_400.0, over_before)
            privacy.redact(self.store, self.configuration.retention_text, before)

    def _events(self, after: int) -> Iterator[_Received]:
        """Everything in the broker after a position."""
        if "://" in self.broker:
            engine = sa.create_engine(self.broker, future=True)
            table = sa.table("events", sa.column("id"), sa.column("data"))
            query = sa.select(table.c.id, table.c.data).where(table.c.id > after)
            try:
                with engine.connect() as connection:
                    for row in connection.execute(query.order_by(table.c.id)):
                        yield row.id, _event(row.id, row.data)
            except sa.exc.SQLAlchemyError as error:
                raise CollectorError(f"The event broker {engine.url!r}: {error}") from error
            finally:
                engine.dispose()
        elif self.broker == "-":
            for number, line in enumerate(sys.stdin.buffer):
                yield number, _event(number, line)
        else:
            try:
                with open(self.broker, "rb") as file:
                    for number, line in enumerate(file):
                        if number > after and line.endswith(b"\n"):
                            yield number, _event(number, line)
            except OSError as error:
                raise CollectorError(f"{self.broker} can't be read: {error.strerror}.") from error


def read_channel_configuration(path: str) -> ChannelConfiguration:
    """The entry of our channel in `credentials.yml`; the defaults if it has none."""
    credentials = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    return check_channel(credentials.get(_CHANNEL) or DEFAULTS)


def _source(broker: str) -> str:
    """The name of a broker in the store, without its password.

    Raises:
        CollectorError: if it is a URL that SQLAlchemy can't read.
    """
    try:
        return (repr(sa.engine.make_url(broker)) if "://" in broker else broker)[-128:]
    except sa.exc.SQLAlchemyError:
        raise CollectorError("--broker: SQLAlchemy can't read this URL.") from None


def _over(kept: List[Dict[str, Any]], before: float) -> float:
    """The time up to which the events of a sender, in order, are of sessions that ended before a time."""
    begun = -math.inf
    for event in kept:
        if event["event"] in (SessionStarted.type_name, Restarted.type_name):
            begun = event["timestamp"]
        if event["timestamp"] >= before:
            return begun
    return before


def _session_seconds(domain: Domain) -> float:
    """For how long after the user's last words Rasa goes on with a session."""
    minutes = domain.session_config.session_expiration_time
    return minutes * 60.0 if minutes > 0 else _ENDLESS


def _event(position: int, content: Union[str, bytes]) -> Optional[Dict[str, Any]]:
    """The event of a conversation that a broker has at a position; None, and a warning, if it is something else."""
    try:
        if content is not None and not content.strip():
            return None
        event = json.loads(content)
        _check(event)
        return event
    except Exception as error:  # Rasa's events raise what they like when a part of them is missing
        logger.warning(
            f"What the event broker has at {position} is no event of a conversation, and is left out "
            f"({type(error).__name__}: {error})."
        )
        return None


def _check(event: Dict[str, Any]) -> None:
    """Whether Rasa can read an event, and the store keep it.

    Raises:
        Exception: of any kind, if not.
    """
    sender = str(event["sender_id"] or "")
    if not sender or not can_name_sender(sender):
        raise ValueError("the sender has to be Unicode of 1 to 255 characters, none of them null")
    timestamp = event.setdefault("timestamp", 0.0)
    if not isinstance(timestamp, (int, float)) or not math.isfinite(timestamp):
        raise ValueError("the timestamp has to be a number")
    if Event.from_parameters(event) is None:
        raise ValueError("Rasa has no such event")


def _domain(model: str) -> Domain:
    with tarfile.open(model) as archive:
        names = [m.name for m in archive.getmembers() if m.name.endswith("/domain.yml")]
        if not names:
            raise CollectorError(f"{model} has no domain.")
        file = archive.extractfile(names[0])
        assert file is not None
        return Domain.from_yaml(file.read().decode("utf-8"))
