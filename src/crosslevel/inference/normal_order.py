"""How far numbers are from a normal distribution with their own mean and spread."""

import numpy as np
from scipy.special import log_ndtr

from crosslevel.types import FloatArray


def anderson_darling(values: FloatArray) -> float:
    """Anderson and Darling's distance of numbers (n,) from the normal distribution with their mean and spread.

    A^2 = -n - sum_i (2i - 1) / n [log Phi(z_(i)) + log(1 - Phi(z_(n+1-i)))], which weighs the tails as much as the
    middle. NaN for fewer than three numbers or without spread. Its distribution is not that of independent normal
    numbers where the values depend on each other or vary unequally: compare it with simulated values.

    Source: Anderson & Darling (1954), JASA 49: 765-769; Stephens (1974), JASA 69: 730-737, case 3.

    Examples
    --------
    >>> import numpy as np
    >>> round(anderson_darling(np.array([-1.2, -0.4, 0.1, 0.3, 1.4])), 4)
    0.1791
    """
    n = len(values)
    spread = float(np.std(values, ddof=1)) if n > 2 else 0.0
    if not spread > 0.0:
        return np.nan
    z = np.sort((values - values.mean()) / spread)
    weights = 2.0 * np.arange(1.0, n + 1.0) - 1.0
    return float(-n - np.mean(weights * (log_ndtr(z) + log_ndtr(-z[::-1]))))


def skewness(values: FloatArray) -> float:
    """Third central moment over the cube of the spread; 0 for symmetric distributions, NaN without spread."""
    return _moment(values, 3)


def excess_kurtosis(values: FloatArray) -> float:
    """Fourth central moment over the fourth power of the spread, less 3: 0 for a normal distribution."""
    return _moment(values, 4) - 3.0


def _moment(values: FloatArray, power: int) -> float:
    """Standardised central moment."""
    centred = values - values.mean() if len(values) else values
    spread = float(np.sqrt(np.mean(centred**2))) if len(values) else 0.0
    return float(np.mean((centred / spread) ** power)) if spread > 0.0 else np.nan
