"""Pooled least squares with cluster-robust intervals, for a batch of simulated data at a time."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.design import Design
from crosslevel.design.build import CONSTANT
from crosslevel.errors import CrosslevelError
from crosslevel.inference.bootstrap.batch import Outcome
from crosslevel.inference.cluster_robust import ROBUST
from crosslevel.inference.distributions import t_quantile
from crosslevel.simulation.estimators.estimates import Estimates, FormulaEstimator, Prepared
from crosslevel.simulation.estimators.pooled import Combinations, regress, robust_terms
from crosslevel.simulation.processes.drawn import Drawn
from crosslevel.simulation.processes.model import Model
from crosslevel.types import FloatArray, IntArray

if TYPE_CHECKING:
    from crosslevel.simulation.processes.process import Process

COVARIANCES = ("iid", *ROBUST)
"""Covariances that take no look at single rows."""

DEGREES = ("m-l-1", "satterthwaite", "residual", "normal")
"""Ways of counting degrees of freedom."""

ADJUSTMENT = {"CR0": "CR0", "CR1": "CR0", "CR1S": "CR0", "CR2": "CR2", "CR3": "CR3"}
"""What each covariance does with residuals, factors aside."""

AT_A_TIME = 128
"""Replications that are worked on at a time: they stay in the processor's cache."""


@dataclass(frozen=True, kw_only=True)
class OLS(FormulaEstimator):
    """Pooled ordinary least squares: `cl.ols` with the process's clusters.

    Attributes
    ----------
    name : see `Estimator`.
    formula : of the regression, without random terms.
    intervals : "covariance, degrees of freedom". Covariances are "CR0", "CR1", "CR1S", "CR2", "CR3" by cluster, and
        "iid". Degrees of freedom are "m-l-1": clusters less the coefficients of a coefficient's level-2 equation, as if
        all slopes varied between clusters, so that with one context variable there are J - 2 both for it and for its
        interaction with a row variable; "satterthwaite" (of `cl.ols`; not for "iid"); "residual": rows - coefficients;
        "normal". The first gives the standard error.

    Notes
    -----
    An interval is NaN where it is not defined: with CR3, if without some cluster not all coefficients can be estimated;
    or where the clusters contribute nothing to a coefficient. A replication counts as unidentified if a column is a
    combination of earlier ones, where `cl.ols` would leave it out.

    Heisig, Schaeffer & Giesecke (2017) have "conventional" cluster-robust errors with J - 2 degrees of freedom and do
    not say how these are corrected for few clusters; "CR1S" is the usual one, of Stata and of R.

    Examples
    --------
    >>> import numpy as np
    >>> import crosslevel as cl
    >>> process = cl.lab.Process(
    ...     formula="y ~ x + z + (1 + x | g)", clusters=20, size=(30, 60), variables={"z": cl.lab.Context()},
    ...     effects={"Intercept": 1, "x": 1, "z": 0.5}, sd={"Intercept": 0.6, "x": 0.2},
    ... )
    >>> estimator = cl.lab.OLS(name="OLS", formula="y ~ x + z", intervals=("CR1S, m-l-1", "CR2, satterthwaite"))
    >>> drawn = cl.lab.sampler_of(process, estimator.formulas).draw(np.random.SeedSequence(1).spawn(5))
    >>> found = estimator.prepare(process, ["z"], level=0.95).estimate(drawn, ())
    >>> found.estimate.shape, found.low.shape, bool(np.all(found.low < found.high))
    ((5, 1), (5, 1, 2), True)
    """

    intervals: tuple[str, ...] = ("CR1S, m-l-1", "CR2, satterthwaite")

    def __post_init__(self) -> None:
        given: object = self.intervals
        if isinstance(given, str) or not given:
            raise CrosslevelError(
                f"`intervals` are names such as ('CR1S, m-l-1', 'CR2, satterthwaite'); got {given!r}."
            )
        for name in self.intervals:
            read_interval(name)

    @property
    def interval_names(self) -> tuple[str, ...]:
        """See `Estimator`."""
        return tuple(self.intervals)

    def prepare(self, process: "Process", terms: Sequence[str], level: float) -> "PreparedOLS":
        """See `Estimator`.

        Raises
        ------
        CrosslevelError : the formula has random terms or lacks a term, or does not fit the process.
        """
        model = Model.of(process, self.formula)
        if model.is_mixed:
            raise CrosslevelError(
                f"`formula` of {self.name!r} is {self.formula!r}, which has random terms. Least squares has none: "
                "leave them out, or use cl.lab.Mixed."
            )
        absent = [term for term in terms if term not in model.fixed_names]
        if absent:
            raise CrosslevelError(
                f"`terms` has {', '.join(absent)}, which {self.name!r} does not estimate; its coefficients are "
                f"{', '.join(model.fixed_names)}."
            )
        return PreparedOLS(
            names=model.names, constant=model.constant, x=model.x,
            terms=np.array([model.fixed_names.index(term) for term in terms], dtype=np.int64),
            equation=equation_sizes(model.template, model.frame[model.group].to_numpy()),
            intervals=self.interval_names, level=level,
        )  # fmt: skip


