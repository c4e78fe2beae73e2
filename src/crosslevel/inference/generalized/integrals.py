"""Averages of inverse links over a normal linear predictor, exact to about twelve digits whatever its variance.

A(m, v) = E F(m + sqrt(v) Z), Z standard normal. By the heat equation its derivative in v is half the second one in m,
so that averages of the derivatives of F give every derivative of A:

    d^(i + j) A / dm^i dv^j = 2^-j E F^(i + 2j)(m + sqrt(v) Z).

Logarithmic and probit links have closed forms. The others are sums over equidistant nodes: for functions that are
analytic in a strip of half-width w the trapezoidal rule with step h errs by exp(-2 pi w / h) (Trefethen & Weideman
2014), which Gauss-Hermite rules reach with more nodes only, and slower the larger the variance. Where sqrt(v) is large
nodes lie along the latent answer L in place of Z,

    E F(m + sqrt(v) Z) = P(L <= m + sqrt(v) Z) = E_L Phi((m - L) / sqrt(v)),

whose number does not grow with the variance at all.

Source: Trefethen & Weideman (2014), SIAM Review 56: 385-458; probit: Zeger, Liang & Albert (1988), Biometrics 44:
1049-1060, in its exact form.
"""

from dataclasses import dataclass

import numpy as np

from crosslevel.inference.generalized.curves import Curve, normal
from crosslevel.types import FloatArray

DIGITS = 42.0
"""Minus the logarithm of the error of sums over nodes, poles of derivatives apart."""

NORMAL_STEP = 2.0 * np.pi / np.sqrt(2.0 * DIGITS)
"""Step with which sums over the normal density itself have this error: exp(-2 pi^2 / h^2)."""

REACH = 8.0
"""Standard deviations beyond which the normal density is rounding error."""

WIDE = 4.0
"""Standard deviation of the linear predictor from which on nodes lie along the latent answer."""

