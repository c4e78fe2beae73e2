"""What a search for the optimum ends with, in the units of the data, whatever the engine."""

from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.design.coordinates import Coordinates
from crosslevel.errors import CrosslevelError
from crosslevel.optimise import TOLERANCE, Derivatives, Minimum, Status
from crosslevel.prior import Weak
from crosslevel.types import FloatArray

NEGLIGIBLE = 1e-4
"""A standard deviation of a standardised random effect, relative to sigma, that counts as zero (as in lme4)."""

POLISH_STEPS, LAST_DIGIT, CLOSER = 12, 1e-22, 0.5
"""Final Newton steps, taken while the decrease of the deviance they promise exceeds the second, which is 11 digits of
theta, and while each leaves less than a share of it: close to the boundary they approach slowly at first."""

OBSERVED_STEPS = 3
"""Most Newton steps with the observed information."""

LEAST, NEAR = 1e-18, 1e-3
"""Newton steps with a Hessian by differences are taken while the decrease they promise lies between these: below it is
rounding error, above the search has not ended."""


class At(Protocol):
    """A model at one set of relative covariance factors: what every engine knows there, in working coordinates.

    Attributes
    ----------
    deviance : -2 (restricted) log-likelihood, in the units of the data.
    factors : for each grouping factor (q, q) Lambda.
    beta : (p,) coefficients.
    chol : (p + 1, p + 1) lower Cholesky factor of [X y]'V^-1 [X y].
    rss, nu : r^2 and its degrees of freedom.
    sigma : residual standard deviation of this state; None where it is sqrt(r^2 / nu).
    modes : for each factor (J, q) conditional modes.
    """

    @property
    def deviance(self) -> float: ...  # noqa: D102
    @property
    def factors(self) -> tuple[FloatArray, ...]: ...  # noqa: D102
    @property
    def beta(self) -> FloatArray: ...  # noqa: D102
    @property
    def chol(self) -> FloatArray: ...  # noqa: D102
    @property
    def rss(self) -> float: ...  # noqa: D102
    @property
    def nu(self) -> float: ...  # noqa: D102
    @property
    def sigma(self) -> float | None: ...  # noqa: D102
    @property
    def modes(self) -> tuple[FloatArray, ...]: ...  # noqa: D102


