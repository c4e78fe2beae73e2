"""Log densities of families with shape parameters at many linear predictors, as quadrature asks for them.

At the nodes only l, l' and the derivative of l in the shape parameters are needed, and much of them is the same at all
nodes. Here l is split in two: what moves with eta, and what is fixed as long as the shape parameters are,

    l = moving(y, eta, shape) + fixed(y, shape),

so that the second is computed once for a row, and the first shares what its derivatives have in common with it.
`kernels.response_amounts` and `kernels.response_ordered` tell the formulas.
"""

import math

import numba

from crosslevel.kernels.exponential import exponential, log_one_plus, logarithm
from crosslevel.kernels.leaf import leaf
from crosslevel.kernels.normal_tail import log_normal_cdf, log_normal_interval
from crosslevel.kernels.response_ordered import bounds
from crosslevel.kernels.responses import (
    BETA,
    BETA_BINOMIAL,
    CUMULATIVE_LOGIT,
    CUMULATIVE_PROBIT,
    GAMMA,
    NEGATIVE_BINOMIAL_1,
    NEGATIVE_BINOMIAL_2,
)
from crosslevel.kernels.special import (
    BERNOULLI,
    COUNTED,
    LARGE,
    gamma_excess,
    gamma_excess_value,
    log1p_share,
    rising,
)
from crosslevel.types import FloatArray

LARGEST_EXPONENT = 700.0
"""Beyond it exponentials are held, because they would overflow."""

HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)

DIGAMMA_0, DIGAMMA_1, DIGAMMA_2, DIGAMMA_3, DIGAMMA_4, DIGAMMA_5, DIGAMMA_6, DIGAMMA_7 = (
    float(number / (2 * m)) for m, number in enumerate(BERNOULLI, start=1)
)
LOG_GAMMA_0, LOG_GAMMA_1, LOG_GAMMA_2, LOG_GAMMA_3, LOG_GAMMA_4, LOG_GAMMA_5, LOG_GAMMA_6, LOG_GAMMA_7 = (
    float(number / (2 * m * (2 * m - 1))) for m, number in enumerate(BERNOULLI, start=1)
)
"""Coefficients of the expansions of digamma and of log Gamma, which have full precision from 9 on."""


@numba.njit(cache=True, inline="always", nogil=True, error_model="numpy", fastmath={"contract"})
def logistic(x: float) -> tuple[float, float, float, float]:
    """Logarithms of 1 + e^x and of 1 + e^-x, F(x) and F(-x), F logistic."""
    small = exponential(-abs(x))
    near = 1.0 / (1.0 + small)
    far = small * near
    least = log_one_plus(small)
    up = x >= 0.0
    return max(x, 0.0) + least, least - min(x, 0.0), (near if up else far), (far if up else near)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def rising_slope(k: float, t: float, y: float) -> tuple[float, float, float]:
    """R(k, y) of `special.rising`, less y t where k is 1 or more; R' in t = log k; and y - R'."""
    if y < 1.0:
        return 0.0, 0.0, 0.0
    if y > COUNTED:
        whole, slope, _, _, missing, excess = rising(k, t, y)
        return excess if k >= 1.0 else whole, slope, missing
    product, total = 1.0, 0.0
    if k >= 1.0:
        inverse = 1.0 / k
        for step in range(1, int(y)):
            j = float(step)
            total += j / (k + j)
            product *= 1.0 + j * inverse
        return math.log(product), y - total, total
    for step in range(1, int(y)):
        j = float(step)
        total += 1.0 / (k + j)
        product *= k + j
    slope = 1.0 + k * total
    return math.log(product) + t, slope, y - slope


