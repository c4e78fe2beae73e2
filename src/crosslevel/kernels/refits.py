"""Refits of a model with one grouping factor to many draws of its cross-products, without a step of Python between."""

import numba
import numpy as np

from crosslevel.kernels.refit import CONVERGED, MANY_STEPS, UNDEFINED, flatten, identified, minimise, turn_to_axes
from crosslevel.kernels.refit_point import evaluate
from crosslevel.kernels.small import add_direction, copy, product
from crosslevel.types import FloatArray, IntArray

UNIDENTIFIED = 4
"""Beside the ways in which a search can end: it was not begun, since coefficients are not identified."""

CHARTS = 8
"""How often a search goes on along the principal axes."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def search(
    start: FloatArray,
    rows: IntArray,
    columns: IntArray,
    block: IntArray,
    root: FloatArray,
    image: FloatArray,
    weight: FloatArray,
    remainder: FloatArray,
    nu: float,
    n_rows: float,
    restricted: bool,
    global_term: bool,
    tolerance: float,
    factor_out: FloatArray,
) -> tuple[int, float]:
    """Minimise from one Lambda, turning the effects to their principal axes whenever that takes long.

    Returns how it ended and the deviance; `factor_out` (q, q) is Lambda there. For the others see `refit.minimise`.
    """
    q = start.shape[0]
    factor, turn, back, direction = np.empty((q, q)), np.zeros((q, q)), np.empty((q, q)), np.empty(q)
    copy(start, factor)
    turned = root
    far, status, value = False, MANY_STEPS, np.inf
    for chart in range(CHARTS):
        status, value, _ = minimise(
            factor, rows, columns, block, turned, image, weight, remainder, nu, n_rows, restricted, global_term,
            chart == 0, tolerance,
        )  # fmt: skip
        if status != MANY_STEPS:
            break
        if not far:
            far, turned = True, root.copy()
            for k in range(q):
                turn[k, k] = 1.0
        turn_to_axes(factor, block, turned, turn)
    if not far:
        copy(factor, factor_out)
        return status, value
    product(turn, factor, back)
    for i in range(q):
        for k in range(q):
            factor_out[i, k] = 0.0
    for k in range(q):
        for i in range(q):
            direction[i] = back[i, k]
        add_direction(factor_out, block, direction)
    return status, value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def refit_draws(
    root: FloatArray,
    image: FloatArray,
    rows: IntArray,
    columns: IntArray,
    block: IntArray,
    starts: FloatArray,
    restricted: bool,
    global_limit: float,
    tolerance: float,
    intercept: int,
    multiplicity: FloatArray,
    response: FloatArray,
    remainder: FloatArray,
    n_rows: FloatArray,
    status_out: IntArray,
    value_out: FloatArray,
    factor_out: FloatArray,
    chol_out: FloatArray,
    contrast_out: FloatArray,
) -> None:
    """Fit one model to B draws.

    Parameters
    ----------
    root, image : (J, q, q), (J, q, p + 1) R and c of each group, of which the draws replace the last column.
    rows, columns, block : (k,) places of the elements of Lambda, (q,) the block of each effect.
    starts : (S, q, q) Lambdas to start from; the lowest minimum is kept.
    restricted, tolerance : see `refit.minimise`.
    global_limit : products up to which REML's term over pairs of groups enters the Hessian.
    intercept : position of the constant column of X, -1 if there is none.
    multiplicity : (B, J) how often each group counts; those that do not are left out.
    response : (B, J, q) c of the response.
    remainder : (B, p + 1, p + 1) outside of Z, of all groups together.
    n_rows : (B,) n of the likelihood.
    status_out, value_out : (B,) how each search ended, and the deviance less what does not depend on Lambda.
    factor_out : (B, q, q) Lambda.
    chol_out, contrast_out : (B, p + 1, p + 1), (B, p + 1) as in `refit_point.evaluate`.
    """
    n_groups, q, p1 = image.shape
    p = p1 - 1
    factor, best, flat = np.empty((q, q)), np.empty((q, q)), np.empty((q, q))
    start, rest = np.empty((q, q)), np.empty((p1, p1))
    chol, contrast = np.empty((p1, p1)), np.empty(p1)
    for draw in range(n_rows.shape[0]):
        # the groups that count
        used = 0
        for g in range(n_groups):
            used += multiplicity[draw, g] > 0.0
        own_root, own_image, weight = np.empty((used, q, q)), np.empty((used, q, p1)), np.empty(used)
        k = 0
        for g in range(n_groups):
            if multiplicity[draw, g] > 0.0:
                weight[k] = multiplicity[draw, g]
                for i in range(q):
                    for j in range(q):
                        own_root[k, i, j] = root[g, i, j]
                    for j in range(p):
                        own_image[k, i, j] = image[g, i, j]
                    own_image[k, i, p] = response[draw, g, i]
                k += 1
        for i in range(p1):
            for j in range(p1):
                rest[i, j] = remainder[draw, i, j]
        nu = n_rows[draw] - p if restricted else n_rows[draw]
        if used < n_groups and not identified(own_image, weight, rest, intercept):
            status_out[draw] = UNIDENTIFIED
            continue
        status_out[draw] = UNDEFINED
        if not nu > 0.0:
            continue

        # the lowest minimum, if its search converged
        global_term = float(used) * q * q * p * p <= global_limit
        least, lowest = np.inf, np.inf
        for s in range(starts.shape[0]):
            for i in range(q):
                for j in range(q):
                    start[i, j] = starts[s, i, j]
            status, value = search(
                start, rows, columns, block, own_root, own_image, weight, rest, nu, n_rows[draw], restricted,
                global_term, tolerance, factor,
            )  # fmt: skip
            least = min(least, value)
            if status == CONVERGED and value < lowest:
                lowest = value
                copy(factor, best)
        if not lowest <= least + tolerance:
            continue

        # negligible variances exactly zero where that costs nothing
        precision, cross = np.empty((used, q, q)), np.empty((used, q, p1))
        if flatten(best, block, flat):
            value = evaluate(flat, own_root, own_image, weight, rest, nu, restricted, precision, cross, chol, contrast)
            if value <= lowest + tolerance:
                copy(flat, best)
        value_out[draw] = evaluate(
            best, own_root, own_image, weight, rest, nu, restricted, precision, cross, chol, contrast
        )
        status_out[draw] = CONVERGED
        for i in range(q):
            for j in range(q):
                factor_out[draw, i, j] = best[i, j]
        for i in range(p1):
            contrast_out[draw, i] = contrast[i]
            for j in range(p1):
                chol_out[draw, i, j] = chol[i, j]
