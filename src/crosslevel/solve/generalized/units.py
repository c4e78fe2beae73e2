"""From the search's end to a solution: covariances of the estimates, and the way back to the units of the data."""

from typing import Any

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.optimise import Minimum
from crosslevel.solve.generalized.objective import Objective
from crosslevel.solve.generalized.solution import GeneralizedSolution, Quadrature
from crosslevel.solve.solution import NEGLIGIBLE, read_only
from crosslevel.types import FloatArray

HELD = 1e-8
"""Change of Psi along a direction of theta, relative to the largest, below which the direction is held."""

LIMIT = 1e-5
"""Curvature of the deviance in a working shape parameter, a logarithm, below which it has reached a limit."""


def in_data_units(
    objective: Objective, minimum: Minimum[Any], hessian: FloatArray | None, quadrature: Quadrature
) -> GeneralizedSolution:
    """The solution at a minimum whose Hessian (r, r), in the directions of the search, is known.

    Without it, standard errors are NaN.
    """
    criterion, layout, parameters = objective.criterion, objective.layout, minimum.theta
    rows, at = criterion.rows, minimum.state
    vcov = np.full((layout.size, layout.size), np.nan)
    if hessian is not None and objective.directions is not None:
        hessian = objective.directions @ hessian @ objective.directions.T
    if hessian is not None:
        vcov = working_covariance(objective, parameters, hessian)
    factors = [np.linalg.solve(basis, factor) for basis, factor in zip(rows.bases, at.factors, strict=True)]
    thetas = [structure.nearest(factor) for structure, factor in zip(rows.structures, factors, strict=True)]
    theta = np.concatenate([np.zeros(0), *thetas])
    beta = rows.coordinates.coefficients(parameters[layout.beta])
    map_back = data_map(objective, parameters, thetas)
    joint_vcov = map_back @ vcov @ map_back.T
    return GeneralizedSolution(
        theta=read_only(theta),
        factors=tuple(
            read_only(structure.factor(own).copy()) for structure, own in zip(rows.structures, thetas, strict=True)
        ),
        beta=read_only(beta),
        vcov=read_only(joint_vcov[layout.beta, layout.beta].copy()),
        shape=read_only(np.array(rows.family.shape(parameters[layout.shape]))),
        deviance=float(at.deviance),
        eigenvalues=tuple(
            read_only(np.linalg.svd(factor[~structure.fixed], compute_uv=False) ** 2)
            for structure, factor in zip(rows.structures, at.factors, strict=True)
        ),
        parameters=read_only(parameters.copy()),
        working_vcov=read_only(vcov),
        hessian=read_only(np.full_like(vcov, np.nan) if hessian is None else hessian.copy()),
        joint=read_only(np.concatenate([theta, beta, parameters[layout.shape]])),
        joint_vcov=read_only(joint_vcov),
        criterion=criterion,
        minimum=minimum,
        quadrature=quadrature,
        prior=objective.prior,
    )


def working_covariance(objective: Objective, parameters: FloatArray, hessian: FloatArray) -> FloatArray:
    """Covariance (K, K) by the observed information, half the Hessian (K, K); NaN where that is not positive definite.

    Directions of theta in which Psi does not change, because a variance is zero, are held; so are shape parameters at a
    limit of the family, such as a negative binomial distribution that is Poisson.
    """
    free = free_directions(objective, parameters, hessian)
    inside = free.T @ hessian @ free
    diagonal = np.diag(inside)
    size = np.sqrt(np.maximum(diagonal, 1e-30 * max(float(diagonal.max(initial=0.0)), 1e-200)))
    try:
        chol = np.linalg.cholesky(inside / size / size[:, None])
    except np.linalg.LinAlgError:
        return np.full_like(hessian, np.nan)
    half = np.linalg.solve(chol, (free / size).T)
    return np.asarray(2.0 * half.T @ half)


def free_directions(objective: Objective, parameters: FloatArray, hessian: FloatArray) -> FloatArray:
    """Orthonormal directions (K, r) of the parameters in which the model changes to first order."""
    layout = objective.layout
    blocks = []
    for structure, part in zip(objective.structures, layout.parts, strict=True):
        changes = psi_changes(structure, parameters[part]).reshape(structure.n_theta, structure.q**2)
        if not len(changes):
            continue
        left, values, _ = np.linalg.svd(changes, full_matrices=False)
        kept = left[:, values > HELD * max(float(values.max()), NEGLIGIBLE)]
        placed = np.zeros((layout.size, kept.shape[1]))
        placed[part] = kept
        blocks.append(placed)
    # a shape parameter at its limit, where the likelihood is flat, is held too
    kept_shape = np.diag(hessian)[layout.shape] > LIMIT
    rest = np.eye(layout.size)[:, layout.k :][:, np.append(np.ones(layout.p, dtype=bool), kept_shape)]
    own = np.hstack([*blocks, rest])
    if objective.directions is None:
        return own
    # what the search was not allowed to move is held as well
    inside = objective.directions @ (objective.directions.T @ own)
    left, values, _ = np.linalg.svd(inside, full_matrices=False)
    return np.asarray(left[:, values > HELD])


def psi_changes(structure: BlockStructure, theta: FloatArray) -> FloatArray:
    """Derivatives of Psi = Lambda Lambda' in theta, (n_theta, q, q)."""
    half = structure.factor_gradient(theta) @ structure.factor(theta).T
    return np.asarray(half + half.transpose(0, 2, 1))


def data_map(objective: Objective, parameters: FloatArray, thetas: list[FloatArray]) -> FloatArray:
    """Derivative (K, K) of [theta, beta, shape] in the units of the data in the working parameters.

    theta makes T^-1 Psi T^-T there: its change is the one that changes that matrix by T^-1 dPsi T^-T.
    """
    layout, rows = objective.layout, objective.criterion.rows
    out = np.eye(layout.size)
    out[layout.beta, layout.beta] = rows.coordinates.beta_map
    for structure, part, basis, theta in zip(rows.structures, layout.parts, rows.bases, thetas, strict=True):
        if not structure.n_theta:
            continue
        back = np.linalg.inv(basis)
        working = back @ psi_changes(structure, parameters[part]) @ back.T
        own = psi_changes(structure, theta)
        # in units of the working columns, so that a predictor's scale does not decide what counts as zero
        unit = np.outer(np.diag(basis), np.diag(basis))
        working, own = (working * unit).reshape(len(theta), -1).T, (own * unit).reshape(len(theta), -1).T
        size = np.sqrt(np.sum(own**2, axis=0))
        size = np.where(size > 0.0, size, 1.0)
        out[part, part] = np.linalg.pinv(own / size, rcond=HELD) @ working / size[:, None]
    return out
