"""Separation: coefficients that the likelihood sends to infinity, and which predictors do it.

A direction d in which no row's probability falls and some rise without end has x_i'd >= 0 where the outcome is at the
upper end of its range, x_i'd <= 0 at the lower end, and x_i'd = 0 between, with x_i'd different from 0 somewhere. The
random effects change nothing about that: a cluster whose outcomes are all alike is no separation, since its effect has
a distribution.

Source: Albert & Anderson (1984), Biometrika 71: 1-10; Konis (2007), Linear programming algorithms for detecting
separated data in binary logistic regression models, thesis, University of Oxford, chapter 4.
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from crosslevel.design.response_rows import ResponseRows
from crosslevel.types import FloatArray

Kind: TypeAlias = Literal["complete", "quasi-complete"]

FAR = 8.0
"""Distance of a row's fixed part from the middle of all rows, on the scale of the linear predictor, from which on it is
asked whether the data are separated: probabilities beyond 0.9997."""

MOST_ROWS = 200_000
"""Different rows up to which combinations of predictors are looked at; single predictors are looked at in any case."""

MARGIN = 1e-7
"""Working units of x_i'd that count as zero."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Separation:
    """How predictors separate outcomes.

    Attributes
    ----------
    kind : "complete" if they separate all rows, "quasi-complete" if some.
    columns : positions of the fixed columns that do it together, without the intercept if there are others.
    direction : (p,) in the units of the data, in which the coefficients grow without end.
    n_rows : rows whose outcome is predicted beyond doubt.
    upper : whether these rows are all at the upper end of the outcome's range, or all at the lower; None if both.
    below, above : for one column, the largest value on its one side and the smallest on the other; equal where rows
        with this value have both outcomes. None for several columns.
    """

    kind: Kind
    columns: tuple[int, ...]
    direction: FloatArray = field(repr=False)
    n_rows: int
    upper: bool | None
    below: float | None = None
    above: float | None = None


def is_suspected(rows: ResponseRows, beta: FloatArray) -> bool:
    """Whether the fitted coefficients (p,), working, are so large that separation is to be looked for."""
    if not can_separate(rows):
        return False
    fixed = rows.x @ beta
    return bool(np.max(np.abs(fixed - np.median(fixed)), initial=0.0) > FAR)


def can_separate(rows: ResponseRows) -> bool:
    """Whether the family's likelihood can grow without end with the linear predictor."""
    return rows.family.kind in ("binary", "count", "ordered") and rows.x.shape[1] > 0


def find_separation(rows: ResponseRows) -> Separation | None:
    """The separation of the data by their fixed columns; None if there is none.

    Single predictors are looked at first, with or without the intercept, then the combination with the smallest sum of
    absolute coefficients per standard deviation.
    """
    if not can_separate(rows):
        return None
    counted = rows.counted > 0.0
    x, ends = rows.x[counted], outcome_ends(rows)[counted]
    if rows.family.kind == "ordered" and np.any(ends == 0.0):
        # the thresholds between middle categories move too: only the combination tells
        return _by_combination(rows, x, ends, rows.y[counted])
    single = _by_single(rows, x, ends)
    return single if single is not None else _by_combination(rows, x, ends, rows.y[counted])


def outcome_ends(rows: ResponseRows) -> FloatArray:
    """(n,) 1 where the outcome is the largest there can be, -1 where it is the smallest, 0 between."""
    upper = {"binary": rows.size, "ordered": np.full(rows.n, rows.n_categories - 1.0)}.get(rows.family.kind)
    out = np.where(rows.y == 0.0, -1.0, 0.0)
    return out if upper is None else np.where(rows.y == upper, 1.0, out)


def _by_single(rows: ResponseRows, x: FloatArray, ends: FloatArray) -> Separation | None:
    """Separation by one column and the intercept: complete if there is such a column, else the one with most rows."""
    found = []
    intercept = rows.coordinates.intercept
    for j in range(x.shape[1]):
        if j == intercept:
            continue
        for sign in (1.0, -1.0):
            one = _along(rows, j, sign * x[:, j], ends, moved=intercept >= 0, sign=sign)
            found += [] if one is None else [one]
    return max(found, key=lambda one: (one.kind == "complete", one.n_rows)) if found else None


def _along(
    rows: ResponseRows, j: int, values: FloatArray, ends: FloatArray, *, moved: bool, sign: float
) -> Separation | None:
    """Separation in which the linear predictor rises with `values` (n,) = sign x_j, its zero being movable or not."""
    # every row that is not at the upper end must be at or below the cut, every one not at the lower end at or above it
    below = float(values[ends < 1.0].max(initial=-np.inf))
    above = float(values[ends > -1.0].min(initial=np.inf))
    scale, shift = float(rows.coordinates.scale[j]), float(rows.coordinates.shift[j])
    if not moved:
        zero = -sign * shift / scale
        below, above = max(below, zero), min(above, zero)
    if below > above + MARGIN:
        return None
    cut = 0.5 * (below + above) if np.isfinite(below + above) else (below if np.isfinite(below) else above)
    strict = np.abs(values - cut) > MARGIN
    if not strict.any():
        return None
    ends_there = ends[strict]
    direction = np.zeros(rows.x.shape[1])
    direction[j] = sign / scale
    if rows.coordinates.intercept >= 0:
        direction[rows.coordinates.intercept] = -sign * shift / scale - cut
    data = sorted((sign * below * scale + shift, sign * above * scale + shift))
    return Separation(
        kind="complete" if strict.all() else "quasi-complete",
        columns=(j,),
        direction=direction,
        n_rows=int(strict.sum()),
        upper=True if (ends_there > 0.0).all() else False if (ends_there < 0.0).all() else None,
        below=data[0],
        above=data[1],
    )


