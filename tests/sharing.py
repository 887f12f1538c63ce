"""What is made once in a test run, for all of its processes: trained models, above all."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Callable

import pytest


def made_once(name: str, factory: pytest.TempPathFactory, make: Callable[[Path], object]) -> Path:
    """A folder that the first process of a run that asks for it fills; the others wait and read it.

    Args:
        name: of the folder, the same in all processes.
        factory: of the run; its folder is beside those of the other processes.
        make: fills the folder, which does not exist yet. If it fails, the next one who asks tries again.
    """
    root = factory.getbasetemp()
    # A process of pytest-xdist has a folder of its own in that of the run.
    if root.name.startswith("popen-"):
        root = root.parent
    folder, done = root / name, root / f"{name}.done"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            make(folder)
            done.touch()
    return folder
