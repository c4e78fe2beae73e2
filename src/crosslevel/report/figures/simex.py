"""Coefficients with more and more measurement error, and followed back to none."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.display import fixed, percent
from crosslevel.errors import CrosslevelError
from crosslevel.report.figures import theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from crosslevel.diagnostics.sensitivity.measurement_error import MeasurementError

LONGEST = 34
"""Characters of a coefficient's name over its panel."""


def simex_data(found: "MeasurementError", terms: str | Sequence[str] | None = None) -> pd.DataFrame:
    """Return what is drawn: the estimates by amount of added error; at -1 the extrapolation.

    Parameters
    ----------
    found : what `cl.measurement_error(..., method="simex")` answers.
    terms : the coefficients; those with the predictor if None.

    Returns
    -------
    frame: term, added (in error variances), estimate, mcse, conf_low, conf_high (of the fit as it was, at 0, and of the
    extrapolation; NaN elsewhere).

    Raises
    ------
    CrosslevelError : it is something else, or no such coefficient.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.ols("mathach ~ ses", cl.datasets.load("hsb"))
    >>> found = cl.measurement_error(fit, "ses", reliability=0.8, method="simex", n=10, progress=False)
    >>> simex_data(found)["added"].tolist()
    [-1.0, 0.0, 0.5, 1.0, 1.5, 2.0]
    """
    from crosslevel.diagnostics.sensitivity.measurement_error import MeasurementError

    if not isinstance(found, MeasurementError) or found.path is None:
        raise CrosslevelError(
            "`simex` draws what cl.measurement_error(..., method='simex') answers; got "
            f"{'a calibration' if isinstance(found, MeasurementError) else type(found).__name__}."
        )
    known = [str(term) for term in found.table.index]
    wanted = list(found.involved) if terms is None else [terms] if isinstance(terms, str) else list(terms)
    absent = [term for term in wanted if term not in known]
    if absent or not wanted:
        raise CrosslevelError(f"`terms` are of {', '.join(map(repr, known))}; got {wanted!r}.")
    frame = found.path.frame
    frame = frame[frame["term"].isin(wanted)].sort_values("added", kind="stable")
    tables = {-1.0: found.table, 0.0: found.naive}
    for column in ("conf_low", "conf_high"):
        frame[column] = [
            float(tables[added].loc[term, column]) if added in tables else np.nan
            for term, added in zip(frame["term"], frame["added"], strict=True)
        ]
    order = frame["term"].map({term: k for k, term in enumerate(wanted)})
    return frame.iloc[np.argsort(order.to_numpy(), kind="stable")].reset_index(drop=True)


def simex(found: "MeasurementError", terms: str | Sequence[str] | None = None) -> "Figure":
    """Draw coefficients by how much error was added, with the parabola that leads back to none.

    Parameters
    ----------
    found : what `cl.measurement_error(..., method="simex")` answers.
    terms : the coefficients, a panel each; those with the predictor if None.

    Raises
    ------
    CrosslevelError : see `simex_data`.

    Source
    ------
    Cook & Stefanski (1994), J. Am. Stat. Assoc. 89: 1314-1328.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.ols("mathach ~ ses", cl.datasets.load("hsb"))
    >>> figure = simex(cl.measurement_error(fit, "ses", reliability=0.8, method="simex", n=10, progress=False))
    """
    data = simex_data(found, terms)
    names = list(dict.fromkeys(data["term"]))
    columns = min(2, len(names))
    rows = -(-len(names) // columns)
    width = theme.WIDTH if columns == 2 else 4.8
    with theme.drawing(None, width=width, height=0.3 + 2.6 * rows, rows=rows, columns=columns, share="none") as panels:
        for panel, term in zip(panels, names, strict=False):
            _draw(panel, found, data[data["term"] == term], term)
        for panel in panels[len(names) :]:
            panel.set_visible(False)
        theme.name_figure(panels[0], f"Error variance of {found.variable} (1: as in the data, 0: none)", "Coefficient")
        level = percent(found.level, decimals=0)
        words = (
            f"Dots: as fitted (1), and with error added, mean of {found.path.n if found.path else 0} fits each. Line: "
            f"parabola through them, dashed on its way to no error (0). Bars: {level} intervals. Reliability "
            f"{fixed(found.reliability, 2)}."
        )
        return theme.entitle(panels, f"Measurement error of {found.variable}: extrapolation", words, own=True)


def _draw(panel: "Axes", found: "MeasurementError", data: pd.DataFrame, term: str) -> None:
    """One coefficient; the axis counts all error, so that none is 0 and the data as they are 1."""
    assert found.path is not None
    added, estimate = data["added"].to_numpy(), data["estimate"].to_numpy()
    bars = data[data["conf_low"].notna()]
    back, on = np.linspace(-1.0, 0.0, 40), np.linspace(0.0, float(added.max()), 60)
    panel.plot(back + 1.0, found.path.curve(term, back), color=theme.ORANGE, linewidth=1.4, linestyle=(0, (4, 2)))
    panel.plot(on + 1.0, found.path.curve(term, on), color=theme.BLUE, linewidth=1.4)
    for _, row in bars.iterrows():
        colour = theme.ORANGE if row["added"] < 0.0 else theme.BLUE
        panel.vlines(row["added"] + 1.0, row["conf_low"], row["conf_high"], color=colour, linewidth=1.2)
    true = added < 0.0
    panel.plot(added[~true] + 1.0, estimate[~true], "o", color=theme.BLUE, markersize=5)
    panel.plot(added[true] + 1.0, estimate[true], "D", color=theme.ORANGE, markersize=6)
    panel.set_xlim(-0.15, float(added.max()) + 1.15)
    panel.margins(y=0.08)
    panel.set_title(theme.shortened([term], LONGEST)[0], loc="left", fontsize=9.5)
