"""The episode store beside an event loop: threads write and read, so that one client does not wait for another's disk.

Feedback that comes while other feedback is being committed is committed together, in one transaction.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Deque, List, Optional, Sequence, Set, Tuple, Union

from rasa_hybrid.components.channel_requests import RefusedError
from rasa_hybrid.feedback.records import Given, Receipt
from rasa_hybrid.feedback.store import EpisodeStore

logger = logging.getLogger(__name__)

#: Feedback of one commit.
_AT_ONCE = 100
#: Seconds after which feedback that could not be committed is refused: less than the minute that a server gives a request.
_PATIENCE = 45.0


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
        self._given: Deque[Tuple[Given, asyncio.Future]] = deque()
        #: Who waits for a commit.
        self._under_way: Set[asyncio.Future] = set()

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
        """Stores feedback; what comes while a commit is under way is committed together.

        Raises:
            RefusedError: if the server is just starting or stopping, or the store does not take it in time; it may be
                stored later all the same.
        """
        store, loop = self.episodes, asyncio.get_running_loop()
        answer: asyncio.Future = loop.create_future()
        self._given.append((given, answer))
        assert self._writer is not None
        self._writer.submit(self._commit_given, store, loop)
        self._under_way.add(answer)
        answer.add_done_callback(self._under_way.discard)
        try:
            return await asyncio.wait_for(answer, _PATIENCE)
        except asyncio.TimeoutError:
            raise RefusedError(503, "no_store", "The store does not answer.") from None

    async def settled(self, at_most: float) -> None:
        """Returns when the feedback that waits by now is committed, or after so many seconds."""
        if self._under_way:
            await asyncio.wait(set(self._under_way), timeout=at_most)

    def _commit_given(self, store: EpisodeStore, loop: asyncio.AbstractEventLoop) -> None:
        """Commits what waits by now, in a thread; each `commit` calls it, the first for all of them.

        The event loop is asked once, when all is done: it may be busy with a turn each time.
        """
        waiting: List[Tuple[Given, asyncio.Future]] = []
        while self._given and len(waiting) < _AT_ONCE:
            try:
                waiting.append(self._given.popleft())
            except IndexError:  # the other writer was quicker
                break
        if not waiting:
            return
        answers: Sequence[Union[Receipt, Exception]]
        try:
            answers = store.give_all([given for given, _ in waiting])
        except Exception as error:
            logger.exception("Feedback could not be stored.")
            answers = [error] * len(waiting)
        loop.call_soon_threadsafe(_settle, [answer for _, answer in waiting], answers)


def _settle(
    waiting: Sequence[asyncio.Future], answers: Sequence[Union[Receipt, Exception]]
) -> None:
    """Hands answers to those who wait for them."""
    for future, answer in zip(waiting, answers):
        if future.done():  # the client has gone
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
