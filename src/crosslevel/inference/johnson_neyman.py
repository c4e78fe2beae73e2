"""Regions of a moderator in which a conditional effect differs from zero.

Where C(z) beta is the effect at a value z of the moderator, with standard error s(z) and df(z) degrees of freedom, the
regions are those with |C(z) beta| > t s(z), t the quantile of 1 - cut / 2 with df(z) degrees of freedom. Without
correction cut = alpha. An effect that is tested at each of m values of the moderator is found somewhere too often;
the correction takes the largest k for which k of the m p-values are at most alpha k / m, and cut = alpha k / m, so that
of the values at which an effect is reported, at most the share alpha is expected to have none.

Where C is linear in z and df constant, the limits are the roots of (b1 + b3 z)^2 = t^2 (v11 + 2 v13 z + v33 z^2);
for all other cases they are found by following the curve.

Sources
-------
Johnson & Neyman (1936), Stat. Res. Mem. 1: 57-93; Bauer & Curran (2005), Multivariate Behav. Res. 40: 373-400;
Esarey & Sumner (2018), Comp. Polit. Stud. 51: 1144-1176.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from crosslevel.inference.distributions import t_quantile, two_sided_p
from crosslevel.types import FloatArray

STEPS = 400
"""Values along the range of the moderator at which the curve is looked at for limits."""

Curve = Callable[[FloatArray], tuple[FloatArray, FloatArray, FloatArray]]
"""Of values (m,) of the moderator: the effects, their standard errors and degrees of freedom."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Region:
    """A stretch of the moderator in which the answer is the same.

    Attributes
    ----------
    low, high : its ends.
    sign : 1 where the effect is positive, -1 where it is negative, 0 where it may be zero.
    """

    low: float
    high: float
    sign: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Division:
    """The range of a moderator divided by a p-value.

    Attributes
    ----------
    cut : the p-value below which an effect differs from zero; 0 where none does.
    limits : values at which the answer changes, in the range that was searched.
    regions : the range of the data from its lower to its upper end.
    """

    cut: float
    limits: FloatArray = field(repr=False)
    regions: tuple[Region, ...]


def excess(curve: Curve, z: FloatArray, cut: float) -> FloatArray:
    """How far |t| lies above the critical value, (m,); minus infinity for a cut of 0."""
    estimate, std_error, df = curve(z)
    statistic = np.divide(np.abs(estimate), std_error, out=np.zeros_like(estimate), where=std_error > 0.0)
    return statistic - t_quantile(1.0 - 0.5 * cut, df) if cut > 0.0 else np.full(len(z), -np.inf)


def p_values(curve: Curve, z: FloatArray) -> FloatArray:
    """Two-sided p-values (m,) of the effects at some values."""
    estimate, std_error, df = curve(z)
    statistic = np.divide(estimate, std_error, out=np.full_like(estimate, np.nan), where=std_error > 0.0)
    return two_sided_p(statistic, df)


def divide(curve: Curve, low: float, high: float, cut: float, *, beyond: float = 0.0) -> Division:
    """Divide the range of a moderator into regions.

    Parameters
    ----------
    curve : the effect along the moderator.
    low, high : the range of the data.
    cut : p-value below which an effect differs from zero.
    beyond : how far outside the range limits are looked for, in its widths.
    """
    if cut <= 0.0:
        return Division(cut=0.0, limits=np.empty(0), regions=(Region(low=low, high=high, sign=0),))
    width = high - low
    grid = np.linspace(low, high, STEPS + 1)
    if beyond > 0.0:
        # steps grow with the distance from the data
        away = width * (np.geomspace(1e-3, 1.0 + beyond, STEPS) - 1e-3)[1:]
        grid = np.concatenate([(low - away)[::-1], grid, high + away])
    limits = crossings(lambda z: excess(curve, z, cut), grid)
    inside = limits[(limits > low) & (limits < high)]
    ends = np.concatenate([[low], inside, [high]])
    middles = 0.5 * (ends[:-1] + ends[1:])
    above = excess(curve, middles, cut) > 0.0
    signs = np.where(above, np.sign(curve(middles)[0]), 0.0).astype(np.int64)
    regions: list[Region] = []
    for start, stop, sign in zip(ends[:-1], ends[1:], signs, strict=True):
        if regions and regions[-1].sign == sign:
            regions[-1] = Region(low=regions[-1].low, high=float(stop), sign=int(sign))
        else:
            regions.append(Region(low=float(start), high=float(stop), sign=int(sign)))
    return Division(cut=cut, limits=limits, regions=tuple(regions))


def crossings(function: Callable[[FloatArray], FloatArray], grid: FloatArray) -> FloatArray:
    """Where a function changes its sign, between the points of a grid; also twice between two of them.

    Examples
    --------
    >>> import numpy as np
    >>> crossings(lambda z: (z - 0.5) * (z - 0.5001), np.linspace(0.0, 1.0, 8)).round(6).tolist()
    [0.5, 0.5001]
    """
    from scipy.optimize import brentq, minimize_scalar

    def at(z: float) -> float:
        return float(function(np.array([z]))[0])

    values = function(grid)
    points: list[tuple[float, float]] = list(zip(grid.tolist(), values.tolist(), strict=True))
    # a dip towards zero between neighbours may cross it twice
    for k in range(1, len(grid) - 1):
        size = np.abs(values[k - 1 : k + 2])
        same = np.all(values[k - 1 : k + 2] > 0.0) or np.all(values[k - 1 : k + 2] < 0.0)
        if same and size[1] <= size[0] and size[1] <= size[2]:
            sign = float(np.sign(values[k]))
            found = minimize_scalar(
                lambda z, s=sign: s * at(z), bounds=(grid[k - 1], grid[k + 1]), method="bounded",
                options={"xatol": 1e-10 * float(grid[k + 1] - grid[k - 1])},
            )  # fmt: skip
            if found.fun <= 0.0:
                points.append((float(found.x), sign * float(found.fun)))
    points.sort()
    out: list[float] = []
    for (z0, f0), (z1, f1) in pairwise(points):
        if f0 == 0.0:
            out.append(z0)
        elif f0 * f1 < 0.0:
            out.append(float(brentq(at, z0, z1, xtol=1e-13 * max(abs(z0), abs(z1), 1e-3), rtol=1e-14)))
    if points[-1][1] == 0.0:
        out.append(points[-1][0])
    return np.array(out)
