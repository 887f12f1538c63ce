"""An LSTM over sequences of different lengths without padding, with its gradient.

TensorFlow's `BlockLSTM` is fast ahead, but its gradient takes ten times as long, and the gradient of `BlockLSTMV2` is
wrong (it is that of the other order of gates). Here the sequences stand step by step (as in cuDNN's packed sequences),
so that a step computes those that still go on; and what a gradient needs only once is one product over all steps.
"""

from __future__ import annotations

from typing import Callable, List, Sequence, Tuple

import tensorflow as tf


@tf.custom_gradient
def packed_lstm(
    gates: tf.Tensor, recurrent: tf.Tensor, counts: tf.Tensor
) -> Tuple[tf.Tensor, Callable]:
    """Hidden states of an LSTM (gates i, f, g, o as in Keras) that starts from zeros.

    Args:
        gates: `[tokens, 4 * units]` the inputs' share of the gates, bias included. Step by step, and in each step the
            sequences in the same order, longest first.
        recurrent: `[units, 4 * units]` kernel of the hidden state.
        counts: `[steps]` int32 sequences that have so many steps: it never rises, and its sum is the number of tokens.

    Returns:
        `[tokens, units]` hidden states, in the order of the gates.
    """
    units = recurrent.shape[0]
    counts = tf.pad(counts, [[0, 1]])  # an empty step more, for there may be none
    steps = tf.shape(counts)[0]
    ends = tf.cumsum(counts)

    def ahead(t: tf.Tensor, hidden: tf.Tensor, cell: tf.Tensor, *written: tf.TensorArray) -> Tuple:
        count, end = counts[t], ends[t]
        raw = gates[end - count : end] + tf.matmul(hidden[:count], recurrent)
        i, f, g, o = tf.split(raw, 4, axis=-1)
        i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
        cell = f * cell[:count] + i * g
        hidden = o * tf.tanh(cell)
        now = (hidden, cell, i, f, g, o)
        return (t + 1, hidden, cell, *(array.write(t, x) for array, x in zip(written, now)))

    zeros = tf.zeros([counts[0], units])
    hidden, cell, i, f, g, o = _steps(ahead, 0, steps, (zeros, zeros), [units] * 6, steps)

    def gradient(by_hidden: tf.Tensor) -> Tuple[tf.Tensor, tf.Tensor, None]:
        # The place of the step before in a table whose first row is zero.
        step = tf.repeat(tf.range(steps), counts)
        before = tf.range(ends[-1]) - tf.gather(tf.concat([[0], counts], 0), step) + 1
        before = tf.where(step > 0, before, 0)
        earlier_hidden = tf.gather(tf.pad(hidden, [[1, 0], [0, 0]]), before)
        earlier_cell = tf.gather(tf.pad(cell, [[1, 0], [0, 0]]), before)
        bent = tf.tanh(cell)
        to_cell = o * (1.0 - bent * bent)
        slopes = tf.concat(
            [
                g * i * (1.0 - i),
                earlier_cell * f * (1.0 - f),
                i * (1.0 - g * g),
                bent * o * (1.0 - o),
            ],
            -1,
        )
        back = tf.transpose(recurrent)

        def behind(
            t: tf.Tensor, later: tf.Tensor, carried: tf.Tensor, *written: tf.TensorArray
        ) -> Tuple:
            count, end = counts[t], ends[t]
            more = [[0, count - tf.shape(later)[0]], [0, 0]]
            here = slice(end - count, end)
            hidden_now = by_hidden[here] + tf.pad(later, more)
            cell_now = hidden_now * to_cell[here] + tf.pad(carried, more)
            by_gates = tf.concat([cell_now, cell_now, cell_now, hidden_now], -1) * slopes[here]
            earlier = tf.matmul(by_gates, back)
            return t - 1, earlier, cell_now * f[here], written[0].write(t, by_gates)

        nothing = tf.zeros([0, units])
        [by_gates] = _steps(behind, steps - 1, -1, (nothing, nothing), [4 * units], steps)
        return by_gates, tf.matmul(earlier_hidden, by_gates, transpose_a=True), None

    return hidden, gradient


def _steps(
    body: Callable,
    first: tf.Tensor,
    end: tf.Tensor,
    state: Tuple[tf.Tensor, ...],
    sizes: Sequence[int],
    steps: tf.Tensor,
) -> List[tf.Tensor]:
    """Runs `body` from step `first` to before `end`; returns the rows that it wrote, step by step from 0 on."""
    arrays = [
        tf.TensorArray(tf.float32, steps, infer_shape=False, element_shape=[None, size])
        for size in sizes
    ]
    rows = [tf.TensorShape([None, x.shape[1]]) for x in state]
    _, *result = tf.while_loop(
        lambda t, *_: tf.not_equal(t, end),
        body,
        (first, *state, *arrays),
        shape_invariants=(tf.TensorShape([]), *rows, *[tf.TensorShape(None)] * len(arrays)),
        parallel_iterations=1,
    )
    return [array.concat() for array in result[len(state) :]]
