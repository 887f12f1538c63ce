"""Python's collector of garbage while many dialogues are read."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import Iterator


@contextmanager
def objects_that_stay() -> Iterator[None]:
    """Looks for no garbage meanwhile: where all of many small objects stay, that takes as long as to make them."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
