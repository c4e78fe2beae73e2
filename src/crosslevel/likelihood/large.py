"""Fit a crossed model by the iterative criterion, and predict what this and exact elimination would cost."""

from dataclasses import dataclass, replace

import numpy as np

from crosslevel.design.crossing import Crossing
from crosslevel.likelihood.iterative import PROBES, IterativeConditional, IterativeDeviance, factors_of
from crosslevel.likelihood.schur import Elimination
from crosslevel.optimise import MAX_STEPS, Minimum, minimise
from crosslevel.types import FloatArray

START = 0.1
"""Variance of each standardised random effect relative to the residual's, from which the search starts."""

SCOUTS, NEAR = 4, 1e-2
"""Random vectors of a first search, and the decrease of the deviance at which it ends: the second starts from there."""

TOLERANCE = 1e-6
"""Decrease of the deviance at which the search ends."""


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


def solve_iterative(
    crossing: Crossing,
    *,
    reml: bool,
    start: FloatArray | None = None,
    probes: int = PROBES,
    seed: int = 1,
    sigma: float | None = None,
    tolerance: float = TOLERANCE,
    max_steps: int = MAX_STEPS,
) -> LargeMinimum:
    """Fit a crossed model with a stochastic log-determinant.

    A first search with few random vectors comes near; the directions that are treated exactly are chosen anew there,
    and the second search, with all random vectors, ends the work.

    Parameters
    ----------
    crossing : cross-products of the model.
    reml : restricted rather than full likelihood.
    start : (k,) working theta to start from; by default equal variances.
    probes : random vectors; the Monte-Carlo error falls with the root of their number, time grows with it.
    seed : of the random vectors.
    sigma : residual standard deviation in working units if it is known; None to estimate it.
    tolerance, max_steps : see `optimise.minimise`.
    """
    plan = Elimination.of(crossing)
    theta = start
    if theta is None:
        theta = np.concatenate([s.nearest(np.sqrt(START) * np.eye(s.q)) for s in crossing.structures])
    scouts = min(SCOUTS, probes)
    coarse = IterativeDeviance.of(plan, factors_of(crossing, theta), reml=reml, probes=scouts, seed=seed, sigma=sigma)
    first = _search(coarse, theta, tolerance=max(NEAR, tolerance), max_steps=max_steps)
    fine = IterativeDeviance.of(plan, first.state.factors, reml=reml, probes=probes, seed=seed, sigma=sigma)
    minimum = _search(fine, first.theta, tolerance=tolerance, max_steps=max_steps)
    minimum = replace(minimum, steps=first.steps + minimum.steps, evaluations=first.evaluations + minimum.evaluations)
    covariance = 2.0 * np.linalg.pinv(minimum.derivatives.hessian, hermitian=True)
    return LargeMinimum(
        criterion=fine, minimum=minimum, theta_error=_theta_error(fine, minimum, covariance),
        theta_covariance=covariance,
    )  # fmt: skip


def _search(
    criterion: IterativeDeviance, theta: FloatArray, *, tolerance: float, max_steps: int
) -> Minimum[IterativeConditional]:
    """One run of the minimiser, which may leave the boundary where that lowers the deviance."""

    def escape(theta: FloatArray, at: IterativeConditional) -> tuple[FloatArray, IterativeConditional] | None:
        return criterion.escape(theta, at, tolerance=tolerance)

    return minimise(
        criterion, theta, deviance=lambda at: at.deviance, escape=escape, tolerance=tolerance, max_steps=max_steps
    )


def _theta_error(
    criterion: IterativeDeviance, minimum: Minimum[IterativeConditional], covariance: FloatArray
) -> FloatArray:
    """Monte-Carlo standard errors of theta: those of the gradient, carried through the inverse Hessian."""
    crossing, draws = criterion.crossing, minimum.state.score_draws
    slopes = []
    for structure, part, draw in zip(crossing.structures, crossing.parts, draws, strict=True):
        slopes.append(2.0 * np.tensordot(draw, structure.factor_gradient(minimum.theta[part]), axes=([1, 2], [1, 2])))
    slope = np.hstack(slopes)
    if len(slope) < 2:
        return np.full(len(minimum.theta), np.nan)
    moved = (slope - slope.mean(axis=0)) @ (0.5 * covariance)
    return np.asarray(moved.std(axis=0, ddof=1) / np.sqrt(len(slope)))
