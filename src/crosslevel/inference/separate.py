"""Separate regressions: one for each cluster, all from the clusters' cross-products at once.

In cluster j with n_j rows, y = X b_j + e, Var(e) = sigma_j^2. With the centred scatter S of [X y] and the means m,

    slopes = S_xx^-1 S_xy    intercept = m_y - m_x' slopes    rss = S_yy - S_xy' slopes    sigma_j^2 = rss / (n_j - p),

and Omega_j = sigma_j^2 (X'X)^-1, the sampling covariance of b_j, whose part for the slopes is S_xx^-1. Without an
intercept the cross-products about zero take the place of S.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from crosslevel.design import CrossProducts
from crosslevel.design.build import CONSTANT
from crosslevel.design.reduced import ALIAS_TOLERANCE
from crosslevel.types import BoolArray, FloatArray, IntArray

EXACT = 1e-13
"""Share of a cluster's sum of squares that counts as none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LeftOut:
    """A cluster that is not used.

    Attributes
    ----------
    level : the cluster.
    rows : its rows.
    reason : why, in words.
    """

    level: object
    rows: int
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class SeparateRegressions:
    """Regressions in J clusters with p coefficients each.

    Attributes
    ----------
    names : of the coefficients.
    levels : the J clusters.
    place : (J,) their positions among all clusters of the data.
    n_rows : (J,) rows.
    beta : (J, p) coefficients.
    unscaled : (J, p, p) (X'X)^-1.
    variance : (J,) residual variances sigma_j^2; all equal where they are pooled.
    left_out : clusters that have no regression of their own.
    """

    names: tuple[str, ...]
    levels: tuple[object, ...]
    place: IntArray
    n_rows: FloatArray
    beta: FloatArray = field(repr=False)
    unscaled: FloatArray = field(repr=False)
    variance: FloatArray = field(repr=False)
    left_out: tuple[LeftOut, ...]

    def __post_init__(self) -> None:
        for array in (self.place, self.n_rows, self.beta, self.unscaled, self.variance):
            array.setflags(write=False)

    @property
    def sampling(self) -> FloatArray:
        """(J, p, p) sampling covariances Omega_j."""
        return np.asarray(self.unscaled * self.variance[:, None, None])

    @property
    def std_error(self) -> FloatArray:
        """(J, p) standard errors."""
        return np.asarray(np.sqrt(self.variance[:, None] * np.einsum("jaa->ja", self.unscaled)))


def separate_regressions(
    products: CrossProducts, x: Sequence[int], constant: int, *, pooled: bool = False
) -> SeparateRegressions:
    """Regress the last column on columns x in every cluster that allows it.

    Parameters
    ----------
    products : cross-products of m columns by cluster, the outcome last.
    x : positions of the predictors, the intercept's included.
    constant : position of the intercept, -1 if there is none.
    pooled : whether all clusters share one residual variance, the mean of theirs weighted by degrees of freedom.
    """
    clusters = _Clusters.of(products, x, constant)
    able, reasons = _usable(clusters, pooled=pooled)
    slopes, inverse, rss = _solved(clusters.gram[able])
    beta, unscaled = slopes, inverse
    if constant in x:
        where = np.flatnonzero(np.asarray(x) != constant)
        means = (products.origin + products.mean)[np.ix_(able, clusters.columns)]
        beta, unscaled = _with_intercept(where, slopes, inverse, means, products.count[able])
    free = clusters.rows[able] - len(x)
    variance = rss / np.maximum(free, 1.0)
    if pooled:
        variance = np.full(len(rss), float(np.sum(rss)) / max(float(np.sum(free)), 1.0))
    levels, used = products.levels, np.flatnonzero(able)
    return SeparateRegressions(
        names=tuple(products.names[j] for j in x), levels=tuple(levels[int(j)] for j in used), place=used,
        n_rows=clusters.rows[able], beta=beta, unscaled=unscaled, variance=variance,
        left_out=tuple(LeftOut(level=levels[j], rows=round(float(clusters.rows[j])), reason=why) for j, why in reasons),
    )  # fmt: skip


