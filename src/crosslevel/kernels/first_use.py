"""Tell the user, once, that the kernels are being compiled for this machine."""

import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any


def is_compiled(kernel: Any) -> bool:
    """Whether a compiled form of a kernel lies in numba's cache on this machine."""
    name = f"{kernel.py_func.__module__.rpartition('.')[2]}.{kernel.py_func.__name__}-"
    folder = Path(kernel.stats.cache_path)
    return any(folder.glob(f"{name}*.nbi"))


KERNELS = {
    "one": (("moments", "accumulate"), ("reduction", "reduce_groups"), ("marginal", "whiten_groups"),
            ("marginal", "derivative_sums")),
    "several": (("pairs", "add_blocks"), ("elimination", "eliminate"), ("elimination", "invert_pattern"),
                ("crossed", "pair_scores")),
    "responses": (("adaptive", "evaluate_clusters"),),
    "crossed responses": (("responses", "fill_terms"), ("elimination", "eliminate")),
    "iterative": (("iterative", "eliminate_eight"), ("iterative", "middle_blocks")),
    "twofold": (("twofold", "eliminate_twofold"),),
    "refits": (("refits", "refit_draws"),),
    "left out": (("refits", "refit_without"),),
    "simulated fits": (("simulated_fit", "fit_replications"),),
    "simulated": (("simulated", "draw_moments"),),
}  # fmt: skip
"""The slowest kernels to compile of models with one grouping factor, with several, of other families with one and with
several, of the iterative algebra, of models that need twice the digits, of refits without a step of Python (to draws,
and without some rows), and of simulated data."""


@cache
def announce_compilation(models: str = "one") -> None:
    """Print one line to standard error if the kernels of some models are not compiled yet; at most once in a process.

    Parameters
    ----------
    models : a key of `KERNELS`.
    """
    found = (getattr(import_module(f"crosslevel.kernels.{module}"), name) for module, name in KERNELS[models])
    if not all(is_compiled(kernel) for kernel in found):
        _say_once()


@cache
def _say_once() -> None:
    """Tell what takes so long."""
    print(
        "crosslevel: compiling its numerical kernels for this machine; this happens once and takes a few seconds.",
        file=sys.stderr,
        flush=True,
    )
