"""A model with any number of grouping factors: Crossing -> criterion -> minimum -> Solution."""

from dataclasses import replace

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.design.crossing import Crossing
from crosslevel.errors import CrosslevelError, DesignError
from crosslevel.likelihood.blocked import BlockedConditional, BlockedDeviance
from crosslevel.optimise import MAX_STEPS, TOLERANCE, Minimum, Status, minimise
from crosslevel.solve.solution import NEGLIGIBLE, Solution, in_data_units, polish
from crosslevel.types import FloatArray

STARTS = (0.1, 3.0)
"""Variances of all standardised random effects, relative to the residual's, from which the search starts;"""

CHEAP = 2000
"""from the first only where there are more random effects than this."""


NOTHING = 1e-13
"""Share of the outcome's sum of squares that counts as no residual: it is rounding error."""


def solve_crossing(
    crossing: Crossing,
    *,
    reml: bool,
    copies: tuple[FloatArray, ...] | None = None,
    start: FloatArray | None = None,
    tolerance: float = TOLERANCE,
    max_steps: int = MAX_STEPS,
) -> Solution:
    """Fit a linear mixed model with any number of grouping factors.

    Parameters
    ----------
    crossing : cross-products of the model.
    reml : restricted rather than full likelihood.
    copies : for each of nested factors (J,) how often each level counts in its parent; None if all count once.
    start : (k,) working theta to start from; by default equal variances, small ones and, in small models, large ones.
    tolerance, max_steps : see `optimise.minimise`.

    Raises
    ------
    CrosslevelError : less than one step.
    DesignError : the random effects reproduce the outcome, so that no residual variance is left.
    """
    if max_steps < 1:
        raise CrosslevelError(f"`max_steps` is a number of steps, at least 1; got {max_steps!r}.")
    criterion = BlockedDeviance.of(crossing, reml=reml, copies=copies)
    small = sum(diagonal.shape[0] * diagonal.shape[1] for diagonal in crossing.diagonal) <= CHEAP
    variances = STARTS if small else STARTS[:1]
    starts = [equal_variances(crossing.structures, variance) for variance in variances] if start is None else [start]
    ends = [_search(criterion, theta, tolerance=tolerance, max_steps=max_steps) for theta in starts]
    best = min(ends, key=lambda end: (end.status is not Status.CONVERGED, end.state.deviance))
    lowest = min(ends, key=lambda end: end.state.deviance)
    minimum = best if best.state.deviance <= lowest.state.deviance + TOLERANCE else lowest
    if not minimum.state.rss > NOTHING * crossing.gram[-1, -1]:
        raise DesignError(
            "`formula` reproduces the outcome exactly by its random effects: the residual variance is zero and the "
            "likelihood has no maximum. Check for an outcome that is constant within the levels of the factors."
        )
    minimum = _settle(criterion, replace(minimum, evaluations=sum(end.evaluations for end in ends)))
    if small and minimum.status is Status.CONVERGED:
        minimum = polish(criterion, minimum)
    return in_data_units(criterion, minimum)


def equal_variances(structures: tuple[BlockStructure, ...], variance: float) -> FloatArray:
    """Working theta (k,) of uncorrelated random effects that all have the same relative variance."""
    parts = [structure.nearest(np.sqrt(variance) * np.eye(structure.q)) for structure in structures]
    return np.concatenate([np.zeros(0), *parts])


def _search(
    criterion: BlockedDeviance, theta: FloatArray, *, tolerance: float, max_steps: int
) -> Minimum[BlockedConditional]:
    """One run of the minimiser, which may leave the boundary where that lowers the deviance."""

    def escape(theta: FloatArray, at: BlockedConditional) -> tuple[FloatArray, BlockedConditional] | None:
        return criterion.escape(theta, at, tolerance=tolerance)

    return minimise(
        criterion, theta, deviance=lambda at: at.deviance, escape=escape, tolerance=tolerance, max_steps=max_steps
    )


def _settle(criterion: BlockedDeviance, minimum: Minimum[BlockedConditional]) -> Minimum[BlockedConditional]:
    """Put negligible variances exactly on the boundary where that costs nothing."""
    parts, changed = [], False
    for structure, factor in zip(criterion.structures, minimum.state.factors, strict=True):
        left, sizes, _ = np.linalg.svd(factor)
        small = sizes < NEGLIGIBLE
        changed |= bool(np.any(small & (sizes > 0.0)))
        parts.append(structure.nearest(left * np.where(small, 0.0, sizes)))
    if not changed:
        return minimum
    theta = np.concatenate(parts)
    trial = criterion.value(theta)
    if trial.deviance > minimum.state.deviance + TOLERANCE:
        return minimum
    return replace(minimum, theta=theta, state=trial, derivatives=criterion.derivatives(trial, theta))
