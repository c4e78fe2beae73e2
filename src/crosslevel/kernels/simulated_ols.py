"""Pooled least squares with cluster-robust variances in many replications, from the cross-products of their clusters.

In working coordinates (mean 0 where there is an intercept, standard deviation 1), with C C' = M = (X'X)^-1,

    K_g = C'X_g'X_g C = U D U',   t_g = C'X_g'e_g,   sum_g K_g = I.

An adjustment turns residuals so that M X_g'A_g e_g = C U f(D) U't_g: f = 1 (CR0), (1 - D)^-1/2, zero where nothing is
left (CR2), (1 - D)^-1 (CR3). For one combination of coefficients c'beta, a = C'c and w_g = U f(D) U'a,

    V = sum_g (w_g't_g)^2,   u_g = K_g w_g,   m_g = w_g'u_g - u_g'u_g,
    Satterthwaite: (sum m_g)^2 / (|sum_g u_g u_g'|^2 + sum_g (m_g^2 - (u_g'u_g)^2)),

the working model being independent rows of equal variance: `inference.cluster_robust` and `inference.robust_tests`,
whose algebra this is, for one contrast at a time and p x p matrices alone.
"""

import numba
import numpy as np

from crosslevel.kernels.small import cholesky, copy, inverse_transposed, symmetric_eigen
from crosslevel.types import BoolArray, FloatArray, IntArray

FITTED, UNIDENTIFIED, REFUSED = 0, 1, 3
"""How a replication ends, as in `inference.bootstrap.batch.Outcome`."""

ALIASED, RELATIVE, NOTHING, UNSEEN, LEVERAGE_ONE = 1e-11, 1e-26, 1e-13, 1e-10, 1e-10
"""Limits of `design.reduced.independent_columns` (two), `design.checks`, `inference.robust_tests` and
`inference.cluster_robust`."""

