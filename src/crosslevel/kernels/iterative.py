"""Products with the blocks between one factor's levels and all other columns, with the first factor eliminated.

The first factor has levels i with q effects each. `start`, `column`, `value` hold its rows of A compressed:
A_i is (q, columns met), its k-th column at `value[k]` (q,) belongs to column `column[k]` of the others.
Columns come as unsigned numbers: those need no test for being negative.
"""

import numba
import numpy as np

from crosslevel.types import FloatArray, IntArray


@numba.njit(cache=True, nogil=True, error_model="numpy")
def eliminate_eight(
    start: IntArray,
    column: IntArray,
    value: FloatArray,
    middle: FloatArray,
    residual: FloatArray,
    x: FloatArray,
    first: int,
    last: int,
    y_out: FloatArray,
    sums_out: FloatArray,
) -> None:
    """`eliminate` for q = 1 and eight columns of x, which stay in registers.

    Parameters
    ----------
    start, column, first, last : see `eliminate`.
    value : (m,).
    middle, residual : (J,) B and F.
    x, y_out : (N, 8).
    sums_out : (8,), added to; left out when it has no elements.
    """
    with_sums = sums_out.shape[0] > 0
    for i in range(first, last):
        t0 = t1 = t2 = t3 = t4 = t5 = t6 = t7 = 0.0
        for k in range(start[i], start[i + 1]):
            row = x[column[k]]
            v = value[k]
            t0 += v * row[0]
            t1 += v * row[1]
            t2 += v * row[2]
            t3 += v * row[3]
            t4 += v * row[4]
            t5 += v * row[5]
            t6 += v * row[6]
            t7 += v * row[7]
        if with_sums:
            f = residual[i] * residual[i]
            sums_out[0] += f * t0 * t0
            sums_out[1] += f * t1 * t1
            sums_out[2] += f * t2 * t2
            sums_out[3] += f * t3 * t3
            sums_out[4] += f * t4 * t4
            sums_out[5] += f * t5 * t5
            sums_out[6] += f * t6 * t6
            sums_out[7] += f * t7 * t7
        b = middle[i]
        t0 *= b
        t1 *= b
        t2 *= b
        t3 *= b
        t4 *= b
        t5 *= b
        t6 *= b
        t7 *= b
        for k in range(start[i], start[i + 1]):
            out = y_out[column[k]]
            v = value[k]
            out[0] += v * t0
            out[1] += v * t1
            out[2] += v * t2
            out[3] += v * t3
            out[4] += v * t4
            out[5] += v * t5
            out[6] += v * t6
            out[7] += v * t7


@numba.njit(cache=True, nogil=True, error_model="numpy")
def eliminate(
    start: IntArray,
    column: IntArray,
    value: FloatArray,
    middle: FloatArray,
    residual: FloatArray,
    x: FloatArray,
    first: int,
    last: int,
    y_out: FloatArray,
    sums_out: FloatArray,
) -> None:
    """Add to y the sum over levels i of A_i' B_i A_i x, and sums of e e' with e = F_i A_i x for each column of x.

    Parameters
    ----------
    start, column, value : see above.
    middle, residual : (J, q, q) B and F.
    x : (N, s).
    first, last : levels to go through.
    y_out : (N, s), added to.
    sums_out : (s, q, q), added to; left out when it has no elements.
    """
    q, s = middle.shape[1], x.shape[1]
    with_sums = sums_out.shape[0] > 0
    t, u = np.empty((q, s)), np.empty((q, s))
    for i in range(first, last):
        for a in range(q):
            for m in range(s):
                t[a, m] = 0.0
        for k in range(start[i], start[i + 1]):
            row = x[column[k]]
            for a in range(q):
                v = value[k, a]
                for m in range(s):
                    t[a, m] += v * row[m]
        if with_sums:
            for a in range(q):
                for m in range(s):
                    u[a, m] = 0.0
                for b in range(q):
                    v = residual[i, a, b]
                    for m in range(s):
                        u[a, m] += v * t[b, m]
            for m in range(s):
                for a in range(q):
                    for b in range(q):
                        sums_out[m, a, b] += u[a, m] * u[b, m]
        for a in range(q):
            for m in range(s):
                u[a, m] = 0.0
            for b in range(q):
                v = middle[i, a, b]
                for m in range(s):
                    u[a, m] += v * t[b, m]
        for k in range(start[i], start[i + 1]):
            out = y_out[column[k]]
            for a in range(q):
                v = value[k, a]
                for m in range(s):
                    out[m] += v * u[a, m]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def gather(
    start: IntArray, column: IntArray, value: FloatArray, x: FloatArray, first: int, last: int, t_out: FloatArray
) -> None:
    """Add A_i x to t_i for levels `first` to `last`: x (N, s), t (J, q, s)."""
    q, s = t_out.shape[1], x.shape[1]
    for i in range(first, last):
        for k in range(start[i], start[i + 1]):
            row = x[column[k]]
            for a in range(q):
                v = value[k, a]
                for m in range(s):
                    t_out[i, a, m] += v * row[m]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def scatter(
    start: IntArray, column: IntArray, value: FloatArray, t: FloatArray, first: int, last: int, y_out: FloatArray
) -> None:
    """Add to y the sum over levels `first` to `last` of A_i' t_i: t (J, q, s), y (N, s)."""
    q, s = t.shape[1], y_out.shape[1]
    for i in range(first, last):
        for k in range(start[i], start[i + 1]):
            out = y_out[column[k]]
            for a in range(q):
                v = value[k, a]
                for m in range(s):
                    out[m] += v * t[i, a, m]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def middle_blocks(
    start: IntArray,
    column: IntArray,
    value: FloatArray,
    middle: FloatArray,
    width: IntArray,
    cell: IntArray,
    first: int,
    last: int,
    cells_out: FloatArray,
) -> None:
    """Blocks of sum A_i' B_i A_i on the diagonal: those of columns that belong to one level.

    Parameters
    ----------
    start, column, value, middle, first, last : see `eliminate`.
    width : (N,) number of columns of a column's level; they lie side by side.
    cell : (N,) where the column's row of its level's block begins in `cells_out`.
    cells_out : all blocks, row by row, added to.
    """
    q = middle.shape[1]
    for i in range(first, last):
        k = start[i]
        while k < start[i + 1]:
            w = width[column[k]]
            for a in range(w):
                at = cell[column[k + a]]
                for b in range(w):
                    total = 0.0
                    for c in range(q):
                        left = value[k + a, c]
                        for d in range(q):
                            right = value[k + b, d]
                            total += left * middle[i, c, d] * right
                    cells_out[at + b] += total
            k += w


