"""Cluster-robust covariance of coefficients: CR0, CR1, CR1S, CR2, CR3, one clustering or several at once.

With V the model's covariance of the rows as a working one, M = (X'V^-1 X)^-1, W_g = V^-1 X at the rows of cluster g and
e_g its residuals y - X beta there,

    betahat - beta = M sum_g W_g' (y - X beta)_g,   V_CR = M (sum_g W_g' A_g e_g e_g' A_g' W_g) M.

CR0: A = I. CR1: A = sqrt(J / (J - 1)). CR1S: A = sqrt(J (n - 1) / ((J - 1) (n - p))), as in Stata. With
B_g = V_gg - X_g M X_g', the covariance of e_g under the working model, CR2 takes the symmetric A_g with A B A = V_gg,

    A_g = L (L'B_g L)^{+1/2} L',   L L' = V_gg,

which makes V_CR unbiased if the working model holds; where B_g is singular, as with an own coefficient for a cluster,
the generalised inverse stands. CR3: A_g = (I - X_g M W_g')^-1, the jackknife with V held. Then

    W_g' A_g = (I - W_g'X_g M)^-1 W_g',

so that it needs p x p matrices alone.

The residuals are those of the rows themselves, weighted by V^-1 X. For V that is block-diagonal by cluster that is
X_g'V_g^-1 e_g. Where random effects are crossed it is not X_g'(V^-1 e)_g: two rows that share no cluster have
independent e, but V^-1 e are correlated between all rows, and sums of those over clusters, however many clusterings
there are, leave out what is no smaller than what they contain.

Several clusterings (Cameron, Gelbach & Miller 2011): the sum over all intersections of m of them of
(-1)^(m - 1) V_CR, each with its own adjustment and number of clusters. With CR2 and one clustering for each factor of
crossed random effects, the mean of that sum under the working model is M. It need not be positive definite: then
eigenvalues below zero, in coordinates in which the model's own covariance of the coefficients is I, are set to zero.

Source: Bell & McCaffrey (2002), Survey Methodology 28: 169-181; Pustejovsky & Tipton (2018), J. Bus. Econ. Stat. 36:
672-683, equations 4 to 6; Cameron, Gelbach & Miller (2011), J. Bus. Econ. Stat. 29: 238-249, sections 2.2 and 2.3.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.inference.clusterings import Clustering
from crosslevel.inference.robust_rows import Loading, ModelRows
from crosslevel.types import FloatArray, IntArray

LEVERAGE_ONE = 1e-10
"""Share of a direction's working variance that its residual keeps, below which it keeps none."""

WORK = 1e10
"""Sum of the cubes of the rows of clusters up to which CR2 decomposes matrices of their rows."""

SMALL = 32
"""Rows up to which it is not worth to replace a cluster's rows by fewer."""

NEGATIVE = 1e-12
"""Eigenvalue, relative to the largest, from which on it is more negative than rounding makes it."""


class RobustKind(ABC):
    """One way of adjusting the residuals of a cluster."""

    name: str
    """Its name in arguments."""
    description: str
    """What it is, for the line under a table."""

    @abstractmethod
    def influence(self, rows: ModelRows, clusters: Clustering, n_rows: int) -> FloatArray:
        """M W_g'A_g of all clusters side by side, transposed: (n, p), in the units of the data.

        Parameters
        ----------
        rows : the rows of the model.
        clusters : of these rows.
        n_rows : rows that were observed.

        Raises
        ------
        CrosslevelError : it is not defined for these clusters.
        """


def _unadjusted(rows: ModelRows) -> FloatArray:
    """M W' of all rows, transposed: (n, p)."""
    return rows.weighted @ (rows.turn @ rows.bread).T


class CR0(RobustKind):
    """No adjustment."""

    name = "CR0"
    description = "cluster-robust without a correction for few clusters (CR0)"

    def influence(self, rows: ModelRows, clusters: Clustering, n_rows: int) -> FloatArray:
        """M W'."""
        return _unadjusted(rows)


class CR1(RobustKind):
    """Times J / (J - 1)."""

    name = "CR1"
    description = "cluster-robust times J / (J - 1) (CR1)"

    def influence(self, rows: ModelRows, clusters: Clustering, n_rows: int) -> FloatArray:
        """M W' sqrt(J / (J - 1))."""
        n_clusters = clusters.n_clusters
        return _unadjusted(rows) * float(np.sqrt(n_clusters / (n_clusters - 1.0)))


