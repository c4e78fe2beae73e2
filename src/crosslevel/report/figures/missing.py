"""Missing values: a field of clusters and variables, and the patterns of what is missing together."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.display import counted, percent
from crosslevel.errors import CrosslevelError
from crosslevel.report.figures import theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from crosslevel.diagnostics.sensitivity.missing_patterns import MissingPatterns

NAMED = 45
"""Clusters that can be named beside their rows."""

PATTERNS = 12
"""Patterns that are drawn."""

LONGEST = 18
"""Characters of a variable's or cluster's name."""


def missing_data(found: "MissingPatterns") -> pd.DataFrame:
    """Return what is drawn: a row for each cluster and variable.

    Parameters
    ----------
    found : what `cl.missing_patterns` answers.

    Returns
    -------
    frame: cluster (that with the fewest complete rows first), variable, share (of its rows that are missing), rows.

    Raises
    ------
    CrosslevelError : it is something else.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> data = data.assign(ses=data["ses"].where(data["school"] != "1224"))
    >>> missing_data(cl.missing_patterns(data, "school", ["mathach", "ses"])).head(3)
      cluster variable  share  rows
    0    1224  mathach    0.0    47
    1    1224      ses    1.0    47
    2    1288  mathach    0.0    25
    """
    from crosslevel.diagnostics.sensitivity.missing_patterns import MissingPatterns

    if not isinstance(found, MissingPatterns):
        raise CrosslevelError(f"`missing` draws what cl.missing_patterns answers; got {type(found).__name__}.")
    frame = found.clusters.sort_values("complete_share", kind="stable")
    parts = {
        "cluster": np.repeat([str(level) for level in frame.index], len(found.names)),
        "variable": np.tile(list(found.names), len(frame)),
        "share": frame[list(found.names)].to_numpy().ravel(),
        "rows": np.repeat(frame["rows"].to_numpy(), len(found.names)),
    }
    return pd.DataFrame(parts)


def missing(found: "MissingPatterns") -> "Figure":
    """Draw which variables are missing in which clusters, and which are missing together.

    Parameters
    ----------
    found : what `cl.missing_patterns` answers.

    Raises
    ------
    CrosslevelError : it is something else.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> data = data.assign(ses=data["ses"].where(data["school"] != "1224"))
    >>> figure = missing(cl.missing_patterns(data, "school", ["mathach", "ses"]))
    """
    data = missing_data(found)
    n, k = len(found.levels), len(found.names)
    height = float(np.clip(0.16 * n + 1.2, 3.4, 8.5)) if n <= NAMED else 5.2
    width = float(np.clip(3.4 + 0.42 * k, theme.WIDTH, 16.0))
    with theme.drawing(None, width=width, height=height, columns=2, share="none") as panels:
        grid = panels[0].get_gridspec()
        assert grid is not None
        grid.set_width_ratios([1.7, 1.0])
        _draw_field(panels[0], found, data)
        _draw_patterns(panels[1], found)
        title = f"Missing values by {found.group}"
        share = percent(float(found.complete.mean()))
        words = (
            f"{share} of {counted(found.n_rows)} rows are complete. Left: share of values missing in each of "
            f"{counted(n)} clusters, those with the fewest complete rows at the top; the darker the more. Right: what "
            "is missing together, and in how many rows."
        )
        return theme.entitle(panels, title, words, own=True)


def _draw_field(panel: "Axes", found: "MissingPatterns", data: pd.DataFrame) -> None:
    """Clusters by variables."""
    from matplotlib.colors import LinearSegmentedColormap

    n, k = len(found.levels), len(found.names)
    shares = data["share"].to_numpy().reshape(n, k)
    colours = LinearSegmentedColormap.from_list("missing", ["#f2f4f7", theme.BLUE, "#08263f"])
    picture = panel.pcolormesh(
        np.arange(k + 1) - 0.5, np.arange(n + 1) - 0.5, shares, cmap=colours, vmin=0.0, vmax=1.0,
        edgecolors="white" if n <= 2 * NAMED else "none", linewidth=0.6, rasterized=n * k > 20_000,
    )  # fmt: skip
    panel.set_ylim(n - 0.5, -0.5)
    panel.set_xticks(np.arange(k), theme.shortened(found.names, LONGEST), rotation=45, ha="right", parse_math=False)
    names = list(dict.fromkeys(data["cluster"]))
    if n <= NAMED:
        panel.set_yticks(np.arange(n), theme.shortened(names, LONGEST), parse_math=False, fontsize=7.5)
    else:
        panel.set_yticks([])
        panel.set_ylabel(f"{counted(n)} clusters of {found.group}")
    panel.tick_params(length=0)
    panel.grid(visible=False)
    for side in ("left", "bottom"):
        panel.spines[side].set_visible(False)
    figure = panel.get_figure(root=True)
    assert figure is not None
    bar = figure.colorbar(picture, ax=panel, location="right", shrink=0.6, aspect=22, pad=0.02)
    bar.set_ticks([0.0, 0.5, 1.0], labels=["0%", "50%", "100%"])
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7.5, length=0, colors=theme.GREY)


def _draw_patterns(panel: "Axes", found: "MissingPatterns") -> None:
    """The commonest patterns, a line each: dark where a variable is missing."""
    shown = found.patterns.head(PATTERNS)
    gone = shown[list(found.names)].to_numpy(dtype=np.bool_)
    m, k = gone.shape
    for row in range(m):
        for column in range(k):
            look = theme.INK if gone[row, column] else theme.GRID
            panel.plot([column], [row], "s", color=look, markersize=float(np.clip(90.0 / k, 3.0, 8.0)))
        panel.annotate(
            counted(int(shown["rows"].iloc[row])), (k - 0.4, row), (4, 0), textcoords="offset points", va="center",
            fontsize=8, color=theme.INK, annotation_clip=False,
        )  # fmt: skip
    panel.set_xlim(-0.6, k - 0.4)
    panel.set_ylim(max(m, 6) - 0.4, -0.6)
    panel.set_xticks(np.arange(k), theme.shortened(found.names, LONGEST), rotation=45, ha="right", parse_math=False)
    panel.set_yticks([])
    panel.set_title("Rows with each pattern", loc="left", fontsize=9.5)
    panel.tick_params(length=0)
    panel.grid(visible=False)
    for side in ("left", "bottom"):
        panel.spines[side].set_visible(False)
