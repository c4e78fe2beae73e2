"""Fits of a model with one grouping factor to many simulated data sets, each from its own cross-products."""

import numba
import numpy as np

from crosslevel.kernels.reduction import reduce_groups
from crosslevel.kernels.refit import CONVERGED, UNDEFINED, flatten, turn_to_axes
from crosslevel.kernels.refit_point import derive, evaluate
from crosslevel.kernels.refits import UNIDENTIFIED, search
from crosslevel.kernels.small import copy, inverse_transposed, square, symmetric_eigen
from crosslevel.kernels.steps import newton_step, scoring_step
from crosslevel.types import BoolArray, FloatArray, IntArray

POLISH_STEPS, LAST_DIGIT, CLOSER = 8, 1e-15, 0.5
"""Newton steps at the end. They are taken while the decrease they promise exceeds the second, which is 7 digits of
Lambda, and while each leaves less than a share of it: close to the boundary they approach slowly at first."""

SINGULAR = 1e-8
"""A variance of a standardised random effect, relative to the residual's, that counts as none."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def reduce_replications(
    count: FloatArray,
    mean: FloatArray,
    scatter: FloatArray,
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
    """`reduction.reduce_groups` of R replications: all but z, intercept, x and inside have a first axis of length R."""
    once = np.ones(count.shape[1])
    for r in range(count.shape[0]):
        reduce_groups(
            count[r], mean[r], scatter[r], once, z, z_shift[r], intercept, x, x_shift[r], inside, root_out[r],
            image_out[r], remainder_out[r],
        )  # fmt: skip


@numba.njit(cache=True, nogil=True, error_model="numpy")
def score_sums(
    precision: FloatArray,
    cross: FloatArray,
    chol: FloatArray,
    contrast: FloatArray,
    nu: float,
    restricted: bool,
    block: IntArray,
    score_out: FloatArray,
    p_out: FloatArray,
    pp_out: FloatArray,
) -> None:
    """S and the sums of P and of P (x) P, all that a scoring step needs; see `refit_point.derive`."""
    n_groups, q, p1 = cross.shape
    p = p1 - 1
    whitened, t, f = np.zeros((p, p)), np.empty(q), np.empty((q, p))
    inverse_transposed(chol, p, whitened)
    scale = nu / (chol[p, p] * chol[p, p])
    for i in range(q):
        for j in range(q):
            score_out[i, j] = p_out[i, j] = 0.0
            for k in range(q):
                for m in range(q):
                    pp_out[i, j, k, m] = 0.0
    for g in range(n_groups):
        for i in range(q):
            t[i] = 0.0
            for j in range(p1):
                t[i] += cross[g, i, j] * contrast[j]
            for j in range(p):
                f[i, j] = 0.0
                if restricted:
                    for k in range(j + 1):
                        f[i, j] += cross[g, i, k] * whitened[k, j]
        for i in range(q):
            for j in range(q):
                value = precision[g, i, j]
                p_out[i, j] += value
                for k in range(q):
                    for m in range(q):
                        pp_out[i, j, k, m] += value * precision[g, k, m]
                if block[i] == block[j]:
                    value -= scale * t[i] * t[j]
                    for k in range(p):
                        value -= f[i, k] * f[j, k]
                    score_out[i, j] += value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def least_variance(factor: FloatArray) -> float:
    """Smallest eigenvalue of Lambda Lambda'."""
    q = factor.shape[0]
    psi, vectors, least = np.empty((q, q)), np.empty((q, q)), np.inf
    square(factor, psi)
    symmetric_eigen(psi, vectors)
    for i in range(q):
        least = min(least, psi[i, i])
    return least


