"""The parameters of a generalized model as lines along which its deviance is profiled.

With parameters x = [theta, beta, shape] and a direction d, the deviance with d'x = v is minimised over the others by
the search of the fit, moving in directions orthogonal to d only. Standard deviations and correlations of random effects
are made coordinates first, by other parameters of Psi (`inference.profile_effects`).

Source: as `inference.profile`; here the deviance is that of the fit's own approximation, Laplace or quadrature.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.inference.generalized.estimands import Estimands
from crosslevel.inference.generalized.natural_thresholds import NaturalThresholds
from crosslevel.inference.held import Least, approach
from crosslevel.inference.profile_lines import Line, Named, held_last
from crosslevel.optimise import Status
from crosslevel.solve.generalized.descent import Progress, descend, difference_hessian, sizes
from crosslevel.solve.generalized.objective import Objective
from crosslevel.solve.generalized.solution import GeneralizedSolution
from crosslevel.types import FloatArray

TOLERANCE = 1e-8
"""Expected decrease of the deviance at which a search with a parameter held ends."""

MAX_STEPS = 100
"""Most steps of one."""

RUNAWAY, FIRST_REACH, LAST_REACH = 100.0, 3.0, 200.0
"""A standard error along which linear predictors differ by so much is no guide; differences of the first step in its
place, and of the last, where the likelihood has long been flat."""

LAST_LOGARITHM = 40.0
"""How far the logarithm of a shape parameter next to its limit is followed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldDirection:
    """The deviance with d'x held at v: x = v d / d'd + N z, the columns of N orthonormal and orthogonal to d.

    Attributes
    ----------
    objective : the deviance of all parameters.
    direction, others : (K,) d, and (K, K - 1) N.
    place, rate : v, and its derivative in the place of the parameter.
    near : a state whose modes start the inner search.
    """

    objective: Objective = field(repr=False)
    direction: FloatArray
    others: FloatArray = field(repr=False)
    place: float
    rate: float = 1.0
    near: Any = field(default=None, repr=False)

    @property
    def unit(self) -> FloatArray:
        """(K,) derivative of x in v."""
        return np.asarray(self.direction / (self.direction @ self.direction))

    def full(self, z: FloatArray) -> FloatArray:
        """All parameters (K,)."""
        return np.asarray(self.place * self.unit + self.others @ z)


