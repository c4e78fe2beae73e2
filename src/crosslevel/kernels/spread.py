"""Rows of eliminated levels that touch most of the dense part, as a dense matrix and back."""

import numba

from crosslevel.types import CodeArray, FloatArray, IntArray


@numba.njit(cache=True, nogil=True, error_model="numpy")
def spread_rows(
    first: IntArray,
    start: IntArray,
    column: CodeArray,
    row_start: IntArray,
    begin: int,
    end: int,
    rows: FloatArray,
    matrix_out: FloatArray,
) -> None:
    """Write the rows of nodes `begin` to `end` - 1 on the dense part into a zero matrix.

    Parameters
    ----------
    first, start, column, row_start : see `kernels.elimination`.
    begin, end : the nodes.
    rows : V.
    matrix_out : (columns of these nodes, D).
    """
    n_lead = first[len(row_start)]
    for n in range(begin, end):
        s, r, q = start[n], row_start[n], first[n + 1] - first[n]
        for a in range(start[n + 1] - s):
            target = column[s + a] - n_lead
            if target >= 0:
                for k in range(q):
                    matrix_out[first[n] - first[begin] + k, target] = rows[r + a * q + k]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def collect_rows(
    first: IntArray,
    start: IntArray,
    column: CodeArray,
    row_start: IntArray,
    begin: int,
    end: int,
    matrix: FloatArray,
    rows_out: FloatArray,
) -> None:
    """Read the rows of nodes `begin` to `end` - 1 from a matrix over the dense part, on the pattern.

    Parameters
    ----------
    first, start, column, row_start : see `kernels.elimination`.
    begin, end : the nodes.
    matrix : (columns of these nodes, D).
    rows_out : laid out as V.
    """
    n_lead = first[len(row_start)]
    for n in range(begin, end):
        s, r, q = start[n], row_start[n], first[n + 1] - first[n]
        for a in range(start[n + 1] - s):
            target = column[s + a] - n_lead
            if target >= 0:
                for k in range(q):
                    rows_out[r + a * q + k] = matrix[first[n] - first[begin] + k, target]
