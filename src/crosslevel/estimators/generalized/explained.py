"""What a fitted generalized model explains: shares of variance, R2 and intraclass correlations on two scales."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.combining import counts_of
from crosslevel.estimators.generalized.expectations import squared_shares
from crosslevel.inference.average_rows import fixed_covariance, moments_of
from crosslevel.inference.generalized.explained import (
    Part,
    PredictedRows,
    SharesOfVariance,
    latent_parts,
    outcome_parts,
    outcome_sums,
)
from crosslevel.inference.generalized.predictive import Predictive, mean_answer, predictive
from crosslevel.inference.generalized.row_variance import Approximation, latent_variance, quadratic_variance
from crosslevel.inference.generalized.tangents import Effect, Places, tangent
from crosslevel.inference.icc import IntraclassCorrelation
from crosslevel.inference.wald import check_level
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit

ShareScale: TypeAlias = Literal["latent", "response"]
ShareKind: TypeAlias = Literal["intercept", "adjusted", "unadjusted"]


def r2(
    fit: "GeneralizedFit",
    *,
    scale: ShareScale = "latent",
    approximation: Approximation | None = None,
    mean: float | None = None,
    level: float = 0.95,
) -> SharesOfVariance:
    """Explained variance: marginal (fixed effects) and conditional (and random effects), with intervals.

    Parameters
    ----------
    fit : the fitted model.
    scale : "latent": of the linear predictor and one answer's variance on its scale; "response": of the outcome itself,
        by the law of total variance, integrals over the random effects being exact.
    approximation : variance of one answer on the latent scale: "theoretical" (the default where the answer is a latent
        variable cut at thresholds), "lognormal" (the default with logarithmic links), "trigamma", "delta".
    mean : the mean outcome at which it is approximated; None for the model's, averaged over rows and random effects.
    level : confidence level of intervals (delta method).

    Returns
    -------
    record : `marginal`, `conditional`, `frame` (both with intervals), `shares` by source; prints as a table.

    Raises
    ------
    CrosslevelError : another word for `scale` or `approximation`; ordered categories on the scale of the outcome.

    Source
    ------
    Nakagawa, Johnson & Schielzeth (2017), J. R. Soc. Interface 14: 20170213.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> data["able"] = data["mathach"] > 13
    >>> fit = cl.mixed("able ~ ses + (1 | school)", data, family="binomial")
    >>> fit.r2().frame["r2"].round(2).to_dict()
    {'marginal': 0.08, 'conditional': 0.18}
    >>> fit.r2(scale="response").frame["r2"].round(2).to_dict()
    {'marginal': 0.06, 'conditional': 0.13}
    """
    return _shares(fit, "adjusted", scale, approximation, mean, level)


def icc(
    fit: "GeneralizedFit",
    group: str | None = None,
    *,
    kind: ShareKind | None = None,
    scale: ShareScale = "latent",
    approximation: Approximation | None = None,
    mean: float | None = None,
    level: float = 0.95,
) -> IntraclassCorrelation:
    """Intraclass correlation: the share of the variance that lies between clusters.

    On the latent scale it is the correlation of the latent variables of two rows of a cluster; on the scale of the
    outcome the correlation of their outcomes themselves, which is smaller.

    Parameters
    ----------
    fit : the fitted model.
    group : the grouping factor whose share is wanted; that of all of them together if None.
    kind : "intercept": of the intercepts, where every slope's variable is zero (latent scale only, its default);
        "adjusted": of all random effects at the average of the rows, in what the fixed part leaves; "unadjusted": in
        all of the variance.
    scale, approximation, mean, level : see `r2`.

    Raises
    ------
    CrosslevelError : no random effects, or intercepts; another word for an argument; see also `r2`.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> data["able"] = data["mathach"] > 13
    >>> fit = cl.mixed("able ~ ses + (1 | school)", data, family="binomial")
    >>> round(fit.icc().estimate, 3), round(fit.icc(scale="response").estimate, 3)
    (0.109, 0.081)
    """
    chosen = ("intercept" if scale == "latent" else "adjusted") if kind is None else kind
    if chosen not in get_args(ShareKind):
        raise CrosslevelError(f"`kind` is one of {', '.join(map(repr, get_args(ShareKind)))}; got {kind!r}.")
    if chosen == "intercept" and scale == "response":
        raise CrosslevelError("`kind` 'intercept' is of the latent scale. Use 'adjusted', at the average of the rows.")
    names = [factor.name for factor, alone in zip(fit.design.factors, _of_rows(fit), strict=True) if not alone]
    if not names:
        raise CrosslevelError("`icc` is a share of random effects; this model has none. Add (1 | school).")
    if group is not None and fit.design.factor_named(group).name not in names:
        raise CrosslevelError(
            f"`group` is {group!r}, of which every row has a level of its own: no two rows share it, and its variance "
            "is overdispersion, which counts with the variance of one answer."
        )
    found = _shares(fit, chosen, scale, approximation, mean, level)
    inside = list(found.random) if group is None else [group]
    return found.share(inside, None if chosen == "unadjusted" else [*found.random, "Residual"])


def _shares(
    fit: "GeneralizedFit",
    kind: str,
    scale: str,
    approximation: Approximation | None,
    mean: float | None,
    level: float,
) -> SharesOfVariance:
    """The parts of the variance on one scale."""
    check_level(level)
    if scale not in get_args(ShareScale):
        raise CrosslevelError(f"`scale` is 'latent' or 'response'; got {scale!r}.")
    estimates = predictive(fit.solution)
    if scale == "response":
        if approximation is not None or mean is not None:
            raise CrosslevelError(
                "`approximation` and `mean` are of the latent scale; on that of the outcome variances are exact. "
                "Leave them out."
            )
        parts, words = _of_outcome(fit, estimates), "variance of the outcome given its mean"
    else:
        parts, words = _of_predictor(fit, estimates, kind, approximation, mean)
    fixed, random, residual = parts
    alone = [factor.name for factor, own in zip(fit.design.factors, _of_rows(fit), strict=True) if own]
    if alone:
        words += f"; with the overdispersion by {', '.join(alone)}, of which every row has a level of its own"
    return SharesOfVariance(
        scale=scale, fixed=fixed, random=random, residual=residual, vcov=estimates.vcov, level=level, words=words
    )


def _of_outcome(fit: "GeneralizedFit", estimates: Predictive) -> tuple[Part, dict[str, Part], Part]:
    """Parts on the scale of the outcome."""
    variance = quadratic_variance(fit.family, estimates.shape)
    sums, total = np.zeros(1), 0.0
    for rows in predicted_rows(fit):
        sums = sums + outcome_sums(estimates, rows)
        total += float(rows.weights.sum())
    names = [factor.name for factor, alone in zip(fit.design.factors, _of_rows(fit), strict=True) if not alone]
    return outcome_parts(estimates, variance, names, sums / total)


def _of_predictor(
    fit: "GeneralizedFit", estimates: Predictive, kind: str, approximation: Approximation | None, mean: float | None
) -> tuple[tuple[Part, dict[str, Part], Part], str]:
    """Parts on the scale of the linear predictor, and what that of one answer is."""
    design = fit.design
    at = Part(value=np.nan, gradient=np.zeros(estimates.size))
    if fit.family.kind != "ordered":
        at = _mean_outcome(fit, estimates) if mean is None else Part(value=_checked(fit, mean), gradient=at.gradient)
    latent = latent_variance(fit.family, estimates.shape, at.value, approximation)
    covariance, _ = fixed_covariance(design.products, design.x, design.nobs)
    moments = dict(zip([factor.name for factor in design.factors], moments_of(design), strict=True))
    if kind == "intercept":
        moments = {factor.name: _of_intercept(fit, factor) for factor in design.factors}
    return latent_parts(estimates, covariance, moments, _of_rows(fit), at, latent), latent.words


def _of_rows(fit: "GeneralizedFit") -> tuple[bool, ...]:
    """For each grouping factor whether every row has a level of its own: overdispersion, not clusters."""
    return tuple(factor.n_levels == fit.design.rows.used and not factor.members for factor in fit.design.factors)


def _of_intercept(fit: "GeneralizedFit", factor: object) -> FloatArray:
    """Moments (q, q) of rows whose slopes' variables are all zero."""
    names = fit.design.effects_of(factor)  # type: ignore[arg-type]
    if "Intercept" not in names and not any("Intercept" in fit.design.effects_of(f) for f in fit.design.factors):
        raise CrosslevelError(
            "`icc` of kind 'intercept' needs a random intercept; this model has none. Use kind='adjusted'."
        )
    unit = np.array([float(name == "Intercept") for name in names])
    return np.outer(unit, unit)


