"""Fit a crossed model by the iterative criterion, and predict what this and exact elimination would cost."""

from dataclasses import dataclass, replace

import numpy as np

from crosslevel.design.crossing import Crossing
from crosslevel.likelihood.iterative import PROBES, IterativeConditional, IterativeDeviance, factors_of
from crosslevel.likelihood.schur import COLUMNS, PARTS, Elimination
from crosslevel.optimise import MAX_STEPS, Derivatives, Minimum, minimise
from crosslevel.types import FloatArray

START = 0.1
"""Variance of each standardised random effect relative to the residual's, from which the search starts."""

SCOUTS, NEAR = 4, 1e-2
"""Random vectors of a first search, and the decrease of the deviance at which it ends: the second starts from there."""

TOLERANCE = 1e-6
"""Decrease of the deviance at which the search ends."""

THETA_ERROR, DEVIANCE_ERROR, MOST_PROBES = 0.01, 0.1, 64
"""Monte-Carlo errors to be reached, of theta relative to its standard errors and of the deviance, by random vectors
up to the last number."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LargeMinimum:
    """A crossed model fitted iteratively, in working coordinates.

    Attributes
    ----------
    criterion : the criterion with its random vectors.
    minimum : the end of the search; its `state` has deviance, beta, modes and their kin.
    theta_error : (k,) Monte-Carlo standard errors of theta: the spread over choices of random vectors.
    theta_covariance : (k, k) sampling covariance of theta.
    """

    criterion: IterativeDeviance
    minimum: Minimum[IterativeConditional]
    theta_error: FloatArray
    theta_covariance: FloatArray

    @property
    def theta(self) -> FloatArray:
        """(k,) working parameters of all factors."""
        return self.minimum.theta

    @property
    def deviance(self) -> float:
        """Estimate of -2 (restricted) log-likelihood, in the units of the data."""
        return self.minimum.state.deviance

    @property
    def standard_error(self) -> float:
        """Monte-Carlo standard error of the deviance."""
        return self.minimum.state.standard_error

    @property
    def sigma(self) -> float:
        """Residual standard deviation in working units."""
        state = self.minimum.state
        return float(np.sqrt(1.0 / state.precision))

    @property
    def beta(self) -> FloatArray:
        """(p,) working coefficients."""
        return self.minimum.state.beta

    @property
    def vcov(self) -> FloatArray:
        """(p, p) covariance of the working coefficients."""
        half = np.linalg.inv(self.minimum.state.chol[:-1, :-1]).T * self.sigma
        return np.asarray(half @ half.T)

    def needed_probes(self) -> int:
        """Random vectors that would reach `THETA_ERROR` and `DEVIANCE_ERROR`, at most `MOST_PROBES`."""
        size = np.sqrt(np.maximum(np.diag(self.theta_covariance), 1e-300))
        excess = max(float(np.max(self.theta_error / size)) / THETA_ERROR, self.standard_error / DEVIANCE_ERROR)
        n_random = self.criterion.vectors.shape[1] - self.criterion.n_exact
        return min(MOST_PROBES, int(np.ceil(n_random * excess**2)))


def solve_iterative(
    crossing: Crossing,
    *,
    reml: bool,
    start: FloatArray | None = None,
    probes: int | None = None,
    seed: int = 1,
    sigma: float | None = None,
    tolerance: float = TOLERANCE,
    max_steps: int = MAX_STEPS,
) -> LargeMinimum:
    """Fit a crossed model with a stochastic log-determinant.

    A first search with few random vectors comes near; the directions that are treated exactly are chosen anew there,
    and a second search, with all random vectors, ends the work, unless Monte-Carlo errors call for more vectors.

    Parameters
    ----------
    crossing : cross-products of the model.
    reml : restricted rather than full likelihood.
    start : (k,) working theta to start from; by default equal variances.
    probes : random vectors; the Monte-Carlo error falls with the root of their number, time grows with it. By default
        as many as bring it below `THETA_ERROR` and `DEVIANCE_ERROR`, and at most `MOST_PROBES`.
    seed : of the random vectors.
    sigma : residual standard deviation in working units if it is known; None to estimate it.
    tolerance, max_steps : see `optimise.minimise`.
    """
    plan = Elimination.of(crossing)
    theta = equal_variances(crossing) if start is None else start
    coarse = IterativeDeviance.of(
        plan, factors_of(crossing, theta), reml=reml, probes=SCOUTS, seed=seed, sigma=sigma, more=False
    )
    minimum = _search(coarse, theta, tolerance=max(NEAR, tolerance), max_steps=max_steps)
    n_probes = PROBES if probes is None else probes
    while True:
        fine = IterativeDeviance.of(plan, minimum.state.factors, reml=reml, probes=n_probes, seed=seed, sigma=sigma)
        last = _search(fine, minimum.theta, tolerance=tolerance, max_steps=max_steps)
        minimum = replace(last, steps=minimum.steps + last.steps, evaluations=minimum.evaluations + last.evaluations)
        fit = _with_errors(fine, minimum)
        n_needed = fit.needed_probes()
        if probes is not None or n_needed <= n_probes or n_probes == MOST_PROBES:
            return fit
        n_probes = n_needed


def equal_variances(crossing: Crossing) -> FloatArray:
    """Working theta (k,) at which every standardised effect has the variance `START`."""
    return np.concatenate([s.nearest(np.sqrt(START) * np.eye(s.q)) for s in crossing.structures])


class _Careful:
    """The criterion, infinite where a step leads to equations that are not solved; those of the start have to be."""

    def __init__(self, criterion: IterativeDeviance) -> None:
        self.criterion = criterion
        self.latest: IterativeConditional | None = None

    def value(self, theta: FloatArray) -> IterativeConditional:
        """Deviance at working `theta`."""
        if self.latest is None:
            self.latest = self.criterion.value(theta)
            return self.latest
        return self.criterion.attempt(theta, self.latest)

    def derivatives(self, at: IterativeConditional, theta: FloatArray) -> Derivatives:
        """As `IterativeDeviance.derivatives`."""
        return self.criterion.derivatives(at, theta)


def _search(
    criterion: IterativeDeviance, theta: FloatArray, *, tolerance: float, max_steps: int
) -> Minimum[IterativeConditional]:
    """One run of the minimiser, which may leave the boundary where that lowers the deviance."""

    def escape(theta: FloatArray, at: IterativeConditional) -> tuple[FloatArray, IterativeConditional] | None:
        return criterion.escape(theta, at, tolerance=tolerance)

    return minimise(
        _Careful(criterion),
        theta,
        deviance=lambda at: at.deviance,
        escape=escape,
        tolerance=tolerance,
        max_steps=max_steps,
    )


def _with_errors(criterion: IterativeDeviance, minimum: Minimum[IterativeConditional]) -> LargeMinimum:
    """Monte-Carlo standard errors of theta: those of the gradient, carried through the inverse Hessian."""
    crossing, draws = criterion.crossing, minimum.state.score_draws
    covariance = 2.0 * np.linalg.pinv(minimum.derivatives.hessian, hermitian=True)
    slopes = []
    for structure, part, draw in zip(crossing.structures, crossing.parts, draws, strict=True):
        slopes.append(2.0 * np.tensordot(draw, structure.factor_gradient(minimum.theta[part]), axes=([1, 2], [1, 2])))
    moved = np.hstack(slopes) @ (0.5 * covariance)
    return LargeMinimum(
        criterion=criterion, minimum=minimum, theta_error=moved.std(axis=0, ddof=1) / np.sqrt(len(moved)),
        theta_covariance=covariance,
    )  # fmt: skip


FITS, DENSE_RATE, DENSE_COPIES = 10, 3e10, 3
"""Evaluations of an exact fit; floating-point operations a second of dense algebra; whole matrices held at once."""

PRODUCT_SECONDS, ENTRY_SECONDS = 1e-9, 4e-8
"""Of one product that fills the dense part; of one entry in one pass of eight vectors through the data, on one core."""

PASSES, STEPS, CORES = 200, 16, 2
"""Passes of an iterative fit; vectors of one step that are held for each; cores that share a pass."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a fit is expected to take beside its cross-products, on a machine like those of 2025.

    Attributes
    ----------
    seconds : wall time.
    bytes : memory.
    """

    seconds: float
    bytes: int


def exact_cost(crossing: Crossing, n_dense: int | None = None) -> Cost:
    """Cost of a fit by exact elimination: N^3 operations and a few N^2 numbers for a dense part of N columns.

    Parameters
    ----------
    crossing : cross-products of the model.
    n_dense : N, if it is known; by default all columns but those of the largest factor, which is right unless factors
        are nested.
    """
    plan = Elimination.of(crossing)
    n = plan.n_columns if n_dense is None else n_dense
    filled = float(np.sum(np.diff(plan.start).astype(np.float64) ** 2)) * plan.q
    seconds = FITS * (float(n) ** 3 / DENSE_RATE + 2.0 * filled * PRODUCT_SECONDS)
    return Cost(seconds=seconds, bytes=8 * (DENSE_COPIES * n * n + 2 * len(plan.column) * plan.q))


def iterative_cost(crossing: Crossing) -> Cost:
    """Cost of a fit by `solve_iterative`, where the factors are well connected."""
    plan = Elimination.of(crossing)
    entries = len(plan.column) * plan.q + plan.across.nnz
    levels = sum(block.shape[0] * block.shape[1] ** 2 for block in crossing.diagonal)
    seconds = PASSES * (entries * ENTRY_SECONDS / CORES + 8 * 20e-9 * levels)
    numbers = plan.n_columns * COLUMNS * (STEPS + PARTS + 16) + levels * (2 * crossing.p + 12)
    return Cost(seconds=seconds, bytes=8 * numbers + len(plan.column) * (4 + 8 * plan.q))