def without(reasons: Sequence[str], separate: SeparateRegressions) -> SeparateRegressions:
    """Leave out the clusters for which there is a reason; `reasons` (J,), "" for those that stay."""
    stay = np.array([not reason for reason in reasons], dtype=np.bool_)
    gone = tuple(
        LeftOut(level=separate.levels[j], rows=round(float(separate.n_rows[j])), reason=reasons[j])
        for j in map(int, np.flatnonzero(~stay))
    )
    if not gone:
        return separate
    return SeparateRegressions(
        names=separate.names, levels=tuple(separate.levels[j] for j in np.flatnonzero(stay)),
        place=separate.place[stay], n_rows=separate.n_rows[stay], beta=separate.beta[stay],
        unscaled=separate.unscaled[stay], variance=separate.variance[stay], left_out=(*separate.left_out, *gone),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class _Clusters:
    """What the regressions are solved from.

    columns : (q + 1,) positions of the slopes' columns and the outcome.
    names : of these columns.
    gram : (J, q + 1, q + 1) their cross-products, about the means if there is an intercept, else about zero.
    size : (J, q + 1) sums of squares.
    typical : (q + 1,) mean square over all rows.
    rows, count : (J,) rows, and the sums of their weights.
    p : coefficients.
    """

    columns: IntArray
    names: tuple[str, ...]
    gram: FloatArray
    size: FloatArray
    typical: FloatArray
    rows: FloatArray
    count: FloatArray
    p: int

    @classmethod
    def of(cls, products: CrossProducts, x: Sequence[int], constant: int) -> "_Clusters":
        """Cut them out of all cross-products."""
        columns = np.array([*(j for j in x if j != constant), len(products.names) - 1], dtype=np.int64)
        gram = products.scatter[:, columns[:, None], columns]
        typical = np.diag(products.total)[columns] / products.weight
        if constant not in x:
            mean = (products.origin + products.mean)[:, columns]
            gram = gram + products.count[:, None, None] * mean[:, :, None] * mean[:, None, :]
            typical = typical + (products.origin + products.grand_mean)[columns] ** 2
        return cls(
            columns=columns, names=tuple(products.names[j] for j in columns), gram=np.asarray(gram),
            size=np.maximum(np.einsum("jaa->ja", gram), 0.0), typical=typical,
            rows=products.count if products.precision is None else products.precision.rows,
            count=products.count, p=len(x),
        )  # fmt: skip


def _usable(clusters: _Clusters, *, pooled: bool) -> tuple[BoolArray, list[tuple[int, str]]]:
    """Which clusters (J,) have a regression of their own, and for the others the reason in words."""
    p, names, size = clusters.p, clusters.names, clusters.size
    least = p if pooled else p + 1
    flat = size <= CONSTANT * clusters.typical * clusters.count[:, None]
    determined, remainder = _swept(clusters, flat)
    exact = remainder <= EXACT * size[:, -1]
    out: list[tuple[int, str]] = []
    for j, rows in enumerate(clusters.rows):
        if rows < least:
            shown = "1 row" if rows == 1.0 else f"{rows:g} rows"
            out.append((j, f"{shown} for {p} coefficients; at least {least} are needed"))
        elif np.any(flat[j, :-1]):
            out.append((j, f"no variation in {', '.join(names[k] for k in np.flatnonzero(flat[j, :-1]))}"))
        elif determined[j] >= 0:
            out.append((j, f"{names[determined[j]]} is determined by the other predictors"))
        elif flat[j, -1] and not pooled:
            out.append((j, f"no variation in {names[-1]}"))
        elif exact[j] and not pooled:
            out.append((j, f"the predictors reproduce {names[-1]} exactly"))
    able = np.ones(len(clusters.rows), dtype=np.bool_)
    able[[j for j, _ in out]] = False
    return able, out


def _swept(clusters: _Clusters, flat: BoolArray) -> tuple[IntArray, FloatArray]:
    """Take the predictors out of each other and of the outcome, one after another.

    Returns
    -------
    determined : (J,) the first predictor of which earlier ones leave nothing, -1 if there is none.
    remainder : (J,) the outcome's sum of squares that they leave.
    """
    root = np.sqrt(np.where(flat, 1.0, clusters.size))
    rest = clusters.gram / root[:, :, None] / root[:, None, :]
    rest = np.where(flat[:, :, None] | flat[:, None, :], 0.0, rest)
    determined = np.full(len(rest), -1, dtype=np.int64)
    for k in range(rest.shape[1] - 1):
        pivot = rest[:, k, k]
        something = pivot > ALIAS_TOLERANCE
        determined[~something & ~flat[:, k] & (determined < 0)] = k
        share = rest[:, k] / np.where(something, pivot, np.inf)[:, None]
        rest = rest - rest[:, :, k, None] * share[:, None, :]
    return determined, np.asarray(rest[:, -1, -1] * clusters.size[:, -1])


def _solved(gram: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Slopes (J, q), inverse cross-products (J, q, q) and residual sums of squares (J,)."""
    xx, xy = gram[:, :-1, :-1], gram[:, :-1, -1]
    size = np.sqrt(np.einsum("jaa->ja", xx))
    half = np.linalg.inv(np.linalg.cholesky(xx / size[:, :, None] / size[:, None, :])) / size[:, None, :]
    image = np.einsum("jab,jb->ja", half, xy)
    slopes = np.einsum("jba,jb->ja", half, image)
    rss = np.maximum(gram[:, -1, -1] - np.einsum("ja,ja->j", image, image), 0.0)
    return slopes, half.transpose(0, 2, 1) @ half, rss


def _with_intercept(
    where: IntArray, slopes: FloatArray, inverse: FloatArray, means: FloatArray, count: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Coefficients (J, p) and (X'X)^-1 with the intercept put back in its place.

    Parameters
    ----------
    where : (q,) places of the slopes among the coefficients.
    slopes, inverse : (J, q) and (J, q, q).
    means : (J, q + 1) of the slopes' columns and the outcome.
    count : (J,) sums of weights.
    """
    p, centre = len(where) + 1, means[:, :-1]
    own = next(k for k in range(p) if k not in where)
    turned = np.einsum("jab,jb->ja", inverse, centre)
    beta = np.empty((len(slopes), p))
    beta[:, where] = slopes
    beta[:, own] = means[:, -1] - np.einsum("ja,ja->j", centre, slopes)
    unscaled = np.empty((len(slopes), p, p))
    unscaled[:, where[:, None], where] = inverse
    unscaled[:, own, where] = unscaled[:, where, own] = -turned
    unscaled[:, own, own] = 1.0 / count + np.einsum("ja,ja->j", centre, turned)
    return beta, unscaled
