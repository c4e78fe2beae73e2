"""Algebra of small matrices, written out: what compiled searches need of Cholesky factors and eigenvectors."""

import numba
import numpy as np

from crosslevel.kernels.leaf import leaf
from crosslevel.types import FloatArray, IntArray

SWEEPS = 60
"""Sweeps of Jacobi rotations at most; a handful is enough for any matrix."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def cholesky(a: FloatArray) -> bool:
    """Replace the lower triangle of a (n, n) by its Cholesky factor; false if it is not positive definite."""
    n = a.shape[0]
    for j in range(n):
        pivot = a[j, j]
        for k in range(j):
            pivot -= a[j, k] * a[j, k]
        if not pivot > 0.0 or not pivot < np.inf:
            return False
        pivot = np.sqrt(pivot)
        a[j, j] = pivot
        for i in range(j + 1, n):
            value = a[i, j]
            for k in range(j):
                value -= a[i, k] * a[j, k]
            a[i, j] = value / pivot
    return True


@numba.njit(cache=True, nogil=True, error_model="numpy")
def solve_lower(chol: FloatArray, b: FloatArray, n: int) -> None:
    """Replace the first n elements of b by L^-1 b, with L the leading lower triangle of chol."""
    for i in range(n):
        value = b[i]
        for k in range(i):
            value -= chol[i, k] * b[k]
        b[i] = value / chol[i, i]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def solve_upper(chol: FloatArray, b: FloatArray, n: int) -> None:
    """Replace the first n elements of b by L'^-1 b, with L the leading lower triangle of chol."""
    for i in range(n - 1, -1, -1):
        value = b[i]
        for k in range(i + 1, n):
            value -= chol[k, i] * b[k]
        b[i] = value / chol[i, i]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def inverse_transposed(chol: FloatArray, n: int, out: FloatArray) -> None:
    """Upper triangular L'^-1 (n, n) of the leading lower triangle of chol, written to zeros."""
    for j in range(n):
        out[j, j] = 1.0 / chol[j, j]
        for i in range(j + 1, n):
            value = 0.0
            for k in range(j, i):
                value -= chol[i, k] * out[j, k]
            out[j, i] = value / chol[i, i]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def symmetric_eigen(a: FloatArray, vectors: FloatArray) -> None:
    """Eigenvalues of a symmetric a (n, n), left on its diagonal, and eigenvectors as columns, by Jacobi rotations.

    Source: Golub & Van Loan (2013), Matrix Computations, 4th ed., section 8.5.
    """
    n = a.shape[0]
    for i in range(n):
        for j in range(n):
            vectors[i, j] = 1.0 if i == j else 0.0
    for _ in range(SWEEPS):
        off, size = 0.0, 0.0
        for i in range(n):
            size += a[i, i] * a[i, i]
            for j in range(i):
                off += a[i, j] * a[i, j]
        if not off > 1e-34 * size:
            return
        for p in range(n):
            for q in range(p + 1, n):
                if a[p, q] == 0.0:
                    continue
                half = 0.5 * (a[q, q] - a[p, p]) / a[p, q]
                t = 1.0 / (abs(half) + np.sqrt(half * half + 1.0))
                if half < 0.0:
                    t = -t
                c = 1.0 / np.sqrt(t * t + 1.0)
                s = t * c
                for k in range(n):
                    x, y = a[k, p], a[k, q]
                    a[k, p], a[k, q] = c * x - s * y, s * x + c * y
                for k in range(n):
                    x, y = a[p, k], a[q, k]
                    a[p, k], a[q, k] = c * x - s * y, s * x + c * y
                    x, y = vectors[k, p], vectors[k, q]
                    vectors[k, p], vectors[k, q] = c * x - s * y, s * x + c * y
                a[p, q] = a[q, p] = 0.0


