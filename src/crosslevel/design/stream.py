"""Cross-products by cluster from rows that are read in batches: memory does not grow with the rows."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from crosslevel.design.products import CrossProducts, Moments
from crosslevel.errors import DataError
from crosslevel.formula import Formula, Spec
from crosslevel.formula.streamed import learn_streamed
from crosslevel.table import Columns
from crosslevel.table.batches import RowSource, used_rows
from crosslevel.table.book import LevelBook, SettledLevels
from crosslevel.table.factor import Factor
from crosslevel.table.progress import Progress
from crosslevel.types import BoolArray, CodeArray, FloatArray, IntArray

RUN = 8
"""Rows are sorted by cluster where fewer than this come in a row from one cluster."""

CHUNK = 1 << 14
"""Rows evaluated at a time where they need no sorting: they stay in the processor's cache."""

Names = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What is to be summed: the same for every batch.

    spec : the formula with what it remembers.
    group : the grouping columns.
    known : levels that are known already.
    """

    spec: Spec
    group: Names
    known: Mapping[Names, SettledLevels]

    @property
    def names(self) -> Names:
        """The design columns and, last, the response."""
        return (*(column.name for column in self.spec.columns), self.spec.response_name)


@dataclass(kw_only=True, eq=False)
class Tally:
    """Sums over some of the rows.

    task : what is summed.
    book : the clusters, if they were not known before.
    moments : of the design columns by cluster; None before the first used row.
    read, used : rows.
    missing : missing values by column.
    """

    task: Task
    book: LevelBook
    moments: Moments | None = None
    read: int = 0
    used: int = 0
    missing: dict[str, int] = field(default_factory=dict)

    def add(self, columns: Columns) -> None:
        """Add a batch of rows."""
        spec, group = self.task.spec, self.task.group
        mask, counts = columns.complete(spec.variables)
        self.read += columns.n_rows
        self.used += columns.n_rows if mask is None else int(np.count_nonzero(mask))
        self.missing = {name: self.missing.get(name, 0) + count for name, count in counts.items()}
        factors = {names: known.factor(columns, mask) for names, known in self.task.known.items()}
        codes = factors[group].codes if group in factors else self.book.codes(columns)
        codes = codes if mask is None else codes[mask]
        mixed = bool(RUN * np.count_nonzero(codes[1:] != codes[:-1]) > len(codes))
        done = 0
        for block in _evaluated(spec, columns, mask, factors, columns.n_rows if mixed else CHUNK):
            self._add(block, codes[done : done + block.shape[1]], mixed=mixed)
            done += block.shape[1]

    def result(self) -> CrossProducts | None:
        """The sums, in which clusters have their numbers as names; None if no row is used."""
        if self.moments is None:
            return None
        size = self.n_clusters
        return _resized(self.moments, size).products(names=self.task.names, levels=tuple(range(size)))

    @property
    def n_clusters(self) -> int:
        """Clusters so far."""
        known = self.task.known.get(self.task.group)
        return self.book.size if known is None else len(known.levels)

    def _add(self, block: FloatArray, codes: CodeArray, *, mixed: bool) -> None:
        """Add design columns with the response last, (m + 1, L), of clusters (L,)."""
        from crosslevel.kernels.moments import order_by_code

        n_clusters = self.n_clusters
        if self.moments is None:
            self.moments = Moments.starting(block, n_clusters)
        elif n_clusters > len(self.moments.count):
            self.moments = _resized(self.moments, max(n_clusters, 3 * len(self.moments.count) // 2))
        if mixed:
            order = np.empty(len(codes), dtype=np.int64)
            order_by_code(codes, np.zeros(n_clusters + 1, dtype=np.int64), order)
            block, codes = np.take(block, order, axis=1), codes[order]
        self.moments.add(block, codes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Sums over some of the rows that can be added to those over others; see `Tally`."""

    book: LevelBook
    products: CrossProducts | None
    read: int
    used: int
    missing: dict[str, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Streamed:
    """What was read of the data for one model.

    spec : the formula with what it remembers.
    levels : the clusters of the one grouping factor.
    known : the levels that the formula's columns depend on.
    products : cross-products of the design columns and, last, the response.
    read, used : rows.
    missing : number of missing values, for the columns that have any.
    """

    spec: Spec
    levels: SettledLevels
    known: dict[Names, SettledLevels]
    products: CrossProducts
    read: int
    used: int
    missing: dict[str, int]


def stream_products(formula: Formula, group: Names, source: RowSource, *, progress: bool = True) -> Streamed:
    """Learn a formula and sum its cross-products by cluster, reading the rows at most twice.

    Parameters
    ----------
    formula : the parsed formula.
    group : the columns of its one grouping factor.
    source : the data.
    progress : whether to report how far the reading has come.

    Raises
    ------
    DataError : the data do not allow it, or change between two readings; see `learn_streamed`.
    """
    spec, found = learn_streamed(formula, source, progress=progress)
    needed = {group, *spec.cluster_groups}
    known = {names: levels for names, levels in found.items() if names in needed}
    task = Task(spec=spec, group=group, known=known)
    part = source.reduce(
        formula.variables, partial(tally, task=task), merge, Progress(what="cross-products", shown=progress)
    )
    if part.products is None:
        raise DataError("no row is left: every row misses a value in one of " + ", ".join(formula.variables) + ".")
    levels = known[group] if group in known else _used_levels(part.book, part.products)
    return Streamed(
        spec=spec,
        levels=levels,
        known=known,
        products=_arranged(part.products, np.arange(len(levels.levels)) if group in known else levels.order, levels),
        read=part.read,
        used=part.used,
        missing={name: count for name, count in part.missing.items() if count},
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamedRows:
    """Reads the used rows of a fitted model again.

    source : the data.
    spec : the formula with what it remembers.
    known : the levels of its one grouping factor, and those that its columns depend on.
    group : the columns of the grouping factor.
    n_used : number of used rows.
    """

    source: RowSource
    spec: Spec
    known: Mapping[Names, SettledLevels]
    group: Names
    n_used: int

    @property
    def n_levels(self) -> int:
        """Clusters."""
        return len(self.known[self.group].levels)

    def blocks(self, response: FloatArray | None = None) -> Iterator[tuple[FloatArray, CodeArray, slice]]:
        """The used rows, some at a time: design columns and response (m + 1, L), clusters (L,), place among them.

        `response` (used rows,) stands in for the outcome in the data.
        """
        done = 0
        for columns, mask, factors in self._batches():
            codes = factors[self.group].codes if mask is None else factors[self.group].codes[mask]
            start = done
            for block in _evaluated(self.spec, columns, mask, factors, CHUNK, response=response is None):
                place = slice(done, done + block.shape[1])
                if response is not None:
                    block[-1] = response[place]
                yield block, codes[place.start - start : place.stop - start], place
                done = place.stop

    def component_blocks(self, name: str) -> Iterator[tuple[FloatArray, CodeArray]]:
        """A component of the design columns at the used rows, some at a time: values (1, L), clusters (L,)."""
        for columns, mask, factors in self._batches():
            codes = factors[self.group].codes if mask is None else factors[self.group].codes[mask]
            if len(codes):
                evaluator = self.spec.bind(columns, mask, response=False, factors=factors)
                yield np.ascontiguousarray(evaluator.component(name)[None, :]), codes

    def codes(self) -> CodeArray:
        """(used rows,) cluster of each."""
        found = [f[self.group].codes if mask is None else f[self.group].codes[mask] for _, mask, f in self._batches()]
        return np.concatenate(found)

    def columns(self) -> Columns:
        """The used rows, of which a column is read when it is asked for."""
        return used_rows(self.source, self.spec.variables, self.n_used)

    def products(self, response: FloatArray) -> CrossProducts:
        """Cross-products with another response (used rows,)."""
        moments: Moments | None = None
        for block, codes, _ in self.blocks(response):
            moments = Moments.starting(block, self.n_levels) if moments is None else moments
            moments.add(block, codes)
        assert moments is not None
        names = (*(column.name for column in self.spec.columns), self.spec.response_name)
        return moments.products(names=names, levels=self.known[self.group].levels)

    def _batches(self) -> Iterator[tuple[Columns, BoolArray | None, dict[Names, Factor]]]:
        """Batches of rows, which of them are used, and their level codes."""
        for columns in self.source.batches(self.spec.variables):
            mask, _ = columns.complete(self.spec.variables)
            yield columns, mask, {names: known.factor(columns, mask) for names, known in self.known.items()}


def _evaluated(
    spec: Spec,
    columns: Columns,
    mask: BoolArray | None,
    factors: Mapping[Names, Factor],
    step: int,
    *,
    response: bool = True,
) -> Iterator[FloatArray]:
    """Design columns, with the response last, at the used rows of a batch: (m + 1, L), L > 0, `step` rows at a time."""
    if mask is not None and not mask.any():
        return
    m, evaluator = len(spec.columns), spec.bind(columns, mask, response=response, factors=factors)
    for start in range(0, columns.n_rows, step):
        rows = slice(start, min(start + step, columns.n_rows))
        length = rows.stop - rows.start if mask is None else int(np.count_nonzero(mask[rows]))
        if length:
            block = np.empty((m + 1, length))
            evaluator.evaluate(rows, out=block[:m])
            if response:
                block[m] = evaluator.response(rows)
            yield block


def tally(batches: Iterable[Columns], task: Task) -> Part:
    """Sum the cross-products of some batches of rows."""
    sums = Tally(task=task, book=LevelBook.of(task.group))
    for columns in batches:
        sums.add(columns)
    return Part(book=sums.book, products=sums.result(), read=sums.read, used=sums.used, missing=sums.missing)


def merge(first: Part, second: Part) -> Part:
    """Sums over two parts of the rows."""
    book = LevelBook.of([column.name for column in first.book.books])
    book.merge(first.book)
    place = book.merge(second.book)
    products = first.products
    if second.products is not None:
        levels = tuple(place.tolist()) if place.size else second.products.levels
        moved = replace(second.products, levels=levels)
        products = moved if products is None else products + moved
    missing = {name: first.missing.get(name, 0) + count for name, count in {**first.missing, **second.missing}.items()}
    return Part(
        book=book, products=products, read=first.read + second.read, used=first.used + second.used, missing=missing
    )


def _used_levels(book: LevelBook, products: CrossProducts) -> SettledLevels:
    """The clusters with a used row, sorted."""
    used = np.zeros(book.size, dtype=np.bool_)
    used[_numbers(products)] = products.count > 0
    return book.settle(used)


def _arranged(products: CrossProducts, numbers: IntArray, levels: SettledLevels) -> CrossProducts:
    """Cross-products of the clusters with some numbers, in this order and under their own names."""
    held = _numbers(products)
    at = np.zeros(held.max() + 1, dtype=np.int64)
    at[held] = np.arange(len(held))
    keep = at[numbers]
    return replace(
        products,
        levels=levels.levels,
        count=products.count[keep],
        mean=products.mean[keep],
        scatter=products.scatter[keep],
        multiplicity=products.multiplicity[keep],
    )


def _numbers(products: CrossProducts) -> IntArray:
    """The numbers that clusters have as names."""
    return np.array(products.levels, dtype=np.int64)


def _resized(moments: Moments, size: int) -> Moments:
    """The same moments with room for another number of clusters."""
    if size <= len(moments.count):
        return replace(moments, count=moments.count[:size], mean=moments.mean[:size], scatter=moments.scatter[:size])
    m = len(moments.origin)
    count, mean, scatter = np.zeros(size), np.zeros((size, m)), np.zeros((size, m, m))
    known = slice(0, len(moments.count))
    count[known], mean[known], scatter[known] = moments.count, moments.mean, moments.scatter
    return replace(moments, count=count, mean=mean, scatter=scatter)
