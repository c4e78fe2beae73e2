"""The second of two steps: coefficients that were estimated in each cluster, explained by what clusters are.

With y_j a coefficient of cluster j, its known sampling variance omega_j^2 and context variables X (J, k),

    y = X gamma + u + e,   Var(u_j) = sigma^2,   Var(e_j) = omega_j^2.

OLS weighs clusters equally, WLS by 1 / omega_j^2 (as if sigma were zero), FGLS by 1 / (omega_j^2 + sigma^2), where the
residuals r of OLS, less what sampling contributes to them, give

    sigma^2 = (sum r_j^2 - sum omega_j^2 + tr((X'X)^-1 X'diag(omega^2) X)) / (J - k),   zero if that is negative.

Source: Lewis & Linzer (2005), Political Analysis 13: 345-364, eq. 9 to 13; Hanushek (1974), Am. Stat. 28: 66-67;
Borjas & Sueyoshi (1994), J. Econometrics 64: 165-182. Standard errors: `CLUSTER_ERRORS`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.inference.heteroskedastic import LEVERAGE_ONE, ROW_ROBUST
from crosslevel.types import FloatArray

CLUSTER_ERRORS: dict[str, str] = {
    "scaled": "the weights say how variances relate to each other, the residuals how large they are",
    "unscaled": "the weights are taken at their word: (X'WX)^-1",
    **{name: kind.description for name, kind in ROW_ROBUST.items()},
}
"""Covariances of the second step's coefficients, and what they are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SecondStep:
    """A weighted regression with one row for each of J clusters.

    Attributes
    ----------
    y : (J,) outcome.
    regressors : (J, d) columns, those of the k context variables first, then adjustments.
    n_context : k.
    weights : (J,) W, the inverse of the error variances up to one factor.
    coefficients : (d,) all coefficients.
    influence : (k, J) by how much the context coefficients rise with each cluster's outcome.
    leverage : (J,) of each cluster on its own fitted value.
    residuals : (J,).
    wander : (k, J) what each cluster contributes to the error of coefficients by shifting the point from which
        adjustments are measured; zeros without adjustments.
    """

    y: FloatArray = field(repr=False)
    regressors: FloatArray = field(repr=False)
    n_context: int
    weights: FloatArray = field(repr=False)
    coefficients: FloatArray
    influence: FloatArray = field(repr=False)
    leverage: FloatArray = field(repr=False)
    residuals: FloatArray = field(repr=False)
    wander: FloatArray = field(repr=False)

    @property
    def beta(self) -> FloatArray:
        """(k,) coefficients of the context variables."""
        return self.coefficients[: self.n_context]

    @property
    def df(self) -> int:
        """J - d."""
        n, d = self.regressors.shape
        return int(n - d)

    @property
    def variance(self) -> float:
        """Weighted residual variance sum w r^2 / (J - d): near 1 where the weights are inverse variances."""
        return float(np.sum(self.weights * self.residuals**2) / self.df)


def solve_weighted(
    y: FloatArray, regressors: FloatArray, n_context: int, weights: FloatArray, wander: FloatArray | None = None
) -> SecondStep:
    """Weighted least squares by orthogonal decomposition of sqrt(W) D, whose columns are independent."""
    root = np.sqrt(weights)[:, None]
    scaled = root * regressors
    size = np.sqrt(np.sum(scaled**2, axis=0))
    orthogonal, upper = np.linalg.qr(scaled / size)
    half = np.linalg.inv(upper) / size[:, None]
    image = orthogonal.T @ (root[:, 0] * y)
    return SecondStep(
        y=y, regressors=regressors, n_context=n_context, weights=weights, coefficients=half @ image,
        influence=half[:n_context] @ (root * orthogonal).T, leverage=np.sum(orthogonal**2, axis=1),
        residuals=y - orthogonal @ image / root[:, 0],
        wander=np.zeros((n_context, len(y))) if wander is None else wander,
    )  # fmt: skip


