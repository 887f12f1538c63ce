"""Weights and Adam's memory as arrays, so that learning can go on in another process as if it had not stopped."""

from __future__ import annotations

from typing import Dict, Mapping

import numpy as np
import tensorflow as tf

from rasa_hybrid.model.network import JointModel


def optimiser_state(optimiser: tf.keras.optimizers.Optimizer) -> Dict[str, np.ndarray]:
    """Step count and moments, by their position."""
    return {str(i): variable.numpy() for i, variable in enumerate(optimiser.variables)}


def restore_optimiser(
    optimiser: tf.keras.optimizers.Optimizer, state: Mapping[str, np.ndarray]
) -> None:
    """Puts back what `optimiser_state` gave.

    Raises:
        ValueError: if it belongs to another model.
    """
    variables = optimiser.variables
    shapes = [np.shape(state[str(i)]) for i in range(len(variables)) if str(i) in state]
    if len(state) != len(variables) or shapes != [tuple(v.shape) for v in variables]:
        raise ValueError("the optimiser's state belongs to a model of other sizes")
    for i, variable in enumerate(variables):
        variable.assign(state[str(i)])


def restore_weights(model: JointModel, state: Mapping[str, np.ndarray]) -> None:
    """Puts back the weights of a state, where they are named `weights/...`.

    Raises:
        ValueError: if they belong to another model.
    """
    for name, variable in model.parameters.items():
        value = state.get(f"weights/{name}")
        if value is None or tuple(value.shape) != tuple(variable.shape):
            raise ValueError(f"the state is of another model: {name} does not fit.")
        variable.assign(value)
