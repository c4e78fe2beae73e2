"""Parameters of residual structures as people name them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from crosslevel.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class NaturalParameter:
    """A parameter as people name it, with the scale on which its estimate is nearly normal.

    Attributes
    ----------
    name : as in "rho" or "sigma[Catholic]".
    value : on that scale.
    jacobian : (k,) or, once placed among all, (k + 1,) derivative of `value` in phi (and log sigma).
    inverse : from that scale to the parameter itself, increasing and smooth.
    """

    name: str
    value: float
    jacobian: FloatArray
    inverse: Callable[[float], float] = field(repr=False)

    @property
    def estimate(self) -> float:
        """The parameter itself."""
        return float(self.inverse(self.value))

    def interval(self, variance: float, quantile: float) -> tuple[float, float, float]:
        """Standard error by the delta method and interval bounds, from the variance on the normal scale.

        Parameters
        ----------
        variance : of the estimate of `value`; NaN where it is unknown, and with it all three.
        quantile : of the normal distribution, as 1.96.
        """
        if not variance >= 0.0:
            return np.nan, np.nan, np.nan
        half = float(np.sqrt(variance))
        low, high = self.inverse(self.value - quantile * half), self.inverse(self.value + quantile * half)
        return float(self._slope * half), float(low), float(high)

    @property
    def _slope(self) -> float:
        """Derivative of the parameter in `value`, by central differences of fourth order."""
        step = 1e-3
        near = self.inverse(self.value + step) - self.inverse(self.value - step)
        far = self.inverse(self.value + 2.0 * step) - self.inverse(self.value - 2.0 * step)
        return (8.0 * near - far) / (12.0 * step)


def identity(value: float) -> float:
    """The value itself."""
    return value


def fisher(name: str, rho: float, gradient: FloatArray) -> NaturalParameter:
    """A correlation with its gradient (k,) in phi, on Fisher's z scale."""
    return NaturalParameter(
        name=name, value=float(np.arctanh(rho)), jacobian=gradient / (1.0 - rho * rho), inverse=np.tanh
    )
