"""How much coefficients differ between clusters: average, middle of the clusters, and the clusters' own."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from crosslevel.display import counted
from crosslevel.errors import CrosslevelError
from crosslevel.report.figures import theme
from crosslevel.report.figures.subject import chosen, effects_in
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from crosslevel.estimators.mixed import MixedFit

STACKED = 0.62
"""Height of a coefficient's row that its dots may take up."""

BINS = 120
"""Places across the figure at which dots are stacked."""


def heterogeneity_data(
    fit: "MixedFit",
    terms: str | Sequence[str] | None = None,
    *,
    group: str | None = None,
    moderators: Literal["mean", "own"] = "mean",
    relative: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return varying coefficients with the middle of the clusters, and the clusters' own.

    Parameters
    ----------
    fit : a fitted mixed model.
    terms : the coefficients, one or several; all slopes if None, or the intercept where it varies alone.
    group : the grouping factor; the first if None.
    moderators : see `MixedFit.heterogeneity`.
    relative : whether all are divided by the size of the coefficient's average.

    Returns
    -------
    frame : by term, in order: mean, low, high, ratio, opposite, as in `MixedFit.heterogeneity`.
    own : the clusters' coefficients, a column for each term.

    Raises
    ------
    CrosslevelError : no such coefficient or factor; `relative` of a coefficient that has no average.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> frame, own = heterogeneity_data(fit, relative=True)
    >>> frame.round(2).to_dict("index")
    {'Days': {'mean': 1.0, 'low': 0.07, 'high': 1.93, 'ratio': 0.57, 'opposite': 0.04}}
    """
    found = fit.heterogeneity(group, moderators=moderators)
    group = next(iter(found.own))
    effects = effects_in(fit, group)
    wanted = [term for term in effects if term != "Intercept"] or list(effects)
    if terms is not None:
        wanted = [chosen("terms", term, effects) for term in ([terms] if isinstance(terms, str) else terms)]
    rows = found.frame[["mean", "low", "high", "ratio", "opposite"]].reindex([(group, term) for term in wanted])
    frame = rows.droplevel("group")
    own = found.own[group][wanted]
    if relative:
        size = frame["mean"].abs()
        zero = list(size.index[size == 0.0])
        if zero:
            raise CrosslevelError(
                f"`relative` divides by the average, which is zero for {', '.join(zero)}: it has no fixed coefficient. "
                "Add one to the formula, or leave `relative` out."
            )
        frame = frame.assign(**{name: frame[name] / size for name in ("mean", "low", "high")})
        own = own / size
    return frame, own


def heterogeneity(
    fit: "MixedFit",
    terms: str | Sequence[str] | None = None,
    *,
    group: str | None = None,
    moderators: Literal["mean", "own"] = "mean",
    relative: bool = False,
    ax: "Axes | None" = None,
) -> "Figure":
    """Draw varying coefficients: the average, the middle 90 % of clusters, and a dot for each cluster's own.

    Parameters
    ----------
    fit : a fitted mixed model.
    terms : the coefficients, one or several; all slopes if None, or the intercept where it varies alone.
    group : the grouping factor; the first if None.
    moderators : see `MixedFit.heterogeneity`.
    relative : whether all are divided by the size of the coefficient's average, so that predictors in different units
        can be compared (Heisig, Schaeffer & Giesecke 2017, figure 6, compare the standard deviations so).
    ax : axes to draw into; a new figure if None.

    Raises
    ------
    CrosslevelError : an unknown term or group, or nothing varies.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> figure = heterogeneity(fit)
    """
    frame, own = heterogeneity_data(fit, terms, group=group, moderators=moderators, relative=relative)
    group = str(own.index.name)
    rows = len(frame)
    with theme.drawing(ax, height=0.75 + 0.62 * rows) as (panel,):
        panel.axvline(0, color=theme.INK, linewidth=0.9)
        width = _span(frame, own)
        for k, term in enumerate(frame.index):
            _draw_row(panel, rows - 1 - k, frame.loc[term], own[term], width)
        panel.set_yticks(np.arange(rows)[::-1], theme.shortened(list(frame.index), 36))
        panel.set_ylim(-0.4, rows - 0.12)
        panel.tick_params(axis="y", length=0)
        panel.grid(visible=False, axis="y")
        theme.name_axes(panel, "Coefficient, relative to its average" if relative else "Coefficient", "")
        title = f"How coefficients differ by {fit.labels.get(group) or group}"
        found = fit.heterogeneity(group).moderators
        explained = any((group, str(term)) in found for term in frame.index)
        return theme.entitle([panel], title, words(len(own), moderators if explained else None), own=ax is None)


def words(clusters: int, moderators: str | None) -> str:
    """What is drawn; `moderators` says where those of cross-level interactions are, None if there are none."""
    text = (
        "Bars: the average and the middle 90 % of clusters by the model's mean and SD; at the right, SD in % of the "
        f"average. Dots: {counted(clusters)} clusters' own coefficients, shrunken towards the average; orange "
        "triangles where the sign is the other one."
    )
    at = {"mean": " All at the average of the moderators.", "own": " With what moderators explain."}
    return text + at.get(moderators or "", "")


def _span(frame: pd.DataFrame, own: pd.DataFrame) -> float:
    """Width of what is drawn, zero included; 1 where it has none."""
    values = np.concatenate([[0.0], frame[["low", "high"]].to_numpy().ravel(), own.to_numpy().ravel()])
    return float(np.ptp(values)) or 1.0


def _draw_row(panel: "Axes", place: int, row: pd.Series, clusters: "pd.Series[float]", width: float) -> None:
    """One coefficient: its bar and average, above them the clusters' dots, at the right the ratio."""
    own, names = clusters.to_numpy(dtype=float), clusters.index
    panel.hlines(place, row["low"], row["high"], colors=theme.BLUE, linewidth=5, alpha=0.35)
    panel.scatter([row["mean"]], [place], c=theme.BLUE, s=46, linewidths=0, zorder=4, marker="D")
    heights, places = stacked(own, width)
    other = own * np.sign(row["mean"]) < 0.0
    step = min(0.07, STACKED / max(float(heights.max(initial=0.0)) + 1.0, 1.0))
    size = float(np.clip(1600 / len(own), 4, 14))
    for which, colour, marker in ((~other, theme.GREY, "o"), (other, theme.ORANGE, "^")):
        look: dict[str, Any] = {"c": colour, "s": size, "marker": marker, "linewidths": 0, "zorder": 3}
        dots = panel.scatter(places[which], (place + 0.14 + step * heights)[which], **look)
        theme.mark(dots, theme.told(names[which], {str(row.name): own[which]}))
    if np.isfinite(row["ratio"]):
        panel.annotate(
            f"{100 * row['ratio']:.0f} %", (1.0, place), (4, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", fontsize=8.5, color=theme.INK, va="center", annotation_clip=False,
        )  # fmt: skip


def stacked(own: FloatArray, width: float) -> tuple[FloatArray, FloatArray]:
    """Heights (J,) of dots that stand on each other where coefficients are close, and where (J,) the stacks are.

    Parameters
    ----------
    own : (J,) coefficients.
    width : of the figure, in their unit.

    Examples
    --------
    >>> import numpy as np
    >>> stacked(np.array([0.0, 0.001, 1.0]), 1.2)[0].tolist()
    [0.0, 1.0, 0.0]
    """
    bins = np.floor(own / (width / BINS)).astype(np.int64)
    order = np.lexsort((own, bins))
    heights = np.zeros(len(own))
    first = np.flatnonzero(np.diff(bins[order], prepend=bins[order][:1] - 1))
    heights[order] = np.arange(len(own)) - np.repeat(first, np.diff(np.append(first, len(own))))
    return heights, np.asarray((bins + 0.5) * (width / BINS))
