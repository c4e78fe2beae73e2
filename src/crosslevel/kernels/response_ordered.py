"""Log probabilities of ordered categories: P(Y <= k) = F(c_k - eta), with F logistic or normal.

The first threshold is 0 and `shape` (m,) holds the others, c_1 < ... < c_m, so that there are m + 2 categories. The
answers in category k come from a latent variable with the distribution F, moved by eta, between two thresholds.
"""

import math

import numba

from crosslevel.kernels.normal_tail import log_normal_cdf, log_normal_interval
from crosslevel.kernels.special import logistic_parts
from crosslevel.types import FloatArray

NARROWEST = 1e-300
"""Width of categories whose thresholds are equal in double precision."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def bounds(y: float, shape: FloatArray) -> tuple[float, float, float]:
    """Thresholds below and above category y, and their distance; for the first and the last category as well."""
    m = len(shape)
    k = int(y)
    lower, upper = -math.inf, math.inf
    if k == 1:
        lower = 0.0
    elif k > 1:
        lower = shape[k - 2]
    if k == 0:
        upper = 0.0
    elif k <= m:
        upper = shape[k - 1]
    return lower, upper, max(upper - lower, NARROWEST)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def cumulative_logit(y: float, eta: float, shape: FloatArray) -> tuple[float, float, float, float]:
    """Log probability log F(b) + log(1 - F(a)) + log(1 - e^(a - b)), a and b the thresholds minus eta."""
    lower, upper, width = bounds(y, shape)
    value, first, second, third = 0.0, 0.0, 0.0, 0.0
    if upper < math.inf:
        excess, _, rest, mu = logistic_parts(eta - upper)
        value -= excess
        first -= rest
        second -= mu * rest
        third += mu * rest * (rest - mu)
    if lower > -math.inf:
        excess, _, mu, rest = logistic_parts(lower - eta)
        value -= excess
        first += mu
        second -= mu * rest
        third += mu * rest * (rest - mu)
    if width < math.inf:
        value += math.log(-math.expm1(-width))
    return value, first, second, third


@numba.njit(cache=True, nogil=True, error_model="numpy")
def cumulative_logit_by_shape(y: float, eta: float, shape: FloatArray, out: FloatArray) -> None:
    """Derivatives in the thresholds after the first, zero but for the two of the category."""
    lower, upper, width = bounds(y, shape)
    k = int(y)
    out[:, :] = 0.0
    apart = 1.0 / math.expm1(min(width, 700.0)) if width < math.inf else 0.0
    if 0 < k <= len(shape):
        _, _, mu, rest = logistic_parts(upper - eta)
        out[0, k - 1] = rest + apart
        out[1, k - 1] = mu * rest
        out[2, k - 1] = -mu * rest * (rest - mu)
    if k > 1:
        _, _, mu, rest = logistic_parts(lower - eta)
        out[0, k - 2] = -mu - apart
        out[1, k - 2] = mu * rest
        out[2, k - 2] = -mu * rest * (rest - mu)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def cumulative_probit(y: float, eta: float, shape: FloatArray) -> tuple[float, float, float, float]:
    """Log probability log(Phi(b) - Phi(a)): its derivatives in eta are cumulants of a normal variable in (a, b)."""
    lower, upper, width = bounds(y, shape)
    if lower == -math.inf:
        value, first, second, third, _ = log_normal_cdf(upper - eta)
        return value, -first, second, -third
    if upper == math.inf:
        value, first, second, third, _ = log_normal_cdf(eta - lower)
        return value, first, second, third
    value, first, second, third, _, _, _, _ = log_normal_interval(lower - eta, upper - eta, width)
    return value, first, second, third


@numba.njit(cache=True, nogil=True, error_model="numpy")
def cumulative_probit_by_shape(y: float, eta: float, shape: FloatArray, out: FloatArray) -> None:
    """Derivatives in the thresholds after the first, zero but for the two of the category.

    With h the density at a bound given the category, and e the mean distance to it: dl = +-h, dl' = h e, and dl'' =
    +-h (e^2 - Var).
    """
    lower, upper, width = bounds(y, shape)
    k = int(y)
    out[:, :] = 0.0
    if upper == math.inf:
        _, h, second, _, e = log_normal_cdf(eta - lower)
        to_lower, to_upper, above, below = h, 0.0, 0.0, e
    elif lower == -math.inf:
        return
    else:
        _, _, second, _, to_lower, to_upper, below, above = log_normal_interval(lower - eta, upper - eta, width)
    if 0 < k <= len(shape):
        out[0, k - 1] = to_upper
        out[1, k - 1] = to_upper * above
        out[2, k - 1] = to_upper * (above * above - second - 1.0)
    if k > 1:
        out[0, k - 2] = -to_lower
        out[1, k - 2] = to_lower * below
        out[2, k - 2] = -to_lower * (below * below - second - 1.0)
