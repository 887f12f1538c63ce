"""Where the processor time of supervised training goes: `python -m benchmarks.training_step`.

Each part is compiled by itself and run on the same batches, on one thread; what a part costs is what it costs more than the
part before it, in the median of some repetitions in which all parts take turns.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from typing import Any, Callable, Dict, List

import click
from rich.console import Console
from rich.table import Table

from benchmarks.common import PROJECT, ensure_knowledge_base, machine

_REPETITIONS = 3


@click.command()
@click.option("--dialogues", default=1280, show_default=True, help="To learn from.")
@click.option("--seed", default=1, show_default=True, help="Of the dialogues.")
def main(dialogues: int, seed: int) -> None:
    """Processor time of each part, for every dialogue of an epoch."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parts = measure(dialogues, seed)
    total = sum(parts.values())
    console = Console()
    console.print(f"{machine()}; {dialogues} dialogues")
    table = Table("part", "ms a dialogue", "share")
    for name, seconds in parts.items():
        table.add_row(name, f"{1000 * seconds / dialogues:.3f}", f"{seconds / total:.3f}")
    console.print(table)


def measure(dialogues: int, seed: int) -> Dict[str, float]:
    """Processor seconds of the parts by name, in the order in which they come."""
    import tensorflow as tf

    from rasa_hybrid.learning.supervised import SupervisedTrainer, signature, supervised_losses
    from rasa_hybrid.model.batching import collate
    from rasa_hybrid.model.network import _Dropout, as_tensors
    from rasa_hybrid.model.preparation import prepare
    from rasa_hybrid.model.settings import Settings
    from rasa_hybrid.simulation import load_simulator, self_play

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    ensure_knowledge_base(PROJECT)
    corpus = list(self_play(load_simulator(PROJECT, "train"), dialogues, seed))
    settings = Settings()
    encoder = prepare(settings, corpus)
    trainer = SupervisedTrainer(encoder)
    model, parameters = trainer.model, list(trainer.model.parameters.values())
    parts: Dict[str, float] = {}
    started = time.process_time()
    encoded = encoder.dialogues(corpus)
    parts["words, values and labels of a dialogue, once a training"] = time.process_time() - started
    started = time.process_time()
    size = settings.batch_size
    batches = [collate(encoder, encoded[i : i + size]) for i in range(0, len(encoded), size)]
    parts["arrays of a batch"] = time.process_time() - started

    def states(batch: Any, seed: Any) -> Any:
        drop = _Dropout(seed, settings)
        return model._dialogue_states(batch, model._encode_utterances(batch, drop)[1], drop)

    def losses(batch: Any, seed: Any) -> Any:
        return supervised_losses(model(batch, seed), batch, settings).total

    def gradients(batch: Any, seed: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = losses(batch, seed)
        zero = tf.UnconnectedGradients.ZERO
        return tape.gradient(loss, parameters, unconnected_gradients=zero)

    signatures = [signature(batches[0]), tf.TensorSpec([2], tf.int32)]
    fixed = tf.constant([settings.seed, 1])

    def compiled(function: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
        graph = tf.function(function, input_signature=signatures, autograph=False)
        return lambda batch: graph(as_tensors(batch), fixed)

    steps = [as_tensors, *map(compiled, (states, losses, gradients)), trainer.train_step]
    measured: List[List[float]] = [[] for _ in steps]
    for repetition in range(1 + _REPETITIONS):  # the first one compiles
        for step, seconds in zip(steps, measured):
            started = time.process_time()
            for batch in batches if repetition else batches[:1]:
                step(batch)
            seconds.append(time.process_time() - started)
    cumulated = [statistics.median(seconds[1:]) for seconds in measured]
    names = (
        "tensors of a batch",
        "LSTMs of words and turns, forward",
        "beliefs, policy and losses, forward",
        "gradients",
        "clipping, Adam, running average, figures",
    )
    for name, before, now in zip(names, [0.0, *cumulated], cumulated):
        parts[name] = max(now - before, 0.0)
    return parts


if __name__ == "__main__":
    sys.exit(main())
