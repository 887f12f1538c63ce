"""The collector of garbage rests while many dialogues are read, and is then as it was."""

import gc

import pytest

from rasa_hybrid.dialogue import memory
from rasa_hybrid.dialogue.memory import objects_that_stay


@pytest.fixture(autouse=True)
def collector_as_before():
    enabled = gc.isenabled()
    yield
    (gc.enable if enabled else gc.disable)()


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_left_as_it_was(enabled):
    (gc.enable if enabled else gc.disable)()
    with pytest.raises(KeyError), objects_that_stay():
        assert not gc.isenabled()
        with objects_that_stay():
            assert not gc.isenabled()
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled() == enabled


def _young(things):
    young = {id(each) for generation in (0, 1) for each in gc.get_objects(generation)}
    return young.intersection(map(id, things))


@pytest.mark.parametrize("many", [False, True])
def test_only_many_objects_are_old_without_being_looked_at(many, monkeypatch):
    monkeypatch.setattr(memory, "_MANY", 900 if many else 10**9)
    gc.disable()
    with objects_that_stay():
        kept = [[number] for number in range(1000)]
    assert bool(_young(kept)) != many


def test_what_a_program_has_frozen_stays_frozen(monkeypatch):
    monkeypatch.setattr(memory, "_MANY", 0)
    gc.freeze()
    frozen = gc.get_freeze_count()
    try:
        with objects_that_stay():
            kept = [[number] for number in range(10)]
        assert gc.get_freeze_count() == frozen and kept
    finally:
        gc.unfreeze()
