"""Where the public corpora lie, if they are there: they are not ours to put into the repository."""

import os
from pathlib import Path

import pytest

SHARED_DATA = Path(
    os.environ.get("RASA_HYBRID_DATA", Path(__file__).parents[3] / "shared" / "data")
)
collect_ignore = [] if SHARED_DATA.is_dir() else ["test_shared_files.py"]


@pytest.fixture
def shared_data() -> Path:
    """The directory with `dstc2/` and `sim-M/`."""
    return SHARED_DATA
