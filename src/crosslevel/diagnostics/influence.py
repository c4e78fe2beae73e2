"""`influence`: the model without each cluster in turn, and what that changes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np
import pandas as pd

from crosslevel.diagnostics.context_terms import context_terms
from crosslevel.display import Document
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.asked.robust import cluster_names, default_clusters
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.generalized.likelihoods import refitter, require_likelihood
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.estimators.ols_fit import OLSFit
from crosslevel.inference.bootstrap.run import Reporter
from crosslevel.inference.clusterings import Clustering, clustering_named
from crosslevel.inference.df import df_method
from crosslevel.inference.generalized.left_out import GeneralizedRefits
from crosslevel.inference.left_out import MixedRefits, OrdinaryRefits, Refit, Refits
from crosslevel.inference.wald import check_level, coefficient_table
from crosslevel.kernels.first_use import announce_compilation
from crosslevel.types import BoolArray, FloatArray, IntArray

BATCH = 64
"""Refits between two reports of how far they have come."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Influence:
    """Estimates without each cluster in turn.

    Attributes
    ----------
    by : what the clusters are, as in "school".
    levels, sizes : the J clusters, and their rows.
    outcome : name of the outcome.
    names : of the m estimates, coefficients first.
    table : coefficient table of the whole fit.
    context : the coefficients of cluster-level variables and their interactions with others.
    vcov : (p, p) covariance of the coefficients of the whole fit.
    whole : (m,) estimates of the whole fit.
    refits : without each cluster.
    level : confidence level, below 1 less which a p-value is significant.
    """

    by: str
    levels: tuple[object, ...] = field(repr=False)
    sizes: IntArray = field(repr=False)
    outcome: str
    names: tuple[str, ...] = field(repr=False)
    table: pd.DataFrame = field(repr=False)
    context: tuple[str, ...]
    vcov: FloatArray = field(repr=False)
    whole: FloatArray = field(repr=False)
    refits: tuple[Refit, ...] = field(repr=False)
    level: float

    # -- numbers --------------------------------------------------------------------------------------------------
    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the coefficients."""
        return tuple(str(term) for term in self.table.index)

    @cached_property
    def estimates(self) -> pd.DataFrame:
        """Coefficients without each cluster."""
        return self._coefficients(np.array([refit.values[: len(self.terms)] for refit in self.refits]))

    @cached_property
    def std_errors(self) -> pd.DataFrame:
        """Standard errors of the coefficients' tests without each cluster."""
        return self._coefficients(np.array([refit.std_error for refit in self.refits]))

    @cached_property
    def p_values(self) -> pd.DataFrame:
        """Two-sided p-values of the coefficients without each cluster."""
        rows = [
            coefficient_table(self.terms, refit.values[: len(self.terms)], refit.std_error, refit.df, level=self.level)
            for refit in self.refits
        ]
        return self._coefficients(np.array([row["p_value"].to_numpy() for row in rows]))

    @cached_property
    def changes(self) -> pd.DataFrame:
        """Coefficients without each cluster less those of the whole fit."""
        return self._coefficients(self.estimates.to_numpy() - self.table["estimate"].to_numpy())

    @cached_property
    def dfbetas(self) -> pd.DataFrame:
        """Changes of the coefficients in units of their model standard errors without the cluster."""
        variances = np.array([np.diag(refit.vcov) for refit in self.refits])
        return self._coefficients(self.changes.to_numpy() / np.sqrt(variances))

    @cached_property
    def cooks_distance(self) -> pd.Series:
        """(b_j - b)'V^-1 (b_j - b) / p, b_j without cluster j; NaN where a coefficient cannot be estimated."""
        changes = self.changes.to_numpy()
        half = np.linalg.solve(np.linalg.cholesky(self.vcov), changes.T)
        return self._by_cluster(np.sum(half**2, axis=0) / max(len(self.terms), 1), "cooks_distance")

    @cached_property
    def log_covratio(self) -> pd.Series:
        """Change of log det V: above zero where estimates are less precise without the cluster."""
        whole = np.linalg.slogdet(self.vcov)[1]
        able = (bool(np.all(np.isfinite(refit.vcov))) for refit in self.refits)
        each = zip(able, self.refits, strict=True)
        values = [np.linalg.slogdet(refit.vcov)[1] if fine else np.nan for fine, refit in each]
        return self._by_cluster(np.array(values) - whole, "log_covratio")

    @cached_property
    def variances(self) -> pd.DataFrame:
        """Standard deviations, correlations and other parameters without each cluster."""
        p = len(self.terms)
        values = np.array([refit.values[p:] for refit in self.refits]).reshape(len(self.levels), -1)
        return pd.DataFrame(values, index=self._index, columns=list(self.names[p:]))

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row for each cluster that is left out.

        Columns rows; cooks_distance; log_covratio; for each coefficient its value without the cluster under its own
        name, "change <term>", "dfbetas <term>" and "p <term>"; the variance parameters; and problem, why there is no
        refit or what cannot be estimated ("" if nothing).
        """
        parts: list[pd.DataFrame | pd.Series] = [
            self._by_cluster(self.sizes, "rows"), self.cooks_distance, self.log_covratio, self.estimates,
            self.changes.add_prefix("change "), self.dfbetas.add_prefix("dfbetas "), self.p_values.add_prefix("p "),
            self.variances,
        ]  # fmt: skip
        return pd.concat(parts, axis=1).assign(problem=[problem_of(refit) for refit in self.refits])

    # -- what follows ---------------------------------------------------------------------------------------------
    def of_whole(self, term: str, column: str = "estimate") -> float:
        """A number of the whole fit's coefficient table."""
        return float(self.table[column].to_numpy()[self.terms.index(term)])

    def significant(self, term: str) -> bool:
        """Whether a coefficient of the whole fit differs from zero at the level."""
        return self.of_whole(term, "p_value") < 1.0 - self.level

    def turned(self, term: str) -> BoolArray:
        """(J,) whether the coefficient has the other sign without the cluster."""
        return np.asarray(self.estimates[term].to_numpy() * self.of_whole(term) < 0.0)

    def decided_otherwise(self, term: str) -> BoolArray:
        """(J,) whether the test of the coefficient ends otherwise without the cluster."""
        p_value = self.p_values[term].to_numpy()
        return np.asarray(np.isfinite(p_value) & ((p_value < 1.0 - self.level) != self.significant(term)))

    def document(self) -> Document:
        """The clusters that matter most, and which context effects depend on a single cluster."""
        from crosslevel.diagnostics.influence_words import write

        return write(self)

    def __str__(self) -> str:
        return str(self.document())

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()

    @property
    def _index(self) -> pd.Index:
        return pd.Index([str(level) for level in self.levels], name=self.by)

    def _coefficients(self, values: FloatArray) -> pd.DataFrame:
        """A frame by cluster and coefficient."""
        return pd.DataFrame(values.reshape(len(self.levels), -1), index=self._index, columns=list(self.terms))

    def _by_cluster(self, values: FloatArray | IntArray, name: str) -> pd.Series:
        """A Series by cluster."""
        return pd.Series(values, index=self._index, name=name)


