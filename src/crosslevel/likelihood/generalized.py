"""What every likelihood of a generalized linear mixed model can be asked for, whichever way it integrates.

With u ~ N(0, I) and Lambda_k the covariance factor of grouping factor k, the linear predictor is

    eta = offset + X beta + sum_k Z_k Lambda_k u_k,

and D = -2 log-likelihood, with all constants. Parameters are [theta, beta, shape], all in working coordinates: theta
makes the Lambdas, beta belongs to centred and scaled columns, and shape is free of bounds.
"""

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Protocol, Self

import numpy as np

from crosslevel.design.response_rows import ResponseRows
from crosslevel.types import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """Where the parts of the parameter vector stand.

    Attributes
    ----------
    k, p, m : numbers of covariance parameters theta, of coefficients beta and of shape parameters.
    parts : for each grouping factor, which elements of theta are its own.
    """

    k: int
    p: int
    m: int
    parts: tuple[slice, ...] = ()

    @classmethod
    def of(cls, rows: ResponseRows) -> "Layout":
        """Layout of the parameters of a model with these rows."""
        ends = tuple(accumulate((structure.n_theta for structure in rows.structures), initial=0))
        parts, k = tuple(slice(a, b) for a, b in pairwise(ends)), ends[-1]
        return cls(k=k, p=rows.x.shape[1], m=rows.family.n_shape(rows.n_categories), parts=parts)

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.k + self.p + self.m

    @property
    def theta(self) -> slice:
        """Where theta stands."""
        return slice(0, self.k)

    @property
    def beta(self) -> slice:
        """Where beta stands."""
        return slice(self.k, self.k + self.p)

    @property
    def shape(self) -> slice:
        """Where the shape parameters stand."""
        return slice(self.k + self.p, self.size)


class GeneralizedState(Protocol):
    """A generalized criterion at one parameter vector. Engines have more in theirs, for the derivatives.

    Attributes
    ----------
    parameters : (K,) [theta, beta, shape].
    factors : for each grouping factor (q, q) Lambda.
    deviance : -2 log-likelihood by the criterion's approximation; infinite where it cannot be computed.
    u : for each factor (J, q) modes of u given the data.
    eta : (n,) linear predictor at the modes, in the order of the criterion's rows.
    shape : (m,) natural shape parameters.
    """

    @property
    def parameters(self) -> FloatArray: ...  # noqa: D102

    @property
    def factors(self) -> tuple[FloatArray, ...]: ...  # noqa: D102

    @property
    def deviance(self) -> float: ...  # noqa: D102

    @property
    def u(self) -> tuple[FloatArray, ...]: ...  # noqa: D102

    @property
    def eta(self) -> FloatArray: ...  # noqa: D102

    @property
    def shape(self) -> FloatArray: ...  # noqa: D102


class GeneralizedCriterion(Protocol):
    """An approximation of the log-likelihood of a generalized linear mixed model, and its derivatives.

    States `at` are the criterion's own, from `value`.

    Attributes
    ----------
    rows : the data.
    layout : where the parameters stand.
    nodes : quadrature nodes per dimension, 1 for the Laplace approximation.
    """

    @property
    def rows(self) -> ResponseRows: ...  # noqa: D102

    @property
    def layout(self) -> Layout: ...  # noqa: D102

    @property
    def nodes(self) -> int: ...  # noqa: D102

    def value(self, parameters: FloatArray, near: Any = None) -> GeneralizedState:
        """State at `parameters` (K,); the search for the modes starts at those of `near`."""
        ...

    def gradient(self, at: Any) -> FloatArray:
        """Derivative (K,) of the deviance in the parameters, exact."""
        ...

    def gradients(self, parameters: FloatArray, near: Any) -> FloatArray:
        """Derivatives (B, K) at parameters (B, K) close to those of a state; NaN where the deviance is infinite."""
        ...

    def information(self, at: Any) -> FloatArray:
        """Positive semi-definite approximation (K, K) of the deviance's Hessian, cheap."""
        ...

    def psi_scores(self, at: Any) -> tuple[FloatArray, ...]:
        """For each factor (q, q) the derivative of the deviance in Psi, also where Psi is singular."""
        ...

    def scores(self, at: Any, codes: IntArray, n_groups: int) -> FloatArray:
        """Derivatives (n_groups, K) of the log-likelihood, by independent groups of rows.

        `codes` (n,) are the rows' groups in the order of the data; random effects do not cross groups.
        """
        ...

    def modes(self, at: Any) -> tuple[FloatArray, ...]:
        """For each factor (J, q) working random effects b = Lambda u at the modes."""
        ...

    def conditional_covariances(self, at: Any) -> tuple[FloatArray, ...]:
        """For each factor (J, q, q) conditional covariances of the working random effects b."""
        ...

    def with_nodes(self, nodes: int) -> Self:
        """The same model with another number of quadrature nodes per dimension."""
        ...

    def with_rows(self, rows: ResponseRows) -> Self:
        """The same approximation for other rows, or other weights of these."""
        ...


def gradients_in_turn(criterion: GeneralizedCriterion, parameters: FloatArray, near: Any) -> FloatArray:
    """`GeneralizedCriterion.gradients`, one parameter vector after another."""
    out = np.full(parameters.shape, np.nan)
    for own, row in zip(parameters, out, strict=True):
        at = criterion.value(own, near)
        if np.isfinite(at.deviance):
            row[:] = criterion.gradient(at)
    return out
