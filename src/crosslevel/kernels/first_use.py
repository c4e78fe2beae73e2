"""Tell the user, once, that the kernels are being compiled for this machine."""

import sys
from functools import cache
from pathlib import Path
from typing import Any


def is_compiled(kernel: Any) -> bool:
    """Whether a compiled form of a kernel lies in numba's cache on this machine."""
    name = f"{kernel.py_func.__module__.rpartition('.')[2]}.{kernel.py_func.__name__}-"
    folder = Path(kernel.stats.cache_path)
    return any(folder.glob(f"{name}*.nbi"))


@cache
def announce_compilation() -> None:
    """Print one line to standard error if the kernels are not compiled yet; at most once in a process."""
    from crosslevel.kernels.marginal import derivative_sums, whiten_groups
    from crosslevel.kernels.moments import accumulate
    from crosslevel.kernels.reduction import reduce_groups

    if not all(is_compiled(kernel) for kernel in (accumulate, reduce_groups, whiten_groups, derivative_sums)):
        print(
            "crosslevel: compiling its numerical kernels for this machine; this happens once and takes a few seconds.",
            file=sys.stderr,
            flush=True,
        )