def problem_of(refit: Refit) -> str:
    """Why there is no refit, or what cannot be estimated without the cluster."""
    lost = f"Cannot be estimated without it: {', '.join(refit.lost)}." if refit.lost else ""
    return " ".join(part for part in (lost, refit.problem) if part)


AnyFit: TypeAlias = MixedFit | GeneralizedFit | OLSFit
"""A fit that can be fitted again without some of its rows."""


def influence(
    fit: AnyFit, by: str | Sequence[str] | None = None, *, level: float = 0.95, progress: bool = True
) -> Influence:
    """Fit a model again without each cluster in turn, and say what that changes.

    Each refit is exact: the likelihood of the other clusters is maximised, on cross-products in which the cluster
    counts zero times, variances and degrees of freedom included. Centring constants and cluster means stay as they were
    learnt from all rows. Of another family than the normal one, the likelihood is the fit's approximation with as many
    quadrature nodes, and degrees of freedom are those of the whole fit.

    Parameters
    ----------
    fit : of `mixed` or `ols`.
    by : what is left out: a grouping factor, a column of the data, or columns as in "a:b". By default the outermost
        grouping factor of a mixed model, the clusters of `ols`.
    level : confidence level: a coefficient is called significant if its p-value is below 1 - level.
    progress : whether to report, on the standard error stream, how far a long run has come.

    Returns
    -------
    Influence : prints as tables and sentences; `.frame` by cluster, `.estimates`, `.changes`, `.dfbetas`,
        `.cooks_distance`, `.log_covratio`, `.variances`; figure `cl.plot.influence`.

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
    clusters = clustering_named(fit.design, _clusters_of(fit, by))
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
        outcome=fit.spec.response_name, names=refits.names, table=fit.tidy(level=level),
        context=context_terms(fit.design, refits.by_cluster), vcov=fit.vcov.to_numpy(), whole=refits.values,
        refits=tuple(found), level=level,
    )  # fmt: skip


def _refits(fit: AnyFit, clusters: Clustering) -> Refits:
    """What fits a model again."""
    if isinstance(fit, MixedFit):
        return _mixed_refits(fit, clusters)
    return _ordinary_refits(fit, clusters) if isinstance(fit, OLSFit) else _generalized_refits(fit, clusters)


def _clusters_of(fit: AnyFit, by: str | Sequence[str] | None) -> str:
    """The name of the one clustering that is left out."""
    if by is not None:
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
    announce_compilation("one" if design.is_single else "several")
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
