"""Python's collector of garbage while many dialogues are read."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import Iterator

#: New objects that are too many to be looked at.
_MANY = 500_000


@contextmanager
def objects_that_stay() -> Iterator[None]:
    """Looks for no garbage meanwhile: where all of many small objects stay, that takes as long as to make them."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if gc.get_count()[0] > _MANY and not gc.get_freeze_count():
            # What is new becomes old without being looked at.
            gc.freeze()
            gc.unfreeze()
        if collecting:
            gc.enable()
