"""The search for the minimum of one criterion: where it starts, and how often."""

from dataclasses import dataclass, replace
from typing import Any

from crosslevel.design.response_rows import ResponseRows
from crosslevel.likelihood.generalized import GeneralizedCriterion
from crosslevel.optimise import TOLERANCE, Minimum
from crosslevel.prior import Weak
from crosslevel.solve.generalized.boundary import settle
from crosslevel.solve.generalized.descent import descend
from crosslevel.solve.generalized.objective import Objective, Point
from crosslevel.solve.generalized.starts import starting_parameters
from crosslevel.types import FloatArray

MAX_STEPS = 200
"""Largest number of steps of a search."""

FEW_LEVELS = 8
"""Levels of a factor up to which the search starts from two points, as it does with fewer than three per effect."""

SAME = 1e-8
"""Difference of the ends of two searches that are one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Search:
    """How the optimum is searched for.

    Attributes
    ----------
    prior : whose mode is wanted; None for maximum likelihood.
    start : (K,) working parameters; None to choose them.
    near : a state whose modes start the first inner search.
    directions : (K, r) orthonormal directions of the parameters in which to search from `start`; None for all.
    uncertainty : whether standard errors are wanted.
    tolerance, max_steps : expected decrease at which a point is stationary; largest number of steps.
    """

    prior: Weak | None = None
    start: FloatArray | None = None
    near: Any = None
    directions: FloatArray | None = None
    uncertainty: bool = True
    tolerance: float = TOLERANCE
    max_steps: int = MAX_STEPS


def find(criterion: GeneralizedCriterion, search: Search) -> tuple[Minimum[Any], FloatArray | None]:
    """The minimum of a criterion and its Hessian there: from one start, or from several where there may be several."""
    objective = Objective(criterion=criterion, prior=search.prior, directions=search.directions)
    starts: tuple[FloatArray, ...] = (
        starting_parameters(criterion.rows, prior=search.prior) if search.start is None else (search.start,)
    )
    first = _run(objective, starts[0], search)
    if len(starts) == 1 or not (has_few_levels(criterion.rows) or not _additive(criterion.rows)):
        return first
    ends = [first, *(_run(objective, start, search) for start in starts[1:])]
    evaluations = sum(minimum.evaluations for minimum, _ in ends)
    minimum, hessian = min(ends, key=lambda end: objective.penalty(end[0].theta) + end[0].state.deviance)
    return replace(minimum, evaluations=evaluations), hessian


def has_few_levels(rows: ResponseRows) -> bool:
    """Whether some factor's levels are so few that there may be several minima."""
    return any(term.n_levels <= max(FEW_LEVELS, 3 * term.q) for term in rows.terms)


def _additive(rows: ResponseRows) -> bool:
    """Whether no random effects are tied."""
    return all(bool(structure.additive.all()) for structure in rows.structures)


def _run(objective: Objective, start: FloatArray, search: Search) -> tuple[Minimum[Any], FloatArray | None]:
    """One search, and negligible variances put on the boundary."""
    minimum, hessian = descend(
        objective, start, near=search.near, tolerance=search.tolerance, max_steps=search.max_steps,
        finish=search.uncertainty,
    )  # fmt: skip
    point = Point(
        parameters=minimum.theta, state=minimum.state,
        value=float(minimum.state.deviance) + objective.penalty(minimum.theta),
    )  # fmt: skip
    settled = settle(objective, point, tolerance=search.tolerance)
    if settled is not None:
        minimum = replace(minimum, theta=settled.parameters, state=settled.state)
    return minimum, hessian