def _checked(fit: "GeneralizedFit", mean: float) -> float:
    """A possible mean outcome."""
    highest = np.inf if fit.family.link == "log" else 1.0
    if isinstance(mean, bool) or not isinstance(mean, float | int | np.number) or not 0.0 < mean < highest:
        raise CrosslevelError(f"`mean` is a mean outcome of one trial between 0 and {highest:g}; got {mean!r}.")
    return float(mean)


def _mean_outcome(fit: "GeneralizedFit", estimates: Predictive) -> Part:
    """The model's mean outcome over rows and random effects."""
    total, value, gradient = 0.0, 0.0, np.zeros(estimates.size)
    for rows in predicted_rows(fit):
        columns = np.concatenate([rows.x, *rows.z])
        places = np.cumsum([len(rows.x), *(len(z) for z in rows.z)])
        effects = [
            Effect(z=np.arange(a, b), share=share)
            for a, b, share in zip(places[:-1], places[1:], rows.shares, strict=True)
        ]
        at = Places(
            x=np.arange(len(rows.x)), columns=columns[None], slopes=None, offset=rows.offset, weights=rows.weights
        )
        found = tangent(estimates, mean_answer(estimates), effects, at)
        value, gradient = value + float(found.value[0]), gradient + found.gradient[0]
        total += float(rows.weights.sum())
    return Part(value=value / total, gradient=gradient / total)


def predicted_rows(fit: "GeneralizedFit") -> Iterator[PredictedRows]:
    """The rows used, some at a time; each counts as often as its weights and its trials say."""
    design = fit.design
    weights = counts_of(fit)
    shares = [squared_shares(design, factor) for factor in design.factors]
    done = 0
    for block, _, _ in design.blocks():
        place = slice(done, done + block.shape[1])
        done = place.stop
        yield PredictedRows(
            x=block[design.x],
            z=tuple(block[factor.z] for factor in design.factors),
            shares=tuple(None if share is None else share[place] for share in shares),
            alone=_of_rows(fit),
            offset=np.zeros(block.shape[1]) if design.offset is None else design.offset[place],
            weights=np.ones(block.shape[1]) if weights is None else weights[place],
        )
