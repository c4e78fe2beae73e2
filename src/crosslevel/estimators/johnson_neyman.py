"""Regions of significance of an interaction: the values of a moderator at which an effect differs from zero."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crosslevel.display import Column, Document, Note, Row, Section, Table, percent
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.combining import Combiner
from crosslevel.estimators.marginal_setting import (
    At,
    Focal,
    Scale,
    Setting,
    focal_of,
    listed,
    refuse_taken,
    setting_of,
    written,
)
from crosslevel.estimators.marginal_table import SLOPE, bracketed
from crosslevel.estimators.representative import Sampled
from crosslevel.inference.distributions import t_quantile
from crosslevel.inference.interpolation import interpolated
from crosslevel.inference.johnson_neyman import Division, divide, p_values
from crosslevel.inference.multiplicity import discoveries
from crosslevel.inference.wald import check_level, coefficient_table
from crosslevel.types import BoolArray, FloatArray

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.expectations import RandomEffects

POINTS = 201
"""Values of the moderator in the frame."""

MOST_VALUES = 1000
"""Values of the moderator that are tested for the correction; of more, as many evenly spread order statistics."""

BEYOND = 20.0
"""How far outside the data limits are looked for, in widths of the data's range."""

LINEAR = 1e-10
"""Relative deviation of the weights from a line in the moderator that is rounding."""

ROUNDING = 1e-14
"""Relative size of an end or a slope of that line that is rounding."""

EFFECTS = {1: "positive", -1: "negative", 0: "none"}
"""Signs in words."""

TAKES_PART = 1e-300
"""Weight of a coefficient that is zero at one value of the moderator only, so that degrees of freedom do not jump."""


@dataclass(frozen=True, kw_only=True, eq=False)
class JohnsonNeyman:
    """Where along a moderator an effect differs from zero.

    Attributes
    ----------
    x, z : the predictor and the moderator.
    contrast : "slope", or the categories of x that are compared.
    response : what is predicted.
    frame : the effect along the data's range, by term: estimate, std_error, df, statistic, p_value, conf_low,
        conf_high; then z, and the interval by the corrected critical value, corrected_low and corrected_high.
    regions : the range divided, without and with correction: correction ("none", "fdr"), low, high, effect
        ("positive", "negative", "none"), share (of the units with such values).
    limits : values of z at which the answer changes: correction, value, and whether it lies inside the data's range.
    uncorrected, corrected : the same as records, with the p-value each divides by.
    tested, found : values at which the effect was tested for the correction, and was found.
    critical : critical t without and with correction, at the mean of z; the second is infinite if nothing is found.
    level : confidence level; 1 - level is the false discovery rate.
    values : of the moderator, over the units that it is a property of.
    place, method, notes : see `Margins`.
    """

    x: str
    z: str
    contrast: str
    response: str
    frame: pd.DataFrame = field(repr=False)
    regions: pd.DataFrame = field(repr=False)
    limits: pd.DataFrame = field(repr=False)
    uncorrected: Division
    corrected: Division
    tested: int
    found: int
    critical: tuple[float, float]
    level: float
    values: Sampled = field(repr=False)
    place: str
    method: str
    notes: tuple[str, ...]

    def tidy(self) -> pd.DataFrame:
        """The frame of the effect along the moderator."""
        return self.frame

    def document(self) -> Document:
        """Regions with their words, to print or to show in a notebook."""
        return _document(self)

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.document()._repr_html_()


