"""Progress of long work on stderr, as Rasa's own components show it."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import Any, Callable, Iterator

from tqdm import tqdm


@contextmanager
def epochs_on_stderr(epochs: int) -> Iterator[Callable[[Any], None]]:
    """A bar that moves with every epoch and shows loss, joint goal accuracy and action accuracy."""
    with tqdm(total=epochs, desc="Epochs", file=sys.stderr, disable=None) as bar:

        def show(result: Any) -> None:
            bar.total = max(bar.total, result.epoch)
            bar.update(1)
            bar.set_postfix(
                loss=f"{result.loss:.3f}",
                goal=f"{result.joint_goal_accuracy:.3f}",
                action=f"{result.action_accuracy:.3f}",
            )

        yield show
