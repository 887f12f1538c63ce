"""What the channel does in the background: episodes are made of conversations, settled, and in time made anonymous.

Conversations are read from Rasa's tracker store, on whatever channel they were held.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Dict

from rasa_hybrid.components import activity
from rasa_hybrid.components.channel_configuration import ChannelConfiguration
from rasa_hybrid.components.channel_requests import RefusedError
from rasa_hybrid.components.channel_store import StoreThreads
from rasa_hybrid.components.conversion import TrackerReader
from rasa_hybrid.components.episodes import STORE_ERRORS, TRIED_AGAIN, SetAside, assemble
from rasa_hybrid.components.facts import domain_facts
from rasa_hybrid.feedback import assembly, privacy

logger = logging.getLogger(__name__)

#: Episodes that are looked at in one sweep because they wait.
_MOST = 10_000
#: Seconds between two conversations that are read, and how many times as long as reading took, whichever is more.
_PACE, _PAUSE = 0.02, 3.0
#: Seconds until a conversation that was not there is looked for again.
_ABSENCE = 60.0
#: Seconds after which feedback whose conversation is not in the tracker store is given up.
_GIVE_UP = 86_400.0


class Upkeep:
    """Looks after the episodes of a server worker.

    Args:
        configuration: of the channel.
        store: of the worker.
    """

    def __init__(self, configuration: ChannelConfiguration, store: StoreThreads) -> None:
        self.configuration = configuration
        self._store = store
        #: Conversations that are to be looked at, also if the store does not answer for a while.
        self._due: Dict[str, None] = {}
        #: Those that the tracker store does not have, and those that could not be read or stored.
        self._absent, self._failed = SetAside(), SetAside()

    async def look_after(self, app: Any) -> None:
        """Assembles episodes, settles silent ones, and keeps personal text no longer than allowed, until it is cancelled.

        Args:
            app: of the server.
        """
        is_first = True
        while True:
            try:
                agent = getattr(app.ctx, "agent", None)
                if agent is not None and agent.is_ready():
                    await self.sweep(agent, everything=is_first)
                    is_first = False
            except asyncio.CancelledError:
                raise
            except Exception:
                logger.exception("Episodes could not be assembled; it is tried again.")
            await asyncio.sleep(self.configuration.sweep_seconds)

    async def sweep(self, agent: Any, everything: bool = False) -> int:
        """Assembles what is due, and settles what nobody said anything about.

        Args:
            agent: whose tracker store holds the conversations.
            everything: look at every conversation of the tracker store, not only at those that went on lately.

        Returns:
            Number of episodes that were stored.
        """
        now = time.time()
        quiet_before = now - self.configuration.reward_wait_time
        self._due.update(dict.fromkeys([*activity.drain(), *self._failed.over()]))
        if everything:
            self._due.update(dict.fromkeys(await agent.tracker_store.keys()))
        waiting = await self._store.read(assembly.waiting, quiet_before, _MOST)
        self._due.update(dict.fromkeys(sender for _, sender in waiting))
        reader = _reader(agent)
        stored, pause = 0, _PACE
        for sender in list(self._due):
            if not (self._absent.holds(sender) or self._failed.holds(sender)):
                # Tracker stores of Rasa block the event loop: requests get their turn in between.
                await asyncio.sleep(pause)
                started = time.perf_counter()
                try:
                    stored += await self._assemble(agent, sender, reader, quiet_before)
                except (RefusedError, *STORE_ERRORS):
                    raise
                except Exception:
                    # Whatever one user has sent must not keep the others from being heard.
                    logger.exception(
                        f"The conversation {sender!r} could not be stored; it is tried again in an hour."
                    )
                    self._failed.put(sender, TRIED_AGAIN)
                pause = max(_PACE, _PAUSE * (time.perf_counter() - started))
            del self._due[sender]
        await self._store.write(
            assembly.settle_silent, quiet_before, self.configuration.default_reward, now
        )
        self._absent.over()
        lost = await self._store.write(
            assembly.lose, now - _GIVE_UP, list(self._failed), list(self._absent)
        )
        if lost:
            logger.warning(
                f"{lost} conversations with feedback are not in the tracker store any more: nothing can be learnt "
                "from them. Use a tracker store that outlives the server."
            )
        if self.configuration.retention_text != "keep":
            before = now - self.configuration.retention_days * 86_400.0
            await self._store.write(privacy.redact, self.configuration.retention_text, before)
        return stored

    async def _assemble(
        self, agent: Any, sender: str, reader: TrackerReader, quiet_before: float
    ) -> int:
        """Stores what is due of one conversation; how many episodes."""
        tracker = await agent.tracker_store.retrieve_full_tracker(sender)
        if tracker is None or not tracker.events:
            self._absent.put(sender, _ABSENCE)
            return 0
        stored = await self._store.write(
            assemble,
            sender,
            list(tracker.events),
            reader,
            agent.domain,
            self.configuration.signals,
            quiet_before,
        )
        return len(stored)


def _reader(agent: Any) -> TrackerReader:
    """The reader of the served model; of the domain alone if the model has no `HybridPolicy`."""
    from rasa_hybrid.components.loading import served_runtime

    runtime = served_runtime()
    if runtime is not None:
        return runtime.reader
    return TrackerReader(domain_facts(agent.domain), (), pipeline=True)