PLAIN, REDUCED, JACKKNIFE = 0, 1, 2
"""Adjustments: f = 1 (CR0, CR1, CR1S), CR2, CR3."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def working_products(
    count: FloatArray,
    mean: FloatArray,
    scatter: FloatArray,
    columns: IntArray,
    intercept: int,
    shift: FloatArray,
    scale: FloatArray,
    own: FloatArray,
    total: FloatArray,
) -> int:
    """Products of [X y] by cluster and in all, in working coordinates; how that ends, of the codes above.

    Parameters
    ----------
    count, mean, scatter : (J,), (J, m), (J, m, m) moments of one replication.
    columns : (p + 1,) places of [X y] among the m columns.
    intercept : place of the constant column in X, -1 if there is none.
    shift, scale : (p + 1,) working columns are (x - shift) / scale; written.
    own, total : (J, p + 1, p + 1) and (p + 1, p + 1); written.
    """
    n_clusters, p1 = len(count), len(columns)
    n = 0.0
    for g in range(n_clusters):
        n += count[g]
    for i in range(p1):
        place = columns[i]
        centre = 0.0
        for g in range(n_clusters):
            centre += count[g] * mean[g, place]
        centre /= n
        variance = 0.0
        for g in range(n_clusters):
            away = mean[g, place] - centre
            variance += scatter[g, place, place] + count[g] * away * away
        variance /= n
        nothing = not variance > RELATIVE * (variance + centre * centre)
        shift[i], scale[i] = centre, np.sqrt(variance)
        if intercept < 0:
            shift[i], scale[i] = 0.0, np.sqrt(variance + centre * centre)
        if i == intercept:
            shift[i], scale[i] = 0.0, 1.0
        elif nothing and i == p1 - 1:
            return REFUSED
        elif (nothing and intercept >= 0) or not scale[i] > 0.0:
            return UNIDENTIFIED
    for i in range(p1):
        for j in range(i + 1):
            unit, value = 1.0 / (scale[i] * scale[j]), 0.0
            for g in range(n_clusters):
                one, other = mean[g, columns[i]] - shift[i], mean[g, columns[j]] - shift[j]
                own[g, i, j] = (scatter[g, columns[i], columns[j]] + count[g] * one * other) * unit
                own[g, j, i] = own[g, i, j]
                value += own[g, i, j]
            total[i, j] = total[j, i] = value
    return FITTED


@numba.njit(cache=True, nogil=True, error_model="numpy")
def solve_pooled(total: FloatArray, own: FloatArray, half: FloatArray, beta: FloatArray, scores: FloatArray) -> bool:
    """Least squares: beta, X_g'e_g, and C; false if earlier columns determine one.

    Parameters
    ----------
    total, own : of `working_products`.
    half : (p, p) C, upper triangular; written.
    beta : (p,) working coefficients, refined once; written.
    scores : (J, p) X_g'e_g; written.
    """
    n_clusters, p = scores.shape
    chol, image, change = np.empty((p, p)), np.empty(p), np.empty(p)
    for i in range(p):
        beta[i] = 0.0
        for j in range(p):
            chol[i, j] = total[i, j]
            half[i, j] = 0.0
    if not cholesky(chol):
        return False
    for i in range(p):
        if not chol[i, i] * chol[i, i] > ALIASED * total[i, i]:
            return False
    inverse_transposed(chol, p, half)
    for step in range(3):  # solved, refined, and the residuals of that
        for i in range(p):
            change[i] = 0.0
        for g in range(n_clusters):
            for i in range(p):
                value = own[g, i, p]
                for j in range(p):
                    value -= own[g, i, j] * beta[j]
                scores[g, i] = value
                change[i] += value
        if step == 2:
            break
        for i in range(p):
            image[i] = 0.0
            for k in range(i + 1):
                image[i] += half[k, i] * change[k]
        for i in range(p):
            for k in range(i, p):
                beta[i] += half[i, k] * image[k]
    return True


@numba.njit(cache=True, nogil=True, error_model="numpy")
def turn_terms(
    terms: IntArray,
    intercept: int,
    shift: FloatArray,
    scale: FloatArray,
    half: FloatArray,
    beta: FloatArray,
    directions: FloatArray,
    estimate: FloatArray,
    model: FloatArray,
) -> None:
    """Coefficients in the units of the data: estimates (T,), a = C'c (T, p), and a'a (T,); all three are written."""
    p = len(beta)
    weights = np.empty(p)
    for t in range(len(terms)):
        for k in range(p):
            weights[k] = 0.0
            if terms[t] == intercept:
                weights[k] = -shift[k] * scale[p] / scale[k]
        weights[terms[t]] = scale[p] / scale[terms[t]]
        estimate[t] = shift[p] if terms[t] == intercept else 0.0
        model[t] = 0.0
        for i in range(p):
            estimate[t] += weights[i] * beta[i]
            value = 0.0
            for k in range(i + 1):
                value += half[k, i] * weights[k]
            directions[t, i] = value
            model[t] += value * value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def turn_cluster(
    own: FloatArray, score: FloatArray, half: FloatArray, work: FloatArray, inner: FloatArray, image: FloatArray
) -> None:
    """K (p, p) and t (p,) of one cluster, written to `inner` and `image`; `work` is (p, p)."""
    p = half.shape[0]
    for i in range(p):
        for j in range(p):
            value = 0.0
            for k in range(j + 1):
                value += own[i, k] * half[k, j]
            work[i, j] = value
    for i in range(p):
        for j in range(i + 1):
            value = 0.0
            for k in range(i + 1):
                value += half[k, i] * work[k, j]
            inner[i, j] = inner[j, i] = value
        value = 0.0
        for k in range(i + 1):
            value += half[k, i] * score[k]
        image[i] = value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def adjusted_direction(
    adjustment: int, direction: FloatArray, values: FloatArray, vectors: FloatArray, out: FloatArray
) -> bool:
    """Write w = U f(D) U'a, with D on the diagonal of `values`; false where f is not defined."""
    p = len(direction)
    if adjustment == PLAIN:
        for i in range(p):
            out[i] = direction[i]
        return True
    for i in range(p):
        out[i] = 0.0
    for k in range(p):
        kept = 1.0 - values[k, k]
        share = 0.0
        if kept >= LEVERAGE_ONE:
            share = 1.0 / kept if adjustment == JACKKNIFE else 1.0 / np.sqrt(kept)
        elif adjustment == JACKKNIFE:
            return False
        along = 0.0
        for i in range(p):
            along += vectors[i, k] * direction[i]
        for i in range(p):
            out[i] += vectors[i, k] * along * share
    return True


@numba.njit(cache=True, nogil=True, error_model="numpy")
def add_cluster(
    adjusted: FloatArray, inner: FloatArray, image: FloatArray, turned: FloatArray, squares: FloatArray,
    sums: FloatArray,
) -> None:  # fmt: skip
    """Add one cluster to `squares`, sum u u' (p, p), and to `sums`: V, sum m, sum (m^2 - (u'u)^2); u is `turned`."""
    p = len(adjusted)
    change, whole, within = 0.0, 0.0, 0.0
    for i in range(p):
        value = 0.0
        for k in range(p):
            value += inner[i, k] * adjusted[k]
        turned[i] = value
        change += adjusted[i] * image[i]
        whole += adjusted[i] * value
        within += value * value
    for i in range(p):
        for k in range(i + 1):
            squares[i, k] += turned[i] * turned[k]
    sums[0] += change * change
    sums[1] += whole - within
    sums[2] += (whole - within) * (whole - within) - within * within


