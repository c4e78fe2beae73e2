"""What a formula remembers of rows that each stand for several equal ones."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from crosslevel.errors import DataError
from crosslevel.formula import external
from crosslevel.formula.components import Component, values
from crosslevel.formula.finite import refuse_undefined
from crosslevel.formula.memory import Arguments, Memory
from crosslevel.formula.rows import Rows, Source
from crosslevel.table.columns import Columns
from crosslevel.types import BoolArray, FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Repeated(Memory):
    """State as if each row were there as often as its frequency says.

    Attributes
    ----------
    source : the rows.
    times : (n_rows,) frequency of each row of the data.
    """

    source: Source
    times: FloatArray

    @classmethod
    def of(cls, columns: Columns, mask: BoolArray | None, times: FloatArray) -> "Repeated":
        """State of the used rows of some data."""
        return cls(source=Source(columns=columns, mask=mask), times=times)

    def levels(self, variable: str) -> tuple[Any, ...]:
        """Categories that occur; see `Memory`."""
        return external.used_levels(self.source, variable)

    def counts(self, variable: str, levels: tuple[Any, ...]) -> FloatArray:
        """Rows of each category; see `Memory`."""
        factor = self.source.factor((variable,))
        counts = np.zeros(len(factor.levels) + 1)
        for rows in self.source.chunks():
            counts += np.bincount(rows.codes((variable,)) + 1, self._times(rows), counts.size)
        known = dict(zip(factor.levels, counts[1:], strict=True))
        return np.array([known[level] for level in levels], dtype=np.float64)

    def cluster_means(self, argument: Component, group: tuple[str, ...]) -> tuple[tuple[Any, ...], FloatArray]:
        """Levels and means, by deviations from the first value; see `Memory`."""
        factor = self.source.factor(group)
        sums, counts, offset = np.zeros(len(factor.levels)), np.zeros(len(factor.levels)), None
        for rows in self.source.chunks():
            codes, numbers, times = rows.codes(group), values(argument, (0,), rows)[0], self._times(rows)
            offset = float(numbers[0]) if offset is None else offset
            present = codes >= 0
            sums += np.bincount(codes[present], (times * (numbers - offset))[present], sums.size)
            counts += np.bincount(codes[present], times[present], sums.size)
        with np.errstate(invalid="ignore"):
            means = sums / counts + (offset or 0.0)
        if not np.isfinite(means[counts > 0]).all():
            refuse_undefined([argument], self.source)
        return factor.levels, means

    def moments(self, argument: Component) -> tuple[float, float]:
        """Mean and standard deviation (n - 1), in two passes; see `Memory`."""
        total, count, offset = 0.0, 0.0, None
        for rows in self.source.chunks():
            numbers, times = values(argument, (0,), rows)[0], self._times(rows)
            offset = float(numbers[0]) if offset is None else offset
            total += float(times @ (numbers - offset))
            count += float(times.sum())
        mean, squares = total / max(count, 1.0) + (offset or 0.0), 0.0
        for rows in self.source.chunks():
            squares += float(self._times(rows) @ (values(argument, (0,), rows)[0] - mean) ** 2)
        spread = float(np.sqrt(squares / max(count - 1.0, 1.0)))
        if not np.isfinite(spread):
            refuse_undefined([argument], self.source)
        return mean, spread

    def external(
        self, text: str, code: str, functions: tuple[str, ...], variables: tuple[str, ...], arguments: Arguments
    ) -> external.Learnt:
        """What formulaic remembers of categories, or of nothing; it knows no frequencies. See `Memory`."""
        stateful = [name for name in external.stateful_functions(functions) if name != "C"]
        if stateful:
            raise DataError(
                f"`formula` uses `{text}` with {', '.join(f'{name}()' for name in stateful)}, which looks at all "
                "rows and knows no frequency weights. Make the column first, or repeat the rows."
            )
        return external.learn(text, code, functions, variables, self.source, arguments)

    def _times(self, rows: Rows) -> FloatArray:
        """Frequencies of some rows."""
        times = self.times[rows.part]
        return times if rows.keep is None else times[rows.keep]
