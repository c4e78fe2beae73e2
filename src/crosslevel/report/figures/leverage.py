"""How far clusters, and rows, pull their own fitted values."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.diagnostics.leverage_words import HIGH
from crosslevel.display import counted, fixed
from crosslevel.errors import CrosslevelError
from crosslevel.report.figures import theme
from crosslevel.report.figures.influence import MOST_MARKS
from crosslevel.report.figures.records import draws
from crosslevel.report.figures.subject import chosen
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from crosslevel.diagnostics.leverage import Leverage

NAMED = 4
"""Clusters with the highest weight that are named."""

APART = 0.065
"""Least distance of two names, as a share of the panel's height."""

WIDE = 12.0
"""The largest cluster over the smallest from which sizes are drawn on a log scale."""

BINS = 40
"""Bars of the distribution of the rows' leverage."""


@draws("cl.leverage(fit)")
def leverage_data(found: "Leverage", group: str | None = None) -> pd.DataFrame:
    """Return the leverage of clusters.

    Parameters
    ----------
    found : what `cl.leverage` answers.
    group : the grouping factor; the first if None.

    Returns
    -------
    frame indexed by cluster: rows, leverage, fixed, random (sums over its rows), mean, share, and times: the share over
        that of equal clusters.

    Raises
    ------
    CrosslevelError : no such group, or the fit has no clusters.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> leverage_data(cl.leverage(fit))["times"].round(3).unique().tolist()
    [1.0]
    """
    if not found.clusters:
        raise CrosslevelError(
            "`leverage` has no clusters: the regression was fitted without. Fit it with cluster=, or look at `.rows`."
        )
    frame = found.clusters[chosen("group", group, list(found.clusters))]
    return frame.assign(times=frame["share"] * len(frame))


@draws("cl.leverage(fit)")
def leverage(found: "Leverage", group: str | None = None, *, ax: "Axes | None" = None) -> "Figure":
    """Draw the weight of each cluster in the coefficients against its size, and beside it the leverage of the rows.

    Parameters
    ----------
    found : what `cl.leverage` answers.
    group : the grouping factor; the first if None. Of a regression without clusters only the rows are drawn.
    ax : axes to draw the clusters into (the rows, where there are no clusters); a new figure if None.

    Raises
    ------
    CrosslevelError : no such group.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("mathach ~ ses + (1 | school)", cl.datasets.load("hsb"))
    >>> figure = leverage(cl.leverage(fit))
    """
    if not found.clusters:
        with theme.drawing(ax, height=3.0) as (panel,):
            _draw_rows(panel, found.rows["leverage"].to_numpy())
            return theme.entitle([panel], "Leverage of the rows", _words_of_rows(found), own=ax is None)
    data = leverage_data(found, group)
    name = str(data.index.name or group or next(iter(found.clusters)))
    columns = 1 if ax is not None else 2
    with theme.drawing(ax, height=3.4, columns=columns, share="none") as panels:
        _draw_clusters(panels[0], data, name)
        if len(panels) > 1:
            _draw_rows(panels[1], found.rows["leverage"].to_numpy())
        text = (
            f"Left: the weight of each of {counted(len(data))} clusters in all coefficients together; line: equal "
            f"weights. Right: the leverage of {counted(len(found.rows))} rows. {_words_of_rows(found)}"
        )
        return theme.entitle(panels, f"Leverage of {name} and of rows", text, own=ax is None)


def _words_of_rows(found: "Leverage") -> str:
    """The sum of the rows' leverage, and the lines."""
    return (
        f"All fitted values together take {fixed(found.total, 1)} parameters; lines: the average row, and {HIGH:g} "
        "times as much."
    )


def _draw_clusters(panel: "Axes", data: pd.DataFrame, name: str) -> None:
    """Weight against size, the highest weights with their names."""
    size, share = data["rows"].to_numpy(dtype=float), 100.0 * data["share"].to_numpy()
    if size.max() > WIDE * max(size.min(), 1.0):
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter(lambda value, _: counted(value))
        panel.xaxis.set_minor_formatter(lambda value, _: "")
    panel.axhline(100.0 / len(data), color=theme.INK, linewidth=0.9)
    area = float(np.clip(3000 / len(data), 5, 26))
    dots = panel.scatter(size, share, s=area, c=theme.BLUE, alpha=0.75, linewidths=0, zorder=3)
    if len(data) <= MOST_MARKS:
        numbers = {"weight, %": share, "rows": data["rows"].tolist(), "fixed": data["fixed"], "random": data["random"]}
        theme.mark(dots, theme.told(data.index.tolist(), numbers))
    panel.set_ylim(0.0, 1.25 * float(share.max()))
    _name_highest(panel, data, size, share)
    theme.name_axes(panel, f"Rows of the {name}", "Weight in the coefficients, %")


def _name_highest(panel: "Axes", data: pd.DataFrame, size: FloatArray, share: FloatArray) -> None:
    """Names of the highest weights, each above its dot and above the name of the next lower one."""
    top = np.argsort(-share, kind="stable")[:NAMED][::-1]
    names, height = theme.shortened([str(data.index[k]) for k in top], 22), 0.0
    middle = 0.5 * (size.min() + size.max())
    for name, k in zip(names, top, strict=True):
        height = max(share[k] / (1.25 * float(share.max())) + 0.04, height + APART)
        right = bool(size[k] > middle)
        panel.annotate(
            name, (size[k], share[k]), (-7.0 if right else 7.0, height), textcoords=("offset points", "axes fraction"),
            fontsize=8, color=theme.INK, va="center", ha="right" if right else "left",
            arrowprops={"arrowstyle": "-", "color": theme.PALE, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 2},
        )  # fmt: skip


def _draw_rows(panel: "Axes", values: FloatArray) -> None:
    """How the leverage of rows is distributed, with the average and what counts as high."""
    values = values[np.isfinite(values)]
    mean = float(values.mean())
    spread = float(np.ptp(values))
    edges = np.linspace(values.min(), values.max(), BINS + 1) if spread > 1e-9 * mean else mean * np.array([0.9, 1.1])
    panel.hist(values, bins=list(edges), color=theme.GREY, alpha=0.75)
    panel.axvline(mean, color=theme.INK, linewidth=0.9)
    if values.max() > 0.8 * HIGH * mean:
        panel.axvline(HIGH * mean, color=theme.ORANGE, linewidth=1.2, linestyle="--")
    panel.set_xlim(left=0.0)
    panel.grid(visible=False, axis="x")
    theme.name_axes(panel, "Leverage of a row", "Rows")
