"""Widths of intervals counted on a fine logarithmic scale, so that medians need no list of all widths."""

from dataclasses import dataclass
from math import ceil, floor

import numpy as np

from crosslevel.types import BoolArray, FloatArray, IntArray

STEP = 1e-3
"""Ratio of neighbouring ends of bins, minus 1: a quantile is within 0.1 % of that of the list."""

LEAST, MOST = 1e-30, 1e30
"""Widths beyond are counted at these ends, and given out as 0 and infinite."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Widths:
    """How many widths of each of K columns lie in each bin; counts add up in any order.

    Attributes
    ----------
    first : number of the first bin; bin k holds widths from exp(k STEP) to exp((k + 1) STEP).
    counts : (K, B).
    """

    first: int
    counts: IntArray

    @classmethod
    def none(cls, columns: int) -> "Widths":
        """Nothing counted yet."""
        return cls(first=0, counts=np.zeros((columns, 0), dtype=np.int64))

    def with_values(self, values: FloatArray, counted: BoolArray) -> "Widths":
        """With more values (R, K), of which the counted ones are added."""
        if not counted.any():
            return self
        r, k = np.nonzero(counted)
        bins = np.floor(np.log(np.clip(values[r, k], LEAST, MOST)) / STEP).astype(np.int64)
        low, high = int(bins.min()), int(bins.max()) + 1
        n = self.counts.shape[1]
        first, last = (min(self.first, low), max(self.first + n, high)) if n else (low, high)
        counts = np.zeros((len(self.counts), last - first), dtype=np.int64)
        counts[:, self.first - first : self.first - first + n] = self.counts
        np.add.at(counts, (k, bins - first), 1)
        return Widths(first=first, counts=counts)

    def quantile(self, column: int, share: float) -> float:
        """A quantile of one column, the widths in a bin taken as evenly spread; NaN if there is none.

        That of the order statistic of rank `share` n + 1/2, as a median's.
        """
        counts = self.counts[column]
        n = int(counts.sum())
        if n == 0:
            return float("nan")
        rank = min(max(share * n + 0.5, 1.0), float(n))
        below, above = floor(rank), ceil(rank)
        ends = np.cumsum(counts)
        low, high = (self._ordered(counts, ends, which) for which in (below, above))
        return low if low == high else low + (rank - below) * (high - low)

    def _ordered(self, counts: IntArray, ends: IntArray, which: int) -> float:
        """The order statistic of this rank, from 1."""
        k = int(np.searchsorted(ends, which))
        inside = (which - (int(ends[k]) - int(counts[k])) - 0.5) / int(counts[k])
        value = float(np.exp((self.first + k + inside) * STEP))
        if value >= MOST / (1.0 + STEP):
            return float("inf")
        return 0.0 if value <= LEAST * (1.0 + STEP) else value
