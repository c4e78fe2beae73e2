"""`leverage`: how far each row, and each cluster, pulls its own fitted values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from crosslevel.diagnostics import leverage_words as words
from crosslevel.diagnostics.diagnostic import AnyFit, Concern
from crosslevel.display import Document
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.generalized.likelihoods import require_likelihood
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.estimators.ols_fit import OLSFit
from crosslevel.estimators.random import level_index
from crosslevel.estimators.rows import row_index
from crosslevel.inference.clusterings import Clustering, clustering_named
from crosslevel.inference.hat_values import hat_values
from crosslevel.inference.robust_rows import Working, all_rows
from crosslevel.inference.row_information import RowInformation, generalized_rows
from crosslevel.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Leverage:
    """Hat values of rows and their sums over clusters; figure `cl.plot.leverage`.

    Attributes
    ----------
    outcome : name of the outcome.
    rows : by row used: leverage (d fitted / d outcome, 0 to 1), and its parts fixed and random, those of the
        coefficients and of the random effects.
    clusters : for each grouping factor, or clustering of `ols`, by level: rows; leverage, fixed, random (sums over its
        rows); mean (leverage of a row); share (fixed over the number of coefficients): the weight of the cluster in
        all coefficients together.
    n_coefficients : p, the sum of the fixed parts; of an ordinal outcome thresholds count as one intercept.
    """

    outcome: str
    rows: pd.DataFrame = field(repr=False)
    clusters: Mapping[str, pd.DataFrame] = field(repr=False)
    n_coefficients: int

    @property
    def frame(self) -> pd.DataFrame:
        """The rows."""
        return self.rows

    @property
    def total(self) -> float:
        """Trace of the hat matrix: the effective number of parameters of the fitted values."""
        first = next(iter(self.clusters.values()), None)
        return float(self.rows["leverage"].sum() if first is None else first["leverage"].sum())

    @property
    def sentences(self) -> tuple[str, ...]:
        """How many parameters the fitted values take, and which rows and clusters pull hardest."""
        return words.sentences(self)

    @property
    def concern(self) -> Concern:
        """The light: "look" where a row decides its own fitted value, or a cluster has half of the coefficients."""
        return words.concern(self)

    def document(self) -> Document:
        """The sentences, and the rows and clusters with the highest leverage."""
        return words.write(self)

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()


def leverage(fit: AnyFit) -> Leverage:
    """Hat values h_i = d yhat_i / d y_i given the variance parameters, and their sums over clusters.

    The fitted values X betahat + Z bhat are H y with

        H = X M X'V^-1 + Z Psi Z'V^-1 (I - X M X'V^-1),     M = (X'V^-1 X)^-1,

    the part of the coefficients, whose trace is p, and that of the random effects; together they are between 0 and 1,
    and their sum is the effective number of parameters. Over the rows of an independent cluster g, the fixed parts sum
    to tr(M X_g'V_g^-1 X_g), the leverage of the cluster as a unit of the upper level. For other families V is that of
    the linear model that the likelihood looks like at the modes. A high leverage is no fault: it says where an outcome
    that is wrong would do harm; `cl.influence` says whether one does.

    Parameters
    ----------
    fit : of `mixed` (any number of factors, any family) or of `ols`.

    Returns
    -------
    Leverage : `.rows` (n rows), `.clusters` by factor, all without units; figure `cl.plot.leverage`.

    Raises
    ------
    CrosslevelError : sampling weights, correlated residuals, iterative algebra, or another kind of fit.

    Source
    ------
    Demidenko & Stukel (2005), Stat. Med. 24: 893-909; Nobre & Singer (2011), J. Appl. Stat. 38: 1063-1072.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> found = cl.leverage(fit)
    >>> found.rows.head(2).round(3)
       leverage  fixed  random
    0     0.229  0.019   0.210
    1     0.170  0.014   0.156
    >>> round(found.total, 2)
    29.02
    """
    if not isinstance(fit, AnyFit):
        raise CrosslevelError(
            f"`leverage` is for fits of cl.mixed and cl.ols; got {type(fit).__name__}. Fit the model by one of them."
        )
    fixed, both, times = _hat_values(fit)
    parts = np.column_stack([both, fixed, both - fixed])
    rows = pd.DataFrame(parts, columns=["leverage", "fixed", "random"], index=row_index(fit.design))
    p, design = len(fit.design.x), fit.design
    clusters: dict[str, pd.DataFrame] = {}
    if isinstance(fit, OLSFit):
        for name in fit.clusters:
            found = clustering_named(design, name)
            clusters[name] = _by_cluster(found, pd.Index(found.levels, name=name), parts, times, p)
    else:
        for factor in (factor for factor in design.factors if not factor.members):
            found = Clustering(name=factor.name, levels=factor.levels, codes=design.used_codes(factor))
            clusters[factor.name] = _by_cluster(found, level_index(factor), parts, times, p)
    return Leverage(outcome=fit.spec.response_name, rows=rows, clusters=clusters, n_coefficients=p)


def _hat_values(fit: AnyFit) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    """(n,) fixed part, and all, of the rows used, and how many rows each stands for (None: one each)."""
    if isinstance(fit, MixedFit):
        hat = hat_values(fit.design, fit.solution)
        return hat.fixed, hat.values, hat.times
    found = information_of(fit)
    weights, n = fit.design.weights, fit.design.rows.used
    fixed, both = np.zeros(n), np.zeros(n)
    fixed[found.place], both[found.place] = found.fixed_leverage, found.leverage
    frequency = weights is not None and weights.is_frequency
    if isinstance(fit, GeneralizedFit) and frequency and weights is not None and weights.rows is not None:
        return fixed / weights.rows, both / weights.rows, weights.rows  # such a row carries all its copies
    return fixed, both, weights.rows if frequency and weights is not None else None


def information_of(fit: AnyFit) -> RowInformation:
    """The rows of a fit with their working covariance."""
    if isinstance(fit, MixedFit):
        rows, place = all_rows(fit.design, Working.of(fit.solution, fit.design))
        return RowInformation(rows=rows, place=place, independent=fit.design.residual is None)
    if isinstance(fit, GeneralizedFit):
        require_likelihood(fit, "`leverage`")
        return generalized_rows(fit.solution)
    solved = fit.solved
    working = Working(coordinates=solved.coordinates, beta=solved.working_beta, bread=solved.working_unscaled)
    rows, place = all_rows(fit.design, working)
    return RowInformation(rows=rows, place=place)


def _by_cluster(
    clusters: Clustering, index: pd.Index, parts: FloatArray, times: FloatArray | None, p: int
) -> pd.DataFrame:
    """Sums of the parts (n, 3) over clusters."""
    count = np.ones(len(parts)) if times is None else times
    out = np.zeros((clusters.n_clusters, 4))
    np.add.at(out, clusters.codes, np.column_stack([count, parts * count[:, None]]))
    frame = pd.DataFrame(out[:, 1:], columns=["leverage", "fixed", "random"], index=index)
    frame.insert(0, "rows", np.round(out[:, 0]).astype(np.int64))
    return frame.assign(mean=out[:, 1] / out[:, 0], share=out[:, 2] / max(p, 1))
