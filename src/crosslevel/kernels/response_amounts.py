"""Log densities with a shape parameter: negative binomial counts, gamma amounts, beta shares and beta-binomial shares.

Each family has a function of l, l', l'', l''' and one of the derivatives of l, l' and l'' in its natural shape
parameter, as `kernels.responses` says. Parameters of gamma functions enter by their logarithms, whose derivatives in
eta keep full precision in both tails: for a = phi mu, b = phi (1 - mu) and logistic mu,

    d log a = 1 - mu,  d log b = -mu,  d^2 = -mu (1 - mu),  d^3 = -mu (1 - mu) (1 - 2 mu)  of both.
"""

import math

import numba

from crosslevel.kernels.special import gamma_excess, gamma_excess_value, log1p_share, logistic_parts, rising
from crosslevel.types import FloatArray

LARGEST_EXPONENT = 700.0
"""Beyond it exponentials are held, because they would overflow."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def negative_binomial_2(y: float, eta: float, precision: float) -> tuple[float, float, float, float]:
    """Variance mu + mu^2 / k: l = R(k, y) + y (eta - log k) - (y + k) log(1 + e^(eta - log k)).

    k is the precision, R as in `special.rising`.
    """
    t = math.log(precision)
    v = eta - t
    above, below, share, rest = logistic_parts(v)
    whole, _, _, _, _, excess = rising(precision, t, y)
    if v >= 0.0:
        value = whole - y * below - precision * above
    elif precision < 1.0:
        value = whole + y * v - (y + precision) * above
    else:
        value = excess + y * eta - (y + precision) * above
    second = -(y + precision) * share * rest
    return value, y * rest - precision * share, second, second * (rest - share)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def negative_binomial_2_by_shape(y: float, eta: float, precision: float, out: FloatArray) -> None:
    """Derivatives in the precision k."""
    t = math.log(precision)
    v = eta - t
    above, _, share, rest = logistic_parts(v)
    both = (y / precision + 1.0) * share * rest
    out[0, 0] = ((y + precision) * share - rising(precision, t, y)[4]) / precision - above
    out[1, 0] = both - share
    out[2, 0] = both * (rest - share) - share * rest


@numba.njit(cache=True, nogil=True, error_model="numpy")
def negative_binomial_1(y: float, eta: float, dispersion: float) -> tuple[float, float, float, float]:
    """Variance mu (1 + phi): l = R(mu / phi, y) + y log(phi / (1 + phi)) - mu log(1 + phi) / phi.

    phi is the dispersion, R as in `special.rising`.
    """
    log_mu = min(eta, LARGEST_EXPONENT)
    t = log_mu - math.log(dispersion)
    rate = math.exp(log_mu) * log1p_share(dispersion)[0]
    whole, slope, bend, twist, _, excess = rising(math.exp(min(t, LARGEST_EXPONENT)), t, y)
    value = excess + y * log_mu if t > 0.0 else whole + y * math.log(dispersion)
    value -= y * math.log1p(dispersion)
    return value - rate, slope - rate, bend - rate, twist - rate


@numba.njit(cache=True, nogil=True, error_model="numpy")
def negative_binomial_1_by_shape(y: float, eta: float, dispersion: float, out: FloatArray) -> None:
    """Derivatives in the dispersion phi."""
    log_mu = min(eta, LARGEST_EXPONENT)
    t = log_mu - math.log(dispersion)
    rate = math.exp(log_mu) * log1p_share(dispersion)[1]
    _, _, bend, twist, missing, _ = rising(math.exp(min(t, LARGEST_EXPONENT)), t, y)
    out[0, 0] = missing / dispersion - y / (1.0 + dispersion) - rate
    out[1, 0] = -bend / dispersion - rate
    out[2, 0] = -twist / dispersion - rate


@numba.njit(cache=True, nogil=True, error_model="numpy")
def gamma_amount(y: float, eta: float, shape: float) -> tuple[float, float, float, float]:
    """Variance mu^2 / a: l = K(a) + a (1 + w - e^w), w = log y - eta.

    a is the shape, K as in `special.gamma_excess`.
    """
    t = math.log(shape)
    w = min(math.log(y) - eta, LARGEST_EXPONENT - max(t, 0.0))
    beyond = math.expm1(w)
    bend = -shape * math.exp(w)
    return gamma_excess_value(shape, t) + shape * (w - beyond), shape * beyond, bend, -bend


@numba.njit(cache=True, nogil=True, error_model="numpy")
def gamma_amount_by_shape(y: float, eta: float, shape: float, out: FloatArray) -> None:
    """Derivatives in the shape a."""
    t = math.log(shape)
    w = min(math.log(y) - eta, LARGEST_EXPONENT - max(t, 0.0))
    beyond = math.expm1(w)
    out[0, 0] = gamma_excess(shape, t)[1] / shape + (w - beyond)
    out[1, 0] = beyond
    out[2, 0] = -math.exp(w)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _two_sides(
    low: tuple[float, float, float], high: tuple[float, float, float], mu: float, rest: float
) -> tuple[float, float, float]:
    """Derivatives in eta of f(log a) + g(log b), given three derivatives of f and of g; see the module."""
    both = mu * rest
    twist = both * (rest - mu)
    return (
        low[0] * rest - high[0] * mu,
        low[1] * rest * rest + high[1] * mu * mu - (low[0] + high[0]) * both,
        low[2] * rest * rest * rest
        - high[2] * mu * mu * mu
        - 3.0 * (low[1] * rest - high[1] * mu) * both
        - (low[0] + high[0]) * twist,
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def beta_share(y: float, eta: float, precision: float) -> tuple[float, float, float, float]:
    """Log density l = a log(y / mu) + b log((1 - y) / (1 - mu)) + K(a) + K(b) - K(phi), a = phi mu, b = phi (1 - mu).

    phi is the precision, so that the variance is mu (1 - mu) / (1 + phi); K as in `special.gamma_excess`.
    """
    above, below, mu, rest = logistic_parts(eta)
    t = math.log(precision)
    low = gamma_excess(precision * mu, t - below)
    high = gamma_excess(precision * rest, t - above)
    fit = mu * (math.log(y) + below) + rest * (math.log1p(-y) + above)
    first, second, third = _two_sides(low[1:], high[1:], mu, rest)
    distance = math.log(y) - math.log1p(-y) - eta
    slope = precision * mu * rest
    return (
        precision * fit + low[0] + high[0] - gamma_excess_value(precision, t),
        first + slope * distance,
        second + slope * ((rest - mu) * distance - 1.0),
        third + slope * ((1.0 - 6.0 * mu * rest) * distance - 2.0 * (rest - mu)),
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def beta_share_by_shape(y: float, eta: float, precision: float, out: FloatArray) -> None:
    """Derivatives in the precision phi."""
    above, below, mu, rest = logistic_parts(eta)
    t = math.log(precision)
    low = gamma_excess(precision * mu, t - below)
    high = gamma_excess(precision * rest, t - above)
    fit = mu * (math.log(y) + below) + rest * (math.log1p(-y) + above)
    first, second, _ = _two_sides((low[2], low[3], 0.0), (high[2], high[3], 0.0), mu, rest)
    distance = math.log(y) - math.log1p(-y) - eta
    out[0, 0] = fit + (low[1] + high[1] - gamma_excess(precision, t)[1]) / precision
    out[1, 0] = first / precision + mu * rest * distance
    out[2, 0] = second / precision + mu * rest * ((rest - mu) * distance - 1.0)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def beta_binomial(y: float, size: float, eta: float, precision: float) -> tuple[float, float, float, float]:
    """Log density l = R(a, y) + R(b, size - y) - R(phi, size).

    R as in `special.rising`, and a, b and phi as in `beta_share`.
    """
    above, below, mu, rest = logistic_parts(eta)
    t = math.log(precision)
    low = rising(precision * mu, t - below, y)
    high = rising(precision * rest, t - above, size - y)
    whole = rising(precision, t, size)
    first, second, third = _two_sides(low[1:4], high[1:4], mu, rest)
    value = low[5] - y * below if precision * mu >= 1.0 else low[0] - y * t
    value += high[5] - (size - y) * above if precision * rest >= 1.0 else high[0] - (size - y) * t
    return value - (whole[5] if precision >= 1.0 else whole[0] - size * t), first, second, third


@numba.njit(cache=True, nogil=True, error_model="numpy")
def beta_binomial_by_shape(y: float, size: float, eta: float, precision: float, out: FloatArray) -> None:
    """Derivatives in the precision phi."""
    above, below, mu, rest = logistic_parts(eta)
    t = math.log(precision)
    low = rising(precision * mu, t - below, y)
    high = rising(precision * rest, t - above, size - y)
    first, second, _ = _two_sides((low[2], low[3], 0.0), (high[2], high[3], 0.0), mu, rest)
    out[0, 0] = (rising(precision, t, size)[4] - low[4] - high[4]) / precision
    out[1, 0] = first / precision
    out[2, 0] = second / precision
