"""The data by cluster, with a least-squares line for each: what there is to model."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crosslevel.display import counted
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.mixed import MixedFit
from crosslevel.report.figures import theme
from crosslevel.report.figures.subject import clusters_of, evenly, linear_only, named, predictor_of, used_frame
from crosslevel.table import Columns, group_codes, group_names
from crosslevel.types import FloatArray, Frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 30
"""Up to so many clusters have a panel each."""
LINES = 250
"""More lines than this cannot be told apart: an even selection of clusters is drawn."""
POINTS = 4000


def raw_data(
    source: MixedFit | Frame, y: str | None = None, x: str | None = None, group: str | None = None
) -> pd.DataFrame:
    """Return the rows behind the figure: columns `cluster`, `x`, `y`.

    Parameters
    ----------
    source : a fit, or a data frame.
    y, x, group : column names; a fit knows them (x: the variable of its first random slope, or its first predictor).

    Raises
    ------
    CrosslevelError : `source` is a frame and a name is missing, the fit has no numeric predictor, or a column is text.

    Examples
    --------
    >>> frame = {"maths": [1.0, 2.0], "ses": [0.0, 1.0], "school": ["a", "a"]}
    >>> raw_data(frame, "maths", "ses", "school").columns.tolist()
    ['cluster', 'x', 'y']
    """
    y, x, group, _ = roles(source, y, x, group)
    if isinstance(source, MixedFit):
        frame, clusters = used_frame(source, [x]), clusters_of(source)
        outcome = source.augment()[y] if y == source.spec.response_name else used_frame(source, [y])[y]
    else:
        columns = Columns.from_frame(source)
        parts = group_names(columns, group)
        columns.require([y, x, *parts], "raw")
        mask, _ = columns.complete([y, x, *parts])
        frame = columns.to_pandas(tuple(dict.fromkeys([y, x])), slice(0, columns.n_rows), mask)
        outcome, factor = frame[y], group_codes(columns, tuple(parts))
        clusters = pd.Index(factor.levels).take(factor.codes if mask is None else factor.codes[mask])
    return pd.DataFrame({"cluster": clusters, "x": numbers(frame[x], x), "y": numbers(outcome, y)})


def numbers(column: "pd.Series[Any]", name: str) -> FloatArray:
    """A column as numbers; anything else cannot be drawn."""
    if not pd.api.types.is_numeric_dtype(column):
        raise CrosslevelError(f"`raw` draws numbers; {name!r} holds {column.dtype}. Choose another column.")
    return column.to_numpy(dtype=float)


def roles(source: Any, y: str | None, x: str | None, group: str | None) -> tuple[str, str, str, Mapping[str, str]]:
    """The names of outcome, predictor and cluster, and the labels of variables."""
    if isinstance(source, MixedFit):
        x = x or predictor_of(source)
        if x is None:
            raise CrosslevelError("The model has no numeric predictor to draw against: name a column as `x`.")
        return y or source.spec.response_name, x, source.group, source.labels
    linear_only(
        source,
        "raw",
        "least-squares lines",
        "Give the data in place of the fit to draw them all the same: raw(data, y, x, group).",
    )
    if y is None or x is None or group is None:
        raise CrosslevelError("`raw` of a data frame needs the names of the columns: `y`, `x` and `group`.")
    return y, x, group, Columns.from_frame(source).labels


def raw_lines(points: pd.DataFrame) -> pd.DataFrame:
    """Fit a least-squares line to each cluster of `raw_data`.

    Parameters
    ----------
    points : columns `cluster`, `x`, `y`.

    Returns
    -------
    frame indexed by cluster: rows, x_low, x_high, intercept, slope (NaN where x does not vary), mean_y.

    Examples
    --------
    >>> import pandas as pd
    >>> points = pd.DataFrame({"cluster": ["a", "a", "b"], "x": [0.0, 2.0, 1.0], "y": [1.0, 5.0, 3.0]})
    >>> raw_lines(points)[["intercept", "slope"]].round(3).to_dict("list")
    {'intercept': [1.0, nan], 'slope': [2.0, nan]}
    """
    cluster = points["cluster"]
    groups = points.groupby("cluster", sort=True, observed=True)
    means = groups[["x", "y"]].mean()
    x = points["x"].to_numpy() - means["x"].reindex(cluster).to_numpy()
    y = points["y"].to_numpy() - means["y"].reindex(cluster).to_numpy()
    sums = pd.DataFrame({"xx": x * x, "xy": x * y}).groupby(cluster.to_numpy(), sort=True, observed=True).sum()
    low, high = groups["x"].min(), groups["x"].max()
    slope = (sums["xy"] / sums["xx"]).where(high > low)
    return pd.DataFrame(
        {
            "rows": groups.size(),
            "x_low": low,
            "x_high": high,
            "intercept": means["y"] - slope * means["x"],
            "slope": slope,
            "mean_y": means["y"],
        }
    )


def raw(
    source: MixedFit | Frame,
    y: str | None = None,
    x: str | None = None,
    group: str | None = None,
    *,
    ax: "Axes | None" = None,
) -> "Figure":
    """Draw outcome against predictor by cluster: a panel each up to 30 clusters, else all lines over the points.

    Parameters
    ----------
    source : a fit, or a data frame.
    y, x, group : column names; a fit knows them.
    ax : axes to draw all clusters into.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"maths": [1.0, 2.0, 4.0], "ses": [0.0, 1.0, 2.0], "school": ["a", "a", "b"]})
    >>> len(raw(frame, "maths", "ses", "school").axes)
    2
    """
    y, x, group, labels = roles(source, y, x, group)
    points = raw_data(source, y, x, group)
    lines = raw_lines(points)
    names = (named(x, labels), named(y, labels))
    flat = int(lines["slope"].isna().sum())
    missing = f" {counted(flat)} without a line: one row, or one value of the predictor." if flat else ""
    title = f"{labels.get(y) or y} by {labels.get(group) or group}: the data"
    if ax is None and len(lines) <= PANELS:
        return trellis(
            points, lines, names, title, f"Least-squares line of each cluster, and of all rows (dashed).{missing}"
        )
    return overlay(points, lines, names, title, missing, ax)


def labels(lines: pd.DataFrame) -> list[str]:
    """What each cluster's line says."""
    return theme.told(lines.index, {"rows": lines["rows"], "slope": lines["slope"], "mean": lines["mean_y"]})


