"""A model with one grouping factor: reduced cross-products -> criterion -> minimum -> Solution."""

import itertools
from dataclasses import replace

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.design.reduced import Reduced
from crosslevel.errors import CrosslevelError, DesignError
from crosslevel.likelihood.profiled import Conditional, ProfiledDeviance
from crosslevel.optimise import MAX_STEPS, ROUNDING, TOLERANCE, Minimum, Status, minimise
from crosslevel.solve.solution import NEGLIGIBLE, Solution, in_data_units, polish
from crosslevel.types import FloatArray

START = 0.1
"""Variance of each standardised random effect relative to the residual's, from which the start is computed."""

FEW_CLUSTERS, SPARSE_CLUSTERS = 8, 200
"""With no more clusters than the first, or no more than the second and few rows, there can be several minima."""

SPARSE_ROWS, SPARSE_MORE = 3, 10
"""Rows per random effect, and rows in addition, from which on they are not few."""

EQUAL = (0.003, 0.1, 3.0, 100.0)
"""Where minima can be several: relative variances of all standardised random effects to start from,"""

LARGE, SMALL = 100.0, 0.03
"""one effect's variance and the others',"""

CORRELATION = 0.95
"""and the size of correlations, with all patterns of signs that differ in at most one effect."""

SAME = 1e-9
"""Minima no further apart than this are one, and the search that says so most clearly is believed."""

SADDLE = 1e-8
"""A negative curvature in theta, relative to the largest, that is more than rounding."""

MOST_STARTS = 3
"""Tied effects: starts with equal variances, and with unequal ones, beside the one that a scoring step gives."""

CONFOUNDED = 1e-9
"""Least eigenvalue of an information matrix with a diagonal of one that says that it is singular."""

CHART_STEPS = 25
"""Steps after which the search goes on along the principal axes of the covariance it has reached."""


def solve(
    reduced: Reduced,
    *,
    reml: bool,
    sigma: float | None = None,
    start: FloatArray | None = None,
    tolerance: float = TOLERANCE,
    max_steps: int = MAX_STEPS,
) -> Solution:
    """Fit a linear mixed model to its reduced cross-products.

    Parameters
    ----------
    reduced : cross-products of the model.
    reml : restricted rather than full likelihood.
    sigma : residual standard deviation in the units of the data, if it is known.
    start : (k,) working theta to start from; by default one scoring step in Psi from equal variances, and more points
        where the data are so sparse that the deviance can have several minima.
    tolerance, max_steps : see `optimise.minimise`.

    Raises
    ------
    CrosslevelError : less than one step.
    DesignError : variances that the design cannot tell apart.
    """
    if max_steps < 1:
        raise CrosslevelError(f"`max_steps` is a number of steps, at least 1; got {max_steps!r}.")
    known = None if sigma is None else sigma / float(reduced.coordinates.scale[-1])
    criterion = ProfiledDeviance(reduced=reduced, reml=reml, sigma=known)
    if not reduced.structure.additive.all():
        _check_told_apart(criterion)
    starts = starting_thetas(criterion) if start is None else (start,)
    ends = [_descend(criterion, theta, tolerance=tolerance, max_steps=max_steps) for theta in starts]
    lowest = min(minimum.state.deviance for _, minimum in ends)
    as_low = [end for end in ends if end[1].state.deviance <= lowest + SAME]
    criterion, minimum = min(as_low, key=lambda end: end[1].status is not Status.CONVERGED)
    evaluations = sum(end[1].evaluations for end in ends)
    return in_data_units(criterion, _settle(criterion, replace(minimum, evaluations=evaluations)))


def _descend(
    criterion: ProfiledDeviance, theta: FloatArray, *, tolerance: float, max_steps: int
) -> tuple[ProfiledDeviance, Minimum[Conditional]]:
    """Minimise from one start; turn the effects to their principal axes whenever the search takes long."""
    steps = evaluations = 0
    for done in range(0, max_steps, CHART_STEPS):
        minimum = _search(criterion, theta, tolerance=tolerance, max_steps=min(CHART_STEPS, max_steps - done))
        steps, evaluations = steps + minimum.steps, evaluations + minimum.evaluations
        if minimum.status is Status.CONVERGED:
            break
        # Near a singular Psi the triangle of Lambda can be a long curved valley; along the principal axes it is not.
        reduced, factor = criterion.reduced.rotated(minimum.state.factor)
        criterion = replace(criterion, reduced=reduced)
        theta = reduced.structure.nearest(factor)
    return criterion, replace(minimum, steps=steps, evaluations=evaluations)


