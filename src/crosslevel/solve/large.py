"""A crossed model too large for exact elimination: Crossing -> stochastic criterion -> minimum -> Solution."""

from dataclasses import replace

from crosslevel.design.crossing import Crossing
from crosslevel.errors import CrosslevelError
from crosslevel.likelihood.large import solve_iterative
from crosslevel.optimise import MAX_STEPS
from crosslevel.solve.solution import Iterative, Solution, in_data_units


def solve_large(crossing: Crossing, *, reml: bool, max_steps: int = MAX_STEPS) -> Solution:
    """Fit a linear mixed model with several grouping factors by iterative solutions and a stochastic log-determinant.

    Parameters
    ----------
    crossing : cross-products of the model.
    reml : restricted rather than full likelihood.
    max_steps : see `optimise.minimise`.

    Raises
    ------
    CrosslevelError : less than one step.
    """
    if max_steps < 1:
        raise CrosslevelError(f"`max_steps` is a number of steps, at least 1; got {max_steps!r}.")
    found = solve_iterative(crossing, reml=reml, max_steps=max_steps)
    criterion = found.criterion
    # errors of theta by the random vectors, in its sampling standard errors
    spread = found.theta_covariance.diagonal() ** 0.5
    share = float((found.theta_error / spread).max()) if len(spread) else 0.0
    iterative = Iterative(
        vectors=criterion.vectors.shape[1] - criterion.n_exact, deviance_error=found.standard_error, theta_error=share
    )
    return replace(in_data_units(criterion, found.minimum), iterative=iterative)
