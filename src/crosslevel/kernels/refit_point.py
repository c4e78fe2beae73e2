"""Deviance and derivatives of models with one grouping factor at one Lambda, compiled for whole searches.

They are those of `likelihood.profiled`, for random effects whose Lambda has free elements: blocks that are unstructured
or diagonal.
"""

import numba
import numpy as np

from crosslevel.kernels.marginal import derivative_sums, whiten_groups
from crosslevel.kernels.small import cholesky, copy, inverse_transposed, solve_upper, symmetric_eigen
from crosslevel.types import FloatArray, IntArray


@numba.njit(cache=True, nogil=True, error_model="numpy")
def evaluate(
    factor: FloatArray,
    root: FloatArray,
    image: FloatArray,
    weight: FloatArray,
    remainder: FloatArray,
    nu: float,
    restricted: bool,
    precision: FloatArray,
    cross: FloatArray,
    chol: FloatArray,
    contrast: FloatArray,
) -> float:
    """Deviance at Lambda, less what does not depend on it; infinite where there is none. Fills the last four arrays.

    Parameters
    ----------
    factor : (q, q) Lambda.
    root, image, weight : (J, q, q), (J, q, p + 1), (J,) of each group, see `marginal.whiten_groups`.
    remainder : (p + 1, p + 1).
    nu : degrees of freedom of r^2.
    restricted : whether log|X'V^-1 X| is added.
    precision, cross : (J, q, q) and (J, q, p + 1) Z'V^-1 [Z X y].
    chol : (p + 1, p + 1) lower Cholesky factor of [X y]'V^-1 [X y].
    contrast : (p + 1,) (-beta, 1).
    """
    p = len(contrast) - 1
    copy(remainder, chol)
    log_det = whiten_groups(root, image, factor, weight, precision, cross, chol)
    if not cholesky(chol) or not np.isfinite(log_det):
        return np.inf
    out = log_det + nu * (1.0 + np.log(2.0 * np.pi * chol[p, p] * chol[p, p] / nu))
    if restricted:
        for j in range(p):
            out += 2.0 * np.log(chol[j, j])
    for j in range(p):
        contrast[j] = -chol[p, j]
    contrast[p] = 1.0
    solve_upper(chol, contrast, p)
    return float(out)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def along(tensor: FloatArray, factor: FloatArray, rows: IntArray, columns: IntArray, out: FloatArray) -> None:
    """Sum over groups of tr(P D_a Q D_b) for the changes D_a of Psi with each element of Lambda.

    With element a in row i and column j of Lambda, D_a = e_i l_j' + l_j e_i', l_j being column j.

    Parameters
    ----------
    tensor : (q, q, q, q) sums of P[i, j] Q[k, l].
    factor : (q, q) Lambda, lower triangular.
    rows, columns : (k,) places of the elements.
    out : (k, k).
    """
    n, q = len(rows), factor.shape[0]
    for a in range(n):
        half = np.zeros((q, q))
        for c in range(columns[a], q):
            value = factor[c, columns[a]]
            if value != 0.0:
                for i in range(q):
                    for m in range(q):
                        half[i, m] += value * (tensor[i, rows[a], c, m] + tensor[i, c, rows[a], m])
        for b in range(a + 1):
            value = 0.0
            for c in range(columns[b], q):
                value += factor[c, columns[b]] * (half[rows[b], c] + half[c, rows[b]])
            out[a, b] = out[b, a] = value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def mirror_pairs(lower: FloatArray) -> None:
    """Fill a tensor (q, q, q, q) that is symmetric in its first and last two axes from the lower triangles of both."""
    q = lower.shape[0]
    for i in range(q):
        for j in range(i + 1):
            for k in range(q):
                for m in range(k + 1):
                    lower[i, j, m, k] = lower[i, j, k, m]
            for k in range(q):
                for m in range(q):
                    lower[j, i, k, m] = lower[i, j, k, m]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def derive(
    factor: FloatArray,
    rows: IntArray,
    columns: IntArray,
    block: IntArray,
    weight: FloatArray,
    precision: FloatArray,
    cross: FloatArray,
    chol: FloatArray,
    contrast: FloatArray,
    nu: float,
    restricted: bool,
    global_term: bool,
    score: FloatArray,
    p_sum: FloatArray,
    pp: FloatArray,
    gradient: FloatArray,
    hessian: FloatArray,
) -> None:
    """Gradient and Hessian of the deviance in the elements of Lambda, and what the information is made of.

    Parameters
    ----------
    factor, rows, columns : see `along`.
    block : (q,) number of the block that each effect belongs to.
    weight, precision, cross, chol, contrast, nu, restricted : see `evaluate`.
    global_term : whether REML's term over pairs of groups enters the Hessian.
    score : (q, q) S = d deviance / d Psi, zero between blocks.
    p_sum, pp : (q, q) and (q, q, q, q) sums of P and of P (x) P.
    gradient, hessian : (k,) and (k, k).
    """
    n, q, p = len(rows), factor.shape[0], len(contrast) - 1
    whitened = np.zeros((p, p))
    inverse_transposed(chol, p, whitened)
    tt, pq, tc = np.zeros((q, q)), np.zeros((q, q, q, q)), np.zeros((q, q, p))
    cc = np.zeros((q, q, p, p)) if restricted and global_term else np.zeros((0, 0, 0, 0))
    for i in range(q):
        for j in range(q):
            score[i, j] = p_sum[i, j] = 0.0
            for k in range(q):
                for m in range(q):
                    pp[i, j, k, m] = 0.0
    scale = nu / (chol[p, p] * chol[p, p])
    derivative_sums(precision, cross, weight, contrast, whitened, scale, restricted, score, p_sum, tt, pp, pq, tc, cc)
    for i in range(q):
        for j in range(i + 1):
            if block[i] != block[j]:
                score[i, j] = 0.0
            score[j, i], p_sum[j, i], tt[j, i] = score[i, j], p_sum[i, j], tt[i, j]
    mirror_pairs(pp)
    mirror_pairs(pq)
    for i in range(q):
        for j in range(q):
            for k in range(q):
                for m in range(q):
                    pq[i, j, k, m] = 2.0 * pq[i, j, k, m] - pp[i, j, k, m]
    along(pq, factor, rows, columns, hessian)

    # sigma, beta and, for REML, X'V^-1 X follow Psi
    u, w = np.zeros(n), np.zeros((n, p))
    pair = np.zeros((n, p, p))
    for a in range(n):
        i = rows[a]
        gradient[a] = 0.0
        for c in range(columns[a], q):
            value = factor[c, columns[a]]
            gradient[a] += 2.0 * value * score[i, c]
            u[a] += 2.0 * value * tt[i, c]
            for k in range(p):
                w[a, k] += value * (tc[i, c, k] + tc[c, i, k])
            if cc.size:
                for k in range(p):
                    for m in range(p):
                        pair[a, k, m] += value * (cc[i, c, k, m] if i >= c else cc[c, i, k, m])
        if cc.size:
            for k in range(p):
                for m in range(k + 1):
                    value = pair[a, k, m] + pair[a, m, k]
                    pair[a, k, m] = pair[a, m, k] = value
    for a in range(n):
        for b in range(a + 1):
            value = u[a] * u[b] / nu
            for k in range(p):
                value += 2.0 * scale * w[a, k] * w[b, k]
            if cc.size:
                for k in range(p):
                    value += pair[a, k, k] * pair[b, k, k]
                    for m in range(k):
                        value += 2.0 * pair[a, k, m] * pair[b, k, m]
            hessian[a, b] -= value
            if columns[a] == columns[b]:
                hessian[a, b] += 2.0 * score[rows[a], rows[b]]
            hessian[b, a] = hessian[a, b]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def inform(
    factor: FloatArray,
    rows: IntArray,
    columns: IntArray,
    n_rows: float,
    score: FloatArray,
    p_sum: FloatArray,
    pp: FloatArray,
    out: FloatArray,
) -> None:
    """Expected information (k, k) in the elements of Lambda, with the positive part of S for the curvature of Psi."""
    n, q = len(rows), factor.shape[0]
    along(pp, factor, rows, columns, out)
    values, vectors = np.empty((q, q)), np.empty((q, q))
    copy(score, values)
    symmetric_eigen(values, vectors)
    trace = np.zeros(n)
    for a in range(n):
        for c in range(columns[a], q):
            trace[a] += 2.0 * factor[c, columns[a]] * p_sum[rows[a], c]
    for a in range(n):
        for b in range(a + 1):
            out[a, b] -= trace[a] * trace[b] / n_rows
            if columns[a] == columns[b]:
                for k in range(q):
                    if values[k, k] > 0.0:
                        out[a, b] += 2.0 * values[k, k] * vectors[rows[a], k] * vectors[rows[b], k]
            out[b, a] = out[a, b]
