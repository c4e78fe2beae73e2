"""Derivatives of the deviance of several grouping factors, in theta and in Psi."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np

from crosslevel.likelihood.blocked_state import BlockedConditional
from crosslevel.likelihood.boundary import PsiSlopes
from crosslevel.optimise import Derivatives
from crosslevel.types import FloatArray

FLOOR = 1e-5
"""Least singular value of Lambda for S = d deviance / d Psi: smaller ones are raised to it, by a second evaluation."""

STEP = 1e-3
"""Of differences of the gradient, relative to 1 + |theta|."""

Evaluate: TypeAlias = Callable[[tuple[FloatArray, ...]], BlockedConditional]
"""The model's state at any Lambdas."""


def derivatives(at: BlockedConditional, theta: FloatArray, evaluate: Evaluate) -> Derivatives:
    """Gradient, Hessian and information of the deviance in working theta (k,); see `BlockedDeviance.derivatives`."""
    crossing = at.crossing
    slopes, gradient = _slopes(at, theta), gradient_in(at, theta)
    scores = [score * some.mask for score, some in zip(psi_scores(at, evaluate)[0], crossing.structures, strict=True)]
    curvature = np.zeros((len(theta), len(theta)))
    for k, (structure, part) in enumerate(zip(crossing.structures, crossing.parts, strict=True)):
        curvature[part, part] = _curvature(scores[k], slopes[k])
        if not structure.linear:
            curvature[part, part] += 2.0 * np.tensordot(structure.factor_hessian(theta[part]), at.scores[k], axes=2)
    information = theta_information(at, theta)
    return Derivatives(
        gradient=gradient,
        hessian=information + curvature,
        expected=partial(_expected, information, scores, slopes, crossing.parts),
    )


def theta_information(at: BlockedConditional, theta: FloatArray) -> FloatArray:
    """Average information (k, k) on working theta."""
    return average_information(at, _directions(at, _slopes(at, theta)))


def gradient_in(at: BlockedConditional, theta: FloatArray) -> FloatArray:
    """Gradient (k,) of the deviance in working theta: 2 <d Lambda, S Lambda>."""
    parts = zip(_slopes(at, theta), at.scores, strict=True)
    return np.concatenate([np.zeros(0), *(2.0 * _flat(slope) @ score.ravel() for slope, score in parts)])


def _slopes(at: BlockedConditional, theta: FloatArray) -> tuple[FloatArray, ...]:
    """Derivatives of each factor's Lambda in its theta, (k, q, q)."""
    parts = zip(at.crossing.structures, at.crossing.parts, strict=True)
    return tuple(structure.factor_gradient(theta[part]) for structure, part in parts)


def curvature(
    at: BlockedConditional, theta: FloatArray, value: Callable[[FloatArray], BlockedConditional]
) -> tuple[FloatArray, FloatArray]:
    """Hessian (k, k) of the deviance, by differences of fourth order, and gradient (k,) of log sigma."""
    hessian = np.zeros((len(theta), len(theta)))
    for a in range(len(theta)):
        move = np.zeros(len(theta))
        move[a] = STEP * (1.0 + abs(theta[a]))
        ends = [gradient_in(value(moved), moved) for moved in (theta + m * move for m in (-2.0, -1.0, 1.0, 2.0))]
        hessian[a] = (ends[0] - 8.0 * ends[1] + 8.0 * ends[2] - ends[3]) / (12.0 * move[a])
    hessian = 0.5 * (hessian + hessian.T)
    if at.sigma is not None:
        return hessian, np.zeros(len(theta))
    residual = np.append(-at.beta, 1.0)
    log_sigma = [np.zeros(0)]
    for cross, weight, some in zip(at.cross, at.factorised.weights, _directions(at, _slopes(at, theta)), strict=True):
        t = cross @ residual
        log_sigma.append(-_flat(some) @ (t.T @ (t * weight[:, None])).ravel() / (2.0 * at.rss))
    return hessian, np.concatenate(log_sigma)


def psi_scores(at: BlockedConditional, evaluate: Evaluate) -> tuple[tuple[FloatArray, ...], BlockedConditional]:
    """For each factor (q, q) S = d deviance / d Psi = G Lambda^-1, and the state at which the singular ones were got.

    There, the singular values of Lambda that are below `FLOOR` have been raised to it.
    """
    factors: list[FloatArray] = []
    singular: list[bool] = []
    for factor in at.factors:
        left, sizes, right = np.linalg.svd(factor)
        singular.append(bool(sizes.min() < FLOOR))
        factors.append((left * np.maximum(sizes, FLOOR)) @ right if singular[-1] else factor)
    floored = evaluate(tuple(factors)) if any(singular) else at
    out = []
    for k, factor in enumerate(factors):
        score = np.linalg.solve(factor.T, (floored if singular[k] else at).scores[k].T)
        out.append(0.5 * (score + score.T))
    return tuple(out), floored


