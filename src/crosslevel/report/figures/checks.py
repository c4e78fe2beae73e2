"""Checks of generalized linear mixed models: what was observed beside what the model draws."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.display import counted, number, p_statement, percent
from crosslevel.errors import CrosslevelError
from crosslevel.report.figures import theme
from crosslevel.report.figures.records import draws
from crosslevel.report.figures.subject import evenly
from crosslevel.types import BoolArray, IntArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from crosslevel.diagnostics.generalized.calibrated import Calibration
    from crosslevel.diagnostics.generalized.clusters import ObservedExpected
    from crosslevel.diagnostics.generalized.quantiles import QuantileResiduals
    from crosslevel.diagnostics.generalized.statistics import SimulatedCheck

NAMED = 6
"""Clusters outside their range that are named, at most."""

ROWS = 45
"""Up to so many clusters have a row with their name; more stand side by side."""

POINTS = 2000
"""Clusters that are drawn, at most."""


@draws("cl.dispersion(fit) or cl.zero_inflation(fit)")
def simulated_check_data(found: "SimulatedCheck") -> pd.DataFrame:
    """Return the values of the outcomes drawn from the model, over what the model lets expect.

    Parameters
    ----------
    found : what `cl.dispersion` or `cl.zero_inflation` answers.

    Returns
    -------
    frame : a row for each simulation: simulated, and ratio, simulated over expected.

    Examples
    --------
    >>> import crosslevel as cl, numpy as np, pandas as pd
    >>> rng = np.random.default_rng(1)
    >>> data = pd.DataFrame({"town": np.repeat(np.arange(30), 10), "cases": rng.poisson(2.0, 300)})
    >>> fit = cl.mixed("cases ~ 1 + (1 | town)", data, family="poisson")
    >>> len(cl.plot.simulated_check_data(cl.dispersion(fit, n=20, seed=1)))
    20
    """
    return pd.DataFrame({"simulated": found.simulated, "ratio": found.simulated / found.expected})


@draws("cl.dispersion(fit) or cl.zero_inflation(fit)")
def simulated_check(found: "SimulatedCheck", *, ax: "Axes | None" = None) -> "Figure":
    """Draw the observed value of a statistic over the values of outcomes drawn from the model.

    Parameters
    ----------
    found : what `cl.dispersion` or `cl.zero_inflation` answers.
    ax : axes to draw into; a new figure if None.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (1 | Subject)", cl.datasets.load("sleepstudy"), family="gamma")
    >>> figure = simulated_check(cl.dispersion(fit, n=20, seed=1))
    """
    data = simulated_check_data(found)
    with theme.drawing(ax, height=3.2) as (panel,):
        panel.hist(data["ratio"], bins=min(30, max(8, len(data) // 8)), color=theme.PALE, edgecolor="white")
        panel.axvline(found.ratio, color=theme.ORANGE, linewidth=2.2)
        panel.margins(x=0.08)
        theme.name_axes(panel, f"{found.question}: over what the model lets expect", "Simulations")
        subtitle = (
            f"Grey: {counted(len(data))} outcomes drawn from the model. Orange: the data, {number(found.ratio)} "
            f"({p_statement(found.p_value)})."
        )
        return theme.entitle([panel], f"{found.question}: the data and the model", subtitle, own=ax is None)


@draws("cl.quantile_residuals(fit)")
def quantile_residuals_data(found: "QuantileResiduals") -> pd.DataFrame:
    """Return what is drawn: sorted residuals, and mean residuals along the linear predictor.

    Parameters
    ----------
    found : what `cl.quantile_residuals` answers.

    Returns
    -------
    frame : panel ("distribution" or "linear predictor"), x, y, and low and high of outcomes drawn from the model.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("minority ~ ses + (1 | school)", cl.datasets.load("hsb"), family="binomial")
    >>> drawn = cl.plot.quantile_residuals_data(cl.quantile_residuals(fit, n=20, seed=1))
    >>> sorted(drawn["panel"].unique())
    ['distribution', 'linear predictor']
    """
    first = found.distribution.rename(columns={"theoretical": "x", "observed": "y"})
    second = found.along.rename(columns={"linear_predictor": "x", "mean": "y"}).drop(columns="rows")
    return pd.concat([first.assign(panel="distribution"), second.assign(panel="linear predictor")], ignore_index=True)


@draws("cl.quantile_residuals(fit)")
def quantile_residuals(found: "QuantileResiduals") -> "Figure":
    """Draw quantile residuals: their distribution, and their means along the linear predictor.

    Parameters
    ----------
    found : what `cl.quantile_residuals` answers.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("minority ~ ses + (1 | school)", cl.datasets.load("hsb"), family="binomial")
    >>> figure = quantile_residuals(cl.quantile_residuals(fit, n=50, seed=1))
    """
    data = quantile_residuals_data(found)
    with theme.drawing(None, height=3.6, columns=2, share="none") as (left, right):
        first, second = (data[data["panel"] == name] for name in ("distribution", "linear predictor"))
        # deviations from the diagonal: bands around a diagonal are too thin to see
        left.fill_between(first["x"], first["low"] - first["x"], first["high"] - first["x"],
                          color=theme.PALE, alpha=0.45, linewidth=0)  # fmt: skip
        left.axhline(0, color=theme.INK, linewidth=0.9)
        left.plot(first["x"], first["y"] - first["x"], color=theme.BLUE, linewidth=1.6)
        theme.name_axes(left, "Place among sorted residuals", "Residual less uniform")
        right.axhline(0.5, color=theme.INK, linewidth=0.9)
        wide = np.sort(second["x"].to_numpy())
        right.vlines(second["x"], second["low"], second["high"], color=theme.PALE, linewidth=5, alpha=0.8)
        right.plot(second["x"], second["y"], "o", color=theme.BLUE, markersize=4)
        if len(wide) == 1:
            right.set_xlim(wide[0] - 1.0, wide[0] + 1.0)
        theme.name_axes(right, "Linear predictor, fixed part", "Mean residual")
        for panel in (left, right):
            panel.xaxis.get_label().set_wrap(True)
        tests = found.frame["p_value"]
        subtitle = (
            f"Blue: the data. Grey: where 95 % of {counted(found.n)} outcomes drawn from the model lie, point by point"
            f". Distribution: {p_statement(tests['distribution'])}; along the linear predictor: "
            f"{p_statement(tests['linear predictor'])}."
        )
        return theme.entitle([left, right], "Quantile residuals", subtitle, own=True)


@draws("cl.calibration(fit)")
def calibration_data(found: "Calibration") -> pd.DataFrame:
    """Return the bins: event, bin, rows, predicted, observed, conf_low, conf_high.

    Parameters
    ----------
    found : what `cl.calibration` answers.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("minority ~ ses + (1 | school)", cl.datasets.load("hsb"), family="binomial")
    >>> list(cl.plot.calibration_data(cl.calibration(fit, bins=4, n=20, seed=1)).columns)
    ['event', 'bin', 'rows', 'predicted', 'observed', 'conf_low', 'conf_high']
    """
    return found.frame


@draws("cl.calibration(fit)")
def calibration(found: "Calibration", *, ax: "Axes | None" = None) -> "Figure":
    """Draw observed against predicted means, with the range in which the model lets them lie.

    Parameters
    ----------
    found : what `cl.calibration` answers.
    ax : axes to draw one event into; a new figure if None.

    Raises
    ------
    CrosslevelError : axes for several events.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("minority ~ ses + (1 | school)", cl.datasets.load("hsb"), family="binomial")
    >>> figure = calibration(cl.calibration(fit, n=50, seed=1))
    """
    data, events = calibration_data(found), found.events
    if ax is not None and len(events) > 1:
        raise CrosslevelError(f"`ax` takes one event, and ordered categories have {len(events)}. Leave `ax` out.")
    columns = 2 if len(events) == 4 else min(len(events), 3)
    rows = -(-len(events) // columns)
    width, height = (5.2, 4.4) if len(events) == 1 else (theme.WIDTH, 0.4 + 2.4 * rows)
    with theme.drawing(ax, width=width, height=height, rows=rows, columns=columns) as panels:
        for panel, event in zip(panels, events, strict=False):
            _draw_bins(panel, data[data["event"] == event])
            if len(events) > 1:
                panel.set_title(event, fontsize=9.5, loc="left", color=theme.INK)
        for panel in panels[len(events) :]:
            panel.set_visible(False)
        names = theme.name_axes if len(events) == 1 else theme.name_figure
        names(panels[0], f"Predicted {found.predicts}", "Observed")
        subtitle = (
            f"Points: rows in groups of similar predictions. Bars: where {percent(found.level, decimals=0)} of "
            "observed means lie if the model is true; orange squares: outside. Largest deviation: "
            f"{p_statement(found.p_value)}."
        )
        return theme.entitle(panels, "Observed and predicted", subtitle, own=ax is None)


def _draw_bins(panel: "Axes", data: pd.DataFrame) -> None:
    """The bins of one event."""
    ends = [min(data["predicted"].min(), data["observed"].min()), max(data["predicted"].max(), data["observed"].max())]
    panel.plot(ends, ends, color=theme.INK, linewidth=0.9)
    panel.vlines(data["predicted"], data["conf_low"], data["conf_high"], color=theme.PALE, linewidth=5, alpha=0.8)
    inside = (data["observed"] >= data["conf_low"]) & (data["observed"] <= data["conf_high"])
    for part, colour, marker in ((data[inside], theme.BLUE, "o"), (data[~inside], theme.ORANGE, "s")):
        dots = panel.scatter(part["predicted"], part["observed"], c=colour, s=24, marker=marker, linewidths=0, zorder=3)
        limits = (part["conf_low"], part["conf_high"])
        numbers = {"rows": part["rows"], "predicted": part["predicted"], "observed": part["observed"], "range": limits}
        theme.mark(dots, theme.told([f"group {k}" for k in part["bin"]], numbers))


@draws("cl.observed_expected(fit)")
def observed_expected_data(found: "ObservedExpected") -> pd.DataFrame:
    """Return the clusters, the smallest ratio first: the columns of `found.frame`, and the range as ratios low, high.

    Parameters
    ----------
    found : what `cl.observed_expected` answers.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("minority ~ ses + (1 | school)", cl.datasets.load("hsb"), family="binomial")
    >>> len(cl.plot.observed_expected_data(cl.observed_expected(fit, n=20, seed=1)))
    160
    """
    frame = found.frame.sort_values("ratio", kind="stable")
    return frame.assign(low=frame["conf_low"] / frame["expected"], high=frame["conf_high"] / frame["expected"])


@draws("cl.observed_expected(fit)")
def observed_expected(found: "ObservedExpected", *, ax: "Axes | None" = None) -> "Figure":
    """Draw each cluster's observed over expected sum, with the range of the model.

    Parameters
    ----------
    found : what `cl.observed_expected` answers.
    ax : axes to draw into; a new figure if None.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("minority ~ ses + (1 | school)", cl.datasets.load("hsb"), family="binomial")
    >>> figure = observed_expected(cl.observed_expected(fit, n=100, seed=1))
    """
    data = observed_expected_data(found)
    few = len(data) <= ROWS
    with theme.drawing(ax, height=0.7 + 0.165 * len(data) if few else 4.0) as (panel,):
        (_in_rows if few else _side_by_side)(panel, data)
        if few:
            theme.name_axes(panel, "Observed / expected", "")
        else:
            theme.name_axes(panel, f"Clusters of {found.group}, in order", "Observed / expected")
        subtitle = (
            f"Points: {found.what.lower()} over what the rows let expect in a cluster drawn at random. Grey: where "
            f"{percent(found.level, decimals=0)} of them lie if the model is true; orange squares: "
            f"{int(data['outside'].sum())} of {counted(len(data))} outside. Distribution over clusters: "
            f"{p_statement(found.p_value)}."
        )
        return theme.entitle([panel], f"Clusters of {found.group}: observed and expected", subtitle, own=ax is None)


def _labels(data: pd.DataFrame) -> list[str]:
    """What each cluster's mark says."""
    numbers = {"rows": data["rows"], "observed": data["observed"], "expected": data["expected"]}
    return theme.told(data.index, numbers | {"ratio": data["ratio"], "range": (data["low"], data["high"])})


