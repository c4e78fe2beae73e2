"""Recursions along rows: systems with a diagonal and one band beside it."""

import numba

from crosslevel.types import FloatArray


@numba.njit(cache=True, nogil=True, error_model="numpy")
def solve_forward(diagonal: FloatArray, band: FloatArray, x: FloatArray, out: FloatArray) -> None:
    """Solve B u = x for each row of x, where (B u)_i = diagonal_i u_i + band_i u_{i-1}.

    Parameters
    ----------
    diagonal, band : (n,); the first of `band` is not read.
    x : (m, n).
    out : (m, n) u.
    """
    for a in range(x.shape[0]):
        previous = 0.0
        for i in range(x.shape[1]):
            value = x[a, i]
            if i > 0:
                value -= band[i] * previous
            previous = value / diagonal[i]
            out[a, i] = previous


@numba.njit(cache=True, nogil=True, error_model="numpy")
def solve_backward(diagonal: FloatArray, band: FloatArray, x: FloatArray, out: FloatArray) -> None:
    """Solve B'u = x for each row of x, with B as in `solve_forward`: (B'u)_i = diagonal_i u_i + band_{i+1} u_{i+1}.

    Parameters
    ----------
    diagonal, band : (n,); the first of `band` is not read.
    x : (m, n).
    out : (m, n) u.
    """
    n = x.shape[1]
    for a in range(x.shape[0]):
        following = 0.0
        for k in range(n):
            i = n - 1 - k
            value = x[a, i]
            if k > 0:
                value -= band[i + 1] * following
            following = value / diagonal[i]
            out[a, i] = following
