"""Threads that are used again, end when nothing is to be done, and lose no work while they end."""

import threading
import time
from concurrent.futures import Future

import pytest

from rasa_hybrid.knowledge import threads
from rasa_hybrid.knowledge.threads import DaemonThreads


def done_by(pool: DaemonThreads) -> Future:
    future: Future = Future()
    pool.run(lambda: future.set_result(threading.current_thread()))
    return future


def wait_for(condition) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)


def test_an_idle_thread_is_used_again():
    pool = DaemonThreads("test-again")
    first = done_by(pool).result(10)
    wait_for(lambda: pool._idle)
    assert done_by(pool).result(10) is first
    assert first.daemon and first.name == "test-again"


def test_a_busy_thread_keeps_nobody_waiting():
    pool, hold = DaemonThreads("test-busy"), threading.Event()
    pool.run(hold.wait)
    assert done_by(pool).result(10).name == "test-busy"
    hold.set()
    wait_for(lambda: len(pool._idle) == 2)


def test_threads_end_when_nothing_was_to_be_done_for_a_while(monkeypatch):
    monkeypatch.setattr(threads, "SECONDS_IDLE", 0.01)
    pool = DaemonThreads("test-end")
    thread = done_by(pool).result(10)
    thread.join(10)
    assert not thread.is_alive() and not pool._idle
    assert done_by(pool).result(10) is not thread


@pytest.mark.parametrize("pause", [0.0, 0.0005, 0.001])
def test_work_that_comes_while_a_thread_ends_is_done(monkeypatch, pause):
    monkeypatch.setattr(threads, "SECONDS_IDLE", 0.0005)
    pool = DaemonThreads("test-race")
    for _ in range(200):
        done_by(pool).result(10)
        time.sleep(pause)
