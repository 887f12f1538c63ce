"""What labels of public corpora have in common, however they spell it."""

from __future__ import annotations

_DONTCARE = frozenset({"dontcare", "dont care", "don't care", "do not care"})


def is_dontcare(value: str) -> bool:
    """Whether the value of a label says that anything is fine."""
    return value.strip().lower().replace("’", "'") in _DONTCARE
