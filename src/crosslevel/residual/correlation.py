"""How residuals of one unit are correlated: roots C = L L' of the correlation matrix, and what they do to rows.

Rows stand unit by unit, each unit's in order; arrays are (m, n), one row for each column of the data. Derivatives are
told by the generators K_a = L^-1 dL / dphi_a: those of whitened rows W = L^-1 U are dW / dphi_a = -K_a W, and
d log|C| / dphi_a = 2 tr K_a.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from crosslevel.residual.natural import NaturalParameter
from crosslevel.types import FloatArray


class CorrelationRoot(ABC):
    """L at one phi."""

    @property
    @abstractmethod
    def log_det(self) -> float:
        """log|C|."""

    @property
    @abstractmethod
    def log_det_gradient(self) -> FloatArray:
        """(k,) its derivative in phi."""

    @property
    @abstractmethod
    def information(self) -> FloatArray:
        """(k,) tr(C^-1 C_a C^-1 C_a): expected second derivatives of the deviance where sigma is known."""

    @abstractmethod
    def whiten(self, x: FloatArray) -> FloatArray:
        """L^-1 x."""

    @abstractmethod
    def whiten_adjoint(self, x: FloatArray) -> FloatArray:
        """L^-T x."""

    @abstractmethod
    def colour(self, x: FloatArray) -> FloatArray:
        """L x."""

    @abstractmethod
    def colour_adjoint(self, x: FloatArray) -> FloatArray:
        """L'x."""

    @abstractmethod
    def generator(self, a: int, x: FloatArray) -> FloatArray:
        """K_a x."""

    @abstractmethod
    def generator_adjoint(self, a: int, x: FloatArray) -> FloatArray:
        """K_a'x."""


class Correlation(ABC):
    """A correlation structure bound to rows."""

    @property
    @abstractmethod
    def n_phi(self) -> int:
        """Number of parameters."""

    @abstractmethod
    def starts(self) -> tuple[FloatArray, ...]:
        """Parameters (k,) to start a search from; the first is no correlation, or next to none."""

    @abstractmethod
    def at(self, phi: FloatArray) -> CorrelationRoot:
        """The root at phi (k,)."""

    def at_bound(self, phi: FloatArray) -> bool:
        """Whether phi (k,) has run to where residuals are uncorrelated although the search may not go further."""
        return False

    @abstractmethod
    def natural(self, phi: FloatArray) -> tuple[NaturalParameter, ...]:
        """The parameters in their own terms, with jacobians in phi."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Independent(Correlation, CorrelationRoot):
    """No correlation; its own root, L = I."""

    @property
    def log_det(self) -> float:
        """Zero."""
        return 0.0

    @property
    def log_det_gradient(self) -> FloatArray:
        """Nothing to differentiate."""
        return np.zeros(0)

    @property
    def information(self) -> FloatArray:
        """Nothing to differentiate."""
        return np.zeros(0)

    @property
    def n_phi(self) -> int:
        """None."""
        return 0

    def starts(self) -> tuple[FloatArray, ...]:
        """Nothing to start from."""
        return (np.zeros(0),)

    def at(self, phi: FloatArray) -> CorrelationRoot:
        """Itself."""
        return self

    def natural(self, phi: FloatArray) -> tuple[NaturalParameter, ...]:
        """None."""
        return ()

    def whiten(self, x: FloatArray) -> FloatArray:
        """Return x."""
        return x

    def whiten_adjoint(self, x: FloatArray) -> FloatArray:
        """Return x."""
        return x

    def colour(self, x: FloatArray) -> FloatArray:
        """Return x."""
        return x

    def colour_adjoint(self, x: FloatArray) -> FloatArray:
        """Return x."""
        return x

    def generator(self, a: int, x: FloatArray) -> FloatArray:
        """There is none."""
        raise IndexError("independent residuals have no parameter")

    def generator_adjoint(self, a: int, x: FloatArray) -> FloatArray:
        """There is none."""
        raise IndexError("independent residuals have no parameter")
