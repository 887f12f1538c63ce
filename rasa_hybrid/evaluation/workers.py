"""Stages of experiments one after the other, or side by side in processes of one core, each after what it builds on."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import (
    Any,
    Callable,
    Dict,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
    Optional,
    Tuple,
    TypeVar,
)

from threadpoolctl import threadpool_limits

Task = TypeVar("Task", bound=Hashable)
#: Takes the lines that the work in this process tells.
_tell: Callable[[str], None] = print


def side_by_side(
    tasks: Mapping[Task, Optional[Task]],
    work: Callable[..., Any],
    arguments: Mapping[Task, Tuple[Any, ...]],
    jobs: int,
    tell: Callable[[str], None] = lambda line: None,
) -> Iterator[Tuple[Task, Any]]:
    """Runs tasks as soon as those that they build on are done.

    Args:
        tasks: what each task builds on, None: nothing; after that.
        work: function of a module.
        arguments: of the call, for each task.
        jobs: processes of one thread each; 1: none, this one works with all its threads.
        tell: called with the lines that the work gives to `tell_parent`.

    Yields:
        Tasks and what they returned, in the order in which they end.
    """
    global _tell
    if jobs == 1:
        _tell = tell
        for task in tasks:
            yield task, work(*arguments[task])
        return
    context = multiprocessing.get_context("spawn")
    lines = context.SimpleQueue()
    listener = threading.Thread(target=_listen, args=(lines, tell), daemon=True)
    listener.start()
    waiting = dict(tasks)
    running: Dict[Future, Task] = {}
    with ProcessPoolExecutor(jobs, context, _begin, (lines,)) as pool:
        try:
            done: Iterable[Optional[Task]] = [None]
            while waiting or running:
                for task in [t for t, before in waiting.items() if before in done]:
                    del waiting[task]
                    running[pool.submit(work, *arguments[task])] = task
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                done = [running[future] for future in ended]
                yield from _results(ended, running)
        except BaseException:
            for future in running:
                future.cancel()
            raise
        finally:
            lines.put(None)
    listener.join()


def tell_parent(line: str) -> None:
    """Called by the work: says something where it was ordered."""
    _tell(line)


def _results(ended: Iterable[Future], running: Dict[Future, Task]) -> Iterator[Tuple[Task, Any]]:
    for future in ended:
        yield running.pop(future), future.result()


def _listen(lines: Any, tell: Callable[[str], None]) -> None:
    for line in iter(lines.get, None):
        tell(line)


def _begin(lines: Any) -> None:
    """Makes a process a worker: one thread, and an end with its parent's, however that comes."""
    import tensorflow as tf

    global _tell
    _tell = lines.put
    threadpool_limits(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
