"""What estimators make of simulated data, and what an estimator of a study is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.inference.bootstrap.batch import Outcome
from crosslevel.simulation.processes.drawn import Drawn
from crosslevel.types import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from crosslevel.simulation.processes.process import Process


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimates:
    """Estimates of T coefficients in R replications by one estimator, with I kinds of intervals.

    Attributes
    ----------
    outcome : (R,) how each fit ended, an `Outcome`; all below are NaN where it failed.
    singular : (R,) whether some combination of the random effects has no variance.
    estimate, std_error : (R, T).
    intervals : names of the I kinds.
    low, high : (R, T, I) their ends; NaN where an interval is not defined.
    """

    outcome: IntArray = field(repr=False)
    singular: BoolArray = field(repr=False)
    estimate: FloatArray = field(repr=False)
    std_error: FloatArray = field(repr=False)
    intervals: tuple[str, ...]
    low: FloatArray = field(repr=False)
    high: FloatArray = field(repr=False)

    def __len__(self) -> int:
        return len(self.outcome)

    @property
    def fitted(self) -> BoolArray:
        """(R,) whether there is an estimate."""
        return np.asarray(self.outcome == Outcome.FITTED)

    @classmethod
    def none(cls, r: int, t: int, intervals: Sequence[str]) -> "Estimates":
        """Writable arrays of NaN for R replications and T terms, all of them refused so far."""
        shape = (r, t, len(intervals))
        return cls(
            outcome=np.full(r, int(Outcome.REFUSED), dtype=np.int64), singular=np.zeros(r, dtype=np.bool_),
            estimate=np.full((r, t), np.nan), std_error=np.full((r, t), np.nan), intervals=tuple(intervals),
            low=np.full(shape, np.nan), high=np.full(shape, np.nan),
        )  # fmt: skip


class Prepared(ABC):
    """An estimator made ready for the data of one process: whatever is the same in all replications is done."""

    @abstractmethod
    def estimate(self, drawn: Drawn, seeds: Sequence[np.random.SeedSequence]) -> Estimates:
        """Estimates in each replication.

        Parameters
        ----------
        drawn : data of R replications; its columns include the estimator's.
        seeds : R seeds, for estimators that draw themselves; they are not those of the data.
        """


@dataclass(frozen=True, kw_only=True)
class Estimator(ABC):
    """One estimator of a study, as it is written down.

    Attributes
    ----------
    name : what it is called in results.
    """

    name: str

    @property
    @abstractmethod
    def formulas(self) -> tuple[str, ...]:
        """Formulas whose columns the data must have."""

    @property
    @abstractmethod
    def interval_names(self) -> tuple[str, ...]:
        """Names of the kinds of intervals that it gives."""

    @abstractmethod
    def prepare(self, process: "Process", terms: Sequence[str], level: float) -> Prepared:
        """Make it ready for data of a process.

        Parameters
        ----------
        process : that the data come from.
        terms : names of the coefficients to estimate.
        level : of the intervals.
        """


@dataclass(frozen=True, kw_only=True)
class FormulaEstimator(Estimator):
    """An estimator of one formula.

    Attributes
    ----------
    formula : as of `cl.mixed` or `cl.ols`.
    """

    formula: str

    @property
    def formulas(self) -> tuple[str, ...]:
        """See `Estimator`."""
        return (self.formula,)
