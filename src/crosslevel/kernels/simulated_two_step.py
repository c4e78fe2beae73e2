"""Separate regressions in the clusters of many replications, from their cross-products: the first of two steps.

Everything is as in `inference.separate`, cluster by cluster; the second step is `kernels.simulated_second_step`.
"""

import numba
import numpy as np

from crosslevel.kernels.small import inverse_transposed
from crosslevel.types import BoolArray, FloatArray, IntArray

CONSTANT, DETERMINED, EXACT = 1e-20, 1e-11, 1e-13
"""Limits of `design.build`, `design.reduced` and `inference.separate`."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def typical_squares(
    count: FloatArray, mean: FloatArray, scatter: FloatArray, columns: IntArray, intercept: bool, out: FloatArray
) -> None:
    """Mean squares (q + 1,) of columns over all rows, about their means if there is an intercept."""
    n = 0.0
    for g in range(len(count)):
        n += count[g]
    for i in range(len(columns)):
        place = columns[i]
        centre = 0.0
        for g in range(len(count)):
            centre += count[g] * mean[g, place] / n
        out[i] = 0.0
        for g in range(len(count)):
            away = mean[g, place] - centre
            out[i] += (scatter[g, place, place] + count[g] * away * away) / n
        if not intercept:
            out[i] += centre * centre


@numba.njit(cache=True, nogil=True, error_model="numpy")
def regress_cluster(
    count: float,
    mean: FloatArray,
    scatter: FloatArray,
    columns: IntArray,
    intercept: bool,
    pooled: bool,
    typical: FloatArray,
    gram: FloatArray,
    beta: FloatArray,
    unscaled: FloatArray,
) -> float:
    """The regression of one cluster: its residual sum of squares, -1 if it has none of its own.

    Parameters
    ----------
    count, mean, scatter : n, (m,), (m, m) of the cluster.
    columns, intercept : (q + 1,) places of the slopes' columns and the outcome; whether there is an intercept too.
    pooled : whether the residual variance is that of all clusters together.
    typical : (q + 1,) mean squares of the columns over all rows.
    gram : (q + 1, q + 1) room.
    beta, unscaled : (p,) and (p, p), the intercept first; written.
    """
    q, first = len(columns) - 1, 1 if intercept else 0
    if count < q + first + (0 if pooled else 1):
        return -1.0
    size, turned, half = np.empty(q + 1), np.empty(q), np.zeros((q, q))
    for i in range(q + 1):
        for j in range(i + 1):
            gram[i, j] = scatter[columns[i], columns[j]]
            if not intercept:
                gram[i, j] += count * mean[columns[i]] * mean[columns[j]]
        size[i] = np.sqrt(max(gram[i, i], 0.0))
        if size[i] * size[i] <= CONSTANT * typical[i] * count:
            if i < q or not pooled:
                return -1.0
            size[i] = 1.0
    for i in range(q + 1):
        for j in range(i + 1):
            gram[i, j] /= size[i] * size[j]
    # columns are taken out of each other in turn: Cholesky's pivots are what is left of them
    for j in range(q):
        left = gram[j, j]
        for k in range(j):
            left -= gram[j, k] * gram[j, k]
        if not left > DETERMINED:
            return -1.0
        gram[j, j] = np.sqrt(left)
        for i in range(j + 1, q + 1):
            for k in range(j):
                gram[i, j] -= gram[i, k] * gram[j, k]
            gram[i, j] /= gram[j, j]
    rest = gram[q, q]
    for k in range(q):
        rest -= gram[q, k] * gram[q, k]
    if rest <= EXACT and not pooled:
        return -1.0
    inverse_transposed(gram, q, half)
    for i in range(q):
        beta[first + i] = 0.0
        for k in range(i, q):
            beta[first + i] += half[i, k] * gram[q, k] * size[q] / size[i]
        for j in range(i + 1):
            value = 0.0
            for k in range(i, q):
                value += half[i, k] * half[j, k]
            unscaled[first + i, first + j] = unscaled[first + j, first + i] = value / (size[i] * size[j])
    if intercept:
        beta[0], unscaled[0, 0] = mean[columns[q]], 1.0 / count
        for i in range(q):
            turned[i] = 0.0
            for j in range(q):
                turned[i] += unscaled[1 + i, 1 + j] * mean[columns[j]]
        for i in range(q):
            beta[0] -= mean[columns[i]] * beta[1 + i]
            unscaled[0, 0] += mean[columns[i]] * turned[i]
            unscaled[0, 1 + i] = unscaled[1 + i, 0] = -turned[i]
    return max(rest, 0.0) * size[q] * size[q]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def first_steps(
    count: FloatArray,
    mean: FloatArray,
    scatter: FloatArray,
    columns: IntArray,
    intercept: bool,
    pooled: bool,
    able_out: BoolArray,
    beta_out: FloatArray,
    sampling_out: FloatArray,
) -> None:
    """Separate regressions of all clusters that allow them, in R replications.

    Parameters
    ----------
    count, mean, scatter : (R, J), (R, J, m), (R, J, m, m).
    columns, intercept, pooled : see `regress_cluster`.
    able_out : (R, J) which clusters have a regression.
    beta_out, sampling_out : (R, J, p) coefficients, the intercept first, and (R, J, p, p) their sampling covariances.
    """
    n_clusters, q1 = count.shape[1], len(columns)
    p = q1 if intercept else q1 - 1
    typical, gram, squares = np.empty(q1), np.empty((q1, q1)), np.empty(n_clusters)
    for r in range(len(count)):
        typical_squares(count[r], mean[r], scatter[r], columns, intercept, typical)
        together, free = 0.0, 0.0
        for g in range(n_clusters):
            squares[g] = regress_cluster(
                count[r, g], mean[r, g], scatter[r, g], columns, intercept, pooled, typical, gram, beta_out[r, g],
                sampling_out[r, g],
            )  # fmt: skip
            able_out[r, g] = squares[g] >= 0.0
            if able_out[r, g]:
                together += squares[g]
                free += count[r, g] - p
        for g in range(n_clusters):
            if able_out[r, g]:
                variance = together / max(free, 1.0) if pooled else squares[g] / max(count[r, g] - p, 1.0)
                for i in range(p):
                    for j in range(p):
                        sampling_out[r, g, i, j] *= variance
