"""Results of a Monte Carlo study: small multiples by its factors, our points and published ones together."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crosslevel.errors import CrosslevelError
from crosslevel.report.figures import theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AFTER_FACTORS = "estimator"
"""The first column of results that is no factor."""

UNITS = {"percent of truth": "percent of the effect", "percent": "percent", "effect": "units of the effect"}
ON_LOG_SCALE = ("rmse", "sd", "standard error", "width", "median width")
NAMES = {"rmse": "RMSE", "type-I error": "Type-I error"}
APART = 0.012
"""Distance of the points of two lines at the same level, as a share of the axis."""

NORMAL = 1.96
"""Standard errors to either side of a point."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """What a figure of a study shows.

    Attributes
    ----------
    frame : its points: row, column, x, line, value, mcse and published.
    lines : their names, in order.
    x, columns, rows : factors along the axis and over the panels; None if there is none.
    name : the measure with its unit.
    """

    frame: pd.DataFrame
    lines: tuple[str, ...]
    x: str | None
    columns: str | None
    rows: str | None
    name: str


def study_data(
    results: pd.DataFrame,
    measure: str = "rmse",
    *,
    x: str | None = None,
    columns: str | None = None,
    rows: str | None = None,
    published: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return the points of the figure, see `study`: row, column, x, line, value, mcse, published (not ours).

    Examples
    --------
    >>> import pandas as pd
    >>> results = pd.DataFrame({
    ...     "clusters": [15, 25], "estimator": "OLS", "measure": "rmse", "interval": "", "value": [17.3, 12.9],
    ...     "mcse": [0.2, 0.1], "reps": 4000, "failed": 0,
    ... })
    >>> study_data(results)[["x", "line", "value"]].values.tolist()
    [[15, 'OLS', 17.3], [25, 'OLS', 12.9]]
    """
    return _shown(results, measure, x, columns, rows, published).frame


def study(
    results: pd.DataFrame,
    measure: str = "rmse",
    *,
    x: str | None = None,
    columns: str | None = None,
    rows: str | None = None,
    published: pd.DataFrame | None = None,
    nominal: float | None = None,
    labels: Mapping[str, str] | None = None,
    title: str | None = None,
) -> "Figure":
    """Draw a measure of each estimator by the factors of a Monte Carlo study, in a panel for each of their levels.

    Root mean squared errors and widths are on a logarithmic scale: the same distance is the same ratio. Without a
    factor that varies, estimators and intervals stand below each other. Bars are 1.96 Monte Carlo standard errors to
    either side; most are shorter than the points are wide.

    Parameters
    ----------
    results : what `Study.run` returned, or part of it: choose levels, estimators and intervals before.
    measure : "rmse", "coverage", "width", "power", "bias" or another of its measures.
    x, columns, rows : factors along the horizontal axis, and by which panels differ. Those that vary must be among
        them; if all are None, the last that varies goes along the axis, the one before it over columns, then rows.
    published : a frame like the results, whose values are drawn as open points.
    nominal : a line at this value, in percent; 95 for coverage and 5 for type-I errors if None.
    labels : names of factors in words, such as {"clusters": "{} clusters"}, with {} where a panel has the level.
    title : over the figure; from the measure if None.

    Raises
    ------
    CrosslevelError : a measure or factor that the results do not have, several values for one point, or more lines
        than can be told apart.

    Examples
    --------
    >>> import pandas as pd
    >>> results = pd.DataFrame({
    ...     "clusters": [15, 25], "estimator": "OLS", "measure": "rmse", "interval": "", "value": [17.3, 12.9],
    ...     "mcse": [0.2, 0.1], "reps": 4000, "failed": 0,
    ... })
    >>> figure = study(results)
    """
    shown = _shown(results, measure, x, columns, rows, published)
    line = {"coverage": 95.0, "type-I error": 5.0}.get(measure) if nominal is None else nominal
    words = {name: name.replace("_", " ") for name in results.columns} | dict(labels or {})
    heading = title or _titled(measure, [words[name] for name in (shown.x, shown.columns, shown.rows) if name])
    notes = _notes(results, measure, published=bool(shown.frame["published"].any()))
    if shown.x is None:
        return _draw_list(shown, measure, line, heading, notes)
    return _draw_panels(shown, measure, line, words, heading, notes)


