"""Refits of a model with one grouping factor to many draws of its cross-products, without a step of Python between."""

import numba
import numpy as np

from crosslevel.kernels.refit import (
    CONVERGED,
    MANY_STEPS,
    UNDEFINED,
    flatten,
    identified,
    minimise,
    turn_to_axes,
)
from crosslevel.kernels.refit_point import derive, evaluate
from crosslevel.kernels.small import add_direction, copy, product
from crosslevel.kernels.steps import newton_step
from crosslevel.types import FloatArray, IntArray

UNIDENTIFIED = 4
"""Beside the ways in which a search can end: it was not begun, since coefficients are not identified."""

POLISH_STEPS, LAST_DIGIT, CLOSER = 12, 1e-22, 0.5
"""As in `solve.solution`."""

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
def polish(
    factor: FloatArray,
    rows: IntArray,
    columns: IntArray,
    block: IntArray,
    root: FloatArray,
    image: FloatArray,
    weight: FloatArray,
    remainder: FloatArray,
    nu: float,
    restricted: bool,
    global_term: bool,
    chol: FloatArray,
    contrast: FloatArray,
) -> float:
    """Newton steps from a minimum that the deviance is too flat to judge; see `solve.solution.polish`.

    Parameters
    ----------
    factor : (q, q) Lambda, changed as the last two arrays are; see `refit.minimise` and `refit_point.evaluate`.

    Returns
    -------
    The deviance there.
    """
    n, q, (n_groups, _, p1) = len(rows), factor.shape[0], image.shape
    precision, cross = np.empty((n_groups, q, q)), np.empty((n_groups, q, p1))
    score, p_sum, pp = np.empty((q, q)), np.empty((q, q)), np.empty((q, q, q, q))
    gradient, hessian, work, step = np.empty(n), np.empty((n, n)), np.empty((n, n)), np.empty(n)
    moved, best, before = np.empty((q, q)), np.empty((q, q)), np.inf
    copy(factor, moved)
    copy(factor, best)
    for _ in range(POLISH_STEPS + 1):
        evaluate(moved, root, image, weight, remainder, nu, restricted, precision, cross, chol, contrast)
        derive(
            moved, rows, columns, block, weight, precision, cross, chol, contrast, nu, restricted, global_term, score,
            p_sum, pp, gradient, hessian,
        )  # fmt: skip
        expected = newton_step(gradient, hessian, work, step)
        if not 0.0 <= expected < CLOSER * before:
            break
        copy(moved, best)
        before = expected
        if not expected > LAST_DIGIT:
            break
        for a in range(n):
            moved[rows[a], columns[a]] += step[a]
    copy(best, factor)
    return evaluate(factor, root, image, weight, remainder, nu, restricted, precision, cross, chol, contrast)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def lowest_minimum(
    root: FloatArray,
    image: FloatArray,
    weight: FloatArray,
    remainder: FloatArray,
    rows: IntArray,
    columns: IntArray,
    block: IntArray,
    starts: FloatArray,
    restricted: bool,
    global_limit: float,
    tolerance: float,
    nu: float,
    n_rows: float,
    used: int,
    value_out: FloatArray,
    factor_out: FloatArray,
    chol_out: FloatArray,
    contrast_out: FloatArray,
) -> int:
    """Fit one model to one set of groups: the lowest of the minima that searches from all starts end in.

    Parameters
    ----------
    root, image, weight, remainder : see `refit_point.evaluate`.
    rows, columns, block, starts, restricted, global_limit, tolerance : see `refit_draws`.
    nu, n_rows, used : degrees of freedom, n of the likelihood, groups that count.
    value_out, factor_out, chol_out, contrast_out : (1,), (q, q), (p + 1, p + 1), (p + 1,), filled if it converged.
    """
    n_groups, q, p1 = image.shape
    p = p1 - 1
    factor, best, flat, start = np.empty((q, q)), np.empty((q, q)), np.empty((q, q)), np.empty((q, q))

    # the lowest minimum, if its search converged
    global_term = float(used) * q * q * p * p <= global_limit
    least, lowest = np.inf, np.inf
    for s in range(starts.shape[0]):
        copy(starts[s], start)
        status, value = search(
            start, rows, columns, block, root, image, weight, remainder, nu, n_rows, restricted, global_term,
            tolerance, factor,
        )  # fmt: skip
        least = min(least, value)
        if status == CONVERGED and value < lowest:
            lowest = value
            copy(factor, best)
    if not lowest <= least + tolerance:
        return UNDEFINED

    # negligible variances exactly zero where that costs nothing
    precision, cross = np.empty((n_groups, q, q)), np.empty((n_groups, q, p1))
    chol, contrast = np.empty((p1, p1)), np.empty(p1)
    if flatten(best, block, flat):
        value = evaluate(flat, root, image, weight, remainder, nu, restricted, precision, cross, chol, contrast)
        if value <= lowest + tolerance:
            copy(flat, best)
    value_out[0] = evaluate(best, root, image, weight, remainder, nu, restricted, precision, cross, chol, contrast)
    copy(best, factor_out)
    copy(chol, chol_out)
    for i in range(p1):
        contrast_out[i] = contrast[i]
    return CONVERGED


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
    rest = np.empty((p1, p1))
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

        status_out[draw] = lowest_minimum(
            own_root, own_image, weight, rest, rows, columns, block, starts, restricted, global_limit, tolerance, nu,
            n_rows[draw], used, value_out[draw : draw + 1], factor_out[draw], chol_out[draw], contrast_out[draw],
        )  # fmt: skip


