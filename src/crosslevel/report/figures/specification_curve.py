"""The specification curve: one coefficient in all specifications, and what was chosen in each."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.diagnostics.sensitivity.alternatives import IN
from crosslevel.diagnostics.sensitivity.multiverse_fits import NONE
from crosslevel.display import counted, percent
from crosslevel.errors import CrosslevelError
from crosslevel.report.figures import theme
from crosslevel.report.figures.marks import told
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from crosslevel.diagnostics.sensitivity.alternatives import Choice
    from crosslevel.diagnostics.sensitivity.multiverse import Multiverse

LONGEST = 40
"""Characters of an option's name."""

SPACE = 0.5
"""Lines left free between choices."""


def specification_curve_data(found: "Multiverse", term: str | None = None) -> pd.DataFrame:
    """Return what is drawn: a row for each specification that has the coefficient, the smallest first.

    Parameters
    ----------
    found : what `cl.multiverse` answers.
    term : the coefficient; the first if None.

    Returns
    -------
    frame: place (from 0), as_given, significant, estimate, conf_low, conf_high, p_value, nobs, formula, a column for
    each choice.

    Raises
    ------
    CrosslevelError : no multiverse, or no such coefficient in any specification.

    Examples
    --------
    >>> import crosslevel as cl
    >>> found = cl.multiverse("mathach ~ ses + (ses | school)", cl.datasets.load("hsb"),
    ...                       alternatives={"controls": ["female"], "random": ["(1 | school)"]}, progress=False)
    >>> specification_curve_data(found)[["estimate", "female", "random", "as_given"]].round(2)
       estimate female          random  as_given
    0      2.36     in    (1 | school)     False
    1      2.36     in  (ses | school)     False
    2      2.39    out    (1 | school)     False
    3      2.39    out  (ses | school)      True
    """
    from crosslevel.diagnostics.sensitivity.multiverse import Multiverse

    if not isinstance(found, Multiverse):
        raise CrosslevelError(f"`specification_curve` draws what cl.multiverse answers; got {type(found).__name__}.")
    name = found.terms[0] if term is None else term
    frame = found.of(name)
    if frame.empty:
        raise CrosslevelError(f"`term` {name} has no estimate in any specification.")
    frame = frame.assign(
        place=np.arange(len(frame)), as_given=frame["specification"] == 0,
        significant=frame["p_value"] < 1.0 - found.level,
    )  # fmt: skip
    numbers = ["place", "as_given", "significant", "estimate", "conf_low", "conf_high", "p_value", "nobs", "formula"]
    return frame[[*numbers, *(choice.name for choice in found.choices)]]


def specification_curve(found: "Multiverse", term: str | None = None) -> "Figure":
    """Draw one coefficient in all specifications, from the smallest to the largest, and below what was chosen in each.

    Parameters
    ----------
    found : what `cl.multiverse` answers.
    term : the coefficient; the first if None.

    Raises
    ------
    CrosslevelError : see `specification_curve_data`.

    Source
    ------
    Simonsohn, Simmons & Nelson (2020), Nat. Hum. Behav. 4: 1208-1214, figure 2.

    Examples
    --------
    >>> import crosslevel as cl
    >>> found = cl.multiverse("mathach ~ ses + (ses | school)", cl.datasets.load("hsb"),
    ...                       alternatives={"controls": ["female"], "random": ["(1 | school)"]}, progress=False)
    >>> figure = specification_curve(found)
    """
    data = specification_curve_data(found, term)
    name = found.terms[0] if term is None else term
    shown = [choice for choice in found.choices if data[choice.name].nunique() > 1]
    rows = {choice.name: _options(choice, data) for choice in shown}
    lower = 0.21 * (sum(len(options) + SPACE for options in rows.values())) + 0.2
    with theme.drawing(None, height=2.9 + lower, rows=2, share="none") as panels:
        upper, below = panels
        grid = upper.get_gridspec()
        assert grid is not None
        grid.set_height_ratios([2.7, max(lower, 0.4)])
        _draw_estimates(upper, data, name)
        _draw_choices(below, data, rows)
        title = f"{name} in {counted(len(data))} specifications"
        return theme.entitle(panels, title, _words(found, data), own=True)


def _words(found: "Multiverse", data: pd.DataFrame) -> str:
    """What is drawn."""
    share = percent(float(data["significant"].mean()), decimals=0)
    interval = percent(found.level, decimals=0)
    given = "; orange: the model as given" if bool(data["as_given"].any()) else ""
    return (
        f"Above: estimates with {interval} intervals, from the smallest to the largest; blue: the interval leaves zero "
        f"out ({share}), grey: it does not{given}. Below: what was chosen in each."
    )


