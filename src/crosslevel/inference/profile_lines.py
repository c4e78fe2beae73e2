"""Every parameter of a model as a line along which its deviance is profiled: its place, its range, its problem."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Protocol, Self

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.inference.held import (
    AVERAGE,
    EXACT,
    Held,
    HeldCoefficient,
    HeldCoordinate,
    HeldDeviation,
    HeldSigma,
    Least,
    approach,
    least,
)
from crosslevel.inference.held_engines import AnyDeviance, Change, changed, with_sigma
from crosslevel.likelihood.profiled import ProfiledDeviance
from crosslevel.likelihood.residual import ResidualDeviance
from crosslevel.optimise import TOLERANCE, minimise
from crosslevel.residual.natural import NaturalParameter, identity
from crosslevel.types import FloatArray

FAR = 700.0
"""Where a correlation on an unbounded scale has reached the end of its range, to twelve digits."""

GUESS = 0.1
"""Step, relative to sigma, where the curvature of the deviance says nothing of a standard deviation."""

NOTHING = 1e-3
"""Standard deviation, relative to sigma, next to which the curvature may be that of rounding errors."""

LEAST = 1e-6
"""Residual standard deviation, relative to its estimate, below which nobody looks: its deviance is without bound."""


class Search(Protocol):
    """Minimises a deviance with a parameter held; see `held.least`."""

    def __call__(self, problem: Any, x: FloatArray, *, tolerance: float) -> Least | None:
        """From the other parameters x (m,); None where the deviance is not finite there."""
        ...


class AnyBase(Protocol):
    """The minimum of any deviance whose first parameters (after `n_phi` others) are those of Psi.

    Attributes
    ----------
    theta, deviance : (k,) the parameters at the minimum, and the minimum.
    structures, bases : for each grouping factor the blocks that theta parametrises, and (q, q) T.
    sigma, scale : residual standard deviation in working units, and these in units of the data; 1 where there is none.
    knows_sigma : whether sigma is held where it is.
    n_phi : number of parameters before those of Psi.
    tolerance, search : of a search on the engine.
    """

    @property
    def theta(self) -> FloatArray: ...  # noqa: D102
    @property
    def deviance(self) -> float: ...  # noqa: D102
    @property
    def structures(self) -> tuple[BlockStructure, ...]: ...  # noqa: D102
    @property
    def bases(self) -> tuple[FloatArray, ...]: ...  # noqa: D102
    @property
    def sigma(self) -> float: ...  # noqa: D102
    @property
    def scale(self) -> float: ...  # noqa: D102
    @property
    def knows_sigma(self) -> bool: ...  # noqa: D102
    @property
    def n_phi(self) -> int: ...  # noqa: D102
    @property
    def tolerance(self) -> float: ...  # noqa: D102
    @property
    def search(self) -> Search: ...  # noqa: D102

    def rebuilt(self, structures: tuple[BlockStructure, ...]) -> tuple[Any, FloatArray]:
        """The engine with other parameters of Psi, and their values (k,) at the minimum."""
        ...

    def minimum_of(self, engine: Any, theta: FloatArray) -> float:
        """The minimum of the deviance of a rebuilt engine that a search from theta ends in."""
        ...

    def hessian(self, engine: Any, theta: FloatArray) -> FloatArray:
        """Second derivative (k, k) of the deviance of a rebuilt engine at theta."""
        ...

    def held(self, engine: Any, index: int, coordinate: float, rate: float = 1.0) -> Any:
        """The problem in which one coordinate is held; its derivative in the place of the parameter is `rate`."""
        ...

    def restarted(self, state: Any) -> Self:
        """The minimum that a search from a state with a lower deviance ends in."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Base:
    """The minimum of the deviance of a linear model over all parameters.

    Attributes
    ----------
    engine : the engine, with sigma as the model has it.
    theta, state : (k,) its parameters, and its state there.
    deviance : the minimum.
    """

    engine: AnyDeviance
    theta: FloatArray
    state: Any
    deviance: float

    @property
    def structures(self) -> tuple[BlockStructure, ...]:
        """Blocks of the random effects of each grouping factor."""
        return self.engine.structures

    @property
    def bases(self) -> tuple[FloatArray, ...]:
        """For each factor (q, q) T; working random effects are T b."""
        return self.engine.bases

    @property
    def knows_sigma(self) -> bool:
        """Whether the residual standard deviation is known."""
        return self.engine.sigma is not None

    @property
    def search(self) -> Search:
        """With the engine's own derivatives."""
        return least

    @property
    def scale(self) -> float:
        """Working units of y in those of the data."""
        return float(self.engine.coordinates.scale[-1])

    @cached_property
    def sigma(self) -> float:
        """Residual standard deviation in working units."""
        known = self.engine.sigma
        return float(np.sqrt(self.state.rss / self.state.nu)) if known is None else float(known)

    @property
    def tolerance(self) -> float:
        """Expected decrease at which a search on the engine ends."""
        return EXACT if isinstance(self.engine, ProfiledDeviance) else AVERAGE

    @property
    def n_phi(self) -> int:
        """Number of parameters of the residual structure, which stand before the others."""
        return self.engine.residual.n_phi if isinstance(self.engine, ResidualDeviance) else 0

    def theta_of(self, state: Any) -> FloatArray:
        """The engine's parameters (k,) at a state that another engine of the same model has reached."""
        phi = state.phi if isinstance(self.engine, ResidualDeviance) else np.zeros(0)
        return np.concatenate([phi, *self._nearest(self.engine.structures, state.factors)])

    def rebuilt(self, structures: tuple[BlockStructure, ...]) -> tuple[AnyDeviance, FloatArray]:
        """The engine with other parameters of Psi, and their values (k,) at the minimum."""
        theta = np.concatenate([self.theta[: self.n_phi], *self._nearest(structures, self.state.factors)])
        return changed(self.engine, Change(structures=structures)), theta

    def minimum_of(self, engine: AnyDeviance, theta: FloatArray) -> float:
        """The minimum of the deviance of a rebuilt engine that a search from theta ends in."""
        return minimum_from(engine, theta).deviance

    def hessian(self, engine: AnyDeviance, theta: FloatArray) -> FloatArray:
        """Second derivative (k, k) of the deviance of a rebuilt engine at theta."""
        at: Any = engine.value(theta)
        return np.array(engine.derivatives(at, theta).hessian)

    def held(self, engine: AnyDeviance, index: int, coordinate: float, rate: float = 1.0) -> HeldCoordinate:
        """The problem in which one coordinate is held."""
        return HeldCoordinate(engine=engine, index=index, coordinate=coordinate, rate=rate)

    def restarted(self, state: Any) -> "Base":
        """The minimum that a search from a state with a lower deviance ends in."""
        return minimum_from(self.engine, self.theta_of(state))

    @staticmethod
    def _nearest(structures: tuple[BlockStructure, ...], factors: tuple[FloatArray, ...]) -> list[FloatArray]:
        """Parameters of the factors."""
        return [structure.nearest(factor) for structure, factor in zip(structures, factors, strict=True)]


