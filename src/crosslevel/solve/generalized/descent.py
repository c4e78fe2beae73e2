"""The search: scoring steps that learn from the gradients they meet, then Newton steps with the observed Hessian.

The first steps use the cheap information of the criterion, corrected by the changes of the exact gradient along the
last steps (Broyden, Fletcher, Goldfarb and Shanno). Close to the minimum the Hessian is taken by differences of the
gradient, once: it judges the minimum, gives the last steps, and then the standard errors.
"""

from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotrs

from crosslevel.optimise import Derivatives, Minimum, Status
from crosslevel.solve.generalized.boundary import escape as off_boundary
from crosslevel.solve.generalized.boundary import settle
from crosslevel.solve.generalized.objective import Objective, Point
from crosslevel.types import FloatArray

CLOSE = 3e-7
"""Expected decrease at which the Hessian is taken by differences: less than 1e-3 standard errors from the minimum."""

DIFFERENCE = 3e-5
"""Step of these differences in standard errors; the relative error of the Hessian is of this order."""

SLOW = 30
"""Steps after which the Hessian is taken by differences although the minimum is not close."""

MEMORY = 8
"""Last steps whose changes of the gradient correct the information."""

CHORD = 0.1
"""Share of the expected decrease that a step with an older Hessian may leave before it is taken anew."""

FLAT = 1e-9
"""Curvature, relative to that which the information says, that counts as none."""

ROUNDING, EXHAUSTED, SMALL_DECREASE = 1e-13, 1e10, 1e-6
"""A change of the deviance of this share cannot be told from rounding; damping beyond which no step is tried, and the
expected decrease at which such an end still counts as stationary."""

LEAST_SHARE = 0.1
"""Share of the curvature that a correction leaves at least."""

BEYOND, TINY = 1e50, 1e-60
"""Changes of the gradient from which nothing is learnt, since a point was all but impossible; and curvatures along a
step, likewise."""

FIRST_DAMPING = 0.05
"""Damping after the first step that failed, in units of the information."""

FRESH = 0.5
"""Expected decrease down to which the information is computed anew after every step."""

SHORTENED = 3
"""Points tried along one step before its direction is given up."""

SMALL = 0.05
"""Standard deviations that are tried at zero before the Hessian is taken."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A quadratic model of the objective around a point, in units of the information's diagonal.

    Attributes
    ----------
    gradient : (r,).
    size : (r,) square roots of the diagonal by which parameters are measured.
    scaled : (r, r) the Hessian in these units.
    """

    gradient: FloatArray
    size: FloatArray
    scaled: FloatArray

    @classmethod
    def of(cls, gradient: FloatArray, hessian: FloatArray, size: FloatArray) -> "Model":
        """Scale."""
        return cls(gradient=gradient, size=size, scaled=hessian / size / size[:, None])

    @cached_property
    def chol(self) -> FloatArray | None:
        """Cholesky factor (r, r), None where some direction is flat or worse."""
        # of LAPACK itself: matrices are small, and what numpy does around it takes longer than the factorisation
        found, failed = dpotrf(self.scaled, lower=1)
        return found if not failed and found.diagonal().min(initial=1.0) ** 2 > FLAT else None

    @cached_property
    def spectrum(self) -> tuple[FloatArray, FloatArray]:
        """Eigenvalues (r,), smallest first, and eigenvectors (r, r)."""
        values, vectors = np.linalg.eigh(self.scaled)
        return values, vectors

    @property
    def convex(self) -> bool:
        """Whether there is no direction of negative curvature."""
        return self.chol is not None or not len(self.size) or bool(self.spectrum[0][0] > -FLAT)

    def step(self, damping: float) -> tuple[FloatArray, float]:
        """Step (r,) and the decrease it promises; negative curvature is turned round, flat directions stay."""
        if damping == 0.0 and self.chol is not None:
            slope = self.gradient / self.size
            move = dpotrs(self.chol, slope, lower=1)[0] if len(slope) else slope
            return -move / self.size, 0.5 * float(slope @ move)
        values, vectors = self.spectrum
        turned = vectors.T @ (self.gradient / self.size)
        curvature = np.abs(values) + damping
        move = np.where(curvature > FLAT, -turned / np.maximum(curvature, FLAT), 0.0)
        decrease = -float(turned @ move) - 0.5 * float(values @ move**2)
        return (vectors @ move) / self.size, decrease


