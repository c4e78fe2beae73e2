"""What is kept of replications: counts and moments, never the replications themselves."""

from dataclasses import dataclass, replace

import numpy as np

from crosslevel.inference.bootstrap.batch import Outcome
from crosslevel.simulation.estimators.estimates import Estimates
from crosslevel.simulation.processes.moments import Moments
from crosslevel.simulation.studies.widths import Widths
from crosslevel.types import FloatArray, IntArray

PIECE = 100
"""Replications that are summed up together. Sums round as their order says, so the order is fixed: replications in
pieces of this size, pieces one after another, whoever computed them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tally:
    """One estimator in R replications of one condition: T terms, I kinds of intervals.

    Attributes
    ----------
    outcomes : (4,) replications by how the fit ended, in the order of `Outcome`.
    singular : fitted replications that are singular.
    error : estimate minus truth, columns (T,).
    variance : squared standard errors, columns (T,).
    width : lengths of intervals that are finite, columns (T, I).
    defined, covered, rejected : (T, I) intervals that there are; that hold the truth; that do not hold zero.
    boundless : (T, I) intervals of infinite length.
    widths : all lengths, columns T I.
    """

    outcomes: IntArray
    singular: int
    error: Moments
    variance: Moments
    width: Moments
    defined: IntArray
    covered: IntArray
    rejected: IntArray
    boundless: IntArray
    widths: Widths

    @classmethod
    def none(cls, terms: int, intervals: int) -> "Tally":
        """No replication yet."""
        shape = (terms, intervals)
        zeros = {name: np.zeros(shape, np.int64) for name in ("defined", "covered", "rejected", "boundless")}
        return cls(
            outcomes=np.zeros(len(Outcome), np.int64),
            singular=0,
            error=Moments.none((terms,)),
            variance=Moments.none((terms,)),
            width=Moments.none(shape),
            widths=Widths.none(terms * intervals),
            **zeros,
        )

    @property
    def reps(self) -> int:
        """Replications."""
        return int(self.outcomes.sum())

    @property
    def fitted(self) -> int:
        """Replications with a fit."""
        return int(self.outcomes[Outcome.FITTED])

    def with_piece(self, found: Estimates, truth: FloatArray) -> "Tally":
        """With the replications of one more piece.

        Parameters
        ----------
        found : estimates.
        truth : (T,) what is estimated.
        """
        fitted = found.fitted
        there = fitted[:, None] & np.isfinite(found.estimate)
        defined = fitted[:, None, None] & ~(np.isnan(found.low) | np.isnan(found.high))
        bounded = defined & np.isfinite(found.low) & np.isfinite(found.high)
        width = np.where(bounded, found.high, 0.0) - np.where(bounded, found.low, 0.0)
        boundless = defined & ~bounded
        covered = defined & (found.low <= truth[:, None]) & (truth[:, None] <= found.high)
        rejected = defined & ((found.low > 0.0) | (found.high < 0.0))
        flat = np.where(boundless, np.inf, width).reshape(len(found), -1)
        return replace(
            self,
            outcomes=self.outcomes + np.bincount(found.outcome, minlength=len(Outcome)),
            singular=self.singular + int((fitted & found.singular).sum()),
            error=self.error.merged(Moments.of(found.estimate - truth, there)),
            variance=self.variance.merged(Moments.of(found.std_error**2, there & np.isfinite(found.std_error))),
            width=self.width.merged(Moments.of(width, bounded)),
            defined=self.defined + defined.sum(axis=0),
            covered=self.covered + covered.sum(axis=0),
            rejected=self.rejected + rejected.sum(axis=0),
            boundless=self.boundless + boundless.sum(axis=0),
            widths=self.widths.with_values(flat, defined.reshape(len(found), -1)),
        )