def minimum_from(engine: AnyDeviance, theta: FloatArray) -> Base:
    """The minimum of a deviance that a search from theta ends in."""
    if not len(theta):
        state = engine.value(theta)
    else:
        searched: Any = engine  # what lies outside is infinite, and never the end
        escape = partial(engine.escape, tolerance=TOLERANCE)
        found = minimise(searched, theta, deviance=lambda at: float(at.deviance), escape=escape)
        theta, state = found.theta, found.state
    return Base(engine=engine, theta=theta, state=state, deviance=float(state.deviance))


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """One parameter, by a place h that determines it and in which the deviance is smooth.

    Attributes
    ----------
    name, kind : as in "sd(Intercept|school)"; "coefficient", "sd", "cor" or "residual".
    place, x : h at the minimum of the deviance, and (m,) the other parameters there.
    error, along : standard error of h, and (m,) derivative of x in h along the profile.
    low, high : where h ends.
    limits : the parameter's own range.
    natural : from h to the parameter, increasing.
    problem, tolerance, search : the deviance with h held, the expected decrease at which it is minimal, and what
        minimises it.
    cap : what the profile cannot exceed, whatever h; see `Cap`.
    zeros : where in x standard deviations stand without which there may be another, lower minimum.
    """

    name: str
    kind: str
    place: float
    x: FloatArray = field(repr=False)
    error: float
    along: FloatArray = field(repr=False)
    low: float = -np.inf
    high: float = np.inf
    limits: tuple[float, float] = (-np.inf, np.inf)
    natural: Callable[[float], float] = field(repr=False)
    problem: Callable[[float], Any] = field(repr=False)
    tolerance: float
    search: Search = field(default=least, repr=False)
    cap: "Cap | None" = None
    zeros: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Cap:
    """A correlation of two effects is arbitrary where one of them does not vary: that bounds its profile.

    Attributes
    ----------
    without : for each of the two, what gives the deviance of the model without it.
    signs : where in x the two stand whose product has the sign that the correlation is for.
    """

    without: tuple[Callable[[], float], Callable[[], float]]
    signs: tuple[int, int]

    @cached_property
    def deviance(self) -> float:
        """The smaller of the deviances without one of the two."""
        return min(find() for find in self.without)

    def allows(self, x: FloatArray) -> bool:
        """Whether the standard deviations have one sign, so that the correlation is the one that is held."""
        return bool(x[self.signs[0]] * x[self.signs[1]] >= 0.0)