def _search(
    criterion: ProfiledDeviance, theta: FloatArray, *, tolerance: float, max_steps: int
) -> Minimum[Conditional]:
    """One run of the minimiser, which may leave the boundary where that lowers the deviance."""

    def escape(theta: FloatArray, at: Conditional) -> tuple[FloatArray, Conditional] | None:
        return descend_from_boundary(criterion, theta, at, tolerance=tolerance)

    return minimise(
        criterion, theta, deviance=lambda at: at.deviance, escape=escape, tolerance=tolerance, max_steps=max_steps
    )


def starting_thetas(criterion: ProfiledDeviance) -> tuple[FloatArray, ...]:
    """Where to start: one point, or several where minima may be several.

    They may where rows or clusters are few, and where the effects' means are not estimated; not with many clusters.
    """
    structure, reduced = criterion.structure, criterion.reduced
    if not structure.additive.all():
        return _lowest_members(criterion)
    first, q, n_clusters = starting_theta(criterion), structure.q, len(reduced.multiplicity)
    few_rows = reduced.n_rows < SPARSE_ROWS * q * n_clusters + SPARSE_MORE
    unambiguous = reduced.anchored and n_clusters > FEW_CLUSTERS and not few_rows
    if unambiguous or n_clusters > SPARSE_CLUSTERS:
        return (first,)
    eye = np.eye(q)
    factors = [np.sqrt(variance) * eye for variance in EQUAL]
    for k in range(q if q > 1 else 0):
        factors.append(np.diag(np.sqrt(np.where(eye[k] > 0.0, LARGE, SMALL))))
        signs = 1.0 - 2.0 * eye[k] * (k > 0)
        factors.append(np.column_stack([np.sqrt(CORRELATION) * signs, np.sqrt(1.0 - CORRELATION) * eye]))
    return first, *(structure.nearest(factor) for factor in factors)


def _lowest_members(criterion: ProfiledDeviance) -> tuple[FloatArray, ...]:
    """Where to start if effects are tied, since such deviances often have several minima.

    MINQUE; then, with equal variances, the correlations that are better than those next to them; and, if variances may
    differ, the best of those with one effect that varies much more or less than the others.
    """
    structure = criterion.structure

    def height(theta: FloatArray) -> float:
        return criterion.value(theta).deviance

    roots, equal = list(structure.members()), []
    for root in roots:
        equal.append(min((structure.nearest(np.sqrt(variance) * root) for variance in EQUAL), key=height))
    heights = [np.inf, *(height(theta) for theta in equal), np.inf]
    lowest = [k for k in range(len(equal)) if heights[k + 1] <= min(heights[k], heights[k + 2])]
    lowest.sort(key=lambda k: heights[k + 1])

    unequal = []
    if any(kind.scalable and not kind.additive for kind in structure.kinds):
        for k, root in itertools.product(range(structure.q), roots):
            one = np.arange(structure.q)[:, None] == k
            for size in (np.where(one, LARGE, SMALL), np.where(one, SMALL**2, 1.0)):
                unequal.append(structure.nearest(np.sqrt(size) * root))
    unequal = sorted(unequal, key=height)
    return starting_theta(criterion), *(equal[k] for k in lowest[:MOST_STARTS]), *unequal[:MOST_STARTS]


def _check_told_apart(criterion: ProfiledDeviance) -> None:
    """Refuse a structure of which two members, with different residual variances, give the rows one covariance.

    Then the expected information of theta, with sigma profiled out, is singular everywhere; a point with all standard
    deviations and correlations different shows it.
    """
    structure = criterion.structure
    theta = 0.7 + 0.3 * np.sin(1.0 + np.arange(structure.n_theta))
    at = criterion.value(theta)
    half = structure.factor_gradient(theta) @ at.factor.T
    information = at.psi_derivatives.information(half + half.transpose(0, 2, 1))
    size = np.sqrt(np.maximum(np.diag(information), 1e-300))
    if np.linalg.eigvalsh(information / np.outer(size, size))[0] < CONFOUNDED:
        raise DesignError(
            "`formula` has random effects whose variances and correlations cannot be told apart from the residual "
            "variance: the rows of a cluster have the same covariance for several values of them. "
            "Choose a structure with fewer parameters, drop random effects, or add rows per cluster."
        )