def _by_combination(rows: ResponseRows, x: FloatArray, ends: FloatArray, y: FloatArray) -> Separation | None:
    """Separation by several columns, complete or else quasi-complete, with small working coefficients.

    Minimise sum |d_j| subject to a_i'd >= 1 for all constraints i; or to a_i'd >= 0 with their mean 1.
    """
    if len(x) > MOST_ROWS:
        return None
    signed, equal = _constraints(rows, x, ends, y)
    if not len(signed):
        return None
    total = np.mean(signed, axis=0)[None]
    complete = None if len(equal) else _least(rows, signed, 1.0, np.zeros((0, signed.shape[1])), np.zeros(0))
    least = complete
    if least is None:
        least = _least(rows, signed, 0.0, np.vstack([equal, total]), np.append(np.zeros(len(equal)), 1.0))
    return None if least is None else _described(rows, x, ends, y, least, complete=complete is not None)


def _least(
    rows: ResponseRows, signed: FloatArray, bound: float, equal: FloatArray, right: FloatArray
) -> FloatArray | None:
    """The d with the least sum of |d_j| for which signed d >= bound and equal d = right; None if there is none.

    The intercept and thresholds may move at little cost.
    """
    from scipy.optimize import linprog

    p = signed.shape[1]
    place = np.arange(p)
    cost = np.where((place == rows.coordinates.intercept) | (place >= rows.x.shape[1]), 0.01, 1.0)
    answer = linprog(
        np.append(cost, cost), A_ub=-np.hstack([signed, -signed]), b_ub=np.full(len(signed), -bound),
        A_eq=np.hstack([equal, -equal]) if len(equal) else None, b_eq=right if len(equal) else None,
        bounds=(0.0, None), method="highs",
    )  # fmt: skip
    if answer.status != 0 or answer.x is None:
        return None
    return np.asarray(answer.x[:p] - answer.x[p:])


def _constraints(rows: ResponseRows, x: FloatArray, ends: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Rows a with a'd >= 0, and rows with a'd = 0, each once; d holds coefficients and increments of thresholds.

    An ordered outcome k has eta >= threshold_(k-1) and eta <= threshold_k; the first threshold is part of the
    intercept, the others lie above it by increments.
    """
    if rows.family.kind == "ordered":
        extra = rows.n_categories - 2
        lower, upper = np.zeros((len(y), extra)), np.zeros((len(y), extra))
        for k in range(1, extra + 1):
            lower[y == k + 1, k - 1] = 1.0
            upper[y == k, k - 1] = 1.0
        above, below = np.hstack([x, -lower])[y > 0.0], np.hstack([-x, upper])[y < extra + 1.0]
        return np.unique(np.vstack([above, below]), axis=0), np.zeros((0, x.shape[1] + extra))
    signed = np.unique((x * ends[:, None])[ends != 0.0], axis=0)
    return signed, np.unique(x[ends == 0.0], axis=0)


def _described(
    rows: ResponseRows, x: FloatArray, ends: FloatArray, y: FloatArray, least: FloatArray, *, complete: bool
) -> Separation | None:
    """The separation in a direction of the coefficients and thresholds; None where no coefficient moves."""
    p, intercept = x.shape[1], rows.coordinates.intercept
    working = np.where(np.abs(least) > MARGIN * np.abs(least).max(initial=1e-300), least, 0.0)
    along = x @ working[:p]
    strict = (np.abs(along) > MARGIN) & (ends != 0.0)
    moving = working[:p] != 0.0
    if intercept >= 0 and moving.sum() > 1:
        moving[intercept] = False
    if rows.family.kind == "ordered":
        increments = np.concatenate([[0.0], working[p:], [0.0]])
        to_lower = np.where(y > 0.0, along - increments[np.maximum(y - 1.0, 0.0).astype(int)], 1.0)
        to_upper = np.where(y < len(increments) - 1.0, increments[y.astype(int)] - along, 1.0)
        strict = np.minimum(to_lower, to_upper) > MARGIN
        if not moving.any() or (intercept >= 0 and moving.sum() == 1 and moving[intercept]):
            return None
    if not moving.any() or not strict.any():
        return None
    at_end = ends[strict]
    return Separation(
        kind="complete" if complete else "quasi-complete",
        columns=tuple(int(j) for j in np.flatnonzero(moving)),
        direction=np.asarray(rows.coordinates.beta_map @ working[:p]),
        n_rows=int(strict.sum()),
        upper=True if (at_end == 1.0).all() else False if (at_end == -1.0).all() else None,
    )