def variance_beyond_sampling(y: FloatArray, regressors: FloatArray, sampling: FloatArray) -> float:
    """Lewis & Linzer's sigma^2 before it is floored at zero, in squared units of the coefficient.

    Parameters
    ----------
    y, regressors : (J,) and (J, d).
    sampling : (J,) known variances omega_j^2.
    """
    plain = solve_weighted(y, regressors, regressors.shape[1], np.ones(len(y)))
    expected = float(np.sum((1.0 - plain.leverage) * sampling))  # the trace is the sum of leverage_j omega_j^2
    return (float(np.sum(plain.residuals**2)) - expected) / plain.df


def cluster_weights(method: str, sampling: FloatArray, sigma2: float) -> FloatArray:
    """Weights (J,) of "ols", "wls" and "fgls"; those of adjusted methods where there is nothing to adjust."""
    if method in ("ols", "adjusted"):
        return np.ones(len(sampling))
    return np.asarray(1.0 / (sampling + (0.0 if method == "wls" else sigma2)))


def covariance(one: SecondStep, other: SecondStep, kind: str) -> FloatArray:
    """Covariance (k, k') of the context coefficients of two regressions on the same clusters, or of one with itself.

    Errors of one cluster in two regressions are correlated, those of different clusters are not. "scaled" takes the
    covariance of the errors from the weighted residuals, "unscaled" their correlation only; "HC0" to "HC3" each
    cluster's own residuals.

    Raises
    ------
    CrosslevelError : HC3 with a cluster that alone determines a coefficient.
    """
    if kind in ROW_ROBUST:
        errors = _adjusted_residuals(one, kind) * _adjusted_residuals(other, kind)
    else:
        root = np.sqrt(one.weights * other.weights)
        errors = 1.0 / root
        shared = float(np.sum(root * one.residuals * other.residuals)) / np.sqrt(one.df * other.df)
        if kind == "scaled":
            errors = errors * shared
        elif one is not other:
            errors = errors * shared / np.sqrt(one.variance * other.variance)
    n = len(one.y)
    drawn = (one.influence * errors) @ other.influence.T
    return np.asarray(drawn + one.wander @ other.wander.T * (n / (n - 1.0)))


def covariance_root(step: SecondStep, kind: str) -> FloatArray:
    """F (k, k) with F F' = `covariance(step, step, kind)`: the sum of squares of x'F is never negative.

    Far from the mean of a context variable x'Cov x is a small difference of large numbers, and x'F is not.
    """
    if kind in ROW_ROBUST:
        errors = _adjusted_residuals(step, kind)
    else:
        errors = np.sqrt((step.variance if kind == "scaled" else 1.0) / step.weights)
    n = len(step.y)
    drawn = np.vstack([(step.influence * errors).T, step.wander.T * np.sqrt(n / (n - 1.0))])
    upper: FloatArray = np.linalg.qr(drawn)[1]
    return upper.T


def _adjusted_residuals(step: SecondStep, name: str) -> FloatArray:
    """Residuals (J,) as HC0 to HC3 take them."""
    kind = ROW_ROBUST[name]
    kept = 1.0 - step.leverage
    able = kept > LEVERAGE_ONE
    if kind.power == 1.0 and not np.all(able):
        raise CrosslevelError(
            f"`vcov` is {name!r}, which leaves out one cluster at a time, but {np.count_nonzero(~able)} clusters alone "
            "determine a coefficient. Use 'HC2', or drop the context variable that is theirs."
        )
    share = np.where(able, np.where(able, kept, 1.0) ** -kind.power, 0.0 if kind.power else 1.0)
    factor = np.sqrt(len(step.y) / step.df) if kind.counted else 1.0
    return np.asarray(step.residuals * share * factor)


def joint_covariance(steps: Sequence[SecondStep], kind: str) -> FloatArray:
    """Covariance of the context coefficients of several regressions on the same clusters, one after another."""
    blocks = [[covariance(one, other, kind) for other in steps] for one in steps]
    return np.block(blocks)