def _draw_estimates(panel: "Axes", data: pd.DataFrame, name: str) -> None:
    """The curve with its intervals."""
    place = data["place"].to_numpy(dtype=np.float64)
    estimate, low, high = (data[column].to_numpy(dtype=np.float64) for column in ("estimate", "conf_low", "conf_high"))
    significant, given = data["significant"].to_numpy(), data["as_given"].to_numpy()
    panel.axhline(0.0, color=theme.INK, linewidth=0.8)
    size = float(np.clip(420.0 / len(data), 2.2, 5.0))
    for which, colour in ((~significant, theme.GREY), (significant, theme.BLUE)):
        segments = _uprights(place[which], low[which], high[which])
        theme.draw_lines(panel, segments, colors=colour, linewidths=_width(len(data)), alpha=0.45)
        dots = panel.plot(place[which], estimate[which], "o", color=colour, markersize=size, markeredgewidth=0.0)
        _tell(dots[0], data[which])
    theme.draw_lines(panel, _uprights(place[given], low[given], high[given]), colors=theme.ORANGE, linewidths=2.0)
    own = panel.plot(place[given], estimate[given], "D", color=theme.ORANGE, markersize=5.5, zorder=5)
    _tell(own[0], data[given])
    panel.set_xlim(-0.8, len(data) - 0.2)
    panel.set_xticks([])
    panel.grid(visible=False, axis="x")
    panel.spines["bottom"].set_visible(False)
    panel.margins(y=0.06)
    theme.name_axes(panel, "", f"Coefficient of {theme.middle_cut(name, LONGEST)}")


def _uprights(place: FloatArray, low: FloatArray, high: FloatArray) -> list[FloatArray]:
    """Intervals as lines, each (2, 2); those without ends are left out."""
    fine = np.isfinite(low) & np.isfinite(high)
    return list(np.stack([np.column_stack([place, low]), np.column_stack([place, high])], axis=1)[fine])


def _width(n: int) -> float:
    """How wide a line is, for n of them side by side."""
    return float(np.clip(220.0 / n, 0.35, 1.6))


def _tell(dots: "Line2D", data: pd.DataFrame) -> None:
    """What each dot says where the drawing is interactive."""
    if len(data):
        numbers = {
            "estimate": data["estimate"].to_numpy(),
            "interval": (data["conf_low"].to_numpy(), data["conf_high"].to_numpy()),
            "p": data["p_value"].to_numpy(),
            "rows": data["nobs"].to_numpy(),
        }
        theme.mark(dots, told(list(data["formula"]), numbers))


def _options(choice: "Choice", data: pd.DataFrame) -> dict[str, str]:
    """The options that have a line, in order, with its label: of a control only that it is in."""
    name = theme.middle_cut(choice.name, LONGEST // 2)
    if choice.kind == "control":
        return {IN: f"with {name}"}
    options = [option for option in (*choice.options, NONE) if (data[choice.name] == option).any()]
    return {
        option: f"{name}: {short}"
        for option, short in zip(
            dict.fromkeys(options), theme.shortened(list(dict.fromkeys(options)), LONGEST), strict=True
        )
    }


def _draw_choices(panel: "Axes", data: pd.DataFrame, rows: Mapping[str, Mapping[str, str]]) -> None:
    """A line of ticks for each option."""
    place, height = data["place"].to_numpy(dtype=np.float64), 0.0
    ticks, labels = list[float](), list[str]()
    given = data["as_given"].to_numpy()
    kinds = list(rows.values())
    for k, (choice, options) in enumerate(rows.items()):
        # controls stand below each other, other choices apart
        height -= SPACE if k == 0 or len(options) > 1 or len(kinds[k - 1]) > 1 else 0.0
        for option, label in options.items():
            here = (data[choice] == option).to_numpy()
            for which, colour, width in (
                (here & ~given, theme.INK, _width(len(data))), (here & given, theme.ORANGE, 2.6)
            ):  # fmt: skip
                at = place[which]
                ends = np.full(len(at), height)
                theme.draw_lines(panel, _uprights(at, ends - 0.36, ends + 0.36), colors=colour, linewidths=width)
            ticks.append(height)
            labels.append(label)
            height -= 1.0
    panel.set_yticks(ticks, labels, parse_math=False)
    panel.tick_params(axis="y", length=0)
    panel.set_xlim(-0.8, len(data) - 0.2)
    panel.set_ylim(height + 0.3, 0.1)
    panel.set_xticks([])
    panel.grid(visible=False)
    for side in ("left", "bottom"):
        panel.spines[side].set_visible(False)
