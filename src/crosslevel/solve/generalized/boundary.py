"""The boundary of Psi: ways off it that no gradient shows, and variances that are put exactly on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.design.response_rows import ResponseTerm
from crosslevel.likelihood.boundary import PsiSlopes, leave_boundary
from crosslevel.optimise import Derivatives
from crosslevel.solve.generalized.objective import Objective, Point
from crosslevel.solve.solution import NEGLIGIBLE
from crosslevel.types import FloatArray

NEARLY_SINGULAR = 0.1
"""Standard deviation, in units of what one level tells about it, below which the boundary is looked at."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CovarianceSearch:
    """The objective as a function of theta alone, the rest held: what `likelihood.boundary` looks at."""

    objective: Objective
    point: Point

    @property
    def structures(self) -> tuple[BlockStructure, ...]:
        """Blocks of the random effects of each grouping factor."""
        return self.objective.structures

    def value(self, theta: FloatArray) -> Any:
        """The criterion's state."""
        return self.objective.at(self._placed(theta), self.point.state).state

    def derivatives(self, at: Any, theta: FloatArray) -> Derivatives:
        """Gradient, and the Hessian by differences of it."""
        k = self.objective.layout.k
        criterion = self.objective.criterion
        information = criterion.information(at)[:k, :k]
        lengths = 1e-4 * np.sqrt(2.0 / np.maximum(np.diag(information), 1e-8))
        rows = []
        for j, length in enumerate(lengths):
            ends = []
            for sign in (1.0, -1.0):
                moved = theta.copy()
                moved[j] += sign * length
                ends.append(criterion.gradient(self.value(moved))[:k])
            rows.append((ends[0] - ends[1]) / (2.0 * length))
        hessian = np.array(rows).reshape(k, k)
        return Derivatives(
            gradient=criterion.gradient(at)[:k], hessian=0.5 * (hessian + hessian.T), expected=lambda: information
        )

    def psi_slopes(self, at: Any) -> PsiSlopes:
        """Slopes in Psi, and how much the rows of each level tell about it, other factors left aside."""
        rows = self.objective.criterion.rows
        weights = level_weights(rows, at)
        kept = []
        for term, weight, factor in zip(rows.terms, weights, at.factors, strict=True):
            left = weight @ factor
            inner = np.eye(term.q) + factor.T @ left
            kept.append(weight - left @ np.linalg.solve(inner, left.transpose(0, 2, 1)))

        def information(k: int, changes: FloatArray) -> FloatArray:
            along = np.tensordot(kept[k], changes, axes=([1, 2], [1, 2]))
            return np.asarray(rows.terms[k].weight @ along**2)

        sums = tuple(np.tensordot(term.weight, each, axes=1) for term, each in zip(rows.terms, kept, strict=True))
        return PsiSlopes(scores=self.objective.criterion.psi_scores(at), sums=sums, information=information)

    def _placed(self, theta: FloatArray) -> FloatArray:
        """Parameters with this theta."""
        out = self.point.parameters.copy()
        out[self.objective.layout.theta] = theta
        return out


def level_weights(rows: Any, at: Any) -> list[FloatArray]:
    """For each factor (J, q, q) Z'WZ of every level, W = -l'' at the state's linear predictor where positive."""
    from crosslevel.kernels.responses import fill_terms

    terms = np.empty((3, rows.n))
    fill_terms(rows.family.code, rows.y, rows.size, rows.weight, at.eta, at.shape, terms)
    return [level_products(term, np.maximum(-terms[2], 0.0)) for term in rows.terms]


def level_products(term: ResponseTerm, weight: FloatArray) -> FloatArray:
    """Z'WZ (J, q, q) of every level of one factor."""
    out = np.empty((term.n_levels, term.q, term.q))
    for i in range(term.q):
        for j in range(i + 1):
            product = weight * term.z[:, i] * term.z[:, j]
            out[:, i, j] = out[:, j, i] = sum_by_level(term, product, power=2)
    return out


def sum_by_level(term: ResponseTerm, values: FloatArray, *, power: int) -> FloatArray:
    """Sums (J,) over the rows of every level; rows that belong in part count with that share to the `power`."""
    if not term.members:
        return np.asarray(np.bincount(term.codes, weights=values, minlength=term.n_levels), dtype=np.float64)
    out = np.zeros(term.n_levels)
    for codes, share in term.members:
        inside = codes >= 0
        own = values if share is None else values * share**power
        out += np.bincount(codes[inside], weights=own[inside], minlength=term.n_levels)
    return out


def escape(objective: Objective, point: Point, *, tolerance: float) -> Point | None:
    """A lower point off the boundary of Psi, if there is one; see `likelihood.boundary.leave_boundary`.

    A prior that forbids singular covariances leaves nothing to look for.
    """
    if not objective.moves_theta or objective.power > 0.0:
        return None
    search = CovarianceSearch(objective=objective, point=point)
    if not _nearly_singular(objective, point):
        return None
    lower = leave_boundary(search, point.parameters[objective.layout.theta], point.state, tolerance=tolerance)
    if lower is None:
        return None
    parameters = point.parameters.copy()
    parameters[objective.layout.theta] = lower[0]
    return Point(parameters=parameters, state=lower[1], value=lower[1].deviance + objective.penalty(parameters))


def _nearly_singular(objective: Objective, point: Point) -> bool:
    """Whether some estimated combination of random effects varies too little for the gradient to show its slope."""
    structures = objective.structures
    if not all(structure.additive.all() for structure in structures):
        return True
    rows = objective.criterion.rows
    weights = level_weights(rows, point.state)
    for term, weight, factor in zip(rows.terms, weights, point.state.factors, strict=True):
        mean = np.tensordot(term.weight, weight, axes=1) / max(float(term.weight.sum()), 1.0)
        told = np.linalg.svd(np.sqrt(np.diag(mean))[:, None] * factor, compute_uv=False)
        if told.min() < NEARLY_SINGULAR:
            return True
    return False


def settle(objective: Objective, point: Point, *, small: float = NEGLIGIBLE, tolerance: float = 0.0) -> Point | None:
    """A point with standard deviations below `small` exactly zero that is no more than `tolerance` higher, or None.

    All factors at once are tried first, then each by itself.
    """
    if not objective.moves_theta or objective.power > 0.0:
        return None
    flat, changed = [], []
    for k, (structure, factor) in enumerate(zip(objective.structures, point.state.factors, strict=True)):
        left, sizes, _ = np.linalg.svd(factor)
        gone = (sizes < small) & (not structure.fixed.any())
        flat.append(left * np.where(gone, 0.0, sizes))
        changed += [k] if np.any(gone & (sizes > 0.0)) else []
    found = None
    for some in [changed] * (len(changed) > 0) + [[k] for k in changed] * (len(changed) > 1):
        now = point if found is None else found
        factors = [flat[k] if k in some else factor for k, factor in enumerate(now.state.factors)]
        moved = objective.at(with_factors(objective, now.parameters, factors), now.state)
        if moved.value <= now.value + tolerance:
            found = moved
            if some is changed:
                break
    return found


def with_factors(objective: Objective, parameters: FloatArray, factors: Sequence[FloatArray]) -> FloatArray:
    """Parameters (K,) whose theta is nearest to these covariance factors."""
    out = parameters.copy()
    for structure, part, factor in zip(objective.structures, objective.layout.parts, factors, strict=True):
        out[part] = structure.nearest(factor)
    return out
