"""Fits of a mixed model to many replications at once: reduced together, searched for by compiled loops."""

from dataclasses import dataclass, field, fields, replace
from functools import cached_property

import numpy as np

from crosslevel.design import Design
from crosslevel.inference.bootstrap.batch import Outcome
from crosslevel.inference.bootstrap.setting import Places
from crosslevel.likelihood.profiled import EXACT_LIMIT
from crosslevel.optimise import TOLERANCE
from crosslevel.simulation.estimators.mixed_coordinates import Columns, WorkingBatch, reduce_drawn
from crosslevel.simulation.estimators.mixed_tests import Ends, KenwardRoger, reliabilities, satterthwaite_df
from crosslevel.simulation.processes.drawn import Drawn
from crosslevel.solve.one_factor import FEW_CLUSTERS, SPARSE_CLUSTERS
from crosslevel.solve.starts import AGAIN, EQUAL, FEW_PER_EFFECT, SPARSE_MORE, SPARSE_ROWS, START, unlike
from crosslevel.types import BoolArray, FloatArray, IntArray

FOUND = 0
"""How a compiled search ends at a minimum; see `kernels.refit`."""

AT_ONCE = 1_000_000
"""Numbers that are worked on at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Wanted:
    """What tests of T coefficients are to be prepared.

    Attributes
    ----------
    terms : (T,) positions of the coefficients.
    others : for each, the positions of the random effects that it is adjusted for, maybe none.
    satterthwaite, kenward_roger : whether these methods are wanted for all of them.
    growth_curve : whether growth-curve is, for those that are adjusted for others.
    """

    terms: IntArray
    others: tuple[IntArray, ...]
    satterthwaite: bool = False
    kenward_roger: bool = False
    growth_curve: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class MixedBatch:
    """Fits of a model with p coefficients and q random effects to R replications, with tests of T coefficients.

    All numbers are NaN where the fit failed.

    Attributes
    ----------
    outcome : (R,) how each ended, an `Outcome`.
    ordinary : (R,) whether the compiled search left the replication to the solver of single fits.
    n_rows : (R,) rows.
    deviance : (R,) -2 (restricted) log-likelihood.
    singular : (R,) whether some combination of the random effects has no variance.
    beta, std_error : (R, p) coefficients and their standard errors, given the variances.
    sigma : (R,) residual standard deviation.
    factor : (R, q, q) Lambda; the covariance of the random effects is sigma^2 Lambda Lambda'.
    satterthwaite, kenward_roger : (R, T) degrees of freedom, NaN where not wanted.
    excess : (R, T) lambda: Kenward and Roger's variance is 1 + 2 lambda times the ordinary one.
    reliability : (R, T, q) of the principal components of the effects that a coefficient is adjusted for, and zeros.
    """

    outcome: IntArray = field(repr=False)
    ordinary: BoolArray = field(repr=False)
    n_rows: FloatArray = field(repr=False)
    deviance: FloatArray = field(repr=False)
    singular: BoolArray = field(repr=False)
    beta: FloatArray = field(repr=False)
    std_error: FloatArray = field(repr=False)
    sigma: FloatArray = field(repr=False)
    factor: FloatArray = field(repr=False)
    satterthwaite: FloatArray = field(repr=False)
    kenward_roger: FloatArray = field(repr=False)
    excess: FloatArray = field(repr=False)
    reliability: FloatArray = field(repr=False)

    def __len__(self) -> int:
        return len(self.outcome)

    @property
    def fitted(self) -> BoolArray:
        """(R,) whether there is an estimate."""
        return np.asarray(self.outcome == Outcome.FITTED)

    @cached_property
    def sd(self) -> FloatArray:
        """(R, q) standard deviations of the random effects."""
        return np.asarray(self.sigma[:, None] * np.sqrt(np.einsum("rij,rij->ri", self.factor, self.factor)))

    @cached_property
    def covariance(self) -> FloatArray:
        """(R, q, q) covariance matrices of the random effects."""
        return np.asarray(self.sigma[:, None, None] ** 2 * (self.factor @ self.factor.transpose(0, 2, 1)))

    @classmethod
    def none(cls, n: int, p: int, q: int, t: int) -> "MixedBatch":
        """Writable arrays for n replications and t coefficients to test, NaN so far."""
        shapes = {
            "n_rows": (n,), "deviance": (n,), "beta": (n, p), "std_error": (n, p), "sigma": (n,), "factor": (n, q, q),
            "satterthwaite": (n, t), "kenward_roger": (n, t), "excess": (n, t), "reliability": (n, t, q),
        }  # fmt: skip
        return cls(
            outcome=np.full(n, int(Outcome.UNCONVERGED), dtype=np.int64),
            ordinary=np.zeros(n, dtype=np.bool_), singular=np.zeros(n, dtype=np.bool_),
            **{name: np.full(shape, np.nan) for name, shape in shapes.items()},
        )  # fmt: skip

    def put(self, where: IntArray, other: "MixedBatch") -> None:
        """Write other replications to these places."""
        for each in fields(self):
            getattr(self, each.name)[where] = getattr(other, each.name)


@dataclass(frozen=True, kw_only=True, eq=False)
class Engine:
    """A model with one grouping factor as its compiled fits see it: whatever is the same in all replications.

    Attributes
    ----------
    design : of the model, whatever its data.
    reml : whether the restricted likelihood is maximised.
    places : of the parameters of Lambda.
    """

    design: Design = field(repr=False)
    reml: bool
    places: Places

    @property
    def p(self) -> int:
        """Number of coefficients."""
        return len(self.design.x)

    @property
    def q(self) -> int:
        """Number of random effects."""
        return len(self.design.z)

    def fit(self, drawn: Drawn, wanted: Wanted) -> MixedBatch:
        """Fit all replications.

        Those whose compiled search does not converge, or whose data may not identify the variances, have the outcome
        UNCONVERGED, and are for others to fit.
        """
        out = MixedBatch.none(len(drawn), self.p, self.q, len(wanted.terms))
        columns = Columns.of(self.design, drawn.names)
        k, p, q = len(self.places.rows), self.p, self.q
        each = drawn.n_clusters * q * (q + p + 1) + (k + 1) * (p * p + q * q + k) + q * q * (p * p + 3 * q * q)
        step = max(1, AT_ONCE // each)
        for start in range(0, len(drawn), step):
            where = np.arange(start, min(start + step, len(drawn)))
            part = replace(drawn, count=drawn.count[where], mean=drawn.mean[where], scatter=drawn.scatter[where])
            self._fit(part, columns, wanted, where, out)
        return out

    def _fit(self, drawn: Drawn, columns: Columns, wanted: Wanted, where: IntArray, out: MixedBatch) -> None:
        """Fit some replications, and write them to their places."""
        working = reduce_drawn(drawn, columns)
        n_starts = np.where(working.n_rows >= self._enough_rows(drawn.n_clusters), 1, len(self._starts))
        doubtful = self._doubtful(drawn)
        n_starts[doubtful | ~working.identified] = 0
        status, ends, deviance = self._search(working, n_starts)
        out.n_rows[where] = working.n_rows
        out.outcome[where[~working.identified & ~doubtful]] = int(Outcome.UNIDENTIFIED)
        found = np.flatnonzero(status == FOUND)
        if len(found):
            self._write(working, found, ends, deviance[found], wanted, where[found], out)

    def _search(self, working: WorkingBatch, n_starts: IntArray) -> tuple[IntArray, dict[str, FloatArray], FloatArray]:
        """How each search ended (R,), what it left, see `kernels.simulated_fit`, and deviances."""
        from crosslevel.kernels.simulated_fit import fit_replications

        n, n_clusters, q, p1 = working.image.shape
        k, places = len(self.places.rows), self.places
        status, value = np.zeros(n, dtype=np.int64), np.full(n, np.nan)
        left: dict[str, FloatArray] = {
            "turn": np.zeros((n, q, q)), "factor": np.zeros((n, q, q)), "precision": np.zeros((n, n_clusters, q, q)),
            "cross": np.zeros((n, n_clusters, q, p1)), "chol": np.zeros((n, p1, p1)), "contrast": np.zeros((n, p1)),
            "hessian": np.zeros((n, k, k)),
        }  # fmt: skip
        fit_replications(
            working.root, working.image, working.remainder, working.n_rows, n_starts, places.rows, places.columns,
            places.block, self._starts, self._second(n_clusters), self.reml, float(EXACT_LIMIT), TOLERANCE, status,
            value, *left.values(),
        )  # fmt: skip
        log_scale = np.log(working.scale)
        deviance = value + 2.0 * (working.n_rows - self.p * self.reml) * log_scale[:, -1]
        return status, left, np.asarray(deviance + 2.0 * log_scale[:, :-1].sum(axis=1) * self.reml)

    def _write(
        self,
        working: WorkingBatch,
        found: IntArray,
        left: dict[str, FloatArray],
        deviance: FloatArray,
        wanted: Wanted,
        where: IntArray,
        out: MixedBatch,
    ) -> None:
        """Write the replications whose minimum was found, in the units of the data, with what tests need."""
        n_rows = working.n_rows[found]
        ends = Ends(
            places=self.places, n_rows=n_rows, nu=n_rows - self.p * self.reml,
            basis=left["turn"][found].transpose(0, 2, 1) @ working.basis[found], beta_map=working.beta_map[found],
            **{name: array[found] for name, array in left.items() if name != "turn"},
        )  # fmt: skip
        sigma = ends.sigma * working.scale[found, -1]
        out.outcome[where], out.singular[where] = int(Outcome.FITTED), ends.singular
        out.deviance[where], out.sigma[where] = deviance, sigma
        out.beta[where] = working.coefficients(-left["contrast"][:, :-1])[found]
        out.std_error[where] = ends.sigma[:, None] * ends.length
        out.factor[where] = np.linalg.solve(ends.basis, ends.factor)
        terms = wanted.terms
        if wanted.satterthwaite and len(terms):
            out.satterthwaite[where] = satterthwaite_df(ends, terms)
        adjusted = np.array([len(effects) > 0 for effects in wanted.others], dtype=np.bool_)
        some = np.flatnonzero(adjusted | wanted.kenward_roger)
        if (wanted.kenward_roger or wanted.growth_curve) and len(some):
            at = np.ix_(where, some)
            out.excess[at], out.kenward_roger[at] = KenwardRoger.of(ends).tests(terms[some])
        if wanted.growth_curve:
            out.reliability[where] = 0.0
            for t in np.flatnonzero(adjusted):
                effects = wanted.others[t]
                out.reliability[where, t, : len(effects)] = reliabilities(ends, effects)

    def _doubtful(self, drawn: Drawn) -> BoolArray:
        """(R,) whether data are so few that `design.checks` may refuse the model."""
        n_rows, effects = drawn.count.sum(axis=1), np.minimum(drawn.count, self.q).sum(axis=1)
        return np.asarray((n_rows <= effects + self.p) | (self.p >= drawn.n_clusters))

    @cached_property
    def _starts(self) -> FloatArray:
        """(S, q, q) Lambdas to start from: equal variances; and more where minima can be several."""
        structure = self.design.structure
        factors = [np.sqrt(variance) * np.eye(structure.q) for variance in (START, *EQUAL)] + unlike(structure.q)
        return np.stack([structure.factor(structure.nearest(factor)) for factor in factors])

    def _second(self, n_clusters: int) -> int:
        """Which start is the second where the first minimum is singular and clusters are few; -1 for none."""
        return 1 + EQUAL.index(AGAIN) if n_clusters < FEW_PER_EFFECT * self.q else -1

    def _enough_rows(self, n_clusters: int) -> float:
        """Rows from which on one start is enough; see `one_factor.has_one_minimum`."""
        if n_clusters > SPARSE_CLUSTERS:
            return 0.0
        if not self.design.reduced.anchored or n_clusters <= FEW_CLUSTERS:
            return np.inf
        return float(SPARSE_ROWS * self.q * n_clusters + SPARSE_MORE)
