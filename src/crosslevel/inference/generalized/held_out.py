"""Estimates of a generalized model without each cluster in turn: exact refits that start one Newton step away."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from crosslevel.inference.bootstrap.batch import Outcome
from crosslevel.inference.generalized.clusters import ClusterScores, IndependentClusters
from crosslevel.inference.generalized.refits import Ended, Refitter
from crosslevel.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class WithoutClusters:
    """Refits without single clusters.

    Attributes
    ----------
    refitter : fits again.
    clusters : independent ones.
    """

    refitter: Refitter = field(repr=False)
    clusters: IndependentClusters = field(repr=False)

    @cached_property
    def scores(self) -> ClusterScores:
        """What each cluster says about the parameters."""
        solution = self.refitter.solution
        return ClusterScores(
            criterion=solution.criterion, parameters=solution.parameters, hessian=solution.hessian,
            clusters=self.clusters,
        )  # fmt: skip

    def without(self, place: int) -> Ended:
        """The refit without one cluster."""
        times = np.ones(self.clusters.n_clusters)
        times[place] = 0.0
        return self.refitter.fit(self.clusters.counted(self.refitter.rows, times), self.start(place))

    def start(self, place: int) -> FloatArray:
        """Where to begin (K,): along H^-1 s_j, as if the cluster had no curvature."""
        solution = self.refitter.solution
        step = solution.working_vcov @ self.scores.scores[place]
        return solution.parameters - step if np.all(np.isfinite(step)) else solution.parameters

    def changes(self) -> Iterator[tuple[int, Outcome, FloatArray]]:
        """For each cluster how the refit ended, and what it changes in coefficients and thresholds (r,)."""
        estimands = self.refitter.estimands
        whole = estimands.predictor_values(self.refitter.solution.parameters)
        for place in range(self.clusters.n_clusters):
            ended = self.without(place)
            fitted = ended.outcome is Outcome.FITTED
            change = estimands.predictor_values(ended.parameters) - whole if fitted else np.full(len(whole), np.nan)
            yield place, ended.outcome, change
