"""What the equations in NumPy consist of: products, an LSTM's step, softmax, sums of rows; and on how many threads."""

from __future__ import annotations

import functools
from typing import Any, Callable, Mapping, Sequence, Tuple, TypeVar, cast

import numpy as np
from threadpoolctl import ThreadpoolController

F = TypeVar("F", bound=Callable[..., Any])
#: The libraries that multiply NumPy's matrices.
_LIBRARIES = ThreadpoolController().select(user_api="blas").lib_controllers
#: What OpenBLAS takes an x86 processor for that is newer than itself, unless it was told (`commands.processor`).
_UNKNOWN = "Prescott"
_OWN_LOOPS = any(getattr(library, "architecture", None) == _UNKNOWN for library in _LIBRARIES)


def on_one_thread(function: F) -> F:
    """Decorates functions that multiply the small matrices of single turns: on one thread.

    The other threads of OpenBLAS would wait for the next product by asking again and again, which costs more than the
    work itself. NumPy may be left with one thread if several threads act at the same time. `ThreadpoolController.wrap`
    does the same, but asks each library for its version, its layer and more in every call.
    """

    @functools.wraps(function)
    def on_one(*args: Any, **kwargs: Any) -> Any:
        before = [(library, library.get_num_threads()) for library in _LIBRARIES]
        several = [(library, threads) for library, threads in before if threads != 1]
        for library, _ in several:
            library.set_num_threads(1)
        try:
            return function(*args, **kwargs)
        finally:
            for library, threads in several:
                library.set_num_threads(threads)

    return cast(F, on_one)


def product(x: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """`x @ matrix` where `x` often has one row: by NumPy's own loops where these are twice as fast as OpenBLAS.

    Args:
        x: `[..., rows, n]`.
        matrix: `[..., n, m]`.

    Returns:
        `[..., rows, m]`.
    """
    if _OWN_LOOPS and x.shape[-2] == 1:
        return np.einsum("...bi,...ij->...bj", x, matrix)
    return x @ matrix


def lstm_weights(
    w: Mapping[str, np.ndarray], name: str
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kernel, recurrent kernel and bias of an LSTM; of sigmoid gates the half, as sigmoid(x) = (tanh(x / 2) + 1) / 2."""
    kernel, recurrent, bias = (
        w[f"{name}/{part}"] for part in ("kernel", "recurrent_kernel", "bias")
    )
    halved = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], np.float32), len(bias) // 4)
    return kernel * halved, recurrent * halved, (bias * halved)[None]


def lstm_step(
    inputs: np.ndarray, recurrent: np.ndarray, h: np.ndarray, c: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """The next states `[..., batch, units]` of LSTMs, of several at once or of one.

    Args:
        inputs: what their gates i, f, g, o read, `[..., batch, 4 * units]`; sigmoid gates as in `lstm_weights`.
        recurrent: `[..., units, 4 * units]`.
        h: outputs so far, `[..., batch, units]`.
        c: states so far, the same.
    """
    units = recurrent.shape[-2]
    gates = np.tanh(inputs + product(h, recurrent))
    g = gates[..., 2 * units : 3 * units].copy()
    gates *= 0.5
    gates += 0.5
    c = gates[..., units : 2 * units] * c + gates[..., :units] * g
    return gates[..., 3 * units :] * np.tanh(c), c


def bag_sums(table: np.ndarray, bags: Sequence[Sequence[int]]) -> np.ndarray:
    """Sums of a table's rows, `[bags, row size]`."""
    counts = np.zeros((len(bags), len(table)), np.float32)
    for row, bag in zip(counts, bags):
        for i in bag:
            row[i] += 1.0
    return counts @ table


def softmax(x: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis, of logits `[..., n]`."""
    exponents = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)
