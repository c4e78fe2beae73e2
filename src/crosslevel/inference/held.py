"""The deviance with one parameter held, minimised over all others.

    d_v = min { d(phi, theta, beta, sigma) : parameter = v },      zeta(v) = sign(v - estimate) sqrt(d_v - d)

Each of the problems below is a criterion in the remaining parameters x that `optimise.minimise` can minimise, with the
slope of its minimum in v (the envelope theorem: the partial derivative there).

- A coefficient c'beta = v: with N a basis of the vectors orthogonal to c, beta = c v / c'c + N gamma, so that the
  model is that of y - X c v / c'c on X N. On cross-products, [X y] becomes [X y] [N, (-c v / c'c, 1)].
- The residual standard deviation: the deviance with sigma known.
- A standard deviation sd = sigma rho^(1 / power) / c of random effects: the coordinate rho of theta that makes it is
  (c v / sigma)^power, with sigma among the other parameters. That is defined at v = 0.
- A correlation, or any other coordinate: held as it is, sigma profiled out.

Source: Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1), section 5.1, for the profile of mixed models;
Murphy & van der Vaart (2000), JASA 95: 449-465, for profile likelihood.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from crosslevel.inference.held_engines import (
    AnyDeviance,
    Change,
    changed,
    sum_of_squares,
    sum_of_squares_slope,
    with_sigma,
)
from crosslevel.optimise import ROUNDING, Derivatives, Minimum, Status, minimise
from crosslevel.types import FloatArray

EXACT, AVERAGE = 1e-5, 1e-8
"""Expected decrease of the deviance at which a search ends, with the exact Hessian and with average information. It is
taken off at last: with the exact Hessian, what is left is far smaller."""

SADDLE, ESCAPES, LOWER = 1e-7, 10, 1e-7
"""Negative curvature, relative to the largest, that is more than rounding; how often such a point is left; and the fall
of the deviance for which it is."""


class Problem(Protocol):
    """A deviance in which one parameter is held; see `optimise.Criterion`."""

    def value(self, theta: FloatArray) -> Any:
        """State at the other parameters."""
        ...

    def derivatives(self, at: Any, theta: FloatArray) -> Derivatives:
        """Derivatives in the other parameters."""
        ...

    def slope(self, at: Any, theta: FloatArray) -> float:
        """Partial derivative of the deviance in the place of the parameter that is held."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Least:
    """Where a constrained minimisation ended.

    Attributes
    ----------
    x : (m,) other parameters.
    state : the engine's state there.
    deviance, slope : the minimum, and its derivative in the place of the parameter that is held.
    converged : whether it is known to be a minimum.
    """

    x: FloatArray
    state: Any
    deviance: float
    slope: float
    converged: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Held:
    """State of a problem: that of the engine, with what it was evaluated at.

    Attributes
    ----------
    engine, state : the engine, which may know sigma, and its state.
    full : (k,) its parameters, those that are held included.
    """

    engine: AnyDeviance
    state: Any
    full: FloatArray

    @property
    def deviance(self) -> float:
        """-2 log-likelihood."""
        return float(self.state.deviance)

    @cached_property
    def derivatives(self) -> Derivatives:
        """In all of the engine's parameters."""
        return self.engine.derivatives(self.state, self.full)

    @cached_property
    def with_log_sigma(self) -> tuple[FloatArray, FloatArray]:
        """Gradient (k + 1,) and Hessian (k + 1, k + 1) in the engine's parameters and log sigma, which is known."""
        k, sigma, own = len(self.full), self.engine.sigma, self.derivatives
        assert sigma is not None
        ratio = sum_of_squares(self.state) / sigma**2
        gradient, hessian = np.empty(k + 1), np.empty((k + 1, k + 1))
        gradient[:k], gradient[k] = own.gradient, 2.0 * (_nu(self.state) - ratio)
        hessian[:k, :k], hessian[k, k] = own.hessian, 4.0 * ratio
        hessian[k, :k] = hessian[:k, k] = -2.0 * sum_of_squares_slope(self.engine, self.state, self.full) / sigma**2
        return gradient, hessian


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldCoefficient:
    """The deviance with c'beta = v, in working coordinates.

    Attributes
    ----------
    engine : of the model as it is.
    engine_held : of y - X c v / c'c on the other columns.
    contrast, target : (p,) c, and v in working units.
    """

    engine: AnyDeviance
    engine_held: AnyDeviance
    contrast: FloatArray
    target: float

    @classmethod
    def at(cls, engine: AnyDeviance, contrast: FloatArray, others: FloatArray, target: float) -> "HeldCoefficient":
        """Change the columns; `others` (p, p - 1) is N."""
        p = len(contrast)
        columns = np.zeros((p + 1, p))
        columns[:p, :-1], columns[:p, -1], columns[p, -1] = others, contrast * (-target / (contrast @ contrast)), 1.0
        return cls(
            engine=engine, engine_held=changed(engine, Change(columns=columns)), contrast=contrast, target=target
        )

    def value(self, theta: FloatArray) -> Any:
        """State at theta."""
        return self.engine_held.value(theta)

    def derivatives(self, at: Any, theta: FloatArray) -> Derivatives:
        """In theta."""
        return self.engine_held.derivatives(at, theta)

    def slope(self, at: Any, theta: FloatArray) -> float:
        """2 (nu / r^2) (v - c'b) / c'(X'V^-1 X)^-1 c, with b and V those of the model as it is at theta."""
        free: Any = self.engine.value(theta)
        half = np.linalg.solve(free.chol[:-1, :-1], self.contrast)
        ratio = (self.target - self.contrast @ free.beta) / (half @ half)
        scale = _nu(at) / sum_of_squares(at) if self.engine.sigma is None else self.engine.sigma**-2
        return float(2.0 * scale * ratio)


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldCoordinate:
    """The deviance with one of the engine's parameters held; sigma as the engine has it.

    Attributes
    ----------
    engine : the engine.
    index : which parameter.
    coordinate : its value.
    rate : derivative of the coordinate in the place of the parameter.
    """

    engine: AnyDeviance
    index: int
    coordinate: float
    rate: float = 1.0

    def value(self, theta: FloatArray) -> Held:
        """State at the other parameters."""
        full = with_coordinate(theta, self.index, self.coordinate)
        return Held(engine=self.engine, state=self.engine.value(full), full=full)

    def derivatives(self, at: Held, theta: FloatArray) -> Derivatives:
        """In the other parameters."""
        own, free = at.derivatives, np.arange(len(at.full)) != self.index
        both = np.ix_(free, free)
        return Derivatives(
            gradient=own.gradient[free], hessian=own.hessian[both], expected=lambda: own.information[both]
        )

    def slope(self, at: Held, theta: FloatArray) -> float:
        """In the place of the parameter."""
        return float(at.derivatives.gradient[self.index] * self.rate)


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldSigma:
    """The deviance with the residual standard deviation held.

    Attributes
    ----------
    engine : the engine, which knows sigma.
    """

    engine: AnyDeviance

    def value(self, theta: FloatArray) -> Held:
        """State at theta."""
        return Held(engine=self.engine, state=self.engine.value(theta), full=theta)

    def derivatives(self, at: Held, theta: FloatArray) -> Derivatives:
        """In theta."""
        return at.derivatives

    def slope(self, at: Held, theta: FloatArray) -> float:
        """In sigma, working units."""
        sigma = self.engine.sigma
        assert sigma is not None
        return float(2.0 * (_nu(at.state) - sum_of_squares(at.state) / sigma**2) / sigma)


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldDeviation:
    """The deviance with a standard deviation v held that is a coordinate of theta times sigma.

    The coordinate is rho = (v / sigma)^power, or log(v / sigma) / rate where power is zero, v and sigma in working
    units. The other parameters are the rest of theta, then log sigma.

    Attributes
    ----------
    engine : the engine, with sigma estimated.
    index, power, rate : which parameter rho is, and how it depends on v.
    deviation : v.
    """

    engine: AnyDeviance
    index: int
    power: float
    deviation: float
    rate: float = 1.0

    def value(self, theta: FloatArray) -> Held:
        """State at the other parameters."""
        sigma = float(np.exp(theta[-1]))
        full = with_coordinate(theta[:-1], self.index, self._coordinate(sigma))
        engine = with_sigma(self.engine, sigma)
        return Held(engine=engine, state=engine.value(full), full=full)

    def derivatives(self, at: Held, theta: FloatArray) -> Derivatives:
        """In the other parameters, through rho's dependence on sigma."""
        gradient, hessian = at.with_log_sigma
        k, rho = len(at.full), at.full[self.index]
        first, second = self.by_log_sigma(rho), self.power**2 * rho
        free = np.arange(k + 1) != self.index

        def carried(matrix: FloatArray) -> FloatArray:
            out = matrix[np.ix_(free, free)]
            out[:, -1] += first * matrix[free, self.index]
            out[-1] += first * matrix[self.index, free]
            out[-1, -1] += first**2 * matrix[self.index, self.index]
            return out

        def expected() -> FloatArray:
            full = np.zeros((k + 1, k + 1))
            full[:k, :k], full[k, k] = at.derivatives.information, 4.0 * _nu(at.state)
            return carried(full)

        own, changed_hessian = gradient[free], carried(hessian)
        own[-1] += first * gradient[self.index]
        changed_hessian[-1, -1] += second * gradient[self.index]
        return Derivatives(gradient=own, hessian=changed_hessian, expected=expected)

    def slope(self, at: Held, theta: FloatArray) -> float:
        """In v: zero where v is, since the deviance depends on its square."""
        if self.deviation == 0.0:
            return 0.0
        return float(-at.derivatives.gradient[self.index] * self.by_log_sigma(at.full[self.index]) / self.deviation)

    def by_log_sigma(self, rho: float) -> float:
        """Derivative of rho in log sigma: minus that in log v."""
        return -self.power * rho if self.power else -1.0 / self.rate

    def _coordinate(self, sigma: float) -> float:
        """Return rho."""
        ratio = self.deviation / sigma
        return float(ratio**self.power if self.power else np.log(ratio) / self.rate)


