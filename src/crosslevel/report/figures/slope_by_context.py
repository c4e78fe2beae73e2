"""A slope, or the level, of every cluster against a context variable: the model's line, and partial residuals."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crosslevel.design import slopes_explained
from crosslevel.display import counted
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.marginal_setting import setting_of
from crosslevel.estimators.margins import margins as margins_of
from crosslevel.estimators.mixed import MixedFit
from crosslevel.estimators.slopes import slopes as slopes_of
from crosslevel.report.figures import theme
from crosslevel.report.figures.shrinkage import unpooled
from crosslevel.report.figures.subject import chosen, effects_in, named, used_frame
from crosslevel.types import FloatArray, IntArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from crosslevel.estimators.generalized.fit import GeneralizedFit

POINTS = 81
"""Values along a context variable of numbers."""

SAME = 1e-9
"""Differences within clusters, as a share of those between them, that are rounding."""

EXACT = 150
"""Up to so many values of it have the line computed where they are; between more of them it is interpolated."""

NAMED, JOINED, ALONE = 45, 80, 400
"""Up to so many clusters have names; lines from what their own rows say to what the model does; and the former."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Context:
    """What is drawn, before its numbers.

    Attributes
    ----------
    x, z : random effect and context variable.
    group : the grouping factor.
    values : (J,) of the context variable in each cluster, numbers or categories.
    levels : the categories; None for numbers.
    in_model : whether the fixed part has the context variable.
    """

    x: str
    z: str
    group: str
    values: "pd.Series[Any]"
    levels: tuple[Any, ...] | None
    in_model: bool


