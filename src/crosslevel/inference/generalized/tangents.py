"""Averages over rows of expected answers, or of their derivatives, with their derivatives in all parameters.

With A(m, v) the average of the inverse link over the random effects, at rows with linear predictors N(m_i, v_i),

    T = sum_i w_i A(m_i, v_i)                                   an average prediction,
    T = sum_i w_i (A_m dm_i + A_v dv_i),  A_v = A_mm / 2        an average marginal effect, where x moves m and v.

(A random slope of x makes v depend on x.) Derivatives in beta and in the elements of Psi follow by the chain rule, from
the averages of up to four derivatives of the inverse link.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from crosslevel.inference.generalized.predictive import Answer, Predictive
from crosslevel.types import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Effect:
    """The random effects of one grouping factor, as predictions use them.

    Attributes
    ----------
    z : (q,) positions of their columns among the design columns.
    share : (L,) sum of squared shares of the levels of each row; None if each has one.
    given : (q,) effects of a given level, in place of an average over levels; None for the average.
    left_out : whether these effects are zero.
    """

    z: IntArray
    share: FloatArray | None = None
    given: FloatArray | None = None
    left_out: bool = False

    @property
    def is_averaged(self) -> bool:
        """Whether answers are averaged over these effects."""
        return self.given is None and not self.left_out


@dataclass(frozen=True, kw_only=True, eq=False)
class Places:
    """Rows at P settings of some inputs.

    Attributes
    ----------
    x : positions of the estimated fixed columns.
    columns : (P, columns, L).
    slopes : (P, columns, L) their derivatives by what moves; None for predictions.
    offset : (L,) known part of the linear predictor.
    weights : (L,) which sum to what the rows count.
    """

    x: IntArray
    columns: FloatArray = field(repr=False)
    slopes: FloatArray | None = field(repr=False)
    offset: FloatArray = field(repr=False)
    weights: FloatArray = field(repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Tangent:
    """Values and their derivatives.

    Attributes
    ----------
    value : (P,).
    gradient : (P, K) derivative in [theta, beta, shape].
    by_given : for each factor (P, q) the derivative in its given effects; zero for others.
    """

    value: FloatArray
    gradient: FloatArray
    by_given: tuple[FloatArray, ...]


def tangent(estimates: Predictive, answer: Answer, effects: Sequence[Effect], places: Places) -> Tangent:
    """Weighted sums over rows of expected answers, or of their derivatives where `places.slopes` are given.

    Parameters
    ----------
    estimates : of the model.
    answer : what is expected.
    effects : the random effects of each grouping factor.
    places : the rows, at P settings.
    """
    mean, variance = _predictor(estimates, effects, places)
    if places.slopes is None:
        return _predictions(estimates, answer, effects, places, mean, variance)
    return _slopes(estimates, answer, effects, places, mean, variance)


def expected(estimates: Predictive, answer: Answer, effects: Sequence[Effect], places: Places) -> FloatArray:
    """The values (P,) of `tangent` alone."""
    mean, variance = _predictor(estimates, effects, places)
    if places.slopes is None:
        level = answer.averages(mean, variance, 1)[:, 0].sum(axis=0)
        return np.asarray(level @ places.weights + answer.constant * places.weights.sum())
    moved, spread = _moved(estimates, effects, places, places.slopes)
    _, slope, bend = answer.averages(mean, variance, 3).sum(axis=0)
    return np.asarray((slope * moved + 0.5 * bend * spread) @ places.weights)


def _predictor(estimates: Predictive, effects: Sequence[Effect], places: Places) -> tuple[FloatArray, FloatArray]:
    """Mean and variance (P, L) of the linear predictor."""
    mean = np.einsum("a,pal->pl", estimates.beta, places.columns[:, places.x]) + places.offset
    variance = np.zeros_like(mean)
    for psi, effect in zip(estimates.psi, effects, strict=True):
        own = places.columns[:, effect.z]
        if effect.given is not None:
            mean += np.einsum("a,pal->pl", effect.given, own)
        elif effect.is_averaged:
            variance += _shared(np.einsum("pal,ab,pbl->pl", own, psi, own), effect)
    return mean, variance


def _moved(
    estimates: Predictive, effects: Sequence[Effect], places: Places, slopes: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Derivatives (P, L) of mean and variance of the linear predictor by what moves."""
    moved = np.einsum("a,pal->pl", estimates.beta, slopes[:, places.x])
    spread = np.zeros_like(moved)
    for psi, effect in zip(estimates.psi, effects, strict=True):
        own, slope = places.columns[:, effect.z], slopes[:, effect.z]
        if effect.given is not None:
            moved += np.einsum("a,pal->pl", effect.given, slope)
        elif effect.is_averaged:
            spread += _shared(2.0 * np.einsum("pal,ab,pbl->pl", own, psi, slope), effect)
    return moved, spread


