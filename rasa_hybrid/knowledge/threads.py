"""Threads that are used again, as to start one takes as long as a query.

Not a `ThreadPoolExecutor`: a thread of it that hangs would keep the process from ending.
"""

from __future__ import annotations

from queue import Empty, SimpleQueue
from threading import Thread
from typing import Callable, List

#: Seconds without work after which a thread ends.
SECONDS_IDLE = 10.0


class DaemonThreads:
    """Threads that do what is given to them, as many at once as there is work.

    Args:
        name: that they have.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._idle: List[SimpleQueue] = []

    def run(self, work: Callable[[], None]) -> None:
        """Has an idle thread do something that raises nothing, or a new one.

        Raises:
            RuntimeError: if no thread can be started.
        """
        try:
            jobs = self._idle.pop()
        except IndexError:
            jobs = SimpleQueue()
            Thread(target=self._serve, args=(jobs,), name=self._name, daemon=True).start()
        jobs.put(work)

    def _serve(self, jobs: SimpleQueue) -> None:
        while True:
            try:
                work = jobs.get(timeout=SECONDS_IDLE)
            except Empty:
                try:
                    self._idle.remove(jobs)
                    return
                except ValueError:  # taken at this moment
                    work = jobs.get()
            work()
            del work  # what it holds is not kept while nothing is to be done
            self._idle.append(jobs)