def slope_by_context_data(
    fit: "MixedFit | GeneralizedFit",
    x: str | None = None,
    z: str | None = None,
    *,
    group: str | None = None,
    level: float = 0.95,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the model's line of a coefficient along a context variable, and partial residuals of the clusters.

    Line: the fixed part of the slope of x at z, the other moderators averaged over the rows; for "Intercept" the
    adjusted prediction at z. Partial residual of cluster j: the line at z_j, plus its random effect u_j. Alone: the
    same with the least-squares estimate of the cluster's own rows in place of u_j, which is not shrunken. Deviations
    of levels are those at the mean of the predictors with random slopes. All on the scale of the linear predictor.

    Parameters
    ----------
    fit : a fitted mixed model.
    x : the random slope, by its name or that of its variable, or "Intercept"; the first with a cross-level interaction
        if None, or the first.
    z : the context variable: any column that is constant within clusters, in the model or not, or a term such as
        "between(ses, school)"; the first that the model has interact with x if None.
    group : the grouping factor; the first if None.
    level : confidence level of the band.

    Returns
    -------
    line : z, estimate, conf_low, conf_high.
    clusters : by cluster: z, line, partial, alone (NaN where the cluster's rows do not determine it, in models with
        several grouping factors, and of other families), rows.

    Raises
    ------
    CrosslevelError : no such random effect; a variable that varies within clusters; a model without any.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("mathach ~ ses * meanses + (ses | school)", cl.datasets.load("hsb"))
    >>> line, clusters = slope_by_context_data(fit, "ses", "meanses")
    >>> bool(np.allclose(clusters["partial"] - clusters["line"], fit.ranef(se=False)["school"]["ses"]))
    True
    """
    found = _context(fit, x, z, group)
    line = _line(fit, found, level)
    if found.levels is None:
        at = np.interp(found.values.to_numpy(dtype=float), line["z"], line["estimate"])
    else:
        at = line.set_index("z")["estimate"].reindex(found.values).to_numpy(dtype=float)
    pooled, alone = _deviations(fit, found)
    frame = pd.DataFrame(
        {"z": found.values, "line": at, "partial": at + pooled, "alone": at + alone, "rows": _sizes(fit, found.group)}
    )
    return line, frame[frame["z"].notna()]


def slope_by_context(
    fit: "MixedFit | GeneralizedFit",
    x: str | None = None,
    z: str | None = None,
    *,
    group: str | None = None,
    level: float = 0.95,
    ax: "Axes | None" = None,
) -> "Figure":
    """Draw the slopes of the clusters, or their levels, against a context variable, with the line of the model.

    Parameters
    ----------
    fit, x, z, group, level : see `slope_by_context_data`; with x="Intercept" the clusters' levels are drawn.
    ax : axes to draw into; a new figure if None.

    Raises
    ------
    CrosslevelError : see `slope_by_context_data`.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("mathach ~ ses * meanses + (ses | school)", cl.datasets.load("hsb"))
    >>> figure = slope_by_context(fit, "ses", "meanses")
    """
    found = _context(fit, x, z, group)
    line, clusters = slope_by_context_data(fit, found.x, found.z, group=found.group, level=level)
    labels = fit.labels
    with theme.drawing(ax, height=4.6) as (panel,):
        places = _places(found, clusters)
        (_draw_line if found.levels is None else _draw_levels)(panel, line)
        _draw_clusters(panel, clusters, places, found)
        response = fit.spec.response_name
        outcome = labels.get(response) or response
        levels = found.x == "Intercept"
        y = f"Adjusted {outcome}" if levels else f"Slope of {found.x}"
        y += "" if isinstance(fit, MixedFit) else ", linear predictor"
        theme.name_axes(panel, named(found.z, labels), y)
        what = f"{outcome}, adjusted," if levels else f"Slope of {labels.get(found.x) or found.x}"
        title = f"{what} by {labels.get(found.z) or found.z}"
        return theme.entitle([panel], title, words(found, clusters, level), own=ax is None)


def words(found: Context, clusters: pd.DataFrame, level: float) -> str:
    """What is drawn."""
    shape = "Line and band" if found.levels is None else "Diamonds and bars"
    text = f"{shape}: the model's fixed part, with its {100 * level:g} % interval"
    text += "." if found.in_model else f", which does not depend on {found.z}."
    text += f" Blue: {counted(len(clusters))} clusters, the fixed part and their random effects, which are shrunken."
    known = clusters["alone"].notna()
    if known.any() and len(clusters) <= ALONE:
        text += " Open: by the clusters' own rows alone."
        lost = int((~known).sum())
        text += f" {counted(lost)} have too few rows to stand alone." if lost else ""
    return text


def _context(fit: "MixedFit | GeneralizedFit", x: str | None, z: str | None, group: str | None) -> Context:
    """The random effect and the context variable, with its value in each cluster."""
    group = chosen("group", group, list(fit.ngroups))
    x = _effect(fit, x, group)
    z = z or _moderator(fit, x, group)
    known = set(fit.spec.variables) | set(fit.design.products.names)
    in_model = z in known
    levels: tuple[Any, ...] | None = None
    if in_model:
        setting = setting_of(fit, [z], at="observed", over="auto", scale="link")
        name = setting.name_of(z, "z")
        found = setting.rows.inputs[name].levels
        levels = None if found is None else tuple(found)
    if in_model and levels is None:
        rows = pd.Series(np.asarray(setting.rows.observed(name), dtype=float))
    else:
        rows = used_frame(fit, [z], "z")[z]  # type: ignore[arg-type]
        levels = levels if in_model or pd.api.types.is_numeric_dtype(rows) else tuple(sorted(rows.dropna().unique()))
    return Context(x=x, z=z, group=group, values=_of_clusters(fit, rows, z, group), levels=levels, in_model=in_model)


def _effect(fit: "MixedFit | GeneralizedFit", x: str | None, group: str) -> str:
    """The random effect that is meant."""
    effects, design = effects_in(fit, group), fit.design
    factor = design.factor_named(group)
    if x is None:
        explained = [int(e) for e in slopes_explained(design, design.factors.index(factor)) if e >= 0]
        slopes = [name for name in effects if name != "Intercept"]
        return effects[explained[0]] if explained else (slopes or list(effects))[0]
    if x in effects:
        return x
    of_variable = [
        name
        for name, j in zip(effects, factor.z, strict=True)
        if x in design.spec.columns[j].variables and name != "Intercept"
    ]
    return of_variable[0] if len(of_variable) == 1 else chosen("x", x, effects)


def _moderator(fit: "MixedFit | GeneralizedFit", x: str, group: str) -> str:
    """The first context variable whose interaction with x the model has; for levels, the first in the model.

    Raises
    ------
    CrosslevelError : there is none.
    """
    design, factor = fit.design, fit.design.factor_named(group)
    k = design.factors.index(factor)
    if x == "Intercept":
        own = [j for j in design.x if j != design.constant and design.constant_within[k, j]]
        names = [name for j in own for name in design.spec.columns[j].factors]
    else:
        e = effects_in(fit, group).index(x)
        theirs = set(design.spec.columns[factor.z[e]].factors)
        columns = [design.x[i] for i in np.flatnonzero(slopes_explained(design, k) == e)]
        names = [name for j in columns for name in design.spec.columns[j].factors if name not in theirs]
    if not names:
        raise CrosslevelError(
            f"The model has no context variable that explains {x!r} of {group}. Name one by `z`: any column of the "
            "data that is constant within clusters."
        )
    variables, first = fit.spec.variables, str(names[0])
    bare = first.partition("[")[0]
    return bare if bare in variables else first


def _of_clusters(fit: "MixedFit | GeneralizedFit", rows: "pd.Series[Any]", z: str, group: str) -> "pd.Series[Any]":
    """The value (J,) of a variable in each cluster.

    Raises
    ------
    CrosslevelError : it varies within clusters.
    """
    factor = fit.design.factor_named(group)
    if factor.members:
        raise CrosslevelError(
            f"Rows belong to several levels of {group}, so that a variable of theirs is none of one level. Name "
            "another grouping factor by `group`."
        )
    groups = rows.groupby(np.asarray(fit.design.used_codes(factor)))
    first = groups.first()
    if pd.api.types.is_numeric_dtype(rows):
        spread = (groups.max() - groups.min()).to_numpy(dtype=float)
        several = spread > SAME * max(float(first.max() - first.min()), 1e-300)
    else:
        several = (groups.nunique() > 1).to_numpy()
    if several.any():
        raise CrosslevelError(
            f"`z` must be constant within {group}; {z!r} varies within {counted(int(several.sum()))} of "
            f"{counted(len(first))} clusters. For a predictor of rows use cl.plot.margins or cl.plot.slopes."
        )
    index = fit.ranef(se=False)[group].index
    return pd.Series(first.reindex(np.arange(len(index))).to_numpy(), index=index, name=z)


def _line(fit: "MixedFit | GeneralizedFit", found: Context, level: float) -> pd.DataFrame:
    """The fixed part along the context variable, with its interval."""
    at: list[Any] = list(found.levels or ())
    if found.levels is None:
        values = np.unique(found.values.dropna().to_numpy(dtype=float))
        own = values if len(values) <= EXACT else values[:0]
        at = np.unique(np.concatenate([np.linspace(values[0], values[-1], POINTS), own])).tolist()
    options: dict[str, Any] = {"scale": "link", "level": level}
    by = {found.z: at} if found.in_model else None
    if found.x == "Intercept":
        table = margins_of(fit, by, **options).frame
    else:
        table = slopes_of(fit, _focal(fit, found), by, **options).frame
        if "contrast" in table and table["contrast"].nunique() > 1:
            raise CrosslevelError(
                f"{found.x!r} is one of several categories of a variable; `slope_by_context` draws numbers and "
                "variables of two categories. Code the category as 0 and 1."
            )
    numbers = table[["estimate", "conf_low", "conf_high"]].to_numpy(dtype=float)
    numbers = np.broadcast_to(numbers, (len(at), 3))
    return pd.DataFrame({"z": at, "estimate": numbers[:, 0], "conf_low": numbers[:, 1], "conf_high": numbers[:, 2]})


def _focal(fit: "MixedFit | GeneralizedFit", found: Context) -> str:
    """The predictor as marginal effects know it: a variable, where the random slope is of a category."""
    factor = fit.design.factor_named(found.group)
    j = factor.z[effects_in(fit, found.group).index(found.x)]
    variables = fit.design.spec.columns[j].variables
    return str(next(iter(variables))) if found.x.endswith("]") and len(variables) == 1 else found.x


def _deviations(fit: "MixedFit | GeneralizedFit", found: Context) -> tuple[FloatArray, FloatArray]:
    """What each cluster (J,) differs by from the fixed part: by the model, and by its own rows alone."""
    effects = fit.ranef(se=False)[found.group]
    design, factor = fit.design, fit.design.factor_named(found.group)
    weights = np.zeros(effects.shape[1])
    if found.x == "Intercept":
        # levels are compared at the average of the rows, not where predictors are zero
        weights[:] = (design.products.grand_mean + design.products.origin)[factor.z]
        weights[list(effects.columns).index("Intercept")] = 1.0
    else:
        weights[list(effects.columns).index(found.x)] = 1.0
    pooled = effects.to_numpy(dtype=float) @ weights
    if not isinstance(fit, MixedFit) or not design.is_single:
        return pooled, np.full(len(pooled), np.nan)
    return pooled, unpooled(fit) @ weights


def _sizes(fit: "MixedFit | GeneralizedFit", group: str) -> IntArray:
    """Rows (J,) of each cluster."""
    factor = fit.design.factor_named(group)
    return np.bincount(np.asarray(fit.design.used_codes(factor)), minlength=factor.n_levels)


def _places(found: Context, clusters: pd.DataFrame) -> FloatArray:
    """Where clusters (J,) stand along the axis: categories side by side, those of one beside each other."""
    if found.levels is None:
        return clusters["z"].to_numpy(dtype=float)
    place = clusters["z"].map({level: k for k, level in enumerate(found.levels)}).to_numpy(dtype=float)
    rank = clusters.groupby("z", observed=True)["partial"].rank(method="first").to_numpy(dtype=float)
    # steps of the golden section spread neighbours in height far apart
    return np.asarray(place + 0.56 * ((rank * 0.6180339887) % 1.0 - 0.5))


def _draw_line(panel: "Axes", line: pd.DataFrame) -> None:
    """The fixed part along numbers."""
    panel.fill_between(line["z"], line["conf_low"], line["conf_high"], color=theme.PALE, alpha=0.4, linewidth=0)
    panel.plot(line["z"], line["estimate"], color=theme.INK, linewidth=1.8, zorder=4)


def _draw_levels(panel: "Axes", line: pd.DataFrame) -> None:
    """The fixed part of categories."""
    places = np.arange(len(line))
    panel.vlines(places, line["conf_low"], line["conf_high"], colors=theme.INK, linewidth=2.2, zorder=5)
    panel.scatter(places, line["estimate"], c=theme.INK, s=52, marker="D", linewidths=0, zorder=6)
    width = 0.8 * theme.WIDTH / max(len(line), 1)
    panel.set_xticks(places, [theme.wrapped(str(level), width, 8.5, most=2).replace("$", r"\$") for level in line["z"]])
    panel.set_xlim(-0.6, len(line) - 0.4)
    panel.grid(visible=False, axis="x")


def _draw_clusters(panel: "Axes", clusters: pd.DataFrame, places: FloatArray, found: Context) -> None:
    """The clusters' partial residuals, and what their own rows say."""
    partial, alone = clusters["partial"].to_numpy(), clusters["alone"].to_numpy()
    known = np.isfinite(alone)
    size = float(np.clip(900 / max(len(clusters), 1), 4, 26))
    if len(clusters) <= JOINED:
        segments = [np.array([[place, a], [place, b]]) for place, a, b in zip(places[known], alone[known],
                                                                              partial[known], strict=True)]  # fmt: skip
        theme.draw_lines(panel, segments, colors=theme.PALE, linewidths=0.8, zorder=1)
    if len(clusters) <= ALONE:
        panel.scatter(
            places[known], alone[known], s=size, facecolors="white", edgecolors=theme.GREY, linewidths=0.8, zorder=2
        )
    dots = panel.scatter(places, partial, s=size, c=theme.BLUE, linewidths=0, zorder=3,
                         alpha=0.9 if len(clusters) <= ALONE else 0.5)  # fmt: skip
    numbers = {found.z: clusters["z"], "with its random effect": partial, "own rows alone": alone}
    theme.mark(dots, theme.told(clusters.index, numbers | {"rows": clusters["rows"]}))
    panel.set_ylim(*heights(partial, panel.dataLim.intervaly))
    if len(clusters) <= NAMED:
        open_ones = np.column_stack([places, alone])[known]
        theme.name_points(panel, places, partial, list(clusters.index), others=open_ones)


def heights(partial: FloatArray, drawn: FloatArray) -> tuple[float, float]:
    """Bounds that show what the model says of all clusters, and all else that is drawn but for the wildest of it."""
    low, high = float(partial.min()), float(partial.max())
    far = 0.8 * (high - low) or np.inf
    low, high = min(low, max(float(drawn[0]), low - far)), max(high, min(float(drawn[1]), high + far))
    room = 0.05 * (high - low) or 1.0
    return low - room, high + room
