"""Sums over pairs of levels that share rows, from the blocks A_jl = Z_j'Z_l of two factors k and l.

A matrix on the pattern of the pairs lies in a flat buffer: element (i, c) of the block of pair e is at
place[e] + i step_k + c step_l. `weight_k` and `weight_l` say how often each level counts; a pair counts as often as its
level that is eliminated first, which is that of factor l where `swapped`.
"""

import numba
import numpy as np

from crosslevel.types import CodeArray, FloatArray, IntArray


@numba.njit(cache=True, nogil=True, error_model="numpy")
def scale_diagonal(
    diagonal: FloatArray, factor: FloatArray, base: int, step: int, stride: int, buffer_out: FloatArray
) -> None:
    """I + Lambda'A_jj Lambda of all levels, written to a buffer.

    Parameters
    ----------
    diagonal : (J, q, q) A_jj.
    factor : (q, q) Lambda.
    base, step, stride : element (i, c) of level j goes to base + j step + i stride + c.
    buffer_out : flat; the lower triangles are written.
    """
    n_levels, q = diagonal.shape[0], diagonal.shape[1]
    half = np.empty((q, q))
    for j in range(n_levels):
        for i in range(q):
            for c in range(q):
                value = 0.0
                for k in range(q):
                    value += diagonal[j, i, k] * factor[k, c]
                half[i, c] = value
        for i in range(q):
            for c in range(i + 1):
                value = 1.0 if i == c else 0.0
                for k in range(q):
                    value += factor[k, i] * half[k, c]
                buffer_out[base + j * step + i * stride + c] = value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def scale_pairs(
    block: FloatArray,
    factor_k: FloatArray,
    factor_l: FloatArray,
    place: IntArray,
    step_k: int,
    step_l: int,
    buffer_out: FloatArray,
) -> None:
    """Lambda_k'A_jl Lambda_l of all pairs, written to a buffer.

    Parameters
    ----------
    block : (m, q_k, q_l) A_jl.
    factor_k, factor_l : (q_k, q_k), (q_l, q_l) Lambda.
    place, step_k, step_l : where; see the module.
    buffer_out : flat.
    """
    n_pairs, qk, ql = block.shape
    half = np.empty((qk, ql))
    for e in range(n_pairs):
        for i in range(qk):
            for c in range(ql):
                value = 0.0
                for m in range(ql):
                    value += block[e, i, m] * factor_l[m, c]
                half[i, c] = value
        for i in range(qk):
            for c in range(ql):
                value = 0.0
                for m in range(qk):
                    value += factor_k[m, i] * half[m, c]
                buffer_out[place[e] + i * step_k + c * step_l] = value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def multiply_pairs(
    start: IntArray,
    level: CodeArray,
    block: FloatArray,
    weight_k: FloatArray,
    weight_l: FloatArray,
    swapped: bool,
    x_k: FloatArray,
    x_l: FloatArray,
    out_k: FloatArray,
    out_l: FloatArray,
) -> None:
    """Add A x_l to out_k and A'x_k to out_l.

    Parameters
    ----------
    start, level, block : the pairs, see `design.crossing.Pairs`.
    weight_k, weight_l, swapped : see the module; each level's sum is that of one copy of it.
    x_k, x_l : (J_k, q_k, r_k), (J_l, q_l, r_l).
    out_k, out_l : (J_k, q_k, r_l), (J_l, q_l, r_k).
    """
    qk, ql = block.shape[1], block.shape[2]
    for j in range(len(start) - 1):
        for e in range(start[j], start[j + 1]):
            m = level[e]
            share_k = weight_l[m] / weight_k[j] if swapped else 1.0
            share_l = 1.0 if swapped else weight_k[j] / weight_l[m]
            for i in range(qk):
                for c in range(ql):
                    value = block[e, i, c]
                    for r in range(x_l.shape[2]):
                        out_k[j, i, r] += share_k * value * x_l[m, c, r]
                    for r in range(x_k.shape[2]):
                        out_l[m, c, r] += share_l * value * x_k[j, i, r]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def pair_scores(
    start: IntArray,
    level: CodeArray,
    block: FloatArray,
    weight_k: FloatArray,
    weight_l: FloatArray,
    swapped: bool,
    place: IntArray,
    step_k: int,
    step_l: int,
    inverse: FloatArray,
    factor_k: FloatArray,
    factor_l: FloatArray,
    out_k: FloatArray,
    out_l: FloatArray,
) -> None:
    """Add sums over pairs of A_jl Lambda_l [M^-1]_lj to out_k, and of A_jl' Lambda_k [M^-1]_jl to out_l.

    Parameters
    ----------
    start, level, block : the pairs, see `design.crossing.Pairs`.
    weight_k, weight_l, swapped, place, step_k, step_l : see the module.
    inverse : buffer with M^-1.
    factor_k, factor_l : (q_k, q_k), (q_l, q_l) Lambda.
    out_k, out_l : (q_k, q_k), (q_l, q_l).
    """
    qk, ql = block.shape[1], block.shape[2]
    if qk == 1 and ql == 1:
        total = 0.0
        for j in range(len(start) - 1):
            for e in range(start[j], start[j + 1]):
                weight = weight_l[level[e]] if swapped else weight_k[j]
                total += weight * block[e, 0, 0] * inverse[place[e]]
        out_k[0, 0] += total * factor_l[0, 0]
        out_l[0, 0] += total * factor_k[0, 0]
        return
    half = np.empty(max(qk, ql))
    for j in range(len(start) - 1):
        for e in range(start[j], start[j + 1]):
            weight = weight_l[level[e]] if swapped else weight_k[j]
            at = place[e]
            for i in range(qk):
                for c in range(ql):
                    value = 0.0
                    for m in range(ql):
                        value += block[e, i, m] * factor_l[m, c]
                    half[c] = weight * value
                for m in range(qk):
                    value = 0.0
                    for c in range(ql):
                        value += half[c] * inverse[at + m * step_k + c * step_l]
                    out_k[i, m] += value
            for c in range(ql):
                for i in range(qk):
                    value = 0.0
                    for m in range(qk):
                        value += block[e, m, c] * factor_k[m, i]
                    half[i] = weight * value
                for m in range(ql):
                    value = 0.0
                    for i in range(qk):
                        value += half[i] * inverse[at + i * step_k + m * step_l]
                    out_l[c, m] += value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def pair_gradients(
    start: IntArray,
    level: CodeArray,
    weight_k: FloatArray,
    weight_l: FloatArray,
    swapped: bool,
    place: IntArray,
    step_k: int,
    step_l: int,
    inverse: FloatArray,
    factor_k: FloatArray,
    factor_l: FloatArray,
    x_k: FloatArray,
    x_l: FloatArray,
    block_out: FloatArray,
) -> None:
    """2 weight (Lambda_k [M^-1]_jl Lambda_l' + x_j x_l') of all pairs.

    Parameters
    ----------
    start, level : the pairs, see `design.crossing.Pairs`.
    weight_k, weight_l, swapped, place, step_k, step_l : see the module.
    inverse : buffer with M^-1.
    factor_k, factor_l : (q_k, q_k), (q_l, q_l) Lambda.
    x_k, x_l : (J_k, q_k, r), (J_l, q_l, r).
    block_out : (m, q_k, q_l).
    """
    qk, ql = block_out.shape[1], block_out.shape[2]
    half = np.empty((qk, ql))
    for j in range(len(start) - 1):
        for e in range(start[j], start[j + 1]):
            weight = weight_l[level[e]] if swapped else weight_k[j]
            for i in range(qk):
                for c in range(ql):
                    value = 0.0
                    for m in range(qk):
                        value += factor_k[i, m] * inverse[place[e] + m * step_k + c * step_l]
                    half[i, c] = value
            for i in range(qk):
                for c in range(ql):
                    value = 0.0
                    for m in range(ql):
                        value += half[i, m] * factor_l[c, m]
                    for r in range(x_k.shape[2]):
                        value += x_k[j, i, r] * x_l[level[e], c, r]
                    block_out[e, i, c] = 2.0 * weight * value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def gather_blocks(buffer: FloatArray, base: int, step: int, stride: int, block_out: FloatArray) -> None:
    """Symmetric blocks (J, q, q) whose lower triangles lie in a buffer at base + j step + i stride + c."""
    n_levels, q = block_out.shape[0], block_out.shape[1]
    for j in range(n_levels):
        for i in range(q):
            for c in range(i + 1):
                value = buffer[base + j * step + i * stride + c]
                block_out[j, i, c] = value
                block_out[j, c, i] = value
