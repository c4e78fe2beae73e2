"""The effect of a predictor along its moderator, where it differs from zero, and the moderator's histogram under it."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crosslevel.display import percent
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.johnson_neyman import JohnsonNeyman
from crosslevel.estimators.johnson_neyman import johnson_neyman as regions_of
from crosslevel.estimators.marginal_setting import written
from crosslevel.estimators.marginal_table import SLOPE
from crosslevel.report.figures import theme
from crosslevel.report.figures.subject import named
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FLOOR = 0.24
"""Share of the height that the histogram has."""

EDGE = 0.12
"""Share of the width that a number needs."""


def johnson_neyman_data(
    subject: Any, x: str | None = None, z: str | None = None, **options: Any
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the effect along the moderator, and the regions; see `cl.johnson_neyman`.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("mathach ~ ses * meanses + (ses | school)", cl.datasets.load("hsb"))
    >>> frame, regions = johnson_neyman_data(fit, "ses", "meanses")
    >>> len(frame), regions["correction"].tolist()
    (201, ['none', 'fdr'])
    """
    found = _found(subject, x, z, options)
    return found.frame, found.regions


def johnson_neyman(
    subject: Any, x: str | None = None, z: str | None = None, *, ax: "Axes | None" = None, **options: Any
) -> "Figure":
    """Draw regions of significance, without and with correction, over the moderator's histogram.

    Parameters
    ----------
    subject : what `cl.johnson_neyman` returned; or a fitted model, with x and z.
    x, z : the predictor and the moderator.
    ax : axes to draw into; a new figure if None.
    options : of `cl.johnson_neyman`, where a model is given.

    Raises
    ------
    CrosslevelError : see `cl.johnson_neyman`.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("mathach ~ sector * meanses + ses + (ses | school)", cl.datasets.load("hsb"))
    >>> figure = johnson_neyman(cl.johnson_neyman(fit, "sector", "meanses"))
    """
    found = _found(subject, x, z, options)
    labels = {} if isinstance(subject, JohnsonNeyman) else subject.labels
    what = found.x if found.contrast == SLOPE else f"{found.x} ({found.contrast})"
    with theme.drawing(ax, height=4.8) as (panel,):
        _draw_curve(panel, found)
        _draw_histogram(panel, found)
        _draw_limits(panel, found)
        panel.set_xlim(found.values.low, found.values.high)
        theme.name_axes(panel, named(found.z, labels), f"Effect of {what} on {found.response}")
        panel.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, fontsize=8.5, handlelength=1.4)
        title = f"Where the effect of {labels.get(found.x) or found.x} differs from zero"
        return theme.entitle([panel], title, words(found), own=ax is None)


def words(found: JohnsonNeyman) -> str:
    """What is drawn, and how much of the data lies where the effect differs from zero."""
    shares = found.regions[found.regions["effect"] != "none"].groupby("correction")["share"].sum()
    plain, strict = (percent(float(shares.get(name, 0.0)), decimals=0) for name in ("none", "fdr"))
    rate = percent(1.0 - found.level, decimals=0)
    units = found.values.words
    return (
        f"The effect differs from zero for {plain} of {units} at each value by itself, for {strict} with a false "
        f"discovery rate of {rate} along the moderator (Esarey & Sumner 2018; dashed interval). Below: histogram of "
        f"{units}."
    )


def _found(subject: Any, x: str | None, z: str | None, options: dict[str, Any]) -> JohnsonNeyman:
    """The regions to draw.

    Raises
    ------
    CrosslevelError : a model without predictor or moderator, or regions with more arguments.
    """
    if isinstance(subject, JohnsonNeyman):
        if x is not None or z is not None or options:
            raise CrosslevelError("`x`, `z` and other arguments belong to a model; here regions are given already.")
        return subject
    if x is None or z is None:
        raise CrosslevelError("`x` and `z` name the predictor and the moderator, where a model is given.")
    return regions_of(subject, x, z, **options)


