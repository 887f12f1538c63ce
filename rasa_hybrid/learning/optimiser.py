"""What learning keeps beside the weights: Adam's memory and their running average.

All of it as arrays, so that learning can go on in another process as if it had not stopped.
"""

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


def between(
    start: Mapping[str, np.ndarray], learnt: Mapping[str, np.ndarray], share: float
) -> Dict[str, np.ndarray]:
    """Weights on the line from those to begin with to the trained ones (Wortsman et al., 2022).

    What lies between is often better than either end where the data are unlike those of the training.

    Args:
        start: by name.
        learnt: the same parameters.
        share: 0 gives `start`, 1 gives `learnt`.
    """
    if share == 1:
        return dict(learnt)
    return {
        name: value + np.float32(share) * (learnt[name] - value) for name, value in start.items()
    }


class RunningAverage:
    """Average of a model's weights over the latest updates (Polyak and Juditsky, 1992), which is steadier than the last ones.

    Args:
        model: whose weights; the average starts with them.
        decay: how much of the average an update keeps; less in the first ones, so that the start is soon forgotten.
            0: no average, the last weights themselves.
    """

    def __init__(self, model: JointModel, decay: float) -> None:
        self._model, self._decay = model, decay
        parameters = model.parameters if decay else {}
        self._averages = {
            name: tf.Variable(value, trainable=False) for name, value in parameters.items()
        }
        self._updates = tf.Variable(0.0, trainable=False)

    def update(self) -> None:
        """Takes in the weights of now."""
        if not self._averages:
            return
        kept = tf.minimum(self._decay, (1.0 + self._updates) / (10.0 + self._updates))
        self._updates.assign_add(1.0)
        for name, average in self._averages.items():
            average.assign_sub((1.0 - kept) * (average - self._model.parameters[name]))

    def weights(self) -> Dict[str, np.ndarray]:
        """The average by name, the last weights if there is none."""
        if not self._averages:
            return self._model.weights()
        return {name: average.numpy() for name, average in self._averages.items()}

    def state(self) -> Dict[str, np.ndarray]:
        """The average and the number of updates; nothing if there is none."""
        if not self._averages:
            return {}
        averages = {f"average/{name}": value for name, value in self.weights().items()}
        return {**averages, "averaged": self._updates.numpy()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Puts back what `state` gave."""
        for name, average in self._averages.items():
            average.assign(state[f"average/{name}"])
        if self._averages:
            self._updates.assign(state["averaged"])
