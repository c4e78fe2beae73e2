"""Any data frame as named columns of numbers, level codes and missing values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd

from crosslevel.errors import ColumnNotFoundError, DataError
from crosslevel.table import series as column
from crosslevel.table.factor import Factor, integer_codes, spread
from crosslevel.types import BoolArray, FloatArray, Frame, IntArray

ALL_ROWS = slice(None)

NUMBERS = frozenset({"integer", "float", "boolean"})
"""Kinds of columns whose values can be read as numbers."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
    """A data frame, column by column. Nothing is copied until it is asked for.

    Parameters
    ----------
    names : the columns, in the order of the frame.
    n_rows : number of rows.
    labels : variable labels, for the columns that have one.
    argument : the argument the frame came in, named in messages.
    frame : a frame of pandas itself, any other as narwhals sees it; only this class looks inside.

    Examples
    --------
    >>> columns = Columns.from_frame({"x": [1.0, float("nan"), 3.0], "g": ["a", "a", "b"]})
    >>> columns.names, columns.n_rows
    (('x', 'g'), 3)
    >>> columns.numeric("x")
    array([ 1., nan,  3.])
    >>> columns.missing("x"), columns.missing("g")
    (array([False,  True, False]), None)
    """

    names: tuple[str, ...]
    n_rows: int
    labels: Mapping[str, str]
    argument: str
    frame: pd.DataFrame | nw.DataFrame[Any] = field(repr=False)
    _series: dict[str, column.Series] = field(default_factory=dict, repr=False)
    _factors: dict[str, Factor] = field(default_factory=dict, repr=False)
    _kinds: dict[str, column.Kind] = field(default_factory=dict, repr=False)

    @classmethod
    def from_frame(cls, frame: Frame, argument: str = "data") -> Columns:
        """Columns of a frame of pandas, polars, pyarrow or any other library narwhals knows, or of a dict of arrays.

        Parameters
        ----------
        frame : the data; a lazy frame is collected.
        argument : name of the argument it came in, for messages.

        Raises
        ------
        DataError : not a frame, no rows, or two columns of the same name.
        """
        if isinstance(frame, Columns):
            return frame
        known, names = _known_frame(frame, argument)
        if not names or not len(known):
            raise DataError(
                f"`{argument}` has {len(known)} rows and {len(names)} columns; it needs at least one of each."
            )
        labels = (getattr(frame, "attrs", None) or {}).get("labels") or {}
        return cls(
            names=names,
            n_rows=len(known),
            labels={name: str(labels[name]) for name in names if labels.get(name)},
            argument=argument,
            frame=known,
        )

    def require(self, names: Iterable[str], argument: str) -> None:
        """Raise `ColumnNotFoundError`, naming `argument`, unless every name is a column."""
        absent = [name for name in dict.fromkeys(names) if name not in self.names]
        if absent:
            raise ColumnNotFoundError.in_argument(argument, absent, self.names)

    def is_numeric(self, name: str) -> bool:
        """Whether a column holds numbers; truth values and categories of numbers are no numbers."""
        return self._kind(name) in {"integer", "float"}

    def holds_numbers(self, name: str) -> bool:
        """Whether a column holds numbers or truth values, so that `numeric` answers."""
        return self._kind(name) in NUMBERS

    def numeric(self, name: str, rows: slice = ALL_ROWS) -> FloatArray:
        """A column's rows as float64, NaN where missing; truth values as 0 and 1.

        A view where the frame holds float64 already: it may be read-only, and strided.

        Raises
        ------
        DataError : the column holds anything else.
        """
        series = self._column(name)
        if self._kind(name) not in NUMBERS:
            raise DataError(
                f"`{self.argument}` has {column.in_words(series)} in column {name!r}, where numbers are needed. "
                "Turn them into numbers, or use the column as a category."
            )
        return column.numbers(series, rows)

    def missing(self, name: str, rows: slice = ALL_ROWS) -> BoolArray | None:
        """Where a column has no value (None, NaN, NaT, NA), or None if it has one in every row."""
        return column.missing_values(self._column(name), rows)

    def complete(self, names: Iterable[str]) -> tuple[BoolArray | None, dict[str, int]]:
        """The rows in which no named column is missing.

        Returns
        -------
        mask : (n_rows,) true where complete; None if all rows are.
        counts : number of missing values of each named column, zeros included.

        Examples
        --------
        >>> columns = Columns.from_frame({"x": [1.0, float("nan"), 3.0], "g": ["a", "a", None]})
        >>> columns.complete(["x", "g"])
        (array([ True, False, False]), {'x': 1, 'g': 1})
        """
        mask: BoolArray | None = None
        counts: dict[str, int] = {}
        for name in dict.fromkeys(names):
            missing = self.missing(name)
            counts[name] = 0 if missing is None else int(np.count_nonzero(missing))
            if missing is not None:
                present = np.logical_not(missing)
                mask = present if mask is None else np.logical_and(mask, present, out=mask)
        return mask, counts

    def factor(self, name: str) -> Factor:
        """Level codes of a column: categories in their order, anything else sorted; computed once."""
        if name not in self._factors:
            codes, levels = column.level_codes(self._column(name))
            self._factors[name] = Factor(name=name, codes=codes, levels=tuple(levels))
        return self._factors[name]

    def integers(self, name: str) -> IntArray | None:
        """A column of whole numbers as it is, if it is one and no value is missing; else None."""
        return column.integers(self._column(name))

    def categories(self, name: str) -> list[Any]:
        """All categories of a column in their own order, those that do not occur included; empty if it has no order."""
        return column.own_categories(self._column(name))

    def part(self, rows: slice) -> Columns:
        """Some of the rows."""
        length = len(range(*rows.indices(self.n_rows)))
        part = self.frame.iloc[rows] if isinstance(self.frame, pd.DataFrame) else self.frame[rows]
        return Columns(names=self.names, n_rows=length, labels=self.labels, argument=self.argument, frame=part)

    def index(self, mask: BoolArray | None = None) -> pd.Index:
        """Row labels of a pandas frame, or row numbers of any other; of the rows where `mask` is true."""
        labels = self.frame.index if isinstance(self.frame, pd.DataFrame) else pd.RangeIndex(self.n_rows)
        return labels if mask is None else labels[mask]

    def to_pandas(self, names: Iterable[str], rows: slice = ALL_ROWS, mask: BoolArray | None = None) -> pd.DataFrame:
        """Some columns, for a range of rows, as a new pandas frame numbered from 0.

        Parameters
        ----------
        names : the columns.
        rows : the range of rows.
        mask : (n_rows,) keep only the rows where it is true.
        """
        parts = {name: column.as_pandas(self._column(name), rows) for name in dict.fromkeys(names)}
        length = len(range(*rows.indices(self.n_rows)))
        frame = pd.DataFrame(parts, index=pd.RangeIndex(length))
        return frame if mask is None else frame[mask[rows]].reset_index(drop=True)

    def _kind(self, name: str) -> column.Kind:
        """What the column holds, found once."""
        if name not in self._kinds:
            self._kinds[name] = column.kind(self._column(name))
        return self._kinds[name]

    def _column(self, name: str) -> column.Series:
        """The column, settled on a type once."""
        if name not in self._series:
            self.require([name], self.argument)
            given = self.frame[name] if isinstance(self.frame, pd.DataFrame) else self.frame.get_column(name)
            self._series[name] = column.settled(given)
        return self._series[name]


