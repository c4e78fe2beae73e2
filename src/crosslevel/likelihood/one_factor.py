"""Likelihood of a generalized linear mixed model with one grouping factor: Laplace, or adaptive quadrature.

The mathematics is told in `kernels.adaptive`; clusters are independent, and are worked on by several threads in parts
that do not depend on how many there are.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import product

import numpy as np
from scipy.special import roots_hermitenorm

from crosslevel.covariance import BlockStructure
from crosslevel.design.response_rows import ResponseRows, ResponseTerm
from crosslevel.kernels.adaptive import evaluate_clusters
from crosslevel.likelihood.generalized import Layout, gradients_in_turn
from crosslevel.likelihood.working_model import working_information
from crosslevel.types import FloatArray, IntArray

PART = 8192
"""Rows, about, of the parts that clusters are divided into for the threads."""

WORTH = 60_000
"""Rows times nodes below which threads cost more than they save."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OneFactorState:
    """A likelihood with one grouping factor at one parameter vector.

    Attributes
    ----------
    parameters : (K,) [theta, beta, shape].
    factor : (q, q) Lambda.
    shape : (m,) natural shape parameters.
    deviance : -2 log-likelihood; infinite where some cluster's mode was not found.
    y : (n,) the outcome, by which states of the same rows are known.
    mode : (J, q) u.
    eta, first, second, third : (n,) linear predictor, and weighted derivatives l', l'', l''' of each row at the modes.
    gradients, squares, chol : (J, q) Z'l', (J, q, q) A = Z'WZ, (J, q, q) Cholesky factor of I + Lambda'A Lambda there.
    tilt : (J, q) sums of z times the derivative of log|I + Lambda'A Lambda| in each row's linear predictor.
    by_cluster : (J,) deviance of each cluster, without the constant.
    row_gradient, lambda_gradient, shape_gradient : (n,), (J, q, q), (J, m) derivatives of the deviance in each row's
        linear predictor without random effects, in Lambda, and in the natural shape parameters, by cluster.
    """

    parameters: FloatArray
    factor: FloatArray
    shape: FloatArray
    deviance: float
    y: FloatArray
    mode: FloatArray
    eta: FloatArray
    first: FloatArray
    second: FloatArray
    third: FloatArray
    gradients: FloatArray
    squares: FloatArray
    chol: FloatArray
    tilt: FloatArray
    by_cluster: FloatArray
    row_gradient: FloatArray
    lambda_gradient: FloatArray
    shape_gradient: FloatArray

    @property
    def factors(self) -> tuple[FloatArray]:
        """Lambda of the one grouping factor."""
        return (self.factor,)

    @property
    def u(self) -> tuple[FloatArray]:
        """(J, q) modes of u."""
        return (self.mode,)


