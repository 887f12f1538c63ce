"""What all benchmarks need: the project they simulate, its knowledge base, the machine."""

from __future__ import annotations

import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any, Callable

PROJECT = Path(__file__).parents[1] / "examples" / "movie_booking"


def median_seconds(work: Callable[[], Any], repetitions: int) -> float:
    """Median wall time of some runs."""
    seconds = []
    for _ in range(repetitions):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def ensure_knowledge_base(project: Path) -> None:
    """Builds the example's knowledge base if it is not there yet."""
    script, database = project / "build_knowledge_base.py", project / "db" / "screenings.db"
    if script.is_file() and not database.is_file():
        import runpy

        database.parent.mkdir(exist_ok=True)
        runpy.run_path(str(script))["build"](f"sqlite:///{database}")


def machine() -> str:
    """Processor count, architecture and versions."""
    import numpy
    import tensorflow

    return (
        f"{os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}, "
        f"NumPy {numpy.__version__}, TensorFlow {tensorflow.__version__}"
    )
