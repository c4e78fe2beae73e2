"""A bootstrap: all replicates, and what they say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from crosslevel.display import Column, Document, Note, Row, Section, Table, counted, percent
from crosslevel.errors import CrosslevelError
from crosslevel.inference.bootstrap import intervals
from crosslevel.inference.bootstrap.batch import REASONS, Batch, Outcome
from crosslevel.inference.wald import check_level
from crosslevel.types import BoolArray, FloatArray, IntArray

IntervalMethod: TypeAlias = Literal["percentile", "basic", "normal", "studentised", "bca"]
Singular: TypeAlias = Literal["keep", "drop"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Bootstrap:
    """Replicates of the estimates of a model.

    Attributes
    ----------
    kind : "cluster", "parametric", "residual" or "wild".
    about : what was drawn, in words.
    names : the m estimates: coefficients first, then standard deviations, correlations, sigma.
    estimate : (m,) of the data.
    std_errors : (p,) of the coefficients, given the variances.
    batch : the refits.
    number : (B,) of each replicate, from 1.
    asked : replicates asked for.
    seed : with which all replicates can be drawn again.
    singular : whether refits with a zero variance are used ("keep") or not ("drop").
    interrupted : whether the run was stopped before the end.
    accelerations : (m,) of BCa intervals, computed when they are first asked for; None where there are no independent
        clusters to leave out.
    no_spread : why standard deviations and correlations have no interval; "" if they have.
    no_errors : why coefficients have no standard error in the replicates; "" if they have.
    others : heading of the estimates that are no coefficients.
    """

    kind: str
    about: str
    names: tuple[str, ...]
    estimate: FloatArray
    std_errors: FloatArray
    batch: Batch = field(repr=False)
    number: IntArray = field(repr=False)
    asked: int
    seed: int
    singular: Singular
    interrupted: bool
    accelerations: Callable[[], FloatArray] | None = field(repr=False)
    no_spread: str = ""
    no_errors: str = ""
    others: str = "Random effects and residual"

    # -- replicates -----------------------------------------------------------------------------------------------
    @property
    def n_fixed(self) -> int:
        """Number of coefficients, p."""
        return len(self.std_errors)

    @property
    def replicates(self) -> pd.DataFrame:
        """A row for each replicate, a column for each estimate; NaN in refits that failed."""
        return pd.DataFrame(self.batch.values, index=self._index, columns=list(self.names))

    @property
    def replicate_std_errors(self) -> pd.DataFrame:
        """Standard errors of the coefficients in each replicate."""
        return pd.DataFrame(self.batch.std_errors, index=self._index, columns=list(self.names[: self.n_fixed]))

    @property
    def refits(self) -> pd.DataFrame:
        """How each refit ended: deviance, singular, failed, and why."""
        why = [REASONS.get(Outcome(int(code)), "") for code in self.batch.outcome]
        record = {"deviance": self.batch.deviance, "singular": self.batch.singular, "failed": self._failed, "why": why}
        return pd.DataFrame(record, index=self._index)

    @property
    def counts(self) -> pd.Series:
        """Replicates asked for, done, failed (by reason), singular, and used."""
        out = {"asked": self.asked, "done": len(self.batch), "failed": int(np.count_nonzero(self._failed))}
        for outcome, words in REASONS.items():
            count = int(np.count_nonzero(self.batch.outcome == outcome))
            out |= {f"failed: {words}": count} if count else {}
        out |= {"singular": int(np.count_nonzero(self.batch.singular)), "used": int(np.count_nonzero(self.used))}
        return pd.Series(out, name="replicates")

    @cached_property
    def used(self) -> BoolArray:
        """(B,) whether each replicate enters what follows."""
        out = ~self._failed
        return out & ~self.batch.singular if self.singular == "drop" else out

    @property
    def _failed(self) -> BoolArray:
        return np.asarray(self.batch.outcome != Outcome.FITTED)

    @property
    def _index(self) -> pd.Index:
        return pd.Index(self.number, name="replicate")

    # -- what they say --------------------------------------------------------------------------------------------
    @property
    def bias(self) -> pd.Series:
        """Mean of the replicates less the estimate."""
        return pd.Series([values.mean() for values in self._columns()] - self.estimate, index=self._terms, name="bias")

    @property
    def std_error(self) -> pd.Series:
        """Standard deviation of the replicates."""
        values = [values.std(ddof=1) if len(values) > 1 else np.nan for values in self._columns()]
        return pd.Series(values, index=self._terms, name="std_error")

    def conf_int(
        self, level: float = 0.95, method: IntervalMethod = "percentile", *, terms: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Confidence intervals.

        Parameters
        ----------
        level : confidence level.
        method : "percentile", "basic", "normal" (bias taken off), "studentised" (coefficients only) or "bca" (bias
            corrected and accelerated, with the acceleration of the cluster jackknife).
        terms : which estimates; all that the method has intervals for if None.

        Returns
        -------
        frame indexed by term: estimate, conf_low, conf_high, and the number of replicates behind them: a correlation
        has no value in replicates in which one of its variances is zero.

        Raises
        ------
        CrosslevelError : no such method or term, terms that the method has no intervals for, too few replicates.

        Examples
        --------
        >>> import crosslevel as cl
        >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
        >>> boot = fit.bootstrap(200, seed=1)
        >>> list(boot.conf_int(terms=["Days"]).columns)
        ['estimate', 'conf_low', 'conf_high', 'replicates']
        """
        check_level(level)
        if method not in intervals.METHODS:
            raise CrosslevelError(f"`method` is one of {', '.join(map(repr, intervals.METHODS))}; got {method!r}.")
        places = self._places(method, terms)
        columns = [self._finite(k) for k in places]
        self._check_enough([self.names[k] for k in places], columns)
        extra = self.accelerations() if method == "bca" and self.accelerations is not None else np.zeros(0)
        records = []
        for k, values in zip(places, columns, strict=True):
            estimate = float(self.estimate[k])
            if method == "studentised":
                errors = self.batch.std_errors[self.used, k]
                interval = intervals.studentised(estimate, float(self.std_errors[k]), values, errors, level)
            elif method == "bca":
                interval = intervals.bca(estimate, values, float(extra[k]), level)
            elif method == "percentile":
                interval = intervals.percentile(values, level)
            else:
                interval = (intervals.basic if method == "basic" else intervals.normal)(estimate, values, level)
            records.append((estimate, *interval, len(values)))
        index = pd.Index([self.names[k] for k in places], name="term")
        return pd.DataFrame(records, columns=["estimate", "conf_low", "conf_high", "replicates"], index=index)

    def _places(self, method: str, terms: Sequence[str] | None) -> list[int]:
        """Positions of the estimates that are asked for."""
        if method == "bca" and self.accelerations is None:
            raise CrosslevelError(
                "`method` is 'bca', whose acceleration comes from leaving out independent clusters, one after another; "
                f"this model has none ({self.about}). Use 'percentile', 'basic', 'normal' or 'studentised'."
            )
        if method == "studentised" and self.no_errors:
            raise CrosslevelError(f"`method` is 'studentised', but {self.no_errors}")
        only_fixed = method == "studentised" or bool(self.no_spread)
        if terms is None:
            return list(range(self.n_fixed if only_fixed else len(self.names)))
        asked = [terms] if isinstance(terms, str) else list(terms)
        absent = [name for name in asked if name not in self.names]
        if absent:
            raise CrosslevelError(f"`terms` has {absent}; the estimates are {', '.join(map(repr, self.names))}.")
        places = [self.names.index(name) for name in asked]
        spread = [self.names[k] for k in places if k >= self.n_fixed]
        if spread and only_fixed:
            why = self.no_spread or (
                "studentised intervals need a standard error in every replicate, which a variance on its boundary has "
                "not. Use 'percentile' or 'bca'."
            )
            raise CrosslevelError(f"`terms` has {', '.join(map(repr, spread))}: {why}")
        return places

    def _check_enough(self, names: Sequence[str], columns: Sequence[FloatArray]) -> None:
        """Refuse intervals from hardly any replicates."""
        for name, values in zip(names, columns, strict=True):
            if len(values) < intervals.ENOUGH:
                raise CrosslevelError(
                    f"`conf_int` needs at least {intervals.ENOUGH} replicates, and {name!r} has {len(values)} of "
                    f"{len(self.batch)} ({int(np.count_nonzero(self._failed))} failed). Draw more, or leave out the "
                    "term."
                )

    def _finite(self, k: int) -> FloatArray:
        """Values of one estimate in the replicates that are used and have it."""
        values = self.batch.values[self.used, k]
        return np.asarray(values[np.isfinite(values)])

    def _columns(self) -> list[FloatArray]:
        """Values of each estimate; one NaN where there are none."""
        found = (self._finite(k) for k in range(len(self.names)))
        return [values if len(values) else np.array([np.nan]) for values in found]

    @property
    def _terms(self) -> pd.Index:
        return pd.Index(self.names, name="term")

    # -- words ----------------------------------------------------------------------------------------------------
    def summary(self, *, level: float = 0.95, method: IntervalMethod = "percentile") -> Document:
        """What was drawn, how the refits went, and estimates with bias, standard error and interval."""
        frame = self.conf_int(level, method)
        frame.insert(1, "bias", self.bias[frame.index])
        frame.insert(2, "std_error", self.std_error[frame.index])
        rows: list[Row] = []
        for k, (name, row) in enumerate(frame.iterrows()):
            rows += [Section(self.others)] if k == self.n_fixed else []
            rows.append([str(name), *(float(row[column]) for column in list(frame.columns)[:-1])])
        reach = percent(level, decimals=0)
        names = ["Estimate", "Bias", "Std. error", f"{reach} low", f"{reach} high"]
        table = Table(
            [Column(""), *(Column(name, format="number") for name in names)], rows, title=f"Intervals: {method}",
            notes=[self.no_spread] if self.no_spread else [],
        )  # fmt: skip
        facts = Table(["", ""], [["Drawn", self.about], ["Refits", self._refits_in_words()], ["Seed", str(self.seed)]])
        return Document(f"Bootstrap ({self.kind})", [facts, *self._remarks(), table])

    def _refits_in_words(self) -> str:
        """How many there are, and how they ended."""
        counts = self.counts
        parts = [f"{counted(counts['done'])} done"]
        for name, count in counts.items():
            if str(name).startswith("failed: "):
                parts.append(f"{counted(count)} failed, left out ({str(name).removeprefix('failed: ')})")
        if counts["singular"]:
            parts.append(f"{counted(counts['singular'])} singular, {'kept' if self.singular == 'keep' else 'left out'}")
        return "; ".join(parts)

    def _remarks(self) -> list[Note]:
        """What deserves a second look."""
        out = []
        if self.interrupted:
            words = f"Interrupted: {counted(len(self.batch))} of {counted(self.asked)} replicates were done."
            out.append(Note(words, kind="warning"))
        share = float(np.mean(self._failed))
        if share > 0.01:
            out.append(
                Note(
                    f"{percent(share)} of the refits failed and are left out: the intervals are those of the draws to "
                    "which the model can be fitted.",
                    kind="warning",
                )
            )
        return out

    def __str__(self) -> str:
        return str(self.summary())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the summary for a notebook."""
        return self.summary()._repr_html_()
