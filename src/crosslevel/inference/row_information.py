"""What rows and clusters tell about the coefficients, and how many independent rows they are worth.

In units of sigma, with V the covariance of the rows and M = (X'V^-1 X)^-1, the information on coefficient k, given all
others, is that of its own column once the others are taken out of it, r_k = X M e_k / M_kk:

    1 / M_kk = r_k' V^-1 r_k = sum_i r_ik (V^-1 r_k)_i,

a sum over rows, and so over clusters. Where clusters are independent, their parts are r_gk' V_g^-1 r_gk, none of them
negative; where random effects cross clusters, a part may be.

The fixed part of the hat values is diag(X M X'V^-1), whose sum over a cluster is tr(M X_g'V_g^-1 X_g): how much the
cluster weighs in all coefficients together, p over all clusters.

n rows with the correlations C tell as much about a common mean as 1'C^-1 1 independent ones.

Source: of the partialled column Belsley, Kuh & Welsch (1980), Regression Diagnostics, section 2.1, for V = I; of the
effective size Faes, Molenberghs, Aerts, Verbeke & Kenward (2009), The American Statistician 63: 389-399.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from crosslevel.inference.clusterings import Clustering
from crosslevel.inference.robust_rows import Loading, ModelRows
from crosslevel.memory import require_memory
from crosslevel.solve.generalized.solution import GeneralizedSolution
from crosslevel.types import FloatArray, IntArray

if TYPE_CHECKING:
    from scipy.sparse import csc_array


@dataclass(frozen=True, kw_only=True, eq=False)
class RowInformation:
    """Rows of a model with their working covariance, and sums over clusters of what they tell.

    Attributes
    ----------
    rows : in working coordinates and units of sigma, whitened by weights.
    place : (n,) which of the rows used each is; a row may stand more than once.
    independent : whether the residuals are, given the random effects, so that a row is one observation.
    """

    rows: ModelRows
    place: IntArray
    independent: bool = True

    @cached_property
    def parts(self) -> FloatArray:
        """(n, p) share of each row in the information on each coefficient; columns sum to 1."""
        turn = self.rows.bread @ self.rows.turn.T
        size = np.einsum("ka,ak->k", self.rows.turn, turn)
        return np.asarray((self.rows.x @ turn) * (self.rows.weighted @ turn) / size)

    @cached_property
    def fixed_leverage(self) -> FloatArray:
        """(n,) diagonal of X M X'V^-1."""
        return np.asarray(np.einsum("ip,pq,iq->i", self.rows.x, self.rows.bread, self.rows.weighted, optimize=True))

    @cached_property
    def leverage(self) -> FloatArray:
        """(n,) diagonal of the whole hat matrix, [X F] C^-1 [X F]' with C of the mixed model equations.

        It is x~'M x~ + f'(I + F'F)^-1 f, x~ being the row of V^-1 X, which is x - F (I + F'F)^-1 F'x.
        """
        own = np.einsum("ip,pq,iq->i", self.rows.weighted, self.rows.bread, self.rows.weighted, optimize=True)
        return np.asarray(own + self.effects.spread)

    @cached_property
    def effective(self) -> FloatArray:
        """(n,) d_i (V^-1 d)_i with d the standard deviations of the rows: they sum to 1'C^-1 1."""
        d = np.sqrt(1.0 + self.effects.variance)
        return np.asarray(d * self.effects.weighted(d[:, None])[:, 0])

    @cached_property
    def effects(self) -> "Effects":
        """F of all factors."""
        return Effects(loadings=self.rows.loadings, n=len(self.place))

    def by_cluster(self, clusters: Clustering, values: FloatArray) -> FloatArray:
        """Sums (J, m) of values (n, m) over clusters of the rows used."""
        out = np.zeros((clusters.n_clusters, *values.shape[1:]))
        np.add.at(out, clusters.codes[self.place], values)
        return out


