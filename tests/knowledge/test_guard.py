"""Time limit, circuit breaker and cache: a conversation never waits and never breaks."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from rasa_hybrid.dialogue import DONTCARE, ResultSummary
from rasa_hybrid.knowledge import (
    GuardedKnowledgeBase,
    KnowledgeBase,
    KnowledgeBaseError,
    KnowledgeBaseUnavailable,
)


class Service(KnowledgeBase):
    """A service whose behaviour a test sets: `delay` seconds, then `error`, else `rows`."""

    columns = ("movie", "date")
    at_least = {"num_tickets": "seats"}

    def __init__(self):
        self.delay = 0.0
        self.error = None
        self.rows = [
            {"id": "1", "movie": "Harbour Lights"},
            {"id": "2", "movie": "The Glass Orchard"},
        ]
        self.asked = []
        self.hangs = threading.Event()

    def query(self, constraints):
        self.asked.append(dict(constraints))
        self._behave()
        return [
            row
            for row in self.rows
            if all(row.get(k, v) == v for k, v in constraints.items() if k != "num_tickets")
        ]

    def values(self, column):
        if column not in self.columns:
            raise KnowledgeBaseError(f"no column {column!r}")
        self._behave()
        return [row[column] for row in self.rows if column in row]

    def _behave(self):
        self.hangs.wait(self.delay)
        if self.error is not None:
            raise self.error


class Clock:
    """Seconds that a test moves; timeouts of threads stay real."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def service():
    service = Service()
    yield service
    service.hangs.set()


@pytest.fixture
def clock():
    return Clock()


def guard(service, clock, **limits):
    return GuardedKnowledgeBase(service, **{"timeout": 2.0, "clock": clock, **limits})


def test_a_query_gives_the_queue_its_summary_and_what_was_asked(service, clock):
    result = guard(service, clock).query(
        {"movie": "Harbour Lights", "date": DONTCARE, "num_tickets": "2"}
    )
    assert result.query == {"movie": "Harbour Lights", "num_tickets": "2"}
    assert [entity["id"] for entity in result.entities] == ["1"]
    assert result.summary(["1"]) == ResultSummary(1, 0)


def test_goal_slots_that_the_knowledge_base_lacks_constrain_nothing(service, clock):
    result = guard(service, clock).query({"payment": "card", "movie": "Harbour Lights"})
    assert result.query == {"movie": "Harbour Lights"}
    assert result.known


def test_a_slow_service_leaves_an_unknown_summary_within_the_time_limit(service, clock, caplog):
    service.delay = 30.0
    guarded = guard(service, clock, timeout=0.05)
    before = time.monotonic()
    result = guarded.query({"movie": "Harbour Lights"})
    assert time.monotonic() - before < 10.0
    assert (result.known, result.problem, result.summary()) == (False, "timeout", ResultSummary())
    assert guarded.counts()["timeout"] == 1
    assert "the conversation goes on without it" in caplog.text


def test_an_answer_that_came_too_late_is_there_for_the_next_turn(service, clock):
    service.delay = 30.0
    guarded = guard(service, clock, timeout=0.05)
    assert not guarded.query({}).known
    service.hangs.set()
    deadline = time.monotonic() + 10
    while not guarded._answers.get(()) and time.monotonic() < deadline:
        time.sleep(0.01)
    result = guarded.query({})
    assert result.known and len(service.asked) == 1


def test_an_exception_of_the_service_is_counted_and_logged_without_passwords(
    service, clock, caplog
):
    service.error = RuntimeError("no route to postgresql://bot:hunter2@db/cinema")
    guarded = guard(service, clock)
    assert guarded.query({}).problem == "error"
    assert guarded.counts()["error"] == 1
    assert "no route to postgresql://bot:***@db/cinema" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_rejected_query_is_unknown_but_says_nothing_about_the_service(service, clock, caplog):
    guarded = guard(service, clock, failures_to_open=1)
    service.error = KnowledgeBaseError("'a few' is not a number")
    assert guarded.query({"num_tickets": "a few"}).problem == "rejected"
    service.error = None
    assert guarded.query({"num_tickets": "2"}).known
    assert guarded.counts()["rejected"] == 1
    assert "'a few' is not a number" in caplog.text


def test_the_breaker_opens_after_failures_in_a_row_and_spares_the_service(service, clock, caplog):
    guarded = guard(service, clock, failures_to_open=3, retry_after_seconds=10.0)
    service.error = KnowledgeBaseUnavailable("down")
    assert [guarded.query({}).problem for _ in range(5)] == ["error"] * 3 + ["circuit_open"] * 2
    assert len(service.asked) == 3
    assert guarded.counts() == {
        "queries": 5, "cached": 0, "timeout": 0, "error": 3, "circuit_open": 2, "rejected": 0,
    }  # fmt: skip
    assert "left alone" in caplog.text


def test_a_success_between_failures_keeps_the_breaker_closed(service, clock):
    guarded = guard(service, clock, failures_to_open=2, cache_seconds=0)
    for error in (RuntimeError(), None, RuntimeError(), None, RuntimeError()):
        service.error = error
        assert guarded.query({}).problem == (None if error is None else "error")


def test_one_query_tries_whether_the_service_is_back(service, clock, caplog):
    guarded = guard(service, clock, failures_to_open=1, retry_after_seconds=10.0, cache_seconds=0)
    service.error = RuntimeError("down")
    guarded.query({})
    clock.now += 10.0
    assert [guarded.query({}).problem, guarded.query({}).problem] == ["error", "circuit_open"]
    clock.now += 10.0
    service.error = None
    assert guarded.query({}).known and guarded.query({}).known
    assert "answers again" in caplog.text


