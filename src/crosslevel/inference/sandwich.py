"""Variance of estimates that hold without the model's own variances: H^-1 (sum s s') H^-1 over clusters.

With the pseudo-log-likelihood l = sum_j w_j l_j of clusters that were drawn with unequal probabilities,
s_j = d l_j / d (beta, theta, log sigma) and H = -d^2 l,

    V = J / (J - 1) H^-1 (sum_j w_j^2 s_j s_j') H^-1.

Source: Pfeffermann, Skinner, Holmes, Goldstein & Rasbash (1998), J. R. Statist. Soc. B 60: 23-40; Rabe-Hesketh &
Skrondal (2006), J. R. Statist. Soc. A 169: 805-827, section 3.3. The factor J / (J - 1) is that of Stata's `_robust`.
"""

from dataclasses import dataclass, replace

import numpy as np

from crosslevel.design import CrossProducts, Design
from crosslevel.design.coordinates import Coordinates
from crosslevel.errors import DesignError
from crosslevel.likelihood.profiled import Conditional, ProfiledDeviance
from crosslevel.optimise import Minimum
from crosslevel.solve import Solution
from crosslevel.types import BoolArray, FloatArray, IntArray


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
    """The same estimates with covariances that take the sampling weights into account.

    Raises
    ------
    DesignError : several grouping factors.
    """
    if not design.is_single:
        named = ", ".join(factor.name for factor in design.factors)
        raise DesignError(
            f"`weights` are sampling weights, for which this version has one grouping factor; the model has {named}. "
            "Keep the outermost."
        )
    columns = np.append(design.x, len(design.products.names) - 1)
    found = sandwich(solution.criterion, solution.minimum, design.products, columns, interior=not solution.is_singular)
    for array in (found.beta, found.components):
        array.setflags(write=False)
    return replace(solution, vcov=found.beta, parameter_vcov=found.components)


def sandwich(
    criterion: ProfiledDeviance,
    minimum: Minimum[Conditional],
    products: CrossProducts,
    columns: IntArray,
    *,
    interior: bool,
) -> Sandwich:
    """Covariance of a pseudo-maximum likelihood estimate, by cluster.

    Parameters
    ----------
    criterion, minimum : the pseudo-likelihood (not restricted) and its maximum.
    products : cross-products that it was reduced from; their multiplicities are the weights of the clusters.
    columns : (p + 1,) positions of the fixed columns and the response.
    interior : whether all variances are positive. If not, theta is held where it is.
    """
    at, p = minimum.state, criterion.reduced.p
    scores = cluster_scores(criterion, at, minimum.theta, products, columns)
    information = joint_information(criterion, minimum)
    free = np.ones(len(information), dtype=np.bool_)
    free[p:-1] = interior
    vcov = bread_and_meat(information, scores, criterion.reduced.multiplicity, free)
    turn = criterion.reduced.coordinates.beta_map
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

    directions = _directions(criterion, at, theta)
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


def joint_information(criterion: ProfiledDeviance, minimum: Minimum[Conditional]) -> FloatArray:
    """H (p + k + 1, p + k + 1): minus the second derivative of the log-likelihood in (beta, theta, log sigma).

    XX
        u = H_theta,log sigma = sum t' dPsi t / sigma^2. At the optimum H_beta,log sigma is zero.
    """
    at, p = minimum.state, criterion.reduced.p
    sums = at.psi_derivatives
    directions = _directions(criterion, at, minimum.theta)
    k, q = len(directions), criterion.structure.q
    flat = directions.reshape(k, q * q)
    chol = at.chol[:-1, :-1]
    w, u = flat @ sums.tc.reshape(q * q, p), flat @ sums.tt.ravel()

    out = np.zeros((p + k + 1, p + k + 1))
    out[:p, :p] = chol @ chol.T * at.scale
    out[p:-1, :p] = w @ chol.T * at.scale
    out[:p, p:-1] = out[p:-1, :p].T
    out[p:-1, p:-1] = 0.5 * minimum.derivatives.hessian + at.scale * (w @ w.T) + np.outer(u, u) / (2.0 * at.nu)
    out[p:-1, -1] = out[-1, p:-1] = u
    out[-1, -1] = 2.0 * at.nu
    return out


def _directions(criterion: ProfiledDeviance, at: Conditional, theta: FloatArray) -> FloatArray:
    """(k, q, q) derivatives of Psi in working theta."""
    half = criterion.structure.factor_gradient(theta) @ at.factor.T
    return np.asarray(half + half.transpose(0, 2, 1))
