"""Level codes: a column of ids or categories as small integers and the levels they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crosslevel.types import BoolArray, CodeArray, FloatArray, IntArray

CHUNK = 1 << 15
"""Rows per step: temporaries of this length stay in the cache of one core."""

Coded: TypeAlias = tuple[CodeArray, list[Any]]
"""Codes (n,), -1 where missing, and the levels the others stand for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Factor:
    """One grouping or categorical variable.

    Parameters
    ----------
    name : the column, or the columns joined with ``:``.
    codes : (n,) position of each row's level in `levels`, -1 where missing. Shared between users: not to be written in.
    levels : the levels that occur: categories in their own order, anything else sorted.

    Examples
    --------
    >>> from crosslevel.table.columns import Columns
    >>> factor = Columns.from_frame({"g": ["b", "a", None, "b"]}).factor("g")
    >>> factor.codes.tolist(), factor.levels
    ([1, 0, -1, 1], ('a', 'b'))
    >>> factor.sizes.tolist(), factor.n_missing
    ([1, 2], 1)
    """

    name: str
    codes: CodeArray
    levels: tuple[Any, ...]

    @property
    def n_levels(self) -> int:
        """Number of levels that occur."""
        return len(self.levels)

    @cached_property
    def n_missing(self) -> int:
        """Number of rows without a level."""
        return int(np.count_nonzero(self.codes < 0))

    @cached_property
    def sizes(self) -> IntArray:
        """Rows of each level, (n_levels,)."""
        codes = self.codes[self.codes >= 0] if self.n_missing else self.codes
        return np.bincount(codes, minlength=self.n_levels).astype(np.int64, copy=False)

    @property
    def is_continuous(self) -> bool:
        """Whether this looks like a measurement: fractional numbers, most of which occur once.

        Such a column is hardly meant as a grouping variable; whoever needs groups should refuse it.
        """
        present = len(self.codes) - self.n_missing
        fractional = any(isinstance(level, float) and not level.is_integer() for level in self.levels)
        return fractional and 2 * self.n_levels > present


def integer_codes(values: NDArray[Any]) -> Coded:
    """Codes and sorted levels of integers without missing values.

    Where the range of the values is not much larger than their number, a table indexed by value replaces hashing:
    O(n + range) with sequential passes.
    """
    if values.size == 0:
        return np.empty(0, np.int32), []
    low, high = int(values.min()), int(values.max())
    if high - low >= 2 * values.size + 65_536 or high >= 2**63:
        return factorized_codes(values)
    shift = 0 if low >= 0 and high <= 2 * values.size + 65_536 else low

    # mark the values that occur
    seen = np.zeros(high - shift + 1, dtype=np.bool_)
    for start in range(0, values.size, CHUNK):
        seen[_shifted(values[start : start + CHUNK], shift)] = True
    levels = np.flatnonzero(seen)

    # look up the rank of each value; where no value between the ends is absent, it is the distance from the lowest
    gapless = levels.size == high - low + 1
    rank = np.cumsum(seen, dtype=np.int32)
    rank -= 1
    codes = np.empty(values.size, dtype=np.int32)
    for start in range(0, values.size, CHUNK):
        rows = slice(start, start + CHUNK)
        if gapless:
            codes[rows] = _shifted(values[rows], low)
        else:
            np.take(rank, _shifted(values[rows], shift), out=codes[rows], mode="clip")
    return codes, (levels + shift).tolist()


def _shifted(values: NDArray[Any], shift: int) -> NDArray[Any]:
    """`values - shift` as indices; `values` themselves where nothing needs to change."""
    if shift == 0:
        return values if values.dtype.itemsize == 8 else values.astype(np.int64)
    return values.astype(np.int64, copy=False) - shift


def float_codes(values: FloatArray) -> Coded:
    """Codes and sorted levels of floats; whole numbers (ids that met a missing value) become integers again."""
    missing = np.isnan(values)
    any_missing = bool(missing.any())
    whole = _as_whole(values[~missing] if any_missing else values)
    if whole is None:
        return factorized_codes(values)
    return spread(integer_codes(whole), missing) if any_missing else integer_codes(whole)


def _as_whole(present: FloatArray) -> IntArray | None:
    """The values as integers, or None if one has a fraction or is too large to be exact."""
    whole = np.empty(present.size, dtype=np.int64)
    for start in range(0, present.size, CHUNK):
        part = present[start : start + CHUNK]
        if not (part.min() > -(2.0**53) and part.max() < 2.0**53):
            return None
        whole[start : start + CHUNK] = part
        if not np.array_equal(whole[start : start + CHUNK], part):
            return None
    return whole


def spread(coded: Coded, missing: BoolArray) -> Coded:
    """Codes of the present rows put back among all rows, -1 where missing."""
    present_codes, levels = coded
    if not missing.any():
        return coded
    codes = np.full(missing.size, -1, dtype=np.int32)
    codes[~missing] = present_codes
    return codes, levels


def factorized_codes(values: Any) -> Coded:
    """Codes and sorted levels by hashing; missing values get -1."""
    codes, levels = pd.factorize(values)
    return sorted_by_level(codes, levels.tolist())


def sorted_by_level(codes: NDArray[Any], levels: list[Any]) -> Coded:
    """Renumber codes so that their levels are sorted; levels of mixed types are sorted by type, then as text."""
    try:
        order = sorted(range(len(levels)), key=levels.__getitem__)
    except TypeError:
        order = sorted(range(len(levels)), key=lambda i: (type(levels[i]).__name__, str(levels[i])))
    rank = np.full(len(levels) + 1, -1, dtype=np.int32)  # the last entry answers for code -1
    rank[order] = np.arange(len(levels), dtype=np.int32)
    return rank[codes], [levels[i] for i in order]


def category_codes(codes: NDArray[Any], categories: list[Any]) -> Coded:
    """Codes of a categorical column without the categories that do not occur; their order is kept."""
    seen = np.zeros(len(categories) + 1, dtype=np.bool_)  # the last entry is marked by code -1
    for start in range(0, codes.size, CHUNK):
        seen[codes[start : start + CHUNK]] = True
    used = seen[:-1]
    if used.all():
        return codes.astype(np.int32), categories
    rank = np.full(seen.size, -1, dtype=np.int32)
    rank[:-1][used] = np.arange(np.count_nonzero(used), dtype=np.int32)
    return rank[codes], [category for category, keep in zip(categories, used, strict=True) if keep]
