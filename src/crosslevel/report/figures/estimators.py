"""Coefficients of several estimators with their intervals, a panel for each coefficient."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.display import percent
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.compare import Comparison
from crosslevel.report.figures import theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONGEST = 34
"""Characters of a coefficient's name over its panel."""


def estimators_data(*found: Comparison, terms: Sequence[str] | None = None) -> pd.DataFrame:
    """Return what is drawn.

    Parameters
    ----------
    *found : what `cl.compare` returned; estimators of several comparisons stand below each other.
    terms : the coefficients; all if None.

    Returns
    -------
    frame: term, estimator, estimate, conf_low, conf_high.

    Raises
    ------
    CrosslevelError : no comparison, or a term that none has.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> fit = cl.mixed("mathach ~ ses * sector + (ses | school)", data)
    >>> found = cl.compare(fit, cl.ols("mathach ~ ses * sector", data, cluster="school"))
    >>> len(estimators_data(found, terms=["ses:sector[Catholic]"]))
    2
    """
    if not found:
        raise CrosslevelError("`estimators` draws what cl.compare returned; got nothing.")
    known = list(dict.fromkeys(term for each in found for term in each.terms))
    wanted = known if terms is None else list(terms)
    absent = [term for term in wanted if term not in known]
    if absent or not wanted:
        raise CrosslevelError(f"`terms` has {absent}; the coefficients are {', '.join(known)}.")
    frame = pd.concat([each.frame for each in found]).rename_axis("term").reset_index()
    kept = frame[frame["term"].isin(wanted)]
    return kept[["term", "estimator", "estimate", "conf_low", "conf_high"]].reset_index(drop=True)


def estimators(*found: Comparison, terms: Sequence[str] | None = None) -> "Figure":
    """Draw the estimates of several estimators with their intervals, a panel for each coefficient.

    Parameters
    ----------
    *found : what `cl.compare` returned; the first estimator's interval is the band behind the others.
    terms : the coefficients; all if None.

    Raises
    ------
    CrosslevelError : see `estimators_data`.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> fit = cl.mixed("mathach ~ ses * sector + (ses | school)", data)
    >>> found = cl.compare(fit, cl.ols("mathach ~ ses * sector", data, cluster="school"))
    >>> figure = estimators(found, terms=["sector[Catholic]", "ses:sector[Catholic]"])
    """
    frame = estimators_data(*found, terms=terms)
    names = list(dict.fromkeys(name for each in found for name in each.names))
    shown = list(dict.fromkeys(frame["term"]))
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    height = rows * (0.75 + 0.24 * len(names))
    with theme.drawing(None, height=height, rows=rows, columns=columns, share="y") as panels:
        for panel, term in zip(panels, shown, strict=False):
            _draw(panel, frame[frame["term"] == term], names)
            panel.set_title(theme.shortened([term], LONGEST)[0], loc="left", fontsize=9.5)
        for panel in panels[len(shown) :]:
            panel.set_visible(False)
        level = percent(found[0].level, decimals=0)
        title = (
            "The same effects by other estimators" if len(shown) > 1 else f"The effect {shown[0]} by other estimators"
        )
        words = f"Estimates with {level} intervals, open where they hold zero. Band: that by the first, {names[0]}."
        figure = theme.entitle(panels, title, words, own=True)
        engine = figure.get_layout_engine()
        assert engine is not None
        engine.set(h_pad=0.09)  # type: ignore[call-arg]
        return figure


def _draw(panel: "Axes", frame: pd.DataFrame, names: Sequence[str]) -> None:
    """One coefficient."""
    base = frame[frame["estimator"] == names[0]]
    if len(base):
        panel.axvspan(
            float(base["conf_low"].iloc[0]), float(base["conf_high"].iloc[0]), color=theme.PALE, alpha=0.35, linewidth=0
        )
    places = {name: len(names) - 1 - k for k, name in enumerate(names)}
    y = np.array([places[name] for name in frame["estimator"]])
    low, high, middle = (frame[name].to_numpy(dtype=float) for name in ("conf_low", "conf_high", "estimate"))
    clear = (low > 0.0) | (high < 0.0)
    for which, colour, face in ((clear, theme.BLUE, theme.BLUE), (~clear, theme.GREY, "white")):
        panel.hlines(y[which], low[which], high[which], color=colour, linewidth=1.8)
        (dots,) = panel.plot(middle[which], y[which], "o", color=colour, markersize=5, markerfacecolor=face)
        ends = (low[which], high[which])
        theme.mark(dots, theme.told(frame["estimator"][which], {"estimate": middle[which], "interval": ends}))
    panel.margins(x=0.08)
    panel.axvline(0.0, color=theme.INK, linewidth=0.9)
    panel.set_yticks(list(places.values()), theme.shortened(list(places), 34))
    panel.set_ylim(-0.6, len(names) - 0.4)
    panel.grid(visible=False, axis="y")
