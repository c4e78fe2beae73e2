"""Cross-validation by clusters as a criterion: how well a model predicts clusters that it has not seen."""

from dataclasses import dataclass

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.inference.held_out_clusters import ClusterSums, folds_of, needed_fold, predictive_deviance
from crosslevel.selection.criteria import Criterion, Score
from crosslevel.selection.search import Candidate, Search
from crosslevel.selection.working import check_plain, in_working_coordinates
from crosslevel.types import BoolArray

FOLDS = 10
"""Folds unless a number is given; with fewer clusters, one for each."""


@dataclass(frozen=True)
class CrossValidation(Criterion):
    """-2 log predictive density of clusters that were left out.

    Attributes
    ----------
    name, title, description : see `Criterion`.
    """

    name: str = "cv"
    title: str = "predictive deviance"
    description: str = (
        "cross-validation by clusters: minus twice the log density of the outcomes of whole clusters under the "
        "estimates from the others"
    )

    def prepare(self, search: Search) -> Score:
        """The predictive deviance of each candidate; the folds are the same for all.

        Raises
        ------
        CrosslevelError : it is not worked out for this model, or coefficients rest on the clusters of one fold.
        """
        check_plain(search, self.name)
        sums, folds = ClusterSums.of(search.design), folds_for(search)
        needed = needed_fold(search.design, sums, folds)
        if needed is not None:
            raise CrosslevelError(_not_identified(search, folds[needed]))

        def score(candidate: Candidate) -> float:
            reduced, factor = in_working_coordinates(candidate)
            return predictive_deviance(reduced, sums, factor, folds, reml=search.reml)

        return score


def _not_identified(search: Search, fold: BoolArray) -> str:
    """What is wrong with a fold, in words."""
    levels = search.design.factors[search.place].levels
    names = [str(level) for level, inside in zip(levels, fold, strict=True) if inside]
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return (
        f"`criterion` is 'cv', and without the clusters {shown} some coefficients are not identified, so that the "
        "others cannot predict these. Raise `folds`, take the predictors out that tell single clusters apart, or use "
        "another criterion."
    )


def folds_for(search: Search) -> tuple[BoolArray, ...]:
    """Clusters of each fold; which they are depends on their names and the seed, not on the order of the rows."""
    levels = search.design.factors[search.place].levels
    order = np.argsort(np.array([str(level) for level in levels]), kind="stable")
    n_folds = min(search.folds or FOLDS, len(levels))
    place = np.empty(len(levels), dtype=np.int64)
    place[order] = np.arange(len(levels))
    return tuple(fold[place] for fold in folds_of(len(levels), n_folds, np.random.default_rng(search.seed or 0)))
