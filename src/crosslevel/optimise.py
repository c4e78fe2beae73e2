"""Minimise a smooth criterion by damped Newton and scoring steps. Knows no statistics."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Generic, Protocol, TypeVar

import numpy as np

from crosslevel.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Derivatives:
    """Derivatives of a criterion at theta.

    Attributes
    ----------
    gradient : (k,).
    hessian : (k, k) second derivatives, exact or nearly so; may be indefinite.
    expected : makes `information`, which most steps do not need.
    """

    gradient: FloatArray
    hessian: FloatArray
    expected: Callable[[], FloatArray]

    @cached_property
    def information(self) -> FloatArray:
        """(k, k) positive semi-definite model of the curvature."""
        return self.expected()

    def newton_step(self) -> tuple[FloatArray, float] | None:
        """Newton's step and the decrease it promises, gradient' hessian^-1 gradient / 2; None at no minimum."""
        try:
            chol = np.linalg.cholesky(self.hessian)
        except np.linalg.LinAlgError:
            return None
        half = np.linalg.solve(chol, self.gradient)
        return -np.linalg.solve(chol.T, half), float(0.5 * half @ half)


class Status(Enum):
    """How a minimisation ended; the value is the sentence for the user."""

    CONVERGED = "Converged: the gradient is zero and no variance could usefully be added."
    STALLED = (
        "Not converged: no step lowers the deviance although its gradient is not zero. "
        "Rescale the predictors or simplify the random effects."
    )
    MAX_STEPS = (
        "Not converged: the largest number of steps was reached. Raise `max_steps` or simplify the random effects."
    )
    UNSETTLED = (
        "Not converged: the fitted values, on which the residual variance depends, change from round to round. "
        "Take the logarithm of the outcome, or let the variance depend on a positive covariate."
    )


State = TypeVar("State")


class Criterion(Protocol[State]):
    """What is minimised: `value` makes a state with a `deviance`; `derivatives` works on that state."""

    def value(self, theta: FloatArray) -> State: ...  # noqa: D102

    def derivatives(self, at: State, theta: FloatArray) -> Derivatives: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True, eq=False)
class Minimum(Generic[State]):
    """Where a minimisation ended.

    Attributes
    ----------
    theta : (k,) parameters.
    state : the criterion's own record at theta.
    derivatives : at theta.
    decrement : the decrease that one more step would be expected to bring.
    steps, evaluations : accepted steps; values computed.
    status : how it ended.
    """

    theta: FloatArray
    state: State
    derivatives: Derivatives
    decrement: float
    steps: int
    evaluations: int
    status: Status


TOLERANCE = 1e-10
"""Expected decrease of the criterion below which a point is stationary."""

MOST_DAMPING, ROUNDING, SMALL_DECREASE = 1e12, 1e-13, 1e-6
"""Steps damped more than this, or promising less than this share of the criterion, cannot be told from rounding error;
a point where nothing else is left counts as stationary if a full step promises no more than the last."""

ENOUGH, SMALL_DAMPING = 0.0125, 0.02
"""Damping that is taken to be enough until a step has shown another; and below which a full step is tried again."""

TIMID = 1.5
"""Actual decrease per expected one beyond which longer steps are tried."""

MAX_STEPS = 500


def minimise(
    criterion: Criterion[State],
    theta: FloatArray,
    *,
    deviance: Callable[[State], float],
    escape: Callable[[FloatArray, State], tuple[FloatArray, State] | None],
    tolerance: float = TOLERANCE,
    max_steps: int = MAX_STEPS,
) -> Minimum[State]:
    """Minimise a criterion from `theta`.

    Each step solves (B + damping D) step = -gradient, with B the Hessian where it is positive definite and the
    information where it is not, and D the diagonal of the information (Levenberg 1944; Marquardt 1963). A step is taken
    when it lowers the criterion; the damping follows the ratio of the actual to the expected decrease. At a stationary
    point, or where no step helps, `escape` may know of a lower one that no gradient shows (beyond a saddle): then the
    search goes on from there.

    Parameters
    ----------
    criterion : gives values and derivatives.
    theta : (k,) start.
    deviance : reads the criterion's value from its state.
    escape : from a stationary point, a lower point and its state, or None.
    tolerance : expected decrease at which a point counts as stationary.
    max_steps : largest number of accepted or refused steps.
    """
    state = criterion.value(theta)
    value = deviance(state)
    if not np.isfinite(value):
        raise ValueError("the criterion must be finite at the start")
    evaluations, steps, damping, enough, small = 1, 0, 0.0, ENOUGH, SMALL_DAMPING
    derivatives = criterion.derivatives(state, theta)
    status, decrement = Status.MAX_STEPS, np.inf
    for _ in range(max_steps):
        step, expected = _step(derivatives, damping)
        decrement = expected if damping == 0.0 else _step(derivatives, 0.0)[1]
        exhausted = damping > MOST_DAMPING or expected <= ROUNDING * abs(value)
        stationary = decrement <= tolerance or (exhausted and decrement <= SMALL_DECREASE)
        if stationary or exhausted:
            lower = escape(theta, state)
            if lower is None:
                status = Status.CONVERGED if stationary else Status.STALLED
                break
            theta, state = lower
            value, damping, evaluations = deviance(state), 0.0, evaluations + 1
            derivatives = criterion.derivatives(state, theta)
            continue
        trial = criterion.value(theta + step)
        trial_value = deviance(trial)
        evaluations += 1
        gain = (value - trial_value) / expected
        while gain > TIMID:  # the model of the curvature is too steep: go on as long as it is downhill
            longer = criterion.value(theta + 2.0 * step)
            evaluations += 1
            if not deviance(longer) < trial_value:
                break
            step, trial, trial_value = 2.0 * step, longer, deviance(longer)
        if trial_value < value:
            theta, state, value, steps = theta + step, trial, trial_value, steps + 1
            derivatives = criterion.derivatives(state, theta)
            enough, small = (damping, small) if damping > 0.0 else (enough, SMALL_DAMPING)
            damping = 0.0 if gain > 0.75 and damping < small else damping * _relax(gain)
        else:
            # a full step that fails again and again is tried ever more rarely
            small = small if damping > 0.0 else 0.1 * small
            damping = 4.0 * (damping if damping > 0.0 else enough)
    return Minimum(
        theta=theta, state=state, derivatives=derivatives, decrement=decrement, steps=steps, evaluations=evaluations,
        status=status,
    )  # fmt: skip


def _relax(gain: float) -> float:
    """Factor for the damping after a step that brought `gain` of what was expected."""
    return 0.2 if gain > 0.75 else (1.0 if gain > 0.25 else 3.0)


def _step(derivatives: Derivatives, damping: float) -> tuple[FloatArray, float]:
    """Step and the decrease expected of it, from the Hessian where it is positive definite, else the information."""
    gradient = derivatives.gradient
    newton = derivatives.newton_step() if damping == 0.0 else None
    if newton is not None:
        return newton
    size = np.diag(derivatives.information)
    ridge = size + 1e-12 * max(float(size.max()), 1e-300)
    for curvature, least in ((derivatives.hessian, damping), (derivatives.information, max(damping, 1e-9))):
        try:
            chol = np.linalg.cholesky(curvature + np.diag(least * ridge))
        except np.linalg.LinAlgError:
            continue
        step = -np.linalg.solve(chol.T, np.linalg.solve(chol, gradient))
        if np.all(np.isfinite(step)):
            return step, float(-(gradient @ step) - 0.5 * step @ curvature @ step)
    step = -gradient / (ridge + 1e-300)
    return step, float(-0.5 * gradient @ step)
