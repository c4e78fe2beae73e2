"""Counts, means and centred scatter matrices by group, in one pass over blocks of rows."""

import numba
import numpy as np

from crosslevel.types import CodeArray, FloatArray, IntArray

RUN = 512
"""Rows centred at a time: a run of equal codes longer than this is split."""


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def accumulate(
    block: FloatArray,
    codes: CodeArray,
    origin: FloatArray,
    count_out: FloatArray,
    mean_out: FloatArray,
    scatter_out: FloatArray,
) -> None:
    """Add rows to the moments of their groups.

    With d = x - origin, group g holds n_g, mean_g = sum d / n_g and the lower triangle of
    S_g = sum (d - mean_g)(d - mean_g)'. Parts are merged by Chan, Golub & LeVeque (1983), so that nothing is
    ever the difference of two large sums.

    Parameters
    ----------
    block : (m, L) one row per column of the data.
    codes : (L,) group of each row of the data, 0 .. J - 1.
    origin : (m,) a point near the data.
    count_out, mean_out, scatter_out : (J,), (J, m), (J, m, m) moments, updated.
    """
    m, n_rows = block.shape
    centred = np.empty((m, RUN))
    run_mean = np.empty(m)
    start = 0
    while start < n_rows:
        g = codes[start]
        stop = start + 1
        while stop < n_rows and codes[stop] == g and stop - start < RUN:
            stop += 1
        length = stop - start

        # centre the run
        for a in range(m):
            total = 0.0
            row = block[a, start:stop]  # an index that might be negative would be gathered, not loaded
            for i in range(length):
                d = row[i] - origin[a]
                centred[a, i] = d
                total += d
            average = total / length
            run_mean[a] = average
            for i in range(length):
                centred[a, i] -= average

        # add its scatter, and the scatter between its mean and the group's
        before = count_out[g]
        weight = before * length / (before + length)
        for a in range(m):
            shift = run_mean[a] - mean_out[g, a]
            for b in range(a + 1):
                total = 0.0
                for i in range(length):
                    total += centred[a, i] * centred[b, i]
                scatter_out[g, a, b] += total + weight * shift * (run_mean[b] - mean_out[g, b])
        for a in range(m):
            mean_out[g, a] += (run_mean[a] - mean_out[g, a]) * (length / (before + length))
        count_out[g] = before + length
        start = stop


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def accumulate_weighted(
    block: FloatArray,
    codes: CodeArray,
    weights: FloatArray,
    origin: FloatArray,
    count_out: FloatArray,
    mean_out: FloatArray,
    scatter_out: FloatArray,
) -> None:
    """Add rows that weigh differently to the moments of their groups.

    As `accumulate`, with n_g = sum w, mean_g = sum w d / n_g and S_g = sum w (d - mean_g)(d - mean_g)'. A kernel of its
    own, so that rows without weights pay nothing for them.

    Parameters
    ----------
    block : (m, L) one row per column of the data.
    codes : (L,) group of each row of the data, 0 .. J - 1.
    weights : (L,) positive.
    origin : (m,) a point near the data.
    count_out, mean_out, scatter_out : (J,), (J, m), (J, m, m) moments, updated.
    """
    m, n_rows = block.shape
    centred = np.empty((m, RUN))
    scaled = np.empty(RUN)
    run_mean = np.empty(m)
    start = 0
    while start < n_rows:
        g = codes[start]
        stop = start + 1
        while stop < n_rows and codes[stop] == g and stop - start < RUN:
            stop += 1
        length = stop - start
        w = weights[start:stop]
        amount = 0.0
        for i in range(length):
            amount += w[i]

        # centre the run
        for a in range(m):
            total = 0.0
            row = block[a, start:stop]
            for i in range(length):
                d = row[i] - origin[a]
                centred[a, i] = d
                total += w[i] * d
            average = total / amount
            run_mean[a] = average
            for i in range(length):
                centred[a, i] -= average

        # add its scatter, and the scatter between its mean and the group's
        before = count_out[g]
        both = before + amount
        for a in range(m):
            for i in range(length):
                scaled[i] = w[i] * centred[a, i]
            shift = run_mean[a] - mean_out[g, a]
            for b in range(a + 1):
                total = 0.0
                for i in range(length):
                    total += scaled[i] * centred[b, i]
                scatter_out[g, a, b] += total + before * amount / both * shift * (run_mean[b] - mean_out[g, b])
        for a in range(m):
            mean_out[g, a] += (run_mean[a] - mean_out[g, a]) * (amount / both)
        count_out[g] = both
        start = stop


@numba.njit(cache=True, nogil=True, error_model="numpy")
def order_by_code(codes: CodeArray, place: IntArray, order_out: IntArray) -> None:
    """Order that sorts rows by code and keeps equal codes as they stand: a counting sort.

    Parameters
    ----------
    codes : (L,) 0 .. K - 1.
    place : (K + 1,) zeros; used as scratch.
    order_out : (L,) positions of the rows, by code.
    """
    for i in range(codes.shape[0]):
        place[codes[i] + 1] += 1
    for k in range(place.shape[0] - 1):
        place[k + 1] += place[k]
    for i in range(codes.shape[0]):
        order_out[place[codes[i]]] = i
        place[codes[i]] += 1


@numba.njit(cache=True, nogil=True, error_model="numpy")
def mirror(matrices_out: FloatArray) -> None:
    """Copy the lower triangle of each matrix (J, m, m) to its upper one."""
    m = matrices_out.shape[1]
    for g in range(matrices_out.shape[0]):
        for a in range(m):
            for b in range(a):
                matrices_out[g, b, a] = matrices_out[g, a, b]
