"""Each group's cross-products reduced to the square root that every evaluation of the likelihood needs."""

import numba
import numpy as np

from crosslevel.types import BoolArray, FloatArray, IntArray

RANK_TOLERANCE = 1e-13
"""A pivot below this share of its column's own sum of squares is rounding error."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def reduce_groups(
    count: FloatArray,
    mean: FloatArray,
    scatter: FloatArray,
    multiplicity: FloatArray,
    z: IntArray,
    z_shift: FloatArray,
    intercept: int,
    x: IntArray,
    x_shift: FloatArray,
    inside: BoolArray,
    root_out: FloatArray,
    image_out: FloatArray,
    remainder_out: FloatArray,
) -> None:
    """Square roots of Z'Z and images of X by group; the rest of X'X in total.

    For each group R'R = Z'Z and R'c = Z'X, so that, with V = I + Z Psi Z' and H = I + R Psi R',
    X'V^-1 X = (X'X - c'c) + c'H^-1 c. The first part does not depend on Psi and is summed here; nothing is subtracted
    later. When Z has an intercept, its row of R is sqrt(n) times the means, and the others come from the scatter about
    the means, so that large means cost no accuracy.

    Parameters
    ----------
    count, mean, scatter : (J,), (J, m), (J, m, m) moments.
    multiplicity : (J,) how often each group counts in `remainder_out`.
    z, z_shift, intercept : (q,) columns of Z, what is subtracted from each, and which of them is constant 1 (-1: none).
    x, x_shift : (p,) columns of [X y], and what is subtracted from each.
    inside : (p,) whether the column lies in the span of Z within every group (its remainder is zero).
    root_out, image_out : (J, q, q) and (J, q, p), zeros on entry.
    remainder_out : (p, p) zeros on entry; the lower triangle is filled.
    """
    n_groups = count.shape[0]
    q, p = z.shape[0], x.shape[0]
    z_mean = np.empty(q)
    x_mean = np.empty(p)
    for g in range(n_groups):
        n = count[g]
        for i in range(q):
            z_mean[i] = mean[g, z[i]] - z_shift[i]
        for j in range(p):
            x_mean[j] = mean[g, x[j]] - x_shift[j]
        between = n
        if intercept >= 0:
            between = 0.0
            scale = np.sqrt(n)
            for i in range(q):
                root_out[g, intercept, i] = scale * z_mean[i]
            root_out[g, intercept, intercept] = scale
            for j in range(p):
                image_out[g, intercept, j] = scale * x_mean[j]

        # Cholesky of the other columns, row by row: R[k, i] for i >= k
        for k in range(q):
            if k == intercept:
                continue
            pivot = scatter[g, z[k], z[k]] + between * z_mean[k] * z_mean[k]
            smallest = RANK_TOLERANCE * pivot
            for r in range(k):
                if r != intercept:
                    pivot -= root_out[g, r, k] * root_out[g, r, k]
            if pivot <= smallest:
                continue
            diagonal = np.sqrt(pivot)
            root_out[g, k, k] = diagonal
            for i in range(k + 1, q):
                if i == intercept:
                    continue
                value = scatter[g, z[k], z[i]] + between * z_mean[k] * z_mean[i]
                for r in range(k):
                    if r != intercept:
                        value -= root_out[g, r, k] * root_out[g, r, i]
                root_out[g, k, i] = value / diagonal
            for j in range(p):
                value = scatter[g, z[k], x[j]] + between * z_mean[k] * x_mean[j]
                for r in range(k):
                    if r != intercept:
                        value -= root_out[g, r, k] * image_out[g, r, j]
                image_out[g, k, j] = value / diagonal

        # what Z does not explain
        weight = multiplicity[g]
        for a in range(p):
            if inside[a]:
                continue
            for b in range(a + 1):
                if inside[b]:
                    continue
                value = scatter[g, x[a], x[b]] + between * x_mean[a] * x_mean[b]
                for r in range(q):
                    if r != intercept:
                        value -= image_out[g, r, a] * image_out[g, r, b]
                remainder_out[a, b] += weight * value
