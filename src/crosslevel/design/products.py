"""Cross-products by cluster: all that a Gaussian model needs to know of its data."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from crosslevel.errors import DesignError
from crosslevel.types import CodeArray, FloatArray, IntArray

ORIGIN_ROWS = 9
"""Rows whose median is the point from which means are measured; odd, so that it is a value of the data."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PrecisionTally:
    """What the likelihood needs of precision weights besides the weighted sums.

    Attributes
    ----------
    rows : (J,) rows.
    log_weight : (J,) sum of log w.
    """

    rows: FloatArray
    log_weight: FloatArray

    def __post_init__(self) -> None:
        for array in (self.rows, self.log_weight):
            array.setflags(write=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossProducts:
    """Count, mean and centred scatter of m columns in each of J clusters.

    They are sufficient for every Gaussian model of these columns: the cross-product of columns a and b in cluster g is
    S_g[a, b] + n_g (origin + mean_g)_a (origin + mean_g)_b. Held in this form, they lose no accuracy when a column lies
    far from zero or clusters differ much. Where rows weigh differently, all three are weighted sums.

    Attributes
    ----------
    names : names of the m columns.
    levels : the J clusters.
    origin : (m,) point from which the means are measured.
    count : (J,) rows, or the sum of their weights.
    mean : (J, m) means minus `origin`.
    scatter : (J, m, m) S_g = sum over rows of (x - mean)(x - mean)'.
    multiplicity : (J,) how often each cluster counts (1, a bootstrap draw, or a sampling weight).
    precision : what has to be known besides when weights are precisions; None otherwise.

    Examples
    --------
    >>> import numpy as np
    >>> from crosslevel.design import CrossProducts
    >>> rows = np.array([[1.0, 2.0, 3.0, 5.0]])
    >>> products = CrossProducts.from_rows(rows, np.array([0, 0, 1, 1]), names=("y",), levels=("a", "b"))
    >>> (products.origin + products.mean).ravel().tolist()
    [1.5, 4.0]
    """

    names: tuple[str, ...]
    levels: tuple[object, ...]
    origin: FloatArray
    count: FloatArray
    mean: FloatArray
    scatter: FloatArray
    multiplicity: FloatArray
    precision: PrecisionTally | None = None

    def __post_init__(self) -> None:
        for array in (self.origin, self.count, self.mean, self.scatter, self.multiplicity):
            array.setflags(write=False)

    @classmethod
    def from_rows(
        cls,
        rows: FloatArray,
        codes: IntArray,
        *,
        names: tuple[str, ...],
        levels: tuple[object, ...],
        weights: FloatArray | None = None,
        precision: bool = False,
    ) -> "CrossProducts":
        """Cross-products of an array (m, n) with cluster codes (n,).

        Parameters
        ----------
        rows, codes : (m, n) and (n,).
        names, levels : of the columns and of the clusters.
        weights : (n,) positive; None counts each row once.
        precision : whether weights are precisions: they enter the sums, but a row stays one row.
        """
        moments = Moments.starting(rows, len(levels), precision=precision)
        moments.add(np.ascontiguousarray(rows), np.asarray(codes, dtype=np.int32), weights)
        return moments.products(names=names, levels=levels)

    @cached_property
    def n_clusters(self) -> float:
        """J, clusters as often as they count."""
        return float(self.multiplicity.sum())

    @cached_property
    def weight(self) -> float:
        """Sum of the weights of all rows, each cluster as often as it counts."""
        return float(np.sum(self.multiplicity * self.count))

    @cached_property
    def n_rows(self) -> float:
        """The n of the likelihood: the sum of the weights, or of rows if weights are precisions."""
        return self.weight if self.precision is None else float(np.sum(self.multiplicity * self.precision.rows))

    @cached_property
    def log_weight(self) -> float:
        """Sum of log w over rows if weights are precisions, which their density needs; else 0."""
        return 0.0 if self.precision is None else float(np.sum(self.multiplicity * self.precision.log_weight))

    @cached_property
    def grand_mean(self) -> FloatArray:
        """(m,) mean over rows minus `origin`."""
        weight = self.multiplicity * self.count
        return np.asarray(np.einsum("g,gi->i", weight, self.mean) / weight.sum())

    @cached_property
    def within(self) -> FloatArray:
        """(m, m) scatter within clusters, pooled."""
        return np.asarray(np.einsum("g,gij->ij", self.multiplicity, self.scatter))

    @cached_property
    def total(self) -> FloatArray:
        """(m, m) scatter about the grand mean."""
        centred = self.mean - self.grand_mean
        weight = self.multiplicity * self.count
        return np.asarray(self.within + np.einsum("gi,gj->ij", centred * weight[:, None], centred))

    def select(self, names: Sequence[str]) -> "CrossProducts":
        """Cross-products of some of the columns: those of any sub-model.

        Raises
        ------
        DesignError : a name is not among the columns.
        """
        absent = [name for name in names if name not in self.names]
        if absent:
            raise DesignError(f"`names` asks for {absent}, but these cross-products hold {list(self.names)}.")
        keep = np.array([self.names.index(name) for name in names], dtype=np.int64)
        return replace(
            self,
            names=tuple(names),
            origin=self.origin[keep],
            mean=np.ascontiguousarray(self.mean[:, keep]),
            scatter=np.ascontiguousarray(self.scatter[:, keep[:, None], keep]),
        )

    def reweight(self, multiplicity: FloatArray) -> "CrossProducts":
        """Count each cluster `multiplicity` (J,) times: a bootstrap draw, or a cluster left out.

        Raises
        ------
        DesignError : a wrong length, a negative or a missing value.
        """
        weight = np.array(multiplicity, dtype=np.float64)
        if weight.shape != self.count.shape or not np.all(weight >= 0.0):
            raise DesignError(
                f"`multiplicity` needs one non-negative number for each of the {len(self.count)} clusters, "
                f"got an array of shape {weight.shape}. Give an array as long as `levels`."
            )
        return replace(self, multiplicity=weight)

    def __add__(self, other: "CrossProducts") -> "CrossProducts":
        """Cross-products of two parts of the rows, clusters matched by level (Chan, Golub & LeVeque 1983)."""
        if self.names != other.names:
            raise DesignError(f"Cross-products of {self.names} and {other.names} cannot be added: the columns differ.")
        place = {level: i for i, level in enumerate(self.levels)}
        new = tuple(level for level in other.levels if level not in place)
        levels = self.levels + new
        place.update({level: len(self.levels) + i for i, level in enumerate(new)})
        a = _extend(self, len(levels), np.arange(len(self.levels)))
        b = _extend(other, len(levels), np.array([place[level] for level in other.levels], dtype=np.int64))
        return replace(
            _merge(a, b, names=self.names, levels=levels), precision=_tallies(self, other, len(levels), place)
        )


def _tallies(a: CrossProducts, b: CrossProducts, n_levels: int, place: dict[object, int]) -> PrecisionTally | None:
    """Rows and log weights of two parts, by level; None if neither has precision weights."""
    if a.precision is None and b.precision is None:
        return None
    rows, log_weight = np.zeros(n_levels), np.zeros(n_levels)
    for part in (a, b):
        where = np.array([place[level] for level in part.levels], dtype=np.int64)
        rows[where] += part.count if part.precision is None else part.precision.rows
        log_weight[where] += 0.0 if part.precision is None else part.precision.log_weight
    return PrecisionTally(rows=rows, log_weight=log_weight)


def _extend(part: CrossProducts, n_levels: int, place: IntArray) -> tuple[FloatArray, ...]:
    """Moments of a part spread over all levels, with zeros where it has no rows; its origin first."""
    m = len(part.names)
    count, mean, scatter = np.zeros(n_levels), np.zeros((n_levels, m)), np.zeros((n_levels, m, m))
    multiplicity = np.zeros(n_levels)
    count[place], mean[place], scatter[place] = part.count, part.mean, part.scatter
    multiplicity[place] = part.multiplicity
    return part.origin, count, mean, scatter, multiplicity


def _merge(
    a: tuple[FloatArray, ...], b: tuple[FloatArray, ...], *, names: tuple[str, ...], levels: tuple[object, ...]
) -> CrossProducts:
    """Pool the moments of two parts that are spread over the same levels."""
    origin, count_a, mean_a, scatter_a, multiplicity_a = a
    other_origin, count_b, mean_b, scatter_b, multiplicity_b = b
    both = (count_a > 0.0) & (count_b > 0.0)
    if np.any(multiplicity_a[both] != multiplicity_b[both]):
        raise DesignError(
            "Cross-products with different multiplicities of one cluster cannot be added: reweight later."
        )
    count = count_a + count_b
    share = np.divide(count_b, count, out=np.zeros_like(count), where=count > 0.0)
    shift = np.where(
        count_a[:, None] > 0.0, mean_b + (other_origin - origin) - mean_a, mean_b + (other_origin - origin)
    )
    shift[count_b == 0.0] = 0.0
    between = (count_a * share)[:, None, None] * shift[:, :, None] * shift[:, None, :]
    return CrossProducts(
        names=names,
        levels=levels,
        origin=origin,
        count=count,
        mean=mean_a + share[:, None] * shift,
        scatter=scatter_a + scatter_b + between,
        multiplicity=np.where(count_a > 0.0, multiplicity_a, multiplicity_b),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Running sums that blocks of rows are added to; becomes `CrossProducts`.

    Attributes
    ----------
    origin : (m,) point near the data.
    count, mean, scatter : (J,), (J, m), (J, m, m); of `scatter` only the lower triangle is kept up.
    precision : (J,) rows and sums of log w, if weights are precisions.
    """

    origin: FloatArray
    count: FloatArray
    mean: FloatArray
    scatter: FloatArray
    precision: tuple[FloatArray, FloatArray] | None = None

    @classmethod
    def starting(cls, block: FloatArray, n_clusters: int, *, precision: bool = False) -> "Moments":
        """No rows yet, of the columns of `block` (m, L) in `n_clusters` clusters.

        The origin is the median of a few of its rows, so that one wild value there cannot lie far from all others.
        """
        m, length = block.shape
        few = block[:, np.linspace(0, length - 1, min(ORIGIN_ROWS, length - 1 + length % 2)).astype(np.int64)]
        return cls(
            origin=np.sort(few, axis=1)[:, few.shape[1] // 2],  # their number is odd
            count=np.zeros(n_clusters),
            mean=np.zeros((n_clusters, m)),
            scatter=np.zeros((n_clusters, m, m)),
            precision=(np.zeros(n_clusters), np.zeros(n_clusters)) if precision else None,
        )

    def add(self, block: FloatArray, codes: CodeArray, weights: FloatArray | None = None) -> None:
        """Add rows: `block` (m, L), their clusters `codes` (L,) int32, their weights (L,), all positive, if any."""
        from crosslevel.kernels.moments import accumulate, accumulate_weighted

        if weights is None:
            accumulate(block, codes, self.origin, self.count, self.mean, self.scatter)
            return
        weights = np.ascontiguousarray(weights, dtype=np.float64)
        accumulate_weighted(block, codes, weights, self.origin, self.count, self.mean, self.scatter)
        if self.precision is not None:
            np.add.at(self.precision[0], codes, 1.0)
            np.add.at(self.precision[1], codes, np.log(weights))

    def products(self, *, names: tuple[str, ...], levels: tuple[object, ...]) -> CrossProducts:
        """The cross-products of all rows added; hands over this object's arrays."""
        from crosslevel.kernels.moments import mirror

        mirror(self.scatter)
        tally = self.precision
        return CrossProducts(
            names=names,
            levels=levels,
            origin=self.origin,
            count=self.count,
            mean=self.mean,
            scatter=self.scatter,
            multiplicity=np.ones(len(levels)),
            precision=None if tally is None else PrecisionTally(rows=tally[0], log_weight=tally[1]),
        )
