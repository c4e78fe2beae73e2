"""What computed a study."""

import platform
from importlib.metadata import version

PACKAGES = ("crosslevel", "numpy", "scipy", "numba")
"""Packages whose versions may change the last digits."""


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that compute.

    Examples
    --------
    >>> list(versions())[:2]
    ['Python', 'crosslevel']
    """
    return {"Python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
