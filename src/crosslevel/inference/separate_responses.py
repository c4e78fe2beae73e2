"""Separate regressions of answers: one generalized linear model for each cluster, by maximum likelihood.

Omega_j is the inverse of the observed information of cluster j. Clusters in which the outcome does not vary, or in
which predictors separate it, have no finite estimates and are left out.
"""

from dataclasses import replace

import numpy as np

from crosslevel.design.coordinates import Coordinates
from crosslevel.design.outcome import Outcome
from crosslevel.design.response_rows import ResponseRows
from crosslevel.design.two_levels import SeparateDesign
from crosslevel.families import Family
from crosslevel.inference.separate import SeparateRegressions, separate_regressions, without
from crosslevel.kernels.separate_responses import maximise_clusters
from crosslevel.solve.generalized.separation import find_separation, is_suspected
from crosslevel.types import FloatArray, IntArray


def separate_responses(below: SeparateDesign, family: Family, outcome: Outcome) -> SeparateRegressions:
    """Regress the outcome in every cluster that allows it.

    Parameters
    ----------
    below : the rows of the regressions.
    family : a family without shape parameters.
    outcome : as the family reads it.
    """
    p = below.spec.n_fixed
    able = separate_regressions(below.products, range(p), below.constant, pooled=True)  # whose columns are independent
    rows, start = _rows(below, family, outcome, able.place)
    j = len(able.place)
    beta, inverse, found = np.zeros((j, p)), np.zeros((j, p, p)), np.zeros(j)
    values = np.vstack([rows.y, rows.size, rows.counted, rows.offset])
    if rows.coordinates.intercept >= 0:
        beta[:, rows.coordinates.intercept] = _level(rows, start)
    maximise_clusters(family.code, values, rows.x, start, beta, inverse, found)
    reasons = [
        _reason(_part(rows, start, k), beta[k], able.names, outcome.name, found=bool(found[k])) for k in range(j)
    ]
    turn = rows.coordinates.beta_map
    solved = replace(
        able, beta=beta @ turn.T, unscaled=turn @ inverse @ turn.T, variance=np.ones(j), n_rows=able.n_rows.copy()
    )
    return without(reasons, solved)


def _rows(below: SeparateDesign, family: Family, outcome: Outcome, place: IntArray) -> tuple[ResponseRows, IntArray]:
    """Rows of the clusters that may be used, cluster by cluster, and where each starts (J + 1,)."""
    columns = below.spec.evaluate(below.columns, mask=below.mask)[: below.spec.n_fixed].T
    constant = below.constant
    shift, scale = columns.mean(axis=0), columns.std(axis=0)
    if constant < 0:
        shift = np.zeros_like(shift)
    else:
        shift[constant], scale[constant] = 0.0, 1.0
    scale[scale == 0.0] = 1.0
    coordinates = Coordinates(
        shift=np.append(shift, 0.0), scale=np.append(scale, 1.0), removed=np.zeros(len(shift)), intercept=constant
    )
    codes = below.used_codes
    number = np.full(len(below.levels), -1, dtype=np.int64)
    number[place] = np.arange(len(place))
    own = number[codes]
    order = np.argsort(own, kind="stable")[np.count_nonzero(own < 0) :]
    start = np.append(0, np.cumsum(np.bincount(own[order], minlength=len(place))))
    weight = np.ones(outcome.n) if outcome.weight is None else outcome.weight
    rows = ResponseRows(
        family=family, y=outcome.y[order], size=outcome.size[order], weight=weight[order],
        offset=np.zeros(len(order)), x=np.ascontiguousarray((columns[order] - shift) / scale), coordinates=coordinates,
        terms=(), order=np.arange(len(order)), start=None,
    )  # fmt: skip
    return rows, start


def _level(rows: ResponseRows, start: IntArray) -> FloatArray:
    """(J,) linear predictor at the mean outcome of each cluster, moved a little from the ends of its range."""
    size = np.add.reduceat(rows.counted * rows.size, start[:-1])
    total = np.add.reduceat(rows.counted * rows.y, start[:-1])
    binary = rows.family.kind == "binary"
    y, n = (total, size) if binary else (total / size, np.ones(len(size)))
    return rows.family.start(y, n, np.ones(len(size)))[0]


def _part(rows: ResponseRows, start: IntArray, j: int) -> ResponseRows:
    """The rows of one cluster."""
    own = slice(int(start[j]), int(start[j + 1]))
    return replace(
        rows, y=rows.y[own], size=rows.size[own], weight=rows.weight[own], offset=rows.offset[own], x=rows.x[own],
        order=np.arange(own.stop - own.start),
    )  # fmt: skip


def _reason(rows: ResponseRows, beta: FloatArray, names: tuple[str, ...], outcome: str, *, found: bool) -> str:
    """Why a cluster has no estimates, in words; "" if it has."""
    share = rows.y / rows.size
    if rows.family.kind == "binary" and np.all(share == share[0]) and share[0] in (0.0, 1.0):
        return f"no variation in {outcome}"
    if rows.family.kind == "count" and not np.any(rows.y):
        return f"no variation in {outcome}"
    if found and not is_suspected(rows, beta):
        return ""
    separation = find_separation(rows)
    if separation is not None:
        return f"{outcome} is separated by {', '.join(names[j] for j in separation.columns)}"
    return "" if found else f"no maximum of the likelihood of {outcome} was found"