@dataclass(frozen=True, kw_only=True, eq=False)
class Effects:
    """F = Z Lambda of all grouping factors, V = I + F F'.

    Attributes
    ----------
    loadings : by factor.
    n : rows.
    """

    loadings: tuple[Loading, ...] = field(repr=False)
    n: int

    @cached_property
    def matrix(self) -> "csc_array":
        """(n, sum of J q) F."""
        from scipy.sparse import coo_array

        rows, columns, start = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
        values: list[FloatArray] = [np.zeros(0)]
        for loading in self.loadings:
            q = loading.members[0][1].shape[1]
            for codes, f in loading.members:
                known = np.flatnonzero(codes >= 0)
                rows.append(np.repeat(known, q))
                columns.append((start + codes[known, None].astype(np.int64) * q + np.arange(q)).ravel())
                values.append(f[known].ravel())
            start += loading.n_levels * q
        place = (np.concatenate(rows), np.concatenate(columns))
        return coo_array((np.concatenate(values), place), shape=(self.n, start)).tocsc()

    @cached_property
    def variance(self) -> FloatArray:
        """(n,) diagonal of F F'."""
        return np.asarray(self.matrix.power(2).sum(axis=1), dtype=np.float64).ravel()

    @cached_property
    def _solver(self) -> Any:
        """Factor of I + F'F."""
        from scipy.sparse import eye_array
        from scipy.sparse.linalg import splu

        inner = self.matrix.T @ self.matrix + eye_array(self.matrix.shape[1], format="csc")
        return splu(inner.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})

    def weighted(self, values: FloatArray) -> FloatArray:
        """V^-1 times values (n, m): v - F (I + F'F)^-1 F'v."""
        if not self.matrix.shape[1]:
            return values
        return np.asarray(values - self.matrix @ self._solver.solve(np.ascontiguousarray(self.matrix.T @ values)))

    @cached_property
    def spread(self) -> FloatArray:
        """(n,) f'(I + F'F)^-1 f of each row."""
        if not self.matrix.shape[1]:
            return np.zeros(self.n)
        if len(self.loadings) == 1 and len(self.loadings[0].members) == 1:
            return self._of_one_factor()
        size = self.matrix.shape[1]
        require_memory(
            24.0 * size**2, f"Hat values of {size:,} random effects", "Fit a part of the data, or fewer random effects."
        )
        inverse = self._solver.solve(np.eye(size))
        return np.asarray((self.matrix @ inverse * self.matrix.toarray()).sum(axis=1))

    def _of_one_factor(self) -> FloatArray:
        """The same where each level has effects of its own."""
        (loading,) = self.loadings
        ((codes, f),) = loading.members
        inner = np.zeros((loading.n_levels, f.shape[1], f.shape[1]))
        np.add.at(inner, codes, f[:, :, None] * f[:, None, :])
        inverse = np.linalg.inv(inner + np.eye(f.shape[1]))
        return np.asarray(np.einsum("ia,iab,ib->i", f, inverse[codes], f, optimize=True))


def generalized_rows(solution: GeneralizedSolution) -> RowInformation:
    """The linear model that a generalized one looks like at its modes: rows times the roots of their precisions -l''.

    Its information on the coefficients is that of the Laplace approximation in which the modes' curvature is held.
    """
    from crosslevel.kernels.responses import fill_terms

    rows, state = solution.criterion.rows, solution.state
    terms = np.empty((3, rows.n))
    fill_terms(rows.family.code, rows.y, rows.size, rows.counted, state.eta, state.shape, terms)
    root, loadings = np.sqrt(np.maximum(-terms[2], 0.0)), []
    for term, own, basis in zip(rows.terms, solution.factors, rows.bases, strict=True):
        f = root[:, None] * (term.z @ (basis @ own))
        members = term.members or ((term.codes, None),)
        parts = tuple((codes, f if share is None else f * share[:, None]) for codes, share in members)
        loadings.append(Loading(n_levels=term.n_levels, members=parts))
    x = root[:, None] * rows.x
    weighted = Effects(loadings=tuple(loadings), n=rows.n).weighted(x)
    model = ModelRows(
        x=x, weighted=weighted, residual=np.zeros(rows.n), loadings=tuple(loadings),
        bread=np.linalg.inv(x.T @ weighted), turn=rows.coordinates.beta_map,
    )  # fmt: skip
    return RowInformation(rows=model, place=np.asarray(rows.order))
