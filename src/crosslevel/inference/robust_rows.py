"""The rows, or a few that stand for them, on which cluster-robust variances are worked out.

All of it is in working coordinates and in units of sigma: rows x (of X) and e = y - X beta with the working covariance

    V = I + sum_k F_k F_k',   F_k = Z_k Lambda_k,   M = (X'V^-1 X)^-1.

Where the clusters are unions of those of the only grouping factor, or V = I, a cluster's rows are replaced by a few. In
an orthonormal basis Q of the span of [Z X] within each level of the factor, everything outside of which V leaves as it
is,

    Q'[Z X e] = [R c f],   R'R = Z'Z,   V -> I + R Psi R' + 0,

so that at most q + p rows stand for a cluster of any size, and they come from its cross-products.
"""

from dataclasses import dataclass, field

import numpy as np

from crosslevel.design import CrossProducts, Design
from crosslevel.design.coordinates import Coordinates
from crosslevel.design.reduced import Reduced
from crosslevel.design.residual import working_columns
from crosslevel.likelihood.profiled import Conditional
from crosslevel.memory import require_memory
from crosslevel.residual.bound import ResidualRoot
from crosslevel.solve import Solution
from crosslevel.types import CodeArray, FloatArray, IntArray

RANK = 1e-12
"""Sum of squares within a cluster, as a share of the largest of a column there, below which a direction has none."""

