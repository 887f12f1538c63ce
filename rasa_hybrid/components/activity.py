"""What policy and feedback channel of one process tell each other.

The policy notes which conversations go on, on whatever channel; the channel assembles them. The channel may switch
exploration on and off without a new training.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Dict, Iterator, Optional, Tuple

_active: Dict[str, float] = {}
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


def note(sender: str, at: float) -> None:
    """Notes that something was said in a conversation at a time."""
    with _lock:
        _active[sender] = at


def drain() -> Dict[str, float]:
    """The conversations noted since the last call, and when they went on."""
    with _lock:
        found = dict(_active)
        _active.clear()
    return found


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
