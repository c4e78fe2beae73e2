"""What a fitted mixed model explains: the numbers of `inference.explained`, with the models it is compared with."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.baselines import has_intercepts_only, intercepts_only, random_coefficients
from crosslevel.inference.average_rows import fixed_covariance, mean_residual_variance, moments_of, random_share
from crosslevel.inference.explained import ExplainedVariance, Undefined, VarianceSources, variance_sources
from crosslevel.inference.icc import IntraclassCorrelation
from crosslevel.inference.reduction import LevelReduction, Reduction, level_variances, mean_variance_weights
from crosslevel.solve import NEGLIGIBLE
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.estimators.mixed_fit import MixedFit

Made = TypeVar("Made")
"""What is made or undefined."""

SAME = 1e-9
"""Relative difference of the outcomes' mean squares up to which they are those of the same rows."""


def explained_variance(fit: "MixedFit", null: "MixedFit | Literal['auto'] | None") -> ExplainedVariance:
    """All measures of a fit; see `asked.explained.r2`."""
    design, solution = fit.design, fit.solution
    phi, _ = fixed_covariance(design.products, design.x, design.nobs)
    random = {
        factor.name: float(np.sum(moments * part.covariance))
        for factor, moments, part in zip(design.factors, moments_of(design), fit.variance_components, strict=True)
    }
    baseline = _baseline(fit, null)
    return ExplainedVariance(
        fixed=float(solution.beta @ phi @ solution.beta),
        random=random,
        residual=mean_residual_variance(design, solution),
        sources=_sources(fit),
        prediction=_made(lambda: _prediction(fit, baseline)),
        reductions=_made(lambda: _reductions(fit, baseline, given=null != "auto")),
    )


def _made(make: Callable[[], Made]) -> Made | Undefined:
    """What a function makes, or why it cannot."""
    try:
        return make()
    except CrosslevelError as error:
        return Undefined(reason=str(error))


def _sources(fit: "MixedFit") -> VarianceSources | Undefined:
    """Sources within and between the clusters of the one grouping factor."""
    design = fit.design
    if not design.is_single:
        named = ", ".join(factor.name for factor in design.factors) or "none"
        return Undefined(
            reason="The decomposition of Rights & Sterba (2019) is of rows in the clusters of one grouping factor, "
            f"each in one cluster; the model has {named}. `shares` has the variance of each factor."
        )
    residual = mean_residual_variance(design, fit.solution)
    return variance_sources(design, fit.solution, fit.variance_components[0].covariance, residual)


def _baseline(fit: "MixedFit", null: "MixedFit | Literal['auto'] | None") -> "MixedFit | Undefined":
    """The model to compare with."""
    from crosslevel.estimators.mixed_fit import MixedFit

    if null is None:
        return Undefined(reason="`null` is None: there is no model to compare with. Leave it out, or give a fit.")
    if isinstance(null, str) and null == "auto":
        return _made(lambda: intercepts_only(fit))
    if not isinstance(null, MixedFit):
        raise CrosslevelError(f"`null` is a fit of `mixed`, 'auto' or None; got {null!r}.")
    _require_same_outcome(fit, null)
    return null


def _require_same_outcome(fit: "MixedFit", null: "MixedFit") -> None:
    """Refuse to compare variances of other outcomes, rows, or ways of estimation."""
    if fit.method != null.method:
        raise CrosslevelError(
            f"`null` was fitted with method={null.method!r} and the model with method={fit.method!r}, which estimate "
            "variances differently. Fit both with the same."
        )
    own, other = fit.design.products, null.design.products
    spread = float(np.sqrt(own.total[-1, -1] / own.weight))
    shift = float((own.grand_mean + own.origin - other.grand_mean[-1] - other.origin[-1])[-1])
    alike = np.allclose([own.weight, own.total[-1, -1]], [other.weight, other.total[-1, -1]], rtol=SAME, atol=0.0)
    if fit.nobs != null.nobs or not alike or abs(shift) > SAME * spread:
        raise CrosslevelError(
            f"`null` has {null.nobs} rows of an outcome with another mean or variance than the {fit.nobs} rows of the "
            "model. Fit both to the same rows of the same outcome."
        )


