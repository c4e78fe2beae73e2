"""Sums over groups for the marginal likelihood y ~ N(X beta, sigma^2 (I + Z Psi Z')), from the groups' square roots."""

import numba
import numpy as np

from crosslevel.types import FloatArray


@numba.njit(cache=True, nogil=True, error_model="numpy")
def whiten_groups(
    root: FloatArray,
    image: FloatArray,
    factor: FloatArray,
    multiplicity: FloatArray,
    precision_out: FloatArray,
    cross_out: FloatArray,
    total_out: FloatArray,
) -> float:
    """Z'V^-1 Z and Z'V^-1 X of each group, sum of c'H^-1 c, and sum of log|V|.

    H = I + (R Lambda)(R Lambda)' = L L', and P = (L^-1 R)'(L^-1 R), D = (L^-1 R)'(L^-1 c). This is exact and free of
    cancellation whether Psi = Lambda Lambda' or R is singular or huge.

    Parameters
    ----------
    root, image : (J, q, q), (J, q, p) R and c of each group.
    factor : (q, q) Lambda.
    multiplicity : (J,) how often each group counts.
    precision_out, cross_out : (J, q, q) P and (J, q, p) D.
    total_out : (p, p) lower triangle of the sum of c'H^-1 c, added to.

    Returns
    -------
    Sum over groups of log|V|.
    """
    n_groups, q, p = image.shape
    t = np.empty((q, q))
    chol = np.empty((q, q))
    u = np.empty((q, q + p))
    log_det = 0.0
    for g in range(n_groups):
        weight = multiplicity[g]
        for i in range(q):
            for j in range(q):
                value = 0.0
                for k in range(q):
                    value += root[g, i, k] * factor[k, j]
                t[i, j] = value

        # H = L L'
        product = 1.0
        for i in range(q):
            for j in range(i + 1):
                value = 1.0 if i == j else 0.0
                for k in range(q):
                    value += t[i, k] * t[j, k]
                for k in range(j):
                    value -= chol[i, k] * chol[j, k]
                if i == j:
                    product *= value
                    chol[i, i] = np.sqrt(value)
                else:
                    chol[i, j] = value / chol[j, j]
            if product > 1e200:
                log_det += weight * np.log(product)
                product = 1.0
        log_det += weight * np.log(product)

        # [L^-1 R, L^-1 c]
        for i in range(q):
            inverse = 1.0 / chol[i, i]
            for j in range(q):
                value = root[g, i, j]
                for k in range(i):
                    value -= chol[i, k] * u[k, j]
                u[i, j] = value * inverse
            for j in range(p):
                value = image[g, i, j]
                for k in range(i):
                    value -= chol[i, k] * u[k, q + j]
                u[i, q + j] = value * inverse

        for i in range(q):
            for j in range(i + 1):
                value = 0.0
                for k in range(q):
                    value += u[k, i] * u[k, j]
                precision_out[g, i, j] = value
                precision_out[g, j, i] = value
            for j in range(p):
                value = 0.0
                for k in range(q):
                    value += u[k, i] * u[k, q + j]
                cross_out[g, i, j] = value
        for k in range(q):
            for a in range(p):
                value = weight * u[k, q + a]
                for b in range(a + 1):
                    total_out[a, b] += value * u[k, q + b]
    return log_det


@numba.njit(cache=True, nogil=True, error_model="numpy")
def derivative_sums(
    precision: FloatArray,
    cross: FloatArray,
    multiplicity: FloatArray,
    contrast: FloatArray,
    whitened: FloatArray,
    scale: float,
    restricted: bool,
    score_out: FloatArray,
    p_out: FloatArray,
    tt_out: FloatArray,
    pp_out: FloatArray,
    pq_out: FloatArray,
    tc_out: FloatArray,
    cc_out: FloatArray,
) -> None:
    """Sums over groups of which the gradient and the Hessian of the deviance in Psi are made.

    With t = D contrast = Z'V^-1 (y - X beta), F = D_X whitened (F F' = Z'V^-1 X (X'V^-1 X)^-1 X'V^-1 Z), and
    Q = scale t t' + [F F'] ([] when `restricted`):

    Parameters
    ----------
    precision, cross : (J, q, q) P, (J, q, p + 1) D = Z'V^-1 [X y].
    multiplicity : (J,) how often each group counts.
    contrast : (p + 1,) = (-beta, 1).
    whitened : (p, p) upper triangular W with W W' = (X'V^-1 X)^-1.
    scale : nu / r^2.
    restricted : whether F enters Q.
    score_out : (q, q) sum of P - Q, added to, as all others; lower triangle only (i >= j, k >= l) where symmetric.
    p_out, tt_out : (q, q) sums of P and of scale t t'; lower triangles.
    pp_out, pq_out : (q, q, q, q) sums of P[i, j] P[k, l] and P[i, j] Q[k, l]; lower triangles.
    tc_out : (q, q, p) sum of t[i] F[j, k].
    cc_out : (q, q, p, p) sum of F[i, k] F[j, l] for i >= j; left out when it has no elements.
    """
    n_groups, q, p1 = cross.shape
    p = p1 - 1
    t = np.empty(q)
    f = np.empty((q, p))
    big_q = np.empty((q, q))
    with_cc = cc_out.size > 0
    for g in range(n_groups):
        weight = multiplicity[g]
        for i in range(q):
            value = 0.0
            for j in range(p1):
                value += cross[g, i, j] * contrast[j]
            t[i] = value
            for j in range(p):
                value = 0.0
                for k in range(j + 1):
                    value += cross[g, i, k] * whitened[k, j]
                f[i, j] = value
        for i in range(q):
            for j in range(i + 1):
                ff = 0.0
                if restricted:
                    for k in range(p):
                        ff += f[i, k] * f[j, k]
                tt = scale * t[i] * t[j]
                big_q[i, j] = tt + ff
                big_q[j, i] = tt + ff
                score_out[i, j] += weight * (precision[g, i, j] - tt - ff)
                p_out[i, j] += weight * precision[g, i, j]
                tt_out[i, j] += weight * tt
        for i in range(q):
            for j in range(i + 1):
                value = weight * precision[g, i, j]
                for k in range(q):
                    for m in range(k + 1):
                        pp_out[i, j, k, m] += value * precision[g, k, m]
                        pq_out[i, j, k, m] += value * big_q[k, m]
        for i in range(q):
            for j in range(q):
                for k in range(p):
                    tc_out[i, j, k] += weight * t[i] * f[j, k]
        if with_cc:
            for i in range(q):
                for j in range(i + 1):
                    for k in range(p):
                        value = weight * f[i, k]
                        for m in range(p):
                            cc_out[i, j, k, m] += value * f[j, m]
