"""Likelihoods of clusters by Laplace's approximation or adaptive Gauss-Hermite quadrature, with their derivatives.

With h and its mode u and Hessian H = C C' as in `modes`, nodes z_k with weights w_k, and u_k = u + C'^-1 z_k,

    log L = -log|C| + log sum_k exp(log w_k + z_k'z_k / 2 - h(u_k)),

which is Laplace's approximation with the one node 0 of weight 1. The derivatives are exact for this sum, nodes moving
with the mode and with H: those in C go through the adjoint of the Cholesky factorisation to H and so to W = -l'' of
each row, those in u through the equation that the mode solves. With D = -2 log L, p_k the nodes' shares of the sum,
l'_k the rows' l' at node k, G_k = Z'l'_k, v_k = u_k - Lambda'G_k, and g = Z'l' and A = Z'WZ at the mode:

    dD/dC = 2 diag(1/C) - 2 sum p_k (u_k - u) (C^-1 v_k)',   S = C'^-1 lower(C' dD/dC) C^-1, the symmetric part of it,
    c_i = z_i'Lambda S Lambda'z_i,   a_i = -l'''_i c_i,   r = H^-1 (2 sum p_k v_k + Lambda'Z'a),   e_i = z_i'Lambda r,
    dD/d eta0_i = -2 sum p_k l'_ki + a_i - W_i e_i,
    dD/d Lambda = -2 sum p_k G_k u_k' + Z'(a - W e) u' + g r' + 2 A Lambda S,
    dD/d shape = -2 sum p_k dl_k/ds + sum c_i dW_i/ds + sum e_i dl'_i/ds.

Source: Pinheiro & Chao (2006), J. Comput. Graph. Stat. 15: 58-81, for the quadrature; the derivatives are ours.
"""

import numba
import numpy as np

from crosslevel.kernels.leaf import leaf
from crosslevel.kernels.modes import RUN, dot, dot_three, linear_predictor, row_densities, settle, step_linearly, total
from crosslevel.kernels.node_terms import add_by_shape, add_fixed, moving_terms, read_answers
from crosslevel.kernels.responses import by_shape
from crosslevel.kernels.small import adjoint_of_factor, invert, product, solve_lower, solve_upper
from crosslevel.types import FloatArray, IntArray

BATCH = 512
"""Rows times nodes that are worked on together, so that loops over them are long."""

FAR = 1.0
"""Change of a row's linear predictor up to which modes are moved along its first-order effect."""


@leaf(fastmath={"contract"})
def add_multiple(factor: float, a: FloatArray, out: FloatArray) -> None:
    """Add factor a (n,) to out."""
    for i in range(len(a)):
        out[i] += factor * a[i]


@leaf(fastmath={"contract"})
def add_products(factor: float, a: FloatArray, b: FloatArray, out: FloatArray) -> None:
    """Add factor a b (n,) to out."""
    for i in range(len(a)):
        out[i] += factor * a[i] * b[i]


@leaf()
def tile(source: FloatArray, low: int, high: int, times: int, out: FloatArray) -> None:
    """Write elements low to high of `source` to `out`, several times one after another."""
    n = high - low
    for k in range(times):
        for i in range(n):
            out[k * n + i] = source[low + i]


