"""Progress of long work on stderr, as Rasa's own components show it."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import Any, Callable, Iterator, Tuple

from tqdm import tqdm


@contextmanager
def epochs_on_stderr(
    epochs: int,
) -> Iterator[Tuple[Callable[[Any], None], Callable[[float], None]]]:
    """A bar of epochs, which shows loss, joint goal accuracy and action accuracy of the last one.

    Yields:
        What is told each epoch's result, and what is told the share of an epoch that is done: it moves within long ones.
    """
    with tqdm(total=epochs, desc="Epochs", file=sys.stderr, disable=None) as bar:
        over = 0

        def show(result: Any) -> None:
            nonlocal over
            over = bar.n = result.epoch
            bar.total = max(bar.total, result.epoch)
            bar.set_postfix(
                loss=f"{result.loss:.3f}",
                goal=f"{result.joint_goal_accuracy:.3f}",
                action=f"{result.action_accuracy:.3f}",
            )

        def move(share: float) -> None:
            bar.n = round(over + share, 2)
            bar.update(0)

        yield show, move
