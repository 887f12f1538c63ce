"""Which conversations went on lately, on whatever channel: the policy notes them, the feedback channel looks at them."""

from __future__ import annotations

import threading
from typing import Dict

_active: Dict[str, float] = {}
_lock = threading.Lock()


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
