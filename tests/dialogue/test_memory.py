"""The collector of garbage rests while many dialogues are read, and is then as it was."""

import gc

import pytest

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
