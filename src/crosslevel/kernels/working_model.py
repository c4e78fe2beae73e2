"""Sums over clusters that make the information of a working linear mixed model."""

import numba
import numpy as np

from crosslevel.kernels.modes import curvature_factor, dot_three
from crosslevel.kernels.small import solve_lower
from crosslevel.types import FloatArray, IntArray


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def weighted_columns(x: FloatArray, precision: FloatArray, out: FloatArray) -> None:
    """Write W x (n, p) to the first columns of `out` (n, r)."""
    for i in range(x.shape[0]):
        for a in range(x.shape[1]):
            out[i, a] = precision[i] * x[i, a]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def images(
    z: FloatArray, precision: FloatArray, columns: FloatArray, low: int, high: int, image: FloatArray,
    square: FloatArray,
) -> None:  # fmt: skip
    """Z'E (q, r) and Z'WZ (q, q) of rows low to high."""
    q, r = image.shape
    for j in range(q):
        for a in range(r):
            image[j, a] = 0.0
        for i in range(low, high):
            value = z[j, i]
            for a in range(r):
                image[j, a] += value * columns[i, a]
        for k in range(j + 1):
            square[j, k] = square[k, j] = dot_three(z[j][low:high], z[k][low:high], precision[low:high])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def absorb_clusters(
    z: FloatArray, precision: FloatArray, columns: FloatArray, start: IntArray, factor: FloatArray, count: FloatArray,
    pairs: FloatArray, absorbed: FloatArray,
) -> None:  # fmt: skip
    """Add what the random effects of clusters absorb of columns, and the information in Psi.

    With A = Z'WZ, H = I + Lambda'A Lambda, B = Lambda H^-1 Lambda' and P = A - A B A:

    Parameters
    ----------
    z : (q, n) columns of the random effects.
    precision : (n,) W.
    columns : (n, r) columns multiplied by W.
    start : (J + 1,) where each cluster's rows start.
    factor : (q, q) Lambda.
    count : (J,) how often each cluster counts.
    pairs : (q, q, q, q) the sum of P[i, j] P[k, l], added to.
    absorbed : (r, r) the sum of E'Z B Z'E with E the columns, added to.
    """
    q, r = factor.shape[0], columns.shape[1]
    square, chol, half, p = np.empty((q, q)), np.empty((q, q)), np.empty((q, q)), np.empty((q, q))
    image, turned, column = np.empty((q, r)), np.empty((q, r)), np.empty(q)
    for g in range(len(start) - 1):
        if count[g] == 0.0:
            continue
        images(z, precision, columns, start[g], start[g + 1], image, square)
        curvature_factor(factor, square, chol, half)
        for a in range(r):
            for j in range(q):
                column[j] = 0.0
                for k in range(q):
                    column[j] += factor[k, j] * image[k, a]
            solve_lower(chol, column, q)
            for j in range(q):
                turned[j, a] = column[j]
        for a in range(r):
            for j in range(q):
                value = count[g] * turned[j, a]
                for b in range(r):
                    absorbed[a, b] += value * turned[j, b]
        for i in range(q):  # C^-1 Lambda'A
            for j in range(q):
                column[j] = half[i, j]
            solve_lower(chol, column, q)
            for j in range(q):
                half[i, j] = column[j]
        for i in range(q):
            for j in range(q):
                p[i, j] = square[i, j]
                for k in range(q):
                    p[i, j] -= half[i, k] * half[j, k]
        for i in range(q):
            for j in range(q):
                value = count[g] * p[i, j]
                for k in range(q):
                    for m in range(q):
                        pairs[i, j, k, m] += value * p[k, m]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def add_scores(
    factor: FloatArray, gradients: FloatArray, squares: FloatArray, chol: FloatArray, tilt: FloatArray,
    count: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    """Add P - g g' + (I + A Psi)^-1 t g' of all clusters to `out` (q, q): its symmetric part is dD / dPsi by Laplace.

    With A = Z'WZ, H = I + Lambda'A Lambda = C C' and F = C^-1 Lambda'A these are P = A - F'F and
    (I + A Psi)^-1 = I - F'C^-1 Lambda'.

    Parameters
    ----------
    factor : (q, q) Lambda.
    gradients, squares, chol, tilt : (J, q) g, (J, q, q) A, (J, q, q) C, (J, q) t.
    count : (J,) how often each cluster counts.
    out : (q, q) added to.
    """
    q = factor.shape[0]
    half, column, turned = np.empty((q, q)), np.empty(q), np.empty(q)
    for g in range(len(count)):
        if count[g] == 0.0:
            continue
        for j in range(q):  # F, column by column, and C^-1 Lambda't
            for i in range(q):
                column[i] = 0.0
                for k in range(q):
                    column[i] += factor[k, i] * squares[g, k, j]
            solve_lower(chol[g], column, q)
            for i in range(q):
                half[i, j] = column[i]
        for i in range(q):
            turned[i] = 0.0
            for k in range(q):
                turned[i] += factor[k, i] * tilt[g, k]
        solve_lower(chol[g], turned, q)
        for i in range(q):
            left = tilt[g, i] - gradients[g, i]
            for k in range(q):
                left -= half[k, i] * turned[k]
            for j in range(q):
                value = squares[g, i, j] + left * gradients[g, j]
                for k in range(q):
                    value -= half[k, i] * half[k, j]
                out[i, j] += count[g] * value
