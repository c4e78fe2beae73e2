"""Checks of residuals: their distribution, their course along predictors, and their spread."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.display import counted, p_statement, percent
from crosslevel.errors import CrosslevelError
from crosslevel.report.figures import theme
from crosslevel.report.figures.records import draws
from crosslevel.report.figures.residuals import BINS, smooth
from crosslevel.report.figures.subject import evenly

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from crosslevel.diagnostics.residuals.envelope import Envelope, Part
    from crosslevel.diagnostics.residuals.homogeneity import Homogeneity
    from crosslevel.diagnostics.residuals.linearity import Course, Linearity

MOST_PANELS = 8
"""Random effects, or predictors, that are drawn."""

NAMED = 4
"""Clusters outside of an envelope that are named."""

POINTS = 1500
"""Partial residuals that are drawn, by lot."""

FEW = 8
"""Clusters up to which all are named."""

MANY = 80
"""Clusters from which on ranges are drawn as thin lines."""


@draws("cl.envelope(fit)")
def envelope_data(found: "Envelope") -> pd.DataFrame:
    """Return the quantiles of all parts.

    Parameters
    ----------
    found : what `cl.envelope` answers.

    Returns
    -------
    frame : part, label (of the row or cluster), theoretical (normal quantile), observed, low and high (between which 95
        % of outcomes drawn from the model lie), outside.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> len(envelope_data(cl.envelope(fit, of="random effects", n=20, seed=1)))
    36
    """
    table = pd.concat([part.quantiles.assign(part=part.name) for part in found.parts], ignore_index=True)
    outside = (table["observed"] < table["low"]) | (table["observed"] > table["high"])
    return table[["part", "label", "theoretical", "observed", "low", "high"]].assign(outside=outside)


@draws("cl.envelope(fit)")
def envelope(found: "Envelope", *, ax: "Axes | None" = None) -> "Figure":
    """Draw standardised residuals, or random effects, against normal quantiles within a simulated envelope.

    Parameters
    ----------
    found : what `cl.envelope` answers.
    ax : axes to draw one part into; a new figure if None.

    Raises
    ------
    CrosslevelError : axes for several parts.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> figure = envelope(cl.envelope(fit, of="random effects", n=20, seed=1))
    """
    data, parts = envelope_data(found), found.parts[:MOST_PANELS]
    _one_panel(ax, len(parts), "random effects", "Ask for one by `group` of cl.envelope.")
    columns = min(len(parts), 2)
    rows = -(-len(parts) // columns)
    width = 5.6 if columns == 1 else theme.WIDTH
    with theme.drawing(
        ax, width=width, height=(4.2 if columns == 1 else 3.2) * rows, rows=rows, columns=columns, share="none"
    ) as panels:
        for panel, part in zip(panels, parts, strict=False):
            _draw_envelope(panel, part, data[data["part"] == part.name], named=found.of == "random effects")
            if len(parts) > 1:
                _head(panel, f"{part.name}: {p_statement(part.p_value)}")
        for panel in panels[len(parts) :]:
            panel.set_visible(False)
        x = "Quantile of the normal distribution"
        if len(parts) > 1:
            theme.name_figure(panels[0], x, "Standardised value")
        else:
            theme.name_axes(panels[0], x, f"Standardised {parts[0].name}")
        alone = f" ({p_statement(parts[0].p_value)})" if len(parts) == 1 else ""
        some = "" if len(parts) == len(found.parts) else f" The first {len(parts)} of {len(found.parts)} are drawn."
        subtitle = (
            f"Grey: where 95 % of {counted(found.n)} outcomes drawn from the model lie, point by point. Orange: "
            f"outside of it{alone}.{some}"
        )
        title = f"{found.of.capitalize()} as the model lets expect?"
        return theme.entitle(panels, title, subtitle, own=ax is None)


def _draw_envelope(panel: "Axes", part: "Part", data: pd.DataFrame, *, named: bool) -> None:
    """One quantile plot."""
    x, y = data["theoretical"].to_numpy(), data["observed"].to_numpy()
    panel.fill_between(x, data["low"], data["high"], color=theme.PALE, alpha=0.45, linewidth=0)
    panel.plot(x[[0, -1]], x[[0, -1]], color=theme.INK, linewidth=0.9)
    size = float(np.clip(150.0 / np.sqrt(len(data)), 7.0, 22.0))
    for out, colour, look in ((False, theme.BLUE, "o"), (True, theme.ORANGE, "D")):
        some = data[data["outside"] == out]
        if len(some):
            dots = panel.scatter(
                some["theoretical"], some["observed"], s=size, color=colour, marker=look, linewidths=0, zorder=3
            )
            what = {"standardised": some["observed"], "95 % of the model's": (some["low"], some["high"])}
            theme.mark(dots, theme.told(list(some["label"]), what))
    panel.margins(x=0.06, y=0.06)
    far = np.flatnonzero(data["outside"].to_numpy() & (np.abs(x) > 1.0))
    chosen = far[np.argsort(-np.abs(y[far]), kind="stable")[:NAMED]] if len(far) else far
    if named and len(chosen):
        panel.set_xlim(panel.get_xlim())
        panel.set_ylim(panel.get_ylim())
        theme.name_points(panel, x[chosen], y[chosen], list(data["label"].to_numpy()[chosen]))


@draws("cl.linearity(fit)")
def linearity_data(found: "Linearity") -> dict[str, pd.DataFrame]:
    """Return what is drawn: "rows" with partial residuals and their smooth, "bins" with means, "curve".

    Parameters
    ----------
    found : what `cl.linearity` answers.

    Returns
    -------
    frames : each with a column `term`; rows: value, partial, smooth (local linear regression over half of the rows at a
        time); bins: value, partial, rows; curve: value, line, curve, conf_low, conf_high.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> list(linearity_data(cl.linearity(fit))["curve"])
    ['term', 'value', 'line', 'curve', 'conf_low', 'conf_high']
    """
    frames: dict[str, list[pd.DataFrame]] = {"rows": [], "bins": [], "curve": []}
    for course in found.courses:
        rows = course.rows
        if "partial" in rows:
            rows = rows.assign(smooth=smooth(rows["value"].to_numpy(), rows["partial"].to_numpy()))
        for name, table in (("rows", rows), ("bins", course.bins), ("curve", course.curve)):
            own = table.copy()
            own.insert(0, "term", course.name)
            frames[name].append(own)
    return {name: pd.concat(tables, ignore_index=True) for name, tables in frames.items()}


@draws("cl.linearity(fit)")
def linearity(found: "Linearity", *, ax: "Axes | None" = None) -> "Figure":
    """Draw partial residuals along each predictor, with the straight line of the fit and the curve beside it.

    Parameters
    ----------
    found : what `cl.linearity` answers.
    ax : axes to draw one predictor into; a new figure if None.

    Raises
    ------
    CrosslevelError : axes for several predictors.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> figure = linearity(cl.linearity(fit))
    """
    data, courses = linearity_data(found), found.courses[:MOST_PANELS]
    _one_panel(ax, len(courses), "predictors", "Name one by `x` of cl.linearity.")
    columns = min(len(courses), 2)
    rows = -(-len(courses) // columns)
    with theme.drawing(
        ax, height=(4.0 if columns == 1 else 3.0) * rows, rows=rows, columns=columns, share="none"
    ) as panels:
        for panel, course in zip(panels, courses, strict=False):
            own = {name: table[table["term"] == course.name] for name, table in data.items()}
            _draw_course(panel, course, own)
            where = f", within {course.within}" if course.within else ""
            _head(panel, f"{course.name}{where}: {p_statement(course.p_value)}")
        for panel in panels[len(courses) :]:
            panel.set_visible(False)
        several = len(courses) > 1
        y = f"Partial residual of {found.outcome}"
        theme.name_figure(panels[0], "Predictor", y) if several else theme.name_axes(panels[0], courses[0].name, y)
        points = any("partial" in course.rows for course in courses)
        subtitle = (
            f"Blue: the curve of a refit, with its {percent(found.level, decimals=0)} band. Black, dashed: the "
            "straight line of the model. Dots: means of bands of rows."
            + (" Orange: smooth of the partial residuals (grey)." if points else "")
        )
        return theme.entitle(panels, "Do predictors act along straight lines?", subtitle, own=ax is None)


def _draw_course(panel: "Axes", course: "Course", data: dict[str, pd.DataFrame]) -> None:
    """One predictor."""
    rows, bins, curve = data["rows"], data["bins"], data["curve"]
    if "partial" in course.rows:
        shown = rows.iloc[np.sort(np.random.default_rng(1).permutation(len(rows))[:POINTS])]
        alpha = float(np.clip(250 / len(shown), 0.2, 0.7))
        panel.plot(
            shown["value"], shown["partial"], "o", color=theme.GREY, alpha=alpha, markersize=2.2, markeredgewidth=0
        )
        line = rows.sort_values("value", kind="stable").iloc[evenly(len(rows), 300)]
        # beyond the outermost bands the smooth is no more than its last value
        edges = np.quantile(rows["value"], [0.5 / BINS, 1.0 - 0.5 / BINS])
        line = line[line["value"].between(*edges)]
        panel.plot(line["value"], line["smooth"], color=theme.ORANGE, linewidth=1.4)
        low, high = np.quantile(rows["partial"], [0.005, 0.995])
        room = 0.08 * (high - low)
        ends = [curve["line"].min(), curve["line"].max(), bins["partial"].min(), bins["partial"].max()]
        panel.set_ylim(min(low, *ends) - room, max(high, *ends) + room)
    panel.fill_between(curve["value"], curve["conf_low"], curve["conf_high"], color=theme.BLUE, alpha=0.16, linewidth=0)
    panel.plot(curve["value"], curve["curve"], color=theme.BLUE, linewidth=1.9)
    panel.plot(curve["value"], curve["line"], color=theme.INK, linewidth=1.1, linestyle=(0, (4, 3)))
    dots = panel.scatter(bins["value"], bins["partial"], s=16, color=theme.INK, linewidths=0, zorder=4)
    theme.mark(dots, theme.told(
        [f"{course.name} {value:.3g}" for value in bins["value"]], {"mean": bins["partial"], "rows": bins["rows"]}
    ))  # fmt: skip


@draws("cl.homogeneity(fit)")
def homogeneity_data(found: "Homogeneity") -> pd.DataFrame:
    """Return the spreads of all groups.

    Parameters
    ----------
    found : what `cl.homogeneity` answers.

    Returns
    -------
    frame : across ("clusters of school", "fitted values"), group (the cluster, or the middle of the band), rows,
        spread, low and high (between which 95 % of outcomes drawn from the model lie), outside.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> homogeneity_data(cl.homogeneity(fit, n=20, seed=1))["across"].value_counts().to_dict()
    {'clusters of Subject': 18, 'fitted values': 18}
    """
    parts = [
        table.assign(across=f"clusters of {name}", group=[str(level) for level in table.index])
        for name, table in found.clusters.items()
    ]
    parts.append(found.along.assign(across="fitted values", group=found.along["fitted"].to_numpy()))
    columns = ["across", "group", "rows", "spread", "low", "high", "outside"]
    return pd.concat([part[columns] for part in parts], ignore_index=True)


@draws("cl.homogeneity(fit)")
def homogeneity(found: "Homogeneity") -> "Figure":
    """Draw the spread of residuals by cluster, and along the fitted values, with what the model lets expect.

    Parameters
    ----------
    found : what `cl.homogeneity` answers.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> figure = homogeneity(cl.homogeneity(fit, n=20, seed=1))
    """
    data, tests = homogeneity_data(found), found.frame["p_value"]
    names = list(tests.index)
    with theme.drawing(None, height=2.7 * len(names), rows=len(names), share="none") as panels:
        for panel, name in zip(panels, names, strict=True):
            own = data[data["across"] == name]
            if name == "fitted values":
                _draw_spreads(panel, own, own["group"].astype(float).to_numpy())
                panel.set_xlabel("Fitted value")
            else:
                own = own.sort_values("spread", kind="stable")
                places = np.arange(1.0, len(own) + 1.0)
                _draw_spreads(panel, own, places)
                _name_clusters(panel, own, places)
                panel.set_xlabel(f"{name[:1].upper()}{name[1:]}, by their spread")
            _head(panel, f"Across {name}: {p_statement(float(tests[name]))}")
        theme.name_figure(panels[0], "", "Spread of residuals (1: as in the model)")
        subtitle = (
            f"Dots: root mean square of standardised residuals. Grey: where 95 % of {counted(found.n)} outcomes drawn "
            "from the model lie. Orange: outside of it."
        )
        return theme.entitle(panels, "Are residuals spread alike?", subtitle, own=True)


def _draw_spreads(panel: "Axes", data: pd.DataFrame, x: np.ndarray) -> None:
    """Spreads of groups with their ranges."""
    wide = 5.0 if len(data) <= MANY else float(np.clip(420.0 / len(data), 0.5, 3.0))
    panel.vlines(x, data["low"], data["high"], color=theme.PALE, linewidth=wide, alpha=0.75)
    panel.axhline(1.0, color=theme.INK, linewidth=0.9)
    size = float(np.clip(1600.0 / len(data), 5.0, 22.0))
    outside = data["outside"].to_numpy()
    for out, colour, look in ((False, theme.BLUE, "o"), (True, theme.ORANGE, "D")):
        some = data[outside == out]
        if len(some):
            dots = panel.scatter(
                x[outside == out], some["spread"], s=size, color=colour, marker=look, linewidths=0, zorder=3
            )
            what = {"spread": some["spread"], "rows": some["rows"], "95 % of the model's": (some["low"], some["high"])}
            names = [name if isinstance(name, str) else f"fitted {name:.3g}" for name in some["group"]]
            theme.mark(dots, theme.told(names, what))
    panel.margins(x=0.03, y=0.08)


def _name_clusters(panel: "Axes", data: pd.DataFrame, x: np.ndarray) -> None:
    """Names of few clusters below, of many those furthest outside beside their dots."""
    if len(data) <= FEW:
        panel.set_xticks(x, theme.shortened(list(data["group"]), 70 // max(len(data), 1)))
        return
    from matplotlib.ticker import MaxNLocator

    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    ends = np.r_[0:NAMED, len(data) - NAMED : len(data)]
    named = [k for k in ends if data["outside"].iloc[k]]
    panel.set_xlim(panel.get_xlim())
    panel.set_ylim(panel.get_ylim())
    if named:
        theme.name_points(panel, x[named], data["spread"].to_numpy()[named], list(data["group"].iloc[named]))


def _head(panel: "Axes", text: str) -> None:
    """The words over one panel."""
    panel.set_title(theme.shortened([text], 60)[0], loc="left", fontsize=9.5, color=theme.INK)


def _one_panel(ax: "Axes | None", count: int, what: str, advice: str) -> None:
    """Refuse several things in axes that were given."""
    if ax is not None and count > 1:
        raise CrosslevelError(f"`ax` takes one panel, and there are {count} {what}. {advice}")
