"""Log densities of one answer and their derivatives in the linear predictor eta, for every family, by its code.

With l(eta) the log density of one answer without what is free of eta and of the shape parameters,

    density(code, y, size, eta, shape)    l, l'
    curvature(code, y, size, eta, shape)  l, l', l''
    third(code, y, size, eta, shape)      l, l', l'', l'''
    by_shape(code, y, size, eta, shape, out)  out (3, m): derivatives of l, l' and l'' in the natural shape parameters
    log_constant(code, y, size)           what l leaves out

`y` is the number of successes of `size` trials for the binomial families, the total of `size` independent answers of
the same mean for Poisson counts and gamma amounts (for the latter the density is that of their average y / size), the
number of the category (0, 1, ...) for the ordered families, and the outcome itself elsewhere, where `size` is 1; the
Gaussian working family has the known precision `size`. `shape` (m,) holds the natural shape parameters. Derivatives are
observed, not expected. Exponentials stop growing at e^700, so that one answer's terms are finite for every finite eta.
"""

import math

import numba
import numpy as np

from crosslevel.kernels import response_amounts as amounts
from crosslevel.kernels import response_ordered as ordered
from crosslevel.kernels.exponential import logit_density, logit_terms, poisson_density, poisson_terms
from crosslevel.kernels.normal_tail import log_normal_cdf
from crosslevel.types import FloatArray

LOGIT = 0
POISSON = 1
GAUSSIAN = 2
PROBIT = 3
CLOGLOG = 4
NEGATIVE_BINOMIAL_2 = 5
NEGATIVE_BINOMIAL_1 = 6
GAMMA = 7
BETA = 8
BETA_BINOMIAL = 9
CUMULATIVE_LOGIT = 10
CUMULATIVE_PROBIT = 11

LARGEST_EXPONENT = 700.0
"""Beyond it exponentials are held, because they would overflow."""

