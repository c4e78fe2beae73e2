"""Conditional modes of the clusters in order, with their intervals."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from crosslevel.display import counted
from crosslevel.report.figures import theme
from crosslevel.report.figures.subject import chosen, effects_in

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from crosslevel.estimators.generalized.fit import GeneralizedFit
    from crosslevel.estimators.mixed import MixedFit

NAMED = 45
"""Up to so many clusters have a row with their name; more stand side by side without."""
BESIDE = 0.2
"""Share of the clusters over which, or under which, the name of the outermost one is written."""
COMPARISON = float(ndtri(0.975) / np.sqrt(2))
"""Intervals of this many standard errors overlap when two clusters do not differ at the 5 % level."""


def caterpillar_data(
    fit: "MixedFit | GeneralizedFit",
    term: str | None = None,
    *,
    group: str | None = None,
    level: float = 0.95,
    comparison: bool = False,
) -> pd.DataFrame:
    """Return random effects with intervals, the smallest first.

    Parameters
    ----------
    fit : a fitted mixed model.
    term : the random effect, "Intercept" or the name of a slope; the first if None.
    group : the grouping factor; the first if None.
    level : coverage of the intervals.
    comparison : if true, intervals of 1.39 standard errors instead: two clusters differ at the 5 % level, roughly,
        where they do not overlap.

    Returns
    -------
    frame indexed by cluster: estimate, std_error, conf_low, conf_high, rank.

    Raises
    ------
    CrosslevelError : `term` or `group` is not in the model.

    Source
    ------
    Goldstein & Healy (1995), J. R. Statist. Soc. A 158, 175-177 (comparison intervals).

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> caterpillar_data(fit, "Days")["estimate"].is_monotonic_increasing
    True
    """
    group = chosen("group", group, list(fit.ngroups))
    frame = fit.ranef(se=True)[group]
    term = chosen("term", term, effects_in(fit, group))
    reach = COMPARISON if comparison else float(ndtri(0.5 + level / 2))
    estimate, error = frame[term], frame[f"{term}_se"]
    result = pd.DataFrame(
        {
            "estimate": estimate,
            "std_error": error,
            "conf_low": estimate - reach * error,
            "conf_high": estimate + reach * error,
        }
    ).sort_values("estimate", kind="stable")
    return result.assign(rank=np.arange(1, len(result) + 1))


def caterpillar(
    fit: "MixedFit | GeneralizedFit",
    term: str | None = None,
    *,
    group: str | None = None,
    level: float = 0.95,
    comparison: bool = False,
    ax: "Axes | None" = None,
) -> "Figure":
    """Draw the random effects of the clusters in order, with intervals.

    Parameters
    ----------
    fit : a fitted mixed model.
    term : the random effect, "Intercept" or the name of a slope; the first if None.
    group : the grouping factor; the first if None.
    level : coverage of the intervals.
    comparison : if true, intervals for comparing clusters with each other rather than with the average.
    ax : axes to draw into; a new figure if None.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> figure = caterpillar(fit, "Days", comparison=True)
    """
    group = chosen("group", group, list(fit.ngroups))
    term = chosen("term", term, effects_in(fit, group))
    data = caterpillar_data(fit, term, group=group, level=level, comparison=comparison)
    few = len(data) <= NAMED
    clear = ((data["conf_low"] > 0) | (data["conf_high"] < 0)).to_numpy() & (not comparison)
    with theme.drawing(ax, height=0.7 + 0.165 * len(data) if few else 3.8) as (panel,):
        colours = np.where(clear | comparison, theme.BLUE, theme.GREY)
        (in_rows if few else side_by_side)(panel, data, colours)
        what = "intercept" if term == "Intercept" else f"slope of {term}"
        effect = f"Random {what}: difference from the fixed part"
        if few:
            theme.name_axes(panel, effect, "")
        else:
            theme.name_axes(panel, f"Rank of the cluster (of {counted(len(data))})", effect)
        subtitle = words(len(data), int(clear.sum()), level, comparison, spread=bool(data["std_error"].any()))
        title = f"Random {what} by {fit.labels.get(group) or group}"
        return theme.entitle([panel], title, subtitle, own=ax is None)


def words(clusters: int, clear: int, level: float, comparison: bool, *, spread: bool) -> str:
    """What the intervals mean."""
    if not spread:
        return (
            f"All {counted(clusters)} clusters are the same in this model: it found no variance between them beyond "
            "what chance explains."
        )
    if comparison:
        return (
            f"{counted(clusters)} clusters with comparison intervals (1.39 standard errors): two clusters differ at "
            "the 5 % level, roughly, where their intervals do not overlap."
        )
    return (
        f"{counted(clusters)} clusters with {100 * level:g} % intervals; blue: the interval excludes zero "
        f"({counted(clear)} {'cluster' if clear == 1 else 'clusters'})."
    )


def labels(data: pd.DataFrame) -> list[str]:
    """What each cluster's mark says."""
    ends = (data["conf_low"], data["conf_high"])
    return theme.told(data.index, {"effect": data["estimate"], "interval": ends, "rank": data["rank"]})


def in_rows(panel: "Axes", data: pd.DataFrame, colours: np.ndarray[tuple[int], np.dtype[np.str_]]) -> None:
    """A row per cluster, with its name."""
    panel.hlines(data["rank"], data["conf_low"], data["conf_high"], colors=list(colours), linewidth=1.5)
    dots = panel.scatter(data["estimate"], data["rank"], c=list(colours), s=18, linewidths=0, zorder=3)
    theme.mark(dots, labels(data))
    panel.axvline(0, color=theme.INK, linewidth=0.9)
    panel.set_yticks(data["rank"].to_numpy(), theme.shortened(list(data.index), 36))
    panel.set_ylim(0.2, len(data) + 0.8)
    panel.tick_params(axis="y", length=0)
    panel.grid(visible=False, axis="y")


def side_by_side(panel: "Axes", data: pd.DataFrame, colours: np.ndarray[tuple[int], np.dtype[np.str_]]) -> None:
    """Clusters side by side in order, the outermost named."""
    size = float(np.clip(500 / len(data), 0.9, 3.2))
    faint = np.where(colours == theme.GREY, theme.PALE, colours)
    panel.vlines(
        data["rank"], data["conf_low"], data["conf_high"], colors=list(faint), linewidth=size * 0.4, alpha=0.85
    )
    dots = panel.scatter(data["rank"], data["estimate"], c=list(colours), s=size**2, linewidths=0, zorder=3)
    theme.mark(dots, labels(data))
    panel.axhline(0, color=theme.INK, linewidth=0.9)
    panel.set_xlim(-0.01 * len(data), 1.01 * len(data) + 1)
    panel.grid(visible=False, axis="x")
    _name_ends(panel, data)
    panel.margins(y=0.09)


def _name_ends(panel: "Axes", data: pd.DataFrame) -> None:
    """Names of the first and the last cluster, beyond the intervals of those that stand next to them."""
    names = theme.shortened([data.index[0], data.index[-1]], 30)
    near = max(1, round(BESIDE * len(data)))
    low, high = float(data["conf_low"].iloc[:near].min()), float(data["conf_high"].iloc[-near:].max())
    look: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8, "color": theme.INK}
    panel.annotate(names[0], (1, low), (0, -2), ha="left", va="top", **look)
    panel.annotate(names[1], (len(data), high), (0, 2), ha="right", va="bottom", **look)