@dataclass(kw_only=True, eq=False)
class Progress:
    """What a search has learnt so far; the one thing here that changes.

    Attributes
    ----------
    pairs : steps and the changes of the gradient along them.
    evaluations, steps : values computed; steps accepted.
    """

    pairs: list[tuple[FloatArray, FloatArray]] = field(default_factory=list)
    evaluations: int = 0
    steps: int = 0


def descend(
    objective: Objective,
    start: FloatArray,
    *,
    near: Any = None,
    tolerance: float,
    max_steps: int,
    finish: bool = True,
) -> tuple[Minimum[Any], FloatArray | None]:
    """Minimise from `start`; the minimum, and the Hessian near it by differences (None if it was not needed).

    Parameters
    ----------
    objective : what is minimised.
    start : (K,) parameters.
    near : a state whose modes start the inner search.
    tolerance : expected decrease at which a point is stationary.
    max_steps : largest number of accepted or refused steps.
    finish : whether to end with the Hessian by differences; without, the search ends when the corrected information
        promises less than the tolerance.
    """
    progress = Progress()
    point = objective.at(start, near)
    progress.evaluations += 1
    if not np.isfinite(point.value):
        raise ValueError("the deviance must be finite at the start")
    gradient = objective.gradient(point)
    hessian: FloatArray | None = None
    damping, decrement, status = 0.0, np.inf, Status.MAX_STEPS
    least = CLOSE if finish else tolerance
    information = objective.information(point)
    for done in range(max_steps):
        size = sizes(information)
        model = Model.of(gradient, corrected(information, progress.pairs) if hessian is None else hessian, size)
        step, expected = model.step(damping)
        decrement = expected if damping == 0.0 else model.step(0.0)[1]
        exhausted = damping > EXHAUSTED or expected <= ROUNDING * abs(point.value)
        if hessian is None and finish and (decrement <= least or exhausted or done >= SLOW):
            if (settled := settle(objective, point, small=SMALL)) is not None:
                point, progress.pairs = settled, []
                gradient, information = objective.gradient(point), objective.information(point)
                size = sizes(information)
            hessian = difference_hessian(objective, point, gradient, size, progress)
            damping = 0.0
            continue
        stationary = decrement <= tolerance or (exhausted and decrement <= SMALL_DECREASE)
        if stationary or exhausted:
            lower = _beyond_saddle(objective, point, model, tolerance)
            if lower is None:
                lower = off_boundary(objective, point, tolerance=tolerance)
            if lower is None:
                status = Status.CONVERGED if stationary else Status.STALLED
                break
            point, hessian, damping, progress.pairs = lower, None, 0.0, []
            gradient, information = objective.gradient(point), objective.information(point)
            continue
        if (share := objective.reach(step)) < 1.0:
            step, expected = share * step, share * (2.0 - share) * expected
        trial, share = _along(objective, point, step, -float(gradient @ step), progress)
        step, gain = share * step, (point.value - trial.value) / (share * (2.0 - share) * expected)
        if not (trial.value < point.value or (hessian is not None and _even(trial, point) and decrement < CLOSE)):
            damping = 4.0 * damping if damping > 0.0 else FIRST_DAMPING
            continue
        before, gradient, progress.steps = gradient, objective.gradient(trial), progress.steps + 1
        progress.pairs = [*progress.pairs[1 - MEMORY :], (step, gradient - before)]
        damping = 0.0 if gain > 0.5 and damping <= FIRST_DAMPING else damping * _relax(gain)
        point = trial
        if hessian is None and decrement > FRESH:
            information = objective.information(point)
        elif hessian is None:
            continue
        elif Model.of(gradient, hessian, size).step(0.0)[1] > max(CHORD * decrement, tolerance):
            information = objective.information(point)
            hessian = difference_hessian(objective, point, gradient, sizes(information), progress)
    ended = corrected(information, progress.pairs) if hessian is None else hessian
    minimum = Minimum(
        theta=point.parameters, state=point.state, decrement=decrement, steps=progress.steps,
        evaluations=progress.evaluations, status=status,
        derivatives=Derivatives(gradient=gradient, hessian=ended, expected=partial(objective.information, point)),
    )  # fmt: skip
    return minimum, hessian


