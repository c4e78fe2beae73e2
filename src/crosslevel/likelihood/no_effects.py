"""The likelihood of a generalized linear model without random effects, in the shape of those that have them."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from crosslevel.design.response_rows import ResponseRows
from crosslevel.likelihood.generalized import Layout, gradients_in_turn
from crosslevel.types import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class FixedState:
    """The likelihood at one parameter vector; see `likelihood.generalized.GeneralizedState`.

    Attributes
    ----------
    terms : (3, n) log densities less their constants, and their first two derivatives in eta, all times the weights.
    """

    parameters: FloatArray
    deviance: float
    eta: FloatArray
    shape: FloatArray
    terms: FloatArray
    factors: tuple[FloatArray, ...] = ()
    u: tuple[FloatArray, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class FixedLikelihood:
    """D = -2 sum_i w_i log f(y_i | eta_i, shape) with eta = offset + X beta, on the parameters [beta, shape].

    Attributes
    ----------
    rows : the data, without random terms.
    """

    rows: ResponseRows
    nodes: int = 1

    @classmethod
    def of(cls, rows: ResponseRows) -> "FixedLikelihood":
        """The likelihood of rows whose random effects are left out, weighted as they are with them."""
        return cls(rows=replace(rows, terms=(), start=None, weight=rows.counted))

    @cached_property
    def layout(self) -> Layout:
        """Where the parameters stand; there is no theta."""
        return Layout.of(self.rows)

    def value(self, parameters: FloatArray, near: Any = None) -> FixedState:
        """State at `parameters` (p + m,)."""
        from crosslevel.kernels.responses import fill_terms

        rows = self.rows
        eta = rows.offset + rows.x @ parameters[self.layout.beta]
        shape = rows.family.shape(parameters[self.layout.shape]) if self.layout.m else parameters[:0]
        terms = np.empty((3, rows.n))
        fill_terms(rows.family.code, rows.y, rows.size, rows.weight, eta, shape, terms)
        deviance = -2.0 * (float(terms[0].sum()) + rows.constant)
        return FixedState(
            parameters=parameters, deviance=deviance if np.isfinite(deviance) else np.inf, eta=eta, shape=shape,
            terms=terms,
        )  # fmt: skip

    def row_scores(self, at: FixedState) -> FloatArray:
        """Derivatives (n, p + m) of every row's weighted log density in the parameters."""
        rows = self.rows
        scores = rows.x * at.terms[1][:, None]
        if not self.layout.m:
            return np.asarray(scores)
        jacobian = rows.family.shape_jacobian(at.parameters[self.layout.shape])
        return np.asarray(np.hstack([scores, self._by_shape(at)[:, 0] @ jacobian]))

    def _by_shape(self, at: FixedState) -> FloatArray:
        """(n, 3, m) derivatives of the weighted log density and its derivatives in the natural shape parameters."""
        from crosslevel.kernels.responses import fill_by_shape

        rows = self.rows
        out = np.empty((rows.n, 3, self.layout.m))
        fill_by_shape(rows.family.code, rows.y, rows.size, rows.weight, at.eta, at.shape, out)
        return out

    def gradient(self, at: FixedState) -> FloatArray:
        """Derivative (p + m,) of the deviance."""
        out = np.empty(self.layout.size)
        out[self.layout.beta] = -2.0 * (at.terms[1] @ self.rows.x)
        if self.layout.m:
            jacobian = self.rows.family.shape_jacobian(at.parameters[self.layout.shape])
            out[self.layout.shape] = -2.0 * (self._by_shape(at)[:, 0].sum(axis=0) @ jacobian)
        return out

    def gradients(self, parameters: FloatArray, near: FixedState) -> FloatArray:
        """Derivatives (B, K) of the deviance at parameters (B, K) near a state; NaN where it is infinite."""
        return gradients_in_turn(self, parameters, near)

    def information(self, at: FixedState) -> FloatArray:
        """2 X'WX for beta; for the shape twice the sum of the outer products of the rows' scores."""
        x = self.rows.x
        out = np.zeros((self.layout.size, self.layout.size))
        weight = np.maximum(-at.terms[2], 0.0)
        out[self.layout.beta, self.layout.beta] = 2.0 * (x * weight[:, None]).T @ x
        if self.layout.m:
            own = self.row_scores(at)[:, self.layout.shape]
            counted = np.where(self.rows.weight > 0.0, self.rows.weight, 1.0)
            out[self.layout.shape, self.layout.shape] = 2.0 * (own / counted[:, None]).T @ own
        return out

    def psi_scores(self, at: FixedState) -> tuple[FloatArray, ...]:
        """None: there are no random effects."""
        return ()

    def scores(self, at: FixedState, codes: IntArray, n_groups: int) -> FloatArray:
        """Derivatives (n_groups, p + m) of the log-likelihood by groups of rows (n,), in the order of the data."""
        out = np.zeros((n_groups, self.layout.size))
        np.add.at(out, codes[self.rows.order], self.row_scores(at))
        return out

    def modes(self, at: FixedState) -> tuple[FloatArray, ...]:
        """None: there are no random effects."""
        return ()

    def conditional_covariances(self, at: FixedState) -> tuple[FloatArray, ...]:
        """None: there are no random effects."""
        return ()

    def with_nodes(self, nodes: int) -> "FixedLikelihood":
        """The same: there is nothing to integrate."""
        return self

    def with_rows(self, rows: ResponseRows) -> "FixedLikelihood":
        """The likelihood of other rows."""
        return FixedLikelihood.of(rows)
