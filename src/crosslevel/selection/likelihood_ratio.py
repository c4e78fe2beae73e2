"""Likelihood-ratio tests as a criterion: the simpler model is preferred unless a test rejects it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crosslevel.design.submodel import Kept
from crosslevel.estimators.generalized.submodels import GeneralizedSubmodel
from crosslevel.inference.distributions import chi_square_tail
from crosslevel.inference.generalized.removal import null_information
from crosslevel.inference.lrt import boundary_test
from crosslevel.inference.removal import removal, removal_test
from crosslevel.selection.criteria import Criterion, Judge, Score, simplicity
from crosslevel.selection.search import Candidate, Search
from crosslevel.solve import Solution
from crosslevel.solve.generalized.solution import GeneralizedSolution
from crosslevel.solve.submodel import Submodel


class LikelihoodRatioJudge(Judge):
    """Compares candidates with a baseline by the p-value of the test against it.

    Attributes
    ----------
    search : whose candidates.
    """

    def __init__(self, search: Search) -> None:
        super().__init__(lambda candidate: np.nan)
        self.search = search
        self._tested: dict[tuple[Candidate, Candidate], float] = {}

    def value(self, candidate: Candidate, baseline: Candidate) -> float:
        """The p-value; NaN of the baseline itself."""
        if candidate is baseline:
            return np.nan
        pair = (candidate, baseline)
        if pair not in self._tested:
            self._tested[pair] = p_value(candidate, baseline)
        return self._tested[pair]

    def delta(self, candidate: Candidate, baseline: Candidate) -> float:
        """The statistic."""
        return candidate.deviance - baseline.deviance

    def best(self, candidates: Sequence[Candidate], baseline: Candidate) -> Candidate:
        """Of slopes, that whose absence is rejected least; of correlation structures, the simplest not rejected."""
        drops_slopes = any(one.structure.n_effects < baseline.structure.n_effects for one in candidates)
        open_ = [one for one in candidates if self.prefers(one, baseline)] or list(candidates)
        if not drops_slopes and self.prefers(open_[0], baseline):
            fewest = min(one.structure.n_parameters for one in open_)
            open_ = [one for one in open_ if one.structure.n_parameters == fewest]
        highest = max(self.value(one, baseline) for one in open_)
        return min((one for one in open_ if self.value(one, baseline) >= highest - 1e-9), key=simplicity)

    def prefers(self, candidate: Candidate, baseline: Candidate) -> bool:
        """Whether the test does not reject a simpler candidate."""
        return candidate is not baseline and self.value(candidate, baseline) > self.search.alpha


@dataclass(frozen=True)
class LikelihoodRatio(Criterion):
    """p-value of the likelihood-ratio test of a candidate against its baseline.

    Attributes
    ----------
    name, title, description : see `Criterion`.
    """

    name: str = "lrt"
    title: str = "p-value"
    description: str = (
        "likelihood-ratio tests of each simpler model against its baseline (chi-bar-square mixtures for variances), "
        "the simpler one being preferred unless it is rejected"
    )

    def prepare(self, search: Search) -> Score:
        """Not defined without a baseline."""
        return lambda candidate: np.nan

    def judge(self, search: Search) -> Judge:
        """What compares candidates of a search."""
        return LikelihoodRatioJudge(search)


def p_value(candidate: Candidate, baseline: Candidate) -> float:
    """p-value of a candidate against a baseline that contains it.

    For random effects that go it is the tail of the chi-bar-square mixture of their variances. Covariances that are
    fixed to zero lie inside of their range where the other covariances are regular: chi-square.
    """
    if candidate.structure.n_effects < baseline.structure.n_effects:
        if isinstance(baseline.solution, GeneralizedSolution):
            return _generalized_removal(candidate, baseline, baseline.solution)
        return removal_test(
            baseline.design, baseline.solution, _without(candidate, baseline), reml=baseline.search.reml
        ).p_value
    df = baseline.structure.n_parameters - candidate.structure.n_parameters
    return float(chi_square_tail(df, max(candidate.deviance - baseline.deviance, 0.0)))


def _without(candidate: Candidate, baseline: Candidate) -> Submodel:
    """The candidate as a model with fewer random effects than the baseline, otherwise with the same blocks."""
    assert isinstance(candidate.solution, Solution)
    return Submodel(kept=_kept(candidate, baseline), design=candidate.design, solution=candidate.solution)


def _kept(candidate: Candidate, baseline: Candidate) -> Kept:
    """For each grouping factor the baseline's effects that the candidate has."""
    kept = [tuple(range(factor.structure.q)) for factor in baseline.design.factors]
    names = baseline.structure.effects
    kept[baseline.search.place] = tuple(k for k, name in enumerate(names) if name in candidate.structure.effects)
    return tuple(kept)


def _generalized_removal(candidate: Candidate, baseline: Candidate, large: GeneralizedSolution) -> float:
    """The same p-value for models with another family than the normal one."""
    assert isinstance(candidate.solution, GeneralizedSolution)
    small = GeneralizedSubmodel(
        kept=_kept(candidate, baseline), design=candidate.design, solution=candidate.solution
    )  # fmt: skip
    what = removal(tuple(factor.structure for factor in baseline.design.factors), small.kept)
    metric = None
    if what.needs_metric:
        rows, found = large.criterion.rows, small.solution
        metric = null_information(rows, small.kept, small.factors(large), found.state.eta, found.shape)
    return boundary_test(
        candidate.deviance - baseline.deviance, what.blocks, free=what.free, metric=metric, n_parameters=what.df,
        bound=what.bound,
    ).p_value  # fmt: skip
