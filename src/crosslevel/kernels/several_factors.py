"""Sums over the rows of a generalized linear mixed model whose rows lie in levels of several grouping factors.

A slot is one way in which rows belong to a factor: one per factor, several for multiple membership. It has the levels
`codes` (n,) of the rows, -1 for none, and columns z (q, n) of the random effects, as they are or times Lambda. Two
slots meet in the pairs of levels of their rows, whose blocks lie at `place` (n,), -1 for none: element (a, b) at
place + a step_k + b step_l. Where both slots are of the same factor, the block has the lower level first, whichever
slot that is.
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
    image_out : (J, q).
    """
    n, q = codes.shape[0], z.shape[0]
    for a in range(q):
        i = 0
        while i < n:  # neighbours of one level are summed first
            j = codes[i]
            total = 0.0
            while i < n and codes[i] == j:
                total += z[a, i] * value[i]
                i += 1
            if j >= 0:
                image_out[j, a] += total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def add_column_images(codes: CodeArray, z: FloatArray, begin: int, columns: FloatArray, image_out: FloatArray) -> None:
    """Add z_i c_i' to the levels of the rows from `begin` on.

    Parameters
    ----------
    codes, z : the slot, see the module.
    columns : (L, r) c of as many rows.
    image_out : (J, q, r).
    """
    q, r = z.shape[0], columns.shape[1]
    for i in range(begin, begin + columns.shape[0]):
        j = codes[i]
        if j < 0:
            continue
        for a in range(q):
            value = z[a, i]
            for c in range(r):
                image_out[j, a, c] += value * columns[i - begin, c]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def add_effect_columns(
    codes: CodeArray, z: FloatArray, begin: int, effects: FloatArray, columns_out: FloatArray
) -> None:
    """Add z_i'b_level(i) of several random effects b to columns of the rows from `begin` on.

    Parameters
    ----------
    codes, z : the slot, see the module.
    effects : (J, q, r) b.
    columns_out : (L, r), for as many rows.
    """
    q, r = z.shape[0], effects.shape[2]
    for i in range(begin, begin + columns_out.shape[0]):
        j = codes[i]
        if j < 0:
            continue
        for a in range(q):
            value = z[a, i]
            for c in range(r):
                columns_out[i - begin, c] += value * effects[j, a, c]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def add_squares(
    codes: CodeArray, z: FloatArray, value: FloatArray, base: int, step: int, stride: int, buffer_out: FloatArray
) -> None:
    """Add v_i z_i z_i' to the diagonal blocks of the rows' levels.

    Parameters
    ----------
    codes, z : the slot, see the module.
    value : (n,) v.
    base, step, stride : element (a, b) of level j lies at base + j step + a stride + b.
    buffer_out : flat; lower triangles are added to.
    """
    n, q = codes.shape[0], z.shape[0]
    for a in range(q):
        for b in range(a + 1):
            at, i = base + a * stride + b, 0
            while i < n:
                j = codes[i]
                total = 0.0
                while i < n and codes[i] == j:
                    total += z[a, i] * z[b, i] * value[i]
                    i += 1
                if j >= 0:
                    buffer_out[at + j * step] += total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def add_meetings(
    place: IntArray,
    left_codes: CodeArray,
    right_codes: CodeArray,
    same: bool,
    left: FloatArray,
    right: FloatArray,
    value: FloatArray,
    step_k: int,
    step_l: int,
    buffer_out: FloatArray,
) -> None:
    """Add v_i left_i right_i' to the blocks of the rows' pairs of levels.

    Parameters
    ----------
    place, step_k, step_l : where the blocks lie, see the module.
    left_codes, right_codes, left, right : codes and z of the two slots.
    same : whether they are of the same factor.
    value : (n,) v.
    buffer_out : flat.
    """
    q, r = left.shape[0], right.shape[0]
    for i in range(place.shape[0]):
        at = place[i]
        if at < 0:
            continue
        if q == 1 and r == 1:
            buffer_out[at] += left[0, i] * right[0, i] * value[i]
            continue
        turned = same and left_codes[i] > right_codes[i]
        for a in range(q):
            part = left[a, i] * value[i]
            for b in range(r):
                to = at + b * step_k + a * step_l if turned else at + a * step_k + b * step_l
                buffer_out[to] += part * right[b, i]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def reach_own(codes: CodeArray, z: FloatArray, blocks: FloatArray, reach_out: FloatArray) -> None:
    """[M^-1]_jj z_i for the rows' own levels j.

    Parameters
    ----------
    codes, z : the slot, see the module.
    blocks : (J, q, q) [M^-1]_jj.
    reach_out : (q, n), written.
    """
    q = z.shape[0]
    for i in range(codes.shape[0]):
        j = codes[i]
        if q == 1:
            reach_out[0, i] = blocks[j, 0, 0] * z[0, i] if j >= 0 else 0.0
            continue
        for a in range(q):
            value = 0.0
            if j >= 0:
                for b in range(q):
                    value += blocks[j, a, b] * z[b, i]
            reach_out[a, i] = value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def reach_across(
    place: IntArray,
    left_codes: CodeArray,
    right_codes: CodeArray,
    same: bool,
    left: FloatArray,
    right: FloatArray,
    step_k: int,
    step_l: int,
    inverse: FloatArray,
    left_out: FloatArray,
    right_out: FloatArray,
) -> None:
    """Add [M^-1]_jl right_i to the rows' left slots, and [M^-1]_lj left_i to their right ones.

    Parameters
    ----------
    place, step_k, step_l : where the blocks of pairs of levels lie, see the module.
    left_codes, right_codes, left, right : codes and z of the two slots.
    same : whether they are of the same factor.
    inverse : flat M^-1.
    left_out, right_out : (q, n), (r, n), added to.
    """
    q, r = left.shape[0], right.shape[0]
    for i in range(place.shape[0]):
        at = place[i]
        if at < 0:
            continue
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
