"""Newton's step and damped steps of a compiled search; see `optimise.minimise`."""

import numba
import numpy as np

from crosslevel.kernels.small import cholesky, copy, solve_lower, solve_upper
from crosslevel.types import FloatArray


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
