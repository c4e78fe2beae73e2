"""Standard errors of generalized models that hold whatever the distribution of rows within clusters."""

from typing import TYPE_CHECKING

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.generalized.likelihoods import refitter, require_likelihood
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit
    from crosslevel.estimators.robust_fit import RobustFit
    from crosslevel.inference.generalized.clusters import IndependentClusters


def robust(fit: "GeneralizedFit", vcov: str = "CR1", cluster: str | None = None) -> "RobustFit":
    """Coefficients with a cluster-robust covariance, and clusters - 1 degrees of freedom.

    The covariance is that of the scores of independent clusters in all parameters. It holds for the coefficients of the
    model that is nearest to the truth: unlike in a linear model, a wrong distribution of the random effects changes
    what the coefficients are, which no standard error repairs.

    Parameters
    ----------
    fit : the fitted model.
    vcov : "CR0" (sandwich), "CR1" (times J / (J - 1), as in Stata), "CR3" (jackknife, by one Newton step for each
        cluster left out) or "jackknife" (exact refits without each cluster); the last two are better with few clusters.
    cluster : the outermost grouping factor if None; or a column of the data, or columns as in "a:b", whose values are
        unions of its levels.

    Returns
    -------
    RobustFit : `tests()`, `conf_int()`, `contrast()`, `vcov`; prints as a table.

    Raises
    ------
    CrosslevelError : sampling weights, which have a sandwich of their own; PQL or MQL; clusters that share random
        effects; a jackknife where a coefficient rests on one cluster alone.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> fit = cl.mixed("I(mathach > 13) ~ ses + (1 | school)", data, family="binomial", quadrature=1)
    >>> fit.robust("CR1").ngroups
    {'school': 160}
    """
    from crosslevel.estimators.asked.robust import cluster_names, default_clusters
    from crosslevel.estimators.robust_fit import RobustFit
    from crosslevel.inference.clusterings import clustering_named
    from crosslevel.inference.contrasts import Coefficients
    from crosslevel.inference.generalized.clusters import independent_clusters
    from crosslevel.inference.generalized.score_covariance import ScoreCovariance, score_kind

    kind = score_kind(vcov)
    require_likelihood(fit, "`robust`")
    if fit.design.is_sampled:
        raise CrosslevelError(
            "`robust` is not needed: with sampling weights the standard errors of the fit are those of a sandwich over "
            "the outermost clusters already. Use `fit.tests()`."
        )
    names = cluster_names(cluster) if cluster is not None else default_clusters(fit)
    if len(names) > 1:
        raise CrosslevelError(
            f"`cluster` names {', '.join(names)}; of this family the sandwich is defined for one clustering, in whose "
            "clusters all random effects lie. Use fit.bootstrap(kind='parametric') where factors are crossed."
        )
    clusters = independent_clusters(fit.design, clustering_named(fit.design, names[0]), "`robust`")
    _require_several(clusters)
    part = slice(0, len(fit.terms))
    found = _predictor_covariance(fit, kind.name, clusters)[part, part].copy()
    found.setflags(write=False)
    factors = [fit.design.spec.columns[fit.design.x[j]].factors for j in fit.terms]
    return RobustFit(
        response=fit.spec.response_name, formula=fit.formula, coefficients=Coefficients.of(fit.term_names, factors),
        beta=fit.solution.beta[fit.terms],
        covariance=ScoreCovariance(kind=kind, clusters={names[0]: clusters.n_clusters}, vcov=found),
    )  # fmt: skip


def _require_several(clusters: "IndependentClusters") -> None:
    """Refuse a single cluster."""
    if clusters.n_clusters < 2:
        raise CrosslevelError(
            f"`cluster` names {clusters.clusters.name!r}, which has one value in the rows used. Cluster-robust "
            "standard errors need at least two clusters, and are good for little with fewer than ten."
        )


def _predictor_covariance(fit: "GeneralizedFit", kind: str, clusters: "IndependentClusters") -> FloatArray:
    """Covariance (r, r) of coefficients and thresholds."""
    from crosslevel.inference.generalized.score_covariance import jackknife

    if kind == "jackknife":
        return jackknife(_exact_changes(fit, clusters))
    turn = fit.estimands.predictor_jacobian(fit.solution.parameters)
    return np.asarray(turn @ _working_covariance(fit, kind, clusters) @ turn.T)


def _working_covariance(fit: "GeneralizedFit", kind: str, clusters: "IndependentClusters") -> FloatArray:
    """Covariance (K, K) of all working parameters."""
    from crosslevel.inference.generalized.sandwich import bread_of, cluster_scores
    from crosslevel.inference.generalized.score_covariance import (
        corrected_sandwich,
        free_directions,
        jackknife,
        one_step,
        sandwich,
    )

    own = cluster_scores(fit.solution, clusters)
    bread = bread_of(fit.solution, own.hessian)
    if kind == "CR3":
        return jackknife(one_step(own, free_directions(bread)))
    return sandwich(bread, own.scores) if kind == "CR0" else corrected_sandwich(bread, own.scores)


def working_covariance(fit: "GeneralizedFit", vcov: str) -> FloatArray:
    """Cluster-robust covariance (K, K) of all working parameters, for what depends on more than coefficients.

    Parameters
    ----------
    fit : the fitted model.
    vcov : as in `robust`, by the outermost grouping factor; exact refits give no covariance of theta.

    Raises
    ------
    CrosslevelError : as `robust`; or "jackknife".
    """
    from crosslevel.estimators.asked.robust import default_clusters
    from crosslevel.inference.clusterings import clustering_named
    from crosslevel.inference.generalized.clusters import independent_clusters
    from crosslevel.inference.generalized.score_covariance import score_kind

    kind = score_kind(vcov).name
    if kind == "jackknife":
        raise CrosslevelError(
            "`vcov` is 'jackknife', whose refits are compared in coefficients only; expected outcomes depend on the "
            "variances too. Use 'CR3', the same by one step, or 'CR1'."
        )
    robust(fit, vcov)  # refuses what has no such covariance
    clusters = clustering_named(fit.design, default_clusters(fit)[0])
    return _working_covariance(fit, kind, independent_clusters(fit.design, clusters, "`vcov`"))


def _exact_changes(fit: "GeneralizedFit", clusters: "IndependentClusters") -> FloatArray:
    """What leaving out each cluster changes in coefficients and thresholds, (J, r).

    Raises
    ------
    CrosslevelError : the model cannot be fitted without one of them.
    """
    from crosslevel.inference.bootstrap.batch import REASONS, Outcome
    from crosslevel.inference.bootstrap.run import Reporter
    from crosslevel.inference.generalized.held_out import WithoutClusters

    reporter = Reporter(n=clusters.n_clusters, shown=bool(fit.given["progress"]), what="jackknife")
    changes = []
    for place, outcome, change in WithoutClusters(refitter=refitter(fit, exact=True), clusters=clusters).changes():
        if outcome is not Outcome.FITTED:
            raise CrosslevelError(
                f"`vcov` is 'jackknife', but the model cannot be fitted without cluster "
                f"{clusters.clusters.levels[place]} of {clusters.clusters.name}: {REASONS[outcome]}. Use 'CR1'."
            )
        changes.append(change)
        reporter.add(1)
        reporter.show()
    reporter.end()
    return np.array(changes)