def read_interval(name: object) -> tuple[str, str]:
    """Covariance and degrees of freedom of an interval's name.

    Raises
    ------
    CrosslevelError : there is no such interval.
    """
    parts = [part.strip() for part in name.split(",")] if isinstance(name, str) else []
    if len(parts) != 2 or parts[0] not in COVARIANCES or parts[1] not in DEGREES:
        rows = " HC0 to HC3 need the rows, which a simulation does not keep." if str(name).startswith("HC") else ""
        raise CrosslevelError(
            f"`intervals` are 'covariance, degrees of freedom', with a covariance of {', '.join(COVARIANCES)} and "
            f"degrees of freedom of {', '.join(DEGREES)}; got {name!r}.{rows}"
        )
    if parts == ["iid", "satterthwaite"]:
        raise CrosslevelError(
            "`intervals` has 'iid, satterthwaite', but those degrees of freedom are of robust covariances. Use "
            "'iid, residual'."
        )
    return parts[0], parts[1]


def equation_sizes(design: Design, codes: IntArray) -> IntArray:
    """(p,) coefficients in the level-2 equation of each coefficient, if all slopes vary between clusters.

    Columns belong to one equation if the same of their factors vary within clusters: x and x:z explain the slope of x.

    Parameters
    ----------
    design : of some rows.
    codes : (n,) cluster of each row.
    """
    columns = [design.spec.columns[j] for j in design.x]
    varying = {
        factor: _varies(design.spec.component(factor, design.columns, slice(0, len(codes)), design.mask), codes)
        for column, j in zip(columns, design.x, strict=True)
        for factor in column.factors
        if j != design.constant
    }
    own = [frozenset(factor for factor in column.factors if varying.get(factor, False)) for column in columns]
    count = Counter(own)
    return np.array([count[each] for each in own], dtype=np.int64)


def _varies(values: FloatArray, codes: IntArray) -> bool:
    """Whether values (n,) differ within clusters."""
    centred = values - values.mean()
    size = np.maximum(np.bincount(codes), 1)
    within = centred - (np.bincount(codes, centred) / size)[codes]
    return bool(within @ within > CONSTANT * (centred @ centred))


