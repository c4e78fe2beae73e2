"""Degrees of freedom that follow from counting clusters, rows and coefficients, in many replications at once."""

import numpy as np

from crosslevel.design import Design
from crosslevel.inference.between_within import column_levels, level_df
from crosslevel.inference.equations import equations_of
from crosslevel.types import FloatArray, IntArray

COUNTED = ("m-l-1", "between-within", "residual", "normal")
"""Methods that count."""


def counted_df(name: str, design: Design, terms: IntArray, n_rows: FloatArray) -> FloatArray:
    """Degrees of freedom (R, T) of coefficients at `terms` (T,), NaN where none are left; see `inference.df`.

    Parameters
    ----------
    name : one of `COUNTED`.
    design : of the model, whatever its data.
    terms : positions of the coefficients.
    n_rows : (R,) rows of each replication.
    """
    n, p = n_rows[:, None], len(design.x)
    if name == "normal":
        return np.full((len(n_rows), len(terms)), np.inf)
    if name == "residual":
        return np.repeat(n - p, len(terms), axis=1)
    if name == "between-within":
        return _between_within(design, n)[:, terms]
    equations = equations_of(design)
    out = np.repeat(n - p, p, axis=1)
    for equation, n_clusters in enumerate(equations.n_clusters):
        out[:, equations.number == equation] = n_clusters - equations.predictors(equation) - 1.0
    return np.where(out < 1.0, np.nan, out)[:, terms]


def _between_within(design: Design, n: FloatArray) -> FloatArray:
    """(R, p), for (R, 1) rows: only the level of the rows has more with more of them."""
    levels = column_levels(design.constant_within[:1][:, design.x], design.x == design.constant)
    has_intercept = bool(np.any(design.x == design.constant)) and design.constant >= 0
    n_clusters = len(design.products.levels)
    many = n_clusters + len(design.x) + 1
    out = level_df([n_clusters, many], levels, has_intercept=has_intercept)
    found = np.where(levels == 1, out + (n - many), out)
    return np.where(found < 1.0, np.nan, found)
