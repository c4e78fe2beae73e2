"""What is minimised: the deviance of a generalized criterion, with a prior if there is one."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.likelihood.generalized import GeneralizedCriterion, Layout
from crosslevel.prior import Weak
from crosslevel.types import FloatArray

LONGEST = 1.5
"""Largest change of a working shape parameter in one step."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """The objective at one parameter vector.

    Attributes
    ----------
    parameters : (K,).
    state : the criterion's.
    value : deviance with the prior's part.
    """

    parameters: FloatArray
    state: Any
    value: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Objective:
    """The deviance with -2 log prior, on all parameters or on an affine set of them.

    Attributes
    ----------
    criterion : the likelihood.
    prior : None for maximum likelihood.
    directions : (K, r) orthonormal directions in which the search may move, None for all.
    """

    criterion: GeneralizedCriterion
    prior: Weak | None = None
    directions: FloatArray | None = None

    @property
    def layout(self) -> Layout:
        """Where the parameters stand."""
        return self.criterion.layout

    @property
    def structures(self) -> tuple[BlockStructure, ...]:
        """Blocks of the random effects of each grouping factor."""
        return self.criterion.rows.structures

    def at(self, parameters: FloatArray, near: Any = None) -> Point:
        """The objective at `parameters`, the search for the modes starting from those of the state `near`."""
        penalty = self.penalty(parameters)
        state = self.criterion.value(parameters, near)
        return Point(parameters=parameters, state=state, value=float(state.deviance) + penalty)

    def gradient(self, point: Point) -> FloatArray:
        """(r,) in the directions of the search."""
        out = self.criterion.gradient(point.state)
        if self.prior is not None:
            out = out + self._penalty_gradient(point.parameters)
        return out if self.directions is None else self.directions.T @ out

    def gradients(self, steps: FloatArray, point: Point) -> FloatArray:
        """Gradients (B, r) after small steps (B, r) from a point; NaN where the objective is infinite."""
        moved = point.parameters + (steps if self.directions is None else steps @ self.directions.T)
        out = self.criterion.gradients(moved, point.state)
        if self.prior is not None:
            for parameters, row in zip(moved, out, strict=True):
                row += self._penalty_gradient(parameters) if np.isfinite(self.penalty(parameters)) else np.nan
        return out if self.directions is None else out @ self.directions

    def information(self, point: Point) -> FloatArray:
        """Positive semi-definite approximation (r, r) of the Hessian."""
        out = self.criterion.information(point.state)
        if self.prior is not None:
            out = out + self._penalty_information(point.parameters)
        return out if self.directions is None else self.directions.T @ out @ self.directions

    def moved(self, parameters: FloatArray, step: FloatArray) -> FloatArray:
        """Parameters after a step (r,)."""
        return parameters + (step if self.directions is None else self.directions @ step)

    def reach(self, step: FloatArray) -> float:
        """Share of a step (r,) that may be taken at once: in shape parameters the deviance is flat towards limits."""
        if not self.layout.m:
            return 1.0
        moved = step if self.directions is None else self.directions @ step
        return min(1.0, LONGEST / max(float(np.abs(moved[self.layout.shape]).max()), 1e-300))

    @cached_property
    def moves_theta(self) -> bool:
        """Whether the covariance parameters are free, whatever else is held."""
        if self.directions is None:
            return self.layout.k > 0
        k = self.layout.k
        return k > 0 and bool(np.allclose(self.directions[:k] @ self.directions[:k].T, np.eye(k)))

    @cached_property
    def precision(self) -> FloatArray:
        """(p,) of the prior of the working coefficients."""
        rows = self.criterion.rows
        out = np.zeros(rows.x.shape[1])
        if self.prior is not None and self.prior.coefficients is not None:
            out[:] = self.prior.coefficients**-2.0
        if self.prior is not None and rows.coordinates.intercept >= 0:
            wide = self.prior.intercept
            out[rows.coordinates.intercept] = 0.0 if wide is None else wide**-2.0
        return out

    @property
    def power(self) -> float:
        """C - 1, where p(Psi) is proportional to |Psi|^((c - 1) / 2)."""
        return 0.0 if self.prior is None or self.prior.covariances is None else self.prior.covariances - 1.0

    def penalty(self, parameters: FloatArray) -> float:
        """-2 log prior without its constants; infinite where a covariance matrix is singular and the prior forbids it.

        sum_j (beta_j / s_j)^2 - (c - 1) sum over blocks of log|Psi|.
        """
        if self.prior is None:
            return 0.0
        beta = parameters[self.layout.beta]
        out = float(self.precision @ beta**2)
        if self.power > 0.0:
            for structure, part in zip(self.structures, self.layout.parts, strict=True):
                out -= 2.0 * self.power * log_det(structure, parameters[part])
        return out

    def _penalty_gradient(self, parameters: FloatArray) -> FloatArray:
        """(K,)."""
        out = np.zeros(self.layout.size)
        out[self.layout.beta] = 2.0 * self.precision * parameters[self.layout.beta]
        for structure, part in zip(self.structures, self.layout.parts, strict=True):
            if self.power > 0.0:
                relative = relative_changes(structure, parameters[part])
                out[part] = -2.0 * self.power * np.einsum("aii->a", relative)
        return out

    def _penalty_information(self, parameters: FloatArray) -> FloatArray:
        """(K, K), the part of the Hessian that is positive semi-definite."""
        out = np.zeros((self.layout.size, self.layout.size))
        place = np.arange(self.layout.beta.start, self.layout.beta.stop)
        out[place, place] = 2.0 * self.precision
        for structure, part in zip(self.structures, self.layout.parts, strict=True):
            if self.power > 0.0:
                relative = relative_changes(structure, parameters[part])
                out[part, part] = 2.0 * self.power * np.einsum("aij,bij->ab", relative, relative)
        return out


def log_det(structure: BlockStructure, theta: FloatArray) -> float:
    """Sum of log|det Lambda| over the blocks whose covariance is estimated; minus infinity where one is singular."""
    estimated = np.flatnonzero(~structure.fixed)
    if not len(estimated):
        return 0.0
    return float(np.linalg.slogdet(structure.factor(theta)[np.ix_(estimated, estimated)])[1])


def relative_changes(structure: BlockStructure, theta: FloatArray) -> FloatArray:
    """Lambda^-1 dLambda / dtheta (n_theta, m, m), of the m effects whose covariance is estimated."""
    estimated = np.flatnonzero(~structure.fixed)
    block = np.ix_(estimated, estimated)
    changes = structure.factor_gradient(theta)[:, estimated[:, None], estimated[None, :]]
    return np.asarray(np.linalg.solve(structure.factor(theta)[block], changes))