def _in_rows(panel: "Axes", data: pd.DataFrame) -> None:
    """A row with its name for each cluster."""
    place, outside = np.arange(len(data)), data["outside"].to_numpy()
    panel.hlines(place, data["low"], data["high"], color=theme.PALE, linewidth=5, alpha=0.8)
    panel.axvline(1.0, color=theme.INK, linewidth=0.9)
    for these, colour, marker in ((~outside, theme.BLUE, "o"), (outside, theme.ORANGE, "s")):
        dots = panel.scatter(data["ratio"][these], place[these], c=colour, s=22, marker=marker, linewidths=0, zorder=3)
        theme.mark(dots, _labels(data[these]))
    panel.set_yticks(place, theme.shortened(list(data.index), 36))
    panel.set_ylim(-0.8, len(data) - 0.2)
    panel.tick_params(axis="y", length=0)
    panel.grid(visible=False, axis="y")


def _side_by_side(panel: "Axes", data: pd.DataFrame) -> None:
    """Many clusters beside each other, some of those outside named."""
    kept = np.unique(np.r_[evenly(len(data), POINTS), np.flatnonzero(data["outside"].to_numpy())])
    shown, place = data.iloc[kept], kept + 1
    outside = shown["outside"].to_numpy()
    width = float(np.clip(260 / len(data), 0.4, 5.0))
    panel.vlines(place, shown["low"], shown["high"], color=theme.PALE, linewidth=width, alpha=0.6)
    panel.axhline(1.0, color=theme.INK, linewidth=0.9)
    size = float(np.clip(700 / len(data), 1.6, 14))
    for these, colour, marker in ((~outside, theme.BLUE, "o"), (outside, theme.ORANGE, "s")):
        ratio = shown["ratio"].to_numpy()[these]
        larger = size * (1.0 if marker == "o" else 2.5)
        dots = panel.scatter(place[these], ratio, c=colour, s=larger, marker=marker, linewidths=0, zorder=3)
        theme.mark(dots, _labels(shown[these]))
    panel.set_xlim(-0.01 * len(data), 1.01 * len(data) + 1)
    panel.grid(visible=False, axis="x")
    names = theme.shortened(list(shown.index), 14)
    for k in _named(place, outside, len(data)):
        left = place[k] > 0.5 * len(data)
        panel.annotate(
            names[k], (place[k], shown["ratio"].iloc[k]), xytext=(-5 if left else 5, 9 if left else -9),
            textcoords="offset points", fontsize=8, color=theme.INK, ha="right" if left else "left",
        )  # fmt: skip


def _named(place: IntArray, outside: BoolArray, n: int) -> list[int]:
    """Positions of a few clusters outside their range, the outermost first, no two of them side by side."""
    found: list[int] = []
    for k in sorted(np.flatnonzero(outside).tolist(), key=lambda k: -abs(place[k] - 0.5 * n)):
        if len(found) < NAMED and all(abs(place[k] - place[other]) > 0.06 * n for other in found):
            found.append(k)
    return found
