"""A residual structure bound to the rows of a model: R = B B', B = D L, and what it does to rows."""

from dataclasses import dataclass, field, replace

import numpy as np

from crosslevel.errors import DesignError
from crosslevel.residual.correlation import Correlation, CorrelationRoot
from crosslevel.residual.natural import NaturalParameter
from crosslevel.residual.variance import PowerVariance, VarianceFunction
from crosslevel.types import CodeArray, FloatArray, IntArray

NEAR_ZERO = 1e-8
"""Size of a fitted value, relative to the largest, of which no power can be taken."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ResidualRoot:
    """B at one phi: whitened rows are W = B^-1 U.

    Attributes
    ----------
    log_sd : (n,) log of D's diagonal.
    variance_gradient : (k_v, n) its derivative in the first parameters.
    correlation : L, of the other parameters.
    """

    log_sd: FloatArray
    variance_gradient: FloatArray
    correlation: CorrelationRoot

    @property
    def log_det(self) -> float:
        """log|R|."""
        return 2.0 * float(self.log_sd.sum()) + self.correlation.log_det

    @property
    def log_det_gradient(self) -> FloatArray:
        """(k,) its derivative in phi."""
        return np.append(2.0 * self.variance_gradient.sum(axis=1), self.correlation.log_det_gradient)

    @property
    def information(self) -> FloatArray:
        """(k,) expected second derivatives of the deviance of these residuals, sigma profiled out."""
        variances = 4.0 * np.sum(self.variance_gradient**2, axis=1)
        alone = np.append(variances, self.correlation.information)
        return np.asarray(alone - self.log_det_gradient**2 / len(self.log_sd))

    def whiten(self, x: FloatArray) -> FloatArray:
        """B^-1 x for columns x (m, n)."""
        return self.correlation.whiten(x * np.exp(-self.log_sd))

    def derivative(self, a: int, whitened: FloatArray) -> FloatArray:
        """Derivative in phi_a of whitened columns (m, n): -K_a W with K_a = B^-1 dB / dphi_a."""
        n_variance = len(self.variance_gradient)
        if a >= n_variance:
            return -self.correlation.generator(a - n_variance, whitened)
        scaled = self.variance_gradient[a] * self.correlation.colour(whitened)
        return -self.correlation.whiten(scaled)

    def derivative_adjoint(self, a: int, whitened: FloatArray) -> FloatArray:
        """-K_a'W."""
        n_variance = len(self.variance_gradient)
        if a >= n_variance:
            return -self.correlation.generator_adjoint(a - n_variance, whitened)
        scaled = self.variance_gradient[a] * self.correlation.whiten_adjoint(whitened)
        return -self.correlation.colour_adjoint(scaled)


@dataclass(frozen=True, kw_only=True, eq=False)
class BoundResidual:
    """A residual structure and the rows it describes.

    Attributes
    ----------
    order : (n,) order of the rows in which each unit's stand together; `unit`, `variance`, `correlation` are in it.
    unit : (n,) unit of each row whose residuals may be correlated; None if rows are independent.
    within : name of the units, "" without.
    variance, correlation : the two parts; phi holds the parameters of the variance first.
    known : whether the standard deviations are known, so that sigma is 1.
    of_fitted : whether the variance depends on fitted values, put in by `with_covariate`.
    words : what the structure is, in a sentence.
    """

    order: IntArray = field(repr=False)
    unit: CodeArray | None = field(repr=False)
    within: str
    variance: VarianceFunction
    correlation: Correlation
    known: bool
    of_fitted: bool
    words: str

    @property
    def n_phi(self) -> int:
        """Number of parameters."""
        return self.variance.n_phi + self.correlation.n_phi

    def starts(self) -> tuple[FloatArray, ...]:
        """Parameters to start a search from."""
        equal = np.zeros(self.variance.n_phi)
        return tuple(np.append(equal, start) for start in self.correlation.starts())

    def at(self, phi: FloatArray) -> ResidualRoot:
        """The root at phi (k,)."""
        n_variance = self.variance.n_phi
        return ResidualRoot(
            log_sd=self.variance.log_sd(phi[:n_variance]),
            variance_gradient=self.variance.gradient,
            correlation=self.correlation.at(phi[n_variance:]),
        )

    def at_bound(self, phi: FloatArray) -> bool:
        """Whether a correlation has reached the end of its range."""
        return self.correlation.at_bound(phi[self.variance.n_phi :])

    @property
    def is_homogeneous(self) -> bool:
        """Whether all residuals have the same variance."""
        return self.variance.n_phi == 0 and not self.known

    def natural(self, phi: FloatArray, log_sigma: float) -> tuple[NaturalParameter, ...]:
        """The parameters in their own terms, with jacobians in (phi, log sigma)."""
        n_variance, k = self.variance.n_phi, self.n_phi
        out = []
        for part in self.variance.natural(phi[:n_variance], log_sigma):
            jacobian = np.concatenate([part.jacobian[:-1], np.zeros(k - n_variance), part.jacobian[-1:]])
            out.append(replace(part, jacobian=jacobian))
        for part in self.correlation.natural(phi[n_variance:]):
            out.append(replace(part, jacobian=np.concatenate([np.zeros(n_variance), part.jacobian, [0.0]])))
        return tuple(out)

    def with_covariate(self, values: FloatArray) -> "BoundResidual":
        """The same with other values (n,), in this order, in the variance function: new fitted values.

        Raises
        ------
        DesignError : a value so near zero that its row would have all the weight, or values that are all alike.
        """
        size = np.abs(values)
        n_zero = int(np.count_nonzero(size <= NEAR_ZERO * size.max()))
        if n_zero:
            raise DesignError(
                f"`residual` makes the residual SD a power of the fitted values, which are next to zero in {n_zero} "
                "rows: they would have no residual variance. Name a positive covariate instead, as in Power('x')."
            )
        log_size = np.log(size)
        if float(np.ptp(log_size)) <= NEAR_ZERO:
            raise DesignError(
                "`residual` makes the residual SD a power of the fitted values, which are the same in all rows, so "
                "that the power cannot be estimated. Add predictors, or name a covariate, as in Power('x')."
            )
        return replace(self, variance=PowerVariance(log_size=log_size))