@dataclass(frozen=True, kw_only=True, eq=False)
class OneFactorLikelihood:
    """Deviance of a generalized linear mixed model with one grouping factor, and its derivatives.

    Attributes
    ----------
    rows : the data, sorted by cluster.
    nodes : quadrature nodes per random effect; 1 is Laplace's approximation.
    threads : how many may work at a time; as many as there are processors if None. Results do not depend on it.
    """

    rows: ResponseRows
    nodes: int = 1
    threads: int | None = None

    @cached_property
    def layout(self) -> Layout:
        """Where the parameters stand."""
        return Layout.of(self.rows)

    @property
    def term(self) -> ResponseTerm:
        """The random effects."""
        return self.rows.terms[0]

    @property
    def structure(self) -> BlockStructure:
        """Blocks of the random effects."""
        return self.term.structure

    @cached_property
    def z(self) -> FloatArray:
        """(q, n) columns of the random effects."""
        return np.ascontiguousarray(self.term.z.T)

    @cached_property
    def start(self) -> IntArray:
        """(J + 1,) where each cluster's rows start."""
        assert self.rows.start is not None
        return np.ascontiguousarray(self.rows.start, dtype=np.int64)

    @cached_property
    def parts(self) -> IntArray:
        """(r, 2) first clusters of the parts, and those after their last ones."""
        n_parts = max(1, self.rows.n // PART)
        bounds = np.searchsorted(self.start, np.linspace(0, self.rows.n, n_parts + 1)[1:-1])
        bounds = np.unique(np.concatenate([[0], bounds, [self.term.n_levels]]))
        return np.ascontiguousarray(np.column_stack([bounds[:-1], bounds[1:]]), dtype=np.int64)

    def value(self, parameters: FloatArray, near: OneFactorState | None = None) -> OneFactorState:
        """Deviance and its derivatives at `parameters` (K,); the search for the modes starts at those of `near`."""
        state = self._evaluated(parameters, near)
        if near is not None and not np.isfinite(state.deviance):
            state = self._evaluated(parameters, None)
        return state

    def _evaluated(self, parameters: FloatArray, near: OneFactorState | None) -> OneFactorState:
        """State at `parameters`, from the modes of another or from zero."""
        rows, layout, term = self.rows, self.layout, self.term
        parameters = np.array(parameters, dtype=np.float64)
        factor = self._factor(parameters[layout.theta])
        shape = np.ascontiguousarray(rows.family.shape(parameters[layout.shape]), dtype=np.float64)
        eta0 = self._predictor(parameters)
        n, (j, q), m = rows.n, (term.n_levels, term.q), layout.m
        known = near is not None and near.y is rows.y
        value, (third, row_gradient) = np.empty(n), np.zeros((2, n))
        if near is not None and known:
            eta, first, second = near.eta.copy(), near.first.copy(), near.second.copy()
        else:
            eta, first, second = np.zeros((3, n))
        mode = np.zeros((j, q)) if near is None else near.mode.copy()
        by_cluster, minimum = np.zeros((2, j))
        (gradients, tilt), (squares, chol, lambda_gradient) = np.zeros((2, j, q)), np.zeros((3, j, q, q))
        shape_gradient = np.zeros((j, m))
        nodes, log_weights = product_grid(self.nodes, q)

        def work(part: IntArray) -> None:
            evaluate_clusters(
                rows.family.code, shape, rows.y, rows.size, rows.weight, eta0, self.z, self.start, term.weight, part,
                factor, nodes, log_weights, known, mode, eta, value, first, second, third, gradients, squares, chol,
                minimum, tilt, by_cluster, row_gradient, lambda_gradient, shape_gradient,
            )  # fmt: skip

        self._in_parts(work, len(log_weights))
        return OneFactorState(
            parameters=parameters, factor=factor, shape=shape,
            deviance=float(by_cluster.sum() - 2.0 * rows.constant), y=rows.y, mode=mode, eta=eta, first=first,
            second=second, third=third, gradients=gradients, squares=squares, chol=chol, tilt=tilt,
            by_cluster=by_cluster, row_gradient=row_gradient, lambda_gradient=lambda_gradient,
            shape_gradient=shape_gradient,
        )  # fmt: skip

    def _predictor(self, parameters: FloatArray) -> FloatArray:
        """(n,) linear predictor without random effects."""
        out = self.rows.x @ parameters[self.layout.beta]
        out += self.rows.offset
        return np.asarray(out)

    def _is_small(self, n_nodes: int) -> bool:
        """Whether threads would cost more than they save."""
        return self.rows.n * n_nodes < WORTH or len(self.parts) == 1

    def _in_parts(self, work: Callable[[IntArray], None], n_nodes: int) -> None:
        """Do the work of all parts, in threads where it is worth while."""
        threads = 1 if self._is_small(n_nodes) else available() if self.threads is None else self.threads
        if threads == 1:
            work(np.array([0, self.term.n_levels]))
            return
        with ThreadPoolExecutor(min(threads, len(self.parts))) as pool:
            list(pool.map(work, self.parts))

    def gradient(self, at: OneFactorState) -> FloatArray:
        """Derivative (K,) of the deviance in the parameters."""
        layout, family = self.layout, self.rows.family
        out = np.empty(layout.size)
        out[layout.theta] = self._factor_changes(at.parameters) @ at.lambda_gradient.sum(axis=0).ravel()
        out[layout.beta] = at.row_gradient @ self.rows.x
        if layout.m:
            out[layout.shape] = at.shape_gradient.sum(axis=0) @ family.shape_jacobian(at.parameters[layout.shape])
        return out

    def gradients(self, parameters: FloatArray, near: OneFactorState) -> FloatArray:
        """Derivatives (B, K) of the deviance at parameters (B, K) near a state; NaN where it is infinite.

        Where rows are few, what is around the kernel takes as long as the kernel, so it is done once for all.
        """
        rows, layout, term = self.rows, self.layout, self.term
        nodes, log_weights = product_grid(self.nodes, term.q)
        if not self._is_small(len(log_weights)):
            return gradients_in_turn(self, parameters, near)
        n_points, n, (j, q), m = len(parameters), rows.n, (term.n_levels, term.q), layout.m
        eta0 = parameters[:, layout.beta] @ rows.x.T + rows.offset
        by_row, by_cluster, by_shape = np.zeros((n_points, n)), np.zeros((n_points, j)), np.zeros((n_points, j, m))
        by_lambda, known, every = np.zeros((n_points, j, q, q)), near.y is rows.y, np.array([0, j])
        (eta, first, second, value, third), mode = np.zeros((5, n)), np.empty((j, q))
        slopes, tilt, squares, chol, minimum = *np.zeros((2, j, q)), *np.zeros((2, j, q, q)), np.zeros(j)
        for b, own in enumerate(parameters):
            for work, start in ((mode, near.mode), (eta, near.eta), (first, near.first), (second, near.second)):
                np.copyto(work, start)
            shape = np.ascontiguousarray(rows.family.shape(own[layout.shape]), dtype=np.float64)
            evaluate_clusters(
                rows.family.code, shape, rows.y, rows.size, rows.weight, eta0[b], self.z, self.start, term.weight,
                every, self._factor(own[layout.theta]), nodes, log_weights, known, mode, eta, value, first, second,
                third, slopes, squares, chol, minimum, tilt, by_cluster[b], by_row[b], by_lambda[b], by_shape[b],
            )  # fmt: skip
        out = np.empty((n_points, layout.size))
        out[:, layout.beta] = by_row @ rows.x
        for b, (own, lambda_sum, shape_sum) in enumerate(
            zip(parameters, by_lambda.sum(axis=1), by_shape.sum(axis=1), strict=True)
        ):
            out[b, layout.theta] = self._factor_changes(own) @ lambda_sum.ravel()
            if m:
                out[b, layout.shape] = shape_sum @ rows.family.shape_jacobian(own[layout.shape])
        out[~np.isfinite(by_cluster.sum(axis=1))] = np.nan
        return out

    def _factor(self, theta: FloatArray) -> FloatArray:
        """Lambda (q, q) at theta (k,)."""
        if not self.structure.linear:
            return np.ascontiguousarray(self.structure.factor(theta))
        return self._factor_at_zero + (theta @ self._constant_changes).reshape(self._factor_at_zero.shape)

    @cached_property
    def _factor_at_zero(self) -> FloatArray:
        """Lambda (q, q) at theta = 0, where it is linear in theta."""
        return np.ascontiguousarray(self.structure.factor(np.zeros(self.layout.k)))

    def _factor_changes(self, parameters: FloatArray) -> FloatArray:
        """Derivative of Lambda in theta (k, q * q)."""
        return self._constant_changes if self.structure.linear else self._changes(parameters[self.layout.theta])

    @cached_property
    def _constant_changes(self) -> FloatArray:
        """The same at any theta, where Lambda is linear in it."""
        return self._changes(np.ones(self.layout.k))

    def _changes(self, theta: FloatArray) -> FloatArray:
        """Derivative of Lambda in theta (k, q * q) at theta (k,)."""
        return self.structure.factor_gradient(theta).reshape(self.layout.k, self.structure.q**2)

    def information(self, at: OneFactorState) -> FloatArray:
        """Information (K, K) of the working linear mixed model at the modes, positive semi-definite."""
        return working_information(self.rows, self.z, self.start, at, self.layout, self._laplace_scores(at))

    def psi_scores(self, at: OneFactorState) -> tuple[FloatArray]:
        """(q, q) derivative of the deviance in Psi: the sum of P - g g' + sym((I + A Psi)^-1 Z'a g'), or by quadrature.

        With P = A - A B A; by quadrature it is the average of A - g g' over the nodes, which is that of the integral.
        """
        return (self._node_scores(at) if self.nodes > 1 else self._laplace_scores(at),)

    def _laplace_scores(self, at: OneFactorState) -> FloatArray:
        """Derivative (q, q) of Laplace's deviance in Psi; close to it where the state is of several nodes."""
        from crosslevel.kernels.working_model import add_scores

        out = np.zeros_like(at.factor)
        add_scores(at.factor, at.gradients, at.squares, at.chol, at.tilt, self.term.weight, out)
        return 0.5 * (out + out.T)

    def _node_scores(self, at: OneFactorState) -> FloatArray:
        """Sum over clusters (q, q) of the average of Z'WZ - Z'l' l''Z over the nodes."""
        from crosslevel.kernels.node_scores import average_scores

        rows, term = self.rows, self.term
        nodes, log_weights = product_grid(self.nodes, term.q)
        eta0 = self._predictor(at.parameters)
        out = np.zeros((term.n_levels, term.q, term.q))

        def work(part: IntArray) -> None:
            average_scores(
                rows.family.code, at.shape, rows.y, rows.size, rows.weight, eta0, self.z, self.start, term.weight, part,
                at.factor, at.chol, at.mode, nodes, log_weights, out,
            )  # fmt: skip

        self._in_parts(work, len(log_weights))
        return np.asarray(out.sum(axis=0))

    def scores(self, at: OneFactorState, codes: IntArray, n_groups: int) -> FloatArray:
        """Derivatives (n_groups, K) of the log-likelihood, by groups (n,) of rows in the order of the data."""
        layout = self.layout
        own = np.asarray(codes)[self.rows.order]
        n_levels = self.term.n_levels
        has_rows = np.diff(self.start) > 0
        groups = own[self.start[:-1][has_rows]]
        by_factor = self._factor_changes(at.parameters)
        jacobian = self.rows.family.shape_jacobian(at.parameters[layout.shape])
        out = np.zeros((n_groups, layout.size))
        by_level = np.hstack([at.lambda_gradient.reshape(n_levels, -1) @ by_factor.T, at.shape_gradient @ jacobian])
        columns = [*range(layout.k), *range(layout.k + layout.p, layout.size)]
        for column, values in zip(columns, by_level[has_rows].T, strict=True):
            out[:, column] = np.bincount(groups, values, n_groups)
        for j in range(layout.p):
            out[:, layout.k + j] = np.bincount(own, at.row_gradient * self.rows.x[:, j], n_groups)
        return -0.5 * out

    def modes(self, at: OneFactorState) -> tuple[FloatArray]:
        """(J, q) working random effects b = Lambda u at the modes."""
        return (at.mode @ at.factor.T,)

    def conditional_covariances(self, at: OneFactorState) -> tuple[FloatArray]:
        """(J, q, q) Lambda H^-1 Lambda' at the modes."""
        half = np.linalg.solve(at.chol, np.broadcast_to(at.factor.T, at.chol.shape))
        return (np.asarray(half.transpose(0, 2, 1) @ half),)

    def with_nodes(self, nodes: int) -> "OneFactorLikelihood":
        """The same model with another number of quadrature nodes per random effect."""
        return self if nodes == self.nodes else replace(self, nodes=nodes)

    def with_rows(self, rows: ResponseRows) -> "OneFactorLikelihood":
        """The same approximation for other rows, or other weights of these."""
        return replace(self, rows=rows)


def available() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


@lru_cache(maxsize=64)
def product_grid(nodes: int, q: int) -> tuple[FloatArray, FloatArray]:
    """Nodes (N, q) of the Gauss-Hermite product rule of the standard normal, and log w + z'z / 2 (N,).

    Nodes whose weight is zero in double precision are left out.
    """
    points, weights = roots_hermitenorm(nodes)
    kept = weights > 0.0
    points, log_weights = points[kept], np.log(weights[kept] / weights.sum()) + 0.5 * points[kept] ** 2
    grid = np.array(list(product(points, repeat=q)))
    logs = np.array([sum(each) for each in product(log_weights, repeat=q)])
    grid.setflags(write=False)
    logs.setflags(write=False)
    return grid, logs
