"""How the residual standard deviation differs between rows: log SD relative to sigma as a function of parameters."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from crosslevel.residual.natural import NaturalParameter, identity
from crosslevel.types import CodeArray, FloatArray


class VarianceFunction(ABC):
    """Log residual SD of n rows relative to sigma, as a function of phi (k,)."""

    @property
    @abstractmethod
    def n_phi(self) -> int:
        """Number of parameters."""

    @abstractmethod
    def log_sd(self, phi: FloatArray) -> FloatArray:
        """Log relative standard deviation of each row, (n,)."""

    @property
    @abstractmethod
    def gradient(self) -> FloatArray:
        """Derivative of `log_sd` in phi, (k, n): every function here is linear in phi."""

    @abstractmethod
    def natural(self, phi: FloatArray, log_sigma: float) -> tuple[NaturalParameter, ...]:
        """The parameters in their own terms, with jacobians in (phi, log sigma)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EqualVariance(VarianceFunction):
    """The same standard deviation in all n rows."""

    n: int

    @property
    def n_phi(self) -> int:
        """None."""
        return 0

    def log_sd(self, phi: FloatArray) -> FloatArray:
        """Zeros."""
        return np.zeros(self.n)

    @property
    def gradient(self) -> FloatArray:
        """Nothing to differentiate."""
        return np.zeros((0, self.n))

    def natural(self, phi: FloatArray, log_sigma: float) -> tuple[NaturalParameter, ...]:
        """None."""
        return ()


@dataclass(frozen=True, kw_only=True, eq=False)
class StratumVariance(VarianceFunction):
    """An own standard deviation in each stratum: sd_s = sigma exp(phi_s), phi = 0 in the first.

    Attributes
    ----------
    codes : (n,) stratum of each row.
    levels : the strata.
    """

    codes: CodeArray = field(repr=False)
    levels: tuple[object, ...]

    @property
    def n_phi(self) -> int:
        """One for each stratum but the first."""
        return len(self.levels) - 1

    def log_sd(self, phi: FloatArray) -> FloatArray:
        """The parameter of each row's stratum."""
        return np.asarray(np.append(0.0, phi)[self.codes])

    @cached_property
    def gradient(self) -> FloatArray:
        """One where the row is of the stratum."""
        return np.asarray(self.codes == np.arange(1, len(self.levels))[:, None], dtype=np.float64)

    def natural(self, phi: FloatArray, log_sigma: float) -> tuple[NaturalParameter, ...]:
        """The standard deviation of each stratum, on the log scale."""
        jacobian = np.eye(len(phi) + 1, k=-1)
        jacobian[:, -1] = 1.0
        return tuple(
            NaturalParameter(name=f"sigma[{level}]", value=float(log_sigma + value), jacobian=row, inverse=np.exp)
            for level, value, row in zip(self.levels, np.append(0.0, phi), jacobian, strict=True)
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class PowerVariance(VarianceFunction):
    """A power of a covariate: sd_i = sigma |v_i / g|^delta, with g the geometric mean of |v|.

    Measured at g, sigma and delta are nearly uncorrelated; at |v| = 1 (as in nlme) sigma is sigma g^-delta.

    Attributes
    ----------
    log_size : (n,) log |v|.
    """

    log_size: FloatArray = field(repr=False)

    @property
    def n_phi(self) -> int:
        """One, delta."""
        return 1

    @cached_property
    def centre(self) -> float:
        """Log of the geometric mean of |v|."""
        return float(self.log_size.mean())

    def log_sd(self, phi: FloatArray) -> FloatArray:
        """Delta log |v / g|."""
        return np.asarray(phi[0] * (self.log_size - self.centre))

    @cached_property
    def gradient(self) -> FloatArray:
        """Log |v / g|."""
        return (self.log_size - self.centre)[None, :]

    def natural(self, phi: FloatArray, log_sigma: float) -> tuple[NaturalParameter, ...]:
        """The power, and the standard deviations where |v| is g and 1."""
        delta, at_one = float(phi[0]), np.array([-self.centre, 1.0])
        return (
            NaturalParameter(name="power", value=delta, jacobian=np.array([1.0, 0.0]), inverse=identity),
            NaturalParameter(
                name=f"sigma[{np.exp(self.centre):.4g}]", value=log_sigma, jacobian=np.array([0.0, 1.0]), inverse=np.exp
            ),
            NaturalParameter(name="sigma[1]", value=log_sigma - delta * self.centre, jacobian=at_one, inverse=np.exp),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownVariance(VarianceFunction):
    """Standard deviations that are known; sigma is 1.

    Attributes
    ----------
    log_known : (n,) their logs.
    """

    log_known: FloatArray = field(repr=False)

    @property
    def n_phi(self) -> int:
        """None."""
        return 0

    def log_sd(self, phi: FloatArray) -> FloatArray:
        """The known values."""
        return self.log_known

    @property
    def gradient(self) -> FloatArray:
        """Nothing to differentiate."""
        return np.zeros((0, len(self.log_known)))

    def natural(self, phi: FloatArray, log_sigma: float) -> tuple[NaturalParameter, ...]:
        """None."""
        return ()