def search(problem: HeldDirection, x: FloatArray, *, tolerance: float) -> Least | None:
    """Minimise over the other parameters (K - 1,), as the fit was searched; None where the deviance is not finite."""
    held = replace(problem.objective, directions=problem.others)
    try:
        minimum, _ = descend(
            held, problem.full(x), near=problem.near, tolerance=tolerance, max_steps=MAX_STEPS, finish=False
        )
    except ValueError:
        return None
    point = problem.objective.at(minimum.theta, minimum.state)
    slope = float(problem.objective.gradient(point) @ problem.unit) * problem.rate
    small = 0.0 <= minimum.decrement <= tolerance
    return Least(
        x=problem.others.T @ minimum.theta, state=point, deviance=point.value - (minimum.decrement if small else 0.0),
        slope=slope, converged=minimum.status is Status.CONVERGED,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneralizedBase:
    """The minimum of the deviance of a generalized model; see `profile_lines.AnyBase`.

    Attributes
    ----------
    objective : the deviance, with the prior if there is one.
    theta, deviance : (K,) parameters, all of them, and the minimum.
    second : (K, K) the Hessian there.
    state : the criterion's state.
    """

    objective: Objective = field(repr=False)
    theta: FloatArray
    deviance: float
    second: FloatArray = field(repr=False)
    state: Any = field(repr=False)
    sigma: float = 1.0
    scale: float = 1.0
    knows_sigma: bool = True
    n_phi: int = 0
    tolerance: float = TOLERANCE

    @classmethod
    def of(cls, solution: GeneralizedSolution) -> "GeneralizedBase":
        """That of a fit."""
        objective = Objective(criterion=solution.criterion, prior=solution.prior)
        deviance = float(solution.state.deviance) + objective.penalty(solution.parameters)
        return cls(
            objective=objective, theta=solution.parameters, deviance=deviance, second=solution.hessian,
            state=solution.state,
        )  # fmt: skip

    @property
    def structures(self) -> tuple[BlockStructure, ...]:
        """Blocks of the random effects of each grouping factor."""
        return self.objective.structures

    @property
    def bases(self) -> tuple[FloatArray, ...]:
        """For each factor (q, q) T; working random effects are T b."""
        return self.objective.criterion.rows.bases

    @property
    def search(self) -> Callable[..., Least | None]:
        """With a direction held."""
        return search

    def rebuilt(self, structures: tuple[BlockStructure, ...]) -> tuple[Objective, FloatArray]:
        """The deviance with other parameters of Psi, and their values (K,) at the minimum, with all others."""
        rows = self.objective.criterion.rows
        terms = tuple(replace(term, structure=own) for term, own in zip(rows.terms, structures, strict=True))
        criterion = self.objective.criterion.with_rows(replace(rows, terms=terms))
        thetas = [own.nearest(factor) for own, factor in zip(structures, self.state.factors, strict=True)]
        rest = self.theta[self.objective.layout.k :]
        return replace(self.objective, criterion=criterion), np.concatenate([*thetas, rest])

    def minimum_of(self, engine: Objective, theta: FloatArray) -> float:
        """The minimum of a rebuilt deviance that a search from theta ends in."""
        return self._from(engine, theta).deviance

    def hessian(self, engine: Objective, theta: FloatArray) -> FloatArray:
        """Hessian (K, K) of a rebuilt deviance, by differences of its gradient."""
        point = engine.at(theta, self.state)
        size = sizes(engine.information(point))
        return difference_hessian(engine, point, engine.gradient(point), size, Progress())

    def held(self, engine: Objective, index: int, coordinate: float, rate: float = 1.0) -> HeldDirection:
        """The problem in which one coordinate is held."""
        unit = np.eye(engine.layout.size)
        return HeldDirection(
            objective=engine, direction=unit[index], others=np.delete(unit, index, axis=1), place=coordinate,
            rate=rate, near=self.state,
        )  # fmt: skip

    def restarted(self, state: Any) -> "GeneralizedBase":
        """The minimum that a search from a point with a lower deviance ends in."""
        factors = state.state.factors
        thetas = [own.nearest(factor) for own, factor in zip(self.structures, factors, strict=True)]
        rest = state.parameters[len(state.parameters) - (self.objective.layout.size - self.objective.layout.k) :]
        return self._from(self.objective, np.concatenate([*thetas, rest]))

    def _from(self, engine: Objective, theta: FloatArray) -> "GeneralizedBase":
        """The minimum from theta on."""
        minimum, hessian = descend(engine, theta, near=self.state, tolerance=TOLERANCE, max_steps=MAX_STEPS)
        value = float(minimum.state.deviance) + engine.penalty(minimum.theta)
        second = self.second if hessian is None else hessian
        return replace(self, objective=engine, theta=minimum.theta, deviance=value, second=second, state=minimum.state)


def predictor_lines(base: GeneralizedBase, estimands: Estimands) -> Iterator[Named]:
    """The lines of the coefficients."""
    layout, coordinates = estimands.layout, estimands.rows.coordinates
    constant = coordinates.coefficients(np.zeros(layout.p))
    told = np.flatnonzero(estimands.slopes)
    for name, j in zip(estimands.predictor[: len(told)], told, strict=True):
        direction = np.zeros(layout.size)
        direction[layout.beta] = coordinates.beta_map[j]
        yield name, "coefficient", partial(_along, base, name, direction, float(constant[j]))


def threshold_lines(base: GeneralizedBase, estimands: Estimands) -> Iterator[Named]:
    """The lines of the thresholds of an ordered outcome: c_k less the intercept."""
    if not estimands.thresholds:
        return
    layout, coordinates = estimands.layout, estimands.rows.coordinates
    constant = float(coordinates.coefficients(np.zeros(layout.p))[coordinates.intercept])
    for k, name in enumerate(estimands.thresholds):
        direction = np.zeros(layout.size)
        direction[layout.beta] = -coordinates.beta_map[coordinates.intercept]
        if k:
            direction[layout.shape.start + k - 1] = 1.0
        yield name, "threshold", partial(_threshold, base, name, direction, -constant)


def _threshold(base: GeneralizedBase, name: str, direction: FloatArray, constant: float) -> Line:
    """The line of a combination of coefficients and natural shape parameters."""
    natural = NaturalThresholds(inner=base.objective.criterion)
    engine, theta = replace(base.objective, criterion=natural), natural.natural(base.theta)
    turned = replace(base, objective=engine, theta=theta, second=base.hessian(engine, theta))
    return replace(_along(turned, name, direction, constant), kind="threshold")


def _along(base: GeneralizedBase, name: str, direction: FloatArray, constant: float) -> Line:
    """The line of d'x + constant."""
    others = np.linalg.qr(direction[:, None], mode="complete")[0][:, 1:]
    into = np.column_stack([others, direction / (direction @ direction)])
    error, along = approach(into.T @ base.second @ into)
    place, ends = float(direction @ base.theta), np.array([-np.inf, np.inf])
    reach = float(np.ptp(base.objective.criterion.rows.x @ into[base.objective.layout.beta, -1]))
    if not error * reach < RUNAWAY:  # separation: a standard error that means nothing would lead out of all bounds
        error, along = FIRST_REACH / max(reach, 1e-300), np.zeros_like(along)
        ends = place + np.array([-1.0, 1.0]) * LAST_REACH / max(reach, 1e-300)

    def held(h: float) -> HeldDirection:
        return HeldDirection(objective=base.objective, direction=direction, others=others, place=h, near=base.state)

    return Line(
        name=name, kind="coefficient", place=place, x=others.T @ base.theta, error=error, along=along,
        low=float(ends[0]), high=float(ends[1]), natural=lambda h: h + constant, problem=held, tolerance=base.tolerance,
        search=base.search,
    )  # fmt: skip


def shape_lines(base: GeneralizedBase, estimands: Estimands) -> Iterator[Named]:
    """The lines of shape parameters that are each a function of one of the working ones."""
    for j, name in enumerate(estimands.shapes):
        yield name, "shape", partial(_shape, base, estimands, j, name)


def _shape(base: GeneralizedBase, estimands: Estimands, j: int, name: str) -> Line:
    """One shape parameter, by its logarithm."""
    index = estimands.layout.shape.start + j
    error, along = approach(held_last(base.second, index))
    place, ends = float(base.theta[index]), np.array([-np.inf, np.inf])
    if not error < FIRST_REACH:  # next to its limit, where the family becomes another and nothing changes any more
        error, along, ends = 1.0, np.zeros_like(along), place + np.array([-1.0, 1.0]) * LAST_LOGARITHM

    def natural(h: float) -> float:
        working = base.theta[estimands.layout.shape].copy()
        working[j] = h
        return float(estimands.rows.family.shape(working)[j])

    return Line(
        name=name, kind="shape", place=place, x=np.delete(base.theta, index), error=error, along=along,
        low=float(ends[0]), high=float(ends[1]), limits=(0.0, np.inf), natural=natural,
        problem=lambda h: base.held(base.objective, index, h), tolerance=base.tolerance, search=base.search,
    )  # fmt: skip
