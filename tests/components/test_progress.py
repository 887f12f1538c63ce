"""The bar of epochs moves within long ones."""

import io
import sys
import time

import pytest

from rasa_hybrid.components.progress import epochs_on_stderr
from rasa_hybrid.learning.supervised import EpochResult


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_epochs_and_what_is_done_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with epochs_on_stderr(2) as (show, move):
        time.sleep(0.2)  # it is drawn ten times a second
        move(0.503)
        show(EpochResult(1, 4.2, 2.0, 2.2, 0.8, 0.9, seconds=3.0))
        time.sleep(0.2)
        move(0.25)
        show(EpochResult(2, 2.5, 1.0, 1.5, 0.925, 0.95, seconds=3.0))
    printed = terminal.getvalue()
    assert " 0.5/2 " in printed and " 1.25/2 " in printed
    assert "goal=0.800" in printed
    assert " 2/2 " in printed.splitlines()[-1] and "goal=0.925" in printed.splitlines()[-1]
