"""Reduced cross-products -> criterion -> minimum -> Solution."""

from dataclasses import dataclass, replace

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.design.reduced import Reduced
from crosslevel.errors import CrosslevelError
from crosslevel.likelihood.profiled import Conditional, ProfiledDeviance
from crosslevel.optimise import MAX_STEPS, TOLERANCE, Minimum, Status, minimise
from crosslevel.types import FloatArray

START = 0.1
"""Variance of each standardised random effect relative to the residual's, from which the start is computed."""

NEGLIGIBLE = 1e-4
"""A standard deviation of a standardised random effect, relative to sigma, that counts as zero (as in lme4)."""


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

POLISH_STEPS, LAST_DIGIT = 3, 1e-22
"""Final Newton steps, taken while the decrease of the deviance they promise exceeds this: 11 digits of theta."""

CHART_STEPS = 25
"""Steps after which the search goes on along the principal axes of the covariance it has reached."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Solution:
    """A fitted linear mixed model with one grouping factor, in the units of the data.

    Attributes
    ----------
    theta : (k,) relative covariance parameters, block by block.
    factor : (q, q) Lambda, with covariance of the random effects = sigma^2 Lambda Lambda'.
    beta, vcov : (p,) coefficients and (p, p) their covariance.
    sigma : residual standard deviation.
    deviance : -2 (restricted) log-likelihood.
    eigenvalues : (q,) of the relative covariance of the standardised random effects; zero means singular.
    minimum : the search's end in working coordinates.
    criterion : the criterion, for whoever needs it elsewhere.
    """

    theta: FloatArray
    factor: FloatArray
    beta: FloatArray
    vcov: FloatArray
    sigma: float
    deviance: float
    eigenvalues: FloatArray
    minimum: Minimum[Conditional]
    criterion: ProfiledDeviance

    @property
    def status(self) -> Status:
        """How the search ended."""
        return self.minimum.status

    @property
    def is_singular(self) -> bool:
        """Whether some combination of the random effects has no variance."""
        return bool(self.eigenvalues.min() < NEGLIGIBLE**2)


def solve(
    reduced: Reduced,
    *,
    reml: bool,
    start: FloatArray | None = None,
    tolerance: float = TOLERANCE,
    max_steps: int = MAX_STEPS,
) -> Solution:
    """Fit a linear mixed model to its reduced cross-products.

    Parameters
    ----------
    reduced : cross-products of the model.
    reml : restricted rather than full likelihood.
    start : (k,) working theta to start from; by default one scoring step in Psi from equal variances, and more points
        where the data are so sparse that the deviance can have several minima.
    tolerance, max_steps : see `optimise.minimise`.

    Raises
    ------
    CrosslevelError : less than one step.
    """
    if max_steps < 1:
        raise CrosslevelError(f"`max_steps` is a number of steps, at least 1; got {max_steps!r}.")
    criterion = ProfiledDeviance(reduced=reduced, reml=reml)
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
        criterion = ProfiledDeviance(reduced=reduced, reml=criterion.reml)
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
    gradient in theta is zero wherever Lambda is.
    """
    structure = criterion.structure
    sums = at.psi_derivatives
    size = np.sqrt(np.maximum(np.diag(sums.p_sum), 1e-300))
    values, vectors = np.linalg.eigh(sums.score * structure.mask / np.outer(size, size))
    for value, scaled in zip(values, vectors.T, strict=True):
        if value >= 0.0:
            return None
        direction = scaled / size
        slope = float(direction @ (sums.score * structure.mask) @ direction)
        curvature = float(sums.information((direction[:, None] * direction)[None])[0, 0])
        if curvature <= 0.0 or slope * slope / (2.0 * curvature) <= tolerance:
            continue
        amount = -slope / curvature
        for _ in range(20):
            moved = structure.nearest(np.column_stack([at.factor, np.sqrt(amount) * direction]))
            trial = criterion.value(moved)
            if trial.deviance < at.deviance - 0.1 * tolerance:
                return moved, trial
            amount *= 0.25
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
    return _polish(criterion, settled) if minimum.status is Status.CONVERGED else settled