def _prediction(fit: "MixedFit", baseline: "MixedFit | Undefined") -> tuple[LevelReduction, ...]:
    """Snijders & Bosker's reductions, of the model with random intercepts only."""
    null, design = _require(baseline), fit.design
    if design.residual is not None:
        raise CrosslevelError(
            "The reduction of prediction error is of independent residuals with one variance; this model has "
            f"{design.residual.words}. `marginal` and `reduction` have a value."
        )
    shared = [factor.name for factor in design.factors if factor.members]
    if shared:
        raise CrosslevelError(
            f"The reduction of prediction error is of means of clusters, and rows lie in several levels of "
            f"{shared[0]}. `marginal` and `reduction` have a value."
        )
    if not has_intercepts_only(null.design) or null.ngroups != fit.ngroups:
        raise CrosslevelError(
            "The reduction of prediction error is of models whose intercepts alone vary, between the clusters of the "
            f"same grouping factors; `null` is {null.formula!r}. Leave `null` out, or give such a model."
        )
    model = fit if has_intercepts_only(design) else intercepts_only(fit, fixed=True)
    weights = design.weights
    times = weights.rows if weights is not None and weights.is_frequency else None
    codes = [] if design.is_single else [design.used_codes(factor) for factor in design.factors]
    sizes, parts = mean_variance_weights(design.sizes, codes, times)
    before, after = (_level_variances(each, fit, sizes, parts) for each in (null, model))
    names = ["rows", *fit.ngroups]
    return tuple(
        LevelReduction(level=name, null=float(a), model=float(b), size=float(size))
        for name, a, b, size in zip(names, before, after, np.append(1.0, sizes), strict=True)
    )


def _level_variances(each: "MixedFit", fit: "MixedFit", sizes: FloatArray, parts: FloatArray) -> FloatArray:
    """Variances of the errors of a model of intercepts, with the factors in the order of the fit."""
    tau = {
        factor.name: float(part.covariance[0, 0])
        for factor, part in zip(each.design.factors, each.variance_components, strict=True)
    }
    ordered = np.array([tau[name] for name in fit.ngroups])
    return level_variances(ordered, mean_residual_variance(each.design, each.solution), sizes, parts)


def _reductions(fit: "MixedFit", baseline: "MixedFit | Undefined", *, given: bool) -> tuple[Reduction, ...]:
    """Raudenbush & Bryk's reductions of each variance that a baseline has too."""
    null = _require(baseline)
    out = _compared(fit, null, "given" if given else "intercept only", residual=True)
    if given:
        return out
    middle = random_coefficients(fit)
    return out if middle is None else out + _compared(fit, middle, "random coefficients", residual=False)


def _compared(fit: "MixedFit", null: "MixedFit", baseline: str, *, residual: bool) -> tuple[Reduction, ...]:
    """The variances of a fit beside those of a baseline, where both are estimated."""
    out = []
    if residual and fit.solution.criterion.sigma is None and null.solution.criterion.sigma is None:
        before, after = (mean_residual_variance(each.design, each.solution) for each in (null, fit))
        out.append(Reduction(group="Residual", term="", baseline=baseline, null=before, model=after))
    others = _estimated_variances(null)
    for (group, term), variance in _estimated_variances(fit).items():
        if (group, term) in others:
            before = others[group, term]
            out.append(Reduction(group=group, term=term, baseline=baseline, null=before, model=variance))
    return tuple(out)


def _estimated_variances(fit: "MixedFit") -> dict[tuple[str, str], float]:
    """Variances of the random effects by group and term, without those that were given; negligible ones are zero."""
    design, out = fit.design, {}
    least = NEGLIGIBLE**2 * mean_residual_variance(design, fit.solution)
    for factor, part, moments in zip(design.factors, fit.variance_components, moments_of(design), strict=True):
        for e, term in enumerate(design.effects_of(factor)):
            variance = float(part.covariance[e, e])
            if not factor.structure.fixed[e]:
                out[factor.name, term] = variance if variance * moments[e, e] > least else 0.0
    return out


def _require(baseline: "MixedFit | Undefined") -> "MixedFit":
    """The baseline.

    Raises
    ------
    CrosslevelError : there is none; why.
    """
    if isinstance(baseline, Undefined):
        raise CrosslevelError(baseline.reason)
    return baseline


def average_icc(fit: "MixedFit", group: str | None, *, of_outcome: bool, level: float) -> IntraclassCorrelation:
    """Share of random effects at the average of the rows; see `asked.variances.icc`.

    Parameters
    ----------
    fit, group, level : see there.
    of_outcome : whether the fixed part belongs to the variance that it is a share of.
    """
    design, solution = fit.design, fit.solution
    if design.residual is not None and not design.residual.is_homogeneous:
        raise CrosslevelError(
            f"`icc` needs one residual variance; this model has {design.residual.words}. `fit.r2().shares` has shares "
            "at the average of the rows."
        )
    if not design.factors:
        raise CrosslevelError("`icc` is a share of random effects; this model has none. Add (1 | school).")
    chosen = [group is None or factor is design.factor_named(group) for factor in design.factors]
    fixed = (0.0, 0.0)
    if of_outcome:
        phi, _ = fixed_covariance(design.products, design.x, design.nobs)
        slope = 2.0 * phi @ solution.beta
        fixed = float(solution.beta @ phi @ solution.beta), float(np.sqrt(slope @ solution.vcov @ slope))
    return random_share(
        fit.variance_components, moments_of(design), chosen, residual=mean_residual_variance(design, solution),
        fixed=fixed, level=level,
    )  # fmt: skip
