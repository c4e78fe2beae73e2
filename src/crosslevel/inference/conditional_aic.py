"""The conditional AIC of a linear mixed model, from its reduced cross-products.

With A = V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1 the residuals are y - X beta - Z b = A y, and

    cAIC = -2 log f(y | beta, b, sigma) + 2 (rho + 1),   rho = trace(d yhat / d y) = n - tr A + D.

n - tr A is the effective number of parameters for known covariances (Vaida & Blanchard). D is what their estimation
adds (Greven & Kneib): with d the deviance that is minimised, H its Hessian in theta, W_j = dV / dtheta_j, a = A y,

    D = sum_jk (H^-1)_jk nu (2 u_k'u_j / a'y - 2 (a'W_k a) (a'u_j) / (a'y)^2),   u_j = A W_j a,

since d theta / dy = -H^-1 d^2 d / dtheta dy. Where the covariance of the random effects is singular, theta are the
parameters of the covariances of its rank, inside of which the minimum lies. All of it is made of Z'V^-1 Z and
Z'V^-1 [X y], and of the same with V^-2 = V^-1 - V^-1 Z B Z', B = Lambda (I + Lambda'Z'Z Lambda)^-1 Lambda'.

Source: Vaida & Blanchard (2005), Biometrika 92: 351-370; Greven & Kneib (2010), Biometrika 97: 773-789, for the
derivative with estimated variances; sigma counts as one parameter.
"""

from dataclasses import dataclass

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.design.reduced import Reduced
from crosslevel.likelihood.profiled import Conditional, ProfiledDeviance
from crosslevel.solve.solution import NEGLIGIBLE
from crosslevel.types import FloatArray

