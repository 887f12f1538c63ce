"""Work side by side: what builds on what, and what goes wrong."""

from __future__ import annotations

import os

import pytest

from rasa_hybrid.evaluation.workers import side_by_side, tell_parent


def work(name, number):
    tell_parent(f"{name} begins")
    if number == 0:
        raise ValueError(f"{name}: nothing to divide by")
    return os.getpid(), 12 / number


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_task_begins_when_the_one_that_it_builds_on_is_done(jobs):
    told = []
    tasks = {"a": None, "b": "a", "c": "b", "d": None}
    arguments = {name: (name, i) for i, name in enumerate(tasks, 1)}
    results = dict(side_by_side(tasks, work, arguments, jobs, told.append))
    assert {name: value for name, (_, value) in results.items()} == {
        "a": 12,
        "b": 6,
        "c": 4,
        "d": 3,
    }
    assert sorted(told) == [f"{name} begins" for name in "abcd"]
    assert [line[0] for line in told if line[0] in "abc"] == list("abc")
    elsewhere = {process for process, _ in results.values()} - {os.getpid()}
    assert bool(elsewhere) == (jobs > 1)


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_fails_is_heard_of_and_what_builds_on_it_is_not_begun(jobs):
    told = []
    arguments = {"a": ("a", 0), "b": ("b", 1)}
    with pytest.raises(ValueError, match="a: nothing to divide by"):
        list(side_by_side({"a": None, "b": "a"}, work, arguments, jobs, told.append))
    assert told == ["a begins"]
