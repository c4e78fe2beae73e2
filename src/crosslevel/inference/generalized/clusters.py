"""Independent clusters of a generalized model: their scores, their curvature, and the likelihood of some of them.

Clusters are unions of levels of the outermost grouping factor, in whose levels those of all others lie. Then the
log-likelihood is a sum over clusters, and cluster j can count m_j times in it: the weights of the outermost factor's
levels are multiplied by m_j.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from crosslevel.design import Design
from crosslevel.design.response_rows import ResponseRows
from crosslevel.errors import CrosslevelError
from crosslevel.inference.bootstrap.nested import outermost
from crosslevel.inference.clusterings import Clustering
from crosslevel.likelihood.generalized import GeneralizedCriterion
from crosslevel.types import CodeArray, FloatArray

STEP = 1e-4
"""Step of differences of scores, in standard errors of the parameter: their errors are of its square."""


@dataclass(frozen=True, kw_only=True, eq=False)
class IndependentClusters:
    """Clusters between which no random effects are shared.

    Attributes
    ----------
    clusters : of the rows used, in the order of the data.
    place : position of the outermost factor; -1 in a model without random effects.
    parents : (J_outer,) cluster of each of its levels.
    """

    clusters: Clustering
    place: int
    parents: CodeArray = field(repr=False)

    @property
    def n_clusters(self) -> int:
        """J."""
        return self.clusters.n_clusters

    def counted(self, rows: ResponseRows, times: FloatArray) -> ResponseRows:
        """The rows with each cluster counted `times` (J,) as often as it was."""
        if self.place < 0:
            from dataclasses import replace

            own = rows.in_row_order(self.clusters.codes)
            return replace(rows, weight=rows.weight * times[own])
        weights = [term.weight for term in rows.terms]
        weights[self.place] = weights[self.place] * times[self.parents]
        return rows.reweighted(weights)


def independent_clusters(design: Design, clusters: Clustering, what: str) -> IndependentClusters:
    """Check that clusters share no random effects.

    Parameters
    ----------
    design : the model.
    clusters : of its rows.
    what : the argument that names them, for the message.

    Raises
    ------
    CrosslevelError : they share some.
    """
    if not design.factors:
        return IndependentClusters(clusters=clusters, place=-1, parents=np.zeros(0, dtype=np.int32))
    outer = outermost(design)
    names = ", ".join(factor.name for factor in design.factors)
    if outer is None:
        raise CrosslevelError(
            f"{what} needs independent clusters, and the grouping factors of this model ({names}) are not nested in "
            "each other: their levels share rows crosswise. Use fit.bootstrap(kind='parametric') or fit.profile()."
        )
    if not clusters.holds(design.used_codes(outer), outer.n_levels):
        raise CrosslevelError(
            f"{what} needs independent clusters, and levels of {outer.name} have rows in several clusters of "
            f"{clusters.name}, which their random effects tie together. Name {outer.name!r}, or clusters that are "
            "unions of its levels."
        )
    parents = np.zeros(outer.n_levels, dtype=np.int32)
    parents[design.used_codes(outer)] = clusters.codes
    return IndependentClusters(clusters=clusters, place=design.factors.index(outer), parents=parents)


def outermost_clusters(design: Design) -> IndependentClusters | None:
    """The levels of the outermost factor; None if there is none."""
    outer = outermost(design) if design.factors else None
    if outer is None:
        return None
    clusters = Clustering(name=outer.name, levels=outer.levels, codes=design.used_codes(outer))
    return independent_clusters(design, clusters, "This")


@dataclass(frozen=True, kw_only=True, eq=False)
class ClusterScores:
    """What each cluster says about the parameters at the estimates.

    Attributes
    ----------
    criterion : the likelihood.
    parameters : (K,) where.
    hessian : (K, K) of the deviance.
    clusters : J of them.
    """

    criterion: GeneralizedCriterion = field(repr=False)
    parameters: FloatArray
    hessian: FloatArray = field(repr=False)
    clusters: IndependentClusters = field(repr=False)

    @cached_property
    def scores(self) -> FloatArray:
        """(J, K) derivatives of the log-likelihood, each cluster counted as in the likelihood."""
        return self._at(self.parameters)

    @cached_property
    def hessians(self) -> FloatArray:
        """(J, K, K) minus the second derivatives, by central differences of the scores."""
        size = np.sqrt(np.maximum(np.abs(np.diag(self.hessian)), 1e-12))
        out = np.empty((len(self.scores), len(size), len(size)))
        for k, step in enumerate(STEP * np.sqrt(2.0) / size):
            moved = np.zeros(len(size))
            moved[k] = step
            out[:, :, k] = (self._at(self.parameters - moved) - self._at(self.parameters + moved)) / (2.0 * step)
        return 0.5 * (out + out.transpose(0, 2, 1))

    def _at(self, parameters: FloatArray) -> FloatArray:
        """Scores at any parameters."""
        state = self.criterion.value(parameters, self._state)
        return self.criterion.scores(state, self.clusters.clusters.codes, self.clusters.n_clusters)

    @cached_property
    def _state(self) -> object:
        """At the parameters."""
        return self.criterion.value(self.parameters)
