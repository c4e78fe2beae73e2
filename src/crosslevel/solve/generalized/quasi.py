"""Penalised and marginal quasi-likelihood: linear mixed models of a working outcome, again and again.

With mu and mu' the mean and its slope at the linear predictor eta, the working outcome of each row is

    z = eta + (y - mu) / mu',    with the known precision    mu'^2 / Var(y),

and the linear mixed model for z gives the next eta: with the random effects' modes for PQL, without them for MQL. Both
underestimate variances and coefficients where a cluster has few binary answers; they are offered for comparison.

Source: Breslow & Clayton (1993), J. Am. Stat. Assoc. 88: 9-25, section 2.3 (PQL) and 4.1 (MQL), here with full rather
than restricted likelihood of the working model.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from crosslevel.design.response_rows import ResponseRows
from crosslevel.errors import DesignError
from crosslevel.families import GaussianWorking
from crosslevel.likelihood.generalized import GeneralizedCriterion
from crosslevel.optimise import Minimum, Status
from crosslevel.solve.generalized.objective import Objective
from crosslevel.solve.generalized.search import Search, find
from crosslevel.solve.generalized.solution import GeneralizedSolution, Quadrature
from crosslevel.solve.generalized.starts import starting_parameters
from crosslevel.solve.generalized.units import in_data_units
from crosslevel.types import FloatArray

SETTLED = 1e-7
"""Largest change of a parameter, in its standard errors, with which the repetitions end."""

LEAST_SLOPE = 1e-10
"""Slope of the mean below which a row tells nothing: it would make the working outcome infinite."""


def solve_quasi(criterion: GeneralizedCriterion, *, marginal: bool, search: Search) -> GeneralizedSolution:
    """Fit by penalised quasi-likelihood, or by marginal.

    Parameters
    ----------
    criterion : the Laplace approximation, in which the result is described.
    marginal : MQL instead of PQL.
    search : how; its number of steps is that of the working models.

    Raises
    ------
    DesignError : a family with shape parameters, of which quasi-likelihood knows nothing.
    """
    rows = criterion.rows
    if criterion.layout.m:
        raise DesignError(
            f"`quadrature={'mql' if marginal else 'pql'!r}` is defined for families without parameters beside the mean "
            f"(binomial, poisson); family={rows.family.name!r} has {criterion.layout.m}. "
            "Use quadrature='auto' or 'laplace'."
        )
    parameters = search.start
    if parameters is None:
        (parameters,) = starting_parameters(rows, prior=search.prior, second=False)
    beta = criterion.layout.beta
    fixed = rows.offset + rows.x @ parameters[beta]
    eta = fixed if search.near is None or marginal else search.near.eta
    minimum, evaluations, rounds, status, near = None, 0, 0, Status.MAX_STEPS, None
    while rounds < search.max_steps:
        rounds += 1
        working: Any = criterion.with_nodes(1).with_rows(working_rows(rows, eta))
        own = replace(search, start=parameters, near=near, uncertainty=False)
        minimum, _ = find(working, own)
        evaluations += minimum.evaluations
        size = np.sqrt(np.maximum(np.diag(minimum.derivatives.information), 1e-12))
        moved = float(np.max(np.abs(minimum.theta - parameters) * size, initial=0.0))
        parameters, near = minimum.theta, minimum.state
        eta = rows.offset + rows.x @ parameters[beta] if marginal else minimum.state.eta
        if moved < SETTLED and rounds > 1:
            status = minimum.status
            break
    return _described(criterion, working, parameters, marginal, search, status, evaluations, rounds)


def working_rows(rows: ResponseRows, eta: FloatArray) -> ResponseRows:
    """The rows with the working outcome and its precision at the linear predictor `eta` (n,)."""
    family = rows.family
    slope = family.mean_slope(eta)
    mu = family.mean(eta)
    slope = np.where(np.abs(slope) < LEAST_SLOPE, LEAST_SLOPE, slope)
    variance = np.maximum(family.variance(mu, rows.size, np.zeros(0)), LEAST_SLOPE**2)
    return replace(
        rows,
        family=GaussianWorking(),
        y=eta + (rows.y / rows.size - mu) / slope,
        size=(rows.size * slope) ** 2 / variance,
        n_categories=0,
    )


def _described(
    criterion: GeneralizedCriterion,
    working: GeneralizedCriterion,
    parameters: FloatArray,
    marginal: bool,
    search: Search,
    status: Status,
    evaluations: int,
    rounds: int,
) -> GeneralizedSolution:
    """The solution: standard errors of the last working model, modes and deviance of the Laplace approximation."""
    last, hessian = find(working, replace(search, start=parameters))
    laplace = criterion.with_nodes(1)
    state = laplace.value(last.theta)
    minimum: Minimum[Any] = replace(last, state=state, status=status, steps=rounds, evaluations=evaluations)
    quadrature = Quadrature(
        kind="mql" if marginal else "pql", nodes=1, chosen=False, laplace_deviance=float(state.deviance),
        difference=np.nan, laplace_shift=np.nan, change=np.nan, stable=None,
    )  # fmt: skip
    objective = Objective(criterion=laplace, prior=search.prior, directions=search.directions)
    return in_data_units(objective, minimum, hessian, quadrature)
