"""Rows of a generalized linear mixed model -> criterion -> minimum -> GeneralizedSolution."""

from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np

from crosslevel.design.response_rows import ResponseRows
from crosslevel.errors import CrosslevelError
from crosslevel.likelihood.generalized import GeneralizedCriterion
from crosslevel.likelihood.no_effects import FixedLikelihood
from crosslevel.optimise import Minimum
from crosslevel.prior import Weak
from crosslevel.solve.generalized.objective import Objective
from crosslevel.solve.generalized.quadrature import STABLE, check_possible, is_possible, stable_nodes
from crosslevel.solve.generalized.quasi import solve_quasi
from crosslevel.solve.generalized.search import MAX_STEPS, Search, find
from crosslevel.solve.generalized.solution import GeneralizedSolution, Quadrature
from crosslevel.solve.generalized.starts import FEW_STEPS, LOOSE
from crosslevel.solve.generalized.units import in_data_units
from crosslevel.solve.search import check_steps
from crosslevel.types import FloatArray

Integration: TypeAlias = int | Literal["auto", "laplace", "pql", "mql"]
"""What `quadrature=` may be: a number of nodes per random effect, 1 being Laplace, or a name."""


def solve_generalized(
    rows: ResponseRows,
    *,
    quadrature: Integration = "auto",
    prior: Weak | None = None,
    start: FloatArray | None = None,
    max_steps: int = MAX_STEPS,
) -> GeneralizedSolution:
    """Fit a generalized linear mixed model.

    Parameters
    ----------
    rows : the data.
    quadrature : nodes per random effect (1 is Laplace), "laplace", "pql", "mql", or "auto": where quadrature is
        possible the nodes are raised until the log-likelihood is stable to 1e-4, elsewhere Laplace.
    prior : whose mode is wanted; None for maximum likelihood.
    start : (K,) working parameters to start from.
    max_steps : largest number of steps of a search.

    Raises
    ------
    CrosslevelError : an unknown `quadrature`, or less than one step.
    DesignError : quadrature where it is impossible.
    """
    search = Search(prior=prior, start=start, max_steps=max_steps)
    return solve_criterion(criterion_of(rows), quadrature=quadrature, search=search)


def criterion_of(rows: ResponseRows) -> Any:
    """The likelihood of these rows by the Laplace approximation."""
    if not rows.terms:
        return FixedLikelihood.of(rows)
    if rows.start is not None and len(rows.terms) == 1 and not rows.terms[0].members:
        from crosslevel.likelihood.one_factor import OneFactorLikelihood

        return OneFactorLikelihood(rows=rows)
    from crosslevel.likelihood.several_factors import SeveralFactorLaplace

    return SeveralFactorLaplace.of(rows)


def solve_criterion(
    criterion: GeneralizedCriterion, *, quadrature: Integration = "auto", search: Search | None = None
) -> GeneralizedSolution:
    """Fit by a criterion that is at hand, as for other weights of the same rows; see `solve_generalized`."""
    search = Search() if search is None else search
    check_steps(search.max_steps)
    nodes = nodes_wanted(criterion.rows, quadrature)
    if quadrature in ("pql", "mql"):
        return solve_quasi(criterion, marginal=quadrature == "mql", search=search)
    if nodes is None:
        return _solve_auto(criterion, search)
    if nodes > 1 and search.start is None:
        rough = replace(search, uncertainty=False, tolerance=LOOSE, max_steps=min(search.max_steps, FEW_STEPS))
        laplace, _ = find(criterion.with_nodes(1), rough)
        search = replace(search, start=laplace.theta, near=laplace.state)
    chosen = criterion.with_nodes(nodes)
    minimum, hessian = find(chosen, search)
    return _solution(chosen, search, minimum, hessian, chosen=False)


def nodes_wanted(rows: ResponseRows, quadrature: Integration) -> int | None:
    """Nodes per random effect that were asked for; None to choose them.

    Raises
    ------
    CrosslevelError : an unknown `quadrature`.
    DesignError : quadrature where it is impossible.
    """
    if isinstance(quadrature, (int, np.integer)) and not isinstance(quadrature, bool) and quadrature >= 1:
        check_possible(rows, int(quadrature))
        return int(quadrature)
    if quadrature == "auto":
        return None if is_possible(rows) else 1
    if quadrature in ("laplace", "pql", "mql"):
        return 1
    raise CrosslevelError(
        "`quadrature` is a number of nodes per random effect (1 is the Laplace approximation), 'auto', 'laplace', "
        f"'pql' or 'mql'; got {quadrature!r}."
    )


def _solve_auto(criterion: GeneralizedCriterion, search: Search) -> GeneralizedSolution:
    """Laplace first; then with as many nodes as its optimum needs, and as the new optimum needs, until they are one."""
    laplace, hessian = find(criterion.with_nodes(1), search)
    minimum, nodes, evaluations = laplace, 1, laplace.evaluations
    while True:
        enough, change, deviances = stable_nodes(criterion, minimum.theta, minimum.state, least=nodes)
        evaluations += len(deviances)
        if enough == nodes:
            break
        nodes = enough
        again = replace(search, start=minimum.theta, near=minimum.state)
        minimum, hessian = find(criterion.with_nodes(nodes), again)
        evaluations += minimum.evaluations
    minimum = replace(minimum, evaluations=evaluations)
    return _solution(
        criterion.with_nodes(nodes), search, minimum, hessian, chosen=True, change=change, laplace=laplace.theta
    )


def _solution(
    criterion: GeneralizedCriterion,
    search: Search,
    minimum: Minimum[Any],
    hessian: FloatArray | None,
    *,
    chosen: bool,
    change: float = np.nan,
    laplace: FloatArray | None = None,
) -> GeneralizedSolution:
    """The solution, with what is known about the approximation."""
    objective = Objective(criterion=criterion, prior=search.prior, directions=search.directions)
    deviance = float(minimum.state.deviance)
    by_laplace = deviance
    if criterion.nodes > 1:
        by_laplace = float(criterion.with_nodes(1).value(minimum.theta, minimum.state).deviance)
    quadrature = Quadrature(
        kind="laplace" if criterion.nodes == 1 else "adaptive",
        nodes=criterion.nodes,
        chosen=chosen,
        laplace_deviance=by_laplace,
        difference=0.5 * (deviance - by_laplace) if criterion.nodes > 1 or chosen else np.nan,
        laplace_shift=np.nan,
        change=change,
        stable=bool(change < STABLE) if np.isfinite(change) else None,
    )
    solution = in_data_units(objective, minimum, hessian, quadrature)
    if laplace is None:
        return solution
    beta = objective.layout.beta
    shift = np.abs(laplace[beta] - minimum.theta[beta]) / np.sqrt(np.diag(solution.working_vcov)[beta])
    return replace(solution, quadrature=replace(quadrature, laplace_shift=float(np.max(shift, initial=0.0))))
