"""Adjusted second steps of two: covariates that tell of the target's random effect; for compiled callers.

Symbols and equations are those of `inference.adjusted_step`, for one replication of simulated data at a time.
"""

import numba
import numpy as np

from crosslevel.kernels.least_squares import beyond_sampling, influence_of, invert, solve_columns, step_errors
from crosslevel.kernels.small import cholesky, inverse_transposed, symmetric_eigen
from crosslevel.types import FloatArray

LEAST = 1e-12
"""Share of a sampling variance below which rounding may take the conditional one, as in `inference.adjusted_step`."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def find_components(
    covariates: FloatArray, average: FloatArray, context: int, chosen: bool, weights: FloatArray, loadings: FloatArray,
    values: FloatArray,
) -> int:  # fmt: skip
    """Principal components of covariates relative to sampling, the largest first: how many are kept, -1 if none exist.

    Parameters
    ----------
    covariates : (n, m) deviations of C from their means.
    average : (m, m) Obar.
    context : k.
    chosen : whether only those are kept that vary more than sampling alone explains.
    weights, loadings, values : (m, m) B, (m, m) Obar B and (m,) lambda; written.
    """
    n, m = covariates.shape
    lower, size, image = np.empty((m, m)), np.empty(m), np.empty((n, m))
    spread, vectors, upper = np.zeros((m, m)), np.empty((m, m)), np.zeros((m, m))
    for i in range(m):
        size[i] = np.sqrt(average[i, i])
    for i in range(m):
        for k in range(m):
            lower[i, k] = average[i, k] / (size[i] * size[k])
    if not cholesky(lower):
        return -1
    inverse_transposed(lower, m, upper)
    for j in range(n):
        for i in range(m):
            image[j, i] = 0.0
            for k in range(i + 1):
                image[j, i] += upper[k, i] * covariates[j, k] / size[k]
            for k in range(i + 1):
                spread[i, k] += image[j, i] * image[j, k] / (n - 1.0)
    for i in range(m):
        for k in range(i):
            spread[k, i] = spread[i, k]
    symmetric_eigen(spread, vectors)
    edge = (1.0 + np.sqrt(m / (n - 1.0))) ** 2 if chosen else 1.0
    kept, most = 0, min((n - context - 1) // 2, m) if chosen else m
    done = np.zeros(m, dtype=np.bool_)
    for place in range(m):
        best = -1
        for i in range(m):
            if not done[i] and (best < 0 or spread[i, i] > spread[best, best]):
                best = i
        done[best] = True
        values[place] = spread[best, best]
        kept += values[place] > edge
        for i in range(m):
            weights[i, place] = loadings[i, place] = 0.0
            for k in range(i, m):
                weights[i, place] += upper[i, k] * vectors[k, best] / size[i]
            for k in range(i + 1):
                loadings[i, place] += lower[i, k] * vectors[k, best] * size[i]
    return max(min(kept, most), 0)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def add_components(
    y: FloatArray,
    regressors: FloatArray,
    k: int,
    covariates: FloatArray,
    average: FloatArray,
    chosen: bool,
    along: FloatArray,
) -> int:
    """Take out of y what components share with it by sampling, and add them (or all covariates) to the regressors.

    Parameters
    ----------
    y, regressors : (n,), and (n, k + m) whose columns from k on are written.
    covariates : (n, m) deviations of C from their means.
    average : (1 + m, 1 + m) mean of Omega, of y and C.
    chosen : whether components are chosen.
    along : (m, m + 1) how the columns, and last what is taken out, depend on the covariates; written.

    Returns
    -------
    Columns added; -1 if sampling covariances are singular.
    """
    n, m = covariates.shape
    kept = m
    for i in range(m):
        for a in range(m + 1):
            along[i, a] = 1.0 if i == a and not chosen else 0.0
    if chosen:
        inner, inverse = np.empty((m, m)), np.empty((m, m))
        weights, loadings, values = np.empty((m, m)), np.empty((m, m)), np.empty(m)
        for i in range(m):
            for a in range(m):
                inner[i, a] = average[1 + i, 1 + a]
        kept = find_components(covariates, inner, k, True, weights, loadings, values)
        if kept < 0 or not invert(inner, inverse):
            return -1
        for i in range(m):
            for a in range(kept):
                along[i, a] = weights[i, a]
            for a in range(m):
                along[i, m] += inverse[i, a] * average[1 + a, 0]
    for j in range(n):
        for a in range(kept):
            value = 0.0
            for i in range(m):
                value += covariates[j, i] * along[i, a]
            regressors[j, k + a] = value
        for i in range(m):
            y[j] -= covariates[j, i] * along[i, m]
    return kept


@numba.njit(cache=True, nogil=True, error_model="numpy")
def shrink_covariates(
    y: FloatArray,
    regressors: FloatArray,
    k: int,
    covariates: FloatArray,
    sampling: FloatArray,
    root: FloatArray,
    kept: int,
    inverse: FloatArray,
    turned: FloatArray,
    total: FloatArray,
) -> bool:
    """Take out of y what sampling errors share, and add predictions of the covariates' effects to the regressors.

    Parameters
    ----------
    y, regressors : (n,), and (n, k + m) whose columns k to k + kept are written.
    covariates, sampling : (n, m) C, and (n, 1 + m, 1 + m) Omega of y and C.
    root, kept : (m, m) L, of which the first columns count.
    inverse, turned, total : (n, m, m) V_j^-1, (n, m) V_j^-1 (C_j - mu), (m, m) covariance of mu; written.
    """
    n, m = covariates.shape
    work, sums, image, centre = np.empty((m, m)), np.zeros((m, m)), np.zeros(m), np.zeros(m)
    for j in range(n):
        for i in range(m):
            for a in range(i + 1):
                work[i, a] = sampling[j, 1 + i, 1 + a]
                for c in range(kept):
                    work[i, a] += root[i, c] * root[a, c]
        if not invert(work, inverse[j]):
            return False
        for i in range(m):
            for a in range(m):
                sums[i, a] += inverse[j, i, a]
                image[i] += inverse[j, i, a] * covariates[j, a]
    if not invert(sums, total):
        return False
    for i in range(m):
        for a in range(m):
            centre[i] += total[i, a] * image[a]
    for j in range(n):
        for i in range(m):
            turned[j, i] = 0.0
            for a in range(m):
                turned[j, i] += inverse[j, i, a] * (covariates[j, a] - centre[a])
        for c in range(kept):
            regressors[j, k + c] = 0.0
        for i in range(m):
            y[j] -= sampling[j, 1 + i, 0] * turned[j, i]
            for c in range(kept):
                regressors[j, k + c] += turned[j, i] * root[i, c]
    return True


@numba.njit(cache=True, nogil=True, error_model="numpy")
def shared_slopes(
    k: int, kept: int, sampling: FloatArray, root: FloatArray, coefficients: FloatArray, inverse: FloatArray,
    together: FloatArray, out: FloatArray,
) -> float:  # fmt: skip
    """V_j^-1 (omega_Ct + L delta) of one cluster, written to `out` (m,); returns its product with the latter."""
    m, product = root.shape[0], 0.0
    for i in range(m):
        together[i] = sampling[1 + i, 0]
        for c in range(kept):
            together[i] += root[i, c] * coefficients[k + c]
    for i in range(m):
        out[i] = 0.0
        for a in range(m):
            out[i] += inverse[i, a] * together[a]
        product += out[i] * together[i]
    return product


@numba.njit(cache=True, nogil=True, error_model="numpy")
def explain_equally(
    y: FloatArray,
    regressors: FloatArray,
    k: int,
    covariates: FloatArray,
    sampling: FloatArray,
    chosen: bool,
    kind: int,
    estimate: FloatArray,
    variance: FloatArray,
) -> int:
    """Clusters weighed equally ("adjusted"): regressors that were used, -1 if there is no solution.

    Parameters
    ----------
    y : (n,) the coefficient; less what is taken out of it afterwards.
    regressors, k : (n, k + m), the context variables first; the others are written.
    covariates, sampling : (n, m) C, measured from its means afterwards, and (n, 1 + m, 1 + m) Omega of y and C.
    chosen, kind : whether components are chosen; the covariance of the coefficients.
    estimate, variance : (k,) gamma, and the variance of each; written.
    """
    n, m = covariates.shape
    average, along = np.zeros((m + 1, m + 1)), np.empty((m, m + 1))
    for i in range(m):
        centre = 0.0
        for j in range(n):
            centre += covariates[j, i]
        for j in range(n):
            covariates[j, i] -= centre / n
    for i in range(m + 1):
        for a in range(m + 1):
            for j in range(n):
                average[i, a] += sampling[j, i, a] / n
    kept = add_components(y, regressors, k, covariates, average, chosen, along)
    if kept < 0 or n <= k + kept:
        return -1
    d = k + kept
    orthogonal, half, coefficients = np.empty((n, d)), np.zeros((d, d)), np.empty(d)
    residual, leverage, weights, errors = np.empty(n), np.empty(n), np.ones(n), np.empty(n)
    if not solve_columns(y, regressors, d, weights, orthogonal, half, coefficients, residual, leverage):
        return -1
    step_errors(weights, residual, leverage, d, kind, errors)
    # what the error of the covariates' means does to gamma
    spread = 0.0
    for j in range(n):
        value = 0.0
        for i in range(m):
            delta = along[i, m]
            for a in range(kept):
                delta += along[i, a] * coefficients[k + a]
            value += covariates[j, i] * delta
        spread += value * value
    for i in range(k):
        estimate[i], variance[i], whole = coefficients[i], 0.0, 0.0
        for j in range(n):
            influence = influence_of(i, d, j, weights, orthogonal, half)
            variance[i] += influence * influence * errors[j]
            whole += influence / n
        variance[i] += whole * whole * spread * n / (n - 1.0)
    return d


@numba.njit(cache=True, nogil=True, error_model="numpy")
def explain_shrunk(
    y: FloatArray,
    regressors: FloatArray,
    k: int,
    covariates: FloatArray,
    sampling: FloatArray,
    chosen: bool,
    kind: int,
    estimate: FloatArray,
    variance: FloatArray,
) -> tuple[int, float]:
    """Covariates shrunk and clusters weighed ("adjusted-fgls"): as `explain_equally`, and tau^2 before its floor."""
    n, m = covariates.shape
    average, deviations, root = np.zeros((m, m)), np.empty((n, m)), np.empty((m, m))
    loadings, values = np.empty((m, m)), np.empty(m)
    for i in range(m):
        centre = 0.0
        for j in range(n):
            centre += covariates[j, i] / n
            for a in range(m):
                average[i, a] += sampling[j, 1 + i, 1 + a] / n
        for j in range(n):
            deviations[j, i] = covariates[j, i] - centre
    kept = find_components(deviations, average, k, chosen, root, loadings, values)
    d = k + kept
    if kept < 0 or n <= d:
        return -1, np.nan
    for a in range(kept):
        for i in range(m):
            root[i, a] = loadings[i, a] * np.sqrt(max(values[a] - 1.0, 0.0))
    inverse, turned, total = np.empty((n, m, m)), np.empty((n, m)), np.empty((m, m))
    if not shrink_covariates(y, regressors, k, covariates, sampling, root, kept, inverse, turned, total):
        return -1, np.nan
    orthogonal, half, coefficients = np.empty((n, d)), np.zeros((d, d)), np.empty(d)
    residual, leverage, weights, errors = np.empty(n), np.empty(n), np.ones(n), np.empty(n)
    together, slopes = np.empty(m), np.empty(m)
    # tau^2 and the weights, from OLS
    if not solve_columns(y, regressors, d, weights, orthogonal, half, coefficients, residual, leverage):
        return -1, np.nan
    for j in range(n):
        known = shared_slopes(k, kept, sampling[j], root, coefficients, inverse[j], together, slopes)
        errors[j] = sampling[j, 0, 0] - known
        for a in range(k, d):
            errors[j] += coefficients[a] * coefficients[a]
        errors[j] = max(errors[j], sampling[j, 0, 0] * LEAST)
    raw = beyond_sampling(residual, leverage, errors, n - d)
    for j in range(n):
        weights[j] = 1.0 / (max(raw, 0.0) + errors[j])
    if not solve_columns(y, regressors, d, weights, orthogonal, half, coefficients, residual, leverage):
        return -1, np.nan
    step_errors(weights, residual, leverage, d, kind, errors)
    # what the error of mu does to gamma
    carried, turn = np.zeros((k, m)), np.empty((k, m))
    for i in range(k):
        estimate[i], variance[i] = coefficients[i], 0.0
    for j in range(n):
        shared_slopes(k, kept, sampling[j], root, coefficients, inverse[j], together, slopes)
        for i in range(k):
            influence = influence_of(i, d, j, weights, orthogonal, half)
            variance[i] += influence * influence * errors[j]
            for a in range(m):
                carried[i, a] += influence * slopes[a]
    for i in range(k):
        for a in range(m):
            turn[i, a] = 0.0
            for c in range(m):
                turn[i, a] += carried[i, c] * total[c, a]
        for j in range(n):
            value = 0.0
            for a in range(m):
                value += turn[i, a] * turned[j, a]
            variance[i] += value * value * n / (n - 1.0)
    return d, raw
