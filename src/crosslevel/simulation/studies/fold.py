"""Batches in the order of their replications, summed up as they come."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from crosslevel.simulation.estimators.estimates import Estimates
from crosslevel.simulation.studies.batches import joined, section
from crosslevel.simulation.studies.condition import Condition
from crosslevel.simulation.studies.description import plain
from crosslevel.simulation.studies.tally import PIECE, Tally
from crosslevel.types import FloatArray

Found: TypeAlias = tuple[Estimates, ...]
"""Estimates of the same replications, by estimator."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Outline:
    """What results of a condition are labelled with, and compared to.

    Attributes
    ----------
    number : of the condition.
    levels : level of each factor.
    truth : true value of each term, by its name.
    intervals : names of the intervals of each estimator, by its name.
    """

    number: int
    levels: Mapping[str, Any]
    truth: Mapping[str, float]
    intervals: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, condition: Condition) -> "Outline":
        """That of a condition."""
        return cls(
            number=condition.number,
            levels=dict(condition.levels),
            truth=dict(zip(condition.terms, condition.truth.tolist(), strict=True)),
            intervals={one.name: tuple(one.interval_names) for one in condition.estimators},
        )

    @property
    def values(self) -> FloatArray:
        """(T,) true values."""
        return np.array(list(self.truth.values()), dtype=np.float64)

    def written(self) -> dict[str, Any]:
        """It as plain values."""
        return {name: plain(value) for name, value in vars(self).items()}

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> "Outline":
        """It from plain values."""
        return cls(
            number=written["number"],
            levels=written["levels"],
            truth=written["truth"],
            intervals={name: tuple(kinds) for name, kinds in written["intervals"].items()},
        )


class Fold:
    """Tallies of the replications 0 to `reps` - 1 of one condition; what comes early waits for its turn.

    Attributes
    ----------
    outline : the condition.
    reps : replications wanted.
    tallies : by estimator, of the pieces that are complete.
    """

    def __init__(self, outline: Outline, reps: int) -> None:
        self.outline, self.reps = outline, reps
        terms = len(outline.truth)
        self.tallies = [Tally.none(terms, len(kinds)) for kinds in outline.intervals.values()]
        self._waiting: dict[int, Callable[[], Found]] = {}
        self._open: list[Found] = []  # of the piece that is not complete yet
        self._next, self._held = 0, 0

    def add(self, start: int, found: Callable[[], Found]) -> None:
        """Replications from `start` on, which are asked for when their turn comes."""
        self._waiting[start] = found
        while self._next in self._waiting:
            self._take(self._waiting.pop(self._next)())

    @property
    def complete(self) -> bool:
        """Whether all replications are there."""
        return self._next == self.reps

    def _take(self, found: Found) -> None:
        """Sum up the pieces that these replications complete."""
        n, used = len(found[0]), 0
        while used < n and self._next < self.reps:
            more = min(PIECE - self._held, n - used, self.reps - self._next)
            self._open.append(tuple(section(one, used, used + more) for one in found))
            used, self._held, self._next = used + more, self._held + more, self._next + more
            if self._held == PIECE or self._next == self.reps:
                self._close()

    def _close(self) -> None:
        """Sum up one piece."""
        truth = self.outline.values
        whole = [joined([part[k] for part in self._open]) for k in range(len(self.tallies))]
        self.tallies = [tally.with_piece(one, truth) for tally, one in zip(self.tallies, whole, strict=True)]
        self._open, self._held = [], 0


def spans(reps: int, batch: int, there: Sequence[tuple[int, int]]) -> tuple[list[tuple[int, int]], list[int]]:
    """What is still to be computed, and which of what is there is used.

    Parameters
    ----------
    reps : replications wanted.
    batch : replications in a batch.
    there : first replication, and that after the last, of what is there, sorted; it may overlap.

    Returns
    -------
    lacking : spans to compute, of at most `batch` replications.
    used : positions in `there`, without overlap; the last may go beyond `reps`.
    """
    lacking: list[tuple[int, int]] = []
    used: list[int] = []
    at = 0
    for k, (start, stop) in enumerate([*there, (reps, reps)]):
        if start < at or start > reps or (start == reps and k < len(there)):
            continue
        lacking += [(first, min(first + batch, start)) for first in range(at, start, batch)]
        if k < len(there):
            used.append(k)
        at = max(at, stop)
    return lacking, used