@numba.njit(cache=True, nogil=True, error_model="numpy")
def fit_replications(
    root: FloatArray,
    image: FloatArray,
    remainder: FloatArray,
    n_rows: FloatArray,
    n_starts: IntArray,
    rows: IntArray,
    columns: IntArray,
    block: IntArray,
    starts: FloatArray,
    second: int,
    restricted: bool,
    global_limit: float,
    tolerance: float,
    status_out: IntArray,
    value_out: FloatArray,
    turn_out: FloatArray,
    factor_out: FloatArray,
    precision_out: FloatArray,
    cross_out: FloatArray,
    chol_out: FloatArray,
    contrast_out: FloatArray,
    hessian_out: FloatArray,
) -> None:
    """Fit one model to R replications.

    Parameters
    ----------
    root, image, remainder : (R, J, q, q), (R, J, q, p + 1), (R, p + 1, p + 1) reduced cross-products; `root` is turned.
    n_rows : (R,) n.
    n_starts : (R,) how many of the starts are searched from; none where coefficients are not identified.
    rows, columns, block : (k,) places of the elements of Lambda, (q,) the block of each effect.
    starts : (S, q, q) Lambdas to start from; the lowest minimum is kept.
    second : which of them is the second if there was one only and its minimum is singular; -1 for none.
    restricted, tolerance : see `refit.minimise`.
    global_limit : products up to which REML's term over pairs of groups enters the Hessian.
    status_out, value_out : (R,) how each search ended, and the deviance less what does not depend on Lambda.
    turn_out : (R, q, q) rotation to the principal axes of Lambda Lambda', block by block; what follows is along them.
    factor_out : (R, q, q) Lambda.
    precision_out, cross_out, chol_out, contrast_out : first axis R, as in `refit_point.evaluate`.
    hessian_out : (R, k, k) of the deviance in the elements of Lambda.
    """
    _, n_groups, q, p1 = image.shape
    p, n = p1 - 1, len(rows)
    weight, global_term = np.ones(n_groups), float(n_groups) * q * q * (p1 - 1) * (p1 - 1) <= global_limit
    factor, best, start = np.empty((q, q)), np.empty((q, q)), np.empty((q, q))
    score, p_sum, pp = np.empty((q, q)), np.empty((q, q)), np.empty((q, q, q, q))
    gradient, work, step = np.empty(n), np.empty((n, n)), np.empty(n)
    for r in range(image.shape[0]):
        nu = n_rows[r] - p if restricted else n_rows[r]
        status_out[r] = UNIDENTIFIED
        if n_starts[r] == 0:
            continue

        # the lowest minimum, if its search converged
        least, lowest, status_out[r] = np.inf, np.inf, UNDEFINED
        searches, s = n_starts[r], 0
        while s < searches:
            chosen = second if s == 1 and n_starts[r] == 1 else s
            for i in range(q):
                for j in range(q):
                    start[i, j] = starts[chosen, i, j]
            # two scoring steps, of which the search takes the second, are far more often near enough than one
            if s == 0 and np.isfinite(
                evaluate(
                    start, root[r], image[r], weight, remainder[r], nu, restricted, precision_out[r], cross_out[r],
                    chol_out[r], contrast_out[r],
                )
            ):  # fmt: skip
                score_sums(
                    precision_out[r], cross_out[r], chol_out[r], contrast_out[r], nu, restricted, block, score, p_sum,
                    pp,
                )  # fmt: skip
                if scoring_step(start, rows, columns, block, n_rows[r], score, p_sum, pp, factor):
                    copy(factor, start)
            status, value = search(
                start, rows, columns, block, root[r], image[r], weight, remainder[r], nu, n_rows[r], restricted,
                global_term, tolerance, factor,
            )  # fmt: skip
            s += 1
            least = min(least, value)
            if status == CONVERGED and value < lowest:
                lowest = value
                copy(factor, best)
            if s == 1 and searches == 1 and second >= 0 and (status != CONVERGED or least_variance(best) < SINGULAR):
                searches = 2  # minima on the boundary can be several
        if not lowest <= least + tolerance:
            continue
        status_out[r] = CONVERGED

        # along the principal axes: first without the negligible variances, else as it was, then Newton's last steps
        for i in range(q):
            for j in range(q):
                turn_out[r, i, j] = 1.0 if i == j else 0.0
        turn_to_axes(best, block, root[r], turn_out[r])
        moved, promised, tried = flatten(best, block, factor), np.inf, False
        if not moved:
            copy(best, factor)
        for done in range(POLISH_STEPS + 3):
            value = evaluate(
                factor, root[r], image[r], weight, remainder[r], nu, restricted, precision_out[r], cross_out[r],
                chol_out[r], contrast_out[r],
            )  # fmt: skip
            if done == 0 and moved and not value <= lowest + tolerance:
                copy(best, factor)
                continue
            derive(
                factor, rows, columns, block, weight, precision_out[r], cross_out[r], chol_out[r], contrast_out[r], nu,
                restricted, global_term, score, p_sum, pp, gradient, hessian_out[r],
            )  # fmt: skip
            expected = newton_step(gradient, hessian_out[r], work, step)
            if tried and not 0.0 <= expected < CLOSER * promised:  # no better: back
                copy(best, factor)
                promised, tried = 0.0, False
                continue
            if promised == 0.0 or done > POLISH_STEPS or not expected > LAST_DIGIT:
                break
            copy(factor, best)
            for a in range(n):
                factor[rows[a], columns[a]] += step[a]
            promised, tried = expected, True
        value_out[r] = value
        for i in range(q):
            for j in range(q):
                factor_out[r, i, j] = factor[i, j]
