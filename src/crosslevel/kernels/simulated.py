"""Moments of clusters drawn without their rows, many replications in one call."""

from typing import NamedTuple

import numba
import numpy as np

from crosslevel.kernels.streams import STREAM, fill_normal, gamma, integer, random_root, shuffle
from crosslevel.types import FloatArray, IntArray


class Recipe(NamedTuple):
    """A process of normal rows as arrays: J clusters, K row and C context variables, q random effects, M columns.

    Attributes
    ----------
    low, high : (J,) least and most rows of a cluster.
    size_mean, size_shape : of gamma-distributed sizes; shape 0 if they are uniform.
    context_mean, context_sd : (C,) of context variables.
    context_ones : (C,) clusters with a 1, for a context variable of 0 and 1; -1 for a normal one.
    row_mean, row_sd, row_between : (K,) mean, SD within clusters and SD of the cluster constants.
    row_root : (K, K) lower factor of the correlations within clusters.
    row_b : parameter of random correlations, which replace `row_root`; 0 if they are fixed.
    effect_sd : (q,) of the random effects.
    effect_root, effect_b : their correlations, likewise.
    block : (q,) effects of different blocks are independent; those of one stand side by side.
    sigma : SD of the residual.
    scale : (M,) constant factor of each column.
    factors : (M, F) its factors that are constant within clusters: c < C a context variable, C + k the mean of row
        variable k in the cluster, -1 none.
    row : (M,) its factor that varies between rows, -1 if none does.
    centred : (M,) whether that one is measured from its cluster mean.
    own : (P,) positions of the columns that make up the outcome.
    coefficient : (P,) their fixed effects on it.
    effect : (P,) the random effect that is added to that, -1 for none.
    """

    low: IntArray
    high: IntArray
    size_mean: float
    size_shape: float
    context_mean: FloatArray
    context_sd: FloatArray
    context_ones: IntArray
    row_mean: FloatArray
    row_sd: FloatArray
    row_between: FloatArray
    row_root: FloatArray
    row_b: float
    effect_sd: FloatArray
    effect_root: FloatArray
    effect_b: float
    block: IntArray
    sigma: float
    scale: FloatArray
    factors: IntArray
    row: IntArray
    centred: IntArray
    own: IntArray
    coefficient: FloatArray
    effect: IntArray


@numba.njit(cache=True, nogil=True, error_model="numpy")
def draw_sizes(state: STREAM, low: IntArray, high: IntArray, mean: float, shape: float, out: FloatArray) -> None:
    """Rows of each cluster (J,): uniform from `low` to `high`, or rounded gamma variables if `shape` is positive."""
    for g in range(out.shape[0]):
        if shape > 0.0:
            out[g] = max(np.floor(gamma(state, shape) * mean / shape + 0.5), 1.0)
        elif low[g] == high[g]:
            out[g] = low[g]
        else:
            out[g] = integer(state, low[g], high[g])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def draw_contexts(state: STREAM, mean: FloatArray, sd: FloatArray, ones: IntArray, out: FloatArray) -> None:
    """Values of the context variables (C, J): normal, or 0 and 1 where `ones` is not negative."""
    for c in range(out.shape[0]):
        if ones[c] < 0:
            fill_normal(state, out[c])
            for g in range(out.shape[1]):
                out[c, g] = mean[c] + sd[c] * out[c, g]
        else:
            for g in range(out.shape[1]):
                out[c, g] = 1.0 if g < ones[c] else 0.0
            shuffle(state, out[c])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def draw_root(state: STREAM, root: FloatArray, b: float, sd: FloatArray, block: IntArray, out: FloatArray) -> None:
    """Lower root of a covariance matrix: the leading (K, K) of `out`.

    Correlations have the given root, or are drawn for each run of equal numbers in `block` if `b` is positive.
    """
    size, start = sd.shape[0], 0
    for k in range(size):
        for i in range(size):
            out[i, k] = root[i, k]
    if b > 0.0:
        for k in range(1, size + 1):
            if k == size or block[k] != block[start]:
                random_root(state, b, out[start:k, start:k])
                start = k
    for k in range(size):
        for i in range(k + 1):
            out[k, i] *= sd[k]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def draw_vector(state: STREAM, root: FloatArray, out: FloatArray) -> None:
    """Normal vector (p,) with covariance root root'; `root` (p, p) is lower triangular."""
    fill_normal(state, out)
    for i in range(out.shape[0] - 1, -1, -1):
        total = 0.0
        for k in range(i + 1):
            total += root[i, k] * out[k]
        out[i] = total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def draw_scatter_root(state: STREAM, root: FloatArray, count: float, normals: FloatArray, out: FloatArray) -> int:
    """Root H of a centred scatter of `count` rows with covariance S = root root' : H H' is Wishart(count - 1, S).

    Bartlett's decomposition: H = root T with independent T_ik normal for i > k and T_kk^2 chi-square with
    count - 1 - k degrees of freedom; where that is not positive, column k of T is zero, and the Wishart is singular.

    Returns
    -------
    rank : columns of H that are not zero.

    Source
    ------
    Bartlett (1933), Proc. Royal Soc. Edinburgh 53: 260-283; Srivastava (2003), Ann. Statist. 31: 1537-1560 (singular).
    """
    p = root.shape[0]
    rank: int = min(p, int(count) - 1)
    for k in range(rank):
        fill_normal(state, normals[k + 1 :])
        normals[k] = np.sqrt(2.0 * gamma(state, 0.5 * (count - 1.0 - k)))
        for i in range(p):
            total = 0.0
            for j in range(k, i + 1):
                total += root[i, j] * normals[j]
            out[i, k] = total
    return rank