@dataclass(frozen=True, kw_only=True, eq=False)
class Pooled:
    """Pooled regressions of R replications: T coefficients by I kinds of inference.

    Attributes
    ----------
    outcome : (R,) how each ended, an `Outcome`.
    estimate : (R, T).
    std_error, df : (R, T, I); NaN where they are not defined.
    """

    outcome: IntArray = field(repr=False)
    estimate: FloatArray = field(repr=False)
    std_error: FloatArray = field(repr=False)
    df: FloatArray = field(repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedOLS(Prepared):
    """A pooled regression ready for data.

    Attributes
    ----------
    names : of its columns, the response last.
    constant : position of the intercept among them, -1 if there is none.
    x : (p,) positions of the regressors.
    terms : (T,) positions of the coefficients wanted among the p.
    equation : (p,) of `equation_sizes`.
    intervals, level : of the estimates.
    """

    names: tuple[str, ...]
    constant: int
    x: IntArray
    terms: IntArray
    equation: IntArray
    intervals: tuple[str, ...]
    level: float

    def estimate(self, drawn: Drawn, seeds: Sequence[np.random.SeedSequence]) -> Estimates:
        """See `Prepared`; nothing is drawn."""
        pooled = self.regress(drawn)
        half = pooled.std_error * t_quantile(0.5 + 0.5 * self.level, pooled.df)
        return Estimates(
            outcome=pooled.outcome, singular=np.zeros(len(drawn), dtype=np.bool_), estimate=pooled.estimate,
            std_error=np.ascontiguousarray(pooled.std_error[:, :, 0]), intervals=self.intervals,
            low=pooled.estimate[:, :, None] - half, high=pooled.estimate[:, :, None] + half,
        )  # fmt: skip

    def regress(self, drawn: Drawn) -> Pooled:
        """Coefficients, standard errors and degrees of freedom."""
        shape, i = (len(drawn), len(self.terms)), len(self.intervals)
        out = Pooled(
            outcome=np.zeros(len(drawn), dtype=np.int64), estimate=np.full(shape, np.nan),
            std_error=np.full((*shape, i), np.nan), df=np.full((*shape, i), np.nan),
        )  # fmt: skip
        for start in range(0, len(drawn), AT_A_TIME):
            self._regress(drawn, slice(start, min(start + AT_A_TIME, len(drawn))), out)
        return out

    def _regress(self, drawn: Drawn, part: slice, out: Pooled) -> None:
        """Some of the replications, written to `out`."""
        places = drawn.places([*(self.names[j] for j in self.x), self.names[-1]])
        where = np.flatnonzero(self.x == self.constant)
        intercept = int(where[0]) if self.constant >= 0 and len(where) else -1
        count, asked = drawn.count[part], [read_interval(name) for name in self.intervals]
        working = regress(
            count, drawn.mean[part][:, :, places], drawn.scatter[part][:, :, places[:, None], places], intercept
        )
        fitted = np.flatnonzero(working.outcome == Outcome.FITTED)
        combinations = Combinations.of(working, self.terms, intercept)
        wanted = dict.fromkeys(ADJUSTMENT[kind] for kind, _ in asked if kind != "iid")
        found = robust_terms(working, combinations, tuple(wanted))
        rows, clusters = count[fitted].sum(axis=1), np.count_nonzero(count[fitted], axis=1)
        here = fitted + part.start
        out.outcome[part], out.estimate[here] = working.outcome, combinations.estimate
        for i, (kind, counted) in enumerate(asked):
            if kind == "iid":
                variance = combinations.model * (working.rest / (rows - len(self.x)))[:, None]
            else:
                variance = found[ADJUSTMENT[kind]][0] * few_clusters(kind, clusters, rows, len(self.x))[:, None]
            out.std_error[here, :, i] = np.sqrt(variance)
            own = counted == "satterthwaite"
            out.df[here, :, i] = found[ADJUSTMENT[kind]][1] if own else self._counted(counted, rows, clusters)

    def _counted(self, how: str, rows: FloatArray, clusters: IntArray) -> FloatArray:
        """(R, T) degrees of freedom that follow from counting; NaN where none are left."""
        shape = (len(rows), len(self.terms))
        if how == "normal":
            return np.full(shape, np.inf)
        if how == "residual":
            return np.broadcast_to((rows - len(self.x))[:, None], shape)
        left = clusters[:, None] - self.equation[self.terms]
        return np.where(left < 1, np.nan, left)


def few_clusters(kind: str, clusters: IntArray, rows: FloatArray, p: int) -> FloatArray:
    """(R,) factor of the covariance: J / (J - 1) of CR1, J (n - 1) / ((J - 1) (n - p)) of CR1S, else 1."""
    factor = clusters / (clusters - 1.0) if kind in ("CR1", "CR1S") else np.ones(len(rows))
    return np.asarray(factor * (rows - 1.0) / (rows - p) if kind == "CR1S" else factor)
