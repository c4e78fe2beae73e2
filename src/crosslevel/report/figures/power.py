"""Power curves: simulated points with their Monte-Carlo error, the smooth curve through them, and what 80 % need."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from crosslevel.display import counted, percent
from crosslevel.errors import CrosslevelError
from crosslevel.report.figures import theme
from crosslevel.report.figures.records import draws
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from crosslevel.simulation.power.record import Power

NAMES = {"clusters": "Clusters", "size": "Rows in each cluster", "effect": "Effect"}
"""Names of the axis."""

NORMAL = 1.96
"""Monte-Carlo errors to either side of a point."""

FINE = 200
"""Points of a curve."""

FAR = 10.0
"""Ratio of the largest and the smallest value from which on the axis is logarithmic."""

BESIDE = 0.055
"""Share of the axis within which two numbers would overlap."""

LONG = 18
"""Letters of a line's name from which on the legend has two columns."""

By = Literal["clusters", "size", "effect"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """One power curve.

    Attributes
    ----------
    name : what tells it from the others.
    target : whose power it is.
    frame : its points.
    """

    name: str
    target: str
    frame: pd.DataFrame


@draws("cl.power(...)")
def power_data(found: "Power", by: By | None = None) -> pd.DataFrame:
    """Return the points of the figure, see `power`: line, the value along the axis, power, mcse, low, high.

    Examples
    --------
    >>> import crosslevel as cl
    >>> design = {"icc": 0.2, "clusters": [10, 20], "size": 30}
    >>> found = cl.power("y ~ z + (1 | g)", effects={"z": 0.5}, **design, reps=50, progress=False)
    >>> list(cl.plot.power_data(found).columns)
    ['line', 'clusters', 'power', 'mcse', 'low', 'high']
    """
    along = axis_of(found, by)
    parts = []
    for line in lines_of(found, along):
        own = line.frame[[along, "power", "mcse"]].assign(line=line.name)
        reach = NORMAL * own["mcse"]
        parts.append(own.assign(low=(own["power"] - reach).clip(0, 1), high=(own["power"] + reach).clip(0, 1)))
    return pd.concat(parts, ignore_index=True)[["line", along, "power", "mcse", "low", "high"]]


@draws("cl.power(...)")
def power(found: "Power", by: By | None = None, *, wanted: float = 0.8, ax: "Axes | None" = None) -> "Figure":
    """Draw power curves.

    Points are simulated, with 95 % Monte-Carlo intervals; lines are the smooth curve through them, with its band, and
    where it reaches the wanted power stands what is needed.

    Parameters
    ----------
    found : what `cl.power` returned.
    by : along the axis: "clusters", "size" or "effect"; whichever has most values if None. One line for each target and
        each combination of the others.
    wanted : power that is marked.
    ax : axes to draw into; a new figure if None.

    Raises
    ------
    CrosslevelError : there is nothing along the axis.

    Examples
    --------
    >>> import crosslevel as cl
    >>> design = {"icc": 0.2, "clusters": [10, 20], "size": 30}
    >>> found = cl.power("y ~ z + (1 | g)", effects={"z": 0.5}, **design, reps=50, progress=False)
    >>> figure = cl.plot.power(found)
    """
    along = axis_of(found, by)
    lines = list(lines_of(found, along))
    with theme.drawing(ax, height=4.4) as (panel,):
        panel.set_ylim(0.0, 1.02)
        _mark(panel, wanted, found.settings.level)
        reached = [
            _draw(panel, found, line, along, look, label=line.name if len(lines) > 1 else None)
            for line, look in zip(lines, cycle(theme.LOOKS), strict=False)
        ]
        from matplotlib.ticker import PercentFormatter

        panel.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        theme.name_axes(panel, _axis_name(found, along), "Power")
        _scale(panel, found, along)
        _mark_needed(panel, reached, wanted, along)
        if len(lines) > 1:
            columns = 2 if max(len(line.name) for line in lines) > LONG else 4
            panel.legend(
                loc="lower left",
                bbox_to_anchor=(0.0, 1.0),
                ncols=columns,
                fontsize=8.5,
                handlelength=1.4,
                borderaxespad=0.2,
            )
        targets = ", ".join(one.name for one in found.targets)
        return theme.entitle([panel], f"Power to find {targets}", words(found), own=ax is None)


def words(found: "Power") -> str:
    """What is drawn."""
    settings, level = found.settings, percent(1.0 - found.settings.level, decimals=0)
    failed = int(found.frame.drop_duplicates(["clusters", "size", "effect"])["failed"].sum())
    lost = f" {counted(failed)} replications failed and are left out." if failed else ""
    return (
        f"{found.source.formula}; tests at {level}. Points: {counted(settings.reps)} replications each, with 95% "
        f"Monte-Carlo intervals; lines: smooth curve through the points, with its 95% band.{lost}"
    )


def axis_of(found: "Power", by: str | None) -> str:
    """What stands along the axis.

    Raises
    ------
    CrosslevelError : no such dimension.
    """
    if by is not None and by not in NAMES:
        raise CrosslevelError(f"`by` is one of {', '.join(map(repr, NAMES))}; got {by!r}.")
    if by is not None:
        return by
    counts = {
        name: max(own[name].nunique() for _, own in found.frame.groupby("target"))
        for name in ("clusters", "size", "effect")
    }
    return max(counts, key=lambda name: counts[name])


def lines_of(found: "Power", along: str) -> Iterator[Line]:
    """One curve for each target and each combination of what does not stand along the axis."""
    others = [name for name in NAMES if name != along]
    for target in found.targets:
        own = found.frame[(found.frame["target"] == target.name) & found.frame["power"].notna()]
        varying = [name for name in others if own[name].nunique() > 1]
        for _, part in own.groupby(others, sort=False):
            first = part.iloc[0]
            said = [target.name] if len(found.targets) > 1 else []
            said += [_value(name, float(first[name])) for name in varying]
            yield Line(name=", ".join(said) or target.name, target=target.name, frame=part.sort_values(along))


def _value(name: str, value: float) -> str:
    """A value of a dimension in words."""
    if name == "effect":
        return f"effect {value:g}"
    return f"{value:,.4g} clusters" if name == "clusters" else f"{value:,.5g} rows each"


def _axis_name(found: "Power", along: str) -> str:
    """Name of the axis, with the name of the clusters."""
    return f"Clusters ({found.source.group})" if along == "clusters" else NAMES[along]


def _mark(panel: "Axes", wanted: float, level: float) -> None:
    """The wanted power, and the level of the test."""
    for value, style in ((wanted, (0, (5, 3))), (1.0 - level, (0, (1, 2)))):
        panel.axhline(value, color=theme.GREY, linewidth=0.9, linestyle=style, zorder=1)


def _draw(
    panel: "Axes", found: "Power", line: Line, along: str, look: tuple[str, str, Any], *, label: str | None
) -> tuple[FloatArray, FloatArray]:
    """One curve: band, line, points with their intervals. Returns places along the axis, and power there."""
    from crosslevel.simulation.power.surface import NoCurveError

    colour, marker, dashes = look
    x, y, error = (line.frame[name].to_numpy(dtype=float) for name in (along, "power", "mcse"))
    reach = np.clip([y - np.maximum(y - NORMAL * error, 0.0), np.minimum(y + NORMAL * error, 1.0) - y], 0.0, None)
    bars = panel.errorbar(
        x, y, yerr=reach, fmt=marker, color=colour, markersize=5.5, capsize=2.5, linewidth=1.2, label=label, zorder=3
    )
    heads = [f"{line.name}, {_value(along, float(value))}" for value in x]
    theme.mark(bars.lines[0], theme.told(heads, {"power": y, "Monte-Carlo error": error}))
    try:
        places, middle, low, high = curve(found, line, along)
    except NoCurveError:  # nothing but zeros and ones: the points stand alone
        return np.zeros(0), np.zeros(0)
    panel.fill_between(places, low, high, color=colour, alpha=0.18, linewidth=0, zorder=1)
    panel.plot(places, middle, color=colour, linewidth=1.6, linestyle=dashes, zorder=2)
    return places, middle


def _mark_needed(panel: "Axes", curves: Sequence[tuple[FloatArray, FloatArray]], wanted: float, along: str) -> None:
    """Where each curve reaches the wanted power inside of the axis; numbers close to each other stand in steps."""
    ends = panel.transAxes.inverted()
    seen: list[float] = []
    for k, (places, power) in enumerate(curves):
        above = np.flatnonzero(power >= wanted)
        if not len(above) or above[0] == 0:
            continue
        colour, first = theme.LOOKS[k % len(theme.LOOKS)][0], above[0]
        place = float(np.interp(wanted, power[first - 1 : first + 1], places[first - 1 : first + 1]))
        panel.vlines(place, 0.0, wanted, color=colour, linewidth=0.9, linestyle=(0, (2, 2)), zorder=1)
        share = float(ends.transform(panel.transData.transform((place, 0.0)))[0])
        step = sum(abs(share - other) < BESIDE for other in seen)
        seen.append(share)
        shown = f"{place:.3g}" if along == "effect" else f"{np.ceil(place - 1e-9):,.0f}"
        panel.annotate(
            shown, (place, 0.0), (3, 4 + 11 * step), textcoords="offset points", fontsize=8.5, color=colour, ha="left",
            va="bottom",
        )  # fmt: skip


def _scale(panel: "Axes", found: "Power", along: str) -> None:
    """A logarithmic axis with the simulated values on it, where sizes are far apart."""
    values = found.frame[along].unique()
    if along == "effect" or values.min() <= 0 or values.max() < FAR * values.min():
        return
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    panel.set_xscale("log")
    panel.xaxis.set_major_locator(FixedLocator(sorted(values.tolist())))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.5g}"))


def curve(found: "Power", line: Line, along: str) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Places along the axis, power there by the smooth curve, and the ends of its band.

    Raises
    ------
    NoCurveError : the points do not say where the curve goes.
    """
    surface = found.surface(line.target)
    values = line.frame[along].to_numpy(dtype=float)
    far = values.min() > 0.0 and values.max() >= FAR * values.min()
    places = (np.geomspace if far else np.linspace)(values.min(), values.max(), FINE)
    first = line.frame.iloc[0]
    clusters, size, effect = (
        places if name == along else np.full(FINE, float(first[name])) for name in ("clusters", "size", "effect")
    )
    low, high = surface.band(clusters, size, effect)
    return places, surface.power(clusters, size, effect), low, high