Named = tuple[str, str, Callable[[], Line]]
"""Name and kind of a parameter, and what makes its line."""


def coefficients(base: Base, names: Sequence[str]) -> Iterator[Named]:
    """The lines of the coefficients."""
    for j, name in enumerate(names):
        yield name, "coefficient", lambda j=j, name=name: _coefficient(base, j, name)  # type: ignore[misc]


def _coefficient(base: Base, j: int, name: str) -> Line:
    """The line of c'beta in working units, c a row of the map to the coefficients' own units."""
    coordinates = base.engine.coordinates
    contrast = coordinates.beta_map[j]
    constant = float(contrast @ coordinates.removed + (coordinates.shift[-1] if j == coordinates.intercept else 0.0))
    half = np.linalg.solve(base.state.chol[:-1, :-1], contrast)
    others = np.linalg.qr(contrast[:, None], mode="complete")[0][:, 1:]
    return Line(
        name=name, kind="coefficient", place=float(contrast @ base.state.beta), x=base.theta,
        error=float(np.sqrt(half @ half)) * base.sigma, along=np.zeros(len(base.theta)), tolerance=base.tolerance,
        natural=lambda h: h + constant, problem=lambda h: HeldCoefficient.at(base.engine, contrast, others, h),
    )  # fmt: skip


def scaled(
    base: Base, engine: AnyDeviance, theta: FloatArray, index: int, power: float, rate: float, common: dict[str, Any]
) -> Line:
    """The line of a standard deviation that is a coordinate times an unknown sigma."""
    place = common["place"]
    known = with_sigma(engine, base.sigma)
    at = Held(engine=known, state=known.value(theta), full=theta)
    problem = HeldDeviation(engine=engine, index=index, power=power, deviation=place, rate=rate)
    k, first = len(theta), problem.by_log_sigma(float(theta[index]))
    into: FloatArray = np.zeros((k + 1, k + 1))  # from (others, log sigma, v) to (theta, log sigma)
    into[np.arange(k + 1) != index, np.arange(k)] = 1.0
    into[index, k - 1] = first
    into[index, k] = -first / place if place > 0.0 else (1.0 / base.sigma if power == 1.0 else 0.0)
    error, along = step_for(*approach(into.T @ at.with_log_sigma[1] @ into), place, base)
    return Line(
        x=np.append(np.delete(theta, index), np.log(base.sigma)), error=error, along=along,
        problem=lambda h: replace(problem, deviation=h), tolerance=base.tolerance, **common,
    )  # fmt: skip


