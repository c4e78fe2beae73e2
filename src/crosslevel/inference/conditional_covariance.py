"""Covariances of the coefficients of a conditional logit, by name.

"iid" is the inverse information. The others are H^-1 (sum_c s_c s_c') H^-1, s_c the sum of the groups' scores in
cluster c: they hold if rows of one cluster depend on each other in ways that the groups' effects do not cover.
"""

import numpy as np

from crosslevel.design import Design
from crosslevel.errors import CrosslevelError
from crosslevel.inference.cluster_robust import ROBUST
from crosslevel.inference.clusterings import Clustering, clustering_named
from crosslevel.inference.ordinary import OrdinaryCovariance
from crosslevel.solve.conditional_logit import ConditionalSolution

NAMES = ("iid", "CR0", "CR1", "CR1S")
"""Covariances that a conditional logit has."""


def check_conditional(vcov: object, *, clustered: bool) -> str:
    """The name of a covariance: "CR1" with clusters and "iid" without them where none is given.

    Raises
    ------
    CrosslevelError : no such covariance.
    """
    if vcov is None:
        return "CR1" if clustered else "iid"
    if not isinstance(vcov, str) or vcov not in NAMES:
        raise CrosslevelError(f"`vcov` of a conditional logit is one of {', '.join(map(repr, NAMES))}; got {vcov!r}.")
    return vcov


def conditional_covariance(
    design: Design, groups: Clustering, solved: ConditionalSolution, name: str, cluster: str | None
) -> OrdinaryCovariance:
    """Work out a covariance of `NAMES`; clusters are the groups where none are named.

    Raises
    ------
    CrosslevelError : groups that lie in several clusters, or one cluster only.
    """
    if name == "iid":
        words = (
            "the conditional likelihood's information, for rows that are independent given the groups' effects (iid)"
        )
        return OrdinaryCovariance(name=name, description=words, matrix=solved.vcov, df_residual=np.inf)
    found = groups if cluster is None else clustering_named(design, cluster)
    if not found.holds(groups.codes, groups.n_clusters):
        raise CrosslevelError(
            f"`cluster` names {found.name!r}, but rows of one group of {groups.name} lie in several of its clusters. "
            "Clusters have to be unions of groups, as the likelihood is one of whole groups."
        )
    parent = np.zeros(groups.n_clusters, dtype=np.int64)
    parent[groups.codes] = found.codes
    present, codes = np.unique(parent[solved.rows.groups], return_inverse=True)
    n_clusters, (n, p) = len(present), solved.rows.x.shape
    if n_clusters < 2:
        raise CrosslevelError(
            f"`cluster` names {found.name!r}, which has one value in the rows that say something. Cluster-robust "
            "standard errors need at least two clusters, and are good for little with fewer than ten."
        )
    scores = np.zeros((n_clusters, p))
    np.add.at(scores, codes, solved.scores)
    factor = 1.0 if name == "CR0" else n_clusters / (n_clusters - 1.0)
    factor *= (n - 1.0) / (n - p) if name == "CR1S" else 1.0
    half = solved.vcov @ scores.T
    return OrdinaryCovariance(
        name=name, description=ROBUST[name].description, matrix=np.asarray(half @ half.T * factor),
        df_residual=n_clusters - 1.0,
    )  # fmt: skip