class CR1S(RobustKind):
    """Times J (n - 1) / ((J - 1) (n - p)), as in Stata."""

    name = "CR1S"
    description = "cluster-robust times J (n - 1) / ((J - 1) (n - p)), as in Stata (CR1S)"

    def influence(self, rows: ModelRows, clusters: Clustering, n_rows: int) -> FloatArray:
        """M W' sqrt(J (n - 1) / ((J - 1) (n - p)))."""
        n_clusters, p = clusters.n_clusters, rows.x.shape[1]
        factor = n_clusters / (n_clusters - 1.0) * (n_rows - 1.0) / (n_rows - p)
        return _unadjusted(rows) * float(np.sqrt(factor))


class CR2(RobustKind):
    """Unbiased under the working model."""

    name = "CR2"
    description = "cluster-robust with bias-reduced linearisation (CR2)"

    def influence(self, rows: ModelRows, clusters: Clustering, n_rows: int) -> FloatArray:
        """M W_g'A_g with A_g B_g A_g = V_gg."""
        half = np.linalg.cholesky(rows.bread)
        out = np.empty_like(rows.weighted)
        _require_feasible(rows, clusters)
        for _, own in clusters.batches:
            if own.shape[1] > SMALL:
                for each in own:
                    out[each] = _in_few(rows, each, half)
            else:
                covariance = working_covariance(rows.loadings, own)
                out[own] = bias_reduced(rows.x[own] @ half, rows.weighted[own], covariance)
        return out @ (rows.turn @ rows.bread).T


class CR3(RobustKind):
    """Jackknife."""

    name = "CR3"
    description = "cluster-robust, the jackknife over clusters (CR3)"

    def influence(self, rows: ModelRows, clusters: Clustering, n_rows: int) -> FloatArray:
        """M (I - W_g'X_g M)^-1 W_g'."""
        half = np.linalg.cholesky(rows.bread)
        p = len(half)
        left = np.eye(p) - half.T @ clusters.sums(rows.weighted, rows.x) @ half
        least = np.linalg.svd(left, compute_uv=False)[:, -1] if p else np.ones(clusters.n_clusters)
        if np.any(least < LEVERAGE_ONE):
            alone = [str(clusters.levels[g]) for g in np.flatnonzero(least < LEVERAGE_ONE)]
            raise CrosslevelError(
                f"`vcov` is 'CR3', which leaves out one cluster of {clusters.name} at a time, but without "
                f"{alone[0]!r}{f' (or {len(alone) - 1} others)' if len(alone) > 1 else ''} not all coefficients can be "
                "estimated. Use 'CR2', or drop the predictors that tell this cluster from all others."
            )
        # M (I - K M)^-1 = C (I - C'K C)^-1 C' with C C' = M
        middle = half @ np.linalg.solve(left, np.broadcast_to(half.T, left.shape))
        out = np.empty_like(rows.weighted)
        for found, own in clusters.batches:
            out[own] = rows.weighted[own] @ middle[found].transpose(0, 2, 1)
        return out @ rows.turn.T


ROBUST: dict[str, RobustKind] = {kind.name: kind for kind in (CR0(), CR1(), CR1S(), CR2(), CR3())}


def robust_kind(name: object) -> RobustKind:
    """Look up a way of adjusting by its name.

    Raises
    ------
    CrosslevelError : no such way.
    """
    if not isinstance(name, str) or name not in ROBUST:
        raise CrosslevelError(f"`vcov` is one of {', '.join(map(repr, ROBUST))}; got {name!r}.")
    return ROBUST[name]


def working_covariance(loadings: Sequence[Loading], rows: IntArray) -> FloatArray:
    """V_gg (B, s, s) of clusters with rows (B, s)."""
    covariance = np.broadcast_to(np.eye(rows.shape[1]), (*rows.shape, rows.shape[1])).copy()
    for loading in loadings:
        for codes, f in loading.members:
            for other_codes, other in loading.members:
                same = codes[rows][:, :, None] == other_codes[rows][:, None, :]
                same &= codes[rows][:, :, None] >= 0
                covariance += same * (f[rows] @ other[rows].transpose(0, 2, 1))
    return covariance