@numba.njit(cache=True, inline="always", nogil=True, error_model="numpy", fastmath={"contract"})
def excess_slope(x: float, t: float) -> tuple[float, float]:
    """K(x) of `special.gamma_excess` and its derivative in t = log x.

    Below `LARGE`, of Gamma(1 + x) = Gamma(9 + x) / P, P = (1 + x) (2 + x) ... (8 + x). The outer two of these factors
    multiply to w = (1 + x) (8 + x), the next to w + 6, w + 10 and w + 12, so that P is a polynomial in w.
    """
    small = x < LARGE
    s = x + 9.0 if small else x
    share = 1.0 / s
    square = share * share
    rest, slope = LOG_GAMMA_7, DIGAMMA_7
    rest, slope = rest * square + LOG_GAMMA_6, slope * square + DIGAMMA_6
    rest, slope = rest * square + LOG_GAMMA_5, slope * square + DIGAMMA_5
    rest, slope = rest * square + LOG_GAMMA_4, slope * square + DIGAMMA_4
    rest, slope = rest * square + LOG_GAMMA_3, slope * square + DIGAMMA_3
    rest, slope = rest * square + LOG_GAMMA_2, slope * square + DIGAMMA_2
    rest, slope = rest * square + LOG_GAMMA_1, slope * square + DIGAMMA_1
    rest, slope = rest * square + LOG_GAMMA_0, slope * square + DIGAMMA_0
    rest *= share
    slope *= square
    w = (1.0 + x) * (8.0 + x)
    outer, inner = w * (w + 6.0), (w + 10.0) * (w + 12.0)
    under = outer * inner
    over = (2.0 * x + 9.0) * ((2.0 * w + 6.0) * inner + (2.0 * w + 22.0) * outer)
    log_s = logarithm(s)
    log_gamma = (s - 0.5) * log_s - s + HALF_LOG_TWO_PI + rest - logarithm(under)
    low, low_slope = t + x * t - x - log_gamma, 1.0 + x * (t - (log_s - 0.5 * share - slope - over / under))
    high, high_slope = 0.5 * t - HALF_LOG_TWO_PI - rest, 0.5 + x * slope
    return (low if small else high), (low_slope if small else high_slope)


@leaf()
def read_answers(
    code: int, y: FloatArray, size: FloatArray, low: int, high: int, times: int, y_out: FloatArray, size_out: FloatArray
) -> None:
    """Write outcome and size of rows low to high, several times one after another, as `moving_terms` reads them.

    Those of beta shares are log y and log(1 - y).
    """
    n = high - low
    for i in range(n):
        y_out[i], size_out[i] = y[low + i], size[low + i]
        if code == BETA:
            y_out[i], size_out[i] = math.log(y[low + i]), math.log1p(-y[low + i])
    for k in range(1, times):
        for i in range(n):
            y_out[k * n + i], size_out[k * n + i] = y_out[i], size_out[i]


@leaf()
def moving_terms(
    code: int, shape: FloatArray, y: FloatArray, size: FloatArray, weight: FloatArray, eta: FloatArray,
    value: FloatArray, first: FloatArray, upper: FloatArray, lower: FloatArray,
) -> None:  # fmt: skip
    """Weight times the moving part of l, l', and the moving part's derivative in the shape parameters, of rows (n,).

    `upper` is the derivative in the one shape parameter or, of ordered categories, in the threshold above the row's
    own; `lower` in the threshold below it. `y` and `size` are those of `read_answers`.
    """
    if code == NEGATIVE_BINOMIAL_2:
        _negative_binomial_2(shape[0], y, weight, eta, value, first, upper)
    elif code == NEGATIVE_BINOMIAL_1:
        _negative_binomial_1(shape[0], y, weight, eta, value, first, upper)
    elif code == GAMMA:
        _gamma_amount(shape[0], y, size, weight, eta, value, first, upper)
    elif code == BETA:
        _beta_share(shape[0], y, size, weight, eta, value, first, upper)
    elif code == BETA_BINOMIAL:
        _beta_binomial(shape[0], y, size, weight, eta, value, first, upper)
    elif code == CUMULATIVE_LOGIT:
        _cumulative_logit(shape, y, weight, eta, value, first, upper, lower)
    elif code == CUMULATIVE_PROBIT:
        _cumulative_probit(shape, y, weight, eta, value, first, upper, lower)


@leaf(fastmath={"contract"})
def _negative_binomial_2(
    precision: float, y: FloatArray, weight: FloatArray, eta: FloatArray,
    value: FloatArray, first: FloatArray, change: FloatArray,
) -> None:  # fmt: skip
    """Moving part y v - (y + k) log(1 + e^v), v = eta - log k; from k = 1 on with y log k, which R then lacks."""
    t = math.log(precision)
    base, inverse = (t if precision >= 1.0 else 0.0), 1.0 / precision
    for i in range(len(eta)):
        v = eta[i] - t
        small = exponential(-abs(v))
        near = 1.0 / (1.0 + small)
        far = small * near
        least = log_one_plus(small)
        up = v >= 0.0
        share, rest = (near if up else far), (far if up else near)
        above = max(v, 0.0) + least
        value[i] = weight[i] * (y[i] * (min(v, 0.0) + base) - y[i] * least - precision * above)
        first[i] = weight[i] * (y[i] * rest - precision * share)
        change[i] = weight[i] * ((y[i] * inverse + 1.0) * share - above)