def _along(
    objective: Objective, point: Point, step: FloatArray, slope: float, progress: Progress
) -> tuple[Point, float]:
    """The first lower point at a share of `step`, or the last that was tried, and the share.

    Shares are where the parabola through two values and the slope (the fall at the start) has its minimum.
    """
    share = 1.0
    for _ in range(SHORTENED):
        trial = objective.at(objective.moved(point.parameters, share * step), point.state)
        progress.evaluations += 1
        rise = trial.value - point.value
        if rise < 0.0 or share * slope <= ROUNDING * abs(point.value):
            break
        best = 0.5 * share * slope / (share * slope + rise) if np.isfinite(rise) else 0.0
        share *= min(max(best, 0.1), 0.6)
    return trial, share


def sizes(information: FloatArray) -> FloatArray:
    """Square roots (r,) of the diagonal, none of them zero."""
    diagonal = information.diagonal()
    return np.sqrt(np.maximum(diagonal, 1e-8 * max(float(diagonal.max(initial=0.0)), 1e-100)))


def corrected(information: FloatArray, pairs: list[tuple[FloatArray, FloatArray]]) -> FloatArray:
    """The information (r, r), made to agree with the changes of the gradient along the last steps.

    B + y y' / (s'y) - B s s'B / (s'B s) for each step s and change y, damped where it would not stay positive definite.

    Source: Nocedal & Wright (2006), Numerical Optimization, equations 6.19 and 18.14 to 18.16.
    """
    out = information
    with np.errstate(over="ignore", invalid="ignore"):
        for step, change in pairs:
            image = out @ step
            curvature, along = float(step @ image), float(step @ change)
            if not (curvature > TINY and float(change @ change) < BEYOND**2):
                continue
            if along < LEAST_SHARE * curvature:
                share = (1.0 - LEAST_SHARE) * curvature / (curvature - along)
                change = share * change + (1.0 - share) * image
                along = float(step @ change)
            better = out + change[:, None] * (change / along) - image[:, None] * (image / curvature)
            out = better if float(np.vdot(better, better)) < BEYOND**2 else out
    return out


def difference_hessian(
    objective: Objective, point: Point, gradient: FloatArray, size: FloatArray, progress: Progress
) -> FloatArray:
    """Hessian (r, r) by differences of the exact gradient, in steps of DIFFERENCE standard errors."""
    lengths = DIFFERENCE * np.sqrt(2.0) / size
    ends = objective.gradients(np.diag(lengths), point)
    progress.evaluations += len(ends)
    for j in np.flatnonzero(~np.isfinite(ends).all(axis=1)):
        ends[j], lengths[j] = _beside_wall(objective, point, unit(len(ends), int(j)), lengths[j], progress)
    out = (ends - gradient) / lengths[:, None]
    return np.asarray(0.5 * (out + out.T))


def _beside_wall(
    objective: Objective, point: Point, direction: FloatArray, length: float, progress: Progress
) -> tuple[FloatArray, float]:
    """Gradient (r,) after a step along a direction (r,) where one of `length` failed: back or shorter; and the step."""
    for step in (length, -length, 0.01 * length):
        moved = objective.at(objective.moved(point.parameters, step * direction), point.state)
        progress.evaluations += 1
        if np.isfinite(moved.value):
            break
    return objective.gradient(moved), step


def unit(length: int, j: int) -> FloatArray:
    """Unit vector (length,)."""
    out = np.zeros(length)
    out[j] = 1.0
    return out


def _beyond_saddle(objective: Objective, point: Point, model: Model, tolerance: float) -> Point | None:
    """A lower point along the direction of most negative curvature, if there is one."""
    if model.convex:
        return None
    values, vectors = model.spectrum
    direction, curvature = vectors[:, 0] / model.size, -float(values[0])
    length, enough = 1.0, 0.1 * tolerance + ROUNDING * abs(point.value)
    while 0.5 * curvature * length**2 > enough:
        for sign in (1.0, -1.0):
            moved = objective.at(objective.moved(point.parameters, sign * length * direction), point.state)
            if moved.value < point.value - enough:
                return moved
        length *= 0.5
    return None


def _even(trial: Point, point: Point) -> bool:
    """Whether two values differ by rounding only."""
    return abs(trial.value - point.value) <= 10.0 * ROUNDING * abs(point.value)


def _relax(gain: float) -> float:
    """Factor for the damping after a step that brought `gain` of what was expected."""
    return 0.2 if gain > 0.75 else (1.0 if gain > 0.25 else 3.0)
