"""What the bot replies over our channel, with breaks between the parts of a turn, each of which blocks the event loop."""

from __future__ import annotations

import asyncio
from typing import Any, Awaitable, Callable, Dict, Optional

from rasa.core.channels.channel import CollectingOutputChannel

#: Seconds of a break, and at most those in which feedback is committed that came meanwhile.
_BREAK, _FEEDBACK_FIRST = 0.001, 0.01


class Breaks:
    """Breaks of all turns of a server worker: after each only one turn goes on, and other requests are next.

    Args:
        settled: returns when feedback that waits is committed, or after the given seconds.
    """

    def __init__(self, settled: Callable[[float], Awaitable[None]]) -> None:
        self._settled = settled
        self._lock: Optional[asyncio.Lock] = None

    async def take(self) -> None:
        """Lets other requests have their turn."""
        if self._lock is None:  # made where the event loop runs
            self._lock = asyncio.Lock()
        async with self._lock:
            await asyncio.sleep(_BREAK)
            await self._settled(_FEEDBACK_FIRST)


class Replies(CollectingOutputChannel):
    """Collects the replies of a turn, which has a break after each of them.

    Args:
        breaks: of the server worker.
    """

    def __init__(self, breaks: Breaks) -> None:
        super().__init__()
        self.breaks = breaks

    async def _persist_message(self, message: Dict[str, Any]) -> None:
        await super()._persist_message(message)
        await self.breaks.take()


__all__ = ["Breaks", "Replies"]
