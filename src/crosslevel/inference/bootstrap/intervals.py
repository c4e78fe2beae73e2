"""Confidence intervals from bootstrap replicates.

With t the estimate, t* its replicates, q(a) their quantiles, z the normal quantile at 1 - alpha / 2:

    percentile  : q(alpha / 2) to q(1 - alpha / 2);
    basic       : 2 t - q(1 - alpha / 2) to 2 t - q(alpha / 2);
    normal      : (2 t - mean of t*) -+ z sd(t*): the bias is taken off;
    studentised : t - k(1 - alpha / 2) s to t - k(alpha / 2) s, k being quantiles of (t* - t) / s*, s standard errors;
    bca         : q(b(-z)) to q(b(z)), b(x) = Phi(z0 + (z0 + x) / (1 - a (z0 + x))), with Phi(z0) the share of
                  replicates below t (half of those equal to it), and the acceleration
                  a = sum d^3 / (6 (sum d^2)^(3/2)), d being the mean of the jackknife's values less each of them.

Quantiles are those at (B + 1) a of the ordered replicates, interpolated.

Source: Davison & Hinkley (1997), Bootstrap Methods and their Application, chapter 5; Efron (1987), J. Amer. Statist.
Assoc. 82: 171-185, for BCa.
"""

import numpy as np

from crosslevel.inference.distributions import normal_quantile
from crosslevel.types import FloatArray

METHODS = ("percentile", "basic", "normal", "studentised", "bca")
"""Kinds of intervals."""

ENOUGH = 10
"""Replicates, of which there must be at least so many for any interval."""


def quantiles(values: FloatArray, probabilities: FloatArray) -> FloatArray:
    """Quantiles of values (B,) at (B + 1) times the probabilities; the extremes where these lie outside.

    Examples
    --------
    >>> import numpy as np
    >>> quantiles(np.arange(1.0, 100.0), np.array([0.025, 0.5])).tolist()
    [2.5, 50.0]
    """
    return np.asarray(np.quantile(values, np.clip(probabilities, 0.0, 1.0), method="weibull"))


def percentile(values: FloatArray, level: float) -> tuple[float, float]:
    """Percentile interval from replicates (B,)."""
    low, high = quantiles(values, tails(level))
    return float(low), float(high)


def basic(estimate: float, values: FloatArray, level: float) -> tuple[float, float]:
    """Basic interval: the percentile interval reflected at the estimate."""
    low, high = percentile(values, level)
    return 2.0 * estimate - high, 2.0 * estimate - low


def normal(estimate: float, values: FloatArray, level: float) -> tuple[float, float]:
    """Normal interval about the estimate less its bias."""
    centre, half = 2.0 * estimate - values.mean(), normal_quantile(0.5 + level / 2.0) * values.std(ddof=1)
    return float(centre - half), float(centre + half)


def studentised(
    estimate: float, std_error: float, values: FloatArray, std_errors: FloatArray, level: float
) -> tuple[float, float]:
    """Studentised interval from replicates (B,) and their own standard errors (B,)."""
    low, high = quantiles((values - estimate) / std_errors, tails(level))
    return float(estimate - high * std_error), float(estimate - low * std_error)


def bca(estimate: float, values: FloatArray, acceleration: float, level: float) -> tuple[float, float]:
    """Bias-corrected and accelerated interval from replicates (B,).

    NaN where all replicates lie on one side of the estimate: its place among them is then unknown.
    """
    from scipy.special import ndtr

    below = (np.count_nonzero(values < estimate) + 0.5 * np.count_nonzero(values == estimate)) / len(values)
    if not 0.0 < below < 1.0:
        return np.nan, np.nan
    z0 = normal_quantile(below)
    shifted = z0 + np.array([-1.0, 1.0]) * normal_quantile(0.5 + level / 2.0)
    scale = 1.0 - acceleration * shifted
    if np.any(scale <= 0.0):
        return np.nan, np.nan
    low, high = quantiles(values, ndtr(z0 + shifted / scale))
    return float(low), float(high)


def acceleration(left_out: FloatArray) -> FloatArray:
    """Accelerations (m,) from the values of the jackknife (G, m), one row for each cluster or group left out.

    Examples
    --------
    >>> import numpy as np
    >>> acceleration(np.array([[1.0], [2.0], [3.0], [10.0]])).round(4).tolist()
    [-0.0849]
    """
    d = np.nanmean(left_out, axis=0) - left_out
    square, cube = np.nansum(d**2, axis=0), np.nansum(d**3, axis=0)
    return np.asarray(np.divide(cube, 6.0 * square**1.5, out=np.zeros_like(cube), where=square > 0.0))


def tails(level: float) -> FloatArray:
    """The two tail probabilities of an interval."""
    return np.array([0.5 - level / 2.0, 0.5 + level / 2.0])
