"""What is left of the clusters of a model with one grouping factor when some rows are taken out.

A set of rows that is left out touches few clusters. Those it takes whole count no more. Of those it cuts, the moments
of the other rows follow from the cluster's own: with k rows of mean m_d and scatter S_d taken out of n of mean m,

    m' = (n m - k m_d) / (n - k),    S' = S - S_d - k (n - k) / n (m_d - m')(m_d - m')'.

Where little of a column's scatter is left by that, so that digits would be lost, it is summed anew from the rows.

Source: Chan, Golub & LeVeque (1983), The American Statistician 37: 242-247, their formulas solved for one part.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from crosslevel.design import Design
from crosslevel.design.products import CrossProducts, PrecisionTally
from crosslevel.inference.clusterings import Clustering
from crosslevel.memory import require_memory
from crosslevel.types import BoolArray, CodeArray, FloatArray, IntArray

LOST = 1e-5
"""Share of a column's scatter within a cluster below which what is left of it is summed from the rows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pieces:
    """The clusters that some deletions touch, and what is left of each.

    Attributes
    ----------
    first : (D + 1,) deletion d touches the clusters at first[d] .. first[d + 1].
    group : (m,) which cluster each is.
    products : of what is left of each, m levels; those of which nothing is left count zero times.
    """

    first: IntArray
    group: IntArray
    products: CrossProducts

    @property
    def gone(self) -> BoolArray:
        """(m,) whether nothing is left."""
        return np.asarray(self.products.count == 0.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Deletions:
    """Sets of rows of a model with one grouping factor, each of which is left out by itself.

    Attributes
    ----------
    design : in memory, with one grouping factor.
    sets : which set each row belongs to.
    """

    design: Design = field(repr=False)
    sets: Clustering = field(repr=False)

    @cached_property
    def _groups(self) -> CodeArray:
        """(n,) cluster of each row."""
        return self.design.used_codes(self.design.factors[0])

    @cached_property
    def _order(self) -> IntArray:
        """(n,) rows, those of a set together, and in it those of a cluster."""
        return np.lexsort((self._groups, self.sets.codes))

    @cached_property
    def _starts(self) -> IntArray:
        """(m + 1,) where in that order the rows of each pair of a set and a cluster begin."""
        pair = self.sets.codes[self._order].astype(np.int64) * self.design.factors[0].n_levels
        pair += self._groups[self._order]
        return np.concatenate([[0], np.flatnonzero(np.diff(pair)) + 1, [len(pair)]])

    @cached_property
    def _first(self) -> IntArray:
        """(D + 1,) the first pair of each set."""
        owner = self.sets.codes[self._order[self._starts[:-1]]]
        return np.searchsorted(owner, np.arange(self.sets.n_clusters + 1))

    @cached_property
    def _rows_of_groups(self) -> tuple[IntArray, IntArray]:
        """(n,) rows by cluster, and (J + 1,) where each cluster's begin."""
        order = np.argsort(self._groups, kind="stable")
        sizes = np.bincount(self._groups, minlength=self.design.factors[0].n_levels)
        return order, np.concatenate([[0], np.cumsum(sizes)])

    @cached_property
    def _rows(self) -> FloatArray:
        """(m + 1, n) design columns, the response last."""
        design = self.design
        require_memory(
            8.0 * design.rows.used * len(design.products.names),
            f"`by` cuts the clusters of {design.group}, so that all {design.rows.used:,} rows",
            "Leave out whole clusters.",
        )
        return np.concatenate([block for block, _, _ in design.blocks()], axis=1)

    @cached_property
    def most(self) -> tuple[int, int]:
        """The most clusters that a set takes whole or cuts, and the most rows of a set."""
        return int(np.diff(self._first).max()), int(np.bincount(self.sets.codes).max())

    def pieces(self, begin: int, end: int) -> Pieces:
        """What the sets begin .. end - 1 leave of the clusters that they touch."""
        first = self._first[begin : end + 1]
        starts = self._starts[first[0] : first[-1] + 1]
        group = self._groups[self._order[starts[:-1]]]
        taken, bounds = np.diff(starts), self._rows_of_groups[1]
        cut = np.flatnonzero(taken < np.diff(bounds)[group])
        left = _nothing(self.design.products, len(group))
        if len(cut):
            rows = [self._order[starts[k] : starts[k + 1]] for k in cut]
            left = _placed(left, cut, self._without(group[cut], rows))
        return Pieces(first=np.asarray(first - first[0]), group=np.asarray(group, dtype=np.int64), products=left)

    def _without(self, group: IntArray, rows: Sequence[IntArray]) -> CrossProducts:
        """Cross-products of the other rows of clusters (m,), of each of which some rows are taken out."""
        whole, taken = _levels(self.design.products, group), self._sums(rows)
        n, k = whole.count[:, None], taken.count[:, None]
        out = (taken.mean + (taken.origin - whole.origin), taken.scatter)
        mean = (n * whole.mean - k * out[0]) / (n - k)
        apart = out[0] - mean
        share = (k * (n - k) / n)[:, :, None]
        scatter = whole.scatter - out[1] - share * apart[:, :, None] * apart[:, None, :]
        left = replace(
            whole, count=whole.count - taken.count, mean=mean, scatter=scatter,
            precision=_tally_left(whole.precision, taken.precision),
        )  # fmt: skip
        variance, before = (np.einsum("gii->gi", part) for part in (scatter, whole.scatter))
        anew = np.flatnonzero(np.any(variance < LOST * before, axis=1))
        if not len(anew):
            return left
        order, bounds = self._rows_of_groups
        others = [np.setdiff1d(order[bounds[group[j]] : bounds[group[j] + 1]], rows[int(j)]) for j in anew]
        fresh = self._sums(others)
        return _placed(left, anew, replace(fresh, origin=left.origin, mean=fresh.mean + (fresh.origin - left.origin)))

    def _sums(self, rows: Sequence[IntArray]) -> CrossProducts:
        """Cross-products of sets of rows."""
        every = np.concatenate(rows)
        weights = self.design.weights
        return CrossProducts.from_rows(
            self._rows[:, every], np.repeat(np.arange(len(rows)), [len(own) for own in rows]),
            names=self.design.products.names, levels=tuple(range(len(rows))),
            weights=None if weights is None or weights.total is None else weights.total[every],
            precision=weights is not None and weights.is_precision,
        )  # fmt: skip


def _levels(products: CrossProducts, group: IntArray) -> CrossProducts:
    """Cross-products of clusters (m,), some of them perhaps more than once."""
    tally = products.precision
    return replace(
        products, levels=tuple(range(len(group))), count=products.count[group], mean=products.mean[group],
        scatter=products.scatter[group], multiplicity=products.multiplicity[group],
        precision=None if tally is None else PrecisionTally(rows=tally.rows[group], log_weight=tally.log_weight[group]),
    )  # fmt: skip


def _nothing(products: CrossProducts, n: int) -> CrossProducts:
    """Cross-products of n clusters without rows."""
    m = len(products.names)
    return replace(
        products, levels=tuple(range(n)), count=np.zeros(n), mean=np.zeros((n, m)), scatter=np.zeros((n, m, m)),
        multiplicity=np.zeros(n),
        precision=None if products.precision is None else PrecisionTally(rows=np.zeros(n), log_weight=np.zeros(n)),
    )  # fmt: skip


def _placed(into: CrossProducts, place: IntArray, part: CrossProducts) -> CrossProducts:
    """Cross-products with some of the clusters, at `place`, replaced; both are measured from one origin."""
    names = ("count", "mean", "scatter", "multiplicity")
    arrays = {name: getattr(into, name).copy() for name in names}
    for name, array in arrays.items():
        array[place] = getattr(part, name)
    tally, own = into.precision, part.precision
    if tally is None or own is None:
        return replace(into, **arrays)
    rows, log_weight = tally.rows.copy(), tally.log_weight.copy()
    rows[place], log_weight[place] = own.rows, own.log_weight
    return replace(into, **arrays, precision=PrecisionTally(rows=rows, log_weight=log_weight))


def _tally_left(whole: PrecisionTally | None, taken: PrecisionTally | None) -> PrecisionTally | None:
    """Rows and log weights of what is left."""
    if whole is None or taken is None:
        return None
    return PrecisionTally(rows=whole.rows - taken.rows, log_weight=whole.log_weight - taken.log_weight)
