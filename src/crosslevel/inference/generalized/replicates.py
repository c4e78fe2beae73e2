"""Bootstrap replicates of a generalized model: clusters drawn with replacement, or outcomes drawn from the model."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from crosslevel.inference.bootstrap.batch import Batch
from crosslevel.inference.generalized.clusters import IndependentClusters
from crosslevel.inference.generalized.outcomes import OutcomeDraws
from crosslevel.inference.generalized.refits import Refitter
from crosslevel.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class ClusterReplicates:
    """Refits with whole clusters drawn with replacement, as many as there are.

    Attributes
    ----------
    refitter : fits again.
    clusters : independent ones.
    """

    refitter: Refitter = field(repr=False)
    clusters: IndependentClusters = field(repr=False)

    def work(self, rng: np.random.Generator, n: int, stopped: Callable[[], bool]) -> Batch:
        """Draw and refit n replicates, fewer once it is told to stop."""
        return _batches(lambda: self.counted(_drawn(rng, self.clusters.n_clusters)), n, stopped)

    def counted(self, times: FloatArray) -> Batch:
        """The refit with each cluster counted `times` (J,)."""
        return self.refitter.batch(self.clusters.counted(self.refitter.rows, times))


@dataclass(frozen=True, kw_only=True, eq=False)
class OutcomeReplicates:
    """Refits to outcomes drawn from the fitted model.

    Attributes
    ----------
    refitter : fits again.
    draws : makes outcomes.
    """

    refitter: Refitter = field(repr=False)
    draws: OutcomeDraws = field(repr=False)

    @classmethod
    def of(cls, refitter: Refitter) -> "OutcomeReplicates":
        """At the estimates."""
        solution = refitter.solution
        rows, beta = refitter.rows, solution.parameters[solution.criterion.layout.beta]
        factors = tuple(solution.state.factors)
        return cls(refitter=refitter, draws=OutcomeDraws.of(rows, beta, factors, solution.shape))

    def work(self, rng: np.random.Generator, n: int, stopped: Callable[[], bool]) -> Batch:
        """Draw and refit n replicates, fewer once it is told to stop."""
        return _batches(lambda: self.refitter.batch(self.draws.drawn(rng)), n, stopped)


def _drawn(rng: np.random.Generator, n_clusters: int) -> FloatArray:
    """How often each cluster is drawn (J,)."""
    drawn = rng.integers(0, n_clusters, n_clusters)
    return np.bincount(drawn, minlength=n_clusters).astype(np.float64)


def _batches(make: Callable[[], Batch], n: int, stopped: Callable[[], bool]) -> Batch:
    """N replicates, fewer once it is told to stop."""
    parts: list[Batch] = []
    for _ in range(n):
        parts.append(make())
        if stopped():
            break
    return Batch.joined(parts)
