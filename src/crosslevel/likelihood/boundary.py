"""The way off the boundary of Psi: lower points that the gradient in theta does not show. The same for every engine."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.covariance.blocks import theta_parts
from crosslevel.optimise import ROUNDING, Derivatives
from crosslevel.types import FloatArray

NO_VARIANCE = 1e-4
"""Standard deviation of a standardised random effect, relative to sigma, that counts as none."""

SADDLE = 1e-8
"""A negative curvature in theta, relative to the largest, that is more than rounding."""

TRIALS, STEEPEST = 20, 12
"""Shorter and shorter steps tried in one direction; directions of one factor, steepest first, that are looked at."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PsiSlopes:
    """How the deviance changes with the relative covariances Psi of each factor.

    Attributes
    ----------
    scores : for each factor (q, q) S = d deviance / d Psi.
    sums : for each factor (q, q) the sum over levels of Z'V^-1 Z.
    information : of a factor's number and symmetric changes (m, q, q) of its Psi, the information (m,) in each.
    """

    scores: tuple[FloatArray, ...]
    sums: tuple[FloatArray, ...]
    information: Callable[[int, FloatArray], FloatArray]


class Searched(Protocol):
    """An engine that can be asked for slopes in Psi; see `solve.solution.Engine`."""

    @property
    def structures(self) -> tuple[BlockStructure, ...]: ...  # noqa: D102

    def value(self, theta: FloatArray) -> Any:
        """State at working theta."""
        ...

    def derivatives(self, at: Any, theta: FloatArray) -> Derivatives:
        """Gradient, Hessian and information in working theta."""
        ...

    def psi_slopes(self, at: Any) -> PsiSlopes:
        """Slopes of the deviance in Psi."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Way:
    """A direction D (q, r) of a factor, in which Psi + t D D' is expected to lower the deviance by `gain`."""

    gain: float
    factor: int
    direction: FloatArray
    amount: float


def leave_boundary(engine: Searched, theta: FloatArray, at: Any, *, tolerance: float) -> tuple[FloatArray, Any] | None:
    """A lower point reached by adding variance where the deviance falls with it, if there is one.

    At a minimum every factor's S = d deviance / d Psi is positive semi-definite. Where tr(D'S D) < 0, Psi + t D D' with
    t = -tr(D'S D) / (information in D D') is expected to lower the deviance by tr(D'S D)^2 / (2 information), although
    the gradient in theta is zero wherever Lambda is. Several factors are tried at once, then one after another. Where a
    structure ties the effects, what may be added is less (`BlockStructure.departures`), and the Hessian in theta shows
    what else can be gained.
    """
    ways = [way for way in ways_down(engine, at) if way.gain > tolerance]
    best = {way.factor: way for way in reversed(ways)}
    for some in [list(best.values())] * (len(best) > 1) + [[way] for way in ways]:
        if (lower := _add(engine, theta, at, some, enough=0.1 * tolerance)) is not None:
            return lower
    if not len(theta) or all(structure.additive.all() for structure in engine.structures):
        return None
    for point in (theta, *_detours(engine.structures, theta)):
        if (lower := _leave_saddle(engine, point, at.deviance, tolerance=tolerance)) is not None:
            return lower
    return None


def ways_down(engine: Searched, at: Any) -> list[Way]:
    """Directions in which the deviance falls with variance that is added, the greatest expected gain first."""
    slopes = engine.psi_slopes(at)
    out = []
    for k, (structure, score, total) in enumerate(zip(engine.structures, slopes.scores, slopes.sums, strict=True)):
        masked = score * structure.mask
        size = np.sqrt(np.maximum(np.diag(total), 1e-300))
        found = list(structure.departures(at.factors[k], masked, size, negligible=NO_VARIANCE))[:STEEPEST]
        if not found:
            continue
        changes = np.stack([direction @ direction.T for direction in found])
        slope = np.tensordot(changes, masked, axes=2)
        for direction, fall, information in zip(found, slope, slopes.information(k, changes), strict=True):
            if information > 0.0:
                gain, amount = float(fall * fall / (2.0 * information)), float(-fall / information)
                out.append(Way(gain=gain, factor=k, direction=direction, amount=amount))
    return sorted(out, key=lambda way: -way.gain)


def _add(
    engine: Searched, theta: FloatArray, at: Any, ways: list[Way], *, enough: float
) -> tuple[FloatArray, Any] | None:
    """The point, if any is lower, with variance added in some directions at once, less and less of it."""
    parts = theta_parts(engine.structures)
    for share in 0.25 ** np.arange(TRIALS):
        moved = theta.copy()
        for way in ways:
            added = np.column_stack([at.factors[way.factor], np.sqrt(share * way.amount) * way.direction])
            moved[parts[way.factor]] = engine.structures[way.factor].nearest(added)
        trial = engine.value(moved)
        if trial.deviance < at.deviance - enough:
            return moved, trial
    return None


def _detours(structures: tuple[BlockStructure, ...], theta: FloatArray) -> Iterator[FloatArray]:
    """Other parameters of the same covariances; see `Covariance.detours`."""
    for structure, part in zip(structures, theta_parts(structures), strict=True):
        for own in structure.detours(theta[part], negligible=NO_VARIANCE):
            other = theta.copy()
            other[part] = own
            yield other


def _leave_saddle(
    engine: Searched, theta: FloatArray, deviance: float, *, tolerance: float
) -> tuple[FloatArray, Any] | None:
    """A point below `deviance` along the direction of most negative curvature in theta, if there is one."""
    values, vectors = np.linalg.eigh(engine.derivatives(engine.value(theta), theta).hessian)
    if values[0] >= -SADDLE * float(np.abs(values).max()):
        return None
    length, enough = 1.0, 0.1 * tolerance + ROUNDING * abs(deviance)
    while -0.5 * values[0] * length**2 > enough:
        for sign in (1.0, -1.0):
            moved = theta + sign * length * vectors[:, 0]
            trial = engine.value(moved)
            if trial.deviance < deviance - enough:
                return moved, trial
        length *= 0.5
    return None
