"""How far an analysis has come: one line for each step on the standard error stream."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from crosslevel.errors import ConvergenceWarning, DataWarning


class Steps:
    """Counts steps, and names each as it begins."""

    def __init__(self, *, total: int, shown: bool) -> None:
        self.total, self.shown, self.done = total, shown, 0

    def __call__(self, words: str) -> None:
        """Begin the next step."""
        self.done += 1
        if self.shown:
            sys.stderr.write(f"crosslevel: analysis, {self.done} of {self.total}: {words}\n")
            sys.stderr.flush()


@contextmanager
def recorded() -> Iterator[list[str]]:
    """Collect this library's warnings, each once, for the record of the analysis; others are shown as ever."""
    found: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield found
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning | DataWarning):
            if str(warning.message) not in found:
                found.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