def bias_reduced(x: FloatArray, weighted: FloatArray, covariance: FloatArray) -> FloatArray:
    """A_g W_g (B, s, p) of the symmetric A_g with A B A = V_gg, B = V_gg - X M X'.

    With L L' = V and L^-1 X C = U d U2', C C' = M: L'B L = K K', K = L'L (I - U (1 - sqrt(1 - d^2)) U'), whose singular
    value decomposition keeps digits that L'B L itself would lose.

    Parameters
    ----------
    x : (B, s, p) X C.
    weighted : (B, s, p) W_g.
    covariance : (B, s, s) V_gg.
    """
    root = np.linalg.cholesky(covariance)
    directions, lengths, _ = np.linalg.svd(np.linalg.solve(root, x), full_matrices=False)
    kept = 1.0 - lengths**2
    kept[kept < LEVERAGE_ONE] = 0.0
    upper = root.transpose(0, 2, 1)
    shrunk = np.eye(x.shape[1]) - (directions * (1.0 - np.sqrt(kept))[:, None, :]) @ directions.transpose(0, 2, 1)
    axes, sizes, _ = np.linalg.svd(upper @ root @ shrunk)
    rank = x.shape[1] - np.count_nonzero(kept == 0.0, axis=1)
    inverse = np.where(np.arange(x.shape[1]) < rank[:, None], 1.0, 0.0)
    inverse = np.divide(inverse, sizes, out=np.zeros_like(sizes), where=inverse > 0.0)
    turned = root @ axes
    return np.asarray((turned * inverse[:, None, :]) @ (turned.transpose(0, 2, 1) @ weighted))


def _width(rows: ModelRows, own: IntArray) -> int:
    """Columns of [F X] that a cluster has."""
    width = int(rows.x.shape[1])
    for loading in rows.loadings:
        codes = np.concatenate([codes[own] for codes, _ in loading.members])
        width += len(np.unique(codes)) * int(loading.members[0][1].shape[1])
    return width


def _require_feasible(rows: ModelRows, clusters: Clustering) -> None:
    """Refuse clusters that are too large, and whose rows cannot be replaced by few enough.

    Raises
    ------
    CrosslevelError : see above.
    """
    large = [each for _, own in clusters.batches if own.shape[1] > SMALL for each in own]
    sizes = [min(len(each), _width(rows, each)) for each in large]
    if sum(float(size) ** 3 for size in sizes) > WORK:
        raise CrosslevelError(
            "`vcov` is 'CR2', which decomposes a matrix for each cluster that is as large as random effects have "
            f"levels in it: in those of {clusters.name} up to {max(sizes):,}, which would take minutes to hours. Use "
            "'CR3' or 'CR1S', which need none."
        )


def _in_few(rows: ModelRows, own: IntArray, half: FloatArray) -> FloatArray:
    """A_g W_g (s, p) of one cluster, in an orthonormal basis of the span of [F X], outside of which A is I."""
    x, weighted = rows.x[own], rows.weighted[own]
    if _width(rows, own) >= len(own):
        return np.asarray(
            bias_reduced((x @ half)[None], weighted[None], working_covariance(rows.loadings, own[None]))[0]
        )
    columns = [np.zeros((len(own), 0))]
    for loading in rows.loadings:
        present, place = np.unique(np.concatenate([codes[own] for codes, _ in loading.members]), return_inverse=True)
        f = np.zeros((len(own), len(present), loading.members[0][1].shape[1]))
        for where, (codes, values) in zip(place.reshape(len(loading.members), -1), loading.members, strict=True):
            f[np.arange(len(own)), where] += (codes[own] >= 0)[:, None] * values[own]
        columns.append(f.reshape(len(own), -1))
    effects = np.hstack(columns)
    basis = np.linalg.qr(np.hstack([effects, x]))[0]
    f = basis.T @ effects
    covariance = np.eye(basis.shape[1]) + f @ f.T
    found = bias_reduced((basis.T @ x @ half)[None], (basis.T @ weighted)[None], covariance[None])
    return np.asarray(basis @ found[0])