@numba.njit(cache=True, nogil=True, error_model="numpy")
def middle_sums(
    start: IntArray,
    column: IntArray,
    value: FloatArray,
    residual: FloatArray,
    width: IntArray,
    cell: IntArray,
    cells: FloatArray,
    first: int,
    last: int,
    sums_out: FloatArray,
) -> None:
    """Sums over levels i of F_i (sum over levels j of A_ij R_j A_ij') F_i', for each of s sets of blocks R.

    Parameters
    ----------
    start, column, value, residual, first, last : see `eliminate`.
    width, cell : see `middle_blocks`.
    cells : (cells, s) R.
    sums_out : (s, q, q), added to.
    """
    q, s = residual.shape[1], cells.shape[1]
    total, half = np.empty((q, q, s)), np.empty((q, q, s))
    for i in range(first, last):
        total[:, :, :] = 0.0
        k = start[i]
        while k < start[i + 1]:
            w = width[column[k]]
            for a in range(w):
                at = cell[column[k + a]]
                for b in range(w):
                    row = cells[at + b]
                    for c in range(q):
                        for d in range(q):
                            v = value[k + a, c] * value[k + b, d]
                            for m in range(s):
                                total[c, d, m] += v * row[m]
            k += w
        half[:, :, :] = 0.0
        for a in range(q):
            for b in range(q):
                v = residual[i, a, b]
                for d in range(q):
                    for m in range(s):
                        half[a, d, m] += v * total[b, d, m]
        for a in range(q):
            for b in range(q):
                for d in range(q):
                    v = residual[i, b, d]
                    for m in range(s):
                        sums_out[m, a, b] += v * half[a, d, m]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def symmetric_product(start: IntArray, column: IntArray, value: FloatArray, x: FloatArray, y_out: FloatArray) -> None:
    """Add to y (U + U') x with U (N, N) strictly upper, compressed by rows: x, y (N, s)."""
    s = x.shape[1]
    for i in range(start.shape[0] - 1):
        for k in range(start[i], start[i + 1]):
            c, v = column[k], value[k]
            for m in range(s):
                y_out[i, m] += v * x[c, m]
                y_out[c, m] += v * x[i, m]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def combine(vectors: FloatArray, weights: FloatArray, first: int, last: int, out: FloatArray) -> None:
    """out[n, c, r] = sum over j of vectors[j, n, c] weights[j, c, r], for rows `first` to `last`.

    vectors (m, N, s), weights (m, s, k), out (N, s, k).
    """
    m, s, k = weights.shape
    for n in range(first, last):
        for c in range(s):
            for r in range(k):
                out[n, c, r] = 0.0
        for j in range(m):
            for c in range(s):
                v = vectors[j, n, c]
                for r in range(k):
                    out[n, c, r] += v * weights[j, c, r]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def level_sums(
    start: IntArray,
    column: IntArray,
    value: FloatArray,
    width: IntArray,
    cell: IntArray,
    cells: FloatArray,
    sums_out: FloatArray,
) -> None:
    """For every level i the sum over levels j of A_ij R_j A_ij'.

    Parameters
    ----------
    start, column, value : see `eliminate`.
    width, cell : see `middle_blocks`.
    cells : (cells,) R.
    sums_out : (J, q, q), added to.
    """
    q = sums_out.shape[1]
    for i in range(sums_out.shape[0]):
        k = start[i]
        while k < start[i + 1]:
            w = width[column[k]]
            for a in range(w):
                at = cell[column[k + a]]
                for b in range(w):
                    for c in range(q):
                        for d in range(q):
                            sums_out[i, c, d] += value[k + a, c] * cells[at + b] * value[k + b, d]
            k += w