def _shown(
    results: pd.DataFrame,
    measure: str,
    x: str | None,
    columns: str | None,
    rows: str | None,
    published: pd.DataFrame | None,
) -> Shown:
    """The points of a figure, checked."""
    mine = _of_measure(results, measure)
    factors = list(results.columns[: list(results.columns).index(AFTER_FACTORS)])
    vary = [name for name in factors if mine[name].nunique() > 1]
    if x is columns is rows is None:
        x, columns, rows = [*reversed(vary[-3:]), None, None, None][:3]
    _check_factors({"x": x, "columns": columns, "rows": rows}, factors, vary)
    parts = [mine.assign(published=False)]
    if published is not None:
        parts.append(_alike(published[published["measure"] == measure], mine, factors).assign(published=True))
    points = pd.concat([part for part in parts if len(part)], ignore_index=True)
    places = {"row": rows, "column": columns, "x": x}
    frame = pd.DataFrame({key: points[name] if name else "" for key, name in places.items()}, index=points.index)
    frame["line"] = _line_names(points)
    frame[["value", "mcse", "published"]] = points[["value", "mcse", "published"]]
    double = frame.duplicated(["row", "column", "x", "line", "published"])
    if double.any():
        raise CrosslevelError(
            f"Several values of {measure!r} for {frame['line'][double].iloc[0]!r} are in one place. "
            "Choose one term before drawing: results[results['term'] == ...]."
        )
    lines = tuple(dict.fromkeys(frame["line"]))
    if x is not None and len(lines) > len(theme.LOOKS):
        raise CrosslevelError(
            f"`results` has {len(lines)} lines, {len(theme.LOOKS)} can be told apart; choose some of them."
        )
    return Shown(frame=frame, lines=lines, x=x, columns=columns, rows=rows, name=_named(measure, mine))


def _of_measure(results: pd.DataFrame, measure: str) -> pd.DataFrame:
    """The rows of one measure.

    Raises
    ------
    CrosslevelError : there are none.
    """
    needed = [AFTER_FACTORS, "measure", "interval", "value", "mcse"]
    lacking = [name for name in needed if name not in getattr(results, "columns", ())]
    if lacking:
        raise CrosslevelError(f"`results` is the frame that `Study.run` returns; it lacks the columns {lacking}.")
    mine = results[(results["measure"] == measure) & results["value"].notna()]
    if not len(mine):
        known = ", ".join(dict.fromkeys(results["measure"]))
        raise CrosslevelError(f"`measure` is one of those in the results: {known}; got {measure!r}.")
    return mine


def _check_factors(asked: dict[str, str | None], factors: Sequence[str], vary: Sequence[str]) -> None:
    """Whether each factor exists, and those that vary are told apart.

    Raises
    ------
    CrosslevelError : a factor is unknown, twice there, or left out.
    """
    for argument, name in asked.items():
        if name is not None and name not in factors:
            raise CrosslevelError(f"`{argument}` is a factor of the study: {', '.join(factors)}; got {name!r}.")
    named = [name for name in asked.values() if name is not None]
    left = [name for name in vary if name not in named]
    if left or len(set(named)) < len(named):
        raise CrosslevelError(
            f"The factors {', '.join(vary)} vary; `x`, `columns` and `rows` are {', '.join(named) or 'none of them'}. "
            "Give each factor that varies one place, or choose a level of the others: results[results[...] == ...]."
        )


def _alike(published: pd.DataFrame, mine: pd.DataFrame, factors: Sequence[str]) -> pd.DataFrame:
    """Published rows of the conditions, estimators and intervals of ours."""
    keys = [*(name for name in factors if name in published), AFTER_FACTORS, "interval"]
    return published.merge(mine[keys].drop_duplicates(), on=keys)


