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
    coefficient : (M,) effect of the column on the outcome.
    effect : (M,) random effect that is added to it, -1 for none.
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
    coefficient: FloatArray
    effect: IntArray


@numba.njit(cache=True, nogil=True, error_model="numpy")
def draw_sizes(state: STREAM, recipe: Recipe, out: FloatArray) -> None:
    """Rows of each cluster (J,)."""
    for g in range(out.shape[0]):
        if recipe.size_shape > 0.0:
            drawn = gamma(state, recipe.size_shape) * recipe.size_mean / recipe.size_shape
            out[g] = max(np.floor(drawn + 0.5), 1.0)
        elif recipe.low[g] == recipe.high[g]:
            out[g] = recipe.low[g]
        else:
            out[g] = integer(state, recipe.low[g], recipe.high[g])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def draw_contexts(state: STREAM, recipe: Recipe, out: FloatArray) -> None:
    """Values of the context variables (C, J)."""
    for c in range(out.shape[0]):
        if recipe.context_ones[c] < 0:
            fill_normal(state, out[c])
            for g in range(out.shape[1]):
                out[c, g] = recipe.context_mean[c] + recipe.context_sd[c] * out[c, g]
        else:
            for g in range(out.shape[1]):
                out[c, g] = 1.0 if g < recipe.context_ones[c] else 0.0
            shuffle(state, out[c])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def draw_roots(state: STREAM, recipe: Recipe, row_out: FloatArray, effect_out: FloatArray) -> None:
    """Roots of covariances: of the row variables and the residual (K + 1, K + 1), of the random effects (q, q)."""
    n_rows, q = recipe.row_sd.shape[0], recipe.effect_sd.shape[0]
    row_out[:] = 0.0
    effect_out[:] = 0.0
    row_out[:n_rows, :n_rows] = recipe.row_root
    effect_out[:] = recipe.effect_root
    if recipe.row_b > 0.0:
        random_root(state, recipe.row_b, row_out[:n_rows, :n_rows])
    if recipe.effect_b > 0.0:
        start = 0
        for k in range(1, q + 1):
            if k == q or recipe.block[k] != recipe.block[start]:
                random_root(state, recipe.effect_b, effect_out[start:k, start:k])
                start = k
    for k in range(n_rows):
        for i in range(k + 1):
            row_out[k, i] *= recipe.row_sd[k]
    row_out[n_rows, n_rows] = recipe.sigma
    for k in range(q):
        for i in range(k + 1):
            effect_out[k, i] *= recipe.effect_sd[k]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def times_root(root: FloatArray, vector: FloatArray) -> None:
    """Replace a vector (p,) by the product of a lower triangle (p, p) and it."""
    for i in range(vector.shape[0] - 1, -1, -1):
        total = 0.0
        for k in range(i + 1):
            total += root[i, k] * vector[k]
        vector[i] = total


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
    rank = min(p, int(count) - 1)
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
    recipe: Recipe, contexts: FloatArray, g: int, means: FloatArray, effects: FloatArray, turn: FloatArray,
    mean_out: FloatArray,
) -> None:  # fmt: skip
    """Columns and outcome of a cluster as linear functions of its row variables and residual.

    Parameters
    ----------
    contexts, g : (C, J) values of the context variables, and the cluster.
    means : (K + 1,) means of the row variables and of the residual in it.
    effects : (q,) its random effects.
    turn : (m + 1, K + 1) slopes of each column on the row variables, the outcome's last; filled.
    mean_out : (m + 1,) means of the columns in the cluster.
    """
    n_rows, n_contexts, m = means.shape[0] - 1, contexts.shape[0], mean_out.shape[0] - 1
    turn[:] = 0.0
    turn[m, n_rows] = 1.0
    mean_out[m] = means[n_rows]
    for j in range(recipe.scale.shape[0]):
        level = recipe.scale[j]
        for f in recipe.factors[j]:
            if f >= n_contexts:
                level *= means[f - n_contexts]
            elif f >= 0:
                level *= contexts[f, g]
        k = recipe.row[j]
        mean = level
        if k >= 0:
            mean = 0.0 if recipe.centred[j] else level * means[k]
        slope = recipe.coefficient[j]
        if recipe.effect[j] >= 0:
            slope += effects[recipe.effect[j]]
        mean_out[m] += slope * mean
        if k >= 0:
            turn[m, k] += slope * level
        if j < m:
            mean_out[j] = mean
            if k >= 0:
                turn[j, k] = level


@numba.njit(cache=True, nogil=True, error_model="numpy")
def turned_scatter(
    recipe: Recipe, turn: FloatArray, root: FloatArray, rank: int, half: FloatArray, out: FloatArray
) -> None:
    """Scatter (m + 1, m + 1) of the columns: turn H H' turn', with H (K + 1, rank) = `root`; `half` is scratch."""
    m, p = turn.shape[0] - 1, turn.shape[1]
    for j in range(m + 1):
        k = recipe.row[j] if j < m else -1
        for i in range(rank):
            total = 0.0
            if j == m:
                for a in range(p):
                    total += turn[j, a] * root[a, i]
            elif k >= 0:
                total = turn[j, k] * root[k, i]
            half[j, i] = total
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
    n_rows, q = recipe.row_sd.shape[0], recipe.effect_sd.shape[0]
    contexts = np.empty((recipe.context_sd.shape[0], n_clusters))
    row_root, effect_root = np.empty((n_rows + 1, n_rows + 1)), np.empty((q, q))
    centre, means, normals, effects = np.empty(n_rows), np.empty(n_rows + 1), np.empty(n_rows + 1), np.empty(q)
    root, turn = np.empty((n_rows + 1, n_rows + 1)), np.empty((n_columns, n_rows + 1))
    half = np.empty((n_columns, n_rows + 1))
    for r in range(n_draws):
        state = states[r]
        draw_sizes(state, recipe, count_out[r])
        draw_contexts(state, recipe, contexts)
        draw_roots(state, recipe, row_root, effect_root)
        for g in range(n_clusters):
            count = count_out[r, g]
            fill_normal(state, centre)
            fill_normal(state, means)
            fill_normal(state, effects)
            times_root(row_root, means)
            times_root(effect_root, effects)
            for k in range(n_rows + 1):
                means[k] /= np.sqrt(count)
            for k in range(n_rows):
                means[k] += recipe.row_mean[k] + recipe.row_between[k] * centre[k]
            rank = draw_scatter_root(state, row_root, count, normals, root)
            place_columns(recipe, contexts, g, means, effects, turn, mean_out[r, g])
            turned_scatter(recipe, turn, root, rank, half, scatter_out[r, g])
