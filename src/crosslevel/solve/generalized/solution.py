"""What the search for the optimum of a generalized linear mixed model ends with, in the units of the data."""

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from crosslevel.likelihood.generalized import GeneralizedCriterion, GeneralizedState
from crosslevel.optimise import Minimum, Status
from crosslevel.prior import Weak
from crosslevel.solve.solution import NEGLIGIBLE
from crosslevel.types import FloatArray

Approximation: TypeAlias = Literal["laplace", "adaptive", "pql", "mql"]
"""How the random effects were integrated out: `adaptive` is adaptive Gauss-Hermite quadrature."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Quadrature:
    """How the random effects were integrated out, and what that leaves uncertain.

    Attributes
    ----------
    kind : the approximation that was maximised. PQL and MQL maximise none of the likelihood itself.
    nodes : quadrature nodes per random effect; 1 for the Laplace approximation.
    chosen : whether the nodes were raised until the log-likelihood was stable, because `quadrature="auto"` was asked.
    laplace_deviance : -2 log-likelihood by the Laplace approximation at the estimates.
    difference : by how much the Laplace approximation's log-likelihood differs there from the one with these nodes,
        Laplace less quadrature; NaN where quadrature is impossible.
    laplace_shift : largest difference of a coefficient between the Laplace and the final estimates, in standard errors
        of the latter; NaN where they were not both computed.
    change : change of the log-likelihood with more nodes at the estimates; NaN where that was not tried.
    stable : whether that is below 1e-4; None where it was not tried.
    """

    kind: Approximation
    nodes: int
    chosen: bool
    laplace_deviance: float
    difference: float
    laplace_shift: float
    change: float
    stable: bool | None


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneralizedSolution:
    """A fitted generalized linear mixed model, in the units of the data.

    `parameters` (K,) are [theta, beta, shape] in working coordinates, see `likelihood.generalized`; `joint` (K,) are
    the same in the units of the data, where only the shape parameters still are the working, unconstrained ones.

    Attributes
    ----------
    theta : (k,) covariance parameters, factor by factor and block by block.
    factors : for each grouping factor (q, q) Lambda; the covariance of its random effects is Lambda Lambda'.
    beta, vcov : (p,) coefficients and (p, p) their covariance by the observed information.
    shape : (m,) natural shape parameters.
    deviance : -2 log-likelihood of the approximation at the estimates, without the prior; by Laplace after PQL or MQL.
    eigenvalues : for each factor (q,) of the covariance of the standardised random effects; zero means singular.
    parameters : (K,) in working coordinates.
    working_vcov : (K, K) their covariance; zero for directions of theta that are held on the boundary. NaN where the
        standard errors were not asked for.
    hessian : (K, K) of the criterion (deviance with prior) in the working parameters, from which it comes.
    joint, joint_vcov : (K,) and (K, K) in the units of the data.
    criterion : the likelihood, for whoever needs it elsewhere.
    minimum : the search's end.
    quadrature : how the random effects were integrated out.
    prior : the prior whose mode the estimates are; None for maximum likelihood.
    sigma : 1, so that factors are read as those of linear models.
    """

    theta: FloatArray
    factors: tuple[FloatArray, ...]
    beta: FloatArray
    vcov: FloatArray
    shape: FloatArray
    deviance: float
    eigenvalues: tuple[FloatArray, ...]
    parameters: FloatArray
    working_vcov: FloatArray = field(repr=False)
    hessian: FloatArray = field(repr=False)
    joint: FloatArray = field(repr=False)
    joint_vcov: FloatArray = field(repr=False)
    criterion: GeneralizedCriterion = field(repr=False)
    minimum: Minimum[Any] = field(repr=False)
    quadrature: Quadrature
    prior: Weak | None = None
    sigma: float = 1.0

    @property
    def state(self) -> GeneralizedState:
        """The criterion's state at the estimates: modes, linear predictor."""
        found: GeneralizedState = self.minimum.state
        return found

    @property
    def status(self) -> Status:
        """How the search ended."""
        return self.minimum.status

    @property
    def singular(self) -> tuple[bool, ...]:
        """For each factor, whether some combination of its random effects has no variance."""
        return tuple(bool((values < NEGLIGIBLE**2).any()) for values in self.eigenvalues)

    @property
    def is_singular(self) -> bool:
        """Whether some combination of the random effects of a factor has no variance."""
        return any(self.singular)