def _line_names(points: pd.DataFrame) -> "pd.Series[str]":
    """Estimators, intervals and terms: whatever of them tells the points apart."""
    estimators, intervals = points[AFTER_FACTORS], points["interval"]
    parts = [estimators] if estimators.nunique() > 1 else []
    parts += [intervals] if points.groupby(AFTER_FACTORS)["interval"].nunique().max() > 1 else []
    parts += [points["term"]] if "term" in points and points["term"].nunique() > 1 else []
    names = parts[0] if parts else estimators
    for part in parts[1:]:
        names = names + ": " + part.fillna("")
    return names


def _draw_panels(
    shown: Shown, measure: str, nominal: float | None, words: Mapping[str, str], title: str, notes: str
) -> "Figure":
    """A panel for each level of two factors, in it a line for each estimator."""
    frame = shown.frame
    rows, columns = (sorted(frame[name].unique()) for name in ("row", "column"))
    shape = {"rows": len(rows), "columns": len(columns)}
    width = theme.WIDTH if len(columns) > 1 else 5.2
    with theme.drawing(None, width=width, height=0.9 + 2.2 * len(rows), **shape, share="none") as panels:
        for k, panel in enumerate(panels):
            row, column = rows[k // len(columns)], columns[k % len(columns)]
            _draw_lines(panel, shown, frame[(frame["row"] == row) & (frame["column"] == column)])
            if nominal is not None:
                panel.axhline(nominal, color=theme.INK, linewidth=0.9, zorder=1)
            levels = [(shown.columns, column), (shown.rows, row)]
            heading = ", ".join(_heading(words[name], level) for name, level in levels if name)
            heading = textwrap.fill(heading, int(13 * width / len(columns)))
            panel.set_title(heading, loc="left", fontsize=9, color=theme.INK)
        for first in range(0, len(panels), len(columns)):
            _scale(panels[first : first + len(columns)], measure)
            panels[first].set_ylabel(shown.name)
        panels[len(panels) - len(columns) + (len(columns) - 1) // 2].set_xlabel(words[shown.x or ""])
        figure = theme.entitle(panels, title, notes, own=True)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5), handlelength=2.8)
        return figure


def _draw_lines(panel: "Axes", shown: Shown, inside: pd.DataFrame) -> None:
    """The lines of one panel, each a little beside the others so that none hides another."""
    levels = sorted(shown.frame["x"].unique())
    numbers = all(isinstance(level, int | float | np.number) for level in levels)
    places = dict(zip(levels, levels if numbers else range(len(levels)), strict=True))
    step = APART * (max(places.values()) - min(places.values()))
    for k, (line, (colour, marker, dashes)) in enumerate(zip(shown.lines, theme.LOOKS, strict=False)):
        aside = step * (k - (len(shown.lines) - 1) / 2)
        for published in (False, True):
            mine = inside[(inside["line"] == line) & (inside["published"] == published)].sort_values("x")
            x = np.array([places[level] for level in mine["x"]], dtype=float) + aside
            value, error = (mine[name].to_numpy(dtype=float) for name in ("value", "mcse"))
            panel.vlines(x, value - NORMAL * error, value + NORMAL * error, color=colour, linewidth=1.1, zorder=2)
            look: dict[str, Any] = {"color": colour, "marker": marker}
            if published:
                (dots,) = panel.plot(x, value, markersize=7.5, markerfacecolor="white", linestyle="", zorder=4, **look)
            else:
                look |= {"linestyle": dashes, "label": line}
                (dots,) = panel.plot(x, value, markersize=4.6, linewidth=1.4, zorder=3, **look)
            heads = [f"{line}, published" if published else line] * len(x)
            theme.mark(dots, theme.told(heads, {"value": value, "Monte-Carlo error": error}))
    panel.set_xticks(list(places.values()), [_level(level) for level in levels])


