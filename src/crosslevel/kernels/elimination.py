"""Sparse Cholesky factor of M = I + Lambda'A Lambda: levels eliminated one by one, the rest as one dense matrix.

Each eliminated level is a node with q columns of M of its own. It touches later columns: first those of nodes that are
eliminated later, then those of the dense part. All kernels take the same six arrays of the symbolic plan:

    first (m + 1,)      first column of each node; the dense part's columns begin at first[m],
    start (m + 1,)      where the touched columns of each node begin in
    column              the touched columns, ascending,
    row_start (m,)      where the node's rows begin: element (a, i) for touched column a and own column i at + a q + i,
    diagonal_start (m,) where its diagonal block (q, q) begins,
    owner               node of each column below first[m],

and weight (m,), how often each node counts in all (copies within its parent times the parent's weight).

With T T' the diagonal block of a node after all updates, its rows become V = T^-1 M[node, touched] and M[touched,
touched] -= V'V. On the pattern of the factor (Takahashi, Fagan & Chen 1973; Erisman & Tinney 1975, CACM 18: 177-179)

    M^-1[node, touched] = -T^-T V M^-1[touched, touched],
    M^-1[node, node] = T^-T (I + V M^-1[touched, touched] V') T^-1.
"""

import numba
import numpy as np

from crosslevel.types import CodeArray, FloatArray, IntArray


@numba.njit(cache=True, nogil=True, error_model="numpy")
def eliminate(
    first: IntArray,
    start: IntArray,
    column: CodeArray,
    row_start: IntArray,
    diagonal_start: IntArray,
    owner: CodeArray,
    weight: FloatArray,
    diagonal_out: FloatArray,
    rows_out: FloatArray,
) -> float:
    """Eliminate all nodes of M in place, but for what they do to the dense part.

    Parameters
    ----------
    first, start, column, row_start, diagonal_start, owner, weight : see the module.
    diagonal_out : diagonal blocks of M, becoming T; lower triangles are read and written.
    rows_out : M[node, touched], becoming V.

    Returns
    -------
    Weighted sum of log|T|^2; NaN if a block is not positive definite.
    """
    n_nodes = len(weight)
    n_lead = first[n_nodes]
    log_det = 0.0
    for n in range(n_nodes):
        q = first[n + 1] - first[n]
        d, r, s = diagonal_start[n], row_start[n], start[n]
        n_touched = start[n + 1] - s

        # T T'
        for i in range(q):
            for j in range(i + 1):
                value = diagonal_out[d + i * q + j]
                for k in range(j):
                    value -= diagonal_out[d + i * q + k] * diagonal_out[d + j * q + k]
                if i == j:
                    log_det += weight[n] * np.log(value)
                    diagonal_out[d + i * q + i] = np.sqrt(value)
                else:
                    diagonal_out[d + i * q + j] = value / diagonal_out[d + j * q + j]

        # V
        if q == 1:
            for a in range(n_touched):
                rows_out[r + a] /= diagonal_out[d]
        for a in range(n_touched if q > 1 else 0):
            for i in range(q):
                value = rows_out[r + a * q + i]
                for k in range(i):
                    value -= diagonal_out[d + i * q + k] * rows_out[r + a * q + k]
                rows_out[r + a * q + i] = value / diagonal_out[d + i * q + i]

        # later nodes: their diagonal blocks and rows
        a = 0
        while a < n_touched and column[s + a] < n_lead:
            target = owner[column[s + a]]
            q_target = first[target + 1] - first[target]
            share = weight[n] / weight[target]
            td, tr, place = diagonal_start[target], row_start[target], start[target]
            for i in range(q_target):
                for j in range(i + 1):
                    value = 0.0
                    for k in range(q):
                        value += rows_out[r + (a + i) * q + k] * rows_out[r + (a + j) * q + k]
                    diagonal_out[td + i * q_target + j] -= share * value
            for b in range(a + q_target, n_touched):
                while column[place] != column[s + b]:
                    place += 1
                at = tr + (place - start[target]) * q_target
                for i in range(q_target):
                    value = 0.0
                    for k in range(q):
                        value += rows_out[r + (a + i) * q + k] * rows_out[r + b * q + k]
                    rows_out[at + i] -= share * value
            a += q_target
    return log_det