@numba.njit(cache=True, nogil=True, error_model="numpy")
def place_columns(
    scale: FloatArray,
    factors: IntArray,
    row: IntArray,
    centred: IntArray,
    contexts: FloatArray,
    g: int,
    means: FloatArray,
    level_out: FloatArray,
    mean_out: FloatArray,
) -> None:
    """Columns of a cluster as functions of its row variables.

    Parameters
    ----------
    scale, factors, row, centred : (M, ...) as in `Recipe`.
    contexts, g : (C, J) values of the context variables, and the cluster.
    means : (K + 1,) means of the row variables and of the residual in it.
    level_out : (M,) product of the factors that are constant in the cluster: the slope on the row variable.
    mean_out : (M,) means of the columns.
    """
    n_contexts = contexts.shape[0]
    for j in range(scale.shape[0]):
        level = scale[j]
        for i in range(factors.shape[1]):
            if factors[j, i] >= n_contexts:
                level *= means[factors[j, i] - n_contexts]
            elif factors[j, i] >= 0:
                level *= contexts[factors[j, i], g]
        level_out[j] = mean_out[j] = level
        if row[j] >= 0:
            mean_out[j] = 0.0 if centred[j] else level * means[row[j]]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def place_outcome(
    own: IntArray,
    coefficient: FloatArray,
    effect: IntArray,
    row: IntArray,
    effects: FloatArray,
    level: FloatArray,
    mean: FloatArray,
    slope_out: FloatArray,
) -> float:
    """Outcome of a cluster as a linear function of its row variables and residual.

    The sum runs over the columns as the process has them, so that it is the same to the last bit whatever else is
    drawn.

    Parameters
    ----------
    own, coefficient, effect, row : as in `Recipe`.
    effects : (q,) random effects of the cluster.
    level, mean : (M,) slopes of the columns on their row variables, and their means.
    slope_out : (K + 1,) slopes of the outcome; the last is that on the residual.

    Returns
    -------
    mean : of the outcome, the residual's excepted.
    """
    for k in range(slope_out.shape[0] - 1):
        slope_out[k] = 0.0
    slope_out[slope_out.shape[0] - 1] = 1.0
    total = 0.0
    for i in range(own.shape[0]):
        slope = coefficient[i]
        if effect[i] >= 0:
            slope += effects[effect[i]]
        total += slope * mean[own[i]]
        if row[own[i]] >= 0:
            slope_out[row[own[i]]] += slope * level[own[i]]
    return total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def turned_scatter(
    row: IntArray, level: FloatArray, slope: FloatArray, root: FloatArray, rank: int, half: FloatArray, out: FloatArray
) -> None:
    """Scatter of m columns and the outcome in a cluster: T H H' T', with the rows of T their slopes.

    Parameters
    ----------
    row, level : (M,) row variable of each column, and its slope on it.
    slope : (K + 1,) slopes of the outcome.
    root, rank : H, the first `rank` columns of (K + 1, K + 1).
    half : (m + 1, K + 1) scratch.
    out : (m + 1, m + 1) the scatter.
    """
    m = out.shape[0] - 1
    for i in range(rank):
        for j in range(m):
            half[j, i] = level[j] * root[row[j], i] if row[j] >= 0 else 0.0
        total = 0.0
        for a in range(slope.shape[0]):
            total += slope[a] * root[a, i]
        half[m, i] = total
    for j in range(m + 1):
        for other in range(j + 1):
            total = 0.0
            for i in range(rank):
                total += half[j, i] * half[other, i]
            out[j, other] = total
            out[other, j] = total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def draw_moments(
    states: STREAM, recipe: Recipe, count_out: FloatArray, mean_out: FloatArray, scatter_out: FloatArray
) -> None:
    """Draw R replications of the clusters' moments.

    In a cluster of n rows the means of the row variables and the residual are normal about the cluster's constants with
    covariance S / n, and independent of their centred scatter, which is Wishart(n - 1, S). Columns and outcome are
    linear functions of the row variables, whose slopes belong to the cluster.

    Parameters
    ----------
    states : (R, 4) streams of random numbers, used up.
    recipe : the process.
    count_out, mean_out, scatter_out : (R, J), (R, J, m + 1), (R, J, m + 1, m + 1) moments of the first m of the
        recipe's columns and, last, of the outcome.
    """
    n_draws, n_clusters, n_columns = mean_out.shape
    p, q = recipe.row_sd.shape[0] + 1, recipe.effect_sd.shape[0]
    together = np.zeros(p, dtype=np.int64)
    contexts = np.empty((recipe.context_sd.shape[0], n_clusters))
    row_root, effect_root = np.zeros((p, p)), np.empty((q, q))
    centre, means, normals, effects = np.empty(p - 1), np.empty(p), np.empty(p), np.empty(q)
    level, column_mean = np.empty(recipe.scale.shape[0]), np.empty(recipe.scale.shape[0])
    root, slope, half = np.empty((p, p)), np.empty(p), np.empty((n_columns, p))
    row_root[p - 1, p - 1] = recipe.sigma
    for r in range(n_draws):
        state = states[r]
        draw_sizes(state, recipe.low, recipe.high, recipe.size_mean, recipe.size_shape, count_out[r])
        draw_contexts(state, recipe.context_mean, recipe.context_sd, recipe.context_ones, contexts)
        draw_root(state, recipe.row_root, recipe.row_b, recipe.row_sd, together, row_root)
        draw_root(state, recipe.effect_root, recipe.effect_b, recipe.effect_sd, recipe.block, effect_root)
        for g in range(n_clusters):
            count = count_out[r, g]
            fill_normal(state, centre)
            draw_vector(state, row_root, means)
            draw_vector(state, effect_root, effects)
            for k in range(p):
                means[k] /= np.sqrt(count)
            for k in range(p - 1):
                means[k] += recipe.row_mean[k] + recipe.row_between[k] * centre[k]
            rank = draw_scatter_root(state, row_root, count, normals, root)
            place_columns(
                recipe.scale, recipe.factors, recipe.row, recipe.centred, contexts, g, means, level, column_mean
            )
            outcome = place_outcome(
                recipe.own, recipe.coefficient, recipe.effect, recipe.row, effects, level, column_mean, slope
            )
            for j in range(n_columns - 1):
                mean_out[r, g, j] = column_mean[j]
            mean_out[r, g, n_columns - 1] = outcome + means[p - 1]
            turned_scatter(recipe.row, level, slope, root, rank, half, scatter_out[r, g])
