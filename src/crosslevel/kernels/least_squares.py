"""Weighted least squares of few rows and columns by orthogonal decomposition, written out for compiled callers.

Symbols are those of `inference.second_step`: W the weights, D the regressors, r the residuals.
"""

import numba
import numpy as np

from crosslevel.kernels.small import cholesky, inverse_transposed
from crosslevel.types import FloatArray

ALIASED, RELATIVE = 1e-11, 1e-26
"""Limits of `design.reduced.independent_columns`."""

LEVERAGE_ONE = 1e-10
"""Limit of `inference.heteroskedastic`."""

SCALED, UNSCALED, HC0, HC1, HC2, HC3 = 0, 1, 2, 3, 4, 5
"""Covariances of the coefficients: of `inference.second_step.CLUSTER_ERRORS`."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def independent(columns: FloatArray, constant: int) -> bool:
    """Whether no column (n, k) is a combination of earlier ones, as `design.reduced.independent_columns` judges it."""
    n, k = columns.shape
    centre, gram = np.zeros(k), np.zeros((k, k))
    for i in range(k):
        for j in range(n):
            centre[i] += columns[j, i] / n
    for i in range(k):
        for a in range(i + 1):
            for j in range(n):
                one, other = columns[j, i], columns[j, a]
                if constant >= 0:
                    one, other = one - centre[i], other - centre[a]
                gram[i, a] += one * other
            gram[a, i] = gram[i, a]
    size = np.empty(k)
    for i in range(k):
        size[i] = gram[i, i]
    for i in range(k):
        if i == constant:
            continue
        raw = size[i] + n * centre[i] * centre[i]
        if not gram[i, i] > ALIASED * size[i] or size[i] <= RELATIVE * raw:
            return False
        for a in range(i + 1, k):
            share = gram[a, i] / gram[i, i]
            for c in range(i + 1, k):
                gram[a, c] -= share * gram[i, c]
    return True


@numba.njit(cache=True, nogil=True, error_model="numpy")
def solve_columns(
    y: FloatArray,
    regressors: FloatArray,
    d: int,
    weights: FloatArray,
    orthogonal: FloatArray,
    half: FloatArray,
    coefficients: FloatArray,
    residual: FloatArray,
    leverage: FloatArray,
) -> bool:
    """Weighted least squares by Gram and Schmidt, each column made orthogonal twice; false if one is nothing.

    Parameters
    ----------
    y, regressors, weights : (n,), (n, at least d) of which the first d columns count, (n,).
    orthogonal, half : (n, d) Q and (d, d) U^-1, with sqrt(W) D = Q U; written.
    coefficients, residual, leverage : (d,), (n,), (n,); written.
    """
    n = len(y)
    upper = np.zeros((d, d))
    for c in range(d):
        size = 0.0
        for j in range(n):
            orthogonal[j, c] = np.sqrt(weights[j]) * regressors[j, c]
            size += orthogonal[j, c] * orthogonal[j, c]
        for _ in range(2):
            for k in range(c):
                along = 0.0
                for j in range(n):
                    along += orthogonal[j, k] * orthogonal[j, c]
                upper[k, c] += along
                for j in range(n):
                    orthogonal[j, c] -= along * orthogonal[j, k]
        left = 0.0
        for j in range(n):
            left += orthogonal[j, c] * orthogonal[j, c]
        if not left > RELATIVE * size or not left < np.inf:
            return False
        upper[c, c] = np.sqrt(left)
        for j in range(n):
            orthogonal[j, c] /= upper[c, c]
    for c in range(d):
        half[c, c] = 1.0 / upper[c, c]
        for i in range(c - 1, -1, -1):
            value = 0.0
            for k in range(i + 1, c + 1):
                value += upper[i, k] * half[k, c]
            half[i, c] = -value / upper[i, i]
    for j in range(n):
        residual[j] = np.sqrt(weights[j]) * y[j]
        leverage[j] = 0.0
    for c in range(d):
        coefficients[c] = 0.0
        along = 0.0
        for j in range(n):
            along += orthogonal[j, c] * residual[j]
        for j in range(n):
            residual[j] -= along * orthogonal[j, c]
            leverage[j] += orthogonal[j, c] * orthogonal[j, c]
        for i in range(c + 1):
            coefficients[i] += half[i, c] * along
    for j in range(n):
        residual[j] /= np.sqrt(weights[j])
    return True


@numba.njit(cache=True, nogil=True, error_model="numpy")
def step_errors(
    weights: FloatArray, residual: FloatArray, leverage: FloatArray, d: int, kind: int, errors: FloatArray
) -> None:
    """Variances (n,) of the clusters' errors as a kind of covariance takes them; NaN where it is not defined."""
    n, total = len(weights), 0.0
    for j in range(n):
        total += weights[j] * residual[j] * residual[j]
    for j in range(n):
        if kind < HC0:
            errors[j] = (total / (n - d) if kind == SCALED else 1.0) / weights[j]
            continue
        kept, square = 1.0 - leverage[j], residual[j] * residual[j]
        able = kept > LEVERAGE_ONE
        if kind == HC1:
            square *= n / (n - d)
        elif kind == HC2:
            square = square / kept if able else 0.0
        elif kind == HC3:
            square = square / (kept * kept) if able else np.nan
        errors[j] = square


@numba.njit(cache=True, nogil=True, error_model="numpy")
def influence_of(i: int, d: int, j: int, weights: FloatArray, orthogonal: FloatArray, half: FloatArray) -> float:
    """By how much coefficient i rises with the outcome of cluster j."""
    value = 0.0
    for c in range(i, d):
        value += half[i, c] * orthogonal[j, c]
    return value * np.sqrt(weights[j])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def beyond_sampling(residual: FloatArray, leverage: FloatArray, sampling: FloatArray, df: int) -> float:
    """Lewis & Linzer's sigma^2 before it is floored, from a regression with equal weights."""
    value = 0.0
    for j in range(len(residual)):
        value += residual[j] * residual[j] - (1.0 - leverage[j]) * sampling[j]
    return value / df


@numba.njit(cache=True, nogil=True, error_model="numpy")
def invert(a: FloatArray, out: FloatArray) -> bool:
    """Inverse of a positive definite a (m, m), whose lower triangle is destroyed; false if it is not."""
    m = a.shape[0]
    if not cholesky(a):
        return False
    half = np.zeros((m, m))
    inverse_transposed(a, m, half)
    for i in range(m):
        for j in range(i + 1):
            value = 0.0
            for k in range(i, m):
                value += half[i, k] * half[j, k]
            out[i, j] = out[j, i] = value
    return True
