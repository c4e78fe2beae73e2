"""Standard errors and intervals of variance components, on the scales on which they are nearly normal."""

from dataclasses import dataclass

import numpy as np

from crosslevel.inference.distributions import normal_quantile
from crosslevel.inference.icc import IntraclassCorrelation, intraclass_correlation
from crosslevel.likelihood.fixed_scale import FixedScaleDeviance
from crosslevel.solve import Solution
from crosslevel.types import BoolArray, FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class VarianceComponents:
    """Covariance of one factor's random effects and its sampling covariance, in the units of the data.

    Attributes
    ----------
    covariance : (q, q) sigma^2 Lambda Lambda'.
    sigma2 : residual variance.
    known : (q, q) which elements are known: of blocks whose covariance is given, and zero between these and others.
    jacobian : (q, q, k + 1) derivative of `covariance` in (theta, log sigma); theta after the residual structure's phi.
    vcov : (k + 1, k + 1) sampling covariance of (theta, log sigma) from the observed information, or with sampling
        weights from the sandwich; NaN for theta where a variance is on its boundary, since no standard error has a
        meaning there.
    """

    covariance: FloatArray
    sigma2: float
    known: BoolArray
    jacobian: FloatArray
    vcov: FloatArray

    @property
    def std_error(self) -> FloatArray:
        """(q, q) standard errors of the variances and covariances, by the delta method; NaN where they are known."""
        variance = np.einsum("ija,ab,ijb->ij", self.jacobian, self.vcov, self.jacobian)
        return np.asarray(np.sqrt(np.where(self.known, np.nan, variance)))

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
        variance = np.einsum("ija,ab,ijb->ij", gradient, self.vcov, gradient)
        return np.asarray(np.sqrt(np.where(self.known, np.nan, variance)))

    def _correlation_jacobian(self) -> FloatArray:
        """(q, q, k + 1) derivative of the correlations in (theta, log sigma)."""
        variance = np.diag(self.covariance)
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.einsum("iia->ia", self.jacobian) / variance[:, None]
            size = np.sqrt(np.outer(variance, variance))
            out = self.jacobian / size[:, :, None]
        return np.asarray(out - 0.5 * self.correlation[:, :, None] * (relative[:, None, :] + relative[None, :, :]))


def variance_interval(variance: float, std_error: float, level: float) -> tuple[float, float]:
    """Interval of a variance: log scale, so it stays positive."""
    if not variance > 0.0 or not np.isfinite(std_error):
        return np.nan, np.nan
    with np.errstate(over="ignore"):  # nothing is known of it: the interval is (0, infinity)
        spread = np.exp(normal_quantile(0.5 + level / 2.0) * std_error / variance)
    return variance / spread, variance * spread


def correlation_interval(correlation: float, std_error: float, level: float) -> tuple[float, float]:
    """Interval of a correlation: Fisher's z scale, so it stays within -1 and 1."""
    if not abs(correlation) < 1.0 or not np.isfinite(std_error):
        return np.nan, np.nan
    half = normal_quantile(0.5 + level / 2.0) * std_error / (1.0 - correlation**2)
    z = np.arctanh(correlation)
    return float(np.tanh(z - half)), float(np.tanh(z + half))


def variance_components(solution: Solution) -> tuple[VarianceComponents, ...]:
    """Variance components of each grouping factor with their common sampling covariance.

    With the profiled Hessian H in theta, and log sigma = log(r^2(theta) / nu) / 2 at its conditional optimum, whose
    gradient is g: Var(theta) = 2 H^-1, Cov(theta, log sigma) = Var(theta) g, Var(log sigma) = 1/(2 nu) + g'Var(theta)g.
    """
    criterion, at = solution.criterion, solution.at
    vcov = parameter_covariance(solution)
    sigma2, k = solution.sigma**2, len(vcov) - 1
    out, start = [], len(solution.phi)
    for structure, basis, working, factor in zip(
        criterion.structures, criterion.bases, at.factors, solution.factors, strict=True
    ):
        part = slice(start, start + structure.n_theta)
        start = part.stop
        known = structure.fixed[:, None] | structure.fixed
        half = structure.factor_gradient(solution.minimum.theta[part]) @ working.T
        back = np.linalg.inv(basis)
        covariance = sigma2 * factor @ factor.T
        jacobian = np.zeros((*covariance.shape, k + 1))
        jacobian[:, :, part] = (sigma2 * (back @ (half + half.transpose(0, 2, 1)) @ back.T)).transpose(1, 2, 0)
        jacobian[:, :, -1] = np.where(known, 0.0, 2.0 * covariance)
        out.append(VarianceComponents(covariance=covariance, sigma2=sigma2, known=known, jacobian=jacobian, vcov=vcov))
    return tuple(out)


