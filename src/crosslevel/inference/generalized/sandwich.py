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
from crosslevel.inference.generalized.clusters import STEP, ClusterScores, IndependentClusters, outermost_clusters
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
    found = corrected_sandwich(bread_of(solution, own.hessian), own.scores)
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
    """What each cluster says about the parameters of a solution, and the Hessian at the estimates."""
    return ClusterScores(
        criterion=solution.criterion, parameters=solution.parameters, hessian=hessian_at_estimates(solution),
        clusters=clusters,
    )  # fmt: skip


def hessian_at_estimates(solution: GeneralizedSolution) -> FloatArray:
    """Hessian (K, K) of the deviance by central differences of its gradient.

    That of the search is from one side, and from a point a step away: its error of 1e-4 is small beside a standard
    error, but a sandwich has it twice.
    """
    objective = Objective(criterion=solution.criterion, prior=solution.prior)
    size = np.sqrt(np.maximum(np.abs(np.diag(solution.hessian)), 1e-12))
    out = np.empty((len(size), len(size)))
    for k, step in enumerate(STEP * np.sqrt(2.0) / size):
        moved = np.zeros(len(size))
        moved[k] = step
        ends = [objective.at(solution.parameters + sign * moved, solution.state) for sign in (1.0, -1.0)]
        out[k] = (objective.gradient(ends[0]) - objective.gradient(ends[1])) / (2.0 * step)
    return 0.5 * (out + out.T)


def bread_of(solution: GeneralizedSolution, hessian: FloatArray | None = None) -> FloatArray:
    """H^-1 (K, K) in working parameters, by the observed information; zero in directions held on the boundary.

    Parameters
    ----------
    solution : the fit.
    hessian : (K, K) of the deviance at the estimates, if it is at hand.
    """
    objective = Objective(criterion=solution.criterion, prior=solution.prior)
    second = hessian_at_estimates(solution) if hessian is None else hessian
    return working_covariance(objective, solution.parameters, second)


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
