"""Coefficients without each cluster in turn: who moves them, and whether one cluster decides."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crosslevel.diagnostics.influence_words import described
from crosslevel.display import counted, percent
from crosslevel.errors import CrosslevelError
from crosslevel.report.figures import theme
from crosslevel.report.figures.heterogeneity import stacked
from crosslevel.report.figures.records import draws
from crosslevel.report.figures.subject import coefficients_named
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from crosslevel.diagnostics.influence import Influence

NAMED, DECIDING = 2, 4
"""Clusters that are named at each end: at least so many, and with those that decide at most so many."""

LOWEST, STEP = 0.26, 0.17
"""Heights of the names, as a share of the panel's: of the outermost cluster, and from one to the next further in."""

MOST_PANELS = 8
"""Coefficients that are drawn if none are asked for."""

MOST_MARKS = 5_000
"""Dots up to which each tells its name in interactive drawings."""


@draws("cl.influence(fit)")
def influence_data(found: "Influence", terms: str | Sequence[str] | None = None) -> pd.DataFrame:
    """Return coefficients without each cluster, or each row.

    Parameters
    ----------
    found : what `cl.influence` answers.
    terms : the coefficients, one or several; the context effects if None.

    Returns
    -------
    frame : a row for each coefficient and cluster: term, cluster, estimate, change, dfbetas, p_value, and whether the
        cluster decides: without it the sign or the result of the test is another.

    Raises
    ------
    CrosslevelError : no such coefficient, or none at all.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> influence_data(cl.influence(fit), "Days")["decides"].sum()
    np.int64(0)
    """
    wanted = coefficients_named(described(found)[:MOST_PANELS] if terms is None else terms, found.terms)
    parts = [
        pd.DataFrame(
            {
                "term": term,
                "cluster": found.estimates.index,
                "estimate": found.estimates[term].to_numpy(),
                "change": found.changes[term].to_numpy(),
                "dfbetas": found.dfbetas[term].to_numpy(),
                "p_value": found.p_values[term].to_numpy(),
                "decides": found.turned(term) | found.decided_otherwise(term),
            }
        )
        for term in wanted
    ]
    return pd.concat(parts, ignore_index=True)


@draws("cl.influence(fit)")
def influence(found: "Influence", terms: str | Sequence[str] | None = None, *, ax: "Axes | None" = None) -> "Figure":
    """Draw coefficients without each cluster, or row: a dot for each, the interval of the whole fit behind them.

    Parameters
    ----------
    found : what `cl.influence` answers.
    terms : the coefficients, one or several; the context effects if None.
    ax : axes to draw one coefficient into; a new figure if None.

    Raises
    ------
    CrosslevelError : no such coefficient, or axes for several.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> figure = influence(cl.influence(fit))
    """
    data = influence_data(found, terms)
    names = list(dict.fromkeys(data["term"]))
    if ax is not None and len(names) > 1:
        raise CrosslevelError(f"`ax` takes one coefficient, and these are {len(names)}. Name one by `terms`.")
    with theme.drawing(ax, height=0.45 + 1.32 * len(names), rows=len(names), share="y") as panels:
        for panel, term in zip(panels, names, strict=True):
            _draw(panel, found, data[data["term"] == term], term)
        if len(names) == 1:
            theme.name_axes(panels[0], f"Coefficient of {names[0]} without one {_one(found)}", "")
        else:
            theme.name_figure(panels[0], f"Coefficient without one {_one(found)}", "")
        what = "Context effects" if found.context and set(names) <= set(found.context) else "Coefficients"
        title = f"{what} without each {'row' if found.by_rows else found.by} in turn"
        return theme.entitle(panels, title, words(found, data), own=ax is None)


def words(found: "Influence", data: pd.DataFrame) -> str:
    """What is drawn."""
    decide = int(data["decides"].sum())
    told = (
        "orange diamonds: without it the sign, or the result of the test, is another"
        if decide
        else "none changes a sign or the result of a test"
    )
    many = "rows" if found.by_rows else "clusters"
    return (
        f"Dots: the coefficient without each of {counted(len(found.levels))} {many}; {told}. Line and area: with all "
        f"{many}, and its {percent(found.level, decimals=0)} interval. The outermost {many}, and those that decide, "
        "are named."
    )


