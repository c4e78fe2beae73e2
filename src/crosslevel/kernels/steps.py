"""Steps of a compiled search: a scoring step in Psi, then Newton's and damped ones; see `optimise.minimise`."""

import numba
import numpy as np

from crosslevel.kernels.small import add_direction, cholesky, copy, solve_lower, solve_upper, square, symmetric_eigen
from crosslevel.types import FloatArray, IntArray

LEAST, RIDGE = 1e-4, 1e-6
"""Least variance that a scoring step leaves, and what is added to its information, as a share of the diagonal."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def newton_step(gradient: FloatArray, hessian: FloatArray, chol: FloatArray, step: FloatArray) -> float:
    """Newton's step and the decrease it promises, -1 if the Hessian is not positive definite."""
    n = len(step)
    copy(hessian, chol)
    if not cholesky(chol):
        return -1.0
    for a in range(n):
        step[a] = -gradient[a]
    solve_lower(chol, step, n)
    expected = 0.0
    for a in range(n):
        expected += 0.5 * step[a] * step[a]
    solve_upper(chol, step, n)
    return expected


@numba.njit(cache=True, nogil=True, error_model="numpy")
def damped_step(
    gradient: FloatArray,
    hessian: FloatArray,
    information: FloatArray,
    damping: float,
    chol: FloatArray,
    step: FloatArray,
) -> float:
    """A damped step and the decrease it promises, from the Hessian where that is positive definite with the damping."""
    n = len(step)
    largest = 1e-300
    for a in range(n):
        largest = max(largest, information[a, a])
    for attempt in range(2):
        curvature = hessian if attempt == 0 else information
        least = damping if attempt == 0 else max(damping, 1e-9)
        copy(curvature, chol)
        for a in range(n):
            chol[a, a] += least * (information[a, a] + 1e-12 * largest)
        if not cholesky(chol):
            continue
        for a in range(n):
            step[a] = -gradient[a]
        solve_lower(chol, step, n)
        solve_upper(chol, step, n)
        expected, finite = 0.0, True
        for a in range(n):
            finite = finite and np.isfinite(step[a])
        for a in range(n):
            value = 0.0
            for b in range(n):
                value += curvature[a, b] * step[b]
            expected -= step[a] * (gradient[a] + 0.5 * value)
        if finite:
            return expected
    expected = 0.0
    for a in range(n):
        step[a] = -gradient[a] / (information[a, a] + 1e-12 * largest + 1e-300)
        expected -= 0.5 * gradient[a] * step[a]
    return expected


@numba.njit(cache=True, nogil=True, error_model="numpy")
def scoring_step(
    factor: FloatArray,
    rows: IntArray,
    columns: IntArray,
    block: IntArray,
    n_rows: float,
    score: FloatArray,
    p_sum: FloatArray,
    pp: FloatArray,
    moved_out: FloatArray,
) -> bool:
    """One scoring step in Psi, which is nearly enough where clusters are large; false if the information is singular.

    Parameters
    ----------
    factor, rows, columns, block : (q, q) Lambda, places of its elements, and the block of each effect.
    n_rows : n.
    score, p_sum, pp : S, and sums of P and of P (x) P, as `refit_point.derive` leaves them.
    moved_out : (q, q) Lambda after the step.
    """
    n, q = len(rows), factor.shape[0]
    information, step, trace = np.empty((n, n)), np.empty(n), np.empty(n)
    for a in range(n):
        r, c = rows[a], columns[a]
        twice = 1.0 if r == c else 2.0
        step[a], trace[a] = twice * score[r, c], twice * p_sum[r, c]
        for b in range(a + 1):
            s, t = rows[b], columns[b]
            value = pp[s, r, c, t] + pp[t, r, c, s] + pp[s, c, r, t] + pp[t, c, r, s]
            value *= 0.25 * twice * (1.0 if s == t else 2.0)
            information[a, b] = value - trace[a] * trace[b] / n_rows
        information[a, a] *= 1.0 + RIDGE
    if not cholesky(information):
        return False
    solve_lower(information, step, n)
    solve_upper(information, step, n)
    psi, vectors, direction = np.empty((q, q)), np.empty((q, q)), np.empty(q)
    square(factor, psi)
    for a in range(n):
        psi[rows[a], columns[a]] -= step[a]
        psi[columns[a], rows[a]] = psi[rows[a], columns[a]]
    symmetric_eigen(psi, vectors)
    for i in range(q):
        for j in range(q):
            moved_out[i, j] = 0.0
    for k in range(q):
        for i in range(q):
            direction[i] = np.sqrt(max(psi[k, k], LEAST)) * vectors[i, k]
        add_direction(moved_out, block, direction)
    return True
