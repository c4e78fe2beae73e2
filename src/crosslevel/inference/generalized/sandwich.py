"""Standard errors of generalized models fitted with sampling weights: the sandwich over the outermost clusters.

With the pseudo-log-likelihood l = sum_j w_j log integral exp(sum_i w_ij l_ij) phi(u) du, s_j = w_j d log L_j and
H = -d^2 l in all parameters,

    V = J / (J - 1) H^-1 (sum_j s_j s_j') H^-1.

Source: Rabe-Hesketh & Skrondal (2006), J. R. Statist. Soc. A 169: 805-827, section 3.3.
"""

from dataclasses import replace

import numpy as np

from crosslevel.design import Design
from crosslevel.errors import CrosslevelError
from crosslevel.inference.clusterings import Clustering
from crosslevel.inference.generalized.clusters import ClusterScores, IndependentClusters, outermost_clusters
from crosslevel.inference.generalized.score_covariance import corrected_sandwich
from crosslevel.solve.generalized.objective import Objective
from crosslevel.solve.generalized.solution import GeneralizedSolution
from crosslevel.solve.generalized.units import data_map, working_covariance
from crosslevel.solve.solution import read_only
from crosslevel.types import FloatArray


def with_sandwich(solution: GeneralizedSolution, design: Design) -> GeneralizedSolution:
    """The same estimates with covariances that take the sampling weights into account.

    Raises
    ------
    CrosslevelError : estimates by PQL or MQL, which maximise no pseudo-likelihood.
    """
    if solution.quadrature.kind in ("pql", "mql"):
        raise CrosslevelError(
            f"`quadrature` is {solution.quadrature.kind!r}, which maximises no likelihood; with sampling weights "
            "standard errors come from the scores of a pseudo-likelihood. Use 'auto', 'laplace' or a number of nodes."
        )
    own = cluster_scores(solution, clusters_of_design(design))
    found = corrected_sandwich(bread_of(solution), own.scores)
    return with_covariance(solution, found)


def clusters_of_design(design: Design) -> IndependentClusters:
    """Levels of the outermost factor; single rows where there are no random effects."""
    found = outermost_clusters(design)
    if found is not None:
        return found
    n = design.rows.used
    rows = Clustering(name="row", levels=tuple(range(n)), codes=np.arange(n, dtype=np.int32))
    return IndependentClusters(clusters=rows, place=-1, parents=np.zeros(0, dtype=np.int32))


def cluster_scores(solution: GeneralizedSolution, clusters: IndependentClusters) -> ClusterScores:
    """What each cluster says about the parameters of a solution."""
    return ClusterScores(
        criterion=solution.criterion, parameters=solution.parameters, hessian=solution.hessian, clusters=clusters
    )


def bread_of(solution: GeneralizedSolution) -> FloatArray:
    """H^-1 (K, K) in working parameters, by the observed information; zero in directions held on the boundary."""
    objective = Objective(criterion=solution.criterion, prior=solution.prior)
    return working_covariance(objective, solution.parameters, solution.hessian)


def with_covariance(solution: GeneralizedSolution, vcov: FloatArray) -> GeneralizedSolution:
    """The same estimates with another covariance (K, K) of the working parameters."""
    objective = Objective(criterion=solution.criterion, prior=solution.prior)
    layout = objective.layout
    parts = [solution.theta[part] for part in layout.parts]
    turn = data_map(objective, solution.parameters, parts)
    joint = turn @ vcov @ turn.T
    return replace(
        solution, working_vcov=read_only(vcov), joint_vcov=read_only(joint),
        vcov=read_only(joint[layout.beta, layout.beta].copy()),
    )  # fmt: skip
