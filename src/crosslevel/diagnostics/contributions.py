"""`contributions`: what each cluster tells about each coefficient."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from crosslevel.diagnostics import contributions_words as words
from crosslevel.diagnostics.context_terms import context_terms
from crosslevel.diagnostics.diagnostic import AnyFit, Concern
from crosslevel.diagnostics.influence import clusters_of
from crosslevel.diagnostics.leverage import information_of
from crosslevel.display import Document
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.estimators.ols_fit import OLSFit
from crosslevel.inference.clusterings import Clustering, clustering_named
from crosslevel.inference.hat_values import refuse_variances
from crosslevel.inference.left_out import products_by_cluster
from crosslevel.inference.row_information import RowInformation
from crosslevel.types import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Contributions:
    """What each cluster tells about each coefficient; figure `cl.plot.contributions`.

    Attributes
    ----------
    by : what the clusters are, as in "school".
    levels : the J clusters.
    outcome : name of the outcome.
    context : the coefficients of cluster-level variables and their interactions with others.
    shares : (J, p) share of each cluster in the information on each coefficient given all others; columns sum to 1.
    sizes, weight, effective_rows : (J,) see `frame`.
    reliability : (J, q) of the cluster's own random effects; no columns where clusters have none.
    crossed : whether random effects cross the clusters, so that a share may be negative.
    """

    by: str
    levels: tuple[object, ...] = field(repr=False)
    outcome: str
    context: tuple[str, ...]
    shares: pd.DataFrame = field(repr=False)
    sizes: IntArray = field(repr=False)
    weight: FloatArray = field(repr=False)
    effective_rows: FloatArray = field(repr=False)
    reliability: pd.DataFrame = field(repr=False)
    crossed: bool

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the coefficients."""
        return tuple(str(term) for term in self.shares.columns)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row for each cluster.

        Columns rows; effective_rows: how many independent rows would tell as much about a mean; weight: the cluster's
        share in all coefficients together, tr(M X_g'V_g^-1 X_g) / p; "reliability <effect>"; "share <term>".
        """
        first = pd.DataFrame(
            {"rows": self.sizes, "effective_rows": self.effective_rows, "weight": self.weight}, index=self.shares.index
        )
        own = self.reliability.set_axis(self.shares.index).add_prefix("reliability ")
        return pd.concat([first, own, self.shares.add_prefix("share ")], axis=1)

    @cached_property
    def coefficients(self) -> pd.DataFrame:
        """A row for each coefficient.

        Columns effective_clusters: (sum of shares)^2 / sum of squared shares, J where all tell the same; largest, and
        largest_share: the cluster that tells most; half: the fewest clusters with half of the information.
        """
        values = self.shares.to_numpy()
        ordered = -np.sort(-values, axis=0)
        half = 1 + np.argmax(np.cumsum(ordered, axis=0) >= 0.5 * values.sum(axis=0), axis=0)
        top = np.argmax(values, axis=0)
        frame = {
            "effective_clusters": values.sum(axis=0) ** 2 / np.sum(values**2, axis=0),
            "largest": [str(self.shares.index[k]) for k in top],
            "largest_share": values[top, np.arange(values.shape[1])],
            "half": half,
        }
        return pd.DataFrame(frame, index=pd.Index(self.terms, name="term"))

    def carriers(self, term: str, share: float = 0.5) -> pd.Series:
        """The fewest clusters that together have this share of the information on a coefficient, the largest first.

        Raises
        ------
        CrosslevelError : no such coefficient, or a share that is not between 0 and 1.
        """
        if term not in self.terms:
            raise CrosslevelError(f"`term` must be one of {', '.join(self.terms)}; got {term!r}.")
        if not isinstance(share, float | int | np.number) or not 0.0 < share <= 1.0:
            raise CrosslevelError(f"`share` is above 0 and at most 1; got {share!r}.")
        ordered = self.shares[term].sort_values(ascending=False, kind="stable")
        reached = ordered.cumsum().to_numpy() >= share * (1.0 - 1e-12)
        return ordered.iloc[: 1 + int(np.argmax(reached))] if reached.any() else ordered

    @property
    def sentences(self) -> tuple[str, ...]:
        """By how many clusters each context effect is carried; where by few, the last says what to do."""
        return words.sentences(self)

    @property
    def concern(self) -> Concern:
        """The light: "act" where one cluster has half of the information on a context effect, "look" where few do."""
        return words.concern(self)

    def document(self) -> Document:
        """The sentences, coefficients by how many clusters carry them, and the clusters that weigh most."""
        return words.write(self)

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()


def contributions(fit: AnyFit, by: str | Sequence[str] | None = None) -> Contributions:
    """Say what each cluster tells about each coefficient, and which clusters carry it.

    The information on coefficient k, given the other coefficients and the variances, is r_k'V^-1 r_k with r_k the part
    of its column that the others leave (by generalised least squares). Cluster g has the share

        r_gk'V_g^-1 r_gk / r_k'V^-1 r_k,

    and the coefficient is carried by 1 / (sum of squared shares) clusters, as many equal ones would leave it as certain
    as it is. For a predictor of the clusters a cluster tells much if its value is far from what the others predict, for
    one of the rows if it varies there. Shares in the intercept depend on where the predictors have their zero. Of
    other families V is that of the linear model that the likelihood looks like at the modes.

    Parameters
    ----------
    fit : of `mixed` (any number of factors, any family) or of `ols`.
    by : the clusters: a grouping factor, a column of the data, or columns as in "a:b". By default the outermost
        grouping factor of a mixed model, the clusters of `ols`.

    Returns
    -------
    Contributions : `.frame` by cluster, `.coefficients` by term, `.carriers(term)`; shares without units, reliabilities
        between 0 and 1, effective rows in rows; figure `cl.plot.contributions`.

    Raises
    ------
    CrosslevelError : no clusters are named; sampling weights; iterative algebra; correlated residuals.

    Source
    ------
    Belsley, Kuh & Welsch (1980), Regression Diagnostics, section 2.1, of partialled columns; Laakso & Taagepera (1979),
    Comparative Political Studies 12: 3-27, of effective numbers; Faes et al. (2009), The American Statistician 63:
    389-399, of effective rows; Raudenbush & Bryk (2002), Hierarchical Linear Models, pp. 46-49, of reliability.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("mathach ~ ses + sector + (1 | school)", cl.datasets.load("hsb"))
    >>> found = cl.contributions(fit)
    >>> found.coefficients[["effective_clusters", "largest", "half"]].round(1)
                      effective_clusters largest  half
    term
    Intercept                       89.9    4642    43
    ses                            143.6    6990    59
    sector[Catholic]               151.4    2305    63
    """
    if not isinstance(fit, AnyFit):
        raise CrosslevelError(
            f"`contributions` is for fits of cl.mixed and cl.ols; got {type(fit).__name__}. Fit the model by one of "
            "them."
        )
    _refuse(fit)
    clusters = clustering_named(fit.design, clusters_of(fit, by))
    found = information_of(fit)
    told = found.parts[:, fit.terms] if isinstance(fit, GeneralizedFit) else found.parts  # none of thresholds
    parts = np.column_stack([told, found.fixed_leverage, found.effective, np.ones(len(found.place))])
    sums, p = found.by_cluster(clusters, parts), len(fit.params)
    index = pd.Index([str(level) for level in clusters.levels], name=clusters.name)
    return Contributions(
        by=clusters.name, levels=clusters.levels, outcome=fit.spec.response_name,
        context=context_terms(fit.design, products_by_cluster(fit.design, clusters)),
        shares=pd.DataFrame(sums[:, :p], index=index, columns=[str(term) for term in fit.params.index]),
        sizes=np.round(sums[:, p + 2]).astype(np.int64), weight=sums[:, p] / found.parts.shape[1],
        effective_rows=sums[:, p + 1], reliability=_reliability(fit, clusters), crossed=_crosses(found, clusters),
    )  # fmt: skip


def _refuse(fit: AnyFit) -> None:
    """Refuse models whose rows have no known covariance, or tell something only together."""
    if fit.design.is_sampled:
        raise CrosslevelError(
            "`contributions` needs the covariance of the rows, of which the model says nothing with sampling weights. "
            "Fit without weights to look at them."
        )
    if isinstance(fit, MixedFit):
        refuse_variances(fit.design, fit.solution)
    if fit.design.residual is not None:
        raise CrosslevelError(
            "`contributions` needs residuals that are independent and alike given the random effects, and these have a "
            "structure of their own. Fit without `residual` to look at contributions."
        )
    if not len(fit.params):
        raise CrosslevelError("`contributions` is about coefficients, and this model has none. Add predictors.")


def _reliability(fit: AnyFit, clusters: Clustering) -> pd.DataFrame:
    """Reliabilities (J, q) of the clusters' random effects, if the clusters are levels of a grouping factor."""
    names = [] if isinstance(fit, OLSFit) else [factor.name for factor in fit.design.factors if not factor.members]
    if isinstance(fit, OLSFit) or clusters.name not in names:
        return pd.DataFrame(index=range(clusters.n_clusters))
    return fit.reliability(clusters.name).clusters


def _crosses(found: RowInformation, clusters: Clustering) -> bool:
    """Whether rows of different clusters share a random effect."""
    codes = clusters.codes[found.place]
    for loading in found.rows.loadings:
        first = np.full(loading.n_levels, -1, dtype=np.int64)
        for levels, f in loading.members:
            known = (levels >= 0) & np.any(f != 0.0, axis=1)
            first[levels[known]] = codes[known]
        for levels, f in loading.members:
            known = (levels >= 0) & np.any(f != 0.0, axis=1)
            if np.any(first[levels[known]] != codes[known]):
                return True
    return False
