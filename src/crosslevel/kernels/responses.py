"""Log densities of one answer and their derivatives in the linear predictor eta, for every family, by its code.

With l(eta) the log density of one answer without what is free of eta and of the shape parameters,

    density(code, y, size, eta, shape)    l, l'
    curvature(code, y, size, eta, shape)  l, l', l''
    third(code, y, size, eta, shape)      l, l', l'', l'''
    by_shape(code, y, size, eta, shape, out)  out (3, m): derivatives of l, l' and l'' in the natural shape parameters
    log_constant(code, y, size)           what l leaves out

`y` is the number of successes of `size` trials for the binomial families, the number of the category (0, 1, ...) for
the ordered ones, and the outcome itself elsewhere, where `size` is 1; the Gaussian working family has the known
precision `size`. `shape` (m,) holds the natural shape parameters. Derivatives are observed, not expected. Exponentials
stop growing at e^700, so that one answer's terms are finite for every finite eta.
"""

import math

import numba

from crosslevel.types import FloatArray

LOGIT = 0
POISSON = 1
GAUSSIAN = 2

LARGEST_EXPONENT = 700.0
"""Beyond it exponentials are held, because they would overflow."""


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
def density(code: int, y: float, size: float, eta: float, shape: FloatArray) -> tuple[float, float]:
    """Log density l and l' of one answer; see the module."""
    if code == LOGIT:
        return _logit_density(y, size, eta)
    if code == POISSON:
        mu = math.exp(min(eta, LARGEST_EXPONENT))
        return y * eta - mu, y - mu
    deviation = y - eta
    return -0.5 * size * deviation * deviation, size * deviation


@numba.njit(cache=True, nogil=True, error_model="numpy")
def curvature(code: int, y: float, size: float, eta: float, shape: FloatArray) -> tuple[float, float, float]:
    """Log density l, l' and l'' of one answer; see the module."""
    if code == LOGIT:
        value, first, second, _ = _logit_third(y, size, eta)
        return value, first, second
    if code == POISSON:
        mu = math.exp(min(eta, LARGEST_EXPONENT))
        return y * eta - mu, y - mu, -mu
    deviation = y - eta
    return -0.5 * size * deviation * deviation, size * deviation, -size


@numba.njit(cache=True, nogil=True, error_model="numpy")
def third(code: int, y: float, size: float, eta: float, shape: FloatArray) -> tuple[float, float, float, float]:
    """Log density l, l', l'' and l''' of one answer; see the module."""
    if code == LOGIT:
        return _logit_third(y, size, eta)
    if code == POISSON:
        mu = math.exp(min(eta, LARGEST_EXPONENT))
        return y * eta - mu, y - mu, -mu, -mu
    deviation = y - eta
    return -0.5 * size * deviation * deviation, size * deviation, -size, 0.0


@numba.njit(cache=True, nogil=True, error_model="numpy")
def by_shape(code: int, y: float, size: float, eta: float, shape: FloatArray, out: FloatArray) -> None:
    """Write the derivatives of l, l' and l'' in the natural shape parameters to out (3, m); see the module."""
    out[:] = 0.0


@numba.njit(cache=True, nogil=True, error_model="numpy")
def log_constant(code: int, y: float, size: float) -> float:
    """What the log density of one answer has beyond l: free of eta and of the shape parameters."""
    if code == LOGIT:
        return math.lgamma(size + 1.0) - math.lgamma(y + 1.0) - math.lgamma(size - y + 1.0)
    if code == POISSON:
        return -math.lgamma(y + 1.0)
    return 0.5 * math.log(size) - 0.5 * math.log(2.0 * math.pi)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def fill_terms(
    code: int, y: FloatArray, size: FloatArray, weight: FloatArray, eta: FloatArray, shape: FloatArray, out: FloatArray
) -> None:
    """Write weight times l, l', ... of n answers to out (r, n): r = 2, 3 or 4 says up to which derivative."""
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
