"""The Cholesky factor of M = I + Lambda'A Lambda with twice the digits of double precision.

Every number is the unevaluated sum of two doubles, the second at most half a unit in the last place of the first;
arrays have both as their last dimension. Sums, products and quotients are exact to about 1e-31. A product costs twenty
operations in place of one, so these kernels are for small models whose M is so ill-conditioned that doubles do not
leave the digits that are needed.

The layout is that of `kernels.elimination`, with the right-hand sides x (N r) carried along.

Source: Dekker (1971), Numer. Math. 18: 224-242; Knuth, The Art of Computer Programming 2, sec. 4.2.2 (the exact sum).
"""

import numba
import numpy as np

from crosslevel.types import CodeArray, FloatArray, IntArray

SPLITTER = 134217729.0
"""2^27 + 1: what a double is multiplied with to cut it into two halves."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def exact_sum(a: float, b: float) -> tuple[float, float]:
    """The sum of two doubles, and its rounding error."""
    total = a + b
    moved = total - a
    return total, (a - (total - moved)) + (b - moved)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def exact_product(a: float, b: float) -> tuple[float, float]:
    """The product of two doubles, and its rounding error."""
    product = a * b
    cut_a, cut_b = SPLITTER * a, SPLITTER * b
    high_a, high_b = cut_a - (cut_a - a), cut_b - (cut_b - b)
    low_a, low_b = a - high_a, b - high_b
    return product, ((high_a * high_b - product) + high_a * low_b + low_a * high_b) + low_a * low_b


@numba.njit(cache=True, nogil=True, error_model="numpy")
def add_product(high: float, low: float, a: float, a_low: float, b: float, b_low: float) -> tuple[float, float]:
    """Twofold high + a b."""
    product, error = exact_product(a, b)
    total, rest = exact_sum(high, product)
    rest += low + (error + (a * b_low + a_low * b))
    out = total + rest
    return out, rest - (out - total)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def subtract_product(
    out: FloatArray, place: int, share: float, left: FloatArray, i: int, right: FloatArray, k: int
) -> None:
    """Subtract share left[i] right[k] from out[place], all twofold but for share."""
    a, a_low = left[i, 0], left[i, 1]
    if share != 1.0:
        a, error = exact_product(share, a)
        a_low = share * a_low + error
    high, low = add_product(out[place, 0], out[place, 1], -a, -a_low, right[k, 0], right[k, 1])
    out[place, 0] = high
    out[place, 1] = low


@numba.njit(cache=True, nogil=True, error_model="numpy")
def divide(out: FloatArray, place: int, divisor: FloatArray, k: int) -> None:
    """Divide out[place] by divisor[k]."""
    quotient = out[place, 0] / divisor[k, 0]
    high, low = add_product(out[place, 0], out[place, 1], -quotient, 0.0, divisor[k, 0], divisor[k, 1])
    correction = (high + low) / divisor[k, 0]
    out[place, 0] = quotient + correction
    out[place, 1] = correction - (out[place, 0] - quotient)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def factorise_block(block_out: FloatArray, at: int, q: int) -> float:
    """Cholesky factor of a block (q, q) in place, lower triangle; its log-determinant, NaN if it has none."""
    log_det = 0.0
    for i in range(q):
        for j in range(i + 1):
            place = at + i * q + j
            for k in range(j):
                subtract_product(block_out, place, 1.0, block_out, at + i * q + k, block_out, at + j * q + k)
            if j < i:
                divide(block_out, place, block_out, at + j * q + j)
        value = block_out[place, 0]
        log_det += np.log(value)
        root = np.sqrt(value)
        high, low = add_product(value, block_out[place, 1], -root, 0.0, root, 0.0)
        correction = (high + low) / (2.0 * root)
        block_out[place, 0] = root + correction
        block_out[place, 1] = correction - (block_out[place, 0] - root)
    return log_det


@numba.njit(cache=True, nogil=True, error_model="numpy")
def solve_block(
    block: FloatArray, at: int, q: int, x_out: FloatArray, base: int, step: int, side_step: int, n_sides: int
) -> None:
    """L^-1 x in place, for a block's factor L; element (i, m) of x is at base + i step + m side_step."""
    for m in range(n_sides):
        for i in range(q):
            place = base + i * step + m * side_step
            for k in range(i):
                subtract_product(x_out, place, 1.0, block, at + i * q + k, x_out, base + k * step + m * side_step)
            divide(x_out, place, block, at + i * q + i)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def scale_blocks(
    block: FloatArray,
    left: FloatArray,
    right: FloatArray,
    place: IntArray,
    step: int,
    side_step: int,
    unit: float,
    out: FloatArray,
) -> None:
    """Write unit I + left' block right of all blocks to a buffer.

    Parameters
    ----------
    block : (m, a, b).
    left, right : (a, a), (b, b).
    place, step, side_step : element (i, c) of block e goes to place[e] + i step + c side_step.
    unit : 1 or 0.
    out : flat, twofold.
    """
    n_blocks, n_left, n_right = block.shape
    half = np.empty((n_left, n_right, 2))
    for e in range(n_blocks):
        for i in range(n_left):
            for c in range(n_right):
                high, low = 0.0, 0.0
                for m in range(n_right):
                    high, low = add_product(high, low, block[e, i, m], 0.0, right[m, c], 0.0)
                half[i, c, 0], half[i, c, 1] = high, low
        for i in range(n_left):
            for c in range(n_right):
                high, low = unit if i == c else 0.0, 0.0
                for m in range(n_left):
                    high, low = add_product(high, low, left[m, i], 0.0, half[m, c, 0], half[m, c, 1])
                at = place[e] + i * step + c * side_step
                out[at, 0], out[at, 1] = high, low