REDUNDANT = 1e-9
"""Curvature relative to the largest that is that of turning the axes of a covariance, which changes nothing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ConditionalAic:
    """The conditional AIC and what it is made of.

    Attributes
    ----------
    deviance : -2 log f(y | beta, b, sigma).
    rho : effective number of parameters for known covariances.
    estimated : what the estimation of the covariances adds to it.
    """

    deviance: float
    rho: float
    estimated: float

    @property
    def value(self) -> float:
        """-2 log f + 2 (rho + estimated + 1)."""
        return self.deviance + 2.0 * (self.rho + self.estimated + 1.0)


def conditional_aic(reduced: Reduced, factor: FloatArray, *, reml: bool) -> ConditionalAic:
    """The conditional AIC at the optimum.

    Parameters
    ----------
    reduced : cross-products of the model.
    factor : (q, q) Lambda at the optimum, in working coordinates.
    reml : whether the restricted likelihood was maximised.
    """
    at = ProfiledDeviance(reduced=reduced, reml=reml).at_factor(factor)
    second = SecondMoments.of(at)
    return ConditionalAic(
        deviance=_conditional_deviance(at, second),
        rho=_known_parameters(at, second),
        estimated=_estimated_parameters(at, second),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class SecondMoments:
    """Products with V^-2, in working coordinates.

    Attributes
    ----------
    trace : sum of tr(I - V^-1) over clusters.
    zz : (J, q, q) Z'V^-2 Z.
    zc : (J, q, p + 1) Z'V^-2 [X y].
    cc : (p + 1, p + 1) [X y]'V^-2 [X y] over all clusters.
    """

    trace: float
    zz: FloatArray
    zc: FloatArray
    cc: FloatArray

    @classmethod
    def of(cls, at: Conditional) -> "SecondMoments":
        """Those of a model at its optimum."""
        reduced, q = at.reduced, at.factor.shape[0]
        scaled = reduced.root @ at.factor
        inner = np.eye(q) + scaled.transpose(0, 2, 1) @ scaled
        middle = at.factor @ np.linalg.solve(inner, np.broadcast_to(at.factor.T, inner.shape))  # B
        own = reduced.root.transpose(0, 2, 1) @ reduced.root
        cross = reduced.root.transpose(0, 2, 1) @ reduced.image
        first = at.chol @ at.chol.T
        half = middle @ cross
        weight = reduced.multiplicity
        return cls(
            trace=float(weight @ np.einsum("gij,gji->g", middle, own)),
            zz=at.precision - at.precision @ middle @ own,
            zc=at.cross - at.precision @ half,
            cc=first - np.einsum("g,gia,gib->ab", weight, at.cross, half),
        )


def _contrast(at: Conditional) -> FloatArray:
    """(-beta, 1)."""
    return np.append(-at.beta, 1.0)


def _conditional_deviance(at: Conditional, second: SecondMoments) -> float:
    """-2 log f(y | beta, b, sigma) with e = V^-1 (y - X beta), in the units of the data."""
    reduced, contrast = at.reduced, _contrast(at)
    n, log_y = reduced.n_rows, reduced.coordinates.log_scale[0]
    residual = float(contrast @ second.cc @ contrast)
    log_sigma2 = np.log(2.0 * np.pi * at.rss / at.nu) + 2.0 * log_y
    return float(n * log_sigma2 + residual * at.scale - reduced.log_weight)


def _known_parameters(at: Conditional, second: SecondMoments) -> float:
    """Trace n - tr A = tr(I - V^-1) + tr((X'V^-1 X)^-1 X'V^-2 X)."""
    lower = at.chol[:-1, :-1]
    turned = np.linalg.solve(lower, np.linalg.solve(lower, second.cc[:-1, :-1]).T)
    return second.trace + float(np.trace(turned))


def _estimated_parameters(at: Conditional, second: SecondMoments) -> float:
    """D, what the estimation of the covariances adds."""
    gradient, factor = tangents(at.reduced.structure, at.factor)
    if not len(gradient):
        return 0.0
    half = gradient @ factor.T
    changes = half + half.transpose(0, 2, 1)
    contrast, weight, p = _contrast(at), at.reduced.multiplicity, at.reduced.p
    t = at.cross @ contrast
    lower = at.chol[:-1, :-1]
    inverse = np.linalg.inv(lower)
    inverse = inverse.T @ inverse  # (X'V^-1 X)^-1

    moved = np.einsum("kij,gj->kgi", changes, t)  # D_k t_g
    along = np.einsum("g,kgi,gip->kp", weight, moved, at.cross[:, :, :p]) @ inverse  # (X'V^-1 X)^-1 X'V^-1 Z D_k t
    with_x = np.einsum("g,kgi,gip->kp", weight, moved, second.zc[:, :, :p])
    squares = np.einsum("g,kgi,gij,mgj->km", weight, moved, second.zz, moved, optimize=True)  # u_k'u_m
    squares += along @ second.cc[:p, :p] @ along.T - with_x @ along.T - along @ with_x.T
    with_a = np.einsum("g,kgi,gi->k", weight, moved, second.zc @ contrast) - along @ (second.cc[:p] @ contrast)
    slopes = np.einsum("g,kgi,gi->k", weight, moved, t)  # a'W_k a
    derivatives = at.psi_derivatives.in_theta(gradient, factor, at.reduced.structure.mask)
    moves = at.nu * (2.0 * squares / at.rss - 2.0 * np.outer(slopes, with_a) / at.rss**2)
    return float(np.sum(np.linalg.pinv(derivatives.hessian, rcond=REDUNDANT, hermitian=True) * moves))


def tangents(structure: BlockStructure, factor: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Directions in which a covariance may move while it keeps its rank.

    Parameters
    ----------
    structure : free blocks.
    factor : (q, q) Lambda.

    Returns
    -------
    gradient : (k, q, q) the changes of Lambda, along its principal axes with some variance.
    factor : (q, q) Lambda along its principal axes.
    """
    q, column = structure.q, 0
    turned, out = np.zeros((q, q)), []
    for own in structure.columns:
        axes, sizes, _ = np.linalg.svd(factor[own])
        for k in np.flatnonzero(sizes >= NEGLIGIBLE):
            turned[own, column] = axes[:, k] * sizes[k]
            for i in own:
                change = np.zeros((q, q))
                change[i, column] = 1.0
                out.append(change)
            column += 1
    return np.array(out).reshape(-1, q, q), turned
