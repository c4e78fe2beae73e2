"""A model with a residual structure: rows -> criterion -> minimum -> Solution."""

from dataclasses import replace
from typing import Any

import numpy as np

from crosslevel.design.working import WorkingRows
from crosslevel.errors import CrosslevelError, DesignError
from crosslevel.likelihood.residual import ResidualConditional, ResidualDeviance
from crosslevel.likelihood.whitened import RowProducts
from crosslevel.optimise import MAX_STEPS, TOLERANCE, Criterion, Minimum, Status, minimise
from crosslevel.residual.bound import BoundResidual
from crosslevel.solve.several import equal_variances
from crosslevel.solve.solution import NEGLIGIBLE, Solution, in_data_units, polish_with_observed, read_only
from crosslevel.types import FloatArray

START = 0.3
"""Variance of all standardised random effects, relative to the residual's, from which the search starts."""

CHEAP = 500_000
"""Numbers in the rows up to which all starts are tried, and the last digits taken with a Hessian by differences."""

FLAT, CONFOUNDED = 1e-8, 1e-9
"""Information on a parameter that is none, and least eigenvalue of a standardised information matrix that is zero."""

ROUNDS, SETTLED = 100, 1e-9
"""Most rounds of new fitted values, and the relative change of the whitened coefficients and of phi that ends them."""

LEAST_SHARE = 0.1
"""Least share of the new fitted values in those of the next round."""


def solve_residual(
    rows: WorkingRows,
    residual: BoundResidual,
    *,
    reml: bool,
    tolerance: float = TOLERANCE,
    max_steps: int = MAX_STEPS,
) -> Solution:
    """Fit a linear mixed model with a residual structure.

    The parameters of the structure and of the random effects are searched for together, from the best random effects at
    each of the structure's starts. A variance that depends on the fitted values is fitted with those of the model
    before, starting from equal variances, until they no longer change (as in nlme; Pinheiro & Bates 2000, section 5.2).

    Parameters
    ----------
    rows : all rows in working coordinates, in the order of `residual`.
    residual : the structure bound to them.
    reml : restricted rather than full likelihood.
    tolerance, max_steps : see `optimise.minimise`.

    Raises
    ------
    CrosslevelError : less than one step.
    DesignError : the structure cannot be told apart from the random effects.
    """
    if max_steps < 1:
        raise CrosslevelError(f"`max_steps` is a number of steps, at least 1; got {max_steps!r}.")
    criterion = ResidualDeviance.of(rows, residual, reml=reml)
    phis = residual.starts() if rows.columns.size <= CHEAP else residual.starts()[:1]
    starts = [_best_effects(criterion, phi, tolerance=tolerance, max_steps=max_steps) for phi in phis]
    if residual.of_fitted:
        criterion, minimum = _by_fitted(criterion, rows, starts[0], tolerance=tolerance, max_steps=max_steps)
    else:
        ends = [_search(criterion, start, tolerance=tolerance, max_steps=max_steps) for start in starts]
        minimum = _best(ends)
    minimum = _settle(criterion, minimum)
    _check_told_apart(criterion, minimum)
    if minimum.status is Status.CONVERGED and rows.columns.size <= CHEAP:
        minimum = polish_with_observed(criterion, minimum)
    phi = read_only(criterion.split(minimum.theta)[0].copy())
    return replace(in_data_units(criterion, minimum), criterion=replace(criterion, held=phi), phi=phi)


def _check_told_apart(criterion: ResidualDeviance, minimum: Minimum[ResidualConditional]) -> None:
    """Refuse a structure of which other parameters would make the same covariances, given the random effects."""
    if not criterion.residual.n_phi:
        return
    information = criterion.average_information(minimum.state, criterion.split(minimum.theta)[1])
    size = np.diag(information)
    moving = size > FLAT  # the others have reached a bound
    if not moving.any():
        return
    scaled = information[np.ix_(moving, moving)] / np.sqrt(np.outer(size[moving], size[moving]))
    if np.linalg.eigvalsh(scaled)[0] < CONFOUNDED:
        raise DesignError(
            f"`residual` ({criterion.residual.words}) cannot be told apart from the random effects or from the "
            "residual variance: several values of their parameters give the rows the same covariances. Drop the random "
            "term, choose a structure with fewer parameters, or observe each unit more often."
        )


def deviance_without_effects(solution: Solution) -> float:
    """Deviance of the same model without random effects, at its own best residual structure."""
    criterion: ResidualDeviance = solution.criterion
    fixed = criterion.without_effects()
    starts = (solution.phi, *criterion.residual.starts())
    ends = [_search(fixed, phi, tolerance=TOLERANCE, max_steps=MAX_STEPS) for phi in starts]
    return float(_best(ends).state.deviance)


def fitted_rows(rows: WorkingRows, at: ResidualConditional) -> FloatArray:
    """Fitted values (n,) with random effects, in the units of the data and the order of the rows."""
    coordinates = rows.empty.coordinates
    x = rows.columns[rows.xy][:-1]
    fitted = at.beta @ x
    for part, codes, modes in zip(rows.parts, rows.codes, at.modes, strict=True):
        fitted += np.einsum("qn,nq->n", rows.columns[part], modes[codes])
    return np.asarray((fitted + coordinates.removed @ x) * coordinates.scale[-1] + coordinates.shift[-1])


