"""A model with random effects whose covariance is known: Crossing -> criterion -> minimum -> Solution."""

from dataclasses import replace
from typing import Any

import numpy as np

from crosslevel.design.crossing import Crossing
from crosslevel.likelihood.fixed_scale import FixedScaleDeviance
from crosslevel.optimise import MAX_STEPS, TOLERANCE, Minimum, Status
from crosslevel.solve.search import SAME, lowest
from crosslevel.solve.several import CHEAP, check_not_reproduced, check_tied, random_effects, starting_thetas
from crosslevel.solve.solution import Solution, in_data_units, polish_with_observed

FAR_BELOW = 0.2
"""Sigma of the second start in small models, relative to that of the first."""


def solve_fixed_scale(
    crossing: Crossing, *, reml: bool, tolerance: float = TOLERANCE, max_steps: int = MAX_STEPS
) -> Solution:
    """Fit a linear mixed model in which the covariances of some random effects are known in the units of the data.

    Parameters
    ----------
    crossing : cross-products of the model, with any number of grouping factors.
    reml : restricted rather than full likelihood.
    tolerance, max_steps : see `optimise.minimise`.

    Raises
    ------
    CrosslevelError : less than one step.
    DesignError : the random effects reproduce the outcome, so that no residual variance is left; or tied effects whose
        variances and correlations the design cannot tell apart.
    """
    criterion = FixedScaleDeviance.of(crossing, reml=reml)
    if any(not kind.additive and not kind.fixed for structure in crossing.structures for kind in structure.kinds):
        check_tied(criterion.engine, criterion.free)
    small = random_effects(crossing) <= CHEAP
    first, *others = starting_thetas(criterion, small=small)
    ends = [lowest(criterion, (first,), tolerance=tolerance, max_steps=max_steps)]
    low = criterion.starting_at(FAR_BELOW * float(np.exp(criterion.start)))
    if small:
        ends.append(lowest(low, (first,), tolerance=tolerance, max_steps=max_steps))
    if others:
        near = criterion.starting_at(_best(ends, tolerance)[1].state.sigma)
        ends.append(lowest(near, others, tolerance=tolerance, max_steps=max_steps))
    criterion, minimum = _best(ends, tolerance)
    check_not_reproduced(crossing, minimum.state)
    if small and minimum.status is Status.CONVERGED:
        minimum = polish_with_observed(criterion, minimum)
    return in_data_units(criterion, minimum)


def _best(
    ends: list[tuple[FixedScaleDeviance, Minimum[Any]]], tolerance: float
) -> tuple[FixedScaleDeviance, Minimum[Any]]:
    """The lowest minimum, of those as low a converged one, and its criterion, which searches for sigma near its own."""
    least = min(minimum.state.deviance for _, minimum in ends)
    as_low = [end for end in ends if end[1].state.deviance <= least + SAME * tolerance]
    criterion, minimum = min(as_low, key=lambda end: end[1].status is not Status.CONVERGED)
    evaluations = sum(end[1].evaluations for end in ends)
    return criterion.starting_at(minimum.state.sigma), replace(minimum, evaluations=evaluations)
