"""Compile functions that only read and write arrays they are given, without counting references to them."""

from collections.abc import Callable
from typing import Any

import numba
from numba.core.options import DefaultOptions

OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
"""How all kernels are compiled."""

UNCOUNTED: dict[str, Any] = {"_nrt": False} if hasattr(DefaultOptions, "_nrt") else {}
"""Leaves out the counting of references where numba knows this option, which is not among those it documents."""


def leaf(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a kernel that allocates nothing: views of arrays in it cost nothing.

    Numba counts references to every view and argument with locked instructions, which took as long as the arithmetic of
    a cluster of 30 rows. A function that allocates does not compile like this.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        return numba.njit(**OPTIONS, **UNCOUNTED, **options)(function)

    return decorate
