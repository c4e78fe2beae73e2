"""The search for the optimum, whatever the engine: from several starts, off the boundary, along principal axes."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.likelihood.boundary import Searched
from crosslevel.optimise import Minimum, Status, minimise
from crosslevel.solve.solution import NEGLIGIBLE
from crosslevel.types import FloatArray

SAME = 10.0
"""Minima no further apart than this, in units of the tolerance, are one, and a search that converged is believed."""

CHART_STEPS = 25
"""Steps after which the search goes on along the principal axes of the covariances it has reached."""


class Turnable(Searched, Protocol):
    """An engine whose random effects can be turned, and which knows the way off the boundary."""

    def escape(self, theta: FloatArray, at: Any, *, tolerance: float) -> tuple[FloatArray, Any] | None:
        """A lower point off the boundary, or None."""
        ...

    def rotated(self, factors: tuple[FloatArray, ...]) -> tuple["Turnable", tuple[FloatArray, ...]]:
        """The same criterion along the principal axes of these covariance factors, and the factors there."""
        ...


def lowest(
    engine: Turnable,
    starts: Iterable[FloatArray],
    *,
    again: FloatArray | None = None,
    tolerance: float,
    max_steps: int,
) -> tuple[Any, Minimum[Any]]:
    """Minimise from all starts; the engine, which may have been turned, and the lowest minimum, settled.

    Parameters
    ----------
    engine : the criterion.
    starts : (k,) thetas.
    again : one more to start from if a minimum is singular, since minima on the boundary can be several.
    tolerance, max_steps : see `optimise.minimise`.

    Raises
    ------
    CrosslevelError : less than one step.
    """
    check_steps(max_steps)
    ends = [descend(engine, theta, tolerance=tolerance, max_steps=max_steps) for theta in starts]
    if again is not None and not all(_is_inside(*end) for end in ends):
        ends.append(descend(engine, again, tolerance=tolerance, max_steps=max_steps))
    least = min(minimum.state.deviance for _, minimum in ends)
    as_low = [end for end in ends if end[1].state.deviance <= least + SAME * tolerance]
    engine, minimum = min(as_low, key=lambda end: end[1].status is not Status.CONVERGED)
    evaluations = sum(end[1].evaluations for end in ends)
    return engine, settle(engine, replace(minimum, evaluations=evaluations), tolerance=tolerance)


def _is_inside(engine: Turnable, minimum: Minimum[Any]) -> bool:
    """Whether a search has ended at a minimum at which no combination of the random effects has no variance."""
    estimated = [factor[~own.fixed] for own, factor in zip(engine.structures, minimum.state.factors, strict=True)]
    least = min((np.linalg.svd(factor, compute_uv=False).min(initial=np.inf) for factor in estimated), default=np.inf)
    return minimum.status is Status.CONVERGED and bool(least >= NEGLIGIBLE)


def check_steps(max_steps: int) -> None:
    """Refuse less than one step."""
    if max_steps < 1:
        raise CrosslevelError(f"`max_steps` is a number of steps, at least 1; got {max_steps!r}.")


def descend(engine: Turnable, theta: FloatArray, *, tolerance: float, max_steps: int) -> tuple[Turnable, Minimum[Any]]:
    """Minimise from one start; turn the effects to their principal axes whenever the search takes long."""
    steps = evaluations = 0
    for done in range(0, max_steps, CHART_STEPS):
        minimum = _search(engine, theta, tolerance=tolerance, max_steps=min(CHART_STEPS, max_steps - done))
        steps, evaluations = steps + minimum.steps, evaluations + minimum.evaluations
        if minimum.status is Status.CONVERGED:
            break
        # Near a singular Psi the triangle of Lambda can be a long curved valley; along the principal axes it is not.
        engine, factors = engine.rotated(minimum.state.factors)
        theta = nearest(engine, factors)
    return engine, replace(minimum, steps=steps, evaluations=evaluations)


def nearest(engine: Searched, factors: Iterable[FloatArray]) -> FloatArray:
    """Working theta (k,) of the members of the structures that are nearest to these covariance factors."""
    parts = (structure.nearest(factor) for structure, factor in zip(engine.structures, factors, strict=True))
    return np.concatenate([np.zeros(0), *parts])


def _search(engine: Turnable, theta: FloatArray, *, tolerance: float, max_steps: int) -> Minimum[Any]:
    """One run of the minimiser, which may leave the boundary where that lowers the deviance."""

    def escape(theta: FloatArray, at: Any) -> tuple[FloatArray, Any] | None:
        return engine.escape(theta, at, tolerance=tolerance)

    return minimise(
        engine, theta, deviance=lambda at: float(at.deviance), escape=escape, tolerance=tolerance, max_steps=max_steps
    )


def settle(engine: Searched, minimum: Minimum[Any], *, tolerance: float) -> Minimum[Any]:
    """Put negligible variances exactly on the boundary where that costs nothing: all of them, or factor by factor."""
    flat, changed = [], []
    for k, factor in enumerate(minimum.state.factors):
        left, sizes, _ = np.linalg.svd(factor)
        small = sizes < NEGLIGIBLE
        flat.append(left * np.where(small, 0.0, sizes))
        changed += [k] if np.any(small & (sizes > 0.0)) else []
    for some in [changed] * (len(changed) > 0) + [[k] for k in changed] * (len(changed) > 1):
        factors = [flat[k] if k in some else factor for k, factor in enumerate(minimum.state.factors)]
        theta = nearest(engine, factors)
        trial = engine.value(theta)
        if trial.deviance <= minimum.state.deviance + tolerance:
            minimum = replace(minimum, theta=theta, state=trial, derivatives=engine.derivatives(trial, theta))
            if some is changed:
                break
    return minimum
