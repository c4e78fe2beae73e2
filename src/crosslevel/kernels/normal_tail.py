"""Logarithms of normal probabilities and their derivatives, exact however far out and however narrow the interval."""

import math

import numba
import numpy as np

LOG_ROOT = 0.5 * math.log(2.0 * math.pi)
ROOT_HALF = math.sqrt(0.5)
FARTHEST = 1e150
"""Arguments are held here, because their squares would overflow."""

FEW_NODES, FEW_WEIGHTS = (part / 2.0 for part in np.polynomial.legendre.leggauss(12))
MANY_NODES, MANY_WEIGHTS = (part / 2.0 for part in np.polynomial.legendre.leggauss(34))
"""Gauss-Legendre rules on (-1/2, 1/2)."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def log_normal_cdf(x: float) -> tuple[float, float, float, float, float]:
    """g(x) = log Phi(x), its first three derivatives, and the mean distance x - E[s | s < x] of a standard normal s.

    With h = phi / Phi and the mean distance e = h + x: g' = h, g'' = -h e, g''' = h (e (h + e) - 1). In the lower tail
    e, and with it h = e - x, is the continued fraction of the repeated integrals I_n of the error function, I_(n-1) =
    |x| I_n + (n + 1) I_(n+1), run backwards (Gautschi 1961, Math. Comp. 15: 227-232).

    Returns
    -------
    g, g', g'', g''', e.
    """
    if x > -4.0:
        density = math.exp(-0.5 * x * x - LOG_ROOT)
        if x > 0.0:
            above = 0.5 * math.erfc(x * ROOT_HALF)
            value = math.log1p(-above)
            h = density / (1.0 - above)
        else:
            below = 0.5 * math.erfc(-x * ROOT_HALF)
            value = math.log(below)
            h = density / below
        e = h + x
        if x > 40.0:
            return value, 0.0, 0.0, 0.0, e
        return value, h, -h * e, h * (e * (h + e) - 1.0), e
    far = min(-x, FARTHEST)
    r1, r2 = 0.0, 0.0
    r0 = 1.0 / far
    for n in range(48, 0, -1):
        r2, r1, r0 = r1, r0, 1.0 / (far + (n + 1.0) * r0)
    h = far + r0
    value = -0.5 * far * far - LOG_ROOT - math.log(h)
    return value, h, -h * r0, r0 * (6.0 * r1 * (r2 - r0) + 2.0 * r0 * r0), r0


@numba.njit(cache=True, nogil=True, error_model="numpy")
def log_normal_interval(
    a: float, b: float, width: float
) -> tuple[float, float, float, float, float, float, float, float]:
    """Log probability P(a < s < b) of a standard normal s, and moments of s within the interval.

    The width b - a is passed beside both bounds because their difference would cancel.

    Returns
    -------
    log P; E[s]; Var[s] - 1; E[(s - E[s])^3]; phi(a) / P; phi(b) / P; E[s - a]; E[b - s].
    """
    if a + b > 0.0:
        value, mean, variance, third, upper, lower, to_b, to_a = _lower_interval(-b, -a, width)
        return value, -mean, variance, -third, lower, upper, to_a, to_b
    return _lower_interval(a, b, width)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _lower_interval(a: float, b: float, width: float) -> tuple[float, float, float, float, float, float, float, float]:
    """As `log_normal_interval`, for an interval whose middle is not above 0."""
    if b < -5.0 or width < 0.5:
        return _integrated_interval(max(b, -FARTHEST), width)
    below, density_a = 0.5 * math.erfc(-a * ROOT_HALF), math.exp(-0.5 * a * a - LOG_ROOT)
    density_b = math.exp(-0.5 * b * b - LOG_ROOT)
    if b > 0.0:
        outside = below + 0.5 * math.erfc(b * ROOT_HALF)
        inside = 1.0 - outside
        value = math.log1p(-outside)
    else:
        inside = 0.5 * math.erfc(-b * ROOT_HALF) - below
        value = math.log(inside)
    lower, upper = density_a / inside, density_b / inside
    scaled = a * lower if lower > 0.0 else 0.0
    mean = lower - upper
    second = scaled - b * upper
    third = (a * scaled - lower if lower > 0.0 else 0.0) - (b * b - 1.0) * upper
    return (
        value,
        mean,
        second - mean * mean,
        third - 3.0 * mean * second + 2.0 * mean * mean * mean,
        lower,
        upper,
        mean - a,
        b - mean,
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _integrated_interval(b: float, width: float) -> tuple[float, float, float, float, float, float, float, float]:
    """As `_lower_interval`, by Gauss-Legendre integration over the distance T = b - s, where nothing cancels.

    phi(b - T) = phi(b) e^(b T - T^2 / 2) is integrated up to where it has fallen by a factor e^-40.
    """
    reach = min(width, 80.0 / (math.sqrt(b * b + 80.0) - b))
    nodes, weights = MANY_NODES, MANY_WEIGHTS
    if reach * (0.5 * reach - b) < 3.0:
        nodes, weights = FEW_NODES, FEW_WEIGHTS
    m0, m1, m2, m3 = 0.0, 0.0, 0.0, 0.0
    for i in range(len(nodes)):
        share = 0.5 + nodes[i]
        distance = share * reach
        weight = weights[i] * math.exp(distance * (b - 0.5 * distance))
        m0 += weight
        m1 += weight * share
        m2 += weight * share * share
        m3 += weight * share * share * share
    m1, m2, m3 = m1 / m0, m2 / m0, m3 / m0
    integral = m0 * reach
    to_b = m1 * reach
    variance = (m2 - m1 * m1) * reach * reach
    third = (m3 - 3.0 * m1 * m2 + 2.0 * m1 * m1 * m1) * reach * reach * reach
    return (
        -0.5 * b * b - LOG_ROOT + math.log(integral),
        b - to_b,
        variance - 1.0,
        -third,
        math.exp(width * (b - 0.5 * width)) / integral,
        1.0 / integral,
        width - to_b,
        to_b,
    )
