"""The numerical factor of M = I + Lambda'A Lambda over the random effects of all factors, and its inverse's pattern."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from crosslevel.design.crossing import Crossing
from crosslevel.likelihood.elimination import EliminationPlan
from crosslevel.types import FloatArray

CROWDED, AT_ONCE = 0.15, 256
"""Where nodes touch more than this share of the dense part, its updates are products of whole matrices, so many nodes
at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PatternInverse:
    """M^-1 where the factor has its pattern: flat diagonal blocks, flat rows, and the dense part (lower triangle)."""

    plan: EliminationPlan
    diagonal: FloatArray
    rows: FloatArray
    dense: FloatArray

    def blocks(self, factor: int) -> FloatArray:
        """[M^-1]_jj of a factor's levels, (J, q, q)."""
        from crosslevel.kernels.crossed import gather_blocks

        place, q = self.plan.places[factor], self.plan.sizes[factor]
        out = np.empty((self.plan.counts[factor], q, q))
        buffer = self.dense.reshape(-1) if place.dense else self.diagonal
        gather_blocks(buffer, place.base, place.step, place.stride, out)
        return out

    def buffer(self, *, dense: bool) -> FloatArray:
        """The flat buffer in which pairs of levels have their blocks."""
        return self.dense.reshape(-1) if dense else self.rows


@dataclass(frozen=True, kw_only=True, eq=False)
class Factorised:
    """L with L L' = M, for one Lambda.

    Attributes
    ----------
    plan : the symbolic analysis.
    weights : for each factor (J,) how often each level counts.
    weight : (m,) the same of the eliminated levels.
    diagonal, rows : T and V of the eliminated levels, see `kernels.elimination`.
    dense : (D, D) Cholesky factor of what remains, lower triangle; NaN if it has none.
    log_det : weighted log|M|.
    """

    plan: EliminationPlan
    weights: tuple[FloatArray, ...]
    weight: FloatArray
    diagonal: FloatArray
    rows: FloatArray
    dense: FloatArray
    log_det: float

    @cached_property
    def copied(self) -> tuple[bool, ...]:
        """For each factor, whether some level counts more or less than once."""
        return tuple(bool(np.any(weight != 1.0)) for weight in self.weights)

    def forward(self, x: FloatArray) -> FloatArray:
        """L^-1 x for x (N, r), overwritten."""
        from crosslevel.kernels.elimination import forward_substitute

        symbolic = self.plan.symbolic
        if symbolic.complete:
            lead = x[: self.plan.n_lead]
            lead /= self.diagonal[:, None]
            x[self.plan.n_lead :] -= self._matrix.T @ (self.weight[:, None] * lead)
        else:
            forward_substitute(*symbolic.arrays, symbolic.owner, self.weight, self.diagonal, self.rows, x)
        self._solve_dense(x, transposed=False)
        return x

    def backward(self, x: FloatArray) -> FloatArray:
        """L^-T x for x (N, r), overwritten."""
        from crosslevel.kernels.elimination import back_substitute

        self._solve_dense(x, transposed=True)
        if self.plan.symbolic.complete:
            lead = x[: self.plan.n_lead]
            lead -= self._matrix @ x[self.plan.n_lead :]
            lead /= self.diagonal[:, None]
        else:
            back_substitute(*self.plan.symbolic.arrays, self.diagonal, self.rows, x)
        return x

    @property
    def _matrix(self) -> FloatArray:
        """V (m, D), where it is a matrix as it lies; see `Symbolic.complete`."""
        return self.rows.reshape(-1, self.plan.n_dense)

    def _solve_dense(self, x: FloatArray, *, transposed: bool) -> None:
        """Solve for the dense part's rows of x (N, r) in place."""
        from scipy.linalg.lapack import dtrtrs

        if self.plan.n_dense and x.shape[1]:
            rest = x[self.plan.n_lead :]
            # LAPACK reads columns first: its upper triangle is our lower one
            rest[:], _ = dtrtrs(self.dense.T, rest, lower=0, trans=0 if transposed else 1)

    def inner(self, left: FloatArray, right: FloatArray) -> FloatArray:
        """Inner products (r, s) of the columns of (N, r) and (N, s), all copies of a level counted."""
        weighted = right
        for k, weight in enumerate(self.weights):
            if self.copied[k]:
                rows = self.plan.rows(k)
                weighted = right.copy() if weighted is right else weighted
                weighted[rows] *= np.repeat(weight, self.plan.sizes[k])[:, None]
        return np.asarray(left.T @ weighted)

    def _multiply_dense(self, dense: FloatArray, rows_out: FloatArray) -> None:
        """V times the dense part (D, D) of M^-1, added to zeros."""
        from scipy.linalg.blas import dsymm

        from crosslevel.kernels.elimination import multiply_dense
        from crosslevel.kernels.spread import collect_rows

        symbolic = self.plan.symbolic
        if symbolic.density > CROWDED:
            for nodes, matrix in _spread(self.plan, self.rows):
                product = dsymm(1.0, dense.T, matrix.T, lower=0).T
                if symbolic.complete:
                    rows_out.reshape(product.shape)[:] = product
                else:
                    collect_rows(*symbolic.arrays[:4], nodes.start, nodes.stop, product, rows_out)
        else:
            multiply_dense(*symbolic.arrays[:4], *symbolic.dense_arrays, self.rows, dense, rows_out)

    def inverse(self) -> PatternInverse:
        """M^-1 on the factor's pattern."""
        from scipy.linalg.lapack import dpotri

        from crosslevel.kernels.elimination import invert_pattern

        symbolic, dense = self.plan.symbolic, self.dense
        diagonal, rows = np.empty_like(self.diagonal), np.zeros_like(self.rows)
        if self.plan.n_dense:
            dense = dense.copy()
            dpotri(dense.T, lower=0, overwrite_c=1)
            self._multiply_dense(dense, rows)
        invert_pattern(*symbolic.arrays, symbolic.owner, self.diagonal, self.rows, diagonal, rows)
        return PatternInverse(plan=self.plan, diagonal=diagonal, rows=rows, dense=dense)


