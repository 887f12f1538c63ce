"""The episode store beside an event loop: threads write and read, so that one client does not wait for another's disk.

Feedback that comes while other feedback is being committed is committed together, in one transaction.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, List, Optional, Tuple

from rasa_hybrid.components.channel_requests import RefusedError
from rasa_hybrid.feedback.records import Given, Receipt
from rasa_hybrid.feedback.store import EpisodeStore

logger = logging.getLogger(__name__)

#: Feedback of one commit.
_AT_ONCE = 100


class StoreThreads:
    """The episode store of a server worker, open from its start to its end.

    Args:
        url: of the store.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._store: Optional[EpisodeStore] = None
        self._writer: Optional[ThreadPoolExecutor] = None
        self._readers: Optional[ThreadPoolExecutor] = None
        self._given: List[Tuple[Given, asyncio.Future]] = []
        self._committing: Optional[asyncio.Task] = None

    @property
    def episodes(self) -> EpisodeStore:
        """The store itself, for what takes no time.

        Raises:
            RefusedError: if the server is just starting or stopping.
        """
        if self._store is None:
            raise RefusedError(503, "not_ready", "The server is not ready yet.")
        return self._store

    def open(self) -> EpisodeStore:
        """Opens the store."""
        self._store = EpisodeStore(self._url)
        self._writer = ThreadPoolExecutor(2, "hybrid_writer")
        self._readers = ThreadPoolExecutor(2, "hybrid_reader")
        return self._store

    def close(self) -> None:
        """Closes the store when all that was asked of it is done."""
        for pool in (self._writer, self._readers):
            if pool is not None:
                pool.shutdown(wait=True)
        if self._store is not None:
            self._store.close()
            self._store = None

    async def write(self, function: Callable, *arguments: Any) -> Any:
        """Calls a function, which may write, with the store and further arguments.

        Raises:
            RefusedError: if the server is just starting or stopping.
        """
        call = functools.partial(function, self.episodes, *arguments)
        return await asyncio.get_running_loop().run_in_executor(self._writer, call)

    async def read(self, function: Callable, *arguments: Any) -> Any:
        """Calls a function that only reads, which does not wait for those that write; else as `write`."""
        call = functools.partial(function, self.episodes, *arguments)
        return await asyncio.get_running_loop().run_in_executor(self._readers, call)

    async def commit(self, given: Given) -> Receipt:
        """Stores feedback; what comes while a commit is under way is committed together."""
        self.episodes  # noqa: B018 - answers 503 while there is none
        answer: asyncio.Future = asyncio.get_running_loop().create_future()
        self._given.append((given, answer))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.get_running_loop().create_task(self._commit_all())
        return await answer

    async def _commit_all(self) -> None:
        while self._given:
            batch, self._given = self._given[:_AT_ONCE], self._given[_AT_ONCE:]
            try:
                answers = await self.write(EpisodeStore.give_all, [given for given, _ in batch])
            except Exception as error:
                logger.exception("Feedback could not be stored.")
                answers = [error] * len(batch)
            for (_, answer), found in zip(batch, answers):
                if answer.done():  # the client has gone
                    continue
                if isinstance(found, Exception):
                    answer.set_exception(found)
                else:
                    answer.set_result(found)
