"""Level codes that hold across batches of rows: levels are numbered as they come, and sorted when all have come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crosslevel.errors import DataError
from crosslevel.table.columns import Columns
from crosslevel.table.factor import Factor, integer_codes, sorted_by_level, spread
from crosslevel.types import BoolArray, CodeArray, IntArray

WIDEST = 1 << 22
"""Ids that span fewer values than this are looked up in a table."""


@dataclass(kw_only=True, eq=False)
class ColumnBook:
    """The levels of one column, numbered in the order in which they came.

    name : the column.
    place : number of each level.
    categories : position of each category in the column's own order; empty for columns without one.
    table : the lowest value and, by value minus that, the number of each, -1 for values that are no level; None where
        values are no whole numbers, or lie too far apart. It saves looking up every level of every batch.
    """

    name: str
    place: dict[Any, int] = field(default_factory=dict)
    categories: dict[Any, int] = field(default_factory=dict)
    table: tuple[int, CodeArray] | None = None

    def codes(self, columns: Columns, *, grow: bool) -> CodeArray:
        """Numbers of the levels of some rows, (n,); -1 where missing, or not known and not to be added."""
        values = columns.integers(self.name)
        if values is not None and values.size:
            table = self._tabulated(int(values.min()), int(values.max()))
            if table is not None:
                return self._looked_up(values, *table, grow=grow)
        factor = columns.factor(self.name)
        if grow:
            self.table = None
            self._note_order(columns.categories(self.name))
            places = [self.place.setdefault(level, len(self.place)) for level in factor.levels]
        else:
            places = [self.place.get(level, -1) for level in factor.levels]
        return np.array([*places, -1], dtype=np.int32)[factor.codes]

    def _looked_up(self, values: IntArray, low: int, table: CodeArray, *, grow: bool) -> CodeArray:
        """Numbers of the levels of whole numbers that the table covers."""
        places = values - low
        codes = table[places]
        if grow and codes.min() < 0:
            new, known = np.unique(values[codes < 0]), len(self.place)
            numbers = range(known, known + len(new))
            self.place.update(zip(new.tolist(), numbers, strict=True))
            table[new - low] = numbers
            codes = table[places]
        return codes

    def _tabulated(self, low: int, high: int) -> tuple[int, CodeArray] | None:
        """The table, made to cover values from `low` to `high` besides the levels so far.

        It is replaced as a whole, because threads may look up levels of one book at the same time.
        """
        known = self.table
        if known is not None and known[0] <= low and high < known[0] + len(known[1]):
            return known
        if not all(type(level) is int for level in self.place):
            return None
        if self.place:
            low, high = min(low, min(self.place)), max(high, max(self.place))
        if high - low >= WIDEST or high >= 2**63:
            return None
        table = np.full(high - low + 1, -1, dtype=np.int32)
        levels = np.fromiter(self.place, dtype=np.int64, count=len(self.place))
        table[levels - low] = np.arange(len(levels), dtype=np.int32)
        self.table = low, table
        return self.table

    def merge(self, other: ColumnBook) -> list[int]:
        """Take over the levels of another book; returns the number that each of them has here."""
        self.table = None
        self._note_order(other.categories)
        return [self.place.setdefault(level, len(self.place)) for level in other.place]

    def sorted(self) -> tuple[list[Any], IntArray]:
        """The levels as they are named in results, by number; and the rank of each."""
        levels = list(self.place)
        if any(type(level) is float for level in levels):  # a batch of whole numbers among others
            levels = [float(level) for level in levels]
        if self.categories:
            order = np.argsort([self.categories[level] for level in levels])
            rank = np.empty(len(levels), dtype=np.int64)
            rank[order] = np.arange(len(levels))
            return levels, rank
        return levels, sorted_by_level(np.arange(len(levels)), levels)[0].astype(np.int64)

    def _note_order(self, categories: Iterable[Any]) -> None:
        """Categories that were not there before come after those that were."""
        for category in categories:
            self.categories.setdefault(category, len(self.categories))


@dataclass(kw_only=True, eq=False)
class LevelBook:
    """The levels of one grouping column, or the combinations of several, numbered in the order in which they came.

    Examples
    --------
    >>> book = LevelBook.of(("g",))
    >>> for ids in (["c", "a"], ["b", "a"]):
    ...     print(book.codes(Columns.from_frame({"g": ids})).tolist())
    [1, 0]
    [2, 0]
    >>> settled = book.settle()
    >>> settled.levels, settled.factor(Columns.from_frame({"g": ["b", "c"]})).codes.tolist()
    (('a', 'b', 'c'), [1, 2])
    """

    books: tuple[ColumnBook, ...]
    cells: dict[tuple[int, ...], int] = field(default_factory=dict)

    @classmethod
    def of(cls, names: Sequence[str]) -> LevelBook:
        """No levels yet, of these columns."""
        return cls(books=tuple(ColumnBook(name=name) for name in names))

    @property
    def size(self) -> int:
        """Number of levels so far."""
        return len(self.books[0].place) if len(self.books) == 1 else len(self.cells)

    def codes(self, columns: Columns, *, grow: bool = True) -> CodeArray:
        """Numbers of the levels of some rows, (n,); -1 where missing, or not known and not to be added."""
        parts = [book.codes(columns, grow=grow) for book in self.books]
        if len(parts) == 1:
            return parts[0]
        widths = [max(len(book.place), 1) for book in self.books]
        cell, missing = np.zeros(columns.n_rows, dtype=np.int64), np.zeros(columns.n_rows, dtype=np.bool_)
        for part, width in zip(parts, widths, strict=True):
            cell = cell * width + part
            missing |= part < 0
        local, occurring = spread(integer_codes(cell[~missing]), missing)
        keys = list(zip(*(array.tolist() for array in np.unravel_index(occurring, widths)), strict=True))
        if grow:
            places = [self.cells.setdefault(key, len(self.cells)) for key in keys]
        else:
            places = [self.cells.get(key, -1) for key in keys]
        return np.array([*places, -1], dtype=np.int32)[local]

    def merge(self, other: LevelBook) -> IntArray:
        """Take over the levels of another book; returns the number (other.size,) that each of them has here."""
        places = [mine.merge(its) for mine, its in zip(self.books, other.books, strict=True)]
        if len(places) == 1:
            return np.array(places[0], dtype=np.int64)
        keys = (tuple(place[i] for place, i in zip(places, key, strict=True)) for key in other.cells)
        return np.array([self.cells.setdefault(key, len(self.cells)) for key in keys], dtype=np.int64)

    def settle(self, used: BoolArray | None = None) -> SettledLevels:
        """Sort the levels as `group_codes` does.

        Parameters
        ----------
        used : (size,) the levels to keep; None for all.
        """
        found = [book.sorted() for book in self.books]
        if len(found) == 1:
            levels, rank = found[0]
            order = np.argsort(rank)
        else:
            keys = list(self.cells)
            levels = [":".join(str(names[i]) for (names, _), i in zip(found, key, strict=True)) for key in keys]
            ranked = [tuple(rank[i] for (_, rank), i in zip(found, key, strict=True)) for key in keys]
            order = np.array(sorted(range(len(keys)), key=ranked.__getitem__), dtype=np.int64)
        if used is not None:
            order = order[used[order]]
        place = np.full(self.size + 1, -1, dtype=np.int32)  # the last entry answers for code -1
        place[order] = np.arange(len(order), dtype=np.int32)
        return SettledLevels(book=self, order=order, place=place, levels=tuple(levels[i] for i in order))


@dataclass(frozen=True, kw_only=True, eq=False)
class SettledLevels:
    """All levels of a grouping factor in their final order.

    book : the levels as they were numbered when they came.
    order : (levels,) number in the book of each level.
    place : (book.size + 1,) position of each number of the book, -1 for levels that were left out and for missing.
    levels : the levels in order.
    """

    book: LevelBook
    order: IntArray
    place: CodeArray
    levels: tuple[Any, ...]

    @property
    def name(self) -> str:
        """The columns joined with ``:``."""
        return ":".join(book.name for book in self.book.books)

    def factor(self, columns: Columns, mask: BoolArray | None = None) -> Factor:
        """Level codes of some rows; -1 where missing or not among the levels.

        Parameters
        ----------
        columns : the rows.
        mask : (n_rows,) true where a row is used, so that its level must be among these; None if all are.

        Raises
        ------
        DataError : a used row has another level.
        """
        codes = self.place[self.book.codes(columns, grow=False)]
        used = codes if mask is None else codes[mask]
        if used.size and used.min() < 0:
            raise DataError(
                f"`{columns.argument}` has a value of {self.name!r} that it did not have when it was read before. "
                "The data must stay the same while a model is fitted: make a copy of them, and fit that."
            )
        return Factor(name=self.name, codes=codes, levels=self.levels)
