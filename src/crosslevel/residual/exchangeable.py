"""Compound symmetry: the same correlation between any two residuals of a unit."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from crosslevel.residual.correlation import Correlation, CorrelationRoot
from crosslevel.residual.natural import NaturalParameter
from crosslevel.types import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class EqualCorrelation(Correlation):
    """Compound symmetry: correlation rho between any two rows of a unit, phi = log((rho - low) / (1 - rho)).

    Attributes
    ----------
    start, size : (U,) first row and number of rows of each unit.
    """

    start: IntArray = field(repr=False)
    size: IntArray = field(repr=False)

    @property
    def n_phi(self) -> int:
        """One."""
        return 1

    @cached_property
    def low(self) -> float:
        """The correlation at which the largest unit's matrix becomes singular, -1 / (size - 1)."""
        return -1.0 / (float(self.size.max()) - 1.0)

    def rho(self, phi: float) -> float:
        """The correlation at phi."""
        with np.errstate(over="ignore"):
            return float(1.0 - (1.0 - self.low) / (1.0 + np.exp(phi)))

    def natural(self, phi: FloatArray) -> tuple[NaturalParameter, ...]:
        """The correlation, on the scale of phi, which keeps to the range where matrices are positive definite."""
        return (NaturalParameter(name="rho", value=float(phi[0]), jacobian=np.ones(1), inverse=self.rho),)

    def starts(self) -> tuple[FloatArray, ...]:
        """No correlation, and a moderate one."""
        return tuple(np.log([(rho - self.low) / (1.0 - rho)]) for rho in (0.0, 0.4))

    def at(self, phi: FloatArray) -> CorrelationRoot:
        """The root at phi."""
        with np.errstate(over="ignore"):
            share, rest = 1.0 / (1.0 + np.exp(-phi[0])), 1.0 / (1.0 + np.exp(phi[0]))
        within = (1.0 - self.low) * rest
        return EqualRoot(start=self.start, size=self.size, within=within, slope=within * share)


@dataclass(frozen=True, kw_only=True, eq=False)
class EqualRoot(CorrelationRoot):
    """Symmetric root of (1 - rho) I + rho 11': on deviations from the unit's mean and on the mean, a factor each.

    Attributes
    ----------
    start, size : (U,) first row and number of rows of each unit.
    within : 1 - rho, the eigenvalue of deviations from a unit's mean.
    slope : derivative of rho in phi.
    """

    start: IntArray
    size: IntArray
    within: float
    slope: float

    @cached_property
    def _values(self) -> tuple[float, FloatArray]:
        """Eigenvalues: of deviations, and (U,) of means."""
        return self.within, self.size - (self.size - 1.0) * self.within

    @property
    def log_det(self) -> float:
        """Sum of the log eigenvalues."""
        within, between = self._values
        return float(np.sum(self.size - 1.0) * np.log(within) + np.log(between).sum())

    @property
    def log_det_gradient(self) -> FloatArray:
        """Its derivative."""
        within, between = self._values
        inner = -float(np.sum(self.size - 1.0)) / within
        return np.array([self.slope * (inner + float(np.sum((self.size - 1.0) / between)))])

    @property
    def information(self) -> FloatArray:
        """Sum of the squared relative changes of the eigenvalues."""
        within, between = self._values
        deviations = float(np.sum(self.size - 1.0)) * (self.slope / within) ** 2
        return np.array([deviations + float(np.sum(((self.size - 1.0) * self.slope / between) ** 2))])

    def _scaled(self, x: FloatArray, within: float, between: FloatArray) -> FloatArray:
        """Multiply deviations from the units' means by one factor and the means by another."""
        mean = np.add.reduceat(x, self.start, axis=1) / self.size
        return np.asarray(within * x + np.repeat((between - within) * mean, self.size, axis=1))

    def whiten(self, x: FloatArray) -> FloatArray:
        """C^-1/2 x."""
        within, between = self._values
        return self._scaled(x, within**-0.5, between**-0.5)

    def whiten_adjoint(self, x: FloatArray) -> FloatArray:
        """The same, the root being symmetric."""
        return self.whiten(x)

    def colour(self, x: FloatArray) -> FloatArray:
        """C^1/2 x."""
        within, between = self._values
        return self._scaled(x, within**0.5, between**0.5)

    def colour_adjoint(self, x: FloatArray) -> FloatArray:
        """The same, the root being symmetric."""
        return self.colour(x)

    def generator(self, a: int, x: FloatArray) -> FloatArray:
        """K x: half the relative change of each eigenvalue."""
        within, between = self._values
        return self._scaled(x, -0.5 * self.slope / within, 0.5 * self.slope * (self.size - 1.0) / between)

    def generator_adjoint(self, a: int, x: FloatArray) -> FloatArray:
        """The same, K being symmetric."""
        return self.generator(a, x)
