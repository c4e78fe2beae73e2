"""`influence`: the model without each cluster in turn, and what that changes."""

from collections.abc import Sequence

import numpy as np

from crosslevel.diagnostics.context_terms import context_terms
from crosslevel.diagnostics.diagnostic import AnyFit
from crosslevel.diagnostics.influence_record import ROWS
from crosslevel.diagnostics.influence_record import Influence as Influence
from crosslevel.diagnostics.leverage import leverage
from crosslevel.errors import CrosslevelError, MemoryShortageError
from crosslevel.estimators.asked.robust import cluster_names, default_clusters
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.generalized.likelihoods import refitter, require_likelihood
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.estimators.ols_fit import OLSFit
from crosslevel.estimators.rows import row_index
from crosslevel.inference.bootstrap.run import Reporter
from crosslevel.inference.clusterings import Clustering, clustering_named
from crosslevel.inference.df import df_method
from crosslevel.inference.generalized.left_out import GeneralizedRefits
from crosslevel.inference.left_out import MixedRefits, OrdinaryRefits, Refit, Refits, products_by_cluster
from crosslevel.inference.wald import check_level
from crosslevel.kernels.first_use import announce_compilation
from crosslevel.types import FloatArray

BATCH = 64
"""Refits between two reports of how far they have come."""


def influence(
    fit: AnyFit, by: str | Sequence[str] | None = None, *, level: float = 0.95, progress: bool = True
) -> Influence:
    """Fit a model again without each cluster, or each row, in turn, and say what that changes.

    With b, V the coefficients and their covariance of all clusters, p coefficients, and b_j, V_j without cluster j:

        Cook's distance (b_j - b)'V^-1 (b_j - b) / p,    dfbetas (b_jk - b_k) / sqrt(V_jkk),    log det V_j - log det V.

    Each refit is exact: the likelihood of the other clusters is maximised, on cross-products in which the cluster
    counts zero times, variances and degrees of freedom included. Centring constants and cluster means stay as they were
    learnt from all rows. Of another family than the normal one, the likelihood is the fit's approximation with as many
    quadrature nodes, and degrees of freedom are those of the whole fit.

    Parameters
    ----------
    fit : of `mixed` or `ols`.
    by : what is left out: a grouping factor, a column of the data, columns as in "a:b", or "rows" for every single row.
        By default the outermost grouping factor of a mixed model, the clusters of `ols`.
    level : confidence level: a coefficient is called significant if its p-value is below 1 - level.
    progress : whether to report, on the standard error stream, how far a long run has come.

    Returns
    -------
    Influence : prints as tables and sentences; `.frame` by cluster, `.estimates`, `.changes`, `.dfbetas`,
        `.cooks_distance`, `.covratio`, `.variances`, `.variance_changes`, `.context_effects`, `.decisive`: the clusters
        without which a sign, or the result of a test, is another; figure `cl.plot.influence`.

    Raises
    ------
    CrosslevelError : no clusters are named, or the model cannot be fitted again from parts of its rows.

    Source
    ------
    Belsley, Kuh & Welsch (1980), Regression Diagnostics, chapter 2; Cook (1977), Technometrics 19: 15-18; for clusters
    Snijders & Berkhof (2008), in Handbook of Multilevel Analysis, section 3.5.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> found = cl.influence(fit)
    >>> found.frame.loc[["308", "337"], ["Days", "change Days", "cooks_distance"]].round(3)
              Days  change Days  cooks_distance
    Subject
    308      9.803       -0.665           0.092
    337      9.964       -0.503           0.126
    """
    check_level(level)
    if not isinstance(fit, AnyFit):
        raise CrosslevelError(
            f"`influence` is for fits of cl.mixed and cl.ols; got {type(fit).__name__}. Fit the model by one of them."
        )
    clusters = _left_out(fit, by)
    if clusters.n_clusters < 3:
        raise CrosslevelError(
            f"`influence` leaves out one cluster of {clusters.name} at a time, and there are {clusters.n_clusters}. "
            "With fewer than three nothing is left to compare."
        )
    refits = _refits(fit, clusters)
    found, reporter = list[Refit](), Reporter(n=clusters.n_clusters, shown=progress, what="influence")
    for begin in range(0, clusters.n_clusters, BATCH):
        end = min(begin + BATCH, clusters.n_clusters)
        found += refits.each(begin, end)
        reporter.add(end - begin)
        reporter.show()
    reporter.end()
    return Influence(
        by=clusters.name, levels=clusters.levels, sizes=np.bincount(clusters.codes, minlength=clusters.n_clusters),
        outcome=fit.spec.response_name, names=refits.names, table=fit.tidy(level=level), context=_context(fit, refits),
        vcov=fit.vcov.to_numpy(), whole=refits.values, refits=tuple(found), leverage=_leverage(fit, clusters),
        level=level,
    )  # fmt: skip


def _left_out(fit: AnyFit, by: str | Sequence[str] | None) -> Clustering:
    """What is left out: clusters, or the rows, each a cluster of its own.

    Raises
    ------
    CrosslevelError : "rows" is the name of a column too.
    """
    if by != ROWS:
        return clustering_named(fit.design, clusters_of(fit, by))
    if ROWS in fit.design.columns.names:
        raise CrosslevelError(
            f"`by` is {ROWS!r}, which means every single row, and the data have a column of that name. Rename the "
            "column to say which of both you mean."
        )
    index, n = row_index(fit.design), fit.design.rows.used
    levels = tuple(index) if index.is_unique else tuple(range(n))
    return Clustering(name=ROWS, levels=levels, codes=np.arange(n, dtype=np.int32))


