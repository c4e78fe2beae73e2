"""A model with random effects whose covariance is known: Crossing -> criterion -> minimum -> Solution."""

from dataclasses import replace

import numpy as np

from crosslevel.design.crossing import Crossing
from crosslevel.likelihood.fixed_scale import FixedScaleDeviance, JointDeviance
from crosslevel.optimise import MAX_STEPS, TOLERANCE, Status, minimise
from crosslevel.solve.search import check_steps, lowest
from crosslevel.solve.several import CHEAP, check_not_reproduced, check_tied, random_effects, starting_thetas
from crosslevel.solve.solution import Solution, in_data_units, polish_with_observed
from crosslevel.types import FloatArray

FAR_BELOW = -1.6
"""Difference of log sigma of one more start in small models."""

SAME_HEIGHT, WORTH = 1e-6, 2.0
"""Ends of first searches whose deviances differ by less than the first are one; further from the lowest than the second
they are not worth a search of their own."""


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
    places = [np.append(theta, criterion.start) for theta in (first, *others)]
    if small:
        places.append(np.append(first, criterion.start + FAR_BELOW))
    criterion, starts = _near(criterion, places, max_steps=max_steps)
    criterion, minimum = lowest(criterion, starts, tolerance=tolerance, max_steps=max_steps)
    check_not_reproduced(crossing, minimum.state)
    if small and minimum.status is Status.CONVERGED:
        minimum = polish_with_observed(criterion, minimum)
    return in_data_units(criterion, minimum)


def _near(
    criterion: FixedScaleDeviance, places: list[FloatArray], *, max_steps: int
) -> tuple[FixedScaleDeviance, list[FloatArray]]:
    """Go down from several (theta, log sigma) in both at once; thetas of the lowest ends, and the best sigma as start.

    Raises
    ------
    CrosslevelError : less than one step.
    """
    check_steps(max_steps)
    joint = JointDeviance(profile=criterion)
    ends = [
        minimise(joint, place, deviance=lambda at: at.deviance, escape=lambda theta, at: None, max_steps=max_steps)
        for place in places
    ]
    ends.sort(key=lambda end: end.state.deviance)
    heights = np.array([end.state.deviance for end in ends])
    apart = np.append(True, np.diff(heights) > SAME_HEIGHT) & (heights < heights[0] + WORTH)
    return (
        replace(criterion, start=-0.5 * float(np.log(ends[0].state.scale))),
        [end.theta[:-1] for end, chosen in zip(ends, apart, strict=True) if chosen],
    )