def test_only_one_of_many_threads_tries_an_open_breaker(service, clock):
    guarded = guard(service, clock, failures_to_open=1, retry_after_seconds=10.0)
    service.error = RuntimeError("down")
    guarded.query({})
    clock.now += 10.0
    service.error, service.delay, service.asked = None, 30.0, []
    trial = threading.Thread(target=guarded.query, args=({},))
    trial.start()
    while not service.asked:
        time.sleep(0.005)
    assert [guarded.query({}).problem for _ in range(4)] == ["circuit_open"] * 4
    service.hangs.set()
    trial.join(10)
    assert len(service.asked) == 1


def test_a_service_that_hangs_cannot_collect_threads_without_end(service, clock):
    service.delay = 30.0
    guarded = guard(service, clock, timeout=0.01, failures_to_open=1000)
    before = threading.active_count()
    assert {guarded.query({"date": str(turn)}).problem for turn in range(40)} == {"timeout"}
    assert threading.active_count() - before <= 8


def test_a_hanging_service_does_not_keep_the_process_from_ending():
    program = (
        "import time\n"
        "from rasa_hybrid.knowledge import *\n"
        "class Hangs(KnowledgeBase):\n"
        "    columns = ('a',)\n"
        "    def query(self, constraints): time.sleep(600)\n"
        "    def values(self, column): return []\n"
        "print(GuardedKnowledgeBase(Hangs(), timeout=0.05).query({}).problem)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "timeout", done.stderr


def test_an_answer_is_used_again_until_it_is_too_old(service, clock):
    guarded = guard(service, clock, cache_seconds=5.0)
    for seconds in (0.0, 4.9, 0.2):
        clock.now += seconds
        assert guarded.query({"movie": "Harbour Lights", "date": DONTCARE}).known
    assert len(service.asked) == 2
    assert guarded.counts()["cached"] == 1


def test_forgetting_asks_again(service, clock):
    guarded = guard(service, clock)
    guarded.query({})
    guarded.forget()
    guarded.query({})
    assert len(service.asked) == 2


def test_failures_are_not_cached(service, clock):
    guarded = guard(service, clock)
    service.error = RuntimeError()
    assert not guarded.query({}).known
    service.error = None
    assert guarded.query({}).known


def test_n_best_queues_are_merged_best_first_without_duplicates(service, clock):
    guarded = guard(service, clock)
    goals = [
        ({"movie": DONTCARE}, 0.2),
        ({"movie": "The Glass Orchard"}, 0.5),
        ({"movie": "Harbour Lights"}, 0.3),
    ]
    result = guarded.query_n_best(goals)
    assert [entity["id"] for entity in result.entities] == ["2", "1"]
    assert result.query == {"movie": "The Glass Orchard"}
    assert service.asked == [{"movie": "The Glass Orchard"}, {"movie": "Harbour Lights"}, {}]


def test_n_best_is_unknown_if_the_best_query_is_and_else_goes_without_the_rest(service, clock):
    service.error = RuntimeError()
    assert guard(service, clock).query_n_best([({"movie": "x"}, 0.9), ({}, 0.1)]).problem == "error"
    service.error = None
    guarded = guard(service, clock)
    guarded.query({"movie": "Harbour Lights"})
    service.error = RuntimeError()
    result = guarded.query_n_best([({"movie": "Harbour Lights"}, 0.9), ({}, 0.1)])
    assert [entity["id"] for entity in result.entities] == ["1"]


def test_n_best_without_a_goal_is_unknown(service, clock):
    assert not guard(service, clock).query_n_best([]).known


def test_values_are_read_again_when_they_are_old_and_the_same_object_tells_no_change(
    service, clock
):
    guarded = guard(service, clock, values_seconds=60.0)
    first = guarded.values("movie")
    assert first == ("Harbour Lights", "The Glass Orchard")
    service.rows = [*service.rows, {"id": "3", "movie": "Opened Yesterday"}]
    clock.now += 59.0
    assert guarded.values("movie") is first
    clock.now += 1.0
    second = guarded.values("movie")
    assert second[-1] == "Opened Yesterday"
    clock.now += 60.0
    assert guarded.values("movie") is second


def test_values_stay_as_they_were_when_the_service_is_down(service, clock):
    guarded = guard(service, clock, values_seconds=60.0)
    first = guarded.values("movie")
    clock.now += 60.0
    service.error = RuntimeError("down")
    assert guarded.values("movie") is first
    assert guarded.values("date") == ()


def test_values_of_an_unknown_column_are_an_error(service, clock):
    with pytest.raises(KnowledgeBaseError, match="'genre'"):
        guard(service, clock).values("genre")


def test_entities_of_any_class_become_text_with_an_identifier(service, clock):
    service.rows = [{"movie": "Marl", "seats": 3, "price": 9.5, "note": None}]
    (entity,) = guard(service, clock).query({}).entities
    assert {key: entity[key] for key in entity if key != "id"} == {
        "movie": "Marl",
        "seats": "3",
        "price": "9.5",
    }
    service.rows[0]["seats"] = 1
    assert guard(service, clock).query({}).entities[0]["id"] == entity["id"]


def test_many_threads_at_once_get_their_own_answers(service, clock):
    service.rows = [{"id": str(n), "movie": str(n)} for n in range(40)]
    service.delay = 0.002
    guarded = guard(service, clock, cache_seconds=0, timeout=30.0)
    wrong = []

    def ask(n):
        for _ in range(5):
            entities = guarded.query({"movie": str(n)}).entities
            if entities is None or [entity["id"] for entity in entities] != [str(n)]:
                wrong.append((n, entities))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert guarded.counts()["queries"] == 200