def _search(
    criterion: ResidualDeviance, start: FloatArray, *, tolerance: float, max_steps: int
) -> Minimum[ResidualConditional]:
    """One run of the minimiser over (phi, theta)."""

    def escape(theta: FloatArray, at: Any) -> tuple[FloatArray, Any] | None:
        return criterion.escape(theta, at, tolerance=tolerance)

    searched: Criterion[Any] = criterion  # what lies outside is infinite, and never the end
    found: Minimum[ResidualConditional] = minimise(
        searched, start, deviance=lambda at: at.deviance, escape=escape, tolerance=tolerance, max_steps=max_steps
    )
    return found


def _best_effects(criterion: ResidualDeviance, phi: FloatArray, *, tolerance: float, max_steps: int) -> FloatArray:
    """(phi, theta) with the best random effects at a start of phi."""
    theta = equal_variances(criterion.structures, START)
    at = criterion.value(np.append(phi, theta))
    if not len(theta) or not isinstance(at, ResidualConditional):
        return np.append(phi, theta)
    engine = at.engine

    def escape(theta: FloatArray, at: Any) -> tuple[FloatArray, Any] | None:
        return engine.escape(theta, at, tolerance=tolerance)

    found = minimise(
        engine, theta, deviance=lambda at: at.deviance, escape=escape, tolerance=tolerance, max_steps=max_steps
    )
    return np.append(phi, found.theta)


def _best(ends: list[Minimum[ResidualConditional]]) -> Minimum[ResidualConditional]:
    """The lowest minimum; of those as low, a converged one."""
    lowest = min(end.state.deviance for end in ends)
    as_low = [end for end in ends if end.state.deviance <= lowest + TOLERANCE]
    best = min(as_low, key=lambda end: end.status is not Status.CONVERGED)
    return replace(best, evaluations=sum(end.evaluations for end in ends))


def _by_fitted(
    criterion: ResidualDeviance, rows: WorkingRows, start: FloatArray, *, tolerance: float, max_steps: int
) -> tuple[ResidualDeviance, Minimum[ResidualConditional]]:
    """Fit with the fitted values of the fit before, until phi and the fitted values no longer change.

    Where rounds jump to and fro, as with strongly skewed outcomes, the next one has a share of the new fitted values
    and keeps the rest of the old (Irons & Tuck 1969): that changes the way, not the end, where the two are the same.
    """
    at = criterion.value(start)
    assert isinstance(at, ResidualConditional)
    fitted, parameters = fitted_rows(rows, at), start
    steps, evaluations, share, last = 0, 0, 1.0, None
    for _ in range(ROUNDS):
        residual = criterion.residual.with_covariate(fitted)
        criterion = replace(criterion, products=RowProducts(rows=rows, residual=residual), residual=residual)
        if not np.isfinite(criterion.value(parameters).deviance):
            parameters = start  # with equal variances, which any fitted values allow
        minimum = _search(criterion, parameters, tolerance=tolerance, max_steps=max_steps)
        if minimum.status is Status.CONVERGED and rows.columns.size <= CHEAP:
            minimum = polish_with_observed(criterion, minimum)
        steps, evaluations = steps + minimum.steps, evaluations + minimum.evaluations
        new = fitted_rows(rows, minimum.state)
        change = max(
            float(np.abs(new - fitted).max() / np.abs(new).max()), float(np.abs(minimum.theta - parameters)[0])
        )
        if change <= SETTLED or minimum.status is not Status.CONVERGED:
            break
        jump = new - fitted
        share = 1.0 if last is None else _share(share, last, jump)
        fitted, parameters, last = fitted + share * jump, minimum.theta, jump
    else:
        minimum = replace(minimum, status=Status.UNSETTLED)
    return criterion, replace(minimum, steps=steps, evaluations=evaluations)


def _share(share: float, before: FloatArray, jump: FloatArray) -> float:
    """Share of the new values (n,) that two jumps, the one before and this, foretell to end the rounds: a secant."""
    turn = jump - before
    length = float(turn @ turn)
    foretold = -share * float(before @ turn) / length if length > 0.0 else 1.0
    return min(max(foretold, LEAST_SHARE), 1.0)


def _settle(criterion: ResidualDeviance, minimum: Minimum[ResidualConditional]) -> Minimum[ResidualConditional]:
    """Put negligible variances exactly on the boundary where that costs nothing."""
    phi, _ = criterion.split(minimum.theta)
    parts, changed = [phi], False
    for structure, factor in zip(criterion.structures, minimum.state.factors, strict=True):
        left, sizes, _ = np.linalg.svd(factor)
        small = sizes < NEGLIGIBLE
        changed |= bool(np.any(small & (sizes > 0.0)))
        parts.append(structure.nearest(left * np.where(small, 0.0, sizes)))
    if not changed:
        return minimum
    theta = np.concatenate(parts)
    trial = criterion.value(theta)
    if not isinstance(trial, ResidualConditional) or trial.deviance > minimum.state.deviance + TOLERANCE:
        return minimum
    return replace(minimum, theta=theta, state=trial, derivatives=criterion.derivatives(trial, theta))