@leaf()
def _negative_binomial_1(
    dispersion: float, y: FloatArray, weight: FloatArray, eta: FloatArray,
    value: FloatArray, first: FloatArray, change: FloatArray,
) -> None:  # fmt: skip
    """R(mu / phi, y) + y log phi - mu log(1 + phi) / phi."""
    log_phi, inverse = math.log(dispersion), 1.0 / dispersion
    by_mu, slope_by_mu = log1p_share(dispersion)
    largest = math.exp(LARGEST_EXPONENT)
    for i in range(len(eta)):
        log_mu = min(eta[i], LARGEST_EXPONENT)
        mu = exponential(log_mu)
        k = min(mu * inverse, largest)
        part, slope, missing = rising_slope(k, log_mu - log_phi, y[i])
        whole = part + y[i] * (log_mu if k >= 1.0 else log_phi)
        value[i] = weight[i] * (whole - mu * by_mu)
        first[i] = weight[i] * (slope - mu * by_mu)
        change[i] = weight[i] * (missing * inverse - mu * slope_by_mu)


@leaf(fastmath={"contract"})
def _gamma_amount(
    shape: float, y: FloatArray, size: FloatArray, weight: FloatArray, eta: FloatArray,
    value: FloatArray, first: FloatArray, change: FloatArray,
) -> None:  # fmt: skip
    """-a (size eta + y e^-eta), y the total of `size` amounts."""
    largest = math.exp(LARGEST_EXPONENT - max(math.log(shape), 0.0))
    for i in range(len(eta)):
        ratio = min(y[i] * exponential(-eta[i]), largest)
        value[i] = -weight[i] * shape * (size[i] * eta[i] + ratio)
        first[i] = weight[i] * shape * (ratio - size[i])
        change[i] = -weight[i] * (size[i] * eta[i] + ratio)


@leaf(fastmath={"contract"})
def _beta_share(
    precision: float, log_y: FloatArray, log_rest: FloatArray, weight: FloatArray, eta: FloatArray,
    value: FloatArray, first: FloatArray, change: FloatArray,
) -> None:  # fmt: skip
    """Moving part a log(y / mu) + b log((1 - y) / (1 - mu)) + K(a) + K(b)."""
    t, inverse = math.log(precision), 1.0 / precision
    for i in range(len(eta)):
        above, below, mu, rest = logistic(eta[i])
        low, low_slope = excess_slope(precision * mu, t - below)
        high, high_slope = excess_slope(precision * rest, t - above)
        fit = mu * (log_y[i] + below) + rest * (log_rest[i] + above)
        distance = log_y[i] - log_rest[i] - eta[i]
        value[i] = weight[i] * (precision * fit + low + high)
        first[i] = weight[i] * (low_slope * rest - high_slope * mu + precision * mu * rest * distance)
        change[i] = weight[i] * (fit + (low_slope + high_slope) * inverse)


@leaf()
def _beta_binomial(
    precision: float, y: FloatArray, size: FloatArray, weight: FloatArray, eta: FloatArray,
    value: FloatArray, first: FloatArray, change: FloatArray,
) -> None:  # fmt: skip
    """R(a, y) + R(b, size - y) - size log phi."""
    t, inverse = math.log(precision), 1.0 / precision
    for i in range(len(eta)):
        above, below, mu, rest = logistic(eta[i])
        a, b, miss = precision * mu, precision * rest, size[i] - y[i]
        low, low_slope, low_missing = rising_slope(a, t - below, y[i])
        high, high_slope, high_missing = rising_slope(b, t - above, miss)
        low -= y[i] * (below if a >= 1.0 else t)
        high -= miss * (above if b >= 1.0 else t)
        value[i] = weight[i] * (low + high)
        first[i] = weight[i] * (low_slope * rest - high_slope * mu)
        change[i] = -weight[i] * (low_missing + high_missing) * inverse