def group_names(columns: Columns, group: str) -> tuple[str, ...]:
    """The columns that the name of a group stands for: the column of that name, or those that "school:room" joins.

    Examples
    --------
    >>> columns = Columns.from_frame({"school": [1, 2], "room": [1, 1], "year: 2": [1, 2]})
    >>> group_names(columns, "school:room"), group_names(columns, "year: 2"), group_names(columns, "year: 2:room")
    (('school', 'room'), ('year: 2',), ('year: 2', 'room'))
    """
    if group in columns.names:
        return (group,)
    pieces = group.split(":")
    for k in range(len(pieces) - 1, 0, -1):
        first = ":".join(pieces[:k])
        if first in columns.names or first.strip() in columns.names or k == 1:
            name = first if first in columns.names else first.strip()
            return (name, *group_names(columns, ":".join(pieces[k:])))
    return (group.strip(),)


def group_codes(columns: Columns, names: tuple[str, ...]) -> Factor:
    """Level codes of one grouping column, or of the combinations of several.

    The combinations that occur are ordered by the first column's levels, then the second's and so on; a row that
    misses any of them has code -1.

    Parameters
    ----------
    columns : the data.
    names : one or more columns; ``("school", "class")`` is what a formula writes as ``school:class``.

    Examples
    --------
    >>> columns = Columns.from_frame({"school": [2, 2, 1, 1], "room": ["a", "b", "a", "a"]})
    >>> factor = group_codes(columns, ("school", "room"))
    >>> factor.codes.tolist(), factor.levels
    ([1, 2, 0, 0], ('1:a', '2:a', '2:b'))
    """
    first, *others = (columns.factor(name) for name in names)
    for second in others:
        first = _crossed(first, second)
    return first


