"""The bot's only action of its own; everything that it says is in domain.yml."""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, List, Optional

import sqlalchemy as sa
from rasa_sdk import Action, Tracker
from rasa_sdk.events import SlotSet
from rasa_sdk.executor import CollectingDispatcher

from actions.bookings import FAILED, book

logger = logging.getLogger(__name__)

_DEFAULT_URL = f"sqlite:///{Path(__file__).resolve().parents[1] / 'db' / 'screenings.db'}"
_MOST_TICKETS = 50


class ActionBookTickets(Action):
    """Books the screening that was offered and accepted, and sets `booking_status`."""

    def name(self) -> str:
        return "action_book_tickets"

    def run(
        self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Dict[str, Any]
    ) -> List[Dict[str, Any]]:
        screening = _whole(tracker.get_slot("offer_id"))
        tickets = _whole(tracker.get_slot("num_tickets"))
        if screening is None or tickets is None or not 1 <= tickets <= _MOST_TICKETS:
            logger.warning("Nothing to book: screening %r, tickets %r.", screening, tickets)
            return [SlotSet("booking_status", FAILED)]
        try:
            status = book(_database(), tracker.sender_id, screening, tickets)
        except sa.exc.SQLAlchemyError:
            logger.exception(
                "The booking of %s tickets for screening %s failed.", tickets, screening
            )
            status = FAILED
        return [SlotSet("booking_status", status)]


@lru_cache(maxsize=1)
def _database() -> sa.engine.Engine:
    """The database of the knowledge base; `MOVIE_BOOKING_DATABASE` names another one by its URL."""
    return sa.create_engine(os.environ.get("MOVIE_BOOKING_DATABASE", _DEFAULT_URL), future=True)


def _whole(value: Any) -> Optional[int]:
    """The whole number in a slot, None if there is none ("dontcare", nothing)."""
    try:
        return int(str(value))
    except ValueError:
        return None
