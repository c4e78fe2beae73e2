"""Whole searches for the optimum of models with one grouping factor, compiled: many refits without a step of Python.

The search is that of `optimise.minimise` and `likelihood.boundary`, for random effects whose Lambda has free elements:
blocks that are unstructured or diagonal.
"""

import numba
import numpy as np

from crosslevel.kernels.refit_point import derive, evaluate, inform
from crosslevel.kernels.small import add_direction, copy, descending, product, square, symmetric_eigen
from crosslevel.kernels.steps import damped_step, newton_step, scoring_step
from crosslevel.types import FloatArray, IntArray

CONVERGED, STALLED, MANY_STEPS, UNDEFINED = 0, 1, 2, 3
"""How a search ended: at a minimum; where no step helps; after `CHART_STEPS`; not begun, at no finite deviance."""

CHART_STEPS = 25
"""Steps after which the search stops, to go on along the principal axes."""

MOST_DAMPING, ROUNDING, SMALL_DECREASE, ENOUGH, SMALL_DAMPING, TIMID = 1e12, 1e-13, 1e-6, 0.0125, 0.02, 1.5
"""As in `optimise`."""

NEGLIGIBLE, TRIALS, STEEPEST = 1e-8, 20, 12
"""A variance that counts as none; shorter and shorter steps off the boundary, and directions that are tried."""

