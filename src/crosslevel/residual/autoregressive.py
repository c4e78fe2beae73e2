"""First-order autoregression of a unit's residuals, in whole steps or in continuous time."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from crosslevel.residual.correlation import Correlation, CorrelationRoot
from crosslevel.residual.natural import NaturalParameter
from crosslevel.types import FloatArray

NO_CORRELATION = 1e-6
"""Correlation between rows at the typical distance that counts as none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BandRoot(CorrelationRoot):
    """First-order autoregression: (L^-1 u)_i = (u_i - r_i u_{i-1}) / s_i, s_i^2 = 1 - r_i^2, r = 0 where a unit starts.

    Attributes
    ----------
    r, s2, dr : (n,) correlation with the row before, 1 - r^2, and the derivative of r in the one parameter.
    """

    r: FloatArray
    s2: FloatArray
    dr: FloatArray

    @property
    def log_det(self) -> float:
        """Sum of log s^2."""
        return float(np.log(self.s2).sum())

    @property
    def log_det_gradient(self) -> FloatArray:
        """Sum of -2 r dr / s^2."""
        return np.array([-2.0 * float(np.sum(self.r * self.dr / self.s2))])

    @property
    def information(self) -> FloatArray:
        """Sum of 2 (1 + r^2) dr^2 / s^4."""
        return np.array([2.0 * float(np.sum((1.0 + self.r**2) * (self.dr / self.s2) ** 2))])

    @cached_property
    def _bands(self) -> tuple[FloatArray, FloatArray]:
        """Diagonal and lower band of L^-1."""
        s = np.sqrt(self.s2)
        return 1.0 / s, -self.r / s

    @cached_property
    def _band_gradients(self) -> tuple[FloatArray, FloatArray]:
        """Derivatives of the diagonal and of the band of L^-1."""
        steep = self.dr / self.s2**1.5
        return self.r * steep, -steep

    def whiten(self, x: FloatArray) -> FloatArray:
        """L^-1 x."""
        return _band_product(*self._bands, x)

    def whiten_adjoint(self, x: FloatArray) -> FloatArray:
        """L^-T x."""
        return _band_product_adjoint(*self._bands, x)

    def colour(self, x: FloatArray) -> FloatArray:
        """L x, by the recursion forward."""
        from crosslevel.kernels.recursion import solve_forward

        out = np.empty(x.shape)
        solve_forward(*self._bands, np.ascontiguousarray(x), out)
        return out

    def colour_adjoint(self, x: FloatArray) -> FloatArray:
        """L'x, by the recursion backward."""
        from crosslevel.kernels.recursion import solve_backward

        out = np.empty(x.shape)
        solve_backward(*self._bands, np.ascontiguousarray(x), out)
        return out

    def generator(self, a: int, x: FloatArray) -> FloatArray:
        """K x = -d(L^-1) L x."""
        return -_band_product(*self._band_gradients, self.colour(x))

    def generator_adjoint(self, a: int, x: FloatArray) -> FloatArray:
        """K'x = -L'd(L^-1)'x."""
        return -self.colour_adjoint(_band_product_adjoint(*self._band_gradients, x))


def _band_product(diagonal: FloatArray, band: FloatArray, x: FloatArray) -> FloatArray:
    """Rows of x times a matrix with a diagonal and a band below it."""
    out = x * diagonal
    out[:, 1:] += x[:, :-1] * band[1:]
    return out


def _band_product_adjoint(diagonal: FloatArray, band: FloatArray, x: FloatArray) -> FloatArray:
    """Rows of x times the transpose of that matrix."""
    out = x * diagonal
    out[:, :-1] += x[:, 1:] * band[1:]
    return out


@dataclass(frozen=True, kw_only=True, eq=False)
class IntegerLags(Correlation):
    """AR(1) in steps of time: correlation rho^lag, rho = tanh(phi).

    Attributes
    ----------
    lag : (n,) whole steps since the row before; zero where a unit starts.
    step : units of time in one step.
    """

    lag: FloatArray = field(repr=False)
    step: float

    @property
    def n_phi(self) -> int:
        """One."""
        return 1

    def starts(self) -> tuple[FloatArray, ...]:
        """No correlation, a large and a negative one."""
        return tuple(np.arctanh([rho]) for rho in (0.0, 0.6, -0.4))

    def at(self, phi: FloatArray) -> CorrelationRoot:
        """Correlations with the row before."""
        rho, inside = float(np.tanh(phi[0])), self.lag > 0.0
        below = np.where(inside, rho ** np.maximum(self.lag - 1.0, 0.0), 0.0)
        r = rho * below
        return BandRoot(r=r, s2=(1.0 - r) * (1.0 + r), dr=self.lag * below / np.cosh(phi[0]) ** 2)

    def natural(self, phi: FloatArray) -> tuple[NaturalParameter, ...]:
        """The correlation one step apart; phi is its Fisher z."""
        return (NaturalParameter(name="rho", value=float(phi[0]), jacobian=np.ones(1), inverse=np.tanh),)


@dataclass(frozen=True, kw_only=True, eq=False)
class ContinuousLags(Correlation):
    """Continuous-time AR(1): correlation rho^(time between), with rho^unit = 1 / (1 + exp(-phi)), 0 < rho < 1.

    Attributes
    ----------
    lag : (n,) time since the row before; zero where a unit starts.
    unit : the typical time between two rows of a unit.
    """

    lag: FloatArray = field(repr=False)
    unit: float

    @property
    def n_phi(self) -> int:
        """One."""
        return 1

    def starts(self) -> tuple[FloatArray, ...]:
        """Correlations between rows at the typical distance."""
        return tuple(np.log([rho / (1.0 - rho)]) for rho in (0.05, 0.6))

    def at(self, phi: FloatArray) -> CorrelationRoot:
        """Correlations with the row before."""
        log_rho = -np.logaddexp(0.0, -phi[0])
        inside, relative = self.lag > 0.0, self.lag / self.unit
        r = np.where(inside, np.exp(relative * log_rho), 0.0)
        s2 = np.where(inside, -np.expm1(2.0 * relative * log_rho), 1.0)
        return BandRoot(r=r, s2=s2, dr=r * relative * -np.expm1(log_rho))

    def natural(self, phi: FloatArray) -> tuple[NaturalParameter, ...]:
        """The correlation one unit of time apart."""
        return (NaturalParameter(name="rho", value=float(phi[0]), jacobian=np.ones(1), inverse=self.rho),)

    def at_bound(self, phi: FloatArray) -> bool:
        """Whether even rows at the typical distance are uncorrelated."""
        return bool(phi[0] < np.log(NO_CORRELATION))

    def rho(self, phi: float) -> float:
        """The correlation one unit of time apart at phi."""
        return float(np.exp(-np.logaddexp(0.0, -phi) / self.unit))
