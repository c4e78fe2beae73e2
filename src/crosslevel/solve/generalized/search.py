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
from crosslevel.solve.starts import tied
from crosslevel.types import FloatArray

MAX_STEPS = 200
"""Largest number of steps of a search."""

FEW_LEVELS = 8
"""Levels of a factor up to which the search starts from two points, as it does with fewer than three per effect."""

SPARSE, SPARSE_MORE, CHEAP = 3, 10, 2000
"""It does so too with no more than so many rows for each random effect, and so many more, if the effects are few."""


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
    starts: tuple[FloatArray, ...] = () if search.start is None else (search.start,)
    if not starts:
        several = may_have_several_minima(criterion.rows)
        starts = starting_parameters(criterion.rows, prior=search.prior, second=several)
        starts += tuple(_tied(objective, starts[0]))
    if len(starts) == 1:
        return _run(objective, starts[0], search)
    ends = [_run(objective, start, replace(search, uncertainty=False))[0] for start in starts]
    best = min(ends, key=lambda end: objective.penalty(end.theta) + end.state.deviance)
    minimum, hessian = _run(objective, best.theta, replace(search, near=best.state))
    return replace(minimum, evaluations=minimum.evaluations + sum(end.evaluations for end in ends)), hessian


def may_have_several_minima(rows: ResponseRows) -> bool:
    """Whether levels of some factor are few, or rows for the random effects."""
    effects = sum(term.n_levels * term.q for term in rows.terms)
    few_rows = effects <= CHEAP and len(rows.y) < SPARSE * effects + SPARSE_MORE
    return few_rows or any(term.n_levels <= max(FEW_LEVELS, 3 * term.q) for term in rows.terms)


def _tied(objective: Objective, first: FloatArray) -> list[FloatArray]:
    """More parameters (K,) to start from where random effects are tied: their deviances often have several minima."""
    out = []
    for structure, part in zip(objective.structures, objective.layout.parts, strict=True):
        if (structure.additive | structure.fixed).all():
            continue

        def placed(own: FloatArray, part: slice = part) -> FloatArray:
            moved = first.copy()
            moved[part] = own
            return moved

        out += [placed(own) for own in tied(structure, lambda own: objective.at(placed(own)).value)]
    return out


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