@numba.njit(cache=True, nogil=True, error_model="numpy")
def update_dense(
    first: IntArray,
    start: IntArray,
    column: CodeArray,
    row_start: IntArray,
    dense_start: IntArray,
    dense_node: CodeArray,
    dense_place: CodeArray,
    weight: FloatArray,
    rows: FloatArray,
    dense_out: FloatArray,
) -> None:
    """Subtract V'V of all nodes from the dense part of M, row by row: a row stays in the cache, the matrix does not.

    Parameters
    ----------
    first, start, column, row_start, weight : see the module.
    dense_start, dense_node, dense_place : the nodes that touch dense row c, and where among their touched columns, are
        at dense_start[c]:dense_start[c + 1].
    rows : V from `eliminate`.
    dense_out : (D, D); the lower triangle is read and written.
    """
    n_lead = first[len(weight)]
    for row in range(len(dense_start) - 1):
        for e in range(dense_start[row], dense_start[row + 1]):
            n, b = dense_node[e], dense_place[e]
            s, r, q = start[n], row_start[n], first[n + 1] - first[n]
            if q == 1:
                value = weight[n] * rows[r + b]
                for c in range(b, -1, -1):
                    target = column[s + c] - n_lead
                    if target < 0:
                        break
                    dense_out[row, target] -= value * rows[r + c]
            else:
                for c in range(b, -1, -1):
                    target = column[s + c] - n_lead
                    if target < 0:
                        break
                    value = 0.0
                    for k in range(q):
                        value += rows[r + b * q + k] * rows[r + c * q + k]
                    dense_out[row, target] -= weight[n] * value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def multiply_dense(
    first: IntArray,
    start: IntArray,
    column: CodeArray,
    row_start: IntArray,
    dense_start: IntArray,
    dense_node: CodeArray,
    dense_place: CodeArray,
    rows: FloatArray,
    dense: FloatArray,
    rows_out: FloatArray,
) -> None:
    """Add V times a symmetric matrix over the dense part, on the pattern.

    Parameters
    ----------
    first, start, column, row_start, dense_start, dense_node, dense_place : see `update_dense`.
    rows : V from `eliminate`.
    dense : (D, D) lower triangle of the matrix.
    rows_out : the product, laid out as V, added to.
    """
    n_lead = first[len(row_start)]
    for row in range(len(dense_start) - 1):
        for e in range(dense_start[row], dense_start[row + 1]):
            n, b = dense_node[e], dense_place[e]
            s, r, q = start[n], row_start[n], first[n + 1] - first[n]
            if q == 1:
                own, total = rows[r + b], dense[row, row] * rows[r + b]
                for c in range(b - 1, -1, -1):
                    target = column[s + c] - n_lead
                    if target < 0:
                        break
                    value = dense[row, target]
                    total += value * rows[r + c]
                    rows_out[r + c] += value * own
                rows_out[r + b] += total
            else:
                for c in range(b, -1, -1):
                    target = column[s + c] - n_lead
                    if target < 0:
                        break
                    value = dense[row, target]
                    for k in range(q):
                        rows_out[r + b * q + k] += value * rows[r + c * q + k]
                    if c < b:
                        for k in range(q):
                            rows_out[r + c * q + k] += value * rows[r + b * q + k]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def forward_substitute(
    first: IntArray,
    start: IntArray,
    column: CodeArray,
    row_start: IntArray,
    diagonal_start: IntArray,
    owner: CodeArray,
    weight: FloatArray,
    diagonal: FloatArray,
    rows: FloatArray,
    x_out: FloatArray,
) -> None:
    """L^-1 x for the eliminated part of the factor, in place; what is left to the dense part lies in the last rows.

    Parameters
    ----------
    first, start, column, row_start, diagonal_start, owner, weight : see the module.
    diagonal, rows : T and V from `eliminate`.
    x_out : (N, m) right-hand sides.
    """
    n_nodes = len(weight)
    n_lead = first[n_nodes]
    n_sides = x_out.shape[1]
    for n in range(n_nodes):
        f, s, d, r = first[n], start[n], diagonal_start[n], row_start[n]
        q = first[n + 1] - f
        if q == 1 and n_sides == 1:
            x_out[f, 0] /= diagonal[d]
            value = weight[n] * x_out[f, 0]
            for a in range(start[n + 1] - s):
                target = column[s + a]
                share = weight[owner[target]] if target < n_lead else 1.0
                x_out[target, 0] -= value * rows[r + a] / share
            continue
        for i in range(q):
            for m in range(n_sides):
                value = x_out[f + i, m]
                for k in range(i):
                    value -= diagonal[d + i * q + k] * x_out[f + k, m]
                x_out[f + i, m] = value / diagonal[d + i * q + i]
        for a in range(start[n + 1] - s):
            target = column[s + a]
            share = weight[n]
            if target < n_lead:
                share /= weight[owner[target]]
            for i in range(q):
                value = share * rows[r + a * q + i]
                for m in range(n_sides):
                    x_out[target, m] -= value * x_out[f + i, m]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def back_substitute(
    first: IntArray,
    start: IntArray,
    column: CodeArray,
    row_start: IntArray,
    diagonal_start: IntArray,
    diagonal: FloatArray,
    rows: FloatArray,
    x_out: FloatArray,
) -> None:
    """L^-T x for the eliminated part of the factor, in place, the dense part having been solved.

    Parameters
    ----------
    first, start, column, row_start, diagonal_start : see the module.
    diagonal, rows : T and V from `eliminate`.
    x_out : (N, m) right-hand sides.
    """
    n_sides = x_out.shape[1]
    for n in range(len(row_start) - 1, -1, -1):
        f, s, d, r = first[n], start[n], diagonal_start[n], row_start[n]
        q = first[n + 1] - f
        if q == 1 and n_sides == 1:
            value = x_out[f, 0]
            for a in range(start[n + 1] - s):
                value -= rows[r + a] * x_out[column[s + a], 0]
            x_out[f, 0] = value / diagonal[d]
            continue
        for a in range(start[n + 1] - s):
            target = column[s + a]
            for i in range(q):
                value = rows[r + a * q + i]
                for m in range(n_sides):
                    x_out[f + i, m] -= value * x_out[target, m]
        for i in range(q - 1, -1, -1):
            for m in range(n_sides):
                value = x_out[f + i, m]
                for k in range(i + 1, q):
                    value -= diagonal[d + k * q + i] * x_out[f + k, m]
                x_out[f + i, m] = value / diagonal[d + i * q + i]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def invert_pattern(
    first: IntArray,
    start: IntArray,
    column: CodeArray,
    row_start: IntArray,
    diagonal_start: IntArray,
    owner: CodeArray,
    diagonal: FloatArray,
    rows: FloatArray,
    diagonal_out: FloatArray,
    rows_out: FloatArray,
) -> None:
    """M^-1 on the pattern of the factor.

    Parameters
    ----------
    first, start, column, row_start, diagonal_start, owner : see the module.
    diagonal, rows : T and V from `eliminate`.
    diagonal_out : diagonal blocks of M^-1, whole.
    rows_out : V times the dense part of M^-1, laid out as V, from `multiply_dense`; becoming M^-1[node, touched].
    """
    n_nodes = len(row_start)
    n_lead = first[n_nodes]
    for n in range(n_nodes - 1, -1, -1):
        q = first[n + 1] - first[n]
        d, r, s = diagonal_start[n], row_start[n], start[n]
        n_touched = start[n + 1] - s

        # Y' = M^-1[touched, touched] V', of which the dense part is there already
        a = 0
        while a < n_touched and column[s + a] < n_lead:
            other = owner[column[s + a]]
            q_other = first[other + 1] - first[other]
            od, place = diagonal_start[other], start[other]
            for i in range(q_other):
                for j in range(q_other):
                    value = diagonal_out[od + i * q_other + j]
                    for k in range(q):
                        rows_out[r + (a + i) * q + k] += value * rows[r + (a + j) * q + k]
            for b in range(a + q_other, n_touched):
                while column[place] != column[s + b]:
                    place += 1
                at = row_start[other] + (place - start[other]) * q_other
                for i in range(q_other):
                    value = rows_out[at + i]
                    for k in range(q):
                        rows_out[r + (a + i) * q + k] += value * rows[r + b * q + k]
                        rows_out[r + b * q + k] += value * rows[r + (a + i) * q + k]
            a += q_other
        if q == 1:
            value = 1.0
            for a in range(n_touched):
                value += rows[r + a] * rows_out[r + a]
                rows_out[r + a] /= -diagonal[d]
            diagonal_out[d] = value / (diagonal[d] * diagonal[d])
            continue
        # T^-T (I + V Y') T^-1
        for i in range(q):
            for j in range(q):
                value = 1.0 if i == j else 0.0
                for a in range(n_touched):
                    value += rows[r + a * q + i] * rows_out[r + a * q + j]
                diagonal_out[d + i * q + j] = value
        for j in range(q):
            for i in range(q - 1, -1, -1):
                value = diagonal_out[d + i * q + j]
                for k in range(i + 1, q):
                    value -= diagonal[d + k * q + i] * diagonal_out[d + k * q + j]
                diagonal_out[d + i * q + j] = value / diagonal[d + i * q + i]
        for i in range(q):
            for j in range(q - 1, -1, -1):
                value = diagonal_out[d + i * q + j]
                for k in range(j + 1, q):
                    value -= diagonal[d + k * q + j] * diagonal_out[d + i * q + k]
                diagonal_out[d + i * q + j] = value / diagonal[d + j * q + j]

        # -T^-T Y
        for a in range(n_touched):
            for i in range(q - 1, -1, -1):
                value = -rows_out[r + a * q + i]
                for k in range(i + 1, q):
                    value -= diagonal[d + k * q + i] * rows_out[r + a * q + k]
                rows_out[r + a * q + i] = value / diagonal[d + i * q + i]
