"""Which levels of two factors share rows, and sums over the rows of a level or of a pair of levels."""

import numba
import numpy as np

from crosslevel.types import CodeArray, FloatArray, IntArray


def pair_index(
    first: CodeArray, second: CodeArray, n_first: int, n_second: int
) -> tuple[IntArray, CodeArray, CodeArray]:
    """Pairs of levels that share rows, compressed by the first, and the pair of each row, in time linear in the rows.

    Parameters
    ----------
    first, second : (n,) codes, n below 2^31; a row with a negative one is not used.
    n_first, n_second : numbers of levels.

    Returns
    -------
    start : (n_first + 1,) where the pairs of each first level begin.
    level : (m,) second level of each pair, ascending within a first level.
    index : (n,) pair of each row, -1 where it is not used.
    """
    start, place = np.zeros(n_first + 1, dtype=np.int64), np.zeros(n_second + 1, dtype=np.int64)
    rows, order, index = (np.empty(len(first), dtype=np.int32) for _ in range(3))
    n_used = sort_pairs(first, second, start, place, rows, order)
    level = rows  # is no longer needed as scratch
    n_pairs = number_pairs(second, order, n_used, start, level, index)
    return start, level[:n_pairs].copy(), index


@numba.njit(cache=True, nogil=True, error_model="numpy")
def sort_pairs(
    first: CodeArray,
    second: CodeArray,
    end_out: IntArray,
    place: IntArray,
    rows: CodeArray,
    order_out: CodeArray,
) -> int:
    """Order of the rows by first and then by second code: two counting sorts, of which the later keeps the order.

    Parameters
    ----------
    first, second : (n,) codes; rows with a negative one are left out.
    end_out : (n_first + 1,) zeros; `end_out[a]` becomes the place after the last row of first level a.
    place, rows : (n_second + 1,) zeros and (n,); used as scratch.
    order_out : (n,) positions of the rows in order, as many as are used.

    Returns
    -------
    Number of rows used.
    """
    n_used = 0
    for i in range(first.shape[0]):
        a, b = first[i], second[i]
        if a >= 0 and b >= 0:
            n_used += 1
            end_out[a + 1] += 1
            place[b + 1] += 1
    for a in range(end_out.shape[0] - 1):
        end_out[a + 1] += end_out[a]
    for b in range(place.shape[0] - 1):
        place[b + 1] += place[b]
    for i in range(first.shape[0]):
        b = second[i]
        if b >= 0 and first[i] >= 0:
            rows[place[b]] = i
            place[b] += 1
    for k in range(n_used):
        i = rows[k]
        a = first[i]
        order_out[end_out[a]] = i
        end_out[a] += 1
    return n_used


@numba.njit(cache=True, nogil=True, error_model="numpy")
def number_pairs(
    second: CodeArray,
    order: CodeArray,
    n_used: int,
    start_out: IntArray,
    level_out: CodeArray,
    index_out: CodeArray,
) -> int:
    """Number the pairs of rows that are in order.

    Parameters
    ----------
    second, order, n_used : see `sort_pairs`.
    start_out : (n_first + 1,) where the rows of each first level end; becomes where its pairs begin.
    level_out : (n,) second level of each pair, as many as there are pairs.
    index_out : (n,) pair of each row, -1 where it is not used.

    Returns
    -------
    Number of pairs.
    """
    for i in range(index_out.shape[0]):
        index_out[i] = -1
    n_pairs, k = 0, 0
    for a in range(start_out.shape[0] - 1):
        end = start_out[a]
        start_out[a] = n_pairs
        previous = -1
        while k < end:
            i = order[k]
            b = second[i]
            if b != previous:
                level_out[n_pairs] = b
                n_pairs += 1
                previous = b
            index_out[i] = n_pairs - 1
            k += 1
    start_out[start_out.shape[0] - 1] = n_pairs
    return n_pairs


@numba.njit(cache=True, nogil=True, error_model="numpy")
def add_blocks(left: FloatArray, right: FloatArray, index: CodeArray, blocks_out: FloatArray) -> None:
    """Add the rows' products left_i right_i' to the blocks of their pairs, or of their levels.

    Parameters
    ----------
    left, right : (q, L), (r, L) one row per column of the data.
    index : (L,) block of each row of the data; negative where it is not used.
    blocks_out : (m, q, r), added to.
    """
    q, r = left.shape[0], right.shape[0]
    for i in range(index.shape[0]):
        k = index[i]
        if k < 0:
            continue
        for a in range(q):
            value = left[a, i]
            for b in range(r):
                blocks_out[k, a, b] += value * right[b, i]


add_levels = add_blocks
"""The same for levels: left (q, L), right (r, L), codes (L,), out (J, q, r)."""
