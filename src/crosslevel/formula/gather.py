"""One pass over batches of rows for all that a formula has to remember: sums that parts of the rows add up to."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from crosslevel.formula.components import Component, values
from crosslevel.formula.evaluate import bind
from crosslevel.kernels.moments import accumulate
from crosslevel.table.book import LevelBook, SettledLevels
from crosslevel.table.columns import Columns
from crosslevel.types import CodeArray, FloatArray, IntArray

Names = tuple[str, ...]
Key = tuple[str, bool, Names]
"""The text of a component, whether it is a bare column, and the grouping columns; none for all rows together."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Wanted:
    """What one pass is to find.

    variables : the columns in which a row that is used has values.
    levels : columns, or combinations of them, whose levels are to be found.
    sums : components whose moments are to be found, in each group or over all rows.
    known : levels that were found before.
    """

    variables: Names
    levels: dict[Names, None] = field(default_factory=dict)
    sums: dict[Key, Component] = field(default_factory=dict)
    known: Mapping[Names, SettledLevels] = field(default_factory=dict)

    @property
    def groups(self) -> tuple[Names, ...]:
        """All (combinations of) columns whose level codes are needed."""
        return tuple(dict.fromkeys([*self.levels, *(group for *_, group in self.sums if group)]))


@dataclass(kw_only=True, eq=False)
class Sums:
    """Count, mean and sum of squared deviations of one component, (J,) each, means measured from `origin`.

    Parts are merged by Chan, Golub & LeVeque (1983).
    """

    origin: float = np.nan
    count: FloatArray = field(default_factory=lambda: np.zeros(0))
    mean: FloatArray = field(default_factory=lambda: np.zeros((0, 1)))
    scatter: FloatArray = field(default_factory=lambda: np.zeros((0, 1, 1)))

    def add(self, numbers: FloatArray, codes: CodeArray, size: int) -> None:
        """Add rows (L,) of groups `codes` (L,), numbered below `size`."""
        if np.isnan(self.origin):
            self.origin = float(numbers[0]) if np.isfinite(numbers[0]) else 0.0
        self._widen(size)
        block = np.ascontiguousarray(numbers, dtype=np.float64)[None, :]
        accumulate(block, codes, np.array([self.origin]), self.count, self.mean, self.scatter)

    def merge(self, other: "Sums", place: IntArray | None, size: int) -> None:
        """Add the sums of other rows; group j of theirs is group place[j] of `size` here."""
        self.origin = other.origin if np.isnan(self.origin) else self.origin
        self._widen(size)
        at = slice(0, len(other.count)) if place is None else place
        before, added = self.count[at], other.count
        both = np.maximum(before + added, 1.0)
        shift = other.mean[:, 0] + (other.origin - self.origin) - self.mean[at, 0]
        shift[added == 0] = 0.0
        self.mean[at, 0] += shift * added / both
        self.scatter[at, 0, 0] += other.scatter[:, 0, 0] + before * added / both * shift**2
        self.count[at] = before + added

    def arranged(self, order: IntArray | None) -> "Sums":
        """The same sums with the groups in another order, some perhaps left out."""
        if order is None:
            return self
        return Sums(origin=self.origin, count=self.count[order], mean=self.mean[order], scatter=self.scatter[order])

    def _widen(self, size: int) -> None:
        more = size - len(self.count)
        if more > 0:
            self.count = np.concatenate([self.count, np.zeros(more)])
            self.mean = np.concatenate([self.mean, np.zeros((more, 1))])
            self.scatter = np.concatenate([self.scatter, np.zeros((more, 1, 1))])


@dataclass(kw_only=True, eq=False)
class Found:
    """What was found in some of the rows; `merge` adds what was found in others.

    wanted : what was looked for.
    books : levels that were not known before.
    counts : used rows of each of them.
    sums : moments, by what was wanted.
    """

    wanted: Wanted
    books: dict[Names, LevelBook]
    counts: dict[Names, FloatArray]
    sums: dict[Key, Sums]

    @classmethod
    def nothing(cls, wanted: Wanted) -> "Found":
        """No rows yet."""
        new = [names for names in wanted.groups if names not in wanted.known]
        return cls(
            wanted=wanted,
            books={names: LevelBook.of(names) for names in new},
            counts={names: np.zeros(0) for names in new},
            sums={key: Sums() for key in wanted.sums},
        )

    def add(self, columns: Columns) -> None:
        """Add the rows of a batch."""
        mask, _ = columns.complete(self.wanted.variables)
        factors = {names: known.factor(columns, mask) for names, known in self.wanted.known.items()}
        codes = {names: factor.codes for names, factor in factors.items()}
        codes |= {names: book.codes(columns) for names, book in self.books.items()}
        if mask is not None:
            codes = {names: array[mask] for names, array in codes.items()}
        for names, book in self.books.items():
            self.counts[names] = _widened(self.counts[names], book.size)
            self.counts[names] += np.bincount(codes[names], minlength=book.size)
        source = bind(tuple(self.wanted.sums.values()), (), None, columns, mask, factors).source
        rows = source.rows(slice(None))
        if rows.size == 0:
            return
        together = np.zeros(rows.size, dtype=np.int32)
        with np.errstate(all="ignore"):
            for key, argument in self.wanted.sums.items():
                group = key[-1]
                numbers = values(argument, (0,), rows)[0]
                self.sums[key].add(numbers, codes[group] if group else together, self._size(group))

    def merge(self, other: "Found") -> "Found":
        """Add what was found in other rows; returns itself."""
        places = {names: book.merge(other.books[names]) for names, book in self.books.items()}
        for names, place in places.items():
            self.counts[names] = _widened(self.counts[names], self.books[names].size)
            self.counts[names][place] += other.counts[names]
        for key, sums in self.sums.items():
            if len(other.sums[key].count):
                sums.merge(other.sums[key], self._place(places, key[-1], other.sums[key]), self._size(key[-1]))
        return self

    def settled(self) -> Iterator[tuple[Names, SettledLevels]]:
        """The levels of the used rows that were not known before."""
        for names, book in self.books.items():
            yield names, book.settle(self.counts[names] > 0)

    def _size(self, group: Names) -> int:
        """Number of groups so far."""
        if not group:
            return 1
        return self.books[group].size if group in self.books else len(self.wanted.known[group].levels)

    @staticmethod
    def _place(places: Mapping[Names, IntArray], group: Names, sums: Sums) -> IntArray | None:
        """Where the groups of other sums are here; None if they are numbered alike."""
        return places[group][: len(sums.count)] if group in places else None


def gather(batches: Iterable[Columns], wanted: Wanted) -> Found:
    """Find what is wanted in some batches of rows."""
    found = Found.nothing(wanted)
    for columns in batches:
        found.add(columns)
    return found


def merge(first: Found, second: Found) -> Found:
    """What was found in two parts of the rows, those of `first` before those of `second`."""
    return Found.nothing(first.wanted).merge(first).merge(second)


def _widened(array: FloatArray, size: int) -> FloatArray:
    """An array with zeros at its end."""
    more = size - len(array)
    return np.concatenate([array, np.zeros(more)]) if more > 0 else array
