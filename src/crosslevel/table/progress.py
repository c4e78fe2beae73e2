"""How far a long reading has come: one line on the standard error stream."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from crosslevel.table.columns import Columns

PATIENCE = 1.0
"""Seconds between two reports; a reading that takes less says nothing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Progress:
    """Counts the rows of one pass.

    what : what the pass is for, as in "cross-products".
    shown : whether to write anything.
    stream : where to write; the standard error stream if None.
    """

    what: str
    shown: bool = True
    stream: TextIO | None = None

    def counted(self, batches: Iterator[Columns], total: int | None) -> Iterator[Columns]:
        """The batches as they are, while their rows are counted; `total` is their number, if known."""
        done, last, written = 0, time.monotonic(), False
        try:
            for batch in batches:
                yield batch
                done += batch.n_rows
                now = time.monotonic()
                if self.shown and now - last >= PATIENCE:
                    self._write(f"\r{self._line(done, total)}")
                    last, written = now, True
            if written:
                self._write(f"\r{self._line(done, total)}")
        finally:
            if written:
                self._write("\n")

    def say(self, words: str) -> None:
        """Write a whole line."""
        if self.shown:
            self._write(f"crosslevel: {self.what}: {words}\n")

    def _line(self, done: int, total: int | None) -> str:
        of = "" if total is None else f" of {total:,} ({done / max(total, 1):.0%})"
        return f"crosslevel: {self.what}: {done:,}{of} rows"

    def _write(self, text: str) -> None:
        stream = sys.stderr if self.stream is None else self.stream
        stream.write(text)
        stream.flush()