def _scale(panels: "Sequence[Axes]", measure: str) -> None:
    """One vertical scale for the panels of a row, logarithmic where ratios are what matters."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    low = min(panel.dataLim.ymin for panel in panels)
    high = max(panel.dataLim.ymax for panel in panels)
    logarithmic = measure in ON_LOG_SCALE and low > 0.0
    for k, panel in enumerate(panels):
        if logarithmic:
            panel.set_yscale("log")
            panel.set_ylim(low / 1.08, high * 1.08)
            panel.yaxis.set_major_locator(LogLocator(subs=_steps(high / low)))
            panel.yaxis.set_minor_locator(NullLocator())
            panel.yaxis.set_minor_formatter(NullFormatter())
            panel.yaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
        else:
            margin = 0.06 * (high - low) or 1.0
            panel.set_ylim(low - margin, high + margin)
        if k:
            panel.set_yticklabels([])


def _steps(ratio: float) -> tuple[float, ...]:
    """Digits at which a logarithmic axis has ticks, for the range that it has."""
    if ratio < 1.7:
        return (1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.8, 2.0, 2.2, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0)
    if ratio < 3.0:
        return (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
    return (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0) if ratio < 9.0 else (1.0, 2.0, 5.0)


def _draw_list(shown: Shown, measure: str, nominal: float | None, title: str, notes: str) -> "Figure":
    """One condition: estimators and intervals below each other."""
    frame, lines = shown.frame, shown.lines
    with theme.drawing(None, width=6.2, height=0.9 + 0.3 * len(lines)) as panels:
        panel = panels[0]
        if nominal is not None:
            panel.axvline(nominal, color=theme.INK, linewidth=0.9, zorder=1)
        for published, colour, marker in ((False, theme.BLUE, "o"), (True, theme.ORANGE, "D")):
            mine = frame[frame["published"] == published]
            y = np.array([len(lines) - 1 - lines.index(line) for line in mine["line"]]) + (0.14 if published else -0.14)
            y = y if frame["published"].any() else np.round(y)
            value, error = (mine[name].to_numpy(dtype=float) for name in ("value", "mcse"))
            panel.hlines(y, value - NORMAL * error, value + NORMAL * error, color=colour, linewidth=1.6)
            label = "published" if published else "here"
            face = "white" if published else colour
            panel.scatter(value, y, s=34, marker=marker, facecolors=face, edgecolors=colour, zorder=3, label=label)
        panel.set_yticks(range(len(lines)), list(reversed(lines)))
        panel.set_ylim(-0.6, len(lines) - 0.4)
        panel.grid(visible=False, axis="y")
        panel.set_xlabel(shown.name)
        if frame["published"].any():
            panel.legend(loc="best")
        return theme.entitle(panels, title, notes, own=True)


def _heading(words: str, level: Any) -> str:
    """A factor with its level."""
    return words.replace("{}", _level(level)) if "{}" in words else f"{words} {_level(level)}"


def _level(level: Any) -> str:
    """A level as it is written in a panel."""
    return f"{level:g}" if isinstance(level, int | float | np.number) else str(level)


def _named(measure: str, mine: pd.DataFrame) -> str:
    """A measure with its unit, where all its values have the same."""
    units: list[str] = list(mine["unit"].unique()) if "unit" in mine else []
    what = NAMES.get(measure, measure.capitalize())
    return f"{what} ({UNITS.get(units[0], units[0])})" if len(units) == 1 else what


def _titled(measure: str, factors: Sequence[str]) -> str:
    """A title from the measure and the factors."""
    what = NAMES.get(measure, measure.capitalize())
    return f"{what} by {', '.join(factors)}" if factors else what


def _notes(results: pd.DataFrame, measure: str, *, published: bool) -> str:
    """What is drawn."""
    parts = []
    if "reps" in results:
        counts = results.loc[results["measure"] == measure, "reps"]
        low, high = int(counts.min()), int(counts.max())
        parts.append(f"{low:,} replications." if low == high else f"{low:,} to {high:,} replications.")
    parts.append("Bars: 1.96 Monte Carlo standard errors to either side.")
    if published:
        parts.append("Open points: published.")
    if measure in ON_LOG_SCALE:
        parts.append("Logarithmic scale.")
    return " ".join(parts)