def least(problem: Problem, x: FloatArray, *, tolerance: float = AVERAGE) -> Least | None:
    """Minimise a deviance from x, beyond saddle points; None where it is not finite at x."""
    try:
        minimum = _search(problem, x, tolerance)
    except ValueError:  # the start is where the deviance is infinite
        return None
    for _ in range(ESCAPES):
        lower = _beyond_saddle(problem, minimum)
        if lower is None:
            break
        minimum = _search(problem, lower, tolerance)
    small = 0.0 <= minimum.decrement <= tolerance
    return Least(
        x=minimum.theta, state=minimum.state,
        deviance=float(minimum.state.deviance) - (minimum.decrement if small else 0.0),
        slope=problem.slope(minimum.state, minimum.theta), converged=minimum.status is Status.CONVERGED,
    )  # fmt: skip


def _search(problem: Problem, x: FloatArray, tolerance: float) -> Minimum[Any]:
    """One run of the minimiser; without other parameters there is nothing to search."""
    if not len(x):
        state = problem.value(x)
        if not np.isfinite(state.deviance):
            raise ValueError("the criterion must be finite at the start")
        none = Derivatives(gradient=x, hessian=np.zeros((0, 0)), expected=lambda: np.zeros((0, 0)))
        return Minimum(
            theta=x, state=state, derivatives=none, decrement=0.0, steps=0, evaluations=1, status=Status.CONVERGED
        )
    return minimise(problem, x, deviance=lambda at: float(at.deviance), escape=_stay, tolerance=tolerance)


