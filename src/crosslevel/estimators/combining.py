"""Any fitted model as far as combinations of its coefficients are concerned: estimates, standard errors, df."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from crosslevel.design import Design
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.asked.fixed import method_of, refuse_both
from crosslevel.inference.df import DfMethod
from crosslevel.inference.estimates import Single
from crosslevel.types import CodeArray, FloatArray, IntArray

if TYPE_CHECKING:
    from crosslevel.inference.bootstrap.record import Bootstrap

NOISE = 1e-12
"""Weight of a coefficient, relative to one over the size of its column, that comes from rounding alone."""

DETERMINED = 1e-7
"""Deviation, relative to the size of a column, from what earlier columns determine it to be."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Combiner:
    """Estimates of combinations C beta of the coefficients of a model.

    Attributes
    ----------
    design : of the model.
    beta : (p,) coefficients.
    single : standard errors and degrees of freedom of rows C (m, p).
    method : name of the way degrees of freedom are counted, or of the covariance.
    description : the same in words.
    replicates : (B, p) coefficients in bootstrap replicates, for intervals from them; None without.
    """

    design: Design = field(repr=False)
    beta: FloatArray = field(repr=False)
    single: Callable[[FloatArray], Single] = field(repr=False)
    method: str
    description: str
    replicates: FloatArray | None = field(default=None, repr=False)

    def estimate(self, rows: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Estimates, standard errors and degrees of freedom (m,) of rows C (m, p); NaN for rows that are NaN."""
        known = np.all(np.isfinite(rows), axis=1)
        out = np.full((3, len(rows)), np.nan)
        if np.any(known):
            found = self.single(rows[known])
            out[:, known] = rows[known] @ self.beta, found.std_error, found.df
        return out[0], out[1], out[2]

    def drawn(self, rows: FloatArray) -> FloatArray | None:
        """Values (m, B) of rows C (m, p) in the replicates; NaN for rows that are NaN. None without replicates."""
        return None if self.replicates is None else np.asarray(rows @ self.replicates.T)

    def estimable(self, full: FloatArray, unit: float = 1.0) -> FloatArray:
        """Rows (m, p) of the estimated columns from rows (m, columns of the fixed part).

        Weights that are rounding errors are zero. Rows are NaN where columns that were left out because others
        determine them, as in an interaction with an empty cell, take values that the data do not determine.

        Parameters
        ----------
        full : the rows.
        unit : size of the variable by which the columns were differentiated; 1 for the columns themselves.
        """
        size = self._size / unit
        rows = np.where(np.abs(full) <= NOISE * size, 0.0, full)
        out = np.array(rows[:, self.design.x])
        left_out, image = self._aliases
        if len(left_out):
            away = np.abs(rows[:, left_out] - out @ image) > DETERMINED * size[left_out]
            out[np.any(away, axis=1)] = np.nan
        return out

    @cached_property
    def _moments(self) -> FloatArray:
        """(columns of the fixed part)^2 mean products of the columns over the rows."""
        products = self.design.products
        n = self.design.spec.n_fixed
        place = (products.grand_mean + products.origin)[:n]
        return np.asarray(products.total[:n, :n] / products.weight + np.outer(place, place))

    @cached_property
    def _size(self) -> FloatArray:
        """Root mean square of each column of the fixed part; 1 for one that is zero."""
        size = np.sqrt(np.diag(self._moments))
        return np.where(size > 0.0, size, 1.0)

    @cached_property
    def _aliases(self) -> tuple[IntArray, FloatArray]:
        """Positions of the columns that were left out, and how (p, left out) the others determine them."""
        x = self.design.x
        left_out = np.setdiff1d(np.arange(self.design.spec.n_fixed), x)
        if not len(left_out):
            return left_out, np.zeros((len(x), 0))
        scale = self._size[x]
        moments = self._moments[np.ix_(x, x)] / np.outer(scale, scale)
        image: FloatArray = np.linalg.lstsq(moments, self._moments[np.ix_(x, left_out)] / scale[:, None], rcond=None)[0]
        return left_out, image / scale[:, None]


def combiner_of(fit: Any, ddf: str | None, vcov: str | None) -> Combiner:
    """How combinations of a fit's coefficients are tested.

    Parameters
    ----------
    fit : a fitted mixed model or linear regression.
    ddf : degrees of freedom of a mixed model; those of the fit if None.
    vcov : a cluster-robust covariance such as "CR2" (of a regression also "HC3", "iid"); that of the fit if None.

    Raises
    ------
    CrosslevelError : another kind of object, a model without fixed part, or `ddf` beside a covariance of its own.
    """
    design = getattr(fit, "design", None)
    if not isinstance(design, Design):
        raise CrosslevelError(f"`fit` is a model fitted by cl.mixed or cl.ols; got {type(fit).__name__}.")
    if not len(design.x):
        raise CrosslevelError("`fit` has no fixed coefficients, so that it predicts zero everywhere. Add predictors.")
    if hasattr(fit, "covariance_by"):
        if ddf is not None:
            raise CrosslevelError(
                f"`ddf` is {ddf!r}, but the degrees of freedom of a linear regression follow from its covariance. "
                "Leave it out, or name a `vcov`."
            )
        whole = hasattr(fit, "whole_by")  # of an ordered outcome its intercept, which is no coefficient, included
        found = fit.whole_by(vcov) if whole else fit.covariance_by(vcov)
        beta = fit.solved.beta if whole else fit.params.to_numpy()
        return _of_covariance(design, beta, found, found.name, found.description)
    if vcov is not None:
        refuse_both(ddf, vcov)
        covariance = fit.robust(vcov).covariance
        beta = fit.estimates.beta
        told = fit.terms if hasattr(fit, "family") else np.arange(len(beta))
        return _of_covariance(design, beta, covariance, vcov, covariance.kind.description, told)
    method, estimates = _method_of(fit, ddf), fit.estimates
    return Combiner(
        design=design, beta=estimates.beta, single=partial(method.single, estimates), method=method.name,
        description=method.description,
    )  # fmt: skip


def with_replicates(combiner: Combiner, fit: Any, bootstrap: "Bootstrap | None") -> Combiner:
    """A combiner that takes standard errors and intervals from a bootstrap of the same fit.

    Raises
    ------
    CrosslevelError : no bootstrap, or one of other coefficients.
    """
    if bootstrap is None:
        return combiner
    told = getattr(bootstrap, "names", ())[: len(fit.params)]
    if tuple(told) != tuple(fit.params.index):
        raise CrosslevelError(
            "`bootstrap` is the result of fit.bootstrap() of this very fit; got "
            f"{type(bootstrap).__name__}{f' of {list(told)}' if told else ''}."
        )
    values = bootstrap.batch.values[bootstrap.used][:, : len(told)]
    terms = getattr(fit, "terms", None) if hasattr(fit, "family") else None
    replicates = np.zeros((len(values), len(combiner.beta)))
    # the intercept of an ordered outcome is no coefficient, and is in no row
    replicates[:, np.arange(len(told)) if terms is None else terms] = values
    words = f"{bootstrap.kind} bootstrap, {len(values)} replicates; percentile intervals"
    return replace(combiner, replicates=replicates, method="bootstrap", description=words)


def _method_of(fit: Any, ddf: str | None) -> DfMethod:
    """How degrees of freedom of a mixed model are counted."""
    if not hasattr(fit, "family"):
        return method_of(fit, ddf)
    from crosslevel.estimators.generalized.coefficients import method_of as generalized_method_of

    return generalized_method_of(fit, ddf)


def _of_covariance(
    design: Design, beta: FloatArray, covariance: Any, name: str, description: str, told: IntArray | None = None
) -> Combiner:
    """A combiner whose covariance answers by itself, for the coefficients at `told`; all if None."""
    single = partial(_single_by, covariance, np.arange(len(beta)) if told is None else told)
    return Combiner(design=design, beta=beta, single=single, method=name, description=description)


def _single_by(covariance: Any, told: IntArray, rows: FloatArray) -> Single:
    """Standard errors and degrees of freedom of rows C (m, p) by a covariance of the coefficients at `told`."""
    return Single(std_error=covariance.std_error(rows[:, told]), df=covariance.df(rows[:, told]))


def row_weights(design: Design) -> FloatArray | None:
    """(rows used,) what rows count in averages: frequencies and sampling weights do, precisions do not."""
    weights = design.weights
    return None if weights is None or weights.is_precision else weights.total


def counts_of(fit: Any) -> FloatArray | None:
    """(rows used,) what rows count in averages: their weights, times their trials where an outcome has these."""
    weights, outcome = row_weights(fit.design), fit.design.outcome
    if outcome is None or not outcome.has_trials:
        return weights
    return np.asarray(outcome.size if weights is None else weights * outcome.size)


@dataclass(frozen=True, kw_only=True, eq=False)
class Clusters:
    """The clusters of one grouping factor, for averages in which each counts once.

    Attributes
    ----------
    codes : (rows used,) cluster of each row.
    n_levels : number of clusters.
    weights : (n_levels,) what clusters count, None if they count alike.
    """

    codes: CodeArray = field(repr=False)
    n_levels: int
    weights: FloatArray | None = field(repr=False)

    @cached_property
    def first(self) -> CodeArray:
        """(occurring clusters,) a row of each."""
        return np.asarray(np.unique(self.codes, return_index=True)[1], dtype=np.int32)


def clusters_of(fit: Any) -> Mapping[str, Clusters]:
    """Clusters by grouping factor, those of the fewest clusters first; rows that belong to several are in none."""
    design: Design = fit.design
    found: dict[str, Clusters] = {}
    for k, factor in enumerate(design.factors):
        if not factor.members:
            codes = design.used_codes(factor)
            found[factor.name] = Clusters(
                codes=codes, n_levels=factor.n_levels, weights=_weights_of(design, k, codes, factor.n_levels)
            )
    for name in getattr(fit, "clusters", ()):
        from crosslevel.inference.clusterings import clustering_named

        clusters = clustering_named(design, name)
        found[name] = Clusters(codes=clusters.codes, n_levels=clusters.n_clusters, weights=None)
    return dict(sorted(found.items(), key=lambda item: item[1].n_levels))


def _weights_of(design: Design, k: int, codes: CodeArray, n_levels: int) -> FloatArray | None:
    """(J,) weights of a factor's clusters, those of the clusters that they lie in included."""
    weights = design.weights
    if weights is None or not weights.is_sampling or weights.total is None:
        return None
    inside = weights.inside[k]
    out = np.zeros(n_levels)
    out[codes] = weights.total if inside is None else weights.total / inside
    return out
