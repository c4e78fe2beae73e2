"""Data columns as the formula layer reads them: the used rows of a slice, bound to remembered levels."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from crosslevel.table.columns import Columns, group_codes
from crosslevel.table.factor import Factor
from crosslevel.types import BoolArray, CodeArray, FloatArray

CHUNK = 1 << 15
"""Rows read at a time where all rows have to be gone through: the temporaries stay in the cache of a core."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """Data, the rows of it that are used, and what was looked up in them once.

    columns : the data.
    mask : (n_rows,) true where a row is used; None if all are.
    factors : level codes of (combinations of) columns.
    is_batch : whether these are a part of the rows of longer data.
    tables : for each record of remembered state, its values by level *of these data*, a NaN for missing levels last.
    """

    columns: Columns
    mask: BoolArray | None
    factors: dict[tuple[str, ...], Factor] = field(default_factory=dict)
    is_batch: bool = False
    tables: dict[object, FloatArray] = field(default_factory=dict)

    def factor(self, names: tuple[str, ...]) -> Factor:
        """Level codes of the combinations of some columns, computed once."""
        if names not in self.factors:
            self.factors[names] = group_codes(self.columns, names)
        return self.factors[names]

    @property
    def rows_in_words(self) -> str:
        """What the rows are called in messages that count them."""
        return "used rows of one batch" if self.is_batch else "used rows"

    def rows(self, part: slice) -> "Rows":
        """The used rows of a slice."""
        start, stop, _ = part.indices(self.columns.n_rows)
        part = slice(start, max(start, stop))
        keep = None if self.mask is None else self.mask[part]
        size = part.stop - part.start if keep is None else int(np.count_nonzero(keep))
        return Rows(source=self, part=part, keep=None if size == part.stop - part.start else keep, size=size)

    def chunks(self) -> Iterator["Rows"]:
        """All used rows, in order, some at a time."""
        for start in range(0, self.columns.n_rows, CHUNK):
            rows = self.rows(slice(start, start + CHUNK))
            if rows.size:
                yield rows

    def counts(self, names: tuple[str, ...]) -> FloatArray:
        """Number of used rows of each level, (levels,)."""
        factor = self.factor(names)
        if self.mask is None:
            return factor.sizes.astype(np.float64)
        counts = np.zeros(len(factor.levels) + 1)
        for rows in self.chunks():
            counts += np.bincount(rows.codes(names) + 1, minlength=counts.size)
        return counts[1:]


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """The used rows of one slice of the data.

    part : the slice.
    keep : which rows of the slice are used; None if all are.
    size : number of used rows.
    """

    source: Source
    part: slice
    keep: BoolArray | None
    size: int

    def numeric(self, name: str) -> FloatArray:
        """Values of a column, (size,)."""
        values = self.source.columns.numeric(name, self.part)
        return values if self.keep is None else values[self.keep]

    def codes(self, names: tuple[str, ...]) -> CodeArray:
        """Level codes of (the combinations of) columns, (size,), -1 where missing."""
        codes = self.source.factor(names).codes[self.part]
        return codes if self.keep is None else codes[self.keep]

    def n_missing(self, name: str) -> int:
        """Number of rows in which a column has no value."""
        missing = self.source.columns.missing(name, self.part)
        if missing is None:
            return 0
        return int(np.count_nonzero(missing if self.keep is None else missing[self.keep]))
