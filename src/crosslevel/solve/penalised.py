"""Linear mixed models with a prior on the covariances of the random effects, which keeps fits from being singular."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crosslevel.covariance.blocks import theta_parts
from crosslevel.optimise import Derivatives, Minimum, Status, minimise
from crosslevel.prior import Weak
from crosslevel.solve.search import check_steps
from crosslevel.solve.solution import Engine
from crosslevel.types import FloatArray

FLOOR = 0.05
"""Standard deviation of standardised random effects, relative to sigma, from which the search starts at least."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PenalisedState:
    """The engine's state at theta, and -2 log posterior there.

    Attributes
    ----------
    inner : the engine's own.
    deviance : of the engine, less 2 log prior.
    """

    inner: Any
    deviance: float


@dataclass(frozen=True, kw_only=True, eq=False)
class PenalisedDeviance:
    """Profiled deviance less 2 log prior: - (c - 1) sum of log|Psi| over the blocks whose covariance is estimated.

    Psi is relative to sigma^2, which has no prior, so that the deviance stays profiled.

    Source: Chung et al. (2013), Psychometrika 78: 685-709; (2015), J. Educ. Behav. Stat. 40: 136-157; on the relative
    scale as in blme (Dorie 2015), `common.scale = TRUE`.

    Attributes
    ----------
    engine : the linear model.
    power : c - 1.
    """

    engine: Engine
    power: float

    def value(self, theta: FloatArray) -> PenalisedState:
        """State at theta; infinite where a covariance is singular."""
        from crosslevel.solve.generalized.objective import log_det

        inner = self.engine.value(theta)
        structures = self.engine.structures
        logs = [log_det(own, theta[part]) for own, part in zip(structures, theta_parts(structures), strict=True)]
        return PenalisedState(inner=inner, deviance=float(inner.deviance) - 2.0 * self.power * sum(logs))

    def derivatives(self, at: PenalisedState, theta: FloatArray) -> Derivatives:
        """Those of the engine with those of the prior, exact where Lambda is linear in theta."""
        from crosslevel.solve.generalized.objective import relative_changes

        own = self.engine.derivatives(at.inner, theta)
        slope, curvature = np.zeros(len(theta)), np.zeros((len(theta), len(theta)))
        for structure, part in zip(self.engine.structures, theta_parts(self.engine.structures), strict=True):
            relative = relative_changes(structure, theta[part])
            slope[part] = -2.0 * self.power * np.einsum("aii->a", relative)
            curvature[part, part] = 2.0 * self.power * np.einsum("aij,bji->ab", relative, relative)
        return Derivatives(
            gradient=own.gradient + slope, hessian=own.hessian + curvature, expected=lambda: own.information + curvature
        )


def lowest_with_prior(
    engine: Engine, starts: Iterable[FloatArray], prior: Weak, *, tolerance: float, max_steps: int
) -> Minimum[Any]:
    """The mode of the posterior, from the best of several starts; its state is the engine's own.

    Parameters
    ----------
    engine : the linear model.
    starts : (k,) thetas.
    prior : with a power of |Psi|.
    tolerance, max_steps : see `optimise.minimise`.

    Raises
    ------
    CrosslevelError : less than one step.
    """
    check_steps(max_steps)
    assert prior.covariances is not None
    penalised = PenalisedDeviance(engine=engine, power=prior.covariances - 1.0)
    ends = [
        minimise(
            penalised, _inside(engine, theta), deviance=lambda at: at.deviance, escape=lambda theta, at: None,
            tolerance=tolerance, max_steps=max_steps,
        )
        for theta in starts
    ]  # fmt: skip
    best = min(ends, key=lambda end: (end.state.deviance, end.status is not Status.CONVERGED))
    return replace(best, state=best.state.inner, evaluations=sum(end.evaluations for end in ends))


def _inside(engine: Engine, theta: FloatArray) -> FloatArray:
    """A theta (k,) whose covariances are not singular."""
    out = theta.copy()
    for structure, part in zip(engine.structures, theta_parts(engine.structures), strict=True):
        left, sizes, _ = np.linalg.svd(structure.factor(theta[part]))
        if sizes.min(initial=np.inf) < FLOOR:
            out[part] = structure.nearest(left * np.maximum(sizes, FLOOR))
    return out
