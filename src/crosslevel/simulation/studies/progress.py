"""How far a study has come, and how long it still takes: one line on the standard error stream."""

import sys
import time

PATIENCE = 1.0
"""Seconds between two reports; what takes less says nothing."""


class Progress:
    """Counts replications, and writes now and then how many there are and when the rest will be done.

    Attributes
    ----------
    total : replications to compute, of all conditions.
    shown : whether to write anything.
    done : those that are computed.
    """

    def __init__(self, *, total: int, shown: bool) -> None:
        self.total, self.shown, self.done = total, shown, 0
        self._began = self._last = time.monotonic()
        self._first: tuple[float, int] | None = None  # the first batch takes longer: it makes things ready
        self._written = False

    def add(self, count: int) -> None:
        """So many more; write a line if the last one is old enough."""
        self.done += count
        now = time.monotonic()
        if self._first is None:
            self._first = now, self.done
        if self.shown and now - self._last >= PATIENCE and self.done < self.total:
            since, before = self._first if self.done > self._first[1] else (self._began, 0)
            left = (now - since) / (self.done - before) * (self.total - self.done)
            self._write(f"{self._counted}, {duration(left)} left")
            self._last, self._written = now, True

    def end(self, failed: str = "") -> None:
        """End the line; say what failed, if anything did, also where no line was begun."""
        if self._written:
            self._write(f"{self._counted} in {duration(time.monotonic() - self._began)}\n")
        if self.shown and failed:
            self._write(f"{failed}\n")
        self._written = False

    def stopped(self, words: str) -> None:
        """End the line of a study that did not come to its end."""
        if self._written:
            sys.stderr.write("\n")
        if self.shown:
            self._write(f"stopped after {self._counted}. {words}\n")
        self._written = False

    @property
    def _counted(self) -> str:
        return f"{self.done:,} of {self.total:,} replications"

    def _write(self, words: str) -> None:
        ending = "" if words.endswith("\n") else "\x1b[K"
        sys.stderr.write(f"\rcrosslevel: study: {words.rstrip()}{ending or chr(10)}")
        sys.stderr.flush()


def duration(seconds: float) -> str:
    """A time in the two largest units.

    Examples
    --------
    >>> duration(42.4), duration(754), duration(7500)
    ('42 s', '13 min', '2 h 5 min')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