def starting_theta(criterion: ProfiledDeviance) -> FloatArray:
    """One scoring step in Psi from equal standardised variances (MINQUE), kept positive definite."""
    structure = criterion.structure
    at = criterion.value(structure.nearest(np.sqrt(START) * np.eye(structure.q)))
    sums = at.psi_derivatives

    rows, columns = np.nonzero(np.tril(structure.mask))
    directions = np.zeros((len(rows), structure.q, structure.q))
    index = np.arange(len(rows))
    directions[index, rows, columns] = 1.0
    directions[index, columns, rows] = 1.0
    information = sums.information(directions)
    information += np.diag(1e-6 * np.diag(information) + 1e-300)
    gradient = np.tensordot(directions, sums.score, axes=([1, 2], [0, 1]))
    psi = at.factor @ at.factor.T - np.tensordot(np.linalg.solve(information, gradient), directions, axes=1)
    values, vectors = np.linalg.eigh(psi)
    return structure.nearest(vectors * np.sqrt(np.maximum(values, 1e-2 * START)))


def descend_from_boundary(
    criterion: ProfiledDeviance, theta: FloatArray, at: Conditional, *, tolerance: float
) -> tuple[FloatArray, Conditional] | None:
    """A lower point reached by adding variance in a direction where the deviance falls with it, if there is one.

    At a minimum S = d deviance / d Psi is positive semi-definite. Where v'Sv < 0, Psi + t v v' with
    t = -v'Sv / (information in v v') is expected to lower the deviance by (v'Sv)^2 / (2 information), although the
    gradient in theta is zero wherever Lambda is. Where a structure ties the effects, what may be added is less
    (`BlockStructure.departures`), and the Hessian in theta shows what else can be gained.
    """
    structure, sums = criterion.structure, at.psi_derivatives
    score = sums.score * structure.mask
    size = np.sqrt(np.maximum(np.diag(sums.p_sum), 1e-300))
    for direction in structure.departures(at.factor, score, size, negligible=NEGLIGIBLE):
        change = direction @ direction.T
        slope = float(np.sum(score * change))
        curvature = float(sums.information(change[None])[0, 0])
        if curvature <= 0.0 or slope * slope / (2.0 * curvature) <= tolerance:
            continue
        amount = -slope / curvature
        for _ in range(20):
            moved = structure.nearest(np.column_stack([at.factor, np.sqrt(amount) * direction]))
            trial = criterion.value(moved)
            if trial.deviance < at.deviance - 0.1 * tolerance:
                return moved, trial
            amount *= 0.25
    if structure.additive.all():
        return None
    for point in (theta, *structure.detours(theta, negligible=NEGLIGIBLE)):
        if (lower := _leave_saddle(criterion, point, at.deviance, tolerance=tolerance)) is not None:
            return lower
    return None


def _leave_saddle(
    criterion: ProfiledDeviance, theta: FloatArray, deviance: float, *, tolerance: float
) -> tuple[FloatArray, Conditional] | None:
    """A point below `deviance` along the direction of most negative curvature in theta, if there is one."""
    values, vectors = np.linalg.eigh(criterion.derivatives(criterion.value(theta), theta).hessian)
    if values[0] >= -SADDLE * float(np.abs(values).max()):
        return None
    length, enough = 1.0, 0.1 * tolerance + ROUNDING * abs(deviance)
    while -0.5 * values[0] * length**2 > enough:
        for sign in (1.0, -1.0):
            moved = theta + sign * length * vectors[:, 0]
            trial = criterion.value(moved)
            if trial.deviance < deviance - enough:
                return moved, trial
        length *= 0.5
    return None


def _settle(criterion: ProfiledDeviance, minimum: Minimum[Conditional]) -> Minimum[Conditional]:
    """Put a negligible variance exactly on the boundary when that costs nothing, and take the last digits."""
    structure, theta, state = criterion.structure, minimum.theta, minimum.state
    left, sizes, _ = np.linalg.svd(state.factor)
    if 0.0 < sizes.min() < NEGLIGIBLE:
        kept = left[:, sizes >= NEGLIGIBLE] * sizes[sizes >= NEGLIGIBLE]
        flat = structure.nearest(np.column_stack([kept, np.zeros(structure.q)]))
        trial = criterion.value(flat)
        if trial.deviance <= state.deviance + TOLERANCE:
            theta, state = flat, trial
    derivatives = criterion.derivatives(state, theta)
    settled = replace(minimum, theta=theta, state=state, derivatives=derivatives)
    return polish(criterion, settled) if minimum.status is Status.CONVERGED else settled


def working_factor(structure: BlockStructure, basis: FloatArray, theta: FloatArray) -> FloatArray:
    """Lambda (q, q) in the working coordinates of `basis` of a theta (k,) in the units of the data."""
    return np.asarray(basis @ structure.factor(theta))
