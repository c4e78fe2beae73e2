"""Standard errors and intervals of variance components, on the scales on which they are nearly normal."""

from dataclasses import dataclass

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.inference.distributions import normal_quantile
from crosslevel.inference.icc import IntraclassCorrelation, intraclass_correlation
from crosslevel.solve import Solution
from crosslevel.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class VarianceComponents:
    """Covariance of the random effects and its sampling covariance, in the units of the data.

    Attributes
    ----------
    covariance : (q, q) sigma^2 Lambda Lambda'.
    sigma2 : residual variance.
    jacobian : (q, q, k + 1) derivative of `covariance` in (theta, log sigma).
    vcov : (k + 1, k + 1) sampling covariance of (theta, log sigma) from the observed information; NaN for theta where a
        variance is on its boundary, since no standard error has a meaning there.
    """

    covariance: FloatArray
    sigma2: float
    jacobian: FloatArray
    vcov: FloatArray

    @property
    def std_error(self) -> FloatArray:
        """(q, q) standard errors of the variances and covariances, by the delta method."""
        return np.asarray(np.sqrt(np.einsum("ija,ab,ijb->ij", self.jacobian, self.vcov, self.jacobian)))

    @property
    def sigma2_std_error(self) -> float:
        """Standard error of the residual variance."""
        return float(2.0 * self.sigma2 * np.sqrt(self.vcov[-1, -1]))

    @property
    def correlation(self) -> FloatArray:
        """(q, q) correlations; NaN beside a zero variance."""
        size = np.sqrt(np.diag(self.covariance))
        with np.errstate(divide="ignore", invalid="ignore"):
            out = self.covariance / np.outer(size, size)
        return np.asarray(np.clip(out, -1.0, 1.0))

    def correlation_std_error(self) -> FloatArray:
        """(q, q) standard errors of the correlations, by the delta method."""
        gradient = self._correlation_jacobian()
        return np.asarray(np.sqrt(np.einsum("ija,ab,ijb->ij", gradient, self.vcov, gradient)))

    def _correlation_jacobian(self) -> FloatArray:
        """(q, q, k + 1) derivative of the correlations in (theta, log sigma)."""
        variance = np.diag(self.covariance)
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.einsum("iia->ia", self.jacobian) / variance[:, None]
            size = np.sqrt(np.outer(variance, variance))
            out = self.jacobian / size[:, :, None]
        return np.asarray(out - 0.5 * self.correlation[:, :, None] * (relative[:, None, :] + relative[None, :, :]))

    def variance_interval(self, variance: float, std_error: float, level: float) -> tuple[float, float]:
        """Interval of a variance: log scale, so it stays positive."""
        if not variance > 0.0 or not np.isfinite(std_error):
            return np.nan, np.nan
        with np.errstate(over="ignore"):  # nothing is known of it: the interval is (0, infinity)
            spread = np.exp(normal_quantile(0.5 + level / 2.0) * std_error / variance)
        return variance / spread, variance * spread

    def correlation_interval(self, correlation: float, std_error: float, level: float) -> tuple[float, float]:
        """Interval of a correlation: Fisher's z scale, so it stays within -1 and 1."""
        if not abs(correlation) < 1.0 or not np.isfinite(std_error):
            return np.nan, np.nan
        half = normal_quantile(0.5 + level / 2.0) * std_error / (1.0 - correlation**2)
        z = np.arctanh(correlation)
        return float(np.tanh(z - half)), float(np.tanh(z + half))


def variance_components(solution: Solution) -> VarianceComponents:
    """Variance components of a solution with their sampling covariance.

    With the profiled Hessian H in theta, and log sigma = log(r^2(theta) / nu) / 2 at its conditional optimum, whose
    gradient is g: Var(theta) = 2 H^-1, Cov(theta, log sigma) = Var(theta) g, Var(log sigma) = 1/(2 nu) + g'Var(theta)g.
    """
    criterion, minimum = solution.criterion, solution.minimum
    reduced, at = criterion.reduced, minimum.state
    lambda_gradient = reduced.structure.factor_gradient(minimum.theta)
    half = lambda_gradient @ at.factor.T
    directions = half + half.transpose(0, 2, 1)
    sums = at.psi_derivatives
    gradient = -np.tensordot(directions, sums.tt, axes=([1, 2], [0, 1])) / (2.0 * at.nu)

    k = len(gradient)
    vcov = np.full((k + 1, k + 1), np.nan)
    vcov[k, k] = 1.0 / (2.0 * at.nu)
    inside = not solution.is_singular
    if inside:
        try:
            np.linalg.cholesky(minimum.derivatives.hessian)
        except np.linalg.LinAlgError:
            inside = False
    if inside:
        theta_vcov = 2.0 * np.linalg.inv(minimum.derivatives.hessian)
        vcov[:k, :k] = theta_vcov
        vcov[:k, k] = vcov[k, :k] = theta_vcov @ gradient
        vcov[k, k] += gradient @ theta_vcov @ gradient

    back = np.linalg.inv(reduced.basis)
    sigma2 = solution.sigma**2
    covariance = sigma2 * solution.factor @ solution.factor.T
    in_units = sigma2 * (back @ directions @ back.T)
    jacobian = np.concatenate([in_units.transpose(1, 2, 0), 2.0 * covariance[:, :, None]], axis=2)
    return VarianceComponents(covariance=covariance, sigma2=sigma2, jacobian=jacobian, vcov=vcov)


def intercept_icc(components: VarianceComponents, names: tuple[str, ...], *, level: float) -> IntraclassCorrelation:
    """Intraclass correlation of the random intercept among the random effects `names`.

    Raises
    ------
    CrosslevelError : there is none.
    """
    if "Intercept" not in names:
        raise CrosslevelError(
            f"`icc` needs a random intercept; the random effects are {', '.join(names)}. Add 1 + to the random term."
        )
    intercept = names.index("Intercept")
    tau = float(components.covariance[intercept, intercept])
    gradient = np.zeros(components.vcov.shape[0])
    gradient[-1] = 2.0 * components.sigma2
    return intraclass_correlation(
        tau,
        components.sigma2,
        tau_se=float(components.std_error[intercept, intercept]),
        sigma2_se=components.sigma2_std_error,
        covariance=float(components.jacobian[intercept, intercept] @ components.vcov @ gradient),
        level=level,
    )