def residual_variance(solution: Solution, components: tuple[VarianceComponents, ...]) -> tuple[float, float]:
    """Residual variance sigma^2 and its standard error, NaN where it was known."""
    if solution.criterion.sigma is not None:
        return solution.sigma**2, np.nan
    vcov = components[0].vcov if components else parameter_covariance(solution)
    return solution.sigma**2, float(2.0 * solution.sigma**2 * np.sqrt(vcov[-1, -1]))


def parameter_covariance(solution: Solution) -> FloatArray:
    """Sampling covariance (k + 1, k + 1) of (working theta, log sigma), theta after the residual structure's phi.

    NaN for theta on a boundary, 0 for a sigma that is known.
    """
    if solution.parameter_vcov is not None:
        return solution.parameter_vcov
    if isinstance(solution.criterion, FixedScaleDeviance):
        return _beside_known(solution)
    k, nu, n_phi = len(solution.minimum.theta), solution.at.nu, len(solution.phi)
    vcov = np.full((k + 1, k + 1), np.nan)
    vcov[k, k] = 1.0 / (2.0 * nu) if solution.criterion.sigma is None else 0.0
    if solution.is_singular and not n_phi:
        return vcov
    hessian, gradient = solution.criterion.curvature(solution.minimum.state, solution.minimum.theta)
    try:
        np.linalg.cholesky(hessian)
    except np.linalg.LinAlgError:
        return vcov
    vcov[:k, :k] = 2.0 * np.linalg.inv(hessian)
    vcov[:k, k] = vcov[k, :k] = vcov[:k, :k] @ gradient
    vcov[k, k] += gradient @ vcov[:k, :k] @ gradient
    if solution.is_singular:
        vcov[n_phi:k] = vcov[:, n_phi:k] = np.nan
    return vcov


def _beside_known(solution: Solution) -> FloatArray:
    """Sampling covariance (k + 1, k + 1) of (working theta, log sigma) where some covariances are known.

    From the Hessian in both; NaN for theta on a boundary, and for a sigma that is estimated as zero.
    """
    criterion, at, theta = solution.criterion, solution.minimum.state, solution.minimum.theta
    hessian, k = criterion.joint_hessian(at, theta), len(theta)
    vcov = np.full((k + 1, k + 1), np.nan)
    moving = np.append(np.full(k, not solution.is_singular), not criterion.is_least(at))
    chosen = np.ix_(moving, moving)
    try:
        np.linalg.cholesky(hessian[chosen])
    except np.linalg.LinAlgError:
        return vcov
    vcov[chosen] = 2.0 * np.linalg.inv(hessian[chosen])
    return vcov


def intercept_icc(
    components: tuple[VarianceComponents, ...], intercepts: tuple[int, ...], *, level: float
) -> IntraclassCorrelation:
    """Share of the random intercepts' variance, of all factors together, in the total.

    Parameters
    ----------
    components : of all grouping factors.
    intercepts : for each factor the position of its random intercept, or -1 where it has none.
    level : confidence level.
    """
    return variance_share(components, intercepts, (True,) * len(intercepts), level=level)


def variance_share(
    components: tuple[VarianceComponents, ...], intercepts: tuple[int, ...], chosen: tuple[bool, ...], *, level: float
) -> IntraclassCorrelation:
    """Share of the intercept variance of the `chosen` factors in that of all factors and the residual.

    With a the chosen variances' sum and b the rest's, a / (a + b) has the standard error of an intraclass correlation.
    """
    vcov = components[0].vcov
    inside, outside = np.zeros(len(vcov)), np.zeros(len(vcov))
    outside[-1] = 2.0 * components[0].sigma2
    chosen_sum, rest = 0.0, components[0].sigma2
    for part, k, wanted in zip(components, intercepts, chosen, strict=True):
        if k < 0:
            continue
        variance, gradient = float(part.covariance[k, k]), part.jacobian[k, k]
        if wanted:
            chosen_sum, inside = chosen_sum + variance, inside + gradient
        else:
            rest, outside = rest + variance, outside + gradient
    return intraclass_correlation(
        chosen_sum,
        rest,
        tau_se=float(np.sqrt(inside @ vcov @ inside)),
        sigma2_se=float(np.sqrt(outside @ vcov @ outside)),
        covariance=float(inside @ vcov @ outside),
        level=level,
    )
