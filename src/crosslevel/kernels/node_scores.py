"""Averages over quadrature nodes that make the derivative of an integrated likelihood in Psi."""

import numba
import numpy as np

from crosslevel.kernels.modes import cluster_sums, linear_predictor, row_terms, total
from crosslevel.kernels.small import solve_upper
from crosslevel.types import FloatArray, IntArray


@numba.njit(cache=True, nogil=True, error_model="numpy")
def average_scores(
    code: int, shape: FloatArray, y: FloatArray, size: FloatArray, weight: FloatArray, eta0: FloatArray, z: FloatArray,
    start: IntArray, count: FloatArray, clusters: IntArray, factor: FloatArray, chol: FloatArray, u: FloatArray,
    nodes: FloatArray, log_weights: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    """Write the average over nodes of Z'WZ - Z'l' l''Z of some clusters to out (J, q, q), times their counts.

    This is twice the derivative of -log L in Psi, whether Psi is singular or not. The other arguments are those of
    `adaptive.evaluate_clusters` and what it writes.
    """
    q = factor.shape[0]
    longest = 0
    for g in range(clusters[0], clusters[1]):
        longest = max(longest, start[g + 1] - start[g])
    eta, value, first = np.empty(longest), np.empty(longest), np.empty(longest)
    second, third, columns = np.empty(longest), np.empty(longest), np.empty((q, longest))
    away, point, gradient, square = np.empty(q), np.empty(q), np.empty(q), np.empty((q, q))
    for g in range(clusters[0], clusters[1]):
        low, high = start[g], start[g + 1]
        n, total_share, least = high - low, 0.0, np.inf
        for i in range(n):
            for j in range(q):
                columns[j, i] = z[j, low + i]
        out[g] = 0.0
        if count[g] == 0.0:
            continue
        for k in range(len(log_weights)):
            for j in range(q):
                away[j] = nodes[k, j]
            solve_upper(chol[g], away, q)
            for j in range(q):
                point[j] = u[g, j] + away[j]
            linear_predictor(eta0, z, factor, point, low, high, eta, 0)
            row_terms(
                code, shape, y[low:high], size[low:high], weight[low:high], eta[:n], value[:n], first[:n], second[:n],
                third[:n],
            )  # fmt: skip
            cluster_sums(columns, first, second, 0, n, gradient, square)
            h = -total(value[:n]) - log_weights[k]
            for j in range(q):
                h += 0.5 * point[j] * point[j]
            if h < least:  # shares are relative to the largest so far
                shrink = np.exp(h - least)
                total_share *= shrink
                for i in range(q):
                    for j in range(q):
                        out[g, i, j] *= shrink
                least = h
            share = np.exp(least - h)
            total_share += share
            for i in range(q):
                for j in range(q):
                    out[g, i, j] += share * (square[i, j] - gradient[i] * gradient[j])
        for i in range(q):
            for j in range(q):
                out[g, i, j] *= count[g] / total_share
