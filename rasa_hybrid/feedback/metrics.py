"""What Prometheus reads: requests of this process, and the episodes of the store, which all processes share."""

from __future__ import annotations

from typing import Mapping

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

#: Upper bounds of the histogram's buckets in seconds; 0.05 is what feedback promises.
_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """The metrics of one server process."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "rasa_hybrid_requests",
            "Requests of this process.",
            ["route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "rasa_hybrid_request_seconds",
            "Time to answer, by this process.",
            ["route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.feedback = Counter(
            "rasa_hybrid_feedback",
            "Feedback that this process has stored.",
            registry=self._registry,
        )
        self.duplicates = Counter(
            "rasa_hybrid_feedback_duplicates",
            "Feedback that was known already.",
            registry=self._registry,
        )
        self._episodes = Gauge(
            "rasa_hybrid_episodes",
            "Episodes of the store, of all processes.",
            ["state"],
            registry=self._registry,
        )

    def request(self, route: str, status: int, seconds: float) -> None:
        """Counts an answered request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def exposition(self, episodes: Mapping[str, int]) -> bytes:
        """The text that Prometheus reads.

        Args:
            episodes: number in each state.
        """
        for state, count in episodes.items():
            self._episodes.labels(state).set(count)
        return generate_latest(self._registry)
