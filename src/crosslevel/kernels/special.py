"""Gamma functions and logarithms near their limits, with derivatives, for compiled log densities.

Every function keeps its precision where the textbook form loses it: arguments next to 0, so large that a difference of
two values cancels, or so small that they underflow, whose logarithm t is then passed beside them.
"""

import math

import numba
import numpy as np

BERNOULLI = np.array([1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510])
"""B_2, B_4, ..., B_16: coefficients of the expansions for large arguments (Abramowitz & Stegun 1964, sec. 6.3-6.4)."""

LARGE = 12.0
"""From here on those expansions have full precision."""

COUNTED = 64
"""Sums over an outcome up to here are taken one by one."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def logistic_parts(x: float) -> tuple[float, float, float, float]:
    """Logarithms of 1 + e^x and of 1 + e^-x, F(x) and F(-x), F logistic: all of one exponential."""
    small = math.exp(-abs(x))
    near = 1.0 / (1.0 + small)
    far = small * near
    least = math.log1p(small)
    if x >= 0.0:
        return x + least, least, near, far
    return least, least - x, far, near


@numba.njit(cache=True, nogil=True, error_model="numpy")
def polygammas(x: float) -> tuple[float, float, float]:
    """First three derivatives of log Gamma(x), x > 0: digamma, trigamma and tetragamma."""
    first, second, third = 0.0, 0.0, 0.0
    while x < LARGE:
        share = 1.0 / x
        first -= share
        second += share * share
        third -= 2.0 * share * share * share
        x += 1.0
    share = 1.0 / x
    square = share * share
    power = square
    first += math.log(x) - 0.5 * share
    second += share + 0.5 * square
    third -= square + square * share
    for m in range(1, len(BERNOULLI) + 1):
        term = BERNOULLI[m - 1] * power
        first -= term / (2.0 * m)
        second += term * share
        third -= (2.0 * m + 1.0) * term * square
        power *= square
    return first, second, third


@numba.njit(cache=True, nogil=True, error_model="numpy")
def gamma_excess(x: float, t: float) -> tuple[float, float, float, float]:
    """K(x) = x log x - x - log Gamma(x) and its first three derivatives in t = log x.

    K grows like log x at 0 and like log(x) / 2 at infinity, whereas the three parts of it cancel in between. Only t
    tells the size of an x that underflows to 0.
    """
    if x < LARGE:
        first, second, third = polygammas(1.0 + x)
        slope = x * (t - first)
        bend = x * (t + 1.0 - first - x * second)
        return (
            t + x * t - x - math.lgamma(1.0 + x),
            1.0 + slope,
            bend,
            bend + x - x * x * (2.0 * second + x * third),
        )
    value, slope, bend, twist = 0.5 * t - 0.5 * math.log(2.0 * math.pi), 0.5, 0.0, 0.0
    square = 1.0 / (x * x)
    power = 1.0 / x
    for m in range(1, len(BERNOULLI) + 1):
        degree = 2.0 * m - 1.0
        term = BERNOULLI[m - 1] / (2.0 * m * degree) * power
        value -= term
        slope += degree * term
        bend -= degree * degree * term
        twist += degree * degree * degree * term
        power *= square
    return value, slope, bend, twist


@numba.njit(cache=True, nogil=True, error_model="numpy")
def gamma_excess_value(x: float, t: float) -> float:
    """K(x) alone; see `gamma_excess`."""
    if x < LARGE:
        return t + x * t - x - math.lgamma(1.0 + x)
    return gamma_excess(x, t)[0]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def rising(k: float, t: float, y: float) -> tuple[float, float, float, float, float, float]:
    """R = log Gamma(k + y) - log Gamma(k) for y = 0, 1, ..., and its first three derivatives in t = log k.

    R = sum log(k + j) over j = 0, ..., y - 1. For large k it tends to y t, and R' to y: what R has beyond y t and what
    R' lacks of y are summed by themselves, because they would cancel.

    Returns
    -------
    R, R', R'', R''', y - R', R - y t.
    """
    if y < 1.0:
        return 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    counted = y
    if y > COUNTED:
        counted = max(1.0, math.ceil(16.0 - k))
    relative = k >= 1.0
    product, slope, bend, twist, missing = 1.0, 1.0, 0.0, 0.0, 0.0
    for step in range(1, int(counted)):
        j = float(step)
        share = 1.0 / (k + j)
        rest = j * share
        share *= k
        slope += share
        missing += rest
        bend += share * rest
        twist += share * rest * (rest - share)
        product *= 1.0 + j / k if relative else k + j
    value = math.log(product)
    if counted < y:
        more = _rising_tail(k, k + counted, y - counted)
        value += more[0] + (y - counted) * (math.log1p(counted / k) if relative else math.log(k + counted))
        slope += more[1]
        bend += more[2]
        twist += more[3]
        missing += (y - counted) - more[1]
    if relative:
        return value + y * t, slope, bend, twist, missing, value
    value += t
    return value, slope, bend, twist, missing, value - y * t


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _rising_tail(k: float, x: float, d: float) -> tuple[float, float, float, float]:
    """Log Gamma(x + d) - log Gamma(x) - d log x for x >= 16, and derivatives of that sum of log(k + j) in log k.

    Differences x^-p - (x + d)^-p = x^-p (1 - r^p), with r = x / (x + d), are sums of powers of r and do not cancel.
    """
    growth = math.log1p(d / x)
    lost = d / (x + d)
    r = x / (x + d)
    value = (x + d - 0.5) * growth - d
    first = x * growth + 0.5 * lost
    second = x * lost + 0.5 * lost * (1.0 + r)
    third = x * lost * (1.0 + r) + lost * (1.0 + r + r * r)
    square = 1.0 / (x * x)
    power = 1.0 / x
    shares, reach = 1.0, r  # sum of r^0, ..., r^(p - 1), and r^p
    for m in range(1, len(BERNOULLI) + 1):
        odd = lost * shares
        shares += reach
        reach *= r
        even = lost * shares
        shares += reach
        reach *= r
        after = lost * shares
        last = lost * (shares + reach)
        term = BERNOULLI[m - 1] * power
        value -= term / (2.0 * m * (2.0 * m - 1.0)) * odd
        first += term / (2.0 * m) * even
        second += term * after
        third += (2.0 * m + 1.0) * term * last
        power *= square
    share = k / x
    first *= share
    second *= share * share
    third *= share * share * share
    return value, first, first - second, first - 3.0 * second + third


@numba.njit(cache=True, nogil=True, error_model="numpy")
def log1p_share(x: float) -> tuple[float, float]:
    """A(x) = log(1 + x) / x and its derivative, x > 0."""
    if x > 0.1:
        value = math.log1p(x) / x
        return value, (1.0 / (1.0 + x) - value) / x
    value, slope = 0.0, 0.0
    for n in range(18, 0, -1):
        slope = slope * -x + n / (n + 1.0)
        value = value * -x + 1.0 / n
    return value, -slope
