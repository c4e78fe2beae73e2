"""Several normal outcomes of rows in clusters, each with the same regressors and an intercept of its clusters.

    y_ij = Pi'w_ij + v_j + e_ij,    v_j ~ N(0, Sigma_B),    e_ij ~ N(0, Sigma_W),    y_ij, v_j, e_ij of m outcomes.

With r_j the mean residual of cluster j of n_j rows, S_W the residuals' cross-products within clusters and
H_j = Sigma_W + n_j Sigma_B, minus twice the log-likelihood is, up to a constant,

    (n - J) log|Sigma_W| + tr(Sigma_W^-1 S_W) + sum_j ( log|H_j| + n_j r_j'H_j^-1 r_j )  [ + log|I| for REML ],
    I = Sigma_W^-1 (x) A_W + sum_j H_j^-1 (x) n_j w_j w_j',

I the information on Pi, which is profiled out; A_W the regressors' cross-products within clusters. The rows are read
once; after that everything is done on sums by cluster.

Source: McDonald & Goldstein (1989), Br. J. Math. Stat. Psychol. 42: 215-232; Muthén (1994), Sociol. Methods Res. 22:
376-398.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.optimise import Derivatives, Status, minimise
from crosslevel.types import CodeArray, FloatArray

CONSTANT = 1e-10
"""Share of a column's length that is left beside the others, below which these determine it."""

