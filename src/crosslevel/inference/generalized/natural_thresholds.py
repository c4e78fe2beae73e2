"""The likelihood of ordered outcomes with its shape parameters as they are, so that thresholds are linear in them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crosslevel.design.response_rows import ResponseRows
from crosslevel.likelihood.generalized import GeneralizedCriterion, Layout, gradients_in_turn
from crosslevel.types import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class OutOfOrder:
    """Where thresholds are not in order, the deviance is infinite."""

    parameters: FloatArray
    deviance: float = np.inf


@dataclass(frozen=True, kw_only=True, eq=False)
class NaturalThresholds:
    """A criterion whose last parameters are 0 < c_1 < c_2 < ... instead of the logarithms of their increments.

    States are those of the inner criterion. See `likelihood.generalized.GeneralizedCriterion`.

    Attributes
    ----------
    inner : the criterion with unconstrained shape parameters.
    """

    inner: GeneralizedCriterion = field(repr=False)

    @property
    def rows(self) -> ResponseRows:
        """The data."""
        return self.inner.rows

    @property
    def layout(self) -> Layout:
        """Where the parameters stand."""
        return self.inner.layout

    @property
    def nodes(self) -> int:
        """Quadrature nodes per dimension."""
        return self.inner.nodes

    def natural(self, parameters: FloatArray) -> FloatArray:
        """Parameters (K,) of this criterion, from those of the inner one."""
        out = parameters.copy()
        out[self.layout.shape] = self.rows.family.shape(parameters[self.layout.shape])
        return out

    def value(self, parameters: FloatArray, near: Any = None) -> Any:
        """State at parameters (K,)."""
        shape = parameters[self.layout.shape]
        if np.any(np.diff(shape, prepend=0.0) <= 0.0):
            return OutOfOrder(parameters=parameters)
        working = parameters.copy()
        working[self.layout.shape] = self.rows.family.working_shape(shape)
        return self.inner.value(working, near)

    def gradient(self, at: Any) -> FloatArray:
        """Derivative (K,) of the deviance."""
        return np.asarray(np.linalg.solve(self._turn(at).T, self.inner.gradient(at)))

    def gradients(self, parameters: FloatArray, near: Any) -> FloatArray:
        """Derivatives (B, K) of the deviance at parameters (B, K) near a state; NaN where it is infinite."""
        return gradients_in_turn(self, parameters, near)

    def information(self, at: Any) -> FloatArray:
        """Approximation (K, K) of the deviance's Hessian."""
        turn = self._turn(at).T
        half = np.linalg.solve(turn, self.inner.information(at))
        return np.asarray(np.linalg.solve(turn, half.T).T)

    def _turn(self, at: Any) -> FloatArray:
        """(K, K) derivatives of these parameters in the inner ones."""
        out, part = np.eye(self.layout.size), self.layout.shape
        out[part, part] = self.rows.family.shape_jacobian(at.parameters[part])
        return out

    def psi_scores(self, at: Any) -> tuple[FloatArray, ...]:
        """For each factor (q, q) the derivative of the deviance in Psi."""
        return self.inner.psi_scores(at)

    def scores(self, at: Any, codes: IntArray, n_groups: int) -> FloatArray:
        """Derivatives (n_groups, K) of the log-likelihood by groups of rows."""
        return np.asarray(np.linalg.solve(self._turn(at).T, self.inner.scores(at, codes, n_groups).T).T)

    def modes(self, at: Any) -> tuple[FloatArray, ...]:
        """For each factor (J, q) working random effects at the modes."""
        return self.inner.modes(at)

    def conditional_covariances(self, at: Any) -> tuple[FloatArray, ...]:
        """For each factor (J, q, q) conditional covariances of the working random effects."""
        return self.inner.conditional_covariances(at)

    def with_nodes(self, nodes: int) -> "NaturalThresholds":
        """The same model with another number of quadrature nodes."""
        return NaturalThresholds(inner=self.inner.with_nodes(nodes))

    def with_rows(self, rows: ResponseRows) -> "NaturalThresholds":
        """The same approximation for other rows."""
        return NaturalThresholds(inner=self.inner.with_rows(rows))
