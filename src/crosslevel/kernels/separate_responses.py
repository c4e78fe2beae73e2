"""Regressions of answers, one for each cluster: maximum likelihood by Newton's method with halved steps."""

import numba
import numpy as np

from crosslevel.kernels.responses import curvature
from crosslevel.kernels.small import cholesky, inverse_transposed, solve_lower, solve_upper, square
from crosslevel.types import FloatArray, IntArray

STEPS, HALVINGS = 60, 40

TOLERANCE = 1e-13
"""Expected gain in log-likelihood of one more step at which the maximum is reached."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _evaluate(
    code: int, rows: FloatArray, x: FloatArray, beta: FloatArray, gradient: FloatArray, information: FloatArray
) -> float:
    """Log-likelihood of one cluster; writes its gradient (p,) and the lower triangle of its information (p, p).

    `rows` (4, n) are y, size, weight and offset.
    """
    n, p = x.shape
    shape, total = np.empty(0), 0.0
    for a in range(p):
        gradient[a] = 0.0
        for b in range(a + 1):
            information[a, b] = 0.0
    for i in range(n):
        eta = rows[3, i]
        for a in range(p):
            eta += x[i, a] * beta[a]
        value, first, second = curvature(code, rows[0, i], rows[1, i], eta, shape)
        w = rows[2, i]
        total += w * value
        for a in range(p):
            gradient[a] += w * first * x[i, a]
            for b in range(a + 1):
                information[a, b] -= w * second * x[i, a] * x[i, b]
    return total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _maximise(code: int, rows: FloatArray, x: FloatArray, beta: FloatArray, inverse_out: FloatArray) -> bool:
    """Maximise the likelihood of one cluster from `beta` (p,), and invert its information; false if it cannot be."""
    p = x.shape[1]
    gradient, information, step, trial = np.empty(p), np.empty((p, p)), np.empty(p), np.empty(p)
    other, half = np.empty((p, p)), np.zeros((p, p))
    value = _evaluate(code, rows, x, beta, gradient, information)
    for _ in range(STEPS):
        if not cholesky(information):
            return False
        for a in range(p):
            step[a] = gradient[a]
        solve_lower(information, step, p)
        gain = 0.0
        for a in range(p):
            gain += 0.5 * step[a] * step[a]
        solve_upper(information, step, p)
        if gain <= TOLERANCE * (1.0 + abs(value)):
            for a in range(p):
                beta[a] += step[a]
            _evaluate(code, rows, x, beta, gradient, information)
            if not cholesky(information):
                return False
            inverse_transposed(information, p, half)
            square(half, inverse_out)
            return True
        found = False
        for _halving in range(HALVINGS):
            for a in range(p):
                trial[a] = beta[a] + step[a]
            after = _evaluate(code, rows, x, trial, gradient, other)
            if after > value:
                found = True
                break
            for a in range(p):
                step[a] *= 0.5
        if not found:
            return False
        value = after
        for a in range(p):
            beta[a] = trial[a]
            for b in range(a + 1):
                information[a, b] = other[a, b]
    return False


@numba.njit(cache=True, nogil=True, error_model="numpy")
def maximise_clusters(
    code: int, rows: FloatArray, x: FloatArray, start: IntArray, beta_out: FloatArray, inverse_out: FloatArray,
    able_out: FloatArray,
) -> None:  # fmt: skip
    """Maximise the likelihood of each cluster.

    Parameters
    ----------
    code : of the family, which has no shape parameters.
    rows : (4, n) y, size, weight and offset, cluster by cluster.
    x : (n, p) columns.
    start : (J + 1,) first row of each cluster, and n.
    beta_out : (J, p) where each search starts; where it ended is written to it.
    inverse_out : (J, p, p) inverse information.
    able_out : (J,) 1 where a maximum was found, else 0.
    """
    for j in range(len(start) - 1):
        own = slice(start[j], start[j + 1])
        found = _maximise(code, rows[:, own].copy(), x[own], beta_out[j], inverse_out[j])
        able_out[j] = 1.0 if found else 0.0
