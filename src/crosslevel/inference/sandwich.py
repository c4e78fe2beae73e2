"""Variance of estimates that hold without the model's own variances: H^-1 (sum s s') H^-1 over clusters.

With the pseudo-log-likelihood l = sum_j w_j l_j of clusters that were drawn with unequal probabilities,
s_j = d l_j / d (beta, theta, log sigma) and H = -d^2 l,

    V = J / (J - 1) H^-1 (sum_j w_j^2 s_j s_j') H^-1.

The part of H between beta and the variances, whose expectation is zero, is set to zero, and J / (J - 1) is applied, as
in Stata's `mixed` and R's WeMix; gllamm has the observed part.

Source: Pfeffermann, Skinner, Holmes, Goldstein & Rasbash (1998), J. R. Statist. Soc. B 60: 23-40; Rabe-Hesketh &
Skrondal (2006), J. R. Statist. Soc. A 169: 805-827, section 3.3.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.design import CrossProducts, Design
from crosslevel.design.coordinates import Coordinates
from crosslevel.likelihood.profiled import Conditional, ProfiledDeviance
from crosslevel.solve import Solution
from crosslevel.solve.solution import Engine
from crosslevel.types import BoolArray, CodeArray, FloatArray, IntArray

if TYPE_CHECKING:
    from crosslevel.likelihood.blocked import BlockedDeviance
    from crosslevel.likelihood.blocked_state import BlockedConditional


@dataclass(frozen=True, kw_only=True, eq=False)
class Sandwich:
    """Covariances of the estimates, whatever the variances of the data.

    Attributes
    ----------
    beta : (p, p) of the coefficients, in the units of the data.
    components : (k + 1, k + 1) of (theta, log sigma) in working coordinates; NaN for theta where a variance is on its
        boundary.
    """

    beta: FloatArray
    components: FloatArray


def with_sandwich(solution: Solution, design: Design) -> Solution:
    """The same estimates with covariances that take the sampling weights into account."""
    found = sandwich(solution, design)
    for array in (found.beta, found.components):
        array.setflags(write=False)
    return replace(solution, vcov=found.beta, parameter_vcov=found.components)


def sandwich(solution: Solution, design: Design) -> Sandwich:
    """Covariance of a pseudo-maximum likelihood estimate, by cluster of the outermost factor.

    Where a variance is zero, theta is held where it is.
    """
    criterion, at, theta = solution.criterion, solution.minimum.state, solution.minimum.theta
    if design.is_single:
        columns = np.append(design.x, len(design.products.names) - 1)
        scores = cluster_scores(criterion, at, theta, design.products, columns)
        cross, weights = (at.cross,), (criterion.reduced.multiplicity,)
        counts = weights[0]
    else:
        scores = nested_scores(criterion, at, theta, design)
        cross, weights = at.cross, criterion.weights
        counts = weights[0 if design.weights is None else design.weights.outermost]
    information = joint_information(criterion, at, theta, cross, weights)
    p = len(at.beta)
    information[:p, p:] = information[p:, :p] = 0.0
    free = np.ones(len(information), dtype=np.bool_)
    free[p:-1] = not solution.is_singular
    vcov = bread_and_meat(information, scores, counts, free)
    turn = criterion.coordinates.beta_map
    return Sandwich(beta=turn @ vcov[:p, :p] @ turn.T, components=vcov[p:, p:])


def bread_and_meat(information: FloatArray, scores: FloatArray, weights: FloatArray, free: BoolArray) -> FloatArray:
    """J / (J - 1) H^-1 (sum w^2 s s') H^-1 of the free parameters, NaN for the others.

    Parameters
    ----------
    information : (m, m) H.
    scores : (J, m) s of each cluster, counted once.
    weights : (J,) w; clusters without weight are not counted.
    free : (m,) which parameters were estimated.
    """
    n_clusters = int(np.count_nonzero(weights))
    half = np.linalg.solve(information[np.ix_(free, free)], (scores[:, free] * weights[:, None]).T)
    out = np.full(information.shape, np.nan)
    out[np.ix_(free, free)] = half @ half.T * (n_clusters / (n_clusters - 1.0))
    return out


def cluster_scores(
    criterion: ProfiledDeviance, at: Conditional, theta: FloatArray, products: CrossProducts, columns: IntArray
) -> FloatArray:
    """Derivatives (J, p + k + 1) of each cluster's log-likelihood in working (beta, theta, log sigma).

    With e = y - X beta, t = Z'V^-1 e and V^-1 = W - W Z M Z'W, where M Z'We = Psi t:

        s_beta = X'V^-1 e / sigma^2,  X'V^-1 e = X'We - X'WZ Psi t,
        s_theta = -(tr(P dPsi) - t' dPsi t / sigma^2) / 2,  s_log sigma = e'V^-1 e / sigma^2 - sum w.
    """
    reduced = criterion.reduced
    contrast = np.append(-at.beta, 1.0)
    t = at.cross @ contrast
    modes = t @ at.factor @ at.factor.T
    own = residual_products(products, columns, reduced.coordinates, at.beta)
    explained = np.einsum("jka,jk->ja", reduced.image, np.einsum("jkq,jq->jk", reduced.root, modes))
    whitened = own - explained

    half = criterion.structure.factor_gradient(theta) @ at.factor.T
    directions = half + half.transpose(0, 2, 1)
    trace = np.einsum("jkl,akl->ja", at.precision, directions)
    squares = np.einsum("jk,akl,jl->ja", t, directions, t, optimize=True)
    return np.column_stack(
        [
            whitened[:, :-1] * at.scale,
            -0.5 * (trace - squares * at.scale),
            whitened @ contrast * at.scale - products.count,
        ]
    )


def residual_products(
    products: CrossProducts, columns: IntArray, coordinates: Coordinates, beta: FloatArray
) -> FloatArray:
    """[X y]'W e (J, p + 1) of each cluster in working coordinates, e = y - X beta."""
    shift = coordinates.shift - products.origin[columns]
    weights = np.append(-(beta + coordinates.removed), 1.0) / coordinates.scale
    mean = products.mean[:, columns] - shift
    scatter = products.scatter[:, columns[:, None], columns]
    out = (scatter @ weights + (products.count * (mean @ weights))[:, None] * mean) / coordinates.scale
    out[:, -1] -= out[:, :-1] @ coordinates.removed
    return np.asarray(out)


def nested_scores(
    criterion: "BlockedDeviance", at: "BlockedConditional", theta: FloatArray, design: Design
) -> FloatArray:
    """Derivatives (J, p + k + 1) of the log-likelihoods of the outermost clusters, in working coordinates.

    As `cluster_scores`, with sums over the levels inside each cluster, counted as often as in one copy of it. For
    regular Lambda, Z_j'V^-1 Z_j Lambda = Lambda'^-1 (I - [M^-1]_jj), so that
    tr(P dPsi_a) = 2 tr(Lambda^-1 dLambda_a (I - [M^-1]_jj)).
    """
    outer, inside = (0, None) if design.weights is None else (design.weights.outermost, design.weights.inside)
    p, top = len(at.beta), design.used_codes(design.factors[outer])
    times = None if inside is None else inside[outer]
    own, n = _outer_sums(criterion, at, design, top, np.ones(len(top)) if times is None else times)
    scores = np.zeros((len(own), p + len(theta) + 1))
    for k, (factor, part) in enumerate(zip(at.factors, criterion.crossing.parts, strict=True)):
        parent = np.zeros(len(criterion.weights[k]), dtype=np.int64)
        parent[design.used_codes(design.factors[k])] = top
        copies = criterion.weights[k] / criterion.weights[outer][parent]
        explained = np.einsum("jqa,jq->ja", criterion.crossing.image[k], at.modes[k])
        np.add.at(own, parent, -explained * copies[:, None])

        slopes = criterion.structures[k].factor_gradient(theta[part])
        half = slopes @ factor.T
        t = at.cross[k] @ np.append(-at.beta, 1.0)
        squares = np.einsum("jk,akl,jl->ja", t, half + half.transpose(0, 2, 1), t, optimize=True)
        relative = np.linalg.pinv(factor) @ slopes
        trace = 2.0 * np.einsum("akl,jlk->ja", relative, np.eye(len(factor)) - at.inverse_blocks[k])
        share = np.zeros((len(own), relative.shape[0]))
        np.add.at(share, parent, -0.5 * (trace - squares * at.scale) * copies[:, None])
        scores[:, p + part.start : p + part.stop] = share
    scores[:, :p] = own[:, :-1] * at.scale
    scores[:, -1] = own @ np.append(-at.beta, 1.0) * at.scale - n
    return scores


def _outer_sums(
    criterion: "BlockedDeviance", at: "BlockedConditional", design: Design, top: CodeArray, weights: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """[X y]'W e (J, p + 1) and sum w (J,) of one copy of each outermost cluster; cluster and weight (rows used,)."""
    coordinates, n_clusters = criterion.coordinates, int(top.max()) + 1
    columns = np.append(design.x, len(design.products.names) - 1)
    out, done = np.zeros((n_clusters, len(columns))), 0
    for block, _, _ in design.blocks():
        place = slice(done, done + block.shape[1])
        done = place.stop
        working = (block[columns] - coordinates.shift[:, None]) / coordinates.scale[:, None]
        working[-1] -= coordinates.removed @ working[:-1]
        residual = weights[place] * (working[-1] - at.beta @ working[:-1])
        for a, row in enumerate(working):
            out[:, a] += np.bincount(top[place], row * residual, n_clusters)
    return out, np.bincount(top, weights, n_clusters).astype(np.float64)


def joint_information(
    criterion: Engine,
    at: "Conditional | BlockedConditional",
    theta: FloatArray,
    cross: tuple[FloatArray, ...],
    weights: tuple[FloatArray, ...],
) -> FloatArray:
    """H (p + k + 1, p + k + 1): minus the second derivative of the log-likelihood in (beta, theta, log sigma).

    The Hessian of the profiled deviance is 2 (H_tt - H_tb H_bb^-1 H_bt - u u' / (2 nu)), with t for theta, b for beta,
    and u that of theta and log sigma, -2 nu times the gradient of the profiled log sigma. At the optimum beta and log
    sigma have no second derivative.

    Parameters
    ----------
    criterion, at, theta : the pseudo-likelihood at its maximum.
    cross : for each factor (J, q, p + 1) Z'V^-1 [X y].
    weights : for each factor (J,) how often each level counts in all.
    """
    p, k = len(at.beta), len(theta)
    profiled, log_sigma = criterion.curvature(at, theta)
    u = -2.0 * at.nu * log_sigma
    chol, contrast, start = at.chol[:-1, :-1], np.append(-at.beta, 1.0), 0
    mixed = np.zeros((k, p))
    for structure, factor, own, weight in zip(criterion.structures, at.factors, cross, weights, strict=True):
        part = slice(start, start + structure.n_theta)
        start = part.stop
        half = structure.factor_gradient(theta[part]) @ factor.T
        sums = np.einsum("j,jka,jl->kla", weight, own[:, :, :-1], own @ contrast, optimize=True)
        mixed[part] = np.tensordot(half + half.transpose(0, 2, 1), sums, axes=2) * at.scale
    whitened = np.linalg.solve(chol, mixed.T)

    out = np.zeros((p + k + 1, p + k + 1))
    out[:p, :p] = chol @ chol.T * at.scale
    out[p:-1, :p] = mixed
    out[:p, p:-1] = mixed.T
    out[p:-1, p:-1] = 0.5 * profiled + whitened.T @ whitened / at.scale + np.outer(u, u) / (2.0 * at.nu)
    out[p:-1, -1] = out[-1, p:-1] = u
    out[-1, -1] = 2.0 * at.nu
    return out
