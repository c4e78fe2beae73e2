"""Coefficients of several models with their intervals: below each other for every coefficient, or in panels."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crosslevel.display import percent
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.compared import read_entry
from crosslevel.report.figures import theme
from crosslevel.report.figures.subject import models_by_name
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUMBERS = ("estimate", "conf_low", "conf_high")

STEP = 0.16
"""Distance of two models' points below each other; a coefficient's row has the height 1."""

CLOSE, FAR = 4.0, 300.0
"""Ratios of the ends of a logarithmic axis below and above which its ticks are in equal steps, and tenfolds."""

LONGEST = 2.2
"""Inches of a coefficient's name."""


def coefficients_data(
    models: Any,
    terms: Sequence[str] | Mapping[str, str] | None = None,
    *,
    names: Sequence[str] | None = None,
    level: float = 0.95,
    exponentiate: bool = False,
) -> pd.DataFrame:
    """Return the coefficients of models with their intervals.

    Parameters
    ----------
    models : fits, one, several, or a dict of them by name: whatever has coefficients with intervals (mixed models of
        any family, regressions, two-step and panel estimators, robust results, bootstraps), or coefficient tables.
    terms : the coefficients in their order, or a dict with their names in the figure; all but intercepts if None.
    names : of the models; "Model 1" and so on if None.
    level : confidence level.
    exponentiate : whether coefficients are drawn as ratios, exp(b): odds ratios, rate ratios.

    Returns
    -------
    frame : term, label, model, estimate, conf_low, conf_high.

    Raises
    ------
    CrosslevelError : no model, or a term that none has.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> fits = [cl.mixed(f"mathach ~ {x} + (1 | school)", data) for x in ("ses", "ses + sector")]
    >>> coefficients_data(fits)[["term", "model"]].values.tolist()
    [['ses', 'Model 1'], ['ses', 'Model 2'], ['sector[Catholic]', 'Model 2']]
    """
    fits = models_by_name(models, names)
    tables = {name: read_entry(fit, level, name).frame for name, fit in fits.items()}
    known = list(dict.fromkeys(str(term) for table in tables.values() for term in table.index))
    if terms is None:
        wanted = {term: term for term in known if term != "Intercept"} or {term: term for term in known}
    else:
        wanted = dict(terms) if isinstance(terms, Mapping) else {term: term for term in terms}
    absent = [term for term in wanted if term not in known]
    if absent or not wanted:
        raise CrosslevelError(f"`terms` has {absent or 'nothing'}; the coefficients are {', '.join(known)}.")
    parts = []
    for term, label in wanted.items():
        for name, table in tables.items():
            if term in table.index:
                numbers = table.loc[term, list(NUMBERS)].to_numpy(dtype=float)
                shown = np.exp(numbers) if exponentiate else numbers
                parts.append({"term": term, "label": label, "model": name, **dict(zip(NUMBERS, shown, strict=True))})
    return pd.DataFrame(parts)


def coefficients(
    models: Any,
    terms: Sequence[str] | Mapping[str, str] | None = None,
    *,
    names: Sequence[str] | None = None,
    level: float = 0.95,
    exponentiate: bool = False,
    panels: bool = False,
    ax: "Axes | None" = None,
) -> "Figure":
    """Draw coefficients of several models with their intervals, those of one coefficient below each other.

    Parameters
    ----------
    models, terms, names, level, exponentiate : see `coefficients_data`.
    panels : whether each coefficient has a panel with its own scale, where predictors have different units.
    ax : axes to draw into; a new figure if None.

    Raises
    ------
    CrosslevelError : see `coefficients_data`; more models than can be told apart; axes for several panels.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> fits = [cl.mixed(f"mathach ~ {x} + (1 | school)", data) for x in ("ses", "ses + sector")]
    >>> figure = coefficients(fits, {"ses": "SES", "sector[Catholic]": "Catholic school"})
    """
    data = coefficients_data(models, terms, names=names, level=level, exponentiate=exponentiate)
    heads = list(models_by_name(models, names))
    if len(heads) > len(theme.LOOKS):
        raise CrosslevelError(f"`models` are {len(heads)}; {len(theme.LOOKS)} can be told apart. Draw some of them.")
    if panels and ax is not None:
        raise CrosslevelError("`ax` is one panel, and panels=True needs one for each coefficient. Leave one out.")
    subtitle = f"Points and bars: estimates and {percent(level, decimals=0)} intervals."
    subtitle += " Ratios, on a logarithmic scale." if exponentiate else ""
    title = "Coefficients" if len(heads) == 1 else f"Coefficients of {len(heads)} models"
    draw = _draw_panels if panels else _draw_rows
    return draw(data, heads, title, subtitle, exponentiate, ax)