class Engine(Protocol):
    """A criterion that can be minimised over theta, and asked about its optimum.

    Attributes
    ----------
    structures : for each grouping factor, the blocks that theta parametrises.
    bases : for each factor (q, q) T; working random effects are T b.
    coordinates : those of [X y].
    sigma : working residual standard deviation where it is known, None where it is estimated.
    """

    @property
    def sigma(self) -> float | None: ...  # noqa: D102
    @property
    def structures(self) -> tuple[BlockStructure, ...]: ...  # noqa: D102
    @property
    def bases(self) -> tuple[FloatArray, ...]: ...  # noqa: D102
    @property
    def coordinates(self) -> Coordinates: ...  # noqa: D102

    def value(self, theta: FloatArray) -> Any:
        """State at working theta."""
        ...

    def at_factors(self, factors: tuple[FloatArray, ...]) -> Any:
        """State at any working Lambdas."""
        ...

    def derivatives(self, at: Any, theta: FloatArray) -> Derivatives:
        """Gradient, Hessian and information in working theta."""
        ...

    def curvature(self, at: Any, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Hessian (k, k) of the deviance and gradient (k,) of log sigma in working theta."""
        ...

    def conditional_covariances(self, at: Any) -> tuple[FloatArray, ...]:
        """For each factor (J, q, q) conditional covariances, to be multiplied by sigma^2."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Iterative:
    """What is stochastic in a solution by iterative algebra.

    Attributes
    ----------
    vectors : random vectors that estimate the log-determinant; their seed is fixed.
    deviance_error : Monte-Carlo standard error of the deviance.
    theta_error : largest Monte-Carlo error of a covariance parameter, in its sampling standard errors.
    """

    vectors: int
    deviance_error: float
    theta_error: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Solution:
    """A fitted linear mixed model, in the units of the data.

    Attributes
    ----------
    theta : (k,) relative covariance parameters, factor by factor and block by block; none for known covariances.
    factors : for each grouping factor (q, q) Lambda; the covariance of its random effects is sigma^2 Lambda Lambda'.
    beta, vcov : (p,) coefficients and (p, p) their covariance.
    sigma : residual standard deviation.
    deviance : -2 (restricted) log-likelihood.
    eigenvalues : for each factor (q,) of the relative covariance of the standardised random effects, less those whose
        covariance is known; zero means singular.
    minimum : the search's end in working coordinates.
    criterion : the engine, for whoever needs it elsewhere.
    parameter_vcov : (k + 1, k + 1) covariance of working theta and log sigma where it is not that of the likelihood's
        curvature, as with sampling weights.
    phi : (m,) parameters of the residual structure, which stand before theta in `minimum.theta`; empty without one.
    iterative : what is stochastic in it; None where the algebra is exact.
    prior : the prior whose mode the covariances are; None for maximum likelihood.
    """

    theta: FloatArray
    factors: tuple[FloatArray, ...]
    beta: FloatArray
    vcov: FloatArray
    sigma: float
    deviance: float
    eigenvalues: tuple[FloatArray, ...]
    minimum: Minimum[Any]
    criterion: Any
    parameter_vcov: FloatArray | None = None
    phi: FloatArray = field(default_factory=lambda: np.zeros(0))
    iterative: Iterative | None = None
    prior: Weak | None = None

    @property
    def at(self) -> At:
        """The engine's state at the optimum."""
        state: At = self.minimum.state
        return state

    @property
    def status(self) -> Status:
        """How the search ended."""
        return self.minimum.status

    @property
    def singular(self) -> tuple[bool, ...]:
        """For each factor, whether some combination of its random effects has no variance."""
        return tuple(bool(np.any(values < NEGLIGIBLE**2)) for values in self.eigenvalues)

    @property
    def is_singular(self) -> bool:
        """Whether some combination of the random effects of a factor has no variance."""
        return any(self.singular)


def in_data_units(criterion: Engine, minimum: Minimum[Any]) -> Solution:
    """Carry a minimum from working coordinates back to the units of the data."""
    at: At = minimum.state
    coordinates = criterion.coordinates
    thetas = [
        structure.nearest(np.linalg.solve(basis, factor))
        for structure, basis, factor in zip(criterion.structures, criterion.bases, at.factors, strict=True)
    ]
    sigma_working = np.sqrt(at.rss / at.nu) if at.sigma is None else at.sigma
    sigma = float(sigma_working * coordinates.scale[-1])
    whitened = np.linalg.inv(at.chol[:-1, :-1]).T
    half = coordinates.beta_map @ whitened * sigma_working
    return Solution(
        theta=read_only(np.concatenate([np.zeros(0), *thetas])),
        factors=tuple(
            read_only(structure.at_sigma(sigma).factor(theta).copy())
            for structure, theta in zip(criterion.structures, thetas, strict=True)
        ),
        beta=read_only(coordinates.coefficients(at.beta)),
        vcov=read_only(half @ half.T),
        sigma=sigma,
        deviance=at.deviance,
        eigenvalues=tuple(
            read_only(np.linalg.svd(factor[~structure.fixed], compute_uv=False) ** 2)
            for structure, factor in zip(criterion.structures, at.factors, strict=True)
        ),
        minimum=minimum,
        criterion=criterion,
    )


def polish(criterion: Engine, minimum: Minimum[Any]) -> Minimum[Any]:
    """Newton steps that the deviance is too flat to judge: each has to halve what the next one promises."""
    newton = minimum.derivatives.newton_step()
    for _ in range(POLISH_STEPS):
        if newton is None or not newton[1] > LAST_DIGIT:
            break
        theta = minimum.theta + newton[0]
        state = criterion.value(theta)
        derivatives = criterion.derivatives(state, theta)
        following = derivatives.newton_step()
        if following is None or not following[1] < CLOSER * newton[1]:
            break
        newton, evaluations = following, minimum.evaluations + 1
        minimum = replace(
            minimum, theta=theta, state=state, derivatives=derivatives, decrement=newton[1], evaluations=evaluations
        )
    return minimum


def polish_with_observed(criterion: Engine, minimum: Minimum[Any]) -> Minimum[Any]:
    """Newton steps with the observed information, which the average one only resembles, to the last digits."""
    for _ in range(OBSERVED_STEPS):
        if not len(minimum.theta):
            break
        hessian, _ = criterion.curvature(minimum.state, minimum.theta)
        newton = replace(minimum.derivatives, hessian=hessian).newton_step()
        if newton is None or not LEAST < newton[1] < NEAR:
            break
        theta = minimum.theta + newton[0]
        state = criterion.value(theta)
        if not state.deviance <= minimum.state.deviance + TOLERANCE:
            break
        minimum = replace(
            minimum, theta=theta, state=state, derivatives=criterion.derivatives(state, theta), decrement=newton[1],
            evaluations=minimum.evaluations + 1,
        )  # fmt: skip
    return minimum


def deviance_at(solution: Solution, theta: FloatArray) -> float:
    """Deviance at any relative covariance parameters (k,) in the units of the data.

    Raises
    ------
    CrosslevelError : a wrong number of parameters.
    """
    if theta.shape != solution.theta.shape:
        raise CrosslevelError(f"`theta` needs {len(solution.theta)} numbers for this model; got shape {theta.shape}.")
    criterion: Engine = solution.criterion
    factors, start = [], 0
    for structure, basis in zip(criterion.structures, criterion.bases, strict=True):
        factors.append(np.asarray(basis @ structure.factor(theta[start : start + structure.n_theta])))
        start += structure.n_theta
    at: At = criterion.at_factors(tuple(factors))
    return at.deviance


def conditional_modes(solution: Solution) -> tuple[tuple[FloatArray, FloatArray], ...]:
    """For each factor, conditional modes (J, q) and covariances (J, q, q), in the units of the data.

    b = Psi Z'V^-1 (y - X beta) and Var(b | y) = sigma^2 Lambda (I + Lambda'Z'Z Lambda)^-1 Lambda', at the estimates.
    """
    criterion, at = solution.criterion, solution.at
    out = []
    spread = criterion.conditional_covariances(at)
    for basis, modes, covariances in zip(criterion.bases, at.modes, spread, strict=True):
        back = np.linalg.inv(basis)
        in_units = back @ covariances @ back.T * solution.sigma**2
        out.append((read_only(modes @ back.T * criterion.coordinates.scale[-1]), read_only(in_units)))
    return tuple(out)


def read_only(array: FloatArray) -> FloatArray:
    """The same array, locked: frames made of it must not change the solution."""
    array.setflags(write=False)
    return array