def _one(found: "Influence") -> str:
    """What is left out at a time."""
    return "row" if found.by_rows else "cluster"


def _draw(panel: "Axes", found: "Influence", data: pd.DataFrame, term: str) -> None:
    """One coefficient: interval, estimate, zero where it is near, and the dots."""
    whole, low, high = (found.of_whole(term, name) for name in ("estimate", "conf_low", "conf_high"))
    data = data[data["estimate"].notna()]
    values = data["estimate"].to_numpy()
    ends = np.array([value for value in (low, high, whole, *values) if np.isfinite(value)])
    width = float(np.ptp(ends)) or 1.0
    if np.isfinite(low) and np.isfinite(high):
        panel.axvspan(low, high, color=theme.BLUE, alpha=0.10, linewidth=0)
    panel.axvline(whole, color=theme.BLUE, linewidth=1.4)
    if ends.min() - 0.1 * width <= 0.0 <= ends.max() + 0.1 * width:
        panel.axvline(0.0, color=theme.INK, linewidth=0.9)
    heights, places = stacked(values, width)
    top = float(heights.max(initial=0.0)) + 1.0
    heights = (heights + 0.6) / max(top, 5.0)
    _draw_dots(panel, data, places, heights, float(np.clip(420 / top**1.3, 5, 24)))
    _name_outermost(panel, data, places, heights)
    panel.set_xlim(ends.min() - 0.1 * width, ends.max() + 0.1 * width)
    panel.set_ylim(0.0, 1.45)
    panel.set_yticks([])
    panel.spines["left"].set_visible(False)
    panel.grid(visible=False, axis="y")
    panel.set_title(theme.shortened([term], 80)[0], loc="left", fontsize=9.5, color=theme.INK)


def _draw_dots(panel: "Axes", data: pd.DataFrame, places: FloatArray, heights: FloatArray, size: float) -> None:
    """A dot for each cluster, a diamond for each that decides."""
    decides = data["decides"].to_numpy(dtype=bool)
    looks = ((~decides, theme.GREY, "o", size), (decides, theme.ORANGE, "D", max(size, 16.0)))
    for which, colour, marker, area in looks:
        look: dict[str, Any] = {"c": colour, "s": area, "marker": marker, "linewidths": 0, "zorder": 3}
        dots = panel.scatter(places[which], heights[which], **look)
        if len(data) <= MOST_MARKS:
            own = data[which]
            numbers = {"without it": own["estimate"], "dfbetas": own["dfbetas"], "p": own["p_value"]}
            theme.mark(dots, theme.told(own["cluster"].tolist(), numbers))


def _name_outermost(panel: "Axes", data: pd.DataFrame, places: FloatArray, heights: FloatArray) -> None:
    """Names of the outermost clusters and of those that decide, further in one above the other, with lines to them."""
    order = np.argsort(data["estimate"].to_numpy(), kind="stable")
    half, decides = max(len(order) // 2, 1), data["decides"].to_numpy()
    sides = (("right", order[:half]), ("left", order[::-1][: len(order) - half]))
    named = [
        (side, [k for rank, k in enumerate(ends) if rank < NAMED or decides[k]][:DECIDING]) for side, ends in sides
    ]
    names = theme.shortened([str(data["cluster"].iloc[k]) for _, which in named for k in which], 26)
    for side, which in named:
        for step, k in enumerate(which):
            panel.annotate(
                names.pop(0), (places[k], heights[k]), (-9.0 if side == "right" else 9.0, LOWEST + STEP * step),
                textcoords=("offset points", "axes fraction"), fontsize=8, color=theme.INK, ha=side, va="center",
                bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
                arrowprops={"arrowstyle": "-", "color": theme.PALE, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 2},
                zorder=4,
            )  # fmt: skip