ENTRIES = 1 << 20
"""Values at nodes that are held at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedMoment:
    """S(m, v, r) = E[A(m + sqrt(v) Z, r)^2] and its derivatives: the mean product of two answers that share Z.

    Attributes
    ----------
    value, by_mean, by_shared, by_rest : (...) S, and its derivatives in m, v and r.
    """

    value: FloatArray
    by_mean: FloatArray
    by_shared: FloatArray
    by_rest: FloatArray


def averaged(curve: Curve, mean: FloatArray, variance: FloatArray, orders: int) -> FloatArray:
    """E F^(k)(m + sqrt(v) Z) for k = 0 .. orders - 1.

    Parameters
    ----------
    curve : F.
    mean, variance : (...) of the linear predictor, of one shape.
    orders : how many, at most 5.

    Returns
    -------
    (orders, ...).

    Examples
    --------
    >>> import numpy as np
    >>> from crosslevel.inference.generalized.curves import CURVES
    >>> m, v = np.array([1.0]), np.array([4.0])
    >>> averaged(CURVES["probit"], m, v, 1).round(6).tolist(), averaged(CURVES["logit"], m, v, 1).round(6).tolist()
    ([[0.67264]], [[0.647726]])
    """
    if curve.link == "log":
        return curve.derivatives(mean + 0.5 * variance, orders)
    if curve.link == "probit":
        scale = 1.0 / np.sqrt(1.0 + variance)
        return curve.derivatives(mean * scale, orders) * _powers(scale, orders)
    flat_mean, flat_sd = np.ravel(mean), np.sqrt(np.ravel(variance))
    out = np.empty((orders, len(flat_mean)))
    wide = flat_sd > WIDE
    for chosen, method in ((~wide, _along_predictor), (wide, _along_answer)):
        if np.any(chosen):
            out[:, chosen] = method(curve, flat_mean[chosen], flat_sd[chosen], orders)
    return out.reshape(orders, *np.shape(mean))


def shared_moment(curve: Curve, mean: FloatArray, shared: FloatArray, rest: FloatArray) -> SharedMoment:
    """Mean product of the expected answers of two rows that share one part of their random effects, not the other.

    With A1, A2 the derivatives of A in m: dS/dm = 2 E[A A1], dS/dv = E[A1^2 + A A2], dS/dr = E[A A2].

    Parameters
    ----------
    curve : the inverse link.
    mean, shared, rest : (n,) m, v and r.

    Examples
    --------
    >>> import numpy as np
    >>> from crosslevel.inference.generalized.curves import CURVES
    >>> one, none = np.ones(1), np.zeros(1)
    >>> shared_moment(CURVES["log"], none, one, none).value.round(6).tolist()  # E exp(2Z) = exp(2)
    [7.389056]
    """
    if curve.link == "log":
        with np.errstate(over="ignore"):
            value = np.exp(2.0 * mean + 2.0 * shared + rest)
        return SharedMoment(value=value, by_mean=2.0 * value, by_shared=2.0 * value, by_rest=value)
    out = np.empty((4, len(mean)))
    nodes, weights = _shared_nodes(curve, float(np.sqrt(np.max(shared, initial=0.0))))
    # the inner average may itself take up to a hundred nodes
    size = max(1, ENTRIES // (16 * len(nodes)))
    for start in range(0, len(mean), size):
        part = slice(start, start + size)
        places = mean[part, None] + np.sqrt(shared[part, None]) * nodes
        inner = np.broadcast_to(rest[part, None], places.shape)
        a, a1, a2 = averaged(curve, places, inner, 3) if np.any(inner) else curve.derivatives(places, 3)
        by_rest = (a * a2) @ weights
        out[:, part] = (a**2) @ weights, 2.0 * (a * a1) @ weights, (a1**2) @ weights + by_rest, by_rest
    return SharedMoment(value=out[0], by_mean=out[1], by_shared=out[2], by_rest=out[3])


def _along_predictor(curve: Curve, mean: FloatArray, sd: FloatArray, orders: int) -> FloatArray:
    """Averages (orders, n) by nodes along Z."""
    out = np.empty((orders, len(mean)))
    nodes, weights = _normal_nodes(curve, float(sd.max()))
    for part in _parts(len(mean), len(nodes)):
        values = curve.derivatives(mean[part, None] + sd[part, None] * nodes, orders)
        out[:, part] = values @ weights
    return out


def _along_answer(curve: Curve, mean: FloatArray, sd: FloatArray, orders: int) -> FloatArray:
    """Averages (orders, n) by nodes along the latent answer."""
    assert curve.support is not None
    step = 2.0 * np.pi * curve.strip / DIGITS
    low, high = curve.support
    nodes = np.arange(low, high + step, step)
    weights = step * curve.derivatives(nodes, 2)[1]
    out = np.empty((orders, len(mean)))
    for part in _parts(len(mean), len(nodes)):
        values = normal((mean[part, None] - nodes) / sd[part, None], orders)
        out[:, part] = values @ weights
    return out * _powers(1.0 / sd, orders)


def _normal_nodes(curve: Curve, sd: float) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights along Z for F(m + sd Z), sd the largest."""
    step = NORMAL_STEP if sd == 0.0 else min(NORMAL_STEP, 2.0 * np.pi * curve.strip / (DIGITS * sd))
    return _equidistant(step, REACH + sd)


def _shared_nodes(curve: Curve, sd: float) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights along Z for squares of averages of F, sd the largest.

    Normal curves grow like exp(y^2 / 2) away from the real axis, their squares like exp(y^2).
    """
    if np.isfinite(curve.strip):
        return _normal_nodes(curve, sd)
    return _equidistant(NORMAL_STEP / np.sqrt(1.0 + 2.0 * sd**2), REACH)


def _equidistant(step: float, reach: float) -> tuple[FloatArray, FloatArray]:
    """Nodes of the trapezoidal rule with the normal density as weights, which sum to one."""
    count = int(np.ceil(reach / step))
    nodes = step * np.arange(-count, count + 1)
    weights = np.exp(-0.5 * nodes**2)
    return nodes, weights / weights.sum()


def _parts(n: int, n_nodes: int) -> list[slice]:
    """Slices of n values such that not too many values at nodes are held."""
    size = max(1, ENTRIES // n_nodes)
    return [slice(start, start + size) for start in range(0, n, size)]


def _powers(scale: FloatArray, orders: int) -> FloatArray:
    """scale^k (orders, ...)."""
    return np.asarray(np.stack([scale**k for k in range(orders)]))