def johnson_neyman(
    fit: Any,
    x: str,
    z: str,
    *,
    at: At = "observed",
    levels: tuple[object, object] | None = None,
    values: Sequence[float] | None = None,
    over: str = "auto",
    ddf: str | None = None,
    vcov: str | None = None,
    scale: Scale = "response",
    random_effects: "RandomEffects" = "average",
    level: float = 0.95,
) -> JohnsonNeyman:
    """Regions of significance: the values of z at which the effect of x differs from zero.

    Given twice: with the usual critical value, which answers for one value of z that was named beforehand, and with the
    one of Esarey and Sumner, which keeps the false discovery rate at 1 - level where the effect is looked at along the
    whole moderator.

    Parameters
    ----------
    fit : a model fitted by `cl.mixed`, `cl.glm` or `cl.ols`.
    x : the predictor; see `cl.slopes`.
    z : the moderator, a variable of numbers.
    at : where the other variables are; see `cl.slopes`.
    levels : two categories of x, the difference of which (first - second) is the effect; needed if x has more.
    values : of z at which the effect is tested for the correction; its distinct values in the data if None.
    over : the units whose values of z are counted: "auto" (clusters where z is constant in them), "rows", "clusters",
        or a grouping factor.
    ddf, vcov, scale, random_effects : see `cl.slopes`; of ordered categories regions are those of the linear predictor.
    level : confidence level.

    Raises
    ------
    CrosslevelError : unknown names; a moderator that is a category, or has one value; an effect without coefficients.

    Source
    ------
    Esarey & Sumner (2018), Comp. Polit. Stud. 51: 1144-1176; the equations are in the module
    `crosslevel.inference.johnson_neyman`.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> fit = cl.mixed("mathach ~ ses * meanses + sector * meanses + (ses | school)", data)
    >>> cl.johnson_neyman(fit, "sector", "meanses").regions.round(2)
      correction   low  high    effect  share
    0       none -1.19  0.47  positive   0.88
    1       none  0.47  0.82      none   0.12
    2        fdr -1.19  0.46  positive   0.88
    3        fdr  0.46  0.82      none   0.12
    """
    setting = _setting(
        fit, [*listed(x, "x"), *listed(z, "z")], at=at, over=over, ddf=ddf, vcov=vcov, scale=scale,
        random_effects=random_effects,
    )  # fmt: skip
    focal, moderator = focal_of(setting, x), setting.name_of(z, "z")
    found = _moderator(setting, focal, moderator)
    contrast, weights = _weights(setting, focal, moderator, levels)
    if setting.outcomes:  # every value takes an average over all rows
        weights = interpolated(weights, found.low, found.high)
    curve = along(setting.combiner, weights, found.low, found.high)
    alpha = 1.0 - check_level(level)
    tested = _tested(values, found)
    count, cut = discoveries(_p_values(curve, tested, focal), alpha)
    beyond = 0.0 if curve.line is None else BEYOND
    plain, strict = (divide(curve, found.low, found.high, p, beyond=beyond) for p in (alpha, cut))
    df = curve(np.array([found.mean]))[2]
    critical = float(t_quantile(1.0 - alpha / 2.0, df)[0]), float(t_quantile(1.0 - cut / 2.0, df)[0])
    divisions = {"none": plain, "fdr": strict}
    return JohnsonNeyman(
        x=focal.name, z=moderator, contrast=contrast, response=setting.response,
        frame=_frame(curve, focal.name, found, level, cut), regions=_regions(divisions, found),
        limits=_limits(divisions, found), uncorrected=plain, corrected=strict, tested=len(tested), found=count,
        critical=critical, level=level, values=found, place=setting.place, method=setting.combiner.description,
        notes=(*([focal.note] if focal.note else []), *setting.curvature([moderator])),
    )  # fmt: skip


def _p_values(curve: "Along", tested: FloatArray, focal: Focal) -> FloatArray:
    """P-values (m,) of the effect where it is tested.

    Raises
    ------
    CrosslevelError : no degrees of freedom are left.
    """
    found = p_values(curve, tested)
    if np.any(np.isnan(found)):
        raise CrosslevelError(
            f"`ddf` leaves no degrees of freedom for the effect of {focal.name} ({curve.combiner.method}), so "
            "that it has no p-values. Use another method, or a model with fewer cluster-level predictors."
        )
    return found


def _setting(fit: Any, names: Sequence[str], **options: Any) -> Setting:
    """A model prepared for one outcome.

    Raises
    ------
    CrosslevelError : the probabilities of several categories.
    """
    setting = setting_of(fit, names, **options)
    if setting.labels:
        raise CrosslevelError(
            "Every category of the outcome has regions of its own. Use scale='link', or cl.slopes(fit, x, by=...) for "
            "the probabilities."
        )
    ((_, alone),) = setting.each()
    return alone


