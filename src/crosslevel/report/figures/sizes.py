"""How many rows each cluster has."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.diagnostics.describe import Description
from crosslevel.display import counted, fixed
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.mixed import MixedFit
from crosslevel.report.figures import theme
from crosslevel.report.figures.subject import named
from crosslevel.types import FloatArray, IntArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED = 40
"""Up to so many clusters each has a bar with its name; more are a histogram."""


def cluster_sizes_data(subject: "MixedFit | GeneralizedFit | Description | pd.Series[int]") -> pd.DataFrame:
    """Rows per cluster, the largest first.

    Parameters
    ----------
    subject : a fit, a description, or a Series of sizes indexed by cluster.

    Returns
    -------
    frame indexed by cluster with the column `rows`.

    Raises
    ------
    CrosslevelError : `subject` is something else.

    Examples
    --------
    >>> import pandas as pd
    >>> cluster_sizes_data(pd.Series({"a": 3, "b": 12}))["rows"].tolist()
    [12, 3]
    """
    sizes = subject
    if isinstance(subject, MixedFit | GeneralizedFit):
        sizes = subject.group_sizes
    elif isinstance(subject, Description):
        sizes = subject.sizes.rename_axis(subject.group)
    elif not isinstance(subject, pd.Series):
        raise CrosslevelError(
            "`cluster_sizes` draws a fitted model, a description or a Series of sizes indexed by cluster; "
            f"got {type(subject).__name__}."
        )
    return pd.DataFrame({"rows": sizes}).sort_values("rows", ascending=False, kind="stable")


def cluster_sizes(
    subject: "MixedFit | GeneralizedFit | Description | pd.Series[int]", *, ax: "Axes | None" = None
) -> "Figure":
    """Draw the sizes of the clusters: a bar each, or a histogram where there are more than 40.

    Parameters
    ----------
    subject : a fit, a description, or a Series of sizes indexed by cluster.
    ax : axes to draw into; a new figure if None.

    Examples
    --------
    >>> import pandas as pd
    >>> figure = cluster_sizes(pd.Series({"Austria": 812, "Belgium": 1045}))
    >>> figure.axes[0].get_xlabel()
    'Rows'
    """
    sizes = cluster_sizes_data(subject)["rows"]
    group = str(sizes.index.name or "cluster")
    few = len(sizes) <= NAMED
    with theme.drawing(ax, height=0.7 + 0.19 * len(sizes) if few else 3.2) as (panel,):
        (bars if few else histogram)(panel, sizes)
        if few:
            theme.name_axes(panel, "Rows", "")
        else:
            theme.name_axes(panel, "Rows per cluster", "Number of clusters")
        labels = subject.labels if isinstance(subject, MixedFit | GeneralizedFit) else {}
        title = f"Size of the clusters: {named(group, labels)}"
        return theme.entitle([panel], title, words(sizes), own=ax is None)


def words(sizes: "pd.Series[int]") -> str:
    """Number of clusters and rows, and the range of sizes."""
    start = f"{counted(len(sizes))} clusters with {counted(sizes.sum())} rows"
    if sizes.min() == sizes.max():
        return f"{start}; {counted(sizes.max())} in each"
    return (
        f"{start}; from {counted(sizes.min())} to {counted(sizes.max())}, mean {fixed(sizes.mean(), 1)}, "
        f"median {fixed(sizes.median(), 1)}"
    )


def bars(panel: "Axes", sizes: "pd.Series[int]") -> None:
    """One bar per cluster, its size written beside it."""
    places = np.arange(len(sizes))[::-1]
    drawn = panel.barh(places, sizes.to_numpy(), color=theme.BLUE, height=0.68)
    theme.mark(list(drawn), theme.told(sizes.index, {"rows": sizes}))
    for place, size in zip(places, sizes, strict=True):
        panel.annotate(
            counted(size), (size, place), (3, 0), textcoords="offset points", va="center", fontsize=8, color=theme.GREY
        )
    panel.set_yticks(places, theme.shortened(list(sizes.index), 36))
    panel.set_ylim(-0.7, len(sizes) - 0.3)
    panel.tick_params(axis="y", length=0)
    panel.grid(visible=False, axis="y")
    panel.margins(x=0.09)
    panel.set_xlim(left=0)


def histogram(panel: "Axes", sizes: "pd.Series[int]") -> None:
    """A histogram of sizes with its mean; logarithmic where a few clusters dwarf the others."""
    values = sizes.to_numpy(dtype=float)
    wide = values.max() > 50 * np.median(values)
    panel.hist(
        values, bins=bin_edges(np.asarray(values), wide=wide), color=theme.BLUE, edgecolor="white", linewidth=0.6
    )
    if wide:
        panel.set_xscale("log")
    elif values.min() == values.max():
        panel.set_xticks([values[0]], [counted(values[0])])
    else:
        panel.locator_params(axis="x", integer=True)
    panel.grid(visible=False, axis="x")
    panel.margins(y=0.16)
    panel.axvline(values.mean(), color=theme.ORANGE, linewidth=1.6)
    panel.annotate(
        f"mean {fixed(values.mean(), 1)}",
        (values.mean(), 1),
        (5, -3),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        va="top",
        color=theme.RUST,
        fontsize=9,
    )


def bin_edges(sizes: FloatArray | IntArray, *, wide: bool) -> list[float]:
    """Edges of 10 to 40 bins: equally wide whole numbers between halves, or equally wide in logarithms."""
    count = min(40, max(12, len(np.histogram_bin_edges(sizes, "auto")) - 1))
    low, high = float(sizes.min()), float(sizes.max())
    if wide:
        return list(np.geomspace(low * 0.999, high * 1.001, count + 1))
    step = max(1.0, np.ceil((high - low + 1) / count))
    return list(np.arange(low - 0.5, high + step, step))