def _context(fit: AnyFit, refits: Refits) -> tuple[str, ...]:
    """Names of the context effects: of variables of the clusters left out; of rows, of those that the model has."""
    if refits.clusters.name != ROWS:
        return context_terms(fit.design, refits.by_cluster)
    names = fit.clusters if isinstance(fit, OLSFit) else default_clusters(fit)
    if not names:
        return ()
    return context_terms(fit.design, products_by_cluster(fit.design, clustering_named(fit.design, names[0])))


def _leverage(fit: AnyFit, clusters: Clustering) -> FloatArray:
    """(J,) sums of the clusters' hat values; NaN where these are not defined."""
    try:
        hat = leverage(fit).rows["leverage"].to_numpy()
    except MemoryShortageError:
        return np.full(clusters.n_clusters, np.nan)
    weights = fit.design.weights
    if weights is not None and weights.is_frequency and weights.rows is not None:
        hat = hat * weights.rows
    sums = np.bincount(clusters.codes, weights=hat, minlength=clusters.n_clusters)
    return np.asarray(sums, dtype=np.float64)


def _refits(fit: AnyFit, clusters: Clustering) -> Refits:
    """What fits a model again."""
    if isinstance(fit, MixedFit):
        return _mixed_refits(fit, clusters)
    return _ordinary_refits(fit, clusters) if isinstance(fit, OLSFit) else _generalized_refits(fit, clusters)


def clusters_of(fit: AnyFit, by: str | Sequence[str] | None) -> str:
    """The name of the one clustering that is left out."""
    if by is not None:
        if not isinstance(by, str | Sequence) or not all(isinstance(name, str) for name in by):
            raise CrosslevelError(
                f"`by` is a grouping factor, a column, columns as in 'a:b' or 'rows'; got {by!r}. Write its name."
            )
        names = cluster_names(by if isinstance(by, str) else list(by))
    else:
        names = fit.clusters if isinstance(fit, OLSFit) else default_clusters(fit)
    if len(names) != 1:
        listed = ", ".join(names) or "none"
        raise CrosslevelError(
            f"`by` is needed: clusters are left out one at a time, and the fit has {listed}. Name what is left out, as "
            f"in by={names[0] if names else 'school'!r}."
        )
    return names[0]


def _mixed_refits(fit: MixedFit, clusters: Clustering) -> Refits:
    """What fits a mixed model again.

    Raises
    ------
    CrosslevelError : it is made of more than can be left out by clusters.
    """
    design = fit.design
    reasons = {
        "has sampling weights, whose standard errors are a sandwich that refits do not compute": design.is_sampled,
        "is the mode of a posterior, which refits do not know": fit.solution.prior is not None,
        "has a residual structure, which is bound to all rows": design.residual is not None,
        "has random effects of known covariance, which belong to these very clusters": any(
            factor.structure.fixed.any() for factor in design.factors
        ),
        "has rows that belong to several levels of a factor": any(factor.members for factor in design.factors),
        "was solved by iterative algebra, whose Monte-Carlo error would pass for influence": fit.solution.iterative
        is not None,
        "was fitted to data read in batches": design.stream is not None,
    }
    for reason, holds in reasons.items():
        if holds:
            raise CrosslevelError(
                f"`influence` cannot leave clusters out of this model: it {reason}. Fit it to the other "
                "clusters' rows, one cluster after another: fit.update(data=...)."
            )
    announce_compilation("left out" if design.is_single else "several")
    return MixedRefits(
        design=design, solution=fit.solution, clusters=clusters, reml=fit.method == "reml", method=df_method(fit.ddf),
        max_steps=int(fit.given["max_steps"]),
    )  # fmt: skip


def _generalized_refits(fit: GeneralizedFit, clusters: Clustering) -> Refits:
    """What fits a generalized model again.

    Raises
    ------
    CrosslevelError : it is made of more than can be left out by clusters.
    """
    require_likelihood(fit, "`influence`")
    reasons = {
        "has sampling weights, whose standard errors are a sandwich that refits do not compute": fit.design.is_sampled,
        "has random effects of known covariance, which belong to these very clusters": any(
            factor.structure.fixed.any() for factor in fit.design.factors
        ),
    }
    for reason, holds in reasons.items():
        if holds:
            raise CrosslevelError(
                f"`influence` cannot leave clusters out of this model: it {reason}. Fit it to the other "
                "clusters' rows, one cluster after another: fit.update(data=...)."
            )
    return GeneralizedRefits(
        design=fit.design, clusters=clusters, refitter=refitter(fit, errors=True, exact=True), df=fit.df.to_numpy()
    )


def _ordinary_refits(fit: OLSFit, clusters: Clustering) -> Refits:
    """What fits a linear regression again."""
    return OrdinaryRefits(
        design=fit.design, clusters=clusters, estimates=np.append(fit.beta, fit.sigma), vcov=fit.covariance.name,
        groups=fit.clusters,
    )  # fmt: skip
