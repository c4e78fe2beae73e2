"""Slopes of a fitted model: what a unit more of a predictor does to the outcome, at values of others."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.marginal_setting import At, By, Focal, Scale, Setting, focal_of, listed, setting_of
from crosslevel.estimators.marginal_table import SLOPE, About, Margins, bracketed, pairs, table_of
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.expectations import RandomEffects
    from crosslevel.inference.bootstrap.record import Bootstrap


def slopes(
    fit: Any,
    x: str | Sequence[str] | None = None,
    by: By = None,
    *,
    at: At = "observed",
    contrast: Literal["reference", "pairwise", "sequential"] = "reference",
    over: str = "auto",
    adjust: str = "none",
    ddf: str | None = None,
    vcov: str | None = None,
    scale: Scale = "response",
    random_effects: "RandomEffects" = "average",
    bootstrap: "Bootstrap | None" = None,
    level: float = 0.95,
) -> Margins:
    """Simple slopes: the effect of a predictor on the outcome, at values of its moderators.

    The slope is the derivative of the fixed part in x, and C beta with C the derivative of the design row, averaged as
    `at` says: its standard error and degrees of freedom are those of a combination of coefficients. Without `by` it is
    the average marginal effect.

    In models with a family it is the derivative of the expected outcome (a probability, a mean; of ordered categories
    the probability of each), averaged over rows and, exactly, over the random effects, also where a random slope of x
    moves their variance. Its interactions are not those of the coefficients: effects on a probability differ with the
    level of the probability too.

    Parameters
    ----------
    fit : a model fitted by `cl.mixed`, `cl.glm` or `cl.ols`.
    x : the predictor, or several; all if None. A data column ("ses"), which moves its deviations from cluster means
        too, the means held; a term ("within(ses, school)", "between(ses, school)", "log(income)"), which moves alone.
        For categories the effects are differences between them.
    by : moderators: names, or names with values: numbers, categories, "sd" (mean - SD, mean, mean + SD), "quartiles",
        "unique". Without values: all categories, all values of a number that has at most five, else "sd".
    at : where the other variables are: "observed" (averaged over the rows used, weighted as these are), "mean" (numbers
        at their mean, categories at the commonest), "balanced" (categories averaged with equal weights), or values by
        variable, the rest as observed.
    contrast : which categories of x are compared: each with the first, all pairs, or neighbours.
    over : the units of "sd" and "quartiles": "auto" (clusters, each counted once, where the variable is constant in
        them, those of the outermost factor; else rows), "rows", "clusters", or a grouping factor.
    adjust : "none", "holm", "bonferroni" or "tukey" (categories in pairs); the slopes of one predictor are a family,
        the pairs at one combination of moderators are one for Tukey.
    ddf : degrees of freedom, as in `cl.mixed`; those of the fit if None.
    vcov : a cluster-robust covariance such as "CR2" in place of `ddf`.
    scale : in models with a family, "response" (expected outcomes) or "link" (linear predictors: the coefficients).
    random_effects : in models with a family, "average" over them (population), "zero" (a typical cluster), or a level
        of some grouping factors such as {"district": 3} at whose conditional modes predictions are made.
    bootstrap : the result of fit.bootstrap(), whose replicates standard errors and percentile intervals are taken from.
    level : confidence level.

    Returns
    -------
    Margins : a frame by term (estimate, std_error, df, statistic, p_value, conf_low, conf_high, contrast, moderators)
    with `contrasts()` between slopes, `to_marginaleffects()`, `notes`; printed it is a table with its words.

    Raises
    ------
    CrosslevelError : unknown names, values or methods; a predictor that cannot move while the others stay.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> fit = cl.mixed("mathach ~ within(ses, school) * sector + (within(ses, school) | school)", data)
    >>> found = cl.slopes(fit, "ses", by="sector", ddf="satterthwaite")
    >>> found[["estimate", "std_error", "df", "sector"]].round(2)
          estimate  std_error      df    sector
    term
    ses       2.80       0.15  141.67    Public
    ses       1.46       0.18  159.97  Catholic
    >>> found.contrasts()[["estimate", "std_error", "contrast"]].round(2)
          estimate  std_error           contrast
    term
    ses      -1.34       0.23  Catholic - Public
    """
    names = listed(x, "x")
    setting = setting_of(
        fit, [*names, *listed(by, "by")], at=at, over=over, ddf=ddf, vcov=vcov, scale=scale,
        random_effects=random_effects, bootstrap=bootstrap,
    )  # fmt: skip
    values, notes = setting.by_values(by)
    wanted = names or [name for name in setting.rows.inputs if name not in values]
    if not wanted:
        raise CrosslevelError("`x` is None, but the model has no predictor that is not in `by`. Name one.")
    focals = [focal_of(setting, name) for name in wanted]
    found = [row for focal in focals for row in rows_of(setting, focal, values, contrast, each=adjust == "tukey")]
    said = (*notes, *(focal.note for focal in focals if focal.note), *setting.curvature(values))
    return _table(setting, found, tuple(values), said, adjust=adjust, level=level)


@dataclass(frozen=True, kw_only=True, eq=False)
class EffectRow:
    """One row of a table of effects.

    Attributes
    ----------
    record : its term, contrast and moderators.
    weights : (p,) weights of the coefficients.
    family : what names the tests that it is adjusted with.
    means : number of categories that are compared in pairs, else 0.
    """

    record: dict[str, Any]
    weights: FloatArray = field(repr=False)
    family: tuple[object, ...]
    means: int


def _table(
    setting: Setting,
    found: Sequence[EffectRow],
    by: tuple[str, ...],
    notes: tuple[str, ...],
    *,
    adjust: str,
    level: float,
) -> Margins:
    """The effects as a table, with what they are of."""
    keys = {row.family: k for k, row in enumerate(found)}
    rows = np.array([row.weights for row in found])
    frame = table_of(
        setting.combiner,
        rows,
        [row.record for row in found],
        families=np.array([keys[row.family] for row in found]),
        means=np.array([row.means for row in found]),
        adjust=adjust,
        level=level,
    )
    about = About(
        kind="slopes", response=setting.response, by=(*by, *setting.labels), place=setting.place,
        method=setting.combiner.description, level=level, adjust=adjust, n_families=len(keys), notes=notes, rows=rows,
        combiner=setting.combiner, averages=setting.averages,
    )  # fmt: skip
    return Margins.of(frame, about)


def rows_of(
    setting: Setting, focal: Focal, values: Mapping[str, list[Any]], contrast: str, *, each: bool
) -> list[EffectRow]:
    """Effects of a predictor at all combinations of its moderators.

    Parameters
    ----------
    setting, focal, contrast : see `effects`.
    values : of each moderator.
    each : whether the effects at each combination are a family of their own.
    """
    _refuse_offset(setting.fit, focal)
    combinations = list(itertools.product(*values.values()))
    grid = {key: [cell[k] for cell in combinations] for k, key in enumerate(values)}
    means = len(focal.levels or ()) if contrast == "pairwise" else 0
    return [
        EffectRow(
            record={"term": focal.name, "contrast": label, **labels, **dict(zip(values, cell, strict=True))},
            weights=rows[place],
            family=(focal.name, *labels.values(), place if each else None),
            means=means,
        )
        for labels, part in setting.each()
        for found in [effects(part, focal, grid, contrast)]
        for place, cell in enumerate(combinations)
        for label, rows in found
    ]


def effects(
    setting: Setting, focal: Focal, grid: dict[str, list[Any]], contrast: str = "reference"
) -> list[tuple[str, FloatArray]]:
    """Effects of a predictor at settings of a grid: what each is called, and its rows C (P, p).

    Raises
    ------
    CrosslevelError : a category that is set by the grid too, or no such contrast.
    """
    if focal.levels is None:
        return [(SLOPE, setting.weights_at(grid, focal.along))]
    if contrast not in ("reference", "pairwise", "sequential"):
        raise CrosslevelError(f"`contrast` is 'reference', 'pairwise' or 'sequential'; got {contrast!r}.")
    (name,) = focal.along
    if name in grid:
        raise CrosslevelError(f"`by` sets {name!r}, whose categories `x` compares. Leave it out of `by`.")
    count = len(next(iter(grid.values()))) if grid else 1
    at_level = [setting.weights_at({**grid, name: [level] * count}) for level in focal.levels]
    return [
        (
            f"{bracketed(str(focal.levels[one]))} - {bracketed(str(focal.levels[other]))}",
            at_level[one] - at_level[other],
        )
        for one, other in pairs(len(focal.levels), contrast)
    ]


def _refuse_offset(fit: Any, focal: Focal) -> None:
    """Refuse a predictor that is the offset too, whose coefficient is not estimated."""
    if fit.design.offset_column in focal.along:
        raise CrosslevelError(
            f"`x` is {focal.name!r}, which is the offset too: its effect is not estimated alone. Take it out of one."
        )
