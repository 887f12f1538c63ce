"""A circuit breaker: a service that fails again and again is left alone for a while, then tried once."""

from __future__ import annotations

import threading
import time
from typing import Callable, Optional


class CircuitBreaker:
    """Opens after failures in a row; once `retry_after` seconds are over, one call may try whether the service is back.

    Every call that `allows` let through reports back by `succeeded`, `failed` or `abandoned`.

    Args:
        failures_to_open: failures in a row that open it.
        retry_after: seconds for which it stays open.
        clock: seconds that only grow.
    """

    def __init__(
        self, failures_to_open: int, retry_after: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._failures_to_open = failures_to_open
        self._retry_after = retry_after
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._opened_at: Optional[float] = None
        self._trying = False

    @property
    def is_open(self) -> bool:
        """Whether calls are turned away, but for a trial."""
        with self._lock:
            return self._opened_at is not None

    def allows(self) -> bool:
        """Whether a call may go through now."""
        with self._lock:
            if self._opened_at is None:
                return True
            if self._trying or self._clock() - self._opened_at < self._retry_after:
                return False
            self._trying = True
            return True

    def succeeded(self) -> bool:
        """The service answered; True if that closed the breaker."""
        with self._lock:
            closed = self._opened_at is not None
            self._failures, self._opened_at, self._trying = 0, None, False
            return closed

    def failed(self) -> bool:
        """The service did not answer; True if that opened the breaker."""
        with self._lock:
            self._failures += 1
            was_open = self._opened_at is not None
            if was_open or self._failures >= self._failures_to_open:
                self._opened_at, self._trying = self._clock(), False
            return not was_open and self._opened_at is not None

    def abandoned(self) -> None:
        """The call says nothing about the service."""
        with self._lock:
            self._trying = False