def _spread(plan: EliminationPlan, rows: FloatArray) -> Iterator[tuple[slice, FloatArray]]:
    """V on the dense part, as matrices (columns of some nodes, D), which are not to be written to."""
    from crosslevel.kernels.spread import spread_rows

    symbolic = plan.symbolic
    if symbolic.complete:
        yield slice(0, len(symbolic.row_start)), rows.reshape(-1, plan.n_dense)
        return
    for begin in range(0, len(symbolic.row_start), AT_ONCE):
        end = min(begin + AT_ONCE, len(symbolic.row_start))
        matrix = np.zeros((int(symbolic.first[end] - symbolic.first[begin]), plan.n_dense))
        spread_rows(*symbolic.arrays[:4], begin, end, rows, matrix)
        yield slice(begin, end), matrix


def factorise(
    crossing: Crossing, plan: EliminationPlan, weights: tuple[FloatArray, ...], factors: tuple[FloatArray, ...]
) -> Factorised:
    """Factorise M at these Lambdas (q_k, q_k); `weights` (J_k,) say how often each level counts in all."""
    from crosslevel.kernels.crossed import scale_diagonal, scale_pairs

    symbolic, n_dense = plan.symbolic, plan.n_dense
    diagonal, rows = np.empty(symbolic.n_diagonal), np.zeros(symbolic.n_rows)
    dense = np.zeros((n_dense, n_dense))
    flat = dense.reshape(-1)
    for place, block, factor in zip(plan.places, crossing.diagonal, factors, strict=True):
        scale_diagonal(block, factor, place.base, place.step, place.stride, flat if place.dense else diagonal)
    for (k, m), where in plan.pair_places.items():
        buffer = flat if where.dense else rows
        scale_pairs(crossing.pairs[k, m].block, factors[k], factors[m], where.place, where.step_k, where.step_l, buffer)
    return eliminated(plan, weights, diagonal, rows, dense)


def eliminated(
    plan: EliminationPlan, weights: tuple[FloatArray, ...], diagonal: FloatArray, rows: FloatArray, dense: FloatArray
) -> Factorised:
    """Factorise M, which lies in the arrays of the plan's layout (lower triangles), in place."""
    from scipy.linalg.blas import dsyrk
    from scipy.linalg.lapack import dpotrf

    from crosslevel.kernels.elimination import eliminate, update_dense

    symbolic, n_dense = plan.symbolic, plan.n_dense
    weight = np.concatenate([np.empty(0), *(weights[k] for k in plan.order)])
    log_det = eliminate(*symbolic.arrays, symbolic.owner, weight, diagonal, rows)
    if n_dense and symbolic.density > CROWDED:
        alike = bool(np.all(weight == 1.0))
        for nodes, matrix in _spread(plan, rows):
            if not alike:
                matrix = matrix * np.repeat(np.sqrt(weight[nodes]), np.diff(symbolic.first)[nodes])[:, None]
            dsyrk(-1.0, matrix.T, beta=1.0, c=dense.T, lower=0, overwrite_c=1)
    elif n_dense:
        update_dense(*symbolic.arrays[:4], *symbolic.dense_arrays, weight, rows, dense)
    if n_dense:
        _, failed = dpotrf(dense.T, lower=0, overwrite_a=1, clean=0)
        log_det = np.nan if failed else log_det + 2.0 * float(np.log(np.diag(dense)).sum())
    return Factorised(
        plan=plan, weights=weights, weight=weight, diagonal=diagonal, rows=rows, dense=dense, log_det=float(log_det)
    )
