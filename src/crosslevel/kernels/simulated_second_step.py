"""Second steps of two in many replications: coefficients of clusters explained by what clusters are.

They are those of `inference.second_step` and `inference.adjusted_step`, for one coefficient of the first step
(`kernels.simulated_two_step`) and one replication at a time.
"""

import numba
import numpy as np

from crosslevel.kernels.least_squares import beyond_sampling, independent, influence_of, solve_columns, step_errors
from crosslevel.kernels.simulated_adjusted import explain_equally, explain_shrunk
from crosslevel.types import BoolArray, FloatArray, IntArray

FITTED, UNIDENTIFIED, REFUSED = 0, 1, 3
"""How a replication ends, as in `inference.bootstrap.batch.Outcome`."""

FGLS, OLS, WLS, ADJUSTED, ADJUSTED_FGLS = 0, 1, 2, 3, 4
"""Methods, in the order of `estimators.two_step_outcomes.METHODS`."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def explain_plainly(
    y: FloatArray,
    context: FloatArray,
    sampling: FloatArray,
    method: int,
    kind: int,
    estimate: FloatArray,
    variance: FloatArray,
) -> tuple[int, float]:
    """A second step without covariates: regressors (-1 if there is no solution), and sigma^2 before its floor.

    Parameters
    ----------
    y, context, sampling : (n,) the coefficient, (n, k) context variables, (n, 1 + m, 1 + m) its variance first.
    method, kind : of this module, and of `kernels.least_squares`.
    estimate, variance : (k,) gamma, and the variance of each; written.
    """
    n, k = context.shape
    orthogonal, half, coefficients = np.empty((n, k)), np.zeros((k, k)), np.empty(k)
    residual, leverage, weights, errors = np.empty(n), np.empty(n), np.ones(n), np.empty(n)
    if not solve_columns(y, context, k, weights, orthogonal, half, coefficients, residual, leverage):
        return -1, np.nan
    for j in range(n):
        errors[j] = sampling[j, 0, 0]
    raw = beyond_sampling(residual, leverage, errors, n - k)
    if method not in (OLS, ADJUSTED):
        for j in range(n):
            weights[j] = 1.0 / (errors[j] + (0.0 if method == WLS else max(raw, 0.0)))
        if not solve_columns(y, context, k, weights, orthogonal, half, coefficients, residual, leverage):
            return -1, np.nan
    step_errors(weights, residual, leverage, k, kind, errors)
    for i in range(k):
        estimate[i], variance[i] = coefficients[i], 0.0
        for j in range(n):
            influence = influence_of(i, k, j, weights, orthogonal, half)
            variance[i] += influence * influence * errors[j]
    return k, raw


@numba.njit(cache=True, nogil=True, error_model="numpy")
def second_steps(
    able: BoolArray,
    beta: FloatArray,
    sampling: FloatArray,
    mean: FloatArray,
    context: IntArray,
    constant: int,
    target: IntArray,
    method: int,
    kind: int,
    chosen: bool,
    outcome_out: IntArray,
    sigma2_out: FloatArray,
    estimate_out: FloatArray,
    variance_out: FloatArray,
    df_out: FloatArray,
) -> None:
    """Explain one coefficient in R replications.

    Parameters
    ----------
    able, beta, sampling : (R, J), (R, J, p), (R, J, p, p) of the first steps.
    mean : (R, J, m) means of all columns in each cluster.
    context, constant : (k,) columns that are the context variables, and which of them is the intercept, -1 for none.
    target : (1 + m,) the coefficient that is explained, and its covariates.
    method, kind, chosen : the second step, the covariance of its coefficients, whether components are chosen.
    outcome_out, sigma2_out, df_out : (R,) how each ended; variance beyond sampling (and covariates) before its floor,
        NaN where the method has none; clusters - regressors.
    estimate_out, variance_out : (R, k).
    """
    n_clusters, k, m = able.shape[1], len(context), len(target) - 1
    for r in range(len(able)):
        n = 0
        for g in range(n_clusters):
            n += able[r, g]
        outcome_out[r] = REFUSED
        if n <= k or (m > 0 and not chosen and n < m + k + 2):
            continue
        y, regressors, own = np.empty(n), np.empty((n, k + m)), np.empty((n, 1 + m, 1 + m))
        covariates, used, j = np.empty((n, m)), np.empty((n, k)), 0
        for g in range(n_clusters):
            if able[r, g]:
                y[j] = beta[r, g, target[0]]
                for i in range(k):
                    regressors[j, i] = used[j, i] = mean[r, g, context[i]]
                for i in range(m + 1):
                    if i > 0:
                        covariates[j, i - 1] = beta[r, g, target[i]]
                    for a in range(m + 1):
                        own[j, i, a] = sampling[r, g, target[i], target[a]]
                j += 1
        if not independent(used, constant):
            outcome_out[r] = UNIDENTIFIED
            continue
        raw = np.nan
        if m == 0:
            d, raw = explain_plainly(y, used, own, method, kind, estimate_out[r], variance_out[r])
        elif method == ADJUSTED:
            d = explain_equally(y, regressors, k, covariates, own, chosen, kind, estimate_out[r], variance_out[r])
        else:
            d, raw = explain_shrunk(y, regressors, k, covariates, own, chosen, kind, estimate_out[r], variance_out[r])
        if d > 0:
            outcome_out[r], sigma2_out[r], df_out[r] = FITTED, raw, n - d
