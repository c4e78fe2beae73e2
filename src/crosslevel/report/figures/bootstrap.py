"""Histogram of bootstrap replicates, with the estimate and its interval."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.display import counted, number
from crosslevel.report.figures import theme
from crosslevel.report.figures.records import draws
from crosslevel.report.figures.subject import chosen

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from crosslevel.inference.bootstrap.record import Bootstrap, IntervalMethod

MOST_BINS = 60
"""Bars at most."""


@draws("fit.bootstrap()")
def bootstrap_data(boot: "Bootstrap", term: str | None = None, *, bins: int | None = None) -> pd.DataFrame:
    """Return the bars of the histogram.

    Parameters
    ----------
    boot : a bootstrap.
    term : the estimate; the first coefficient after the intercept if None.
    bins : number of bars; by the rule of Freedman and Diaconis if None.

    Returns
    -------
    frame: low, high (ends of the bars) and count.

    Raises
    ------
    CrosslevelError : `term` is not among the estimates.

    Source
    ------
    Freedman & Diaconis (1981), Z. Wahrscheinlichkeitstheorie verw. Gebiete 57, 453-476 (width of the bars).

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> int(bootstrap_data(fit.bootstrap(100, seed=1), "Days")["count"].sum())
    100
    """
    values = _values(boot, _term(boot, term))
    edges = np.histogram_bin_edges(values, "fd" if bins is None else bins)
    if len(edges) - 1 > MOST_BINS:
        edges = np.histogram_bin_edges(values, MOST_BINS)
    count, edges = np.histogram(values, edges)
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "count": count})


@draws("fit.bootstrap()")
def bootstrap(
    boot: "Bootstrap",
    term: str | None = None,
    *,
    method: "IntervalMethod" = "percentile",
    level: float = 0.95,
    bins: int | None = None,
    ax: "Axes | None" = None,
) -> "Figure":
    """Draw the replicates of an estimate, with the estimate of the data and a confidence interval.

    Parameters
    ----------
    boot : a bootstrap.
    term : the estimate; the first coefficient after the intercept if None.
    method, level : of the interval; see `Bootstrap.conf_int`.
    bins : number of bars; by the rule of Freedman and Diaconis if None.
    ax : axes to draw into; a new figure if None.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> figure = bootstrap(fit.bootstrap(200, seed=1), "Days")
    """
    term = _term(boot, term)
    bars, row = bootstrap_data(boot, term, bins=bins), boot.conf_int(level, method, terms=[term]).iloc[0]
    with theme.drawing(ax, height=3.6) as (panel,):
        width = bars["high"] - bars["low"]
        inside = (bars["low"] + 0.5 * width).between(row["conf_low"], row["conf_high"])
        colours = np.where(inside, theme.BLUE, theme.PALE)
        drawn = panel.bar(
            bars["low"], bars["count"], width, align="edge", color=list(colours), edgecolor="white", linewidth=0.5
        )
        heads = [f"{number(low)} to {number(high)}" for low, high in zip(bars["low"], bars["high"], strict=True)]
        theme.mark(list(drawn), theme.told(heads, {"replicates": bars["count"]}))
        panel.axvline(float(row["estimate"]), color=theme.INK, linewidth=1.4)
        high = panel.get_ylim()[1]
        panel.set_ylim(-0.07 * high, 1.04 * high)
        panel.hlines(-0.035 * high, row["conf_low"], row["conf_high"], color=theme.ORANGE, linewidth=2.6)
        panel.axhline(0, color=theme.GREY, linewidth=0.8)
        panel.grid(visible=False, axis="x")
        theme.name_axes(panel, term, "Replicates")
        return theme.entitle([panel], f"Bootstrap of {term}", _words(boot, row, method, level), own=ax is None)


def _words(boot: "Bootstrap", row: pd.Series, method: str, level: float) -> str:
    """What is shown."""
    what = f"{counted(row['replicates'])} replicates ({boot.kind}: {boot.about}). Black: the estimate "
    what += f"{number(row['estimate'])}; orange: the {100 * level:g} % {method.replace('bca', 'BCa')} interval "
    return f"{what}{number(row['conf_low'])} to {number(row['conf_high'])}, replicates within it in blue."


def _term(boot: "Bootstrap", term: str | None) -> str:
    """The estimate that is named, or the first that says something."""
    names = list(boot.names)
    if term is None and names[0] == "Intercept" and boot.n_fixed > 1:
        return names[1]
    return chosen("term", term, names)


def _values(boot: "Bootstrap", term: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Replicates of an estimate, where it has a value."""
    values = boot.replicates[term].to_numpy()[boot.used]
    return np.asarray(values[np.isfinite(values)])