def residual(base: Base) -> tuple[list[Named], list[str]]:
    """The lines of the residual standard deviation, or of the residual structure; and names of those without one."""
    parts: tuple[NaturalParameter, ...] = ()
    if isinstance(base.engine, ResidualDeviance):
        log_sigma = float(np.log(base.sigma * base.scale))
        parts = base.engine.residual.natural(base.theta[: base.n_phi], log_sigma)
    out: list[Named] = []
    without: list[str] = []
    for part in parts:
        moved, scale = np.flatnonzero(part.jacobian[:-1]), part.jacobian[-1]
        if scale and len(moved) <= 1:
            out.append((part.name, "residual", lambda part=part: _residual_deviation(base, part)))  # type: ignore[misc]
        elif len(moved) == 1 and part.value == base.theta[moved[0]]:
            out.append((part.name, "residual", lambda part=part: _residual_parameter(base, part)))  # type: ignore[misc]
        else:
            without.append(part.name)
    if base.engine.sigma is None and not any(part.jacobian[-1] for part in parts):
        out.append(("sigma", "residual", lambda: _sigma(base, "sigma")))
    return out, without


def _residual_deviation(base: Base, part: NaturalParameter) -> Line:
    """The line of a standard deviation v with log v = log sigma + rate phi."""
    moved = np.flatnonzero(part.jacobian[:-1])
    if not len(moved):
        return _sigma(base, part.name)
    place = part.estimate / base.scale
    common = {
        "name": part.name, "kind": "residual", "place": place, "low": LEAST * place, "limits": (0.0, np.inf),
        "natural": lambda h: h * base.scale,
    }  # fmt: skip
    rate = float(part.jacobian[moved[0]])
    return scaled(base, base.engine, base.theta.copy(), int(moved[0]), 0.0, rate, common)


def _residual_parameter(base: Base, part: NaturalParameter) -> Line:
    """A parameter that is a function of one phi."""
    index = int(np.flatnonzero(part.jacobian[:-1])[0])
    error, along = approach(held_last(base.engine.derivatives(base.state, base.theta).hessian, index))
    low, high = (-np.inf, np.inf) if part.inverse is identity else (part.inverse(-FAR), part.inverse(FAR))
    return Line(
        name=part.name, kind="residual", place=float(base.theta[index]), x=np.delete(base.theta, index),
        error=error if np.isfinite(error) else 1.0, along=along, limits=(round(float(low), 12), round(float(high), 12)),
        natural=lambda h: float(part.inverse(h)),
        problem=lambda h: HeldCoordinate(engine=base.engine, index=index, coordinate=h), tolerance=base.tolerance,
    )  # fmt: skip


def _sigma(base: Base, name: str) -> Line:
    """The residual standard deviation, in working units."""
    known = with_sigma(base.engine, base.sigma)
    hessian = Held(engine=known, state=known.value(base.theta), full=base.theta).with_log_sigma[1].copy()
    hessian[-1] /= base.sigma
    hessian[:, -1] /= base.sigma
    error, along = step_for(*approach(hessian), base.sigma, base)
    return Line(
        name=name, kind="residual", place=base.sigma, x=base.theta, error=error,
        along=along, low=LEAST * base.sigma, limits=(0.0, np.inf), natural=lambda h: h * base.scale,
        problem=lambda h: HeldSigma(engine=with_sigma(base.engine, h)), tolerance=base.tolerance,
    )  # fmt: skip


def held_last(hessian: FloatArray, index: int) -> FloatArray:
    """The same with one parameter last."""
    order = np.append(np.delete(np.arange(len(hessian)), index), index)
    return np.asarray(hessian[np.ix_(order, order)])


def step_for(error: float, along: FloatArray, place: float, base: AnyBase) -> tuple[float, FloatArray]:
    """A standard error to go by, and the way: where a standard deviation is next to zero its own may mean nothing."""
    nothing = place < NOTHING * base.sigma and not error > GUESS * NOTHING * base.sigma
    if np.isfinite(error) and not nothing:
        return error, along
    return GUESS * max(place, base.sigma), np.zeros_like(along)