RISE = (1 / 2, 1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000)
"""1 - x / (e^x - 1) = sum of these times x, x^2, x^4, x^6, ...: the Bernoulli numbers over factorials."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _logit_density(y: float, size: float, eta: float) -> tuple[float, float]:
    """Binomial with the logistic link: l = -y log(1 + e^-eta) - (size - y) log(1 + e^eta), and l'."""
    small = math.exp(-abs(eta))
    share = 1.0 / (1.0 + small)
    if eta >= 0.0:
        return -size * math.log1p(small) - (size - y) * eta, (y * small - (size - y)) * share
    return -size * math.log1p(small) + y * eta, (y - (size - y) * small) * share


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _logit_third(y: float, size: float, eta: float) -> tuple[float, float, float, float]:
    """Binomial with the logistic link: l, l', l'' = -size mu (1 - mu), l''' = -size mu (1 - mu) (1 - 2 mu)."""
    small = math.exp(-abs(eta))
    share = 1.0 / (1.0 + small)
    second = -size * small * share * share
    third = second * (1.0 - small) * share
    if eta >= 0.0:
        return -size * math.log1p(small) - (size - y) * eta, (y * small - (size - y)) * share, second, -third
    return -size * math.log1p(small) + y * eta, (y - (size - y) * small) * share, second, third


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _probit_third(y: float, size: float, eta: float) -> tuple[float, float, float, float]:
    """Binomial with the normal link: y log Phi(eta) + (size - y) log Phi(-eta)."""
    value, first, second, third = 0.0, 0.0, 0.0, 0.0
    if y > 0.0:
        value, first, second, third, _ = log_normal_cdf(eta)
        value, first, second, third = y * value, y * first, y * second, y * third
    if y < size:
        down = log_normal_cdf(-eta)
        rest = size - y
        value += rest * down[0]
        first -= rest * down[1]
        second += rest * down[2]
        third -= rest * down[3]
    return value, first, second, third


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _cloglog_third(y: float, size: float, eta: float) -> tuple[float, float, float, float]:
    """Binomial with the complementary log-log link: l = y log(1 - e^-x) - (size - y) x, x = e^eta.

    With r = x / (e^x - 1) and q = 1 - x - r the first part has the derivatives r, r q and r (q^2 - x - r q).
    """
    x = math.exp(min(eta, LARGEST_EXPONENT))
    rest = (size - y) * x
    if x > LARGEST_EXPONENT:
        return -rest, -rest, -rest, -rest
    r = x / math.expm1(x) if x > 0.0 else 1.0
    q = 1.0 - x - r
    if x > 1.0:
        value = math.log1p(-math.exp(-x))
    else:
        value = eta - 0.5 * x if x < 1e-8 else eta + math.log(-math.expm1(-x) / x)
    if x < 0.25:
        square = x * x
        tail = 0.0
        for m in range(6, 0, -1):
            tail = RISE[m] + square * tail
        q = -0.5 * x - square * tail
    return (
        y * value - rest,
        y * r - rest,
        y * r * q - rest,
        y * r * (q * q - x - r * q) - rest,
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def density(code: int, y: float, size: float, eta: float, shape: FloatArray) -> tuple[float, float]:
    """Log density l and l' of one answer; see the module."""
    if code == LOGIT:
        return _logit_density(y, size, eta)
    if code == POISSON:
        mu = size * math.exp(min(eta, LARGEST_EXPONENT))
        return y * eta - mu, y - mu
    value, first, _, _ = _other(code, y, size, eta, shape)
    return value, first


@numba.njit(cache=True, nogil=True, error_model="numpy")
def curvature(code: int, y: float, size: float, eta: float, shape: FloatArray) -> tuple[float, float, float]:
    """Log density l, l' and l'' of one answer; see the module."""
    if code == LOGIT:
        value, first, second, _ = _logit_third(y, size, eta)
        return value, first, second
    if code == POISSON:
        mu = size * math.exp(min(eta, LARGEST_EXPONENT))
        return y * eta - mu, y - mu, -mu
    value, first, second, _ = _other(code, y, size, eta, shape)
    return value, first, second


@numba.njit(cache=True, nogil=True, error_model="numpy")
def third(code: int, y: float, size: float, eta: float, shape: FloatArray) -> tuple[float, float, float, float]:
    """Log density l, l', l'' and l''' of one answer; see the module."""
    if code == LOGIT:
        return _logit_third(y, size, eta)
    if code == POISSON:
        mu = size * math.exp(min(eta, LARGEST_EXPONENT))
        return y * eta - mu, y - mu, -mu, -mu
    return _other(code, y, size, eta, shape)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _other(code: int, y: float, size: float, eta: float, shape: FloatArray) -> tuple[float, float, float, float]:
    """As `third`, for all families but the two that are used most."""
    if code == GAUSSIAN:
        deviation = y - eta
        return -0.5 * size * deviation * deviation, size * deviation, -size, 0.0
    if code == PROBIT:
        return _probit_third(y, size, eta)
    if code == CLOGLOG:
        return _cloglog_third(y, size, eta)
    if code == NEGATIVE_BINOMIAL_2:
        return amounts.negative_binomial_2(y, eta, shape[0])
    if code == NEGATIVE_BINOMIAL_1:
        return amounts.negative_binomial_1(y, eta, shape[0])
    if code == GAMMA:
        return amounts.gamma_amount(y / size, eta, shape[0] * size)
    if code == BETA:
        return amounts.beta_share(y, eta, shape[0])
    if code == BETA_BINOMIAL:
        return amounts.beta_binomial(y, size, eta, shape[0])
    if code == CUMULATIVE_LOGIT:
        return ordered.cumulative_logit(y, eta, shape)
    if code == CUMULATIVE_PROBIT:
        return ordered.cumulative_probit(y, eta, shape)
    return math.nan, math.nan, math.nan, math.nan


@numba.njit(cache=True, nogil=True, error_model="numpy")
def by_shape(code: int, y: float, size: float, eta: float, shape: FloatArray, out: FloatArray) -> None:
    """Write the derivatives of l, l' and l'' in the natural shape parameters to out (3, m); see the module."""
    if code == NEGATIVE_BINOMIAL_2:
        amounts.negative_binomial_2_by_shape(y, eta, shape[0], out)
    elif code == NEGATIVE_BINOMIAL_1:
        amounts.negative_binomial_1_by_shape(y, eta, shape[0], out)
    elif code == GAMMA:
        amounts.gamma_amount_by_shape(y / size, eta, shape[0] * size, out)
        for a in range(3):
            out[a, 0] *= size
    elif code == BETA:
        amounts.beta_share_by_shape(y, eta, shape[0], out)
    elif code == BETA_BINOMIAL:
        amounts.beta_binomial_by_shape(y, size, eta, shape[0], out)
    elif code == CUMULATIVE_LOGIT:
        ordered.cumulative_logit_by_shape(y, eta, shape, out)
    elif code == CUMULATIVE_PROBIT:
        ordered.cumulative_probit_by_shape(y, eta, shape, out)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def log_constant(code: int, y: float, size: float) -> float:
    """What the log density of one answer has beyond l: free of eta and of the shape parameters."""
    if code in (LOGIT, PROBIT, CLOGLOG, BETA_BINOMIAL):
        if size <= 1.0:
            return 0.0
        return math.lgamma(size + 1.0) - math.lgamma(y + 1.0) - math.lgamma(size - y + 1.0)
    if code in (NEGATIVE_BINOMIAL_2, NEGATIVE_BINOMIAL_1):
        return -math.lgamma(y + 1.0)
    if code == POISSON:
        return -math.lgamma(y + 1.0) if size == 1.0 else y * math.log(size) - math.lgamma(y + 1.0)
    if code == GAMMA:
        return -math.log(y / size)
    if code == BETA:
        return -math.log(y) - math.log1p(-y)
    if code == GAUSSIAN:
        return 0.5 * math.log(size) - 0.5 * math.log(2.0 * math.pi)
    return 0.0


@numba.njit(cache=True, nogil=True, error_model="numpy")
def fill_terms(
    code: int, y: FloatArray, size: FloatArray, weight: FloatArray, eta: FloatArray, shape: FloatArray, out: FloatArray
) -> None:
    """Write weight times l, l', ... of n answers to out (r, n): r = 2, 3 or 4 says up to which derivative."""
    if code in (LOGIT, POISSON):  # in vector instructions
        cubes = out[3] if out.shape[0] > 3 else np.empty(len(y) if out.shape[0] > 2 else 0)
        if code == LOGIT and out.shape[0] == 2:
            logit_density(y, size, weight, eta, out[0], out[1])
        elif code == LOGIT:
            logit_terms(y, size, weight, eta, out[0], out[1], out[2], cubes)
        elif out.shape[0] == 2:
            poisson_density(y, size, weight, eta, out[0], out[1])
        else:
            poisson_terms(y, size, weight, eta, out[0], out[1], out[2], cubes)
        return
    for i in range(len(y)):
        w = weight[i]
        if out.shape[0] == 2:
            value, first = density(code, y[i], size[i], eta[i], shape)
        elif out.shape[0] == 3:
            value, first, second = curvature(code, y[i], size[i], eta[i], shape)
            out[2, i] = w * second
        else:
            value, first, second, cubed = third(code, y[i], size[i], eta[i], shape)
            out[2, i] = w * second
            out[3, i] = w * cubed
        out[0, i] = w * value
        out[1, i] = w * first


@numba.njit(cache=True, nogil=True, error_model="numpy")
def fill_by_shape(
    code: int, y: FloatArray, size: FloatArray, weight: FloatArray, eta: FloatArray, shape: FloatArray, out: FloatArray
) -> None:
    """Write weight times the derivatives of l, l' and l'' in the m natural shape parameters to out (n, 3, m)."""
    for i in range(len(y)):
        by_shape(code, y[i], size[i], eta[i], shape, out[i])
        for a in range(3):
            for b in range(len(shape)):
                out[i, a, b] *= weight[i]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def sum_constants(code: int, y: FloatArray, size: FloatArray, weight: FloatArray) -> float:
    """Sum of weight times what l leaves out."""
    total = 0.0
    for i in range(len(y)):
        total += weight[i] * log_constant(code, y[i], size[i])
    return total
