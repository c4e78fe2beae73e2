"""Profile likelihood: the signed root of the deviance's rise along one parameter, and where it reaches a quantile.

    zeta(v) = sign(v - estimate) sqrt(min { deviance : parameter = v } - min deviance)

is nearly N(0, 1) at the true v, so that the values v with |zeta(v)| <= z are an interval (Wilks 1938). Where the
deviance is quadratic, zeta is a straight line, and the interval is Wald's.

The line is walked outwards from the estimate in steps that are equal in zeta, each from the polynomial through the
solutions before it; the slope of zeta is exact at every point, (d deviance / dv) / (2 zeta). Ends of intervals are
roots of zeta(v) -+ z of the minimised deviance itself, by Newton's method from the Hermite interpolant.

Source: Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1), section 5.1; Bates & Watts (1988), Nonlinear
Regression Analysis, section 6.1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from crosslevel.inference.held import Held, Least, Problem
from crosslevel.inference.held_engines import by_full_likelihood, is_restricted
from crosslevel.inference.profile_lines import AnyBase, Base, Line, Named, minimum_from
from crosslevel.solve import Solution
from crosslevel.types import FloatArray

PACE = 4
"""Steps to the largest zeta on either side."""

MOST_POINTS = 40
"""On one side; a walk that takes more will not arrive."""

FLAT = 0.02
"""Share of the rise of |zeta| that is wanted below which what the last step gained tells nothing of the curvature."""

LONGEST, SHORTEST = 4.0, 0.2
"""How much longer or shorter a step may be than the one before."""

CLOSE, ROOT_STEPS = 1e-4, 40
"""Distance of zeta from its target from which one more Newton step leaves less than 1e-7; most steps of the search."""

LOWER, RESTARTS = 1e-5, 5
"""Fall of the deviance below its minimum that shows that it was none; how often all then starts anew from there."""

WIDE = 1.75
"""Steps in zeta, in units of the pace, that are halved."""


SomeBase = TypeVar("SomeBase", bound=AnyBase)


@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """The profile at one place.

    Attributes
    ----------
    place, x : h, and (m,) the other parameters.
    deviance, zeta, slope : minimised deviance; zeta, and its derivative in h (NaN where it is not known).
    converged : whether the minimum was reached.
    lower : the engine's state, where the deviance is lower than what was taken for its minimum; else None.
    """

    place: float
    x: FloatArray = field(repr=False)
    deviance: float
    zeta: float
    slope: float
    converged: bool = True
    lower: Any = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """The profile of one parameter.

    Attributes
    ----------
    line : the parameter.
    below, above : points outwards from the estimate, which is the first of both.
    """

    line: Line
    below: tuple[Point, ...]
    above: tuple[Point, ...]

    @property
    def points(self) -> tuple[Point, ...]:
        """All points from the smallest to the largest value."""
        return (*reversed(self.below[1:]), *self.above)

    @property
    def converged(self) -> bool:
        """Whether every point is a minimum."""
        return all(point.converged for point in self.points)

    @property
    def lower(self) -> Any:
        """State of the point whose deviance is below what was taken for the minimum, the lowest; None without one."""
        found = [point for point in self.points if point.lower is not None]
        return min(found, key=lambda point: point.deviance).lower if found else None

    def end(self, side: float, quantile: float) -> float:
        """Where zeta reaches side * quantile; the end of the parameter's range where it never does.

        Parameters
        ----------
        side : -1.0 for the lower end, 1.0 for the upper.
        quantile : of the normal distribution, as 1.96.
        """
        points = list(self.above if side > 0.0 else self.below)
        if abs(points[-1].zeta) < quantile:
            walk(self.line, points, side, quantile, quantile / PACE)
        size = [abs(point.zeta) for point in points]
        beyond = next((k for k, z in enumerate(size) if z >= quantile), 0)
        if not beyond:
            return self.line.limits[int(side > 0.0)]
        found = _root(self.line, points[0].deviance, points[beyond - 1], points[beyond], quantile)
        return self.line.natural(found)


def full_minimum(solution: Solution, *, reml: bool) -> Base:
    """The minimum of the deviance, restricted or not, from which a profile starts.

    Parameters
    ----------
    solution : a fitted model whose algebra is exact.
    reml : whether the profile is that of the restricted likelihood, as the solution's then has to be.
    """
    minimum, engine = solution.minimum, solution.criterion
    if reml or not is_restricted(engine):
        return Base(engine=engine, theta=minimum.theta, state=minimum.state, deviance=solution.deviance)
    return minimum_from(by_full_likelihood(engine), minimum.theta)


def profiles(
    base: SomeBase,
    parameters: Callable[[SomeBase], Sequence[Named]],
    quantile: float,
    *,
    pace: int = PACE,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[SomeBase, dict[str, Curve]]:
    """Trace the profiles of parameters by name, and the minimum they start from.

    Where a lower deviance is found than what was taken for the minimum, all start anew from there.

    Parameters
    ----------
    base : the minimum.
    parameters : names and lines, given the minimum.
    quantile, pace : see `trace`.
    report : is told how many parameters are done, of how many.
    """
    for _ in range(RESTARTS):
        curves, chosen = {}, parameters(base)
        for done, (name, _, make) in enumerate(chosen):
            report(done, len(chosen))
            curves[name] = trace(make(), base.deviance, quantile, pace=pace)
            if (lower := curves[name].lower) is not None:
                base = base.restarted(lower)
                break
        else:
            break
    return base, curves


def trace(line: Line, deviance: float, quantile: float, *, pace: int = PACE) -> Curve:
    """The profile of one parameter as far as |zeta| reaches `quantile`, in at least `pace` steps on either side.

    Parameters
    ----------
    line : the parameter.
    deviance : the minimum over all parameters.
    quantile : largest |zeta| that is wanted.
    pace : steps.
    """
    slope = 1.0 / line.error if line.error > 0.0 else np.nan
    first = Point(place=line.place, x=line.x, deviance=deviance, zeta=0.0, slope=slope)
    sides = []
    for side in (-1.0, 1.0):
        points = [first]
        walk(line, points, side, quantile, quantile / pace)
        _mend(line, points)
        _halve_wide(line, points, side, WIDE * quantile / pace)
        sides.append(tuple(points))
    return Curve(line=line, below=sides[0], above=sides[1])


def walk(line: Line, points: list[Point], side: float, quantile: float, pace: float) -> None:
    """Add points outwards until |zeta| reaches `quantile`, or the end of the line."""
    end, first = line.high if side > 0.0 else line.low, points[0].deviance
    while abs(points[-1].zeta) < quantile and len(points) < MOST_POINTS and points[-1].place != end:
        last = points[-1]
        target = abs(last.zeta) + pace
        step = _step(line, points, (1.02 * quantile if target > quantile - 0.3 * pace else target) - abs(last.zeta))
        for share in 0.5 ** np.arange(12):
            place = last.place + side * share * step
            place = end if side * (place - end) >= 0.0 else place
            point = _solved(line, place, first, _extrapolated(points, line, place), last.x)
            if point is not None:
                break
        else:
            return
        points.append(point)


def _step(line: Line, points: Sequence[Point], rise: float) -> float:
    """Distance in which |zeta| is expected to rise by `rise`, from its slope and curvature at the last points."""
    last = points[-1]
    slope = abs(last.slope)
    if len(points) == 1:
        return rise * line.error if np.isfinite(line.error) else np.inf
    before = points[-2]
    length, gained = abs(last.place - before.place), abs(last.zeta) - abs(before.zeta)
    if not slope > 0.0:
        return LONGEST * length
    step = rise / slope
    if gained > FLAT * rise and abs(before.slope) > 0.0:
        step += 0.5 * rise**2 * (1.0 / slope - 1.0 / abs(before.slope)) / gained
    return float(np.clip(step, SHORTEST * length, LONGEST * length))


def _solved(line: Line, place: float, deviance: float, *starts: FloatArray) -> Point | None:
    """The point at a place, from the first start where the deviance is finite; None where none is."""
    problem = line.problem(place)
    found = None
    for start in starts:
        found = line.search(problem, start, tolerance=line.tolerance)
        if found is not None:
            break
    if found is None or not np.isfinite(found.deviance):
        return None
    found = _capped(line, _lowest(line, problem, found), starts[-1])
    rise, side = found.deviance - deviance, 1.0 if place > line.place else -1.0
    zeta = side * float(np.sqrt(max(rise, 0.0)))
    slope = found.slope / (2.0 * zeta) if abs(zeta) > 0.0 else np.nan
    state = found.state.state if isinstance(found.state, Held) else found.state
    return Point(
        place=place, x=found.x, deviance=found.deviance, zeta=zeta, slope=slope, converged=found.converged,
        lower=state if rise < -LOWER else None,
    )  # fmt: skip


def _lowest(line: Line, problem: Problem, found: Least) -> Least:
    """The lowest of the minima from here, and from where one of some standard deviations is zero."""
    for k in line.zeros:
        start = found.x.copy()
        start[k] = 0.0
        other = line.search(problem, start, tolerance=line.tolerance)
        if other is not None and other.deviance < found.deviance - LOWER:
            found = other
    return found


def _capped(line: Line, found: Least, x: FloatArray) -> Least:
    """Without one of its two effects a model has every correlation: its deviance is a bound of the profile."""
    if line.cap is None:
        return found
    allowed = line.cap.allows(found.x)
    if allowed and found.deviance <= line.cap.deviance:
        return found
    return replace(found, x=found.x if allowed else x, deviance=line.cap.deviance, slope=0.0)


def _extrapolated(points: Sequence[Point], line: Line, place: float) -> FloatArray:
    """The other parameters at a place, by the polynomial through the last (three) points, or along the tangent."""
    if len(points) == 1:
        step = place - points[0].place
        return points[0].x + step * line.along if np.isfinite(step) else points[0].x
    last = points[-3:]
    at = np.array([point.place for point in last])
    weights = [np.prod((place - np.delete(at, k)) / (at[k] - np.delete(at, k))) for k in range(len(at))]
    return np.asarray(sum(weight * point.x for weight, point in zip(weights, last, strict=True)))


def _mend(line: Line, points: list[Point]) -> None:
    """Where the deviance falls outwards, look for the minima before from those after: they may be others, and lower."""
    for k in range(len(points) - 1, 1, -1):
        inner, outer = points[k - 1], points[k]
        if outer.deviance < inner.deviance - LOWER:
            again = _solved(line, inner.place, points[0].deviance, outer.x)
            if again is not None and again.deviance < inner.deviance:
                points[k - 1] = again


def _halve_wide(line: Line, points: list[Point], side: float, widest: float) -> None:
    """Put points between those whose zeta are further apart than `widest`."""
    k = 1
    while k < len(points) and len(points) < MOST_POINTS:
        one, other = points[k - 1], points[k]
        gap = abs(other.zeta) - abs(one.zeta)
        if gap > widest:
            place = _between(one, other, 0.5 * (abs(one.zeta) + abs(other.zeta)))
            share = (place - one.place) / (other.place - one.place)
            start = one.x + share * (other.x - one.x)
            middle = _solved(line, place, points[0].deviance, start, one.x)
            if middle is not None and abs(one.zeta) < abs(middle.zeta) < abs(other.zeta):
                points.insert(k, middle)
                continue
        k += 1


def _between(one: Point, other: Point, target: float) -> float:
    """Place between two points where the cubic through |zeta| and its slopes has a value: h as a function of zeta."""
    low, high = abs(one.zeta), abs(other.zeta)
    t, gap, width = (target - low) / (high - low), high - low, other.place - one.place
    secant = width / gap
    slopes = [secant, secant]
    for k, point in enumerate((one, other)):
        if np.isfinite(point.slope) and point.slope != 0.0:
            slopes[k] = float(np.clip(np.sign(point.zeta or other.zeta) / point.slope / secant, 0.0, 3.0)) * secant
    h00, h10 = (1.0 + 2.0 * t) * (1.0 - t) ** 2, t * (1.0 - t) ** 2
    h01, h11 = t**2 * (3.0 - 2.0 * t), t**2 * (t - 1.0)
    return float(h00 * one.place + h10 * gap * slopes[0] + h01 * other.place + h11 * gap * slopes[1])


def _root(line: Line, deviance: float, inner: Point, outer: Point, target: float) -> float:
    """Place between two points where |zeta| is `target`."""
    for _ in range(ROOT_STEPS):
        for point in (outer, inner):
            if abs(abs(point.zeta) - target) <= CLOSE and abs(point.slope) > 0.0:
                return float(point.place + np.sign(point.zeta) * (target - abs(point.zeta)) / point.slope)
        place = _between(inner, outer, target)
        if not min(inner.place, outer.place) < place < max(inner.place, outer.place):
            place = 0.5 * (inner.place + outer.place)
        share = (place - inner.place) / (outer.place - inner.place)
        middle = _solved(line, place, deviance, inner.x + share * (outer.x - inner.x), inner.x)
        if middle is None:
            return np.nan
        inner, outer = (inner, middle) if abs(middle.zeta) >= target else (middle, outer)
        if abs(outer.place - inner.place) <= 1e-12 * max(abs(outer.place), abs(inner.place)):
            break
    return 0.5 * (inner.place + outer.place)


def interpolated(curve: Curve, count: int = 201) -> tuple[FloatArray, FloatArray]:
    """Values of the parameter and zeta (m,) along the profile, by the cubic that has its values and slopes.

    Parameters
    ----------
    curve : the profile.
    count : about how many values.
    """
    from scipy.interpolate import CubicHermiteSpline

    points = curve.points
    places, zetas = np.array([point.place for point in points]), np.array([point.zeta for point in points])
    if len(points) == 1:
        return np.array([curve.line.natural(places[0])]), zetas
    slopes, chords = np.array([point.slope for point in points]), np.diff(zetas) / np.diff(places)
    for k in np.flatnonzero(~np.isfinite(slopes)):
        slopes[k] = chords[max(k - 1, 0) : k + 1].mean()
    steepest = 3.0 * np.minimum(np.append(np.inf, chords), np.append(chords, np.inf))  # so that zeta stays increasing
    spline = CubicHermiteSpline(places, zetas, np.clip(slopes, 0.0, np.maximum(steepest, 0.0)))
    within = np.linspace(0.0, 1.0, max(count // (len(places) - 1), 2), endpoint=False)
    fine = np.append((places[:-1, None] + np.diff(places)[:, None] * within).ravel(), places[-1])
    return np.array([curve.line.natural(float(place)) for place in fine]), np.asarray(spline(fine))


def is_increasing(curve: Curve) -> bool:
    """Whether zeta never falls by more than what a search leaves."""
    return bool(np.all(np.diff([point.zeta for point in curve.points]) >= -np.sqrt(LOWER)))
