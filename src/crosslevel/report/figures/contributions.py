"""Which clusters carry each coefficient: their shares in what is known of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crosslevel.diagnostics.contributions_words import described
from crosslevel.display import counted, fixed
from crosslevel.errors import CrosslevelError
from crosslevel.report.figures import theme
from crosslevel.report.figures.heterogeneity import stacked
from crosslevel.report.figures.influence import MOST_MARKS, MOST_PANELS
from crosslevel.report.figures.records import draws
from crosslevel.report.figures.subject import coefficients_named
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from crosslevel.diagnostics.contributions import Contributions

NAMED = 3
"""Clusters with the largest shares that are named."""

LOWEST, STEP = 0.24, 0.17
"""Heights of the names, as a share of the panel's: of the largest share, and from one to the next."""


@draws("cl.contributions(fit)")
def contributions_data(found: "Contributions", terms: str | Sequence[str] | None = None) -> pd.DataFrame:
    """Return the shares of the clusters in the information on coefficients.

    Parameters
    ----------
    found : what `cl.contributions` answers.
    terms : the coefficients, one or several; the context effects if None.

    Returns
    -------
    frame : a row for each coefficient and cluster: term, cluster, rows, share (0 to 1), and whether the cluster is one
        of the fewest that have half of the information.

    Raises
    ------
    CrosslevelError : no such coefficient, or none at all.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("mathach ~ ses + sector + (1 | school)", cl.datasets.load("hsb"))
    >>> contributions_data(cl.contributions(fit), "sector[Catholic]")["in_half"].sum()
    np.int64(63)
    """
    wanted = coefficients_named(described(found)[:MOST_PANELS] if terms is None else terms, found.terms)
    parts = []
    for term in wanted:
        share = found.shares[term].to_numpy()
        rank = np.empty(len(share), dtype=np.int64)
        rank[np.argsort(-share, kind="stable")] = np.arange(len(share))
        half = rank < int(found.coefficients["half"].to_numpy()[found.terms.index(term)])
        columns = {"term": term, "cluster": found.shares.index, "rows": found.sizes, "share": share, "in_half": half}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


@draws("cl.contributions(fit)")
def contributions(
    found: "Contributions", terms: str | Sequence[str] | None = None, *, ax: "Axes | None" = None
) -> "Figure":
    """Draw what each cluster tells about coefficients: a dot for each, dark for the fewest that tell half.

    Parameters
    ----------
    found : what `cl.contributions` answers.
    terms : the coefficients, one or several; the context effects if None.
    ax : axes to draw one coefficient into; a new figure if None.

    Raises
    ------
    CrosslevelError : no such coefficient, or axes for several.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("mathach ~ ses + sector + (1 | school)", cl.datasets.load("hsb"))
    >>> figure = contributions(cl.contributions(fit))
    """
    data = contributions_data(found, terms)
    names = list(dict.fromkeys(data["term"]))
    if ax is not None and len(names) > 1:
        raise CrosslevelError(f"`ax` takes one coefficient, and these are {len(names)}. Name one by `terms`.")
    top, low = 100.0 * float(data["share"].max()), min(100.0 * float(data["share"].min()), 0.0)
    with theme.drawing(ax, height=0.45 + 1.32 * len(names), rows=len(names)) as panels:
        for panel, term in zip(panels, names, strict=True):
            _draw(panel, found, data[data["term"] == term], term, (low, top))
        x = f"Share of one {found.by} in the information, %"
        (theme.name_axes if len(names) == 1 else theme.name_figure)(panels[0], x, "")
        title = f"Which {found.by} carries which coefficient"
        return theme.entitle(panels, title, words(found), own=ax is None)


def words(found: "Contributions") -> str:
    """What is drawn."""
    return (
        f"Dots: the share of each of {counted(len(found.levels))} clusters in what is known of the coefficient given "
        "all others; blue diamonds: the fewest with half of it. Line: an equal share for all. On the right, how many "
        "equal clusters would tell as much."
    )


def _draw(panel: "Axes", found: "Contributions", data: pd.DataFrame, term: str, ends: tuple[float, float]) -> None:
    """One coefficient: the equal share, the dots, and the number of equal clusters."""
    share, width = 100.0 * data["share"].to_numpy(), ends[1] - ends[0]
    heights, places = stacked(share, 1.1 * width)
    top = float(heights.max(initial=0.0)) + 1.0
    heights = (heights + 0.6) / max(top, 5.0)
    panel.axvline(100.0 / len(data), color=theme.INK, linewidth=0.9)
    half, size = data["in_half"].to_numpy(dtype=bool), float(np.clip(420 / top**1.3, 5, 24))
    for which, colour, marker in ((~half, theme.GREY, "o"), (half, theme.BLUE, "D")):
        look: dict[str, Any] = {"c": colour, "s": size, "marker": marker, "linewidths": 0, "zorder": 3}
        dots = panel.scatter(places[which], heights[which], **look)
        if len(data) <= MOST_MARKS:
            own = data[which]
            percent = (100.0 * own["share"]).to_numpy()
            theme.mark(dots, theme.told(own["cluster"].tolist(), {"share, %": percent, "rows": own["rows"].tolist()}))
    _name_largest(panel, data, places, heights)
    effective = float(found.coefficients["effective_clusters"].to_numpy()[found.terms.index(term)])
    panel.annotate(
        f"{fixed(effective, 1)} of {counted(len(data))}", (1.0, 1.02), (0, 2), xycoords="axes fraction",
        textcoords="offset points", ha="right", va="bottom", fontsize=8.5, color=theme.INK,
    )  # fmt: skip
    panel.set_xlim(ends[0] - 0.04 * width, ends[1] + 0.14 * width)
    panel.set_ylim(0.0, 1.25)
    panel.set_yticks([])
    panel.spines["left"].set_visible(False)
    panel.grid(visible=False, axis="y")
    panel.set_title(theme.shortened([term], 70)[0], loc="left", fontsize=9.5, color=theme.INK)


def _name_largest(panel: "Axes", data: pd.DataFrame, places: FloatArray, heights: FloatArray) -> None:
    """Names of the clusters with the largest shares, further in one above the other, with lines to them."""
    order = np.argsort(-data["share"].to_numpy(), kind="stable")[:NAMED]
    names = theme.shortened([str(data["cluster"].iloc[k]) for k in order], 26)
    for step, k in enumerate(order):
        panel.annotate(
            names[step], (places[k], heights[k]), (9.0, LOWEST + STEP * step),
            textcoords=("offset points", "axes fraction"), fontsize=8, color=theme.INK, ha="left", va="center",
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
            arrowprops={"arrowstyle": "-", "color": theme.PALE, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 2},
            zorder=4,
        )  # fmt: skip
