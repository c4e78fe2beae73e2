"""Between-within degrees of freedom: those of the level at which a column of X varies.

With grouping factors 1, .., Q from the outermost to the innermost, m_i levels of factor i, m_0 = 1 where the model has
an intercept (else 0) and m_(Q+1) = n rows, a column belongs to the outermost factor within whose levels it is constant,
or to the rows (Q + 1) if it varies within those of the innermost. With p_i columns at level i, the intercept not
counted,

    df_i = m_i - m_(i-1) - p_i.

The intercept has those of the outermost factor, J - p_1 - 1, as in SAS (nlme gives it those of the rows).

Source: Schluchter & Elashoff (1990), J. Stat. Comput. Simul. 37: 69-87, for one factor; Pinheiro & Bates (2000),
Mixed-Effects Models in S and S-PLUS, p. 91, for nested ones.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.types import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from crosslevel.design import Design
    from crosslevel.inference.estimates import Estimates


def between_within(estimates: "Estimates") -> FloatArray:
    """Degrees of freedom (p,) of the coefficients, NaN where none are left.

    Raises
    ------
    CrosslevelError : there are no grouping factors, or they are not nested in each other.
    """
    design = estimates.design
    order = _outer_first(design)
    constant = design.constant_within[order][:, design.x]
    levels = column_levels(constant, design.x == design.constant)
    sizes = [design.factors[k].n_levels for k in order]
    has_intercept = bool(np.any(design.x == design.constant)) and design.constant >= 0
    out = level_df([*sizes, design.nobs], levels, has_intercept=has_intercept)
    return np.asarray(np.minimum(out, estimates.equations.limit))


def column_levels(constant: BoolArray, intercept: BoolArray) -> IntArray:
    """Level (p,) of each column: the first row of `constant` (Q, p) in which it is true, Q if it is in none.

    `intercept` (p,) marks the intercept, whose level is 0.
    """
    inside = np.vstack([constant | intercept, np.ones(constant.shape[1], dtype=np.bool_)])
    return np.asarray(np.argmax(inside, axis=0))


def level_df(sizes: Sequence[int], levels: IntArray, *, has_intercept: bool) -> FloatArray:
    """Degrees of freedom (p,) of columns at these `levels` (p,), NaN where none are left.

    `sizes` are the levels of each factor from the outermost to the innermost, and n.
    """
    before = [int(has_intercept), *sizes[:-1]]
    columns = np.bincount(levels, minlength=len(sizes))
    columns[0] -= has_intercept
    df = np.array(sizes, dtype=np.float64) - before - columns
    df[df < 1.0] = np.nan
    return np.asarray(df[levels])


def _outer_first(design: "Design") -> list[int]:
    """The grouping factors from the outermost to the innermost, each of which lies within the one before."""
    if not design.factors:
        raise CrosslevelError(
            "between-within degrees of freedom count clusters, and the model has no grouping factor. Add a random "
            'term, or write ddf="residual".'
        )
    order = sorted(range(len(design.factors)), key=lambda k: design.factors[k].n_levels)
    crossed = [design.factors[k].name for k in order if design.factors[k].members]
    for outer, inner in pairwise(order if not crossed else ()):
        one, other = design.factors[outer], design.factors[inner]
        parent = np.full(other.n_levels, -1, dtype=np.int64)
        codes = design.used_codes(other)
        parent[codes] = design.used_codes(one)
        if np.any(parent[codes] != design.used_codes(one)):
            crossed = [one.name, other.name]
            break
    if crossed:
        instead = "satterthwaite" if design.outcome is None else "m-l-1"
        raise CrosslevelError(
            "between-within degrees of freedom are those of levels within levels, and rows belong to several levels of "
            f'{" and ".join(crossed)} that are not nested in each other. Write ddf="{instead}".'
        )
    return order