def _beyond_saddle(problem: Problem, minimum: Minimum[Any]) -> FloatArray | None:
    """A lower point along the direction of most negative curvature, if there is one."""
    hessian = minimum.derivatives.hessian
    if not len(hessian) or not np.all(np.isfinite(hessian)):
        return None
    try:
        np.linalg.cholesky(hessian)
    except np.linalg.LinAlgError:
        pass
    else:
        return None
    values, vectors = np.linalg.eigh(hessian)
    if values[0] >= -SADDLE * float(np.abs(values).max()):
        return None
    length, enough = 1.0, LOWER + ROUNDING * abs(minimum.state.deviance)
    while -0.5 * values[0] * length**2 > enough:
        for sign in (1.0, -1.0):
            moved = minimum.theta + sign * length * vectors[:, 0]
            if problem.value(moved).deviance < minimum.state.deviance - enough:
                return np.asarray(moved)
        length *= 0.5
    return None


def with_coordinate(others: FloatArray, index: int, coordinate: float) -> FloatArray:
    """Parameters (k,) with one of them put between the others (k - 1,)."""
    full = np.empty(len(others) + 1)
    full[:index], full[index], full[index + 1 :] = others[:index], coordinate, others[index:]
    return full


def approach(hessian: FloatArray) -> tuple[float, FloatArray]:
    """From the Hessian in (x, v) at the free minimum: the standard error of v, and dx/dv along the profile.

    Infinite where the deviance does not rise with v.
    """
    cross = hessian[:-1, -1]
    along = -np.linalg.lstsq(hessian[:-1, :-1], cross, rcond=1e-10)[0] if len(cross) else np.zeros(0)
    curvature = float(hessian[-1, -1] + cross @ along)
    return (float(np.sqrt(2.0 / curvature)) if curvature > 0.0 else np.inf), along


def _nu(at: Any) -> float:
    """Degrees of freedom of r^2."""
    return float(at.nu)


def _stay(theta: FloatArray, at: Any) -> None:
    """No way off: saddle points are left afterwards, with the derivatives that are known by then."""
