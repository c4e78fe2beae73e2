"""Sums over the rows of a generalized linear mixed model whose rows lie in levels of several grouping factors.

A slot is one way in which rows belong to a factor: one per factor, several for multiple membership. It has the levels
`codes` (n,) of the rows, -1 for none, and the columns z (q, n) of the random effects.
"""

import numba

from crosslevel.types import CodeArray, FloatArray, IntArray


@numba.njit(cache=True, nogil=True, error_model="numpy")
def add_effects(codes: CodeArray, z: FloatArray, b: FloatArray, eta_out: FloatArray) -> None:
    """Add z_i'b_level(i) to the rows' linear predictors.

    Parameters
    ----------
    codes, z : the slot, see the module.
    b : (J, q).
    eta_out : (n,).
    """
    q = z.shape[0]
    for i in range(codes.shape[0]):
        j = codes[i]
        if j < 0:
            continue
        if q == 1:
            eta_out[i] += z[0, i] * b[j, 0]
        else:
            value = 0.0
            for a in range(q):
                value += z[a, i] * b[j, a]
            eta_out[i] += value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def add_images(codes: CodeArray, z: FloatArray, value: FloatArray, image_out: FloatArray) -> None:
    """Add z_i v_i to the rows' levels.

    Parameters
    ----------
    codes, z : the slot, see the module.
    value : (n,) v.
    image_out : (J, q, 1).
    """
    q = z.shape[0]
    for i in range(codes.shape[0]):
        j = codes[i]
        if j < 0:
            continue
        for a in range(q):
            image_out[j, a, 0] += z[a, i] * value[i]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def add_products(
    left: FloatArray, right: FloatArray, value: FloatArray, index: CodeArray, blocks_out: FloatArray
) -> None:
    """Add v_i left_i right_i' to the blocks of the rows' levels, or of their pairs of levels.

    Parameters
    ----------
    left, right : (q, n), (r, n).
    value : (n,) v.
    index : (n,) block of each row; negative where it is not used.
    blocks_out : (m, q, r).
    """
    q, r = left.shape[0], right.shape[0]
    for i in range(index.shape[0]):
        k = index[i]
        if k < 0:
            continue
        if q == 1 and r == 1:
            blocks_out[k, 0, 0] += left[0, i] * right[0, i] * value[i]
        else:
            for a in range(q):
                part = left[a, i] * value[i]
                for b in range(r):
                    blocks_out[k, a, b] += part * right[b, i]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def reach_own(codes: CodeArray, z: FloatArray, blocks: FloatArray, reach_out: FloatArray) -> None:
    """[M^-1]_jj z_i for the rows' own levels j.

    Parameters
    ----------
    codes : (n,) levels, -1 for none.
    z : (q, n) columns times Lambda.
    blocks : (J, q, q) [M^-1]_jj.
    reach_out : (q, n), written.
    """
    q = z.shape[0]
    for i in range(codes.shape[0]):
        j = codes[i]
        for a in range(q):
            value = 0.0
            if j >= 0:
                for b in range(q):
                    value += blocks[j, a, b] * z[b, i]
            reach_out[a, i] = value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def reach_across(
    index: CodeArray,
    left_codes: CodeArray,
    right_codes: CodeArray,
    same: bool,
    inverse: FloatArray,
    place: IntArray,
    step_k: int,
    step_l: int,
    left: FloatArray,
    right: FloatArray,
    left_out: FloatArray,
    right_out: FloatArray,
) -> None:
    """Add [M^-1]_jl right_i to the rows' left slots, and [M^-1]_lj left_i to their right ones.

    Parameters
    ----------
    index : (n,) pair of levels (j, l) of each row; negative where it has none.
    left_codes, right_codes : (n,) levels of the two slots.
    same : whether both slots are of one factor; then the pair has the lower level first, whichever slot that is.
    inverse, place, step_k, step_l : element (a, b) of the block of pair e lies at place[e] + a step_k + b step_l.
    left, right : (q, n), (r, n) columns times Lambda.
    left_out, right_out : (q, n), (r, n), added to.
    """
    q, r = left.shape[0], right.shape[0]
    for i in range(index.shape[0]):
        e = index[i]
        if e < 0:
            continue
        at = place[e]
        if q == 1 and r == 1:
            value = inverse[at]
            left_out[0, i] += value * right[0, i]
            right_out[0, i] += value * left[0, i]
            continue
        turned = same and left_codes[i] > right_codes[i]
        for a in range(q):
            for b in range(r):
                value = inverse[at + b * step_k + a * step_l] if turned else inverse[at + a * step_k + b * step_l]
                left_out[a, i] += value * right[b, i]
                right_out[b, i] += value * left[a, i]
