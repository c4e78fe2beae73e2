"""How much memory is left on this machine, and what to say when that is not enough."""

import os
from pathlib import Path

from crosslevel.errors import MemoryShortageError

GIB = 2**30

SMALL = 2**22
"""Bytes that are not asked about: reading how much is left takes longer than small models do."""


def available_memory() -> int | None:
    """Bytes that can still be used: of the machine, or of the group of processes that has a limit; None if unknown."""
    found = [_of_machine(), _of_group()]
    return min((value for value in found if value is not None), default=None)


def require_memory(needed: float, what: str, remedy: str) -> None:
    """Refuse work that needs more memory than there is, small amounts aside.

    Parameters
    ----------
    needed : bytes.
    what : needs them, for the message.
    remedy : what to do instead.

    Raises
    ------
    MemoryShortageError : the memory is too small.
    """
    if needed <= SMALL:
        return
    available = available_memory()
    if available is not None and needed > available:
        raise MemoryShortageError(
            f"{what} would need about {needed / GIB:.1f} GiB of memory, and {available / GIB:.1f} GiB are free. "
            f"{remedy}"
        )


def _of_machine() -> int | None:
    """Free memory of the machine, what the system would give back included."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    names = os.sysconf_names if hasattr(os, "sysconf_names") else {}
    if "SC_AVPHYS_PAGES" in names:
        return int(os.sysconf("SC_AVPHYS_PAGES")) * int(os.sysconf("SC_PAGE_SIZE"))
    return None


def _of_group() -> int | None:
    """What is left of a limit that the system sets for a group of processes, as in a container."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    # what is kept of files that were read would be given back
    kept = sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    return None if limit == "max" else max(int(limit) - used + kept, 0)