ALIASED, CONSTANT = 1e-11, 1e-13
"""Share of a column's sum of squares that other columns leave if they determine it, and that the mean leaves."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def leave_boundary(
    factor: FloatArray,
    block: IntArray,
    root: FloatArray,
    image: FloatArray,
    weight: FloatArray,
    remainder: FloatArray,
    nu: float,
    n_rows: float,
    restricted: bool,
    score: FloatArray,
    p_sum: FloatArray,
    pp: FloatArray,
    deviance: float,
    tolerance: float,
    precision: FloatArray,
    cross: FloatArray,
    chol: FloatArray,
    contrast: FloatArray,
) -> float:
    """A lower point with variance added where the deviance falls with it: its deviance, or NaN if there is none.

    `factor` is changed to it, and the last four arrays are those there; else all but `factor` are spoilt.
    """
    q = factor.shape[0]
    size, vectors, scaled = np.empty(q), np.empty((q, q)), np.empty((q, q))
    for i in range(q):
        size[i] = np.sqrt(max(p_sum[i, i], 1e-300))
    for i in range(q):
        for j in range(q):
            scaled[i, j] = score[i, j] / (size[i] * size[j])
    symmetric_eigen(scaled, vectors)
    gains, amounts, directions = np.zeros(q), np.zeros(q), np.zeros((q, q))
    order = np.empty(q, dtype=np.int64)
    for i in range(q):
        gains[i] = -scaled[i, i]
    descending(gains, order)
    for rank in range(q):
        k = order[rank]
        gains[k] = 0.0
        if rank >= STEEPEST or not scaled[k, k] < 0.0:
            continue
        for i in range(q):
            directions[k, i] = vectors[i, k] / size[i]
        slope, trace, information = 0.0, 0.0, 0.0
        for i in range(q):
            for j in range(q):
                both = directions[k, i] * directions[k, j]
                slope += both * score[i, j]
                trace += both * p_sum[i, j]
                for m in range(q):
                    for r in range(q):
                        information += both * directions[k, m] * directions[k, r] * pp[i, j, m, r]
        information -= trace * trace / n_rows
        if information > 0.0:
            gains[k], amounts[k] = slope * slope / (2.0 * information), -slope / information
    moved, direction = np.empty((q, q)), np.empty(q)
    descending(gains, order)
    for rank in range(q):
        k = order[rank]
        if not gains[k] > tolerance:
            break
        share = 1.0
        for _ in range(TRIALS):
            copy(factor, moved)
            for i in range(q):
                direction[i] = np.sqrt(share * amounts[k]) * directions[k, i]
            add_direction(moved, block, direction)
            trial = evaluate(moved, root, image, weight, remainder, nu, restricted, precision, cross, chol, contrast)
            if trial < deviance - 0.1 * tolerance:
                copy(moved, factor)
                return trial
            share *= 0.25
    return np.nan


@numba.njit(cache=True, nogil=True, error_model="numpy")
def minimise(
    factor: FloatArray,
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
    ahead: bool,
    tolerance: float,
) -> tuple[int, float, int]:
    """Minimise the deviance from Lambda, which is changed to where the search ends; see `optimise.minimise`.

    With `ahead` the first step is a scoring step in Psi.

    Returns
    -------
    How it ended, the deviance there, and how often it was evaluated.
    """
    n, q, (n_groups, _, p1) = len(rows), factor.shape[0], image.shape
    precision, cross = np.empty((n_groups, q, q)), np.empty((n_groups, q, p1))
    chol, contrast = np.empty((p1, p1)), np.empty(p1)
    trial_precision, trial_cross = np.empty((n_groups, q, q)), np.empty((n_groups, q, p1))
    trial_chol, trial_contrast = np.empty((p1, p1)), np.empty(p1)
    score, p_sum, pp = np.empty((q, q)), np.empty((q, q)), np.empty((q, q, q, q))
    gradient, hessian, information = np.empty(n), np.empty((n, n)), np.empty((n, n))
    work, step, newton, moved = np.empty((n, n)), np.empty(n), np.empty(n), np.empty((q, q))

    value = evaluate(factor, root, image, weight, remainder, nu, restricted, precision, cross, chol, contrast)
    evaluations, damping, enough, small = 1, 0.0, ENOUGH, SMALL_DAMPING
    if not np.isfinite(value):
        return UNDEFINED, value, evaluations
    fresh, informed, full, gain = True, False, 0.0, 0.0
    for done in range(CHART_STEPS):
        if fresh:
            derive(
                factor, rows, columns, block, weight, precision, cross, chol, contrast, nu, restricted, global_term,
                score, p_sum, pp, gradient, hessian,
            )  # fmt: skip
            informed, fresh = False, False
            if ahead and done == 0 and scoring_step(factor, rows, columns, block, n_rows, score, p_sum, pp, moved):
                trial = evaluate(
                    moved, root, image, weight, remainder, nu, restricted, trial_precision, trial_cross, trial_chol,
                    trial_contrast,
                )  # fmt: skip
                evaluations += 1
                if trial < value:
                    copy(moved, factor)
                    value, fresh = trial, True
                    precision, trial_precision = trial_precision, precision
                    cross, trial_cross = trial_cross, cross
                    chol, trial_chol = trial_chol, chol
                    contrast, trial_contrast = trial_contrast, contrast
                    continue
            full = newton_step(gradient, hessian, work, newton)
        if (damping > 0.0 or full < 0.0) and not informed:
            inform(factor, rows, columns, n_rows, score, p_sum, pp, information)
            informed = True
            if full < 0.0:
                full = damped_step(gradient, hessian, information, 0.0, work, newton)
        if damping > 0.0:
            expected = damped_step(gradient, hessian, information, damping, work, step)
        else:
            for a in range(n):
                step[a] = newton[a]
            expected = full
        exhausted = damping > MOST_DAMPING or expected <= ROUNDING * abs(value)
        stationary = full <= tolerance or (exhausted and full <= SMALL_DECREASE)
        if stationary or exhausted:
            lower = leave_boundary(
                factor, block, root, image, weight, remainder, nu, n_rows, restricted, score, p_sum, pp, value,
                tolerance, precision, cross, chol, contrast,
            )  # fmt: skip
            evaluations += 1
            if np.isnan(lower):
                return CONVERGED if stationary else STALLED, value, evaluations
            value, damping, fresh = lower, 0.0, True
            continue
        copy(factor, moved)
        for a in range(n):
            moved[rows[a], columns[a]] += step[a]
        trial = evaluate(
            moved, root, image, weight, remainder, nu, restricted, trial_precision, trial_cross, trial_chol,
            trial_contrast,
        )  # fmt: skip
        evaluations += 1
        gain = (value - trial) / expected
        while gain > TIMID:
            for a in range(n):
                moved[rows[a], columns[a]] = factor[rows[a], columns[a]] + 2.0 * step[a]
            longer = evaluate(moved, root, image, weight, remainder, nu, restricted, precision, cross, chol, contrast)
            evaluations += 1
            if not longer < trial:
                for a in range(n):
                    moved[rows[a], columns[a]] = factor[rows[a], columns[a]] + step[a]
                break
            for a in range(n):
                step[a] *= 2.0
            trial = longer
            precision, trial_precision = trial_precision, precision
            cross, trial_cross = trial_cross, cross
            chol, trial_chol = trial_chol, chol
            contrast, trial_contrast = trial_contrast, contrast
        if trial < value:
            copy(moved, factor)
            value, fresh = trial, True
            precision, trial_precision = trial_precision, precision
            cross, trial_cross = trial_cross, cross
            chol, trial_chol = trial_chol, chol
            contrast, trial_contrast = trial_contrast, contrast
            if damping > 0.0:
                enough = damping
            else:
                small = SMALL_DAMPING
            if gain > 0.75 and damping < small:
                damping = 0.0
            else:
                damping *= 0.2 if gain > 0.75 else (1.0 if gain > 0.25 else 3.0)
        else:
            if damping > 0.0:
                damping *= 4.0
            else:
                small *= 0.1
                damping = 4.0 * enough
    return MANY_STEPS, value, evaluations


@numba.njit(cache=True, nogil=True, error_model="numpy")
def turn_to_axes(factor: FloatArray, block: IntArray, root: FloatArray, turn: FloatArray) -> None:
    """Turn the effects of each block to the principal axes of L L', largest first, and all else with them.

    Parameters
    ----------
    factor : (q, q) L, replaced by that along the axes: diagonal.
    block : (q,) number of the block of each effect.
    root : (J, q, q) R, replaced by R times the rotation.
    turn : (q, q) rotation so far, replaced by its product with the new one.
    """
    q = factor.shape[0]
    psi, vectors, axes = np.empty((q, q)), np.empty((q, q)), np.zeros((q, q))
    square(factor, psi)
    symmetric_eigen(psi, vectors)
    used, order, sizes = np.zeros(q), np.empty(q, dtype=np.int64), np.empty(q)
    for i in range(q):
        sizes[i] = psi[i, i]
        for j in range(q):
            factor[i, j] = 0.0
    descending(sizes, order)
    for rank in range(q):
        k = order[rank]
        # an eigenvector lies in one block; the largest element says in which
        main = 0
        for i in range(q):
            if abs(vectors[i, k]) > abs(vectors[main, k]):
                main = i
        for i in range(q):
            if block[i] == block[main] and used[i] == 0.0:
                used[i] = 1.0
                for j in range(q):
                    axes[j, i] = vectors[j, k]
                factor[i, i] = np.sqrt(max(sizes[k], 0.0))
                break
    own, turned = np.empty((q, q)), np.empty((q, q))
    for g in range(root.shape[0]):
        for i in range(q):
            for j in range(q):
                own[i, j] = root[g, i, j]
        product(own, axes, turned)
        for i in range(q):
            for j in range(q):
                root[g, i, j] = turned[i, j]
    product(turn, axes, turned)
    copy(turned, turn)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def flatten(factor: FloatArray, block: IntArray, out: FloatArray) -> bool:
    """Write Lambda without its negligible variances to `out`; false if it has none that are negligible but not zero."""
    q = factor.shape[0]
    psi, vectors, direction = np.empty((q, q)), np.empty((q, q)), np.empty(q)
    square(factor, psi)
    symmetric_eigen(psi, vectors)
    for i in range(q):
        for j in range(q):
            out[i, j] = 0.0
    changed = False
    for k in range(q):
        if psi[k, k] < NEGLIGIBLE:
            changed = changed or psi[k, k] > 0.0
        else:
            for i in range(q):
                direction[i] = np.sqrt(psi[k, k]) * vectors[i, k]
            add_direction(out, block, direction)
    return changed


@numba.njit(cache=True, nogil=True, error_model="numpy")
def identified(image: FloatArray, weight: FloatArray, remainder: FloatArray, intercept: int) -> bool:
    """Whether no column of X is determined by those before it, in the groups that count.

    Parameters
    ----------
    image, weight, remainder : see `evaluate`.
    intercept : position of the constant column, -1 if there is none; it is taken first.
    """
    n_groups, q, p1 = image.shape
    p = p1 - 1
    order = np.empty(p, dtype=np.int64)
    for j in range(p):
        order[j] = j
    for j in range(intercept, 0, -1):
        order[j], order[j - 1] = order[j - 1], order[j]
    gram = np.empty((p, p))
    for a in range(p):
        for b in range(a + 1):
            i, j = max(order[a], order[b]), min(order[a], order[b])
            value = remainder[i, j]
            for g in range(n_groups):
                for k in range(q):
                    value += weight[g] * image[g, k, i] * image[g, k, j]
            gram[a, b] = gram[b, a] = value
    raw, size = np.empty(p), np.empty(p)
    for j in range(p):
        raw[j] = size[j] = gram[j, j]
    for j in range(p):
        pivot = gram[j, j]
        if not pivot > ALIASED * size[j] or not size[j] > CONSTANT * raw[j]:
            return False
        for a in range(j + 1, p):
            for b in range(j + 1, a + 1):
                gram[a, b] -= gram[a, j] * gram[b, j] / pivot
                gram[b, a] = gram[a, b]
        if j == 0 and intercept >= 0:
            for a in range(1, p):
                size[a] = gram[a, a]
    return True