@dataclass(frozen=True, kw_only=True, eq=False)
class Link:
    """What random effects that cross the clusters add to the covariance of two clusters' contributions.

    P_gh gains the sum over levels l that both have rows of, of B_gl B_hl'.

    Attributes
    ----------
    clusters, levels : (m,) g and l of each.
    n_levels : J of the factor.
    values : (m, p, q) B_gl = M W_g'A_g F_gl.
    """

    clusters: IntArray
    levels: IntArray
    n_levels: int
    values: FloatArray = field(repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class OneWay:
    """Contributions of the clusters of one clustering, and their covariances under the working model.

    The contributions of clusters g and h have the covariance P_gh = [g = h] D_g - Y_g Y_h' + links, in units of
    sigma^2: what tests need to know about the precision of V_CR.

    Attributes
    ----------
    name, n_clusters : of the clusters.
    change : (J, p) M W_g'A_g e_g.
    own, shared : (J, p, p) D_g and Y_g.
    links : for each factor whose levels cross the clusters.
    model : (p, p) M, the working model's covariance of the coefficients, in the same units as D and Y Y'.
    """

    name: str
    n_clusters: int
    model: FloatArray = field(repr=False)
    change: FloatArray = field(repr=False)
    own: FloatArray = field(repr=False)
    shared: FloatArray = field(repr=False)
    links: tuple[Link, ...] = ()

    @property
    def vcov(self) -> FloatArray:
        """(p, p) V_CR."""
        return self.change.T @ self.change

    @property
    def mean(self) -> FloatArray:
        """(p,) mean of the diagonal of V_CR under the working model, in the same units as M."""
        mean = np.einsum("jaa->a", self.own) - np.einsum("jab,jab->a", self.shared, self.shared)
        for link in self.links:
            mean += np.einsum("maq,maq->a", link.values, link.values)
        return np.asarray(mean)


def contributions(
    rows: ModelRows, clusters: Clustering, kind: RobustKind, n_rows: int
) -> tuple[FloatArray, FloatArray]:
    """(J, p) M W_g'A_g e_g of each cluster, in the units of the data, and (p,) `OneWay.mean`."""
    influence = kind.influence(rows, clusters, n_rows)
    half, mean = np.linalg.cholesky(rows.bread), np.sum(influence**2, axis=0)
    for _, own in clusters.batches:
        mean -= np.sum((influence[own].transpose(0, 2, 1) @ (rows.x[own] @ half)) ** 2, axis=(0, 2))
    for loading in rows.loadings:
        mean += np.sum(_link(loading, clusters, influence).values ** 2, axis=(0, 2))
    return clusters.sums(influence, rows.residual[:, None])[:, :, 0], mean


def one_way(rows: ModelRows, clusters: Clustering, kind: RobustKind, n_rows: int) -> OneWay:
    """Contributions of clusters with their covariances."""
    influence = kind.influence(rows, clusters, n_rows)
    own = clusters.sums(influence, influence)
    links = []
    for loading in rows.loadings:
        link = _link(loading, clusters, influence)
        if len(np.unique(link.levels)) == len(link.levels):  # each level lies in one cluster
            np.add.at(own, link.clusters, link.values @ link.values.transpose(0, 2, 1))
        else:
            links.append(link)
    return OneWay(
        name=clusters.name,
        n_clusters=clusters.n_clusters,
        model=rows.turn @ rows.bread @ rows.turn.T,
        change=clusters.sums(influence, rows.residual[:, None])[:, :, 0],
        own=own,
        shared=clusters.sums(influence, rows.x) @ np.linalg.cholesky(rows.bread),
        links=tuple(links),
    )


def _link(loading: Loading, clusters: Clustering, influence: FloatArray) -> Link:
    """Sums of influence (n, p) times F over the rows of each level in each cluster."""
    codes = np.concatenate([codes for codes, _ in loading.members])
    f = np.concatenate([f for _, f in loading.members])
    times = len(loading.members)
    known = codes >= 0
    keys = np.tile(clusters.codes.astype(np.int64), times) * loading.n_levels + codes
    pairs, place = np.unique(keys[known], return_inverse=True)
    cells = Clustering(name="", levels=tuple(pairs), codes=place.astype(np.int32))
    return Link(
        clusters=pairs // loading.n_levels,
        levels=pairs % loading.n_levels,
        n_levels=loading.n_levels,
        values=cells.sums(np.tile(influence, (times, 1))[known], f[known]),
    )


def without_negative(vcov: FloatArray, model: FloatArray) -> tuple[FloatArray, bool]:
    """A covariance (p, p) whose negative eigenvalues are set to zero, and whether there were any.

    Eigenvalues are those relative to the model's own covariance (p, p), so that the units of the predictors do not
    matter.
    """
    root = np.linalg.cholesky(model)
    relative = np.linalg.solve(root, np.linalg.solve(root, vcov).T)
    values, vectors = np.linalg.eigh(0.5 * (relative + relative.T))
    if values[0] >= -NEGATIVE * max(values[-1], 0.0):
        return vcov, False
    half = root @ vectors * np.sqrt(np.maximum(values, 0.0))
    return half @ half.T, True
