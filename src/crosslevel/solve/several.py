"""A model with any number of grouping factors: Crossing -> criterion -> minimum -> Solution."""

from crosslevel.design.crossing import Crossing
from crosslevel.errors import DesignError
from crosslevel.likelihood.blocked import BlockedDeviance
from crosslevel.optimise import MAX_STEPS, TOLERANCE, Status
from crosslevel.solve.search import lowest
from crosslevel.solve.solution import Solution, in_data_units, polish
from crosslevel.solve.starts import START
from crosslevel.solve.starts import equal_variances as equal_variances
from crosslevel.types import FloatArray

CHEAP = 2000
"""Random effects up to which the search starts from several points, and takes the last digits."""

NOTHING = 1e-13
"""Share of the outcome's sum of squares that counts as no residual: it is rounding error."""

STARTS = (START, 3.0)


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
    criterion = BlockedDeviance.of(crossing, reml=reml, copies=copies)
    small = sum(diagonal.shape[0] * diagonal.shape[1] for diagonal in crossing.diagonal) <= CHEAP
    starts = starting_thetas(criterion, small=small) if start is None else (start,)
    criterion, minimum = lowest(criterion, starts, tolerance=tolerance, max_steps=max_steps)
    if not minimum.state.rss > NOTHING * crossing.gram[-1, -1]:
        raise DesignError(
            "`formula` reproduces the outcome exactly by its random effects: the residual variance is zero and the "
            "likelihood has no maximum. Check for an outcome that is constant within the levels of the factors."
        )
    if small and minimum.status is Status.CONVERGED:
        minimum = polish(criterion, minimum)
    return in_data_units(criterion, minimum)


def starting_thetas(criterion: BlockedDeviance, *, small: bool) -> tuple[FloatArray, ...]:
    """Where to start: equal variances; in small models also large ones."""
    return tuple(equal_variances(criterion.structures, variance) for variance in (STARTS if small else STARTS[:1]))