@dataclass(frozen=True, kw_only=True, eq=False)
class Along:
    """An effect as a function of a moderator: calling it gives estimates, standard errors and degrees of freedom.

    Attributes
    ----------
    combiner : how combinations of coefficients are tested.
    weights : the rows C (m, p) at values (m,) of the moderator.
    line : C at zero and its slope, each (p,), if it is a line; else None.
    takes_part : (p,) whether a coefficient takes part anywhere.
    """

    combiner: Combiner
    weights: Callable[[FloatArray], FloatArray] = field(repr=False)
    line: tuple[FloatArray, FloatArray] | None
    takes_part: BoolArray

    def __call__(self, z: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Estimates, standard errors and degrees of freedom (m,) at values (m,)."""
        rows = self.weights(z) if self.line is None else self.line[0] + np.outer(z, self.line[1])
        return self.combiner.estimate(np.where((rows == 0.0) & self.takes_part, TAKES_PART, rows))


def along(combiner: Combiner, weights: Callable[[FloatArray], FloatArray], low: float, high: float) -> Along:
    """An effect along the range of a moderator.

    Raises
    ------
    CrosslevelError : the data do not determine it, or it has no coefficients.
    """
    places = np.linspace(low, high, 7)
    found = weights(places)
    if not np.all(np.isfinite(found)):
        raise CrosslevelError(
            "`x` has an effect that the data do not determine: it needs coefficients that were left out, as those of "
            "empty cells are."
        )
    size = np.max(np.abs(found), axis=0)
    if not np.any(size):
        raise CrosslevelError("`x` has no effect in the model: none of its columns was estimated.")
    slope = (found[-1] - found[0]) / (high - low)
    off = np.abs(found - found[0] - np.outer(places - low, slope))
    if np.any(off > LINEAR * size):
        return Along(combiner=combiner, weights=weights, line=None, takes_part=size > 0.0)
    start = found[0] - low * slope
    start = np.where(np.abs(start) <= ROUNDING * size, 0.0, start)
    slope = np.where(np.abs(slope) * (high - low) <= ROUNDING * size, 0.0, slope)
    return Along(combiner=combiner, weights=weights, line=(start, slope), takes_part=size > 0.0)


def _moderator(setting: Setting, focal: Focal, z: str) -> Sampled:
    """Values of the moderator over the units it belongs to.

    Raises
    ------
    CrosslevelError : it is the predictor itself, a category, or has one value.
    """
    if z in focal.along:
        raise CrosslevelError(f"`z` is {z!r}, which is the predictor `x` itself. Name another variable.")
    refuse_taken(z, "z")
    levels = setting.rows.inputs[z].levels
    if levels is not None:
        raise CrosslevelError(
            f"`z` is {z!r}, which has categories ({', '.join(map(str, levels))}) and so no regions. "
            f"Use cl.slopes(fit, {focal.name!r}, by={z!r})."
        )
    found = setting.sampled(z)
    if found.low == found.high:
        raise CrosslevelError(f"`z` is {z!r}, which has the one value {written(found.low)} in the rows used.")
    return found


def _weights(
    setting: Setting, focal: Focal, z: str, levels: tuple[object, object] | None
) -> tuple[str, Callable[[FloatArray], FloatArray]]:
    """What the effect is called, and its rows C (m, p) at values (m,) of the moderator.

    Raises
    ------
    CrosslevelError : several categories of which no two are named.
    """
    if focal.levels is None:
        if levels is not None:
            raise CrosslevelError(f"`levels` names categories, but `x` is {focal.name!r}, which is a number.")
        return SLOPE, lambda values: setting.weights_at({z: list(values)}, focal.along)
    known = {str(level): level for level in focal.levels}
    wanted = tuple(map(str, levels)) if levels is not None else tuple(known)[::-1]
    if len(wanted) != 2 or not set(wanted) <= set(known) or wanted[0] == wanted[1]:
        raise CrosslevelError(
            f"`levels` names two categories of {focal.name!r} to compare, of {', '.join(known)}; "
            + (f"got {levels!r}." if levels is not None else "it has to, because there are more than two.")
        )

    def difference(values: FloatArray) -> FloatArray:
        grid = {z: list(values)}
        first, second = (setting.weights_at({**grid, focal.name: [known[name]] * len(values)}) for name in wanted)
        return first - second

    return f"{bracketed(wanted[0])} - {bracketed(wanted[1])}", difference


def _tested(values: Sequence[float] | None, found: Sampled) -> FloatArray:
    """The values of the moderator at which the effect is tested for the correction."""
    if values is not None:
        wanted = np.asarray(values, dtype=np.float64).ravel()
        if not len(wanted) or not np.all(np.isfinite(wanted)):
            raise CrosslevelError("`values` needs at least one finite value of `z`.")
        return wanted
    distinct = np.unique(found.values)
    if len(distinct) > MOST_VALUES:
        distinct = distinct[np.linspace(0, len(distinct) - 1, MOST_VALUES).round().astype(np.int64)]
    return distinct


def _frame(curve: Along, x: str, found: Sampled, level: float, cut: float) -> pd.DataFrame:
    """The effect along the data's range with both intervals."""
    places = np.linspace(found.low, found.high, POINTS)
    estimate, std_error, df = curve(places)
    table = coefficient_table((x,) * len(places), estimate, std_error, df, level=level)
    half = t_quantile(1.0 - cut / 2.0, df) * std_error if cut > 0.0 else np.full(len(places), np.inf)
    return table.assign(**{found.name: places, "corrected_low": estimate - half, "corrected_high": estimate + half})


def _regions(divisions: dict[str, Division], found: Sampled) -> pd.DataFrame:
    """Regions by correction, with the share of the units in each."""
    records = [
        (name, part.low, part.high, EFFECTS[part.sign], found.share_between(part.low, part.high))
        for name, division in divisions.items()
        for part in division.regions
    ]
    return pd.DataFrame.from_records(records, columns=["correction", "low", "high", "effect", "share"])


def _limits(divisions: dict[str, Division], found: Sampled) -> pd.DataFrame:
    """Limits by correction, and whether they lie inside the data's range."""
    records = [
        (name, value, bool(found.low <= value <= found.high))
        for name, division in divisions.items()
        for value in division.limits.tolist()
    ]
    return pd.DataFrame.from_records(records, columns=["correction", "value", "inside"])


def _document(found: JohnsonNeyman) -> Document:
    """Regions with their words."""
    what = found.x if found.contrast == SLOPE else f"{found.x} ({found.contrast})"
    body: list[Row] = []
    rate = percent(1.0 - found.level, decimals=0)
    titles = {
        "none": f"at each value by itself, |t| > {found.critical[0]:.3g}",
        "fdr": f"false discovery rate {rate} along {found.z}, |t| > {found.critical[1]:.3g}",
    }
    if not found.found:
        titles["fdr"] = f"false discovery rate {rate} along {found.z}: no effect at any value"
    for name, title in titles.items():
        body.append(Section(title))
        for _, row in found.regions[found.regions["correction"] == name].iterrows():
            effect = "may be zero" if row["effect"] == "none" else str(row["effect"])
            body.append([effect, float(row["low"]), float(row["high"]), float(row["share"])])
    outside = found.limits[(found.limits["correction"] == "none") & ~found.limits["inside"].astype(bool)]
    notes = [
        f"Share: of {found.values.words}. Other variables: {found.place}.",
        f"Correction: Esarey & Sumner (2018); tested at {found.tested} values of {found.z}, found at {found.found}.",
        f"Tests: {found.method}.",
        *found.notes,
    ]
    columns = [Column("effect"), Column(f"{found.z} from"), Column("to"), Column("share", format="percent", decimals=0)]
    blocks: list[Table | Note] = [Table(columns, body, notes=notes)]
    if len(outside):
        places = ", ".join(written(float(value)) for value in outside["value"])
        blocks.append(Note(f"Without correction the answer changes beyond the data, too: at {places}."))
    return Document(f"Where the effect of {what} on {found.response} differs from zero", blocks)
