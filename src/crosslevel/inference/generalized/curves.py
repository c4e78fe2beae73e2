"""Inverse links with four derivatives, and the distributions whose cumulative functions they are.

F is the inverse link. Of logit, probit and complementary log-log F is a distribution function; its density F' is that
of the latent answer. All derivatives are written so that both tails keep their digits.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from crosslevel.types import FloatArray

ORDERS = 5
"""A curve and four derivatives."""

FLAT = 40.0
"""Linear predictor beyond which a complementary log-log curve is one, and its derivatives zero, to all digits."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """An inverse link.

    Attributes
    ----------
    link : its name.
    derivatives : F and its derivatives at x (...), as many as are asked for, stacked (orders, ...).
    strip : half the width of the strip about the real axis in which F is analytic and bounded; infinite for entire
        functions.
    support : where the density F' is larger than rounding; None if F is no distribution function.
    """

    link: str
    derivatives: Callable[[FloatArray, int], FloatArray]
    strip: float
    support: tuple[float, float] | None


def logistic(x: FloatArray, orders: int) -> FloatArray:
    """1 / (1 + exp(-x)) and its derivatives, (orders, ...).

    With p = F, d = p (1 - p): d, d (1 - 2p), d (1 - 6d), d (1 - 2p) (1 - 12d).

    Examples
    --------
    >>> import numpy as np
    >>> logistic(np.array(1.0), 3).round(4).tolist()
    [0.7311, 0.1966, -0.0909]
    """
    # exp(-|x|) keeps the digits of both tails
    small = np.exp(-np.abs(x))
    whole = 1.0 + small
    out = np.empty((orders, *np.shape(x)))
    out[0] = np.where(x < 0.0, small, 1.0) / whole
    if orders == 1:
        return out
    slope = small / whole**2
    turn = np.where(x < 0.0, 1.0, -1.0) * (1.0 - small) / whole
    for k, factor in enumerate((1.0, turn, 1.0 - 6.0 * slope, turn * (1.0 - 12.0 * slope))[: orders - 1]):
        out[k + 1] = slope * factor
    return out


def normal(x: FloatArray, orders: int) -> FloatArray:
    """The standard normal distribution function and its derivatives, (orders, ...).

    Examples
    --------
    >>> import numpy as np
    >>> normal(np.array(1.0), 3).round(4).tolist()
    [0.8413, 0.242, -0.242]
    """
    from scipy.special import ndtr

    out = np.empty((orders, *np.shape(x)))
    out[0] = ndtr(x)
    if orders == 1:
        return out
    density = np.exp(-0.5 * x**2) / np.sqrt(2.0 * np.pi)
    bounded = np.clip(x, -FLAT, FLAT)
    factors = (1.0, -bounded, bounded**2 - 1.0, (3.0 - bounded**2) * bounded)
    for k, factor in enumerate(factors[: orders - 1]):
        out[k + 1] = density * factor
    return out


def complementary(x: FloatArray, orders: int) -> FloatArray:
    """1 - exp(-exp(x)) and its derivatives, (orders, ...).

    With t = exp(x), s = t exp(-t): s, s (1 - t), s (1 - 3t + t^2), s (1 - 7t + 6t^2 - t^3).

    Examples
    --------
    >>> import numpy as np
    >>> complementary(np.array(0.0), 3).round(4).tolist()
    [0.6321, 0.3679, 0.0]
    """
    t = np.exp(np.minimum(x, FLAT))
    out = np.empty((orders, *np.shape(x)))
    out[0] = -np.expm1(-t)
    if orders == 1:
        return out
    slope = t * np.exp(-t)
    factors = (1.0, 1.0 - t, 1.0 - t * (3.0 - t), 1.0 - t * (7.0 - t * (6.0 - t)))
    for k, factor in enumerate(factors[: orders - 1]):
        out[k + 1] = slope * factor
    return out


def exponential(x: FloatArray, orders: int) -> FloatArray:
    """exp(x), which is its own derivative, (orders, ...)."""
    out = np.empty((orders, *np.shape(x)))
    with np.errstate(over="ignore"):  # an infinite mean is what such a predictor says
        out[:] = np.exp(x)
    return out


CURVES = {
    "logit": Curve(link="logit", derivatives=logistic, strip=np.pi, support=(-38.0, 38.0)),
    "probit": Curve(link="probit", derivatives=normal, strip=np.inf, support=(-9.0, 9.0)),
    "cloglog": Curve(link="cloglog", derivatives=complementary, strip=0.5 * np.pi, support=(-38.0, 4.0)),
    "log": Curve(link="log", derivatives=exponential, strip=np.inf, support=None),
}
"""Inverse links by name."""