def trellis(points: pd.DataFrame, lines: pd.DataFrame, names: tuple[str, str], title: str, subtitle: str) -> "Figure":
    """A panel per cluster, in the order of their names, with shared scales."""
    columns = columns_for(len(lines))
    rows = -(-len(lines) // columns)
    pooled = np.polyfit(points["x"], points["y"], 1) if points["x"].nunique() > 1 else None
    with theme.drawing(None, height=0.6 + 1.2 * rows, rows=rows, columns=columns) as panels:
        heads = theme.shortened(list(lines.index), int(106 / columns))
        ends = np.array([points["x"].min(), points["x"].max()])
        for panel, head, (cluster, line) in zip(panels, heads, lines.iterrows(), strict=False):
            own = points[points["cluster"] == cluster]
            kept = own.iloc[evenly(len(own), 400)]
            panel.plot(kept["x"], kept["y"], "o", color=theme.BLUE, alpha=0.45, markersize=2.6, markeredgewidth=0)
            if pooled is not None:
                panel.plot(ends, np.polyval(pooled, ends), color=theme.GREY, linewidth=0.9, linestyle=(0, (4, 3)))
            x = np.array([line["x_low"], line["x_high"]])
            (drawn,) = panel.plot(x, line["intercept"] + line["slope"] * x, color=theme.ORANGE, linewidth=1.6)
            theme.mark(drawn, labels(lines.loc[[cluster]]))
            panel.set_title(head, fontsize=8, loc="left", pad=3, color=theme.INK)
        for panel in panels[len(lines) :]:
            panel.set_axis_off()
        # a column that ends above the last row has its numbers below its last panel
        for panel in panels[max(0, len(lines) - columns) : len(lines)]:
            panel.tick_params(labelbottom=True)
        panels[0].locator_params(axis="y", nbins=3)
        panels[0].locator_params(axis="x", nbins=3 if columns < 6 else 2, steps=[1, 2, 4, 5, 10])
        theme.name_figure(panels[0], *names)
        return theme.entitle(panels, title, subtitle, own=True)


def columns_for(count: int) -> int:
    """Columns of a grid of panels that is a little wider than high, and has few empty places.

    Examples
    --------
    >>> [columns_for(count) for count in (1, 5, 12, 28, 29)]
    [2, 3, 4, 7, 6]
    """
    wanted = float(np.sqrt(1.4 * count))
    possible = range(max(2, int(wanted) - 1), min(7, int(np.ceil(wanted)) + 1) + 1)
    return min(possible, key=lambda columns: (-count % columns / columns + 0.2 * abs(columns - wanted), columns))


def overlay(
    points: pd.DataFrame, lines: pd.DataFrame, names: tuple[str, str], title: str, missing: str, ax: "Axes | None"
) -> "Figure":
    """All clusters in one panel: pale points, a thin line per cluster, a strong one for all rows."""
    whole = lines.dropna(subset=["slope"]).sort_values("mean_y")
    drawn = whole.iloc[evenly(len(whole), LINES)] if len(whole) else whole
    shown = points.iloc[np.sort(np.random.default_rng(1).permutation(len(points))[:POINTS])]
    with theme.drawing(ax, height=4.3) as (panel,):
        panel.plot(
            shown["x"], shown["y"], "o", color=theme.PALE, alpha=0.4, markersize=2.2, markeredgewidth=0, zorder=1
        )
        ends = drawn[["x_low", "x_high"]].to_numpy()
        heights = drawn[["intercept"]].to_numpy() + drawn[["slope"]].to_numpy() * ends
        segments = np.stack([ends, heights], axis=2)
        alpha = float(np.clip(40 / max(len(drawn), 1), 0.28, 0.8))
        look: dict[str, Any] = {"colors": theme.BLUE, "linewidths": 0.8, "alpha": alpha, "zorder": 2}
        theme.draw_lines(panel, list(segments), labels(drawn), **look)
        if points["x"].nunique() > 1:
            x = np.array([points["x"].min(), points["x"].max()])
            panel.plot(
                x, np.polyval(np.polyfit(points["x"], points["y"], 1), x), color=theme.ORANGE, linewidth=2.4, zorder=3
            )
        theme.name_axes(panel, *names)
        every = "every cluster" if len(drawn) == len(whole) else f"{len(drawn)} of {counted(len(whole))} clusters"
        some = (
            ""
            if len(shown) == len(points)
            else f" Points: {counted(len(shown))} of {counted(len(points))} rows, drawn by lot."
        )
        subtitle = f"Least-squares line of {every} (thin), and of all rows (thick).{missing}{some}"
        return theme.entitle([panel], title, subtitle, own=ax is None)
