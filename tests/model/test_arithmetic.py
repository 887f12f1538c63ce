"""Matrices are multiplied on one thread while a model acts, and on as many as before afterwards."""

from typing import Sequence

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from rasa_hybrid.model.acting import ActingModel
from rasa_hybrid.model.arithmetic import softmax
from rasa_hybrid.model.reading import UtteranceReader


def _threads() -> int:
    """Of the library that NumPy uses; others may be loaded, too."""
    [numpys] = [each for each in threadpool_info() if "numpy" in each["filepath"]]
    return int(numpys["num_threads"])


@pytest.fixture(autouse=True)
def two_threads():
    with threadpool_limits(2, user_api="blas"):
        if _threads() != 2:
            pytest.fail("NumPy's library multiplies on one thread whatever it is told.")
        yield


def test_a_model_acts_on_one_thread() -> None:
    class Stopped(Exception):
        pass

    class Turns(Sequence):
        """Says on how many threads it is read."""

        def __len__(self) -> int:
            return 1

        def __getitem__(self, i):
            raise Stopped(_threads())

    model = ActingModel.__new__(ActingModel)
    model._reader = UtteranceReader.__new__(UtteranceReader)
    for call in (
        lambda: model.understand(Turns()),
        lambda: model.open_spans(Turns()),
        lambda: model.observe([None], Turns()),
        lambda: model.decide(Turns(), [None], [None], [None]),
    ):
        with pytest.raises(Stopped, match="^1$"):
            call()
    assert _threads() == 2


def test_softmax() -> None:
    assert softmax(np.log([[1.0, 3.0]])) == pytest.approx(np.array([[0.25, 0.75]]))