Members = tuple[tuple[CodeArray, FloatArray], ...]
"""Levels (n,) of rows, -1 for none, and F (n, q) there; several for multiple membership."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Loading:
    """F = Z Lambda of one grouping factor.

    Attributes
    ----------
    n_levels : J.
    members : for each row its level and its F there.
    """

    n_levels: int
    members: Members = field(repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Working:
    """A solved model in working coordinates.

    Attributes
    ----------
    coordinates : those of [X y].
    beta : (p,) coefficients.
    bread : (p, p) M = (X'V^-1 X)^-1, in units of sigma.
    factors : for each grouping factor (q, q) Lambda.
    bases : for each (q, q) T; working random effects are T b.
    spherical : for each (J, q, p) U = Lambda'Z'V^-1 X, so that V^-1 X = X - sum F U.
    root : B, where sigma^2 B B' is the covariance of the residuals; None if they are independent and alike.
    """

    coordinates: Coordinates
    beta: FloatArray
    bread: FloatArray
    factors: tuple[FloatArray, ...] = ()
    bases: tuple[FloatArray, ...] = ()
    spherical: tuple[FloatArray, ...] = ()
    root: ResidualRoot | None = None

    @classmethod
    def of(cls, solution: Solution, design: Design) -> "Working":
        """The solution of a mixed model."""
        at, criterion = solution.minimum.state, solution.criterion
        state = at.inner if design.residual is not None else at
        if isinstance(state, Conditional):
            spherical = (state.factor.T @ state.cross[:, :, :-1],)
        else:
            spherical = tuple(u[:, :, :-1] for u in state.factorised.plan.by_factor(state.solved))
        half = np.linalg.inv(state.chol[:-1, :-1])
        return cls(
            coordinates=criterion.coordinates, beta=state.beta, bread=half.T @ half, factors=state.factors,
            bases=criterion.bases, spherical=spherical,
            root=None if design.residual is None else criterion.residual.at(solution.phi),
        )  # fmt: skip

    @property
    def contrast(self) -> FloatArray:
        """(p + 1,) coefficients of [X y] that make e."""
        return np.append(-self.beta, 1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelRows:
    """Rows with their working covariance.

    Attributes
    ----------
    x, weighted : (n, p) X and V^-1 X.
    residual : (n,) e.
    loadings : F of each grouping factor.
    bread : (p, p) M.
    turn : (p, p) coefficients in the units of the data are turn @ working ones + constant.
    """

    x: FloatArray = field(repr=False)
    weighted: FloatArray = field(repr=False)
    residual: FloatArray = field(repr=False)
    loadings: tuple[Loading, ...]
    bread: FloatArray
    turn: FloatArray


def rows_by_level(design: Design, working: Working, reduced: Reduced) -> tuple[ModelRows, CodeArray]:
    """Few rows for each level of the only grouping factor, and the level (n,) of each; see this module."""
    columns = np.append(design.x, len(design.products.names) - 1)
    found = np.flatnonzero(design.z == design.constant)
    return condensed(
        design.products, columns, working, image=reduced.image, intercept=int(found[0]) if len(found) else -1,
        loading=reduced.root @ working.factors[0],
    )  # fmt: skip


def ordinary_rows(
    products: CrossProducts, columns: IntArray, working: Working, *, intercept: bool
) -> tuple[ModelRows, CodeArray]:
    """Few rows for each cluster of a model without random effects, and the cluster (n,) of each.

    The intercept, if the model has one, is split off first, so that means far from zero cost no accuracy.
    """
    n_clusters, p1 = len(products.count), len(columns)
    image: FloatArray = np.zeros((n_clusters, 0, p1))
    if intercept:
        image = (np.sqrt(products.count)[:, None] * _means(products, columns, working.coordinates))[:, None, :]
    loading = np.zeros((n_clusters, image.shape[1], 0))
    return condensed(products, columns, working, image=image, intercept=0 if intercept else -1, loading=loading)


def condensed(
    products: CrossProducts, columns: IntArray, working: Working, *, image: FloatArray, intercept: int,
    loading: FloatArray,
) -> tuple[ModelRows, CodeArray]:  # fmt: skip
    """Few rows for each cluster of the cross-products.

    Parameters
    ----------
    products, columns : cross-products, and the positions (p + 1,) of [X y] among their columns.
    working : the solved model.
    image : (J, q, p + 1) c, [X y] along an orthonormal basis of Z's span.
    intercept : which row of that basis is constant, -1 for none.
    loading : (J, q, q) F along the same basis.

    Returns
    -------
    rows : as many as the ranks of [Z X] in all clusters.
    codes : (n,) cluster of each.
    """
    n_clusters, q, p1 = image.shape
    values, vectors, gram = _outside(products, columns, working.coordinates, image, intercept)
    root = np.sqrt(values)
    x_rest = root[:, :, None] * vectors.transpose(0, 2, 1)
    along = np.einsum("jab,ja->jb", vectors, gram[:, :-1] @ working.contrast)
    e_rest = np.divide(along, root, out=np.zeros_like(along), where=root > 0.0)

    x_image = image[:, :, :-1]
    covariance = np.eye(q) + loading @ loading.transpose(0, 2, 1)
    weighted = np.concatenate([np.linalg.solve(covariance, x_image), x_rest], axis=1)
    x = np.concatenate([x_image, x_rest], axis=1)
    e = np.concatenate([image @ working.contrast, e_rest], axis=1)
    f = np.concatenate([loading, np.zeros((n_clusters, p1 - 1, loading.shape[2]))], axis=1)

    codes = np.repeat(np.arange(n_clusters, dtype=np.int32), q + p1 - 1)
    x, weighted, f = (array.reshape(len(codes), -1) for array in (x, weighted, f))
    used = np.any(x != 0.0, axis=1)
    used |= np.any(f != 0.0, axis=1)
    members = ((codes[used], f[used]),)
    rows = ModelRows(
        x=x[used], weighted=weighted[used], residual=e.ravel()[used], bread=working.bread,
        loadings=(Loading(n_levels=n_clusters, members=members),) if f.shape[1] else (),
        turn=working.coordinates.beta_map,
    )  # fmt: skip
    return rows, codes[used]


def _means(products: CrossProducts, columns: IntArray, coordinates: Coordinates) -> FloatArray:
    """(J, p + 1) means of [X y] in working coordinates."""
    mean = (products.mean[:, columns] - (coordinates.shift - products.origin[columns])) / coordinates.scale
    mean[:, -1] -= mean[:, :-1] @ coordinates.removed
    return np.asarray(mean)


def _outside(
    products: CrossProducts, columns: IntArray, coordinates: Coordinates, image: FloatArray, intercept: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Products [X y]'[X y] outside of Z's span by cluster, (J, p + 1, p + 1), and the eigenvectors of those of X.

    Returns
    -------
    values, vectors : (J, p), zero where there is nothing, and (J, p, p).
    gram : (J, p + 1, p + 1).
    """
    change = np.eye(len(columns))
    change[:-1, -1] = -coordinates.removed
    change /= coordinates.scale[:, None]
    gram = change.T @ products.scatter[:, columns[:, None], columns] @ change
    if intercept < 0:
        mean = _means(products, columns, coordinates)
        gram = gram + products.count[:, None, None] * mean[:, :, None] * mean[:, None, :]
    size = np.einsum("jaa->ja", gram)[:, :-1].max(axis=1, initial=0.0)
    other = np.delete(image, intercept, axis=1) if intercept >= 0 else image
    gram = gram - other.transpose(0, 2, 1) @ other
    values, vectors = np.linalg.eigh(gram[:, :-1, :-1])
    return np.where(values > RANK * size[:, None], values, 0.0), vectors, gram


def all_rows(design: Design, working: Working) -> tuple[ModelRows, IntArray]:
    """All rows of a model, whitened by weights or by a residual structure, and which of the rows used each is.

    A row with a frequency stands as often as that. With precision weights and residual structures rows are those of
    B^-1 [Z X y], where sigma^2 B B' is the covariance of the residuals.
    """
    _require_room(design, len(working.beta))
    columns, bases, _ = working_columns(design)
    place: IntArray = np.arange(design.rows.used)
    if design.residual is not None and working.root is not None:
        place = design.residual.order
        columns = working.root.whiten(columns[:, place])
    weights = None if design.weights is None else design.weights.total
    if weights is not None and design.weights is not None and design.weights.is_frequency:
        place = np.repeat(place, weights.astype(np.int64))
        columns = columns[:, place]
    elif weights is not None:
        columns = columns * np.sqrt(weights)
    n_random = sum(len(factor.z) for factor in design.factors)
    x = np.ascontiguousarray(columns[n_random:-1].T)
    weighted, loadings = x.copy(), _loadings(design, working, columns, bases, place)
    for loading, spherical in zip(loadings, working.spherical, strict=True):
        for codes, f in loading.members:
            known = codes >= 0
            weighted[known] -= np.einsum("nq,nqp->np", f[known], spherical[codes[known]])
    rows = ModelRows(
        x=x, weighted=weighted, residual=working.contrast @ columns[n_random:], loadings=loadings,
        bread=working.bread, turn=working.coordinates.beta_map,
    )  # fmt: skip
    return rows, place


def _require_room(design: Design, p: int) -> None:
    """Refuse more rows than fit into memory."""
    n, width = design.nobs, 2 * p + 2 + 2 * sum(len(factor.z) for factor in design.factors)
    require_memory(
        8.0 * n * width * 2,
        f"`cluster` does not follow the grouping factors of the model, so that all {n:,} rows",
        "Cluster by the grouping factor, or fit a sample of the rows.",
    )


def _loadings(
    design: Design, working: Working, columns: FloatArray, bases: tuple[FloatArray, ...], place: IntArray
) -> tuple[Loading, ...]:
    """F = Z Lambda of each factor at the rows `place`, from their columns [Z_1 .. Z_K X y] in coordinates `bases`."""
    out, start = [], 0
    for factor, own, basis, found in zip(design.factors, bases, working.bases, working.factors, strict=True):
        stop = start + len(factor.z)
        f = columns[start:stop].T @ (own @ np.linalg.inv(basis) @ found)
        members = tuple(
            (codes[place], f if share is None else f * share[place, None])
            for codes, share in design.used_members(factor)
        )
        out.append(Loading(n_levels=factor.n_levels, members=members))
        start = stop
    return tuple(out)