def average_information(at: BlockedConditional, directions: tuple[FloatArray, ...]) -> FloatArray:
    """Average of observed and expected information in directions (k_f, q, q) of each factor's Psi: (sum k_f, sum k_f).

    With h_a = Z dPsi_a t:  (nu / r^2) [h_a'P h_b - h_a'P y h_b'P y / r^2], without the last term where sigma is known.

    Source: Gilmour, Thompson & Cullis (1995), Biometrics 51: 1440-1450, with sigma profiled out.
    """
    crossing, n_factors = at.crossing, len(directions)
    ends = np.cumsum([0, *(len(some) for some in directions)])
    total, p1 = int(ends[-1]), crossing.p + 1
    residual = np.append(-at.beta, 1.0)
    moved = []
    for cross, some in zip(at.cross, directions, strict=True):
        n_levels, q = cross.shape[:2]
        t = cross.reshape(-1, p1) @ residual
        moved.append((t.reshape(n_levels, q) @ some.transpose(1, 2, 0).reshape(q, -1)).reshape(n_levels, q, -1))
    spread = [np.zeros((len(some), some.shape[1], total)) for some in moved]
    for k in range(n_factors):
        spread[k][:, :, ends[k] : ends[k + 1]] = moved[k]
    image = at.product(tuple(spread))
    border, gram = np.zeros((p1, total)), np.zeros((total, total))
    for k, weight in enumerate(at.factorised.weights):
        part = slice(ends[k], ends[k + 1])
        n_levels, q, width = moved[k].shape
        mine = (moved[k] * weight[:, None, None]).reshape(n_levels * q, width)
        border[:, part] = crossing.image[k].reshape(-1, p1).T @ mine
        gram[part] = mine.T @ image[k].reshape(-1, total)
    inner = at.projected(image, border[:-1], gram, border[-1])
    out = inner[:-1, :-1]
    if at.sigma is None:
        out = out - np.outer(inner[-1, :-1], inner[-1, :-1]) / at.rss
    return np.asarray(at.scale * out)


def psi_slopes(at: BlockedConditional, evaluate: Evaluate) -> PsiSlopes:
    """Slopes of the deviance in Psi; the information is the average one."""
    scores, floored = psi_scores(at, evaluate)
    sums = tuple(score + part for score, part in zip(scores, floored.explained, strict=True))  # of P = Z'V^-1 Z

    def information(k: int, changes: FloatArray) -> FloatArray:
        directions: list[FloatArray] = [np.zeros((0, len(factor), len(factor))) for factor in at.factors]
        directions[k] = changes
        # where t is small the average information is too; that of a level is at least tr(P D D')^2 / rank
        ranks = len(at.crossing.diagonal[k]) * np.linalg.matrix_rank(changes, hermitian=True)
        least = np.tensordot(changes, sums[k], axes=2) ** 2 / ranks
        return np.asarray(np.maximum(np.diag(average_information(floored, tuple(directions))), least))

    return PsiSlopes(scores=scores, sums=sums, information=information)


def _directions(at: BlockedConditional, slopes: tuple[FloatArray, ...]) -> tuple[FloatArray, ...]:
    """Derivatives (k, q, q) of each factor's Psi in theta, from those of Lambda."""
    half = [slope @ factor.T for slope, factor in zip(slopes, at.factors, strict=True)]
    return tuple(some + some.transpose(0, 2, 1) for some in half)


def _expected(
    information: FloatArray, scores: Sequence[FloatArray], slopes: tuple[FloatArray, ...], parts: tuple[slice, ...]
) -> FloatArray:
    """Average information, and the positive part of S for the curvature of Psi: (k, k)."""
    out = information.copy()
    for score, slope, part in zip(scores, slopes, parts, strict=True):
        values, vectors = np.linalg.eigh(score)
        out[part, part] += _curvature((vectors * np.maximum(values, 0.0)) @ vectors.T, slope)
    return out


def _curvature(score: FloatArray, slopes: FloatArray) -> FloatArray:
    """2 tr(L_a'S L_b) for S (q, q) and derivatives L (k, q, q): (k, k)."""
    return np.asarray(2.0 * _flat(score @ slopes) @ _flat(slopes).T)


def _flat(matrices: FloatArray) -> FloatArray:
    """Matrices (k, a, b) as rows (k, a b)."""
    return matrices.reshape(len(matrices), matrices.shape[1] * matrices.shape[2])
