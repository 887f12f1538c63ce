"""What stands between a turn and a knowledge base: a time limit, a circuit breaker and a small cache.

When the service is slow or down the turn goes on, with an unknown answer that is logged and counted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, OrderedDict
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from typing import (
    Any,
    Callable,
    Dict,
    FrozenSet,
    Generic,
    Hashable,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
)

from rasa_hybrid.dialogue import Goal, ResultSummary
from rasa_hybrid.knowledge.base import (
    ID,
    KnowledgeBase,
    KnowledgeBaseError,
    KnowledgeBaseUnavailable,
    active_constraints,
    cell_text,
    with_id,
    without_passwords,
)
from rasa_hybrid.knowledge.breaker import CircuitBreaker
from rasa_hybrid.knowledge.results import summary
from rasa_hybrid.knowledge.threads import DaemonThreads

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Defaults of the keys that every type of knowledge base takes.
GUARD_DEFAULTS: Dict[str, Any] = {
    # Seconds after which a turn goes on without the answer.
    "timeout": 0.5,
    # Seconds for which an answer is used again.
    "cache_seconds": 5.0,
    # Seconds after which the values of a column are read again.
    "values_seconds": 60.0,
    # Failures in a row after which the service is left alone ...
    "failures_to_open": 3,
    # ... for this many seconds.
    "retry_after_seconds": 10.0,
}

#: Queries that may be under way at once; more means that the service hangs.
_CONCURRENT_QUERIES = 8
#: Answers that are kept.
_CACHE_SIZE = 256


@dataclass(frozen=True)
class QueryResult:
    """What a turn's query gave.

    Args:
        query: the constraints that were asked for, without `dontcare`.
        entities: the result queue, best first, not to be changed; None if unknown.
        problem: why it is unknown: `timeout`, `error`, `circuit_open` or `rejected`.
    """

    query: Mapping[str, str] = field(default_factory=dict)
    entities: Optional[Tuple[Dict[str, str], ...]] = None
    problem: Optional[str] = None

    @property
    def known(self) -> bool:
        """Whether the service answered."""
        return self.entities is not None

    def summary(self, offered: Sequence[str] = ()) -> ResultSummary:
        """`E_k`, given the ids that were offered before."""
        return summary(self.entities, offered)


class GuardedKnowledgeBase:
    """A knowledge base that never keeps a conversation waiting and never breaks it.

    Args:
        knowledge_base: the service.
        timeout: seconds after which a turn goes on without the answer.
        cache_seconds: seconds for which an answer is used again; 0 turns the cache off.
        values_seconds: seconds after which the values of a column are read again.
        failures_to_open: failures in a row that open the circuit breaker.
        retry_after_seconds: seconds for which it stays open.
        name: what log messages call it.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        knowledge_base: KnowledgeBase,
        timeout: float = GUARD_DEFAULTS["timeout"],
        cache_seconds: float = GUARD_DEFAULTS["cache_seconds"],
        values_seconds: float = GUARD_DEFAULTS["values_seconds"],
        failures_to_open: int = GUARD_DEFAULTS["failures_to_open"],
        retry_after_seconds: float = GUARD_DEFAULTS["retry_after_seconds"],
        name: str = "knowledge base",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        #: The service itself, for callers that may wait, such as the simulation.
        self.knowledge_base = knowledge_base
        self.name = name
        self._timeout = timeout
        self._values_seconds = values_seconds
        self._clock = clock
        self._breaker = CircuitBreaker(failures_to_open, retry_after_seconds, clock)
        self._free = threading.BoundedSemaphore(_CONCURRENT_QUERIES)
        self._threads = DaemonThreads("knowledge-base-query")
        self._answers: _TtlCache[QueryResult] = _TtlCache(cache_seconds, _CACHE_SIZE, clock)
        self._values: Dict[str, Tuple[float, Tuple[str, ...]]] = {}
        self._counts: Counter = Counter()
        self._lock = threading.Lock()

    @property
    def columns(self) -> Sequence[str]:
        """Names of the columns.

        Raises:
            KnowledgeBaseUnavailable: if the service has not told them yet and does not answer.
        """
        return self.knowledge_base.columns

    @property
    def constraint_names(self) -> FrozenSet[str]:
        """Goal slots that constrain a query: columns and `at_least` names.

        Raises:
            KnowledgeBaseUnavailable: if the service has not told its columns yet and does not answer.
        """
        return self.knowledge_base.constraint_names

    def query(self, goal: Goal) -> QueryResult:
        """The entities that satisfy a goal.

        Args:
            goal: the best hypothesis of each slot; slots that the knowledge base does not have constrain nothing.

        Returns:
            The result queue, or an unknown one if the service is slow, down or rejects the query.
        """
        return self._query(goal, self._clock() + self._timeout)

    def query_n_best(self, goals: Sequence[Tuple[Goal, float]]) -> QueryResult:
        """The queues of several goals in one: the most probable goal's first, no entity twice.

        Args:
            goals: goals with their probabilities, as `Belief.n_best` gives them.

        Returns:
            The merged queue; unknown if the query of the most probable goal is. The time limit is for all together:
            what comes too late is left out.
        """
        deadline = self._clock() + self._timeout
        best: Optional[QueryResult] = None
        merged: Dict[str, Dict[str, str]] = {}
        asked: List[Mapping[str, str]] = []
        for goal, _ in sorted(goals, key=lambda pair: -pair[1]):
            constraints = active_constraints(goal)
            if constraints in asked:
                continue
            if best is not None and self._clock() >= deadline:
                break
            asked.append(constraints)
            result = self._query(goal, deadline)
            if best is None:
                best = result
            if result.entities is None:
                break
            for entity in result.entities:
                merged.setdefault(entity[ID], entity)
        if best is None or best.entities is None:
            return best or QueryResult(problem="rejected")
        return QueryResult(best.query, tuple(merged.values()))

    def values(self, column: str) -> Tuple[str, ...]:
        """The values of a column, read again every `values_seconds`.

        Returns:
            The same object as before while nothing changed; the last known values if the service does not answer.

        Raises:
            KnowledgeBaseError: if there is no such column.
        """
        now = self._clock()
        known = self._values.get(column)
        if known is not None and now - known[0] < self._values_seconds:
            return known[1]
        try:
            current = tuple(
                self._ask(
                    f"values of {column!r}",
                    lambda: self.knowledge_base.values(column),
                    now + self._timeout,
                )
            )
        except _Unknown as unknown:
            if unknown.problem == "rejected" and unknown.__cause__ is not None:
                raise unknown.__cause__ from None
            return known[1] if known is not None else ()
        if known is not None and known[1] == current:
            current = known[1]
        self._values[column] = (now, current)
        return current

    def counts(self) -> Dict[str, int]:
        """How often what happened since the start: `queries`, `cached`, `timeout`, `error`, `circuit_open`, `rejected`."""
        with self._lock:
            return {key: self._counts[key] for key in _COUNTED}

    def forget(self) -> None:
        """Empties the cache, for example after seats were taken."""
        self._answers.clear()

    def config_fingerprint(self) -> str:
        """Digest of schema and settings, without rows and without limits of time."""
        return self.knowledge_base.config_fingerprint()

    def close(self) -> None:
        """Gives back connections."""
        self.knowledge_base.close()

    def _query(self, goal: Goal, deadline: float) -> QueryResult:
        constraints = active_constraints(goal)
        key = tuple(sorted(constraints.items()))
        self._count("queries")
        answer = self._answers.get(key)
        if answer is not None:
            self._count("cached")
            return answer

        def ask() -> QueryResult:
            names = self.knowledge_base.constraint_names
            query = {slot: value for slot, value in constraints.items() if slot in names}
            found = self.knowledge_base.query(query)
            entities = tuple(found if self.knowledge_base.clean else map(self._entity, found))
            # Kept here rather than below: an answer that comes too late for this turn is there for the next one.
            return self._answers.put(key, QueryResult(query, entities))

        try:
            return self._ask(f"query {constraints!r}", ask, deadline)
        except _Unknown as unknown:
            return QueryResult(constraints, None, unknown.problem)

    def _entity(self, entity: Mapping[str, Any]) -> Dict[str, str]:
        """An entity as text with an id, whatever the class behind it returned."""
        if ID in entity and set(map(type, entity.values())) == {str}:
            return dict(entity)
        texts = {str(name): cell_text(cell) for name, cell in entity.items()}
        clean = {name: text for name, text in texts.items() if text is not None}
        return (
            clean
            if ID in clean
            else with_id(clean, None, tuple(self.knowledge_base.at_least.values()))
        )

    def _ask(self, question: str, ask: Callable[[], T], deadline: float) -> T:
        """The answer to `ask`, asked in a thread.

        Raises:
            _Unknown: if there is none in time.
        """
        if not self._breaker.allows():
            self._count("circuit_open")
            raise _Unknown("circuit_open")
        try:
            answer = self._in_thread(ask, deadline)
        except FutureTimeout as error:
            self._failure("timeout", f"no answer within {self._timeout:g} s", question)
            raise _Unknown("timeout") from error
        except Exception as error:
            if isinstance(error, KnowledgeBaseError) and not isinstance(
                error, KnowledgeBaseUnavailable
            ):
                self._breaker.abandoned()
                self._count("rejected")
                logger.warning("%s: %s was rejected: %s", self.name, question, error)
                raise _Unknown("rejected") from error
            self._failure(
                "error", f"{type(error).__name__}: {without_passwords(str(error))}", question
            )
            raise _Unknown("error") from error
        if self._breaker.succeeded():
            logger.warning("%s answers again.", self.name)
        return answer

    def _in_thread(self, ask: Callable[[], T], deadline: float) -> T:
        """The answer of `ask`; raises `FutureTimeout` if it takes longer, and leaves its thread to itself."""
        if not self._free.acquire(timeout=max(0.0, deadline - self._clock())):
            raise FutureTimeout
        future: Future = Future()

        def run() -> None:
            try:
                future.set_result(ask())
            except BaseException as error:
                future.set_exception(error)
            finally:
                self._free.release()

        try:
            self._threads.run(run)
        except RuntimeError:
            self._free.release()
            raise
        return future.result(timeout=max(0.0, deadline - self._clock()))

    def _failure(self, problem: str, what: str, question: str) -> None:
        self._count(problem)
        logger.warning(
            "%s: %s for %s; the conversation goes on without it.", self.name, what, question
        )
        if self._breaker.failed():
            logger.error(
                "%s failed several times in a row, it is left alone for a while.", self.name
            )

    def _count(self, what: str) -> None:
        with self._lock:
            self._counts[what] += 1


_COUNTED = ("queries", "cached", "timeout", "error", "circuit_open", "rejected")


class _Unknown(Exception):
    """There is no answer, and this is why."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class _TtlCache(Generic[T]):
    """The latest answers, each for `seconds`."""

    def __init__(self, seconds: float, size: int, clock: Callable[[], float]) -> None:
        self._seconds, self._size, self._clock = seconds, size, clock
        self._entries: OrderedDict[Hashable, Tuple[float, T]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Optional[T]:
        with self._lock:
            entry = self._entries.get(key)
            return (
                entry[1] if entry is not None and self._clock() - entry[0] < self._seconds else None
            )

    def put(self, key: Hashable, answer: T) -> T:
        with self._lock:
            self._entries.pop(key, None)
            self._entries[key] = (self._clock(), answer)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)
        return answer

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