def _draw_curve(panel: "Axes", found: JohnsonNeyman) -> None:
    """The curve with its band, coloured where the effect differs from zero, and the corrected interval's ends."""
    frame = found.frame
    z, middle, low, high = (
        frame[name].to_numpy(dtype=float) for name in (found.z, "estimate", "conf_low", "conf_high")
    )
    panel.fill_between(z, low, high, color=theme.PALE, alpha=0.45, linewidth=0, label="may be zero")
    looks = [(found.uncorrected, theme.ORANGE, "////", "differs at this value alone"),
             (found.corrected, theme.BLUE, "", "differs, false discoveries controlled")]  # fmt: skip
    for division, colour, hatch, label in looks:
        for region in division.regions:
            if region.sign:
                places = _within(z, region.low, region.high)
                ends = [np.interp(places, z, values) for values in (low, high)]
                panel.fill_between(places, *ends, color="white", linewidth=0)
                panel.fill_between(places, *ends, facecolor=colour, edgecolor=colour, hatch=hatch, alpha=0.3,
                                   linewidth=0, label=label)  # fmt: skip
                label = "_"
    if found.found:
        for name in ("corrected_low", "corrected_high"):
            panel.plot(z, frame[name], color=theme.GREY, linewidth=0.9, linestyle=(0, (4, 3)))
    panel.plot(z, middle, color=theme.INK, linewidth=1.8)
    panel.axhline(0.0, color=theme.INK, linewidth=0.9)


def _draw_histogram(panel: "Axes", found: JohnsonNeyman) -> None:
    """The histogram in the lowest part of the panel, which the curve leaves free."""
    bottom, top = panel.get_ylim()
    panel.set_ylim(bottom - (top - bottom) * FLOOR / (1.0 - FLOOR), top)
    ticks = [tick for tick in panel.get_yticks() if bottom <= tick <= top]
    panel.set_yticks(ticks)
    values, weights = found.values.values, found.values.weights
    count = int(np.clip(2.0 * len(values) ** (1 / 3), 8, 60))
    height, edges = np.histogram(values, bins=count, weights=weights)
    panel.bar(
        edges[:-1], 0.82 * FLOOR * height / height.max(), np.diff(edges), align="edge", color=theme.GREY, alpha=0.75,
        edgecolor="white", linewidth=0.6, transform=panel.get_xaxis_transform(), zorder=2,
    )  # fmt: skip
    panel.set_ylim(bottom - (top - bottom) * FLOOR / (1.0 - FLOOR), top)


def _draw_limits(panel: "Axes", found: JohnsonNeyman) -> None:
    """The limits inside the data: dashed without correction, solid with it, its value at the top."""
    inside = found.limits[found.limits["inside"].astype(bool)]
    for name, style in (("none", (0, (4, 3))), ("fdr", "-")):
        colour = theme.BLUE if name == "fdr" else theme.RUST
        others = inside.loc[inside["correction"] != name, "value"].to_numpy(dtype=float)
        for value in inside.loc[inside["correction"] == name, "value"]:
            panel.axvline(value, ymin=FLOOR, color=colour, linewidth=1.1, linestyle=style)
            to_right = _stands_right(float(value), others, found.values.low, found.values.high)
            panel.annotate(
                written(float(value)), (value, 0.985 if name == "fdr" else 0.93), (4 if to_right else -4, 0),
                xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=8.5, color=colour,
                ha="left" if to_right else "right", va="top",
            )  # fmt: skip


def _stands_right(value: float, others: FloatArray, low: float, high: float) -> bool:
    """Whether a limit's number stands at its right: away from the other division's limit, and within the panel."""
    room = EDGE * (high - low)
    if value - room < low or value + room > high:
        return value - room < low
    return not len(others) or value > float(others[np.argmin(np.abs(others - value))])


def _within(z: FloatArray, low: float, high: float) -> FloatArray:
    """Points of the curve in a region, with its ends."""
    return np.concatenate([[low], z[(z > low) & (z < high)], [high]])
