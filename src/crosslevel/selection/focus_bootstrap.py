"""Context-focused selection by a cluster bootstrap of the context effects under every candidate.

Whole clusters are drawn, and each candidate is refitted to the same draws. Nothing is assumed of the covariance, and
the price of estimated variances is in the spread of the refits. But a draw of few clusters has fewer different ones
still, so that models with many parameters are charged more than they cost.
"""

from dataclasses import dataclass

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.inference.bootstrap.draws import counted
from crosslevel.inference.bootstrap.refits import refit
from crosslevel.inference.bootstrap.setting import Setting
from crosslevel.inference.focus import FocusedError, resampled_errors
from crosslevel.kernels.first_use import announce_compilation
from crosslevel.selection.criteria import BIC_CLUSTERS, Criterion, Judge, Score
from crosslevel.selection.focus import FocusJudge, check_focus
from crosslevel.selection.search import Candidate, Search
from crosslevel.solve import Solution
from crosslevel.types import FloatArray

SEED = 0
"""Of the draws if none is asked for: two runs give the same result."""


class FocusBootstrapJudge(FocusJudge):
    """Compares candidates by the mean squared errors of the context effects over bootstrap draws.

    Attributes
    ----------
    search, score, slopes : see `FocusJudge`.
    times : (B, J) how often each draw counts each cluster.
    """

    def __init__(self, search: Search, slopes: Judge, times: FloatArray) -> None:
        super().__init__(search, slopes)
        self.times = times
        self._replicates: dict[Candidate, FloatArray] = {}

    def replicates(self, candidate: Candidate) -> FloatArray:
        """Context effects (B, m) of refits to the draws; NaN where one failed."""
        if candidate not in self._replicates:
            assert isinstance(candidate.solution, Solution)
            setting = Setting.of(candidate.design, candidate.solution, reml=self.search.reml)
            batch = refit(setting, candidate.design, [counted(setting, times) for times in self.times])
            self._replicates[candidate] = batch.values[:, list(self.search.context)]
        return self._replicates[candidate]

    def estimated_errors(self, candidate: Candidate) -> tuple[FocusedError, ...]:
        """Errors of each context effect over the draws."""
        search = self.search
        whole = search.candidate(search.maximal_structure)
        own, reference = self.replicates(candidate), self.replicates(whole)
        return tuple(
            resampled_errors(np.array([candidate.beta[i], whole.beta[i]]), own[:, k], reference[:, k])
            for k, i in enumerate(search.context)
        )

    def columns(self, candidate: Candidate) -> dict[str, float]:
        """Focused errors of candidates that were judged by them, NaN for others: those of step 1 are not refitted."""
        if candidate in self._errors:
            return super().columns(candidate)
        names = [self.search.design.fixed_names[i] for i in self.search.context]
        return {f"{name} {what}": np.nan for name in names for what in ("focus_mse", "focus_bias", "focus_variance")}


@dataclass(frozen=True)
class FocusBootstrap(Criterion):
    """Mean squared error of the context effects, estimated by drawing whole clusters.

    Attributes
    ----------
    name, title, description, correlations : see `Criterion`.
    draws : bootstrap draws, the same for all candidates.
    """

    name: str = "focus-bootstrap"
    title: str = "focused error (bootstrap)"
    description: str = (
        "the mean squared error of the context effects over a cluster bootstrap (the variance of refits to the same "
        "draws of clusters, plus the squared bias against the maximal model), relative to their variance in the "
        "maximal model"
    )
    correlations: str = "target"
    draws: int = 200

    @property
    def slopes(self) -> Criterion:
        """BIC by clusters: which slopes vary is a question of fit."""
        return BIC_CLUSTERS

    def prepare(self, search: Search) -> Score:
        """The score of `judge`."""
        return self.judge(search).score

    def judge(self, search: Search) -> Judge:
        """What compares candidates of a search.

        Raises
        ------
        CrosslevelError : the error is not defined for this model, or too few draws are asked for.
        """
        check_focus(search)
        if isinstance(self.draws, bool) or not isinstance(self.draws, int) or self.draws < 50:
            raise CrosslevelError(f"`draws` is a whole number, at least 50; got {self.draws!r}.")
        announce_compilation("refits")
        n_clusters = search.design.factors[search.place].n_levels
        rng = np.random.default_rng(SEED if search.seed is None else search.seed)
        rows = rng.integers(0, n_clusters, (self.draws, n_clusters))
        times = np.array([np.bincount(row, minlength=n_clusters) for row in rows], dtype=np.float64)
        return FocusBootstrapJudge(search, self.slopes.judge(search), times)
