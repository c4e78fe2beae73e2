"""How far a search has come: one line on the standard error stream."""

import sys
import time
from types import TracebackType

PATIENCE = 1.0
"""Seconds between two reports; a search that takes less says nothing."""


class Progress:
    """Writes what a search is doing, now and then.

    Attributes
    ----------
    wanted : whether to write anything.
    """

    def __init__(self, *, wanted: bool) -> None:
        self.wanted, self._last, self._written = wanted, time.monotonic(), False

    def __enter__(self) -> "Progress":
        return self

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say what is being done and how much of it is."""
        now = time.monotonic()
        if self.wanted and now - self._last >= PATIENCE:
            sys.stderr.write(f"\rcrosslevel: select: {what}: {done:,} of {total:,} candidates\x1b[K")
            sys.stderr.flush()
            self._last, self._written = now, True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the line."""
        if self._written:
            sys.stderr.write("\n")
            sys.stderr.flush()
