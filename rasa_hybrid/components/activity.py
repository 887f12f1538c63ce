"""What policy and feedback channel of one process tell each other.

The policy notes which conversations go on, on whatever channel; the channel assembles them. The channel may switch
exploration on and off without a new training.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Dict, Iterable, Iterator, Optional, Tuple

from rasa.shared.core.events import Event, Restarted, SessionStarted

#: Names of the events with which everything begins anew.
BEGINNINGS = frozenset({SessionStarted.type_name, Restarted.type_name})
#: Conversations of which the begin is remembered.
_REMEMBERED = 10_000

_active: Dict[str, float] = {}
#: Of each: when it was noted (monotonic), and when its session began.
_begun: OrderedDict[str, Tuple[float, float]] = OrderedDict()
_lock = threading.Lock()
_exploration: Optional[Exploration] = None
_is_taught: ContextVar[bool] = ContextVar("is_taught", default=False)


@dataclass(frozen=True)
class Exploration:
    """How actions are sampled; see `model.exploration.exploring_policy`."""

    is_on: bool
    temperature: float = 1.0
    floor: float = 0.02
    never: Tuple[str, ...] = ()


def note(sender: str, begun: float) -> None:
    """Notes that something was said in a conversation whose session began at a time."""
    with _lock:
        _active[sender] = begun
        _begun[sender] = (time.monotonic(), begun)
        _begun.move_to_end(sender)
        while len(_begun) > _REMEMBERED:
            _begun.popitem(last=False)


def begun(sender: str, since: float = -math.inf) -> Optional[float]:
    """When the session of a conversation began, if that was noted, and after a time of the monotonic clock."""
    with _lock:
        noted, at = _begun.get(sender, (-math.inf, None))
        return at if noted >= since else None


def drain() -> Dict[str, float]:
    """The conversations noted since the last call, and when their sessions began."""
    with _lock:
        found = dict(_active)
        _active.clear()
    return found


def session_begun(events: Iterable[Event]) -> Optional[float]:
    """Timestamp of the session that goes on, of a tracker's events; None if nothing has happened yet."""
    found = list(events)
    # By name, as `isinstance` of an abstract class takes its time.
    starts = (e for e in reversed(found) if e.type_name in BEGINNINGS)
    last = next(starts, found[0] if found else None)
    return last.timestamp if last is not None else None


def exploration() -> Optional[Exploration]:
    """How to explore, as the channel says; None if it leaves that to the policy's configuration."""
    return Exploration(is_on=False) if _is_taught.get() else _exploration


@contextmanager
def being_taught() -> Iterator[None]:
    """Within, nothing is tried out: a teacher sees the true probabilities and corrects the best action."""
    before = _is_taught.set(True)
    try:
        yield
    finally:
        _is_taught.reset(before)


def explore(how: Optional[Exploration]) -> None:
    """Sets how to explore; None: as the policy's configuration says."""
    global _exploration
    _exploration = how