@numba.njit(cache=True, nogil=True, error_model="numpy")
def robust_terms(
    own: FloatArray,
    scores: FloatArray,
    half: FloatArray,
    directions: FloatArray,
    model: FloatArray,
    wanted: BoolArray,
    variance: FloatArray,
    df: FloatArray,
) -> None:
    """V and Satterthwaite's degrees of freedom (T, 3) of every adjustment that is wanted (3,).

    NaN where the clusters contribute nothing to a coefficient, or the adjustment is not defined.
    """
    n_terms, p = directions.shape
    inner, work, vectors, values = np.empty((p, p)), np.empty((p, p)), np.empty((p, p)), np.empty((p, p))
    image, adjusted, turned = np.empty(p), np.empty(p), np.empty(p)
    squares, sums = np.zeros((n_terms, 3, p, p)), np.zeros((n_terms, 3, 3))
    for g in range(len(own)):
        turn_cluster(own[g], scores[g], half, work, inner, image)
        if wanted[REDUCED] or wanted[JACKKNIFE]:
            copy(inner, values)
            symmetric_eigen(values, vectors)
        for t in range(n_terms):
            for kind in range(3):
                if wanted[kind]:
                    if not adjusted_direction(kind, directions[t], values, vectors, adjusted):
                        sums[t, kind, 0] = np.nan
                    add_cluster(adjusted, inner, image, turned, squares[t, kind], sums[t, kind])
    for t in range(n_terms):
        for kind in range(3):
            variance[t, kind] = df[t, kind] = np.nan
            if wanted[kind] and sums[t, kind, 1] > UNSEEN * model[t] and sums[t, kind, 0] >= 0.0:
                total = sums[t, kind, 2]
                for i in range(p):
                    for k in range(i):
                        total += 2.0 * squares[t, kind, i, k] * squares[t, kind, i, k]
                    total += squares[t, kind, i, i] * squares[t, kind, i, i]
                variance[t, kind] = sums[t, kind, 0]
                df[t, kind] = sums[t, kind, 1] * sums[t, kind, 1] / total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def pooled_batch(
    count: FloatArray,
    mean: FloatArray,
    scatter: FloatArray,
    columns: IntArray,
    intercept: int,
    terms: IntArray,
    wanted: BoolArray,
    outcome_out: IntArray,
    estimate_out: FloatArray,
    model_out: FloatArray,
    variance_out: FloatArray,
    df_out: FloatArray,
) -> None:
    """Pooled least squares in R replications.

    Parameters
    ----------
    count, mean, scatter : (R, J), (R, J, m), (R, J, m, m).
    columns : (p + 1,) places of [X y] among the m columns.
    intercept : place of the constant column in X, -1 if there is none.
    terms : (T,) places in X of the coefficients wanted.
    wanted : (3,) which adjustments are made: `PLAIN`, `REDUCED`, `JACKKNIFE`.
    outcome_out : (R,).
    estimate_out, model_out : (R, T) coefficients, and their variances if rows are independent and alike.
    variance_out, df_out : (R, T, 3) by adjustment, without factors for the number of clusters.
    """
    n_clusters, p1 = count.shape[1], len(columns)
    p = p1 - 1
    shift, scale, beta = np.empty(p1), np.empty(p1), np.empty(p)
    own, total, half = np.empty((n_clusters, p1, p1)), np.empty((p1, p1)), np.empty((p, p))
    scores, directions = np.empty((n_clusters, p)), np.empty((len(terms), p))
    for r in range(len(count)):
        n, used = 0.0, 0
        for g in range(n_clusters):
            n += count[r, g]
            used += count[r, g] > 0.0
        outcome_out[r] = REFUSED
        if not n > p or used < 2:
            continue
        outcome_out[r] = working_products(count[r], mean[r], scatter[r], columns, intercept, shift, scale, own, total)
        if outcome_out[r] != FITTED:
            continue
        if not solve_pooled(total, own, half, beta, scores):
            outcome_out[r] = UNIDENTIFIED
            continue
        rest = total[p, p]
        for i in range(p):
            rest -= 2.0 * beta[i] * total[i, p]
            for j in range(p):
                rest += beta[i] * beta[j] * total[i, j]
        if not rest > NOTHING * n:
            outcome_out[r] = REFUSED
            continue
        turn_terms(terms, intercept, shift, scale, half, beta, directions, estimate_out[r], model_out[r])
        robust_terms(own, scores, half, directions, model_out[r], wanted, variance_out[r], df_out[r])
        for t in range(len(terms)):
            model_out[r, t] *= rest / (n - p)
