"""The conditional AIC as a criterion: how well a model predicts new rows of the clusters at hand."""

from dataclasses import dataclass

from crosslevel.inference.conditional_aic import conditional_aic
from crosslevel.selection.criteria import Criterion, Score
from crosslevel.selection.search import Candidate, Search
from crosslevel.selection.working import check_plain, in_working_coordinates


@dataclass(frozen=True)
class Conditional(Criterion):
    """-2 log density of the rows given the random effects, plus twice the effective number of parameters.

    Attributes
    ----------
    name, title, description : see `Criterion`.
    """

    name: str = "caic"
    title: str = "cAIC"
    description: str = (
        "the conditional AIC, with the effective number of parameters of Greven and Kneib (2010), which counts the "
        "estimation of the variances"
    )

    def prepare(self, search: Search) -> Score:
        """The conditional AIC at each candidate's optimum.

        Raises
        ------
        CrosslevelError : it is not worked out for this model.
        """
        check_plain(search, self.name)

        def score(candidate: Candidate) -> float:
            reduced, factor = in_working_coordinates(candidate)
            return conditional_aic(reduced, factor, reml=search.reml).value

        return score
