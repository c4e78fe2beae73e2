"""Zeta plots: the signed root of the profiled deviance along each parameter, which is straight where Wald is right."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import ndtri

from crosslevel.errors import CrosslevelError
from crosslevel.report.figures import theme
from crosslevel.report.figures.records import draws
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from crosslevel.estimators.profile import Profile

WIDEST = 3
"""Panels side by side."""


@draws("fit.profile()")
def zeta_data(profile: "Profile", which: str | Sequence[str] | None = None) -> pd.DataFrame:
    """Return the smooth curves of zeta.

    Parameters
    ----------
    profile : what `fit.profile()` returned.
    which : names of parameters; all if None.

    Returns
    -------
    frame: parameter, value, zeta, and `straight`, the line that touches the curve at the estimate (as for Wald's
    intervals; NaN where the estimate is at the end of the parameter's range).

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (1 | Subject)", cl.datasets.load("sleepstudy"))
    >>> zeta_data(fit.profile("Days")).columns.tolist()
    ['parameter', 'value', 'zeta', 'straight']
    """
    parts = []
    for name in parameters_of(profile, which):
        value, height = profile.smooth(name)
        parts.append(
            pd.DataFrame({"parameter": name, "value": value, "zeta": height, "straight": tangent(value, height)})
        )
    return pd.concat(parts, ignore_index=True)


@draws("fit.profile()")
def zeta(
    profile: "Profile",
    which: str | Sequence[str] | None = None,
    *,
    level: float = 0.95,
    absolute: bool = False,
    ax: "Axes | None" = None,
) -> "Figure":
    """Draw zeta against the value of each parameter, with its interval.

    Parameters
    ----------
    profile : what `fit.profile()` returned.
    which : names of parameters; all if None.
    level : confidence level of the intervals.
    absolute : whether to draw |zeta|, in which both ends of an interval are at one height.
    ax : axes to draw into, for one parameter; a new figure if None.

    Raises
    ------
    CrosslevelError : `which` names other parameters than were profiled, or several while `ax` is given.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> figure = zeta(fit.profile(["Days", "sd(Days|Subject)", "cor(Intercept,Days|Subject)"]))
    """
    names = parameters_of(profile, which)
    if ax is not None and len(names) > 1:
        raise CrosslevelError(f"`ax` takes one parameter; name one in `which`. Got {len(names)}: {', '.join(names)}.")
    data, columns = zeta_data(profile, names), min(len(names), WIDEST)
    rows = math.ceil(len(names) / columns)
    height = 0.5 + 2.1 * rows if rows > 1 or columns > 1 else 3.6
    with theme.drawing(ax, height=height, rows=rows, columns=columns, share="y") as panels:
        cut = float(ndtri(0.5 + level / 2.0))
        highest = max(float(data["zeta"].abs().max()), 1.15 * cut)
        for panel, name in zip(panels, names, strict=False):
            draw(panel, data[data["parameter"] == name], profile, name, level=level, absolute=absolute)
            panel.set_ylim(-0.06 * highest if absolute else -1.05 * highest, 1.05 * highest)
        for panel in panels[len(names) :]:
            panel.set_axis_off()
        symbol = "|ζ|" if absolute else "ζ"
        (theme.name_axes if len(panels) == 1 else theme.name_figure)(panels[0], "Value of the parameter", symbol)
        share = f"{100.0 * level:g} %"
        subtitle = (
            f"Blue: {symbol}, the {'' if absolute else 'signed '}root of the rise of the deviance. Grey: the straight "
            f"line of Wald's intervals. Orange: {share} intervals, where |ζ| is below the dashed lines."
        )
        return theme.entitle(panels, "Profile likelihood", subtitle, own=ax is None)


def draw(panel: "Axes", data: pd.DataFrame, profile: "Profile", name: str, *, level: float, absolute: bool) -> None:
    """One parameter: the curve, the straight line, the cut-offs and the interval."""
    cut = float(ndtri(0.5 + level / 2.0))
    value, height, straight = (data[column].to_numpy() for column in ("value", "zeta", "straight"))
    curve = profile.curve(name)
    estimate, (low, high) = curve.line.natural(curve.line.place), profile.interval(name, level)
    steepest = 1.1 * max(float(np.abs(height).max()), cut)
    if absolute:
        height, straight = np.abs(height), np.abs(straight)
    inside = np.abs(straight) <= steepest
    panel.plot(value[inside], straight[inside], color=theme.GREY, linewidth=1.0)
    for line in (cut,) if absolute else (-cut, cut):
        panel.axhline(line, color=theme.PALE, linewidth=0.9, linestyle=(0, (4, 3)))
    panel.plot(value, height, color=theme.BLUE, linewidth=1.8)
    panel.plot([max(low, value[0]), min(high, value[-1])], [0.0, 0.0], color=theme.ORANGE, linewidth=3.0)
    for end, side in ((low, -1.0), (high, 1.0)):
        if end not in curve.line.limits:
            panel.plot([end, end], [0.0, cut if absolute else side * cut], color=theme.ORANGE, linewidth=1.0)
    panel.plot([estimate], [0.0], "o", color=theme.INK, markersize=3.5)
    panel.locator_params(axis="x", nbins=4)
    panel.set_title(theme.middle_cut(name, 34), loc="left", fontsize=9, color=theme.INK)


def tangent(value: FloatArray, height: FloatArray) -> FloatArray:
    """The line (m,) that touches the curve where zeta is zero; NaN where that is its end."""
    k = int(np.argmin(np.abs(height)))
    if k in (0, len(value) - 1):
        return np.full(len(value), np.nan)
    slope = (height[k + 1] - height[k - 1]) / (value[k + 1] - value[k - 1])
    return np.asarray(slope * (value - value[k]))


def parameters_of(profile: "Profile", which: str | Sequence[str] | None) -> list[str]:
    """Names of the parameters to draw."""
    names = list(profile.parameters) if which is None else [which] if isinstance(which, str) else list(which)
    unknown = [name for name in names if name not in profile.parameters]
    if unknown or not names:
        raise CrosslevelError(
            f"`which` names parameters that were profiled, of {', '.join(profile.parameters)}; got {which!r}."
        )
    return names