def _crossed(first: Factor, second: Factor) -> Factor:
    """The combinations of two factors that occur."""
    missing = (first.codes < 0) | (second.codes < 0)
    cells = first.codes.astype(np.int64) * second.n_levels + second.codes
    codes, occurring = spread(integer_codes(cells[~missing]), missing)
    pairs = (divmod(cell, second.n_levels) for cell in occurring)
    levels = tuple(f"{first.levels[i]}:{second.levels[j]}" for i, j in pairs)
    return Factor(name=f"{first.name}:{second.name}", codes=codes, levels=levels)


def _known_frame(frame: Frame, argument: str) -> tuple[pd.DataFrame | nw.DataFrame[Any], tuple[str, ...]]:
    """A frame of pandas, or one as narwhals sees it, with text as column names; and these."""
    if isinstance(frame, Mapping):
        frame = _from_arrays(frame, argument)
    if isinstance(frame, pd.DataFrame):
        return _with_text_names(frame, argument)
    try:
        known = nw.from_native(frame)
    except ValueError as error:  # narwhals refuses duplicated names
        raise DataError(f"`{argument}` cannot be used: {' '.join(str(error).split())}. Rename or drop some.") from error
    except TypeError as error:
        raise DataError(
            f"`{argument}` must be a data frame (pandas, polars, pyarrow, ...) or a dict of arrays, "
            f"got {type(frame).__name__}. Read a file with `crosslevel.read(path)`."
        ) from error
    known = known.collect() if isinstance(known, nw.LazyFrame) else known
    return unwrapped(known), tuple(known.columns)


def unwrapped(frame: nw.DataFrame[Any]) -> pd.DataFrame | nw.DataFrame[Any]:
    """A frame of pandas itself, any other as narwhals sees it."""
    native = frame.to_native()
    return native if isinstance(native, pd.DataFrame) else frame


def _from_arrays(arrays: Mapping[Any, Any], argument: str) -> pd.DataFrame:
    try:
        return pd.DataFrame({str(name): values for name, values in arrays.items()}, copy=False)
    except ValueError as error:
        raise DataError(f"`{argument}` must hold arrays of one dimension and equal length: {error}.") from error


def _with_text_names(frame: pd.DataFrame, argument: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The same columns; names that are not text (numbers, parts of a hierarchy) are written as text; and the names."""
    given: list[Any] = frame.columns.tolist()
    names = ["_".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in given]
    refuse_duplicates(names, argument)
    return (frame if names == given else frame.set_axis(names, axis="columns")), tuple(names)


def refuse_duplicates(names: Iterable[str], argument: str) -> None:
    """Raise `DataError`, naming `argument`, if a name occurs twice."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(
            f"`{argument}` has several columns of the same name: {', '.join(map(repr, repeated))}. "
            "Rename or drop all but one of each, so that a name means one column."
        )