@leaf()
def _cumulative_logit(
    shape: FloatArray, y: FloatArray, weight: FloatArray, eta: FloatArray,
    value: FloatArray, first: FloatArray, upper: FloatArray, lower: FloatArray,
) -> None:  # fmt: skip
    """Log F(b) + log(1 - F(a)), a and b the thresholds minus eta."""
    m = len(shape)
    for i in range(len(eta)):
        k, w = int(y[i]), weight[i]
        value[i] = first[i] = upper[i] = lower[i] = 0.0
        if k <= m:
            excess, _, share, _ = logistic(eta[i] - (shape[k - 1] if k > 0 else 0.0))
            value[i] -= w * excess
            first[i] -= w * share
            upper[i] = w * share
        if k > 0:
            excess, _, share, _ = logistic((shape[k - 2] if k > 1 else 0.0) - eta[i])
            value[i] -= w * excess
            first[i] += w * share
            lower[i] = -w * share


@leaf()
def _cumulative_probit(
    shape: FloatArray, y: FloatArray, weight: FloatArray, eta: FloatArray,
    value: FloatArray, first: FloatArray, upper: FloatArray, lower: FloatArray,
) -> None:  # fmt: skip
    """Log(Phi(b) - Phi(a))."""
    for i in range(len(eta)):
        below, above, width = bounds(y[i], shape)
        to_lower, to_upper = 0.0, 0.0
        if below == -math.inf:
            chance, to_upper, _, _, _ = log_normal_cdf(above - eta[i])
            slope = -to_upper
        elif above == math.inf:
            chance, to_lower, _, _, _ = log_normal_cdf(eta[i] - below)
            slope = to_lower
        else:
            chance, slope, _, _, to_lower, to_upper, _, _ = log_normal_interval(below - eta[i], above - eta[i], width)
        value[i], first[i] = weight[i] * chance, weight[i] * slope
        upper[i], lower[i] = weight[i] * to_upper, -weight[i] * to_lower


@leaf()
def add_by_shape(code: int, y: FloatArray, upper: FloatArray, lower: FloatArray, share: float, out: FloatArray) -> None:
    """Add `share` times the sums over rows of what `moving_terms` has by shape parameter to out (m,)."""
    if code not in (CUMULATIVE_LOGIT, CUMULATIVE_PROBIT):
        for i in range(len(y)):
            out[0] += share * upper[i]
        return
    for i in range(len(y)):
        k = int(y[i])
        if 0 < k <= len(out):
            out[k - 1] += share * upper[i]
        if k > 1:
            out[k - 2] += share * lower[i]


@leaf()
def add_fixed(
    code: int, shape: FloatArray, y: FloatArray, size: FloatArray, weight: FloatArray, low: int, high: int,
    out: FloatArray,
) -> float:  # fmt: skip
    """Sum of weight times the fixed part of l of rows low to high; its derivative in shape is added to out (m,)."""
    total = 0.0
    s, t = shape[0], (0.0 if code in (CUMULATIVE_LOGIT, CUMULATIVE_PROBIT) else math.log(shape[0]))
    for i in range(low, high):
        w = weight[i]
        if code == NEGATIVE_BINOMIAL_2:
            part, _, missing = rising_slope(s, t, y[i])
            total += w * part
            out[0] -= w * missing / s
        elif code == NEGATIVE_BINOMIAL_1:
            total -= w * y[i] * math.log1p(s)
            out[0] -= w * y[i] / (1.0 + s)
        elif code == GAMMA:
            a, log_a, above = s * size[i], t + math.log(size[i]), 1.0 + math.log(y[i] / size[i])
            total += w * (gamma_excess_value(a, log_a) + a * above)
            out[0] += w * (gamma_excess(a, log_a)[1] / s + size[i] * above)
        elif code == BETA:
            total -= w * gamma_excess_value(s, t)
            out[0] -= w * gamma_excess(s, t)[1] / s
        elif code == BETA_BINOMIAL:
            part, _, missing = rising_slope(s, t, size[i])
            total -= w * (part - (0.0 if s >= 1.0 else size[i] * t))
            out[0] += w * missing / s
        elif code == CUMULATIVE_LOGIT and 0 < int(y[i]) <= len(shape):
            k, (_, _, width) = int(y[i]), bounds(y[i], shape)
            total += w * math.log(-math.expm1(-width))
            apart = w / math.expm1(min(width, LARGEST_EXPONENT))
            out[k - 1] += apart
            if k > 1:
                out[k - 2] -= apart
    return total
