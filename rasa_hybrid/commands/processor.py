"""What OpenBLAS is told of a processor that is newer than itself. Imports no NumPy, as that is too late.

The OpenBLAS of the NumPy that Rasa pins is of 2022. It goes by the number of a processor's model, not by what the
processor can do, and takes the x86 processors that it does not know, such as Intel's of 2023, for one of 2004 without AVX.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional

#: The environment variable that names the kernels to be used.
VARIABLE = "OPENBLAS_CORETYPE"
#: Kernels and what a processor must be able to do for them (`flags` of /proc/cpuinfo), the fastest first.
_KERNELS = {
    "SkylakeX": {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"},
    "Haswell": {"avx2", "fma"},
}


def kernels(cpuinfo: Path = Path("/proc/cpuinfo")) -> Optional[str]:
    """OpenBLAS' name of the fastest kernels for this processor; None if it is no x86 with AVX2, or no Linux."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    return next((name for name, needed in _KERNELS.items() if needed <= set(flags)), None)


def name_kernels() -> None:
    """Names the kernels for this process and those that it starts, unless the user has. Comes before `import numpy`."""
    fastest = kernels()
    if fastest is not None:
        os.environ.setdefault(VARIABLE, fastest)
