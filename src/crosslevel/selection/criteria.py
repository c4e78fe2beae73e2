"""Criteria by which candidates are compared.

To add one: a final class of `Criterion`, here or in a file of its own, and its entry in `registry.CRITERIA`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from crosslevel.selection.search import Candidate, Search

Score = Callable[[Candidate], float]
"""The value of a candidate: lower is better."""

TIE = 1e-6
"""Values no further apart are equal: the simpler candidate is preferred then, or the first by name."""


class Judge:
    """Compares candidates with a baseline, by a score that does not depend on the baseline.

    Attributes
    ----------
    score : the value of a candidate, lower is better; NaN for what cannot be judged, which is never preferred.
    slopes : the judge of step 1, which slopes are random; by default itself.
    """

    def __init__(self, score: Score, slopes: "Judge | None" = None) -> None:
        self.score, self.slopes = score, slopes or self
        self._known: dict[Candidate, float] = {}

    def columns(self, candidate: Candidate) -> dict[str, float]:
        """What else the record shows of a candidate."""
        return {}

    def value(self, candidate: Candidate, baseline: Candidate) -> float:
        """The criterion's value."""
        if candidate not in self._known:
            self._known[candidate] = float(self.score(candidate))
        return self._known[candidate]

    def delta(self, candidate: Candidate, baseline: Candidate) -> float:
        """How much the criterion differs from the baseline's."""
        return self.value(candidate, baseline) - self.value(baseline, baseline)

    def best(self, candidates: Sequence[Candidate], baseline: Candidate) -> Candidate:
        """The candidate with the lowest value; of equal ones the simplest, then the first by name."""
        values = [self._rank(self.value(candidate, baseline)) for candidate in candidates]
        least = min(values)
        tied = [one for one, value in zip(candidates, values, strict=True) if value <= least + TIE]
        return min(tied, key=simplicity)

    def prefers(self, candidate: Candidate, baseline: Candidate) -> bool:
        """Whether a candidate is better than the baseline, or as good and simpler."""
        value, own = self.value(candidate, baseline), self._rank(self.value(baseline, baseline))
        return value < own - TIE or (value <= own + TIE and simplicity(candidate) < simplicity(baseline))

    @staticmethod
    def _rank(value: float) -> float:
        """NaN last."""
        return np.inf if np.isnan(value) else value


def simplicity(candidate: Candidate) -> tuple[int, tuple[tuple[str, ...], ...]]:
    """What breaks ties: fewer parameters, then the names."""
    return candidate.structure.n_parameters, candidate.structure.blocks


class Criterion(ABC):
    """A way to judge candidates; it knows nothing of the order in which they are looked at."""

    name: str
    """As users write it."""
    title: str
    """As tables and sentences write it: "BIC"."""
    description: str
    """What it is, as part of a methods section."""
    correlations: str = "exhaustive"
    """How step 2 goes if nothing else is asked for."""

    @property
    def slopes(self) -> "Criterion":
        """The criterion of step 1, which slopes are random; by default itself."""
        return self

    @abstractmethod
    def prepare(self, search: Search) -> Score:
        """What gives the value of a candidate of a search."""

    def judge(self, search: Search) -> Judge:
        """What compares candidates of a search."""
        return Judge(self.prepare(search), None if self.slopes is self else self.slopes.judge(search))


@dataclass(frozen=True)
class Information(Criterion):
    """Deviance + penalty x parameters.

    Attributes
    ----------
    name, title, description : see `Criterion`.
    penalty : of a search, what one parameter costs.
    """

    name: str
    title: str
    description: str
    penalty: Callable[[Search], float]

    def prepare(self, search: Search) -> Score:
        """Deviance + penalty x parameters."""
        cost = self.penalty(search)
        return lambda candidate: candidate.deviance + cost * candidate.n_params


def log_rows(search: Search) -> float:
    """Log of the number of rows."""
    return float(np.log(search.maximal.nobs))


def log_clusters(search: Search) -> float:
    """Log of the number of clusters."""
    return float(np.log(search.design.factors[search.place].n_levels))


BIC = Information("bic", "BIC", "BIC, with the logarithm of the number of rows as penalty", log_rows)
BIC_CLUSTERS = Information(
    "bic-clusters", "BIC (clusters)", "BIC, with the logarithm of the number of clusters as penalty", log_clusters
)
AIC = Information("aic", "AIC", "AIC", lambda search: 2.0)