MOST_STEPS = 500
"""Steps of the search."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ClusterMoments:
    """Sums of rows by cluster: all that the likelihood needs.

    Attributes
    ----------
    size : (J,) rows.
    w, y : (J, k), (J, m) means of regressors and outcomes.
    ww, wy, yy : (k, k), (k, m), (m, m) cross-products within clusters, over all of them.
    """

    size: FloatArray
    w: FloatArray
    y: FloatArray
    ww: FloatArray
    wy: FloatArray
    yy: FloatArray

    @classmethod
    def of(cls, y: FloatArray, w: FloatArray, codes: CodeArray) -> "ClusterMoments":
        """Those of outcomes (n, m) and regressors (n, k) of rows in clusters (n,)."""
        size = np.bincount(codes).astype(np.float64)
        both = np.column_stack([w, y])
        mean = np.column_stack([np.bincount(codes, column) / size for column in both.T])
        inside = both - mean[codes]
        inner, k = inside.T @ inside, w.shape[1]
        return cls(size=size, w=mean[:, :k], y=mean[:, k:], ww=inner[:k, :k], wy=inner[:k, k:], yy=inner[k:, k:])


@dataclass(frozen=True, kw_only=True, eq=False)
class TwoLevelNormal:
    """Estimates of the model.

    Attributes
    ----------
    coefficients : (k, m) Pi.
    coefficients_vcov : (k m, k m) their covariance, the outcomes of one regressor after the other.
    within, between : (m, m) Sigma_W, Sigma_B.
    covariances_vcov : (s, s) covariance of the s = m (m + 1) elements of both, lower triangles by rows, Sigma_W first;
        from the expected information.
    deviance : -2 log-likelihood (restricted if REML), without the constant n m log(2 pi).
    """

    coefficients: FloatArray
    coefficients_vcov: FloatArray = field(repr=False)
    within: FloatArray
    between: FloatArray
    covariances_vcov: FloatArray = field(repr=False)
    deviance: float


@dataclass(frozen=True, kw_only=True, eq=False)
class _State:
    """The criterion at one pair of covariance matrices."""

    deviance: float
    coefficients: FloatArray
    information: FloatArray
    inverse_within: FloatArray
    inverse_sums: FloatArray
    residuals: FloatArray
    inside: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class TwoLevelDeviance:
    """The deviance as a function of the lower triangles (by rows) of the Cholesky factors of Sigma_W and Sigma_B."""

    moments: ClusterMoments
    reml: bool

    @property
    def m(self) -> int:
        """Outcomes."""
        return int(self.moments.y.shape[1])

    def factors(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Lower triangular factors (m, m) of Sigma_W and Sigma_B."""
        places, half = np.tril_indices(self.m), len(theta) // 2
        within, between = np.zeros((self.m, self.m)), np.zeros((self.m, self.m))
        within[places], between[places] = theta[:half], theta[half:]
        return within, between

    def value(self, theta: FloatArray) -> _State:
        """Profile the coefficients out, and sum the deviance."""
        within, between = (factor @ factor.T for factor in self.factors(theta))
        each, m = self.moments, self.m
        sums = within + each.size[:, None, None] * between
        sign, log_det = np.linalg.slogdet(np.concatenate([within[None], sums]))
        if np.any(sign <= 0.0):
            return _nothing(m, each.w.shape[1])
        inverse_within, inverse_sums = np.linalg.inv(within), np.linalg.inv(sums)

        # generalised least squares, coefficients in the order (regressor, outcome)
        weighted = each.size[:, None, None] * inverse_sums
        k = each.w.shape[1]
        information = np.kron(each.ww, inverse_within)
        information += np.einsum("ja,jb,jpq->apbq", each.w, each.w, weighted).reshape(k * m, k * m)
        right = each.wy @ inverse_within + np.einsum("ja,jpq,jq->ap", each.w, weighted, each.y)
        coefficients = np.linalg.solve(information, right.ravel()).reshape(k, m)

        # residuals between and within
        residuals = each.y - each.w @ coefficients
        crossed = coefficients.T @ each.wy
        inside = each.yy - crossed - crossed.T + coefficients.T @ each.ww @ coefficients
        square = np.sum(inverse_within * inside) + np.einsum("jp,jpq,jq->", residuals, weighted, residuals)
        deviance = (each.size.sum() - len(each.size)) * log_det[0] + log_det[1:].sum() + square
        if self.reml:
            deviance += np.linalg.slogdet(information)[1]
        return _State(
            deviance=float(deviance), coefficients=coefficients, information=information,
            inverse_within=inverse_within, inverse_sums=inverse_sums, residuals=residuals, inside=inside,
        )  # fmt: skip

    def slopes(self, at: _State) -> tuple[FloatArray, FloatArray]:
        """Derivatives (m, m) of the deviance in Sigma_W and Sigma_B."""
        each, m, k = self.moments, self.m, self.moments.w.shape[1]
        size, free = each.size, each.size.sum() - len(each.size)
        spread = np.einsum("j,jp,jq->jpq", size, at.residuals, at.residuals)
        inner = at.inside
        if self.reml:  # what estimating the coefficients takes from the residuals is added to them
            covariance = np.linalg.inv(at.information).reshape(k, m, k, m)
            spread = spread + np.einsum("j,ja,jb,apbq->jpq", size, each.w, each.w, covariance)
            inner = inner + np.einsum("ab,apbq->pq", each.ww, covariance)
        by_cluster = at.inverse_sums - at.inverse_sums @ spread @ at.inverse_sums
        within = free * at.inverse_within - at.inverse_within @ inner @ at.inverse_within + by_cluster.sum(axis=0)
        return within, np.einsum("j,jpq->pq", size, by_cluster)

    def curvature(self, at: _State, changes: FloatArray) -> FloatArray:
        """Expected second derivatives (s, s) in directions (s, 2, m, m) of Sigma_W and Sigma_B."""
        size = self.moments.size
        moved = changes[:, 0, None] + size[:, None, None] * changes[:, 1, None]
        turned = np.einsum("jpq,sjqr->sjpr", at.inverse_sums, moved)
        own = np.einsum("pq,sqr->spr", at.inverse_within, changes[:, 0])
        free = size.sum() - len(size)
        return np.asarray(free * np.einsum("spq,tqp->st", own, own) + np.einsum("sjpq,tjqp->st", turned, turned))

    def derivatives(self, at: _State, theta: FloatArray) -> Derivatives:
        """Exact gradient; expected curvature with what the quadratic map from factors adds at the boundary."""
        places, factors, slopes = np.tril_indices(self.m), self.factors(theta), self.slopes(at)
        gradient = np.concatenate([2.0 * (g @ f)[places] for g, f in zip(slopes, factors, strict=True)])
        changes = np.stack(list(_directions(factors)))
        expected = self.curvature(at, changes)
        hessian, half = expected.copy(), len(theta) // 2
        for k, slope in enumerate(slopes):
            sizes, vectors = np.linalg.eigh(slope)
            positive = (vectors * np.maximum(sizes, 0.0)) @ vectors.T
            same = places[1][:, None] == places[1][None, :]
            own = slice(k * half, (k + 1) * half)
            hessian[own, own] += 2.0 * positive[np.ix_(places[0], places[0])] * same
        return Derivatives(gradient=gradient, hessian=hessian, expected=lambda: expected)