@numba.njit(cache=True, nogil=True, error_model="numpy")
def refit_without(
    root: FloatArray,
    image: FloatArray,
    multiplicity: FloatArray,
    rows: IntArray,
    columns: IntArray,
    block: IntArray,
    starts: FloatArray,
    restricted: bool,
    global_limit: float,
    tolerance: float,
    intercept: int,
    first: IntArray,
    group: IntArray,
    new_root: FloatArray,
    new_image: FloatArray,
    new_multiplicity: FloatArray,
    remainder: FloatArray,
    n_rows: FloatArray,
    status_out: IntArray,
    value_out: FloatArray,
    factor_out: FloatArray,
    chol_out: FloatArray,
    contrast_out: FloatArray,
) -> None:
    """Fit one model D times without some of its rows, which belong to few groups.

    Parameters
    ----------
    root, image, multiplicity : (J, q, q), (J, q, p + 1), (J,) R, c of each group, and how often it counts.
    rows, columns, block, starts, restricted, global_limit, tolerance, intercept : see `refit_draws`.
    first : (D + 1,) the groups that change in refit d are those at first[d] .. first[d + 1] of the next four.
    group : (m,) which group changes.
    new_root, new_image, new_multiplicity : (m, q, q), (m, q, p + 1), (m,) what it becomes; it counts 0 times if all of
        its rows are left out.
    remainder, n_rows : (D, p + 1, p + 1), (D,) of the other rows.
    status_out, value_out, factor_out, chol_out, contrast_out : see `refit_draws`.
    """
    n_groups, q, p1 = image.shape
    own_root, own_image, weight = root.copy(), image.copy(), multiplicity.copy()
    rest = np.empty((p1, p1))
    for d in range(len(n_rows)):
        used = 0
        for k in range(first[d], first[d + 1]):
            copy(new_root[k], own_root[group[k]])
            copy(new_image[k], own_image[group[k]])
            weight[group[k]] = new_multiplicity[k]
        for g in range(n_groups):
            used += weight[g] > 0.0
        copy(remainder[d], rest)
        nu = n_rows[d] - (p1 - 1) if restricted else n_rows[d]
        if not identified(own_image, weight, rest, intercept):
            status_out[d] = UNIDENTIFIED
        elif not nu > 0.0:
            status_out[d] = UNDEFINED
        else:
            status_out[d] = lowest_minimum(
                own_root, own_image, weight, rest, rows, columns, block, starts, restricted, global_limit, tolerance,
                nu, n_rows[d], used, value_out[d : d + 1], factor_out[d], chol_out[d], contrast_out[d],
            )  # fmt: skip
            if status_out[d] == CONVERGED:
                global_term = float(used) * q * q * (p1 - 1) * (p1 - 1) <= global_limit
                value_out[d] = polish(
                    factor_out[d], rows, columns, block, own_root, own_image, weight, rest, nu, restricted,
                    global_term, chol_out[d], contrast_out[d],
                )  # fmt: skip
        for k in range(first[d], first[d + 1]):
            copy(root[group[k]], own_root[group[k]])
            copy(image[group[k]], own_image[group[k]])
            weight[group[k]] = multiplicity[group[k]]
