"""Mixed models of simulated data, a batch of replications at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.inference.bootstrap.batch import Outcome
from crosslevel.inference.bootstrap.setting import Places
from crosslevel.inference.cluster_robust import ROBUST
from crosslevel.inference.df import DF_METHODS
from crosslevel.inference.distributions import t_quantile
from crosslevel.inference.growth_curve import NOT_VARYING, adjustments, inflation, remaining
from crosslevel.inference.wald import check_level
from crosslevel.kernels.first_use import announce_compilation
from crosslevel.simulation.estimators.estimates import Estimates, FormulaEstimator, Prepared
from crosslevel.simulation.estimators.mixed_batch import Engine, MixedBatch, Wanted
from crosslevel.simulation.estimators.mixed_df import COUNTED, counted_df
from crosslevel.simulation.estimators.mixed_ordinary import batch_of, fit_one, slow_intervals
from crosslevel.simulation.processes.drawn import Drawn
from crosslevel.simulation.processes.model import Model
from crosslevel.types import FloatArray, Method

if TYPE_CHECKING:
    from crosslevel.simulation.processes.process import Process

ADJUSTED = ("satterthwaite", "kenward-roger", "growth-curve")
"""Methods that look at the estimated variances, worked out for all replications at once; as are `COUNTED`."""

RESTRICTED = ("kenward-roger", "kenward-roger-2009")
"""Methods of REML alone."""

ALL = (*DF_METHODS, *ROBUST, "profile")
"""All kinds of intervals."""


@dataclass(frozen=True, kw_only=True)
class Mixed(FormulaEstimator):
    """A linear mixed model: `cl.mixed` with the process's clusters.

    Attributes
    ----------
    name : see `Estimator`.
    formula : of the model, with random terms of the process's clusters.
    method : "reml" or "ml".
    intervals : kinds of intervals. Those by t are named as the degrees of freedom in `cl.mixed`: "m-l-1",
        "satterthwaite", "kenward-roger", "growth-curve", "between-within", "residual" and "normal" are worked out for
        all replications at once. "kenward-roger-2009", cluster-robust ones ("CR0", "CR1", "CR1S", "CR2", "CR3") and
        "profile" fit every replication a second time, one by one: tens of times slower.

    Notes
    -----
    Estimates, standard errors and degrees of freedom are those of `cl.mixed` with the same data, also where the fit is
    singular. `std_error` of the results is that given the variances, whatever the interval. An interval is NaN where
    its method is not defined, for example Kenward and Roger's without information on some variance. A replication whose
    compiled search does not converge is fitted again by the ordinary solver, and counts as failed only if that fails
    too; one in which a column is a combination of earlier ones counts as unidentified.

    Examples
    --------
    >>> import numpy as np
    >>> import crosslevel as cl
    >>> process = cl.lab.Process(
    ...     formula="y ~ x + z + (1 + x | g)", clusters=20, size=(30, 60), variables={"z": cl.lab.Context()},
    ...     effects={"Intercept": 1, "x": 1, "z": 0.5}, sd={"Intercept": 0.6, "x": 0.2},
    ... )
    >>> estimator = cl.lab.Mixed(name="REML", formula="y ~ x + z + (x | g)", intervals=("m-l-1", "growth-curve"))
    >>> drawn = cl.lab.sampler_of(process, estimator.formulas).draw(np.random.SeedSequence(1).spawn(5))
    >>> found = estimator.prepare(process, ["z"], level=0.95).estimate(drawn, ())
    >>> found.estimate.shape, found.low.shape, bool(np.all(found.low < found.high))
    ((5, 1), (5, 1, 2), True)
    """

    method: Method = "reml"
    intervals: tuple[str, ...] = ("m-l-1", "satterthwaite", "kenward-roger", "growth-curve")

    def __post_init__(self) -> None:
        if self.method not in ("reml", "ml"):
            raise CrosslevelError(f"`method` is 'reml' or 'ml'; got {self.method!r}.")
        given: object = self.intervals
        if isinstance(given, str) or not given:
            raise CrosslevelError(
                f"`intervals` are names such as ('m-l-1', 'growth-curve'); got {given!r}. There are {', '.join(ALL)}."
            )
        unknown = [name for name in self.intervals if name not in ALL]
        if unknown:
            raise CrosslevelError(f"`intervals` has {unknown[0]!r}; there are {', '.join(ALL)}.")
        restricted = [name for name in self.intervals if name in RESTRICTED]
        if restricted and self.method == "ml":
            raise CrosslevelError(
                f"`intervals` of {self.name!r} has {restricted[0]!r}, which is a method for REML, and `method` is "
                "'ml'. Write method='reml', or intervals=('m-l-1', 'satterthwaite')."
            )

    @property
    def interval_names(self) -> tuple[str, ...]:
        """See `Estimator`."""
        return tuple(self.intervals)

    def prepare(self, process: "Process", terms: Sequence[str], level: float) -> "MixedPrepared":
        """See `Estimator`.

        Raises
        ------
        CrosslevelError : the formula has no random terms or lacks a term, or does not fit the process; growth-curve by
            ML for a coefficient that is adjusted for others.
        """
        model = Model.of(process, self.formula, method=self.method)
        if not model.is_mixed:
            raise CrosslevelError(
                f"`formula` of {self.name!r} is {self.formula!r}, which has no random terms. Add one such as "
                f"(1 | {process.group}), or use cl.lab.OLS."
            )
        absent = [term for term in terms if term not in model.fixed_names]
        if absent:
            raise CrosslevelError(
                f"`terms` has {', '.join(absent)}, which {self.name!r} does not estimate; its coefficients are "
                f"{', '.join(model.fixed_names)}."
            )
        prepared = MixedPrepared(
            model=model, terms=tuple(terms), intervals=self.interval_names, level=check_level(level),
            reml=self.method == "reml",
        )  # fmt: skip
        if self.method == "ml" and "growth-curve" in self.intervals and any(map(len, prepared.wanted.others)):
            raise CrosslevelError(
                f"`intervals` of {self.name!r} has 'growth-curve', which needs REML where a coefficient is adjusted "
                "for others, and `method` is 'ml'. Write method='reml', or intervals=('m-l-1', 'satterthwaite')."
            )
        return prepared


@dataclass(frozen=True, kw_only=True, eq=False)
class MixedPrepared(Prepared):
    """A mixed model ready for data.

    Attributes
    ----------
    model : the model.
    terms : names of the T coefficients wanted.
    intervals, level : of the estimates.
    reml : whether the restricted likelihood is maximised.
    """

    model: Model = field(repr=False)
    terms: tuple[str, ...]
    intervals: tuple[str, ...]
    level: float
    reml: bool

    @cached_property
    def wanted(self) -> Wanted:
        """What tests are to be prepared."""
        places = [self.model.fixed_names.index(term) for term in self.terms]
        others = adjustments(self.model.template)
        return Wanted(
            terms=np.array(places, dtype=np.int64),
            others=tuple(others[place] for place in places),
            satterthwaite="satterthwaite" in self.intervals,
            kenward_roger="kenward-roger" in self.intervals,
            growth_curve="growth-curve" in self.intervals,
        )

    @cached_property
    def engine(self) -> Engine | None:
        """Compiled fits; None if the random effects' covariance structure ties them, so that there are none."""
        places = Places.of(self.model.structure)
        return None if places is None else Engine(design=self.model.template, reml=self.reml, places=places)

    def batch(self, drawn: Drawn) -> MixedBatch:
        """Fit all replications: estimates, deviances, variance components.

        Parameters
        ----------
        drawn : data of R replications; its columns include the model's.
        """
        if self.engine is None:
            out = MixedBatch.none(
                len(drawn), len(self.model.fixed_names), len(self.model.random_names), len(self.terms)
            )
        else:
            announce_compilation("simulated fits")
            out = self.engine.fit(drawn, self.wanted)
        for r in np.flatnonzero(out.outcome == Outcome.UNCONVERGED):
            outcome, fit = fit_one(self.model, drawn, int(r))
            out.outcome[r], out.ordinary[r] = int(outcome), True
            if fit is not None:
                out.put(np.array([r]), batch_of(fit, self.wanted))
        return out

    def estimate(self, drawn: Drawn, seeds: Sequence[np.random.SeedSequence]) -> Estimates:
        """See `Prepared`; nothing is drawn."""
        batch, terms = self.batch(drawn), self.wanted.terms
        estimate, std_error = batch.beta[:, terms], batch.std_error[:, terms]
        low, high = np.full((2, len(batch), len(terms), len(self.intervals)), np.nan)
        for i, name in enumerate(self.intervals):
            if name in COUNTED or name in ADJUSTED:
                error, df = self._tests(batch, name)
                half = error * t_quantile(0.5 + 0.5 * self.level, df)
                low[:, :, i], high[:, :, i] = estimate - half, estimate + half
        slow = [i for i, name in enumerate(self.intervals) if name not in COUNTED and name not in ADJUSTED]
        for r in np.flatnonzero(batch.fitted) if slow else ():
            _, fit = fit_one(self.model, drawn, int(r))
            if fit is not None:
                names = [self.intervals[i] for i in slow]
                low[r][:, slow], high[r][:, slow] = slow_intervals(fit, names, self.terms, self.level)
        return Estimates(
            outcome=batch.outcome, singular=batch.singular, estimate=estimate, std_error=std_error,
            intervals=self.intervals, low=low, high=high,
        )  # fmt: skip

    def _tests(self, batch: MixedBatch, name: str) -> tuple[FloatArray, FloatArray]:
        """Standard errors and degrees of freedom (R, T) of one method; see `inference.df`."""
        terms = self.wanted.terms
        error = batch.std_error[:, terms]
        if name == "satterthwaite":
            return error, batch.satterthwaite
        if name == "kenward-roger":
            return error * np.sqrt(1.0 + 2.0 * batch.excess), batch.kenward_roger
        if name != "growth-curve":
            return error, counted_df(name, self.model.template, terms, batch.n_rows)
        m = counted_df("m-l-1", self.model.template, terms, batch.n_rows)
        s = spent(m, batch.excess, batch.reliability)
        return error * np.sqrt(inflation(m, s)), remaining(m, s)


def spent(m: FloatArray, excess: FloatArray, reliability: FloatArray) -> FloatArray:
    """Degrees of freedom (R, T) that adjustments for other coefficients take; see `growth_curve.spent`.

    Parameters
    ----------
    m : (R, T) degrees of freedom of m-l-1.
    excess : (R, T) lambda.
    reliability : (R, T, q) of the principal components of the others, zeros where there are none.
    """
    with np.errstate(invalid="ignore"):
        share = reliability / (reliability + (1.0 - reliability) / m[:, :, None])
    room = np.where(reliability <= NOT_VARYING, 0.0, share).sum(axis=2)
    taken = np.where((room > 0.0) & np.isfinite(m), np.minimum(m * excess, room), 0.0)
    return np.where(np.isnan(room), np.nan, np.maximum(taken, 0.0))