def two_level_normal(y: FloatArray, w: FloatArray, codes: CodeArray, *, reml: bool = False) -> TwoLevelNormal:
    """Fit the model by maximum likelihood, exactly: the gradient is zero, or the boundary is the optimum.

    Parameters
    ----------
    y : (n, m) outcomes.
    w : (n, k) regressors, the intercept among them, of full rank.
    codes : (n,) cluster of each row, 0 .. J - 1, each with a row at least, and some with several.
    reml : whether the restricted likelihood is maximised.

    Returns
    -------
    estimates, in the units of the data.

    Raises
    ------
    CrosslevelError : the search did not end at an optimum.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> codes = np.repeat(np.arange(50), 10)
    >>> y = rng.normal(size=(50, 2))[codes] + 2.0 * rng.normal(size=(500, 2))
    >>> found = two_level_normal(y, np.ones((500, 1)), codes)
    >>> found.within.round(1).tolist()
    [[3.9, -0.3], [-0.3, 4.3]]
    """
    unit_y, unit_w = np.std(y, axis=0), np.sqrt(np.mean(w**2, axis=0))
    moments = ClusterMoments.of(y / unit_y, w / unit_w, codes)
    criterion = TwoLevelDeviance(moments=moments, reml=reml)
    places, m = np.tril_indices(y.shape[1]), y.shape[1]
    start = np.concatenate([np.sqrt(share) * np.eye(m)[places] for share in (0.8, 0.2)])
    minimum = minimise(
        criterion, start, deviance=lambda at: at.deviance, escape=lambda theta, at: None, max_steps=MOST_STEPS
    )
    if minimum.status is not Status.CONVERGED:
        raise CrosslevelError(
            "The model of both levels of the predictor has not reached its optimum: "
            f"{minimum.status.value.removeprefix('Not converged: ')} Leave out regressors, or check the predictor."
        )
    return _in_units(criterion, minimum.theta, minimum.state, unit_y, unit_w, len(y))


def _in_units(
    criterion: TwoLevelDeviance, theta: FloatArray, at: _State, unit_y: FloatArray, unit_w: FloatArray, n: int
) -> TwoLevelNormal:
    """Estimates in the units of the data."""
    m, (rows, columns) = criterion.m, np.tril_indices(criterion.m)
    within, between = (factor @ factor.T for factor in criterion.factors(theta))
    half = len(rows)
    changes = np.zeros((2 * half, 2, m, m))
    for k, (a, b) in enumerate(zip(rows, columns, strict=True)):
        for level in range(2):
            changes[level * half + k, level, [a, b], [b, a]] = 1.0
    product = np.tile(unit_y[rows] * unit_y[columns], 2)
    covariances = 2.0 * np.linalg.inv(criterion.curvature(at, changes)) * np.outer(product, product)
    scale = (unit_y[None, :] / unit_w[:, None]).ravel()
    outer = np.outer(unit_y, unit_y)
    shift = 2.0 * n * np.log(unit_y).sum()
    if criterion.reml:
        shift += 2.0 * (m * np.log(unit_w).sum() - len(unit_w) * np.log(unit_y).sum())
    return TwoLevelNormal(
        coefficients=at.coefficients * unit_y[None, :] / unit_w[:, None],
        coefficients_vcov=np.linalg.inv(at.information) * np.outer(scale, scale),
        within=within * outer, between=between * outer, covariances_vcov=covariances,
        deviance=at.deviance + float(shift),
    )  # fmt: skip


def independent_columns(w: FloatArray) -> list[int]:
    """Positions of the columns of w (n, k) that earlier ones do not determine.

    Examples
    --------
    >>> independent_columns(np.array([[1.0, 2.0, 0.0], [1.0, 2.0, 1.0], [1.0, 2.0, 5.0]]))
    [0, 2]
    """
    kept, basis = list[int](), np.zeros((len(w), 0))
    for j in range(w.shape[1]):
        length = np.linalg.norm(w[:, j])
        rest = w[:, j] - basis @ (basis.T @ w[:, j])
        rest = rest - basis @ (basis.T @ rest)  # twice is enough
        if length > 0.0 and np.linalg.norm(rest) > np.sqrt(CONSTANT) * length:
            kept.append(j)
            basis = np.column_stack([basis, rest / np.linalg.norm(rest)])
    return kept


def _directions(factors: tuple[FloatArray, FloatArray]) -> Iterator[FloatArray]:
    """Changes (2, m, m) of Sigma_W and Sigma_B with each element of the factors."""
    m = len(factors[0])
    for level, factor in enumerate(factors):
        for a, b in zip(*np.tril_indices(m), strict=True):
            change = np.zeros((2, m, m))
            change[level, a] += factor[:, b]
            change[level, :, a] += factor[:, b]
            yield change


def _nothing(m: int, k: int) -> _State:
    """A state that no step is taken to."""
    empty = np.zeros((0, 0))
    return _State(
        deviance=np.inf, coefficients=np.zeros((k, m)), information=empty, inverse_within=empty, inverse_sums=empty,
        residuals=empty, inside=empty,
    )  # fmt: skip