def _polish(criterion: ProfiledDeviance, minimum: Minimum[Conditional]) -> Minimum[Conditional]:
    """Newton steps that the deviance is too flat to judge: each has to bring the gradient down by a factor of ten."""
    newton = minimum.derivatives.newton_step()
    for _ in range(POLISH_STEPS):
        if newton is None or not newton[1] > LAST_DIGIT:
            break
        theta = minimum.theta + newton[0]
        state = criterion.value(theta)
        derivatives = criterion.derivatives(state, theta)
        following = derivatives.newton_step()
        if following is None or not following[1] < 0.01 * newton[1]:
            break
        newton, evaluations = following, minimum.evaluations + 1
        minimum = replace(
            minimum, theta=theta, state=state, derivatives=derivatives, decrement=newton[1], evaluations=evaluations
        )
    return minimum


def in_data_units(criterion: ProfiledDeviance, minimum: Minimum[Conditional]) -> Solution:
    """Carry a minimum from working coordinates back to the units of the data."""
    reduced, at = criterion.reduced, minimum.state
    coordinates = reduced.coordinates
    factor = np.linalg.solve(reduced.basis, at.factor)
    theta = reduced.structure.nearest(factor)
    sigma_working = np.sqrt(at.rss / at.nu)
    whitened = np.linalg.inv(at.chol[:-1, :-1]).T
    half = coordinates.beta_map @ whitened * sigma_working
    return Solution(
        theta=_read_only(theta),
        factor=_read_only(reduced.structure.factor(theta)),
        beta=_read_only(coordinates.coefficients(at.beta)),
        vcov=_read_only(half @ half.T),
        sigma=float(sigma_working * coordinates.scale[-1]),
        deviance=at.deviance,
        eigenvalues=_read_only(np.linalg.svd(at.factor, compute_uv=False) ** 2),
        minimum=minimum,
        criterion=criterion,
    )


def _read_only(array: FloatArray) -> FloatArray:
    """The same array, locked: frames made of it must not change the solution."""
    array.setflags(write=False)
    return array


def deviance_at(solution: Solution, theta: FloatArray) -> float:
    """Deviance at any relative covariance parameters (k,) in the units of the data.

    Raises
    ------
    CrosslevelError : a wrong number of parameters.
    """
    if theta.shape != solution.theta.shape:
        raise CrosslevelError(f"`theta` needs {len(solution.theta)} numbers for this model; got shape {theta.shape}.")
    criterion = solution.criterion
    return criterion.at_factor(working_factor(criterion.structure, criterion.reduced.basis, theta)).deviance


def working_factor(structure: BlockStructure, basis: FloatArray, theta: FloatArray) -> FloatArray:
    """Lambda (q, q) in the working coordinates of `basis` of a theta (k,) in the units of the data."""
    return np.asarray(basis @ structure.factor(theta))


def conditional_modes(solution: Solution) -> tuple[FloatArray, FloatArray]:
    """Conditional modes (J, q) and conditional covariances (J, q, q) of the random effects, in the units of the data.

    b = Psi Z'V^-1 (y - X beta) and Var(b | y) = sigma^2 Lambda (I + Lambda'Z'Z Lambda)^-1 Lambda', at the estimates.
    """
    reduced, at = solution.criterion.reduced, solution.minimum.state
    t = at.cross @ np.append(-at.beta, 1.0)
    back = np.linalg.inv(reduced.basis)
    half = back @ at.factor
    modes = t @ at.factor @ half.T * reduced.coordinates.scale[-1]

    # L L' = I + Lambda'Z'Z Lambda
    scaled = reduced.root @ at.factor
    chol = np.linalg.cholesky(np.eye(reduced.structure.q) + scaled.transpose(0, 2, 1) @ scaled)
    spread = np.linalg.solve(chol, np.broadcast_to(half.T, chol.shape)) * solution.sigma
    return _read_only(modes), _read_only(spread.transpose(0, 2, 1) @ spread)
