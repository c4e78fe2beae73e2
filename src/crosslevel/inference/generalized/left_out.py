"""A generalized model fitted again without the rows of each cluster in turn, whatever the clusters are.

Rows that are left out count zero times. Random effects of levels without rows have no say in the likelihood: they
integrate to one. So clusters need not be levels of the model's grouping factors.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from crosslevel.design import Design
from crosslevel.errors import CrosslevelError
from crosslevel.inference.bootstrap.batch import Outcome
from crosslevel.inference.clusterings import Clustering
from crosslevel.inference.generalized.refits import Refitter, covariance_of
from crosslevel.inference.left_out import Refit, Refits
from crosslevel.types import FloatArray

PROBLEMS = {
    Outcome.FITTED: "There are no standard errors without this cluster.",
    Outcome.UNIDENTIFIED: "The coefficients are not identified without this cluster.",
    Outcome.UNCONVERGED: "The search does not converge without this cluster.",
    Outcome.REFUSED: "The model cannot be fitted without this cluster.",
    Outcome.SEPARATED: "Coefficients have no finite estimate without this cluster: predictors separate the outcomes.",
}
"""Why there is no refit, in words."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneralizedRefits(Refits):
    """Refits of a generalized model.

    Attributes
    ----------
    design : of the model.
    clusters : what is left out.
    refitter : fits again, with standard errors.
    df : (p,) degrees of freedom of the coefficients' tests, those of the whole fit.
    """

    design: Design = field(repr=False)
    clusters: Clustering = field(repr=False)
    refitter: Refitter = field(repr=False)
    df: FloatArray = field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """All that is estimated."""
        return self.refitter.estimands.names

    @property
    def n_coefficients(self) -> int:
        """p: thresholds of an ordered outcome stand for its intercept."""
        return len(self.df)

    @cached_property
    def values(self) -> FloatArray:
        """(m,)."""
        return self.refitter.estimands.values(self.refitter.solution.parameters)

    def fit(self, place: int) -> Refit:
        """Maximise the likelihood of the other clusters' rows."""
        rows = self.refitter.rows
        kept = rows.in_row_order(self.clusters.codes) != place
        ended = self.refitter.fit(replace(rows, weight=rows.weight * kept))
        if ended.outcome is not Outcome.FITTED or ended.hessian is None:
            raise CrosslevelError(PROBLEMS[ended.outcome])
        estimands, p = self.refitter.estimands, len(self.df)
        turn = estimands.predictor_jacobian(ended.parameters)[:p]
        vcov = turn @ covariance_of(ended.hessian) @ turn.T
        return Refit(values=estimands.values(ended.parameters), vcov=vcov, std_error=np.sqrt(np.diag(vcov)), df=self.df)
