"""Clusters predicted by fits to other clusters: their means, and the errors within them."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.display import counted, fixed, percent
from crosslevel.errors import CrosslevelError
from crosslevel.report.figures import theme
from crosslevel.report.figures.marks import told

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from crosslevel.diagnostics.sensitivity.transport import Transport

NAMED = 5
"""Clusters that are named, those furthest off."""

MANY = 200
"""Clusters from which on the dots are so dense that hardly any name can be read."""

LONGEST = 20
"""Characters of a cluster's name."""


def transport_data(found: "Transport") -> pd.DataFrame:
    """Return what is drawn: a row for each cluster that was predicted.

    Parameters
    ----------
    found : what `cl.transport` answers.

    Returns
    -------
    frame: cluster, rows, observed, predicted, low, high (95 % interval of the mean that the model expects; NaN where it
    expects none), rmse_within, outside (whether the mean lies outside of the interval).

    Raises
    ------
    CrosslevelError : it is something else.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("mathach ~ ses + sector + (ses | school)", cl.datasets.load("hsb"))
    >>> transport_data(cl.transport(fit, folds=5, progress=False)).head(2).round(1)
      cluster  rows  observed  predicted  low  high  rmse_within  outside
    0    1224    47       9.7       10.5  6.5  14.5          7.3    False
    1    1288    25      13.5       11.9  7.3  16.4          6.6    False
    """
    from crosslevel.diagnostics.sensitivity.transport import Transport

    if not isinstance(found, Transport):
        raise CrosslevelError(f"`transport` draws what cl.transport answers; got {type(found).__name__}.")
    frame = found.frame[found.frame["predicted"].notna()].reset_index()
    if frame.empty:
        raise CrosslevelError("`transport` has nothing to draw: none of the fits to other clusters succeeded.")
    half = 1.959963984540054 * frame["mean_sd"]
    low, high = frame["predicted"] - half, frame["predicted"] + half
    outside = (frame["observed"] < low) | (frame["observed"] > high)
    kept = frame[["cluster", "rows", "observed", "predicted"]]
    return kept.assign(low=low, high=high, rmse_within=frame["rmse_within"], outside=outside)


def transport(found: "Transport") -> "Figure":
    """Draw the means of clusters against their predictions from other clusters, and the errors within.

    Parameters
    ----------
    found : what `cl.transport` answers.

    Raises
    ------
    CrosslevelError : see `transport_data`.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("mathach ~ ses + sector + (ses | school)", cl.datasets.load("hsb"))
    >>> figure = transport(cl.transport(fit, folds=5, progress=False))
    """
    data = transport_data(found)
    with theme.drawing(None, height=4.1, columns=2, share="none") as panels:
        grid = panels[0].get_gridspec()
        assert grid is not None
        grid.set_width_ratios([1.45, 1.0])
        _draw_means(panels[0], found, data)
        _draw_within(panels[1], found, data)
        return theme.entitle(panels, f"{found.outcome} in clusters that were left out", _words(found, data), own=True)


def _words(found: "Transport", data: pd.DataFrame) -> str:
    """What is drawn."""
    summary = found.summary
    text = (
        f"{counted(len(data))} clusters of {found.group}, each predicted by a fit to others. Left: observed against "
        f"predicted means; the line is where they are equal"
    )
    if data["low"].notna().any():
        share = percent(float(data["outside"].mean()), decimals=0)
        text += f", bars are 95% intervals that the model expects ({share} of the means lie outside: orange)"
    return (
        f"{text}. R² between {fixed(float(summary['r2_between']), 2)}, within {fixed(float(summary['r2_within']), 2)}. "
        "Right: root mean square errors within clusters; line: over all rows."
    )


def _draw_means(panel: "Axes", found: "Transport", data: pd.DataFrame) -> None:
    """Observed on predicted means."""
    x, y = data["predicted"].to_numpy(), data["observed"].to_numpy()
    low, high, outside = data["low"].to_numpy(), data["high"].to_numpy(), data["outside"].to_numpy()
    ends = np.array([np.nanmin([x.min(), y.min()]), np.nanmax([x.max(), y.max()])])
    pad = 0.04 * float(np.ptp(ends) or 1.0)
    panel.axline((ends[0], ends[0]), slope=1.0, color=theme.INK, linewidth=0.9)
    panel.set_xlim(ends[0] - pad, ends[1] + pad)
    fine = np.isfinite(low)
    bars = np.stack([np.column_stack([x, low]), np.column_stack([x, high])], axis=1)[fine]
    # the model's expectation stands behind the dots
    width = float(np.clip(160.0 / len(data), 0.3, 1.4))
    theme.draw_lines(panel, list(bars), colors=theme.PALE, linewidths=width, alpha=0.7, zorder=1)
    size = float(np.clip(2400.0 / len(data), 5.0, 30.0))
    colours = np.where(outside, theme.ORANGE, theme.BLUE)
    dots = panel.scatter(x, y, s=size, c=list(colours), linewidths=0, zorder=3, alpha=0.85)
    numbers = {"rows": data["rows"].to_numpy(), "observed": y, "predicted": x, "expected": (low, high)}
    theme.mark(dots, told(list(data["cluster"]), numbers))
    names = theme.shortened(list(data["cluster"]), LONGEST)
    off = (y - x) / np.where(fine, (high - low) / 2.0, 1.0)
    named = min(NAMED, max(len(data) // 2, 1)) if len(data) <= MANY else 0
    for k in np.argsort(-np.abs(off), kind="stable")[:named]:
        right = x[k] > ends.mean()
        panel.annotate(
            names[k], (x[k], y[k]), xytext=(-5 if right else 5, 0), textcoords="offset points", va="center",
            ha="right" if right else "left", fontsize=8, color=theme.INK, parse_math=False,
        )  # fmt: skip
    theme.name_axes(panel, "Predicted mean", f"Observed mean of {found.outcome}")


def _draw_within(panel: "Axes", found: "Transport", data: pd.DataFrame) -> None:
    """Errors within clusters, from the smallest to the largest."""
    order = np.argsort(data["rmse_within"].to_numpy(), kind="stable")
    values = data["rmse_within"].to_numpy()[order]
    few = len(data) <= 30
    panel.axvline(float(found.summary["rmse_within"]), color=theme.INK, linewidth=0.9)
    size = float(np.clip(300.0 / len(data), 1.6, 5.0))
    dots = panel.plot(values, np.arange(len(values)), "o", color=theme.BLUE, markersize=size, markeredgewidth=0.0)
    labels = told(list(data["cluster"].to_numpy()[order]), {"error within": values})
    theme.mark(dots[0], labels)
    if few:
        names = theme.shortened([data["cluster"].iloc[k] for k in order], LONGEST)
        panel.set_yticks(np.arange(len(values)), names, fontsize=7.5, parse_math=False)
    else:
        panel.set_yticks([])
    panel.set_ylim(-0.7, len(values) - 0.3)
    panel.margins(x=0.06)
    theme.name_axes(panel, "Error within clusters", "" if few else f"Clusters of {found.group}, in order")
