"""Columns that let a predictor act along a curve: what a restricted cubic spline adds to a straight line."""

import numpy as np

from crosslevel.types import FloatArray

KNOTS = (0.05, 0.35, 0.65, 0.95)
"""Quantiles of the knots (Harrell 2015, table 2.3): linear beyond the outer ones, two columns beside the line."""

FEW = 6
"""Different values up to which the curve is a parabola."""


def knots_of(x: FloatArray) -> FloatArray | None:
    """Knots of the curve of a predictor's values (n,); None where its few values allow a parabola only."""
    values = np.unique(x)
    knots = np.unique(np.quantile(x, KNOTS))
    if len(values) < FEW:
        return None
    # where many rows have the same value, of the values instead of the rows
    return knots if len(knots) == len(KNOTS) else np.quantile(values, KNOTS)


def curve_columns(x: FloatArray, knots: FloatArray | None, centre: float, unit: float) -> FloatArray:
    """Columns (k, n) that a curve adds to a straight line in x (n,), without units.

    With knots t_1 < .. < t_k a restricted cubic spline, for j = 1 .. k - 2

        s_j(x) = [(x - t_j)_+^3 - (x - t_{k-1})_+^3 (t_k - t_j) / (t_k - t_{k-1})
                  + (x - t_k)_+^3 (t_{k-1} - t_j) / (t_k - t_{k-1})] / (t_k - t_1)^2 / unit,

    and without them the square of (x - centre) / unit.

    Source: Harrell (2015), Regression Modeling Strategies, 2nd ed., equation 2.25.

    Examples
    --------
    >>> import numpy as np
    >>> curve_columns(np.array([0.0, 1.0, 2.0]), None, 1.0, 1.0)
    array([[1., 0., 1.]])
    """
    if knots is None:
        return np.asarray([((x - centre) / unit) ** 2])
    last, before, span = knots[-1], knots[-2], (knots[-1] - knots[0]) ** 2 * unit
    ends = [np.maximum(x - t, 0.0) ** 3 for t in (before, last)]
    rows = [
        np.maximum(x - t, 0.0) ** 3 - ends[0] * (last - t) / (last - before) + ends[1] * (before - t) / (last - before)
        for t in knots[:-2]
    ]
    return np.asarray(np.array(rows) / span)