def _draw_rows(
    data: pd.DataFrame, heads: list[str], title: str, subtitle: str, exponentiate: bool, ax: "Axes | None"
) -> "Figure":
    """All coefficients in one panel."""
    labels = list(dict.fromkeys(data["label"]))
    room = 1.0 / max(STEP * (len(heads) + 1), 0.5)
    with theme.drawing(ax, height=0.9 + len(labels) * max(0.3, 0.17 * len(heads) + 0.08)) as (panel,):
        for k, label in enumerate(labels):
            _draw_term(panel, data[data["label"] == label], heads, len(labels) - 1 - k, min(STEP, STEP * room))
            if k:
                panel.axhline(len(labels) - k - 0.5, color=theme.GRID, linewidth=0.8)
        panel.set_yticks(np.arange(len(labels))[::-1], [_named(label) for label in labels])
        panel.set_ylim(-0.55, len(labels) - 0.45)
        _finish(panel, exponentiate)
        theme.name_axes(panel, _axis(exponentiate), "")
        _legend(panel, heads)
        return theme.entitle([panel], title, subtitle, own=ax is None)


def _draw_panels(
    data: pd.DataFrame, heads: list[str], title: str, subtitle: str, exponentiate: bool, ax: "Axes | None"
) -> "Figure":
    """A panel with its own scale for each coefficient."""
    labels = list(dict.fromkeys(data["label"]))
    columns = min(3, len(labels))
    rows = -(-len(labels) // columns)
    height = 0.7 + rows * (0.75 + 0.2 * len(heads))
    with theme.drawing(ax, height=height, rows=rows, columns=columns, share="y") as panels:
        for panel, label in zip(panels, labels, strict=False):
            _draw_term(panel, data[data["label"] == label], heads, 0, 1.0)
            name = theme.fitted(label, 0.85 * theme.WIDTH / columns, 9.0)
            panel.set_title(name, loc="left", fontsize=9, color=theme.INK, parse_math=False)
            _finish(panel, exponentiate)
            panel.locator_params(axis="x", nbins=4) if not exponentiate else None
        half = (len(heads) - 1) / 2
        panels[0].set_yticks(half - np.arange(len(heads)), [theme.fitted(head, 1.6, 8.5) for head in heads])
        panels[0].set_ylim(-half - 0.6, half + 0.6)
        for panel in panels[len(labels) :]:
            panel.set_axis_off()
        theme.name_figure(panels[0], _axis(exponentiate), "")
        return theme.entitle(panels, title, subtitle, own=True)


def _draw_term(panel: "Axes", data: pd.DataFrame, heads: list[str], place: float, step: float) -> None:
    """One coefficient: a point with its bar for each model that has it."""
    places = {name: place + step * ((len(heads) - 1) / 2 - k) for k, name in enumerate(heads)}
    for name, (colour, marker, _) in zip(heads, theme.LOOKS, strict=False):
        mine = data[data["model"] == name]
        y = np.full(len(mine), places[name])
        low, high, middle = (mine[column].to_numpy(dtype=float) for column in ("conf_low", "conf_high", "estimate"))
        panel.hlines(y, low, high, colors=colour, linewidth=1.6)
        dots = panel.scatter(middle, y, c=colour, s=26, marker=marker, linewidths=0, zorder=3)
        heading = [f"{name}: {label}" for label in mine["label"]]
        theme.mark(dots, theme.told(heading, {"estimate": middle, "interval": (low, high)}))


def _finish(panel: "Axes", exponentiate: bool) -> None:
    """Line of no effect, scale and grid."""
    panel.axvline(1.0 if exponentiate else 0.0, color=theme.INK, linewidth=0.9, zorder=1)
    panel.tick_params(axis="y", length=0)
    panel.grid(visible=False, axis="y")
    panel.margins(x=0.07)
    if exponentiate:
        panel.set_xscale("log")
        _ratios(panel)


def _ratios(panel: "Axes") -> None:
    """Round ratios on a logarithmic axis."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = panel.get_xlim()
    panel.xaxis.set_major_locator(FixedLocator(list(ratios(low, high))))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))


def ratios(low: float, high: float) -> FloatArray:
    """Round numbers between two ratios: 1, 2, 5 and their tenfolds, or equal steps where the two are close.

    Examples
    --------
    >>> ratios(0.4, 6.0).tolist(), ratios(0.85, 1.3).tolist()
    ([0.5, 1.0, 2.0, 5.0], [0.9, 1.0, 1.1, 1.2, 1.3])
    """
    from matplotlib.ticker import MaxNLocator

    if high < CLOSE * low:
        found = np.asarray(MaxNLocator(5).tick_values(low, high))
    else:
        tens = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        found = np.multiply.outer(tens, (1.0, 2.0, 5.0) if high < FAR * low else (1.0,)).ravel()
    found = np.round(found[(found >= low) & (found <= high)], 12)
    return np.asarray(found[:: max(1, len(found) // 6)])


def _axis(exponentiate: bool) -> str:
    """Name of the axis."""
    return "Ratio: exp(coefficient)" if exponentiate else "Coefficient"


def _named(label: str) -> str:
    """A coefficient's name as a tick."""
    return theme.fitted(label, LONGEST, 8.5).replace("$", r"\$")


def _legend(panel: "Axes", heads: list[str]) -> None:
    """Which marker is which model's."""
    from matplotlib.lines import Line2D

    if len(heads) == 1:
        return
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=5, linewidth=1.6, label=theme.fitted(head, 2.0, 8.5))
        for head, (colour, marker, _) in zip(heads, theme.LOOKS, strict=False)
    ]
    panel.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, fontsize=8.5, borderaxespad=0.3)