@leaf()
def integrate(
    code: int, shape: FloatArray, y: FloatArray, size: FloatArray, weight: FloatArray, eta0: FloatArray, z: FloatArray,
    low: int, high: int, factor: FloatArray, chol: FloatArray, u: FloatArray, least: float,
    nodes: FloatArray, log_weights: FloatArray, scratch: tuple[FloatArray, ...], vectors: FloatArray,
    fixed_change: FloatArray, row_sum: FloatArray, lambda_sum: FloatArray, slope: FloatArray, lever: FloatArray,
    shape_sum: FloatArray,
) -> float:  # fmt: skip
    """Log of the sum over nodes, less that of h at the mode, and averages over nodes that its derivatives are made of.

    Parameters
    ----------
    code, shape, y, size, weight, eta0, z, factor : see `modes.settle`.
    low, high : the cluster's rows.
    chol, u, least : (q, q) C, (q,) mode, h there.
    nodes, log_weights : (N, q) z_k, (N,) log w_k + z_k'z_k / 2.
    scratch, vectors, fixed_change : eight arrays as long as a batch, (4, q), (m,).
    row_sum : (n,) sum p_k l'_k of the cluster's rows, written.
    lambda_sum, slope, lever : (q, q) sum p_k G_k u_k', (q,) sum p_k v_k, (q, q) sum p_k (u_k - u)(C^-1 v_k)', written.
    shape_sum : (m,) sum p_k dl_k/ds, written.
    """
    q, n, m, n_nodes = len(u), high - low, len(shape), len(log_weights)
    tile_y, tile_size, tile_weight, eta, value, first, upper, lower = scratch
    away, point, g, v = vectors[0], vectors[1], vectors[2], vectors[3]
    at_once = max(1, min(n_nodes, BATCH // max(n, 1)))
    fixed = 0.0
    if m > 0:
        for s in range(m):
            fixed_change[s] = 0.0
        fixed = add_fixed(code, shape, y, size, weight, low, high, fixed_change)
        read_answers(code, y, size, low, high, at_once, tile_y, tile_size)
    else:
        tile(y, low, high, at_once, tile_y)
        tile(size, low, high, at_once, tile_size)
    tile(weight, low, high, at_once, tile_weight)
    for i in range(low, high):
        row_sum[i] = 0.0
    for i in range(q):
        slope[i] = 0.0
        for j in range(q):
            lambda_sum[i, j] = lever[i, j] = 0.0
    total_share = 0.0
    done = 0
    while done < n_nodes:
        some = min(at_once, n_nodes - done)
        for k in range(some):
            for j in range(q):
                away[j] = nodes[done + k, j]
            solve_upper(chol, away, q)
            for j in range(q):
                point[j] = u[j] + away[j]
            linear_predictor(eta0, z, factor, point, low, high, eta, k * n)
        length = some * n
        if m > 0:
            moving_terms(
                code, shape, tile_y[:length], tile_size[:length], tile_weight[:length], eta[:length], value[:length],
                first[:length], upper[:length], lower[:length],
            )  # fmt: skip
        else:
            row_densities(
                code, shape, tile_y[:length], tile_size[:length], tile_weight[:length], eta[:length], value[:length],
                first[:length],
            )  # fmt: skip
        for k in range(some):
            for j in range(q):
                away[j] = nodes[done + k, j]
            solve_upper(chol, away, q)
            a, b = k * n, (k + 1) * n
            h = -total(value[a:b]) - fixed
            for j in range(q):
                point[j] = u[j] + away[j]
                h += 0.5 * point[j] * point[j]
                g[j] = dot(z[j][low:high], first[a:b])
            share = np.exp(log_weights[done + k] - (h - least))
            total_share += share
            for j in range(q):
                v[j] = point[j]
                for i in range(q):
                    v[j] -= factor[i, j] * g[i]
                slope[j] += share * v[j]
            solve_lower(chol, v, q)
            for i in range(q):
                for j in range(q):
                    lambda_sum[i, j] += share * g[i] * point[j]
                    lever[i, j] += share * away[i] * v[j]
            add_multiple(share, first[a:b], row_sum[low:high])
            if m > 0:
                add_by_shape(code, tile_y[:n], upper[a:b], lower[a:b], share, shape_sum)
        done += some
    for i in range(low, high):
        row_sum[i] /= total_share
    for i in range(q):
        slope[i] /= total_share
        for j in range(q):
            lambda_sum[i, j] /= total_share
            lever[i, j] /= total_share
    for s in range(m):
        shape_sum[s] = shape_sum[s] / total_share + fixed_change[s]
    return float(np.log(total_share))


@leaf()
def differentiate(
    code: int, shape: FloatArray, y: FloatArray, size: FloatArray, weight: FloatArray, z: FloatArray,
    low: int, high: int, factor: FloatArray, u: FloatArray, eta: FloatArray, second: FloatArray, third: FloatArray,
    gradient: FloatArray, square: FloatArray, chol: FloatArray, by_curvature: FloatArray, slope: FloatArray,
    scratch: tuple[FloatArray, ...], squares: FloatArray, vectors: FloatArray, changes: FloatArray,
    tilt: FloatArray, row_gradient: FloatArray, lambda_gradient: FloatArray, shape_gradient: FloatArray,
) -> None:  # fmt: skip
    """Derivatives of one cluster's D through its nodes' places, added to those at fixed nodes.

    Parameters
    ----------
    code, shape, y, size, weight, z, low, high, factor, u, chol : see `integrate`.
    eta, second, third : (n,) linear predictor, l'' and l''' at the mode.
    gradient, square : (q,) Z'l' and (q, q) A at the mode.
    by_curvature : (q, q) S.
    slope : (q,) derivative in the mode at fixed eta0 and H, 2 sum p_k v_k.
    scratch, squares, vectors, changes : arrays as long as the cluster, (r, q, q), (r, q), (3, m).
    tilt : (q,) Z'a, written.
    row_gradient, lambda_gradient, shape_gradient : (n,), (q, q), (m,) added to.
    """
    q, n, m = len(u), high - low, len(shape)
    half, spread, shift, r = squares[0], squares[1], vectors[0], vectors[1]
    product(factor, by_curvature, half)
    for i in range(q):
        for j in range(q):
            spread[i, j] = 0.0
            for k in range(q):
                spread[i, j] += half[i, k] * factor[j, k]
    c, e = scratch[0][:n], scratch[1][:n]
    for i in range(n):
        c[i] = e[i] = 0.0
    for i in range(q):
        for j in range(i + 1):
            twice = spread[i, j] if i == j else 2.0 * spread[i, j]
            add_products(twice, z[i][low:high], z[j][low:high], c)
    for j in range(q):
        tilt[j] = -dot_three(z[j][low:high], third[low:high], c)
    for j in range(q):
        r[j] = slope[j]
        for i in range(q):
            r[j] += factor[i, j] * tilt[i]
    solve_lower(chol, r, q)
    solve_upper(chol, r, q)
    product(square, half, spread)  # A Lambda S
    for i in range(q):
        for j in range(q):
            lambda_gradient[i, j] += gradient[i] * r[j] + 2.0 * spread[i, j]
    for j in range(q):
        shift[j] = 0.0
        for k in range(q):
            shift[j] += factor[j, k] * r[k]
        add_multiple(shift[j], z[j][low:high], e)
    for i in range(n if m > 0 else 0):
        by_shape(code, y[low + i], size[low + i], eta[low + i], shape, changes)
        for s in range(m):
            shape_gradient[s] += weight[low + i] * (changes[1, s] * e[i] - changes[2, s] * c[i])
    move(second[low:high], third[low:high], c, e)
    add_multiple(1.0, e, row_gradient[low:high])
    for i in range(q):
        moved = dot(z[i][low:high], e)
        for j in range(q):
            lambda_gradient[i, j] += moved * u[j]


@leaf(fastmath={"contract"})
def move(second: FloatArray, third: FloatArray, c: FloatArray, e: FloatArray) -> None:
    """Replace e (n,) by l'' e - l''' c: what curvature and the modes' move add to a row's derivative."""
    for i in range(len(e)):
        e[i] = second[i] * e[i] - third[i] * c[i]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def evaluate_clusters(
    code: int, shape: FloatArray, y: FloatArray, size: FloatArray, weight: FloatArray, eta0: FloatArray, z: FloatArray,
    start: IntArray, count: FloatArray, clusters: IntArray, factor: FloatArray, nodes: FloatArray,
    log_weights: FloatArray, predict: bool,
    u: FloatArray, eta: FloatArray, value: FloatArray, first: FloatArray, second: FloatArray, third: FloatArray,
    gradient: FloatArray, square: FloatArray, chol: FloatArray, minimum: FloatArray,
    tilt: FloatArray, deviance: FloatArray, row_gradient: FloatArray, lambda_gradient: FloatArray,
    shape_gradient: FloatArray,
) -> None:  # fmt: skip
    """Modes, deviance and its derivatives of some neighbouring clusters.

    Parameters
    ----------
    code .. start, factor, u .. minimum : see `modes.settle`; (J, ...) and (n,) are those of all clusters.
    count : (J,) how often each cluster counts: its deviance and derivatives are multiplied by it.
    clusters : (2,) the first of the clusters and the one after the last.
    nodes, log_weights : see `integrate`.
    predict : whether eta, first and second hold the state at other parameters with the modes u.
    tilt : (J, q) Z'a, written.
    deviance : (J,) -2 log L without what is free of parameters, written to zeros.
    row_gradient, lambda_gradient, shape_gradient : (n,), (J, q, q), (J, m) derivatives, written to zeros.
    """
    q, m, longest = factor.shape[0], len(shape), 0
    for g in range(clusters[0], clusters[1]):
        longest = max(longest, start[g + 1] - start[g])
    squares, vectors, changes = np.empty((3, q, q)), np.empty((4, q)), np.zeros((3, m))
    step, progress = np.empty((RUN, q)), np.ones((4, RUN))
    batch = max(BATCH, longest)
    scratch = (
        np.empty(batch), np.empty(batch), np.empty(batch), np.empty(batch), np.empty(batch), np.empty(batch),
        np.empty(batch), np.empty(batch),
    )  # fmt: skip
    slope, lever, by_curvature = np.zeros(q), np.zeros((q, q)), np.empty((q, q))
    low = clusters[0]
    while low < clusters[1]:
        high = low + 1
        while high < clusters[1] and start[high + 1] - start[low] <= RUN and high - low < RUN:
            high += 1
        if predict:
            step_linearly(
                eta0, z, start, low, high, factor, u, eta, first, second, FAR, squares, vectors, scratch[0],
            )  # fmt: skip
        settle(
            code, shape, y, size, weight, eta0, z, start, low, high, factor, u, eta, value, first, second, third,
            gradient, square, chol, minimum, count, squares[0], step, progress,
        )  # fmt: skip
        for g in range(low, high):
            a, b, w = start[g], start[g + 1], count[g]
            if w == 0.0:  # what is known of its random effects without its rows
                for j in range(q):
                    u[g, j] = 0.0
                    for k in range(q):
                        chol[g, j, k] = 1.0 if j == k else 0.0
                for i in range(a, b):
                    eta[i] = eta0[i]
                continue
            if not minimum[g] < np.inf:
                deviance[g] = np.inf
                continue
            deviance[g] = 2.0 * minimum[g]
            for j in range(q):
                deviance[g] += 2.0 * np.log(chol[g, j, j])
            if len(log_weights) > 1:
                deviance[g] -= 2.0 * integrate(
                    code, shape, y, size, weight, eta0, z, a, b, factor, chol[g], u[g], minimum[g], nodes, log_weights,
                    scratch, vectors, changes[0], row_gradient, lambda_gradient[g], slope, lever, shape_gradient[g],
                )  # fmt: skip
                chain(chol[g], lever, squares, vectors, by_curvature)
                for i in range(a, b):
                    row_gradient[i] *= -2.0
            else:
                invert(chol[g], vectors[0], by_curvature)
                at_mode(code, shape, y, size, weight, eta, first, a, b, gradient[g], u[g], changes, row_gradient,
                        lambda_gradient[g], shape_gradient[g])  # fmt: skip
            for i in range(q):
                slope[i] *= 2.0
                for j in range(q):
                    lambda_gradient[g, i, j] *= -2.0
            for s in range(m):
                shape_gradient[g, s] *= -2.0
            differentiate(
                code, shape, y, size, weight, z, a, b, factor, u[g], eta, second, third, gradient[g], square[g],
                chol[g], by_curvature, slope, scratch, squares, vectors, changes, tilt[g], row_gradient,
                lambda_gradient[g], shape_gradient[g],
            )  # fmt: skip
            if w != 1.0:
                deviance[g] *= w
                for i in range(a, b):
                    row_gradient[i] *= w
                for i in range(q):
                    for j in range(q):
                        lambda_gradient[g, i, j] *= w
                for s in range(m):
                    shape_gradient[g, s] *= w
        low = high


@leaf()
def chain(
    chol: FloatArray, lever: FloatArray, squares: FloatArray, vectors: FloatArray, by_curvature: FloatArray
) -> None:
    """Derivative S in H (q, q) of a cluster's D, by way of that in C, 2 diag(1/C) - 2 `lever`."""
    q, by_chol = chol.shape[0], squares[0]
    for i in range(q):
        for j in range(q):
            by_chol[i, j] = -2.0 * lever[i, j]
        by_chol[i, i] += 2.0 / chol[i, i]
    adjoint_of_factor(chol, by_chol, squares[1], vectors[0], by_curvature)


@leaf()
def at_mode(
    code: int, shape: FloatArray, y: FloatArray, size: FloatArray, weight: FloatArray, eta: FloatArray,
    first: FloatArray, low: int, high: int, gradient: FloatArray, u: FloatArray, changes: FloatArray,
    row_gradient: FloatArray, lambda_sum: FloatArray, shape_sum: FloatArray,
) -> None:  # fmt: skip
    """What `integrate` averages over nodes, of the one node at the mode; `row_gradient` is -2 l'."""
    q, m = len(u), len(shape)
    for i in range(low, high):
        row_gradient[i] = -2.0 * first[i]
    for i in range(q):
        for j in range(q):
            lambda_sum[i, j] = gradient[i] * u[j]
    if m > 0:
        for i in range(low, high):
            by_shape(code, y[i], size[i], eta[i], shape, changes)
            for s in range(m):
                shape_sum[s] += weight[i] * changes[0, s]