@numba.njit(cache=True, nogil=True, error_model="numpy")
def eliminate_twofold(
    first: IntArray,
    start: IntArray,
    column: CodeArray,
    row_start: IntArray,
    diagonal_start: IntArray,
    owner: CodeArray,
    weight: FloatArray,
    n_sides: int,
    diagonal_out: FloatArray,
    rows_out: FloatArray,
    dense_out: FloatArray,
    x_out: FloatArray,
) -> float:
    """Factorise M and solve L x in place.

    Parameters
    ----------
    first, start, column, row_start, diagonal_start, owner, weight : see `kernels.elimination`.
    n_sides : right-hand sides r.
    diagonal_out, rows_out : blocks of M, becoming T and V.
    dense_out : (D D) the dense part of M, lower triangle, becoming its Cholesky factor.
    x_out : (N r) right-hand sides.

    Returns
    -------
    Weighted log|M|; NaN if M is not positive definite.
    """
    n_nodes = len(weight)
    n_lead = first[n_nodes]
    n_dense = len(x_out) // max(n_sides, 1) - n_lead
    log_det = 0.0
    for n in range(n_nodes):
        f, q = first[n], first[n + 1] - first[n]
        d, r, s = diagonal_start[n], row_start[n], start[n]
        n_touched = start[n + 1] - s
        log_det += weight[n] * factorise_block(diagonal_out, d, q)
        solve_block(diagonal_out, d, q, rows_out, r, 1, q, n_touched)
        solve_block(diagonal_out, d, q, x_out, f * n_sides, n_sides, 1, n_sides)

        for a in range(n_touched):
            row = column[s + a]
            share = weight[n] if row >= n_lead else weight[n] / weight[owner[row]]
            for k in range(q):
                for m in range(n_sides):
                    subtract_product(
                        x_out, row * n_sides + m, share, rows_out, r + a * q + k, x_out, (f + k) * n_sides + m
                    )
            place = 0
            for b in range(n_touched):
                target = column[s + b]
                if row >= n_lead and target >= n_lead and b <= a:
                    at, buffer = (row - n_lead) * n_dense + target - n_lead, dense_out
                elif row < n_lead:
                    other = owner[row]
                    width, own = first[other + 1] - first[other], row - first[other]
                    if target <= row and target >= first[other]:
                        at, buffer = diagonal_start[other] + own * width + target - first[other], diagonal_out
                    elif target >= first[other + 1]:
                        while column[start[other] + place] != target:
                            place += 1
                        at, buffer = row_start[other] + place * width + own, rows_out
                    else:
                        continue
                else:
                    continue
                for k in range(q):
                    subtract_product(buffer, at, share, rows_out, r + a * q + k, rows_out, r + b * q + k)

    log_det += factorise_block(dense_out, 0, n_dense)
    solve_block(dense_out, 0, n_dense, x_out, n_lead * n_sides, n_sides, 1, n_sides)
    return log_det


@numba.njit(cache=True, nogil=True, error_model="numpy")
def subtract_inner(x: FloatArray, weight: FloatArray, gram: FloatArray, gram_out: FloatArray) -> None:
    """Write gram - x'W x.

    Parameters
    ----------
    x : (N r) twofold, r sides of N rows each.
    weight : (N,) W.
    gram, gram_out : (r, r), of ordinary doubles.
    """
    n_sides = len(gram)
    total = np.zeros((1, 2))
    for i in range(n_sides):
        for k in range(i + 1):
            total[0, 0], total[0, 1] = gram[i, k], 0.0
            for n in range(len(weight)):
                subtract_product(total, 0, weight[n], x, n * n_sides + i, x, n * n_sides + k)
            gram_out[i, k] = gram_out[k, i] = total[0, 0]
