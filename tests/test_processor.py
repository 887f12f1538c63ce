"""The fastest kernels of OpenBLAS are named, before NumPy loads it, by what the processor can do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rasa_hybrid.commands.processor import VARIABLE, kernels, name_kernels

_AVX2 = "fpu sse2 avx fma avx2"
_AVX512 = f"{_AVX2} avx512f avx512dq avx512cd avx512bw avx512vl"


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (_AVX512, "SkylakeX"),
        (f"{_AVX2} avx512f avx512cd", "Haswell"),
        (_AVX2, "Haswell"),
        ("fpu sse2 avx", None),
    ],
)
def test_kernels_that_a_processor_can_run(tmp_path: Path, flags: str, name: str) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nmodel\t\t: 207\nflags\t\t: {flags}\nbugs\t\t:\n")
    assert kernels(cpuinfo) == name


def test_other_processors_and_systems_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd\n")
    assert kernels(tmp_path / "cpuinfo") is None
    assert kernels(tmp_path / "missing") is None


def test_what_the_user_names_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "Nehalem")
    name_kernels()
    assert os.environ[VARIABLE] == "Nehalem"


def test_commands_multiply_with_what_the_processor_has() -> None:
    code = (
        "from rasa_hybrid.commands import main\n"
        "main(['learn', '--help'], standalone_mode=False)\n"
        "import numpy, threadpoolctl\n"
        "print('with', *(each['architecture'] for each in threadpoolctl.threadpool_info()))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    used = done.stdout.splitlines()[-1].split()
    assert used[0] == "with" and len(used) == 2, done.stdout
    assert kernels() in (None, used[1])