@numba.njit(cache=True, nogil=True, error_model="numpy")
def add_direction(factor: FloatArray, block: IntArray, direction: FloatArray) -> None:
    """Change a lower triangular L into that of L L' + v v', in each block of rows for itself.

    Givens rotations of [L v]: exact also where L is singular. `direction` v (q,) is destroyed.

    Parameters
    ----------
    factor : (q, q) L, block-diagonal.
    block : (q,) number of the block that each row belongs to.
    direction : (q,) v.
    """
    q = len(direction)
    for k in range(q):
        radius = np.hypot(factor[k, k], direction[k])
        if radius == 0.0:
            continue
        c, s = factor[k, k] / radius, direction[k] / radius
        for i in range(k, q):
            if block[i] == block[k]:
                x, y = factor[i, k], direction[i]
                factor[i, k], direction[i] = c * x + s * y, c * y - s * x


@numba.njit(cache=True, nogil=True, error_model="numpy")
def product(a: FloatArray, b: FloatArray, out: FloatArray) -> None:
    """Write A B (n, n) to `out`, which is neither."""
    n = a.shape[0]
    for i in range(n):
        for j in range(n):
            value = 0.0
            for k in range(n):
                value += a[i, k] * b[k, j]
            out[i, j] = value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def square(a: FloatArray, out: FloatArray) -> None:
    """Write A A' (n, n) to `out`."""
    n = a.shape[0]
    for i in range(n):
        for j in range(n):
            value = 0.0
            for k in range(n):
                value += a[i, k] * a[j, k]
            out[i, j] = value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def descending(values: FloatArray, order: IntArray) -> None:
    """Write the positions of values (n,) to `order`, the largest first."""
    for i in range(len(values)):
        k = i
        while k > 0 and values[order[k - 1]] < values[i]:
            order[k] = order[k - 1]
            k -= 1
        order[k] = i


@numba.njit(cache=True, nogil=True, error_model="numpy")
def copy(a: FloatArray, out: FloatArray) -> None:
    """Copy a matrix (n, m). A loop compiles many times faster than the assignment of an array."""
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            out[i, j] = a[i, j]


@leaf()
def invert(chol: FloatArray, column: FloatArray, out: FloatArray) -> None:
    """(C C')^-1 (q, q) of a Cholesky factor C; `column` (q,) is scratch."""
    q = chol.shape[0]
    for j in range(q):
        for i in range(q):
            column[i] = 1.0 if i == j else 0.0
        solve_lower(chol, column, q)
        solve_upper(chol, column, q)
        for i in range(q):
            out[i, j] = column[i]


@leaf()
def adjoint_of_factor(
    chol: FloatArray, by_chol: FloatArray, inner: FloatArray, column: FloatArray, out: FloatArray
) -> None:
    """Derivative in H = C C' (q, q), symmetric, from that in the lower triangle of C.

    C'^-1 lower(C' dD/dC) C^-1, where `lower` halves the diagonal, made symmetric. `inner` (q, q) and `column` (q,) are
    scratch.

    Source: Murray (2016), Differentiation of the Cholesky decomposition, arXiv:1602.07527.
    """
    q = chol.shape[0]
    for i in range(q):
        for j in range(q):
            inner[i, j] = 0.0
    for i in range(q):
        for j in range(i + 1):
            value = 0.0
            for k in range(i, q):
                value += chol[k, i] * by_chol[k, j]
            inner[i, j] = value if i > j else 0.5 * value
    for j in range(q):  # C'^-1 on the left
        for i in range(q):
            column[i] = inner[i, j]
        solve_upper(chol, column, q)
        for i in range(q):
            inner[i, j] = column[i]
    for i in range(q):  # C^-1 on the right: rows solve C'x = row
        for j in range(q):
            column[j] = inner[i, j]
        solve_upper(chol, column, q)
        for j in range(q):
            inner[i, j] = column[j]
    for i in range(q):
        for j in range(q):
            out[i, j] = 0.5 * (inner[i, j] + inner[j, i])