def _predictions(
    estimates: Predictive,
    answer: Answer,
    effects: Sequence[Effect],
    places: Places,
    mean: FloatArray,
    variance: FloatArray,
) -> Tangent:
    """Values and derivatives of average predictions."""
    parts = answer.averages(mean, variance, 3)
    level, slope, bend = parts.sum(axis=0) * places.weights
    by_shape = _by_owner(answer, -(parts[:, 1] @ places.weights), len(estimates.shape))
    by_beta = np.einsum("pl,pal->pa", slope, places.columns[:, places.x])
    by_psi, by_given = [], []
    for effect in effects:
        own = places.columns[:, effect.z]
        if effect.is_averaged:
            by_psi.append(0.5 * np.einsum("pl,pal,pbl->pab", _shared(bend, effect), own, own))
        else:
            by_psi.append(np.zeros((len(own), own.shape[1], own.shape[1])))
        by_given.append(np.einsum("pl,pal->pa", slope * float(effect.given is not None), own))
    return Tangent(
        value=level.sum(axis=1) + answer.constant * places.weights.sum(),
        gradient=estimates.gradient(by_beta, by_psi, by_shape),
        by_given=tuple(by_given),
    )


def _slopes(
    estimates: Predictive,
    answer: Answer,
    effects: Sequence[Effect],
    places: Places,
    mean: FloatArray,
    variance: FloatArray,
) -> Tangent:
    """Values and derivatives of average marginal effects."""
    assert places.slopes is not None
    moved, spread = _moved(estimates, effects, places, places.slopes)
    parts = answer.averages(mean, variance, 5)
    first = parts[:, 2] * moved + 0.5 * parts[:, 3] * spread
    by_shape = _by_owner(answer, -(first @ places.weights), len(estimates.shape))
    total = parts.sum(axis=0) * places.weights
    # dT/dm, and dT/dv through the averages and through what moves the variance
    level = total[2] * moved + 0.5 * total[3] * spread
    bend = 0.5 * total[3] * moved + 0.25 * total[4] * spread
    by_beta = np.einsum("pl,pal->pa", level, places.columns[:, places.x])
    by_beta += np.einsum("pl,pal->pa", total[1], places.slopes[:, places.x])
    by_psi, by_given = [], []
    for effect in effects:
        own, slope = places.columns[:, effect.z], places.slopes[:, effect.z]
        if effect.is_averaged:
            half = 0.5 * np.einsum("pl,pal,pbl->pab", _shared(total[2], effect), own, slope)
            square = np.einsum("pl,pal,pbl->pab", _shared(bend, effect), own, own)
            by_psi.append(square + half + half.transpose(0, 2, 1))
        else:
            by_psi.append(np.zeros((len(own), own.shape[1], own.shape[1])))
        chosen = float(effect.given is not None)
        by_given.append(chosen * (np.einsum("pl,pal->pa", level, own) + np.einsum("pl,pal->pa", total[1], slope)))
    return Tangent(
        value=(total[1] * moved + 0.5 * total[2] * spread).sum(axis=1),
        gradient=estimates.gradient(by_beta, by_psi, by_shape),
        by_given=tuple(by_given),
    )


def _shared(values: FloatArray, effect: Effect) -> FloatArray:
    """Values (P, L) times the squared shares of the rows."""
    return values if effect.share is None else values * effect.share


def _by_owner(answer: Answer, values: FloatArray, m: int) -> FloatArray:
    """Derivatives (P, m) in the shape parameters from those (s, P) in each shift."""
    out = np.zeros((values.shape[1], m))
    for owner, own in zip(answer.owners, values, strict=True):
        if owner >= 0:
            out[:, owner] += own
    return out
