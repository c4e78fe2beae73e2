"""Conditional effects: predictions, or slopes, along one variable at representative values of others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crosslevel.display import percent
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.marginal_setting import At, By, Scale, Setting, listed, setting_of, written
from crosslevel.estimators.marginal_table import ZERO, Margins
from crosslevel.estimators.margins import margins as margins_of
from crosslevel.estimators.slopes import slopes as slopes_of
from crosslevel.report.figures import theme
from crosslevel.report.figures.subject import evenly, named
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from crosslevel.estimators.generalized.expectations import RandomEffects

POINTS = 61
"""Values along a variable of numbers."""

LINES = 6
"""Lines of a panel."""

PANELS = 9
"""Panels of a figure."""

RUG = 600
"""Marks of the data at most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """What a figure of conditional effects shows.

    Attributes
    ----------
    table : the effects.
    axis : the variable along the horizontal axis.
    groups : the columns that tell lines apart, then panels apart.
    rug : values of the data along the axis; empty for categories.
    units : what the marks are.
    """

    table: Margins
    axis: str
    groups: tuple[str, ...]
    rug: FloatArray
    units: str

    @property
    def frame(self) -> pd.DataFrame:
        """The effects in order."""
        return self.table.frame

    @property
    def is_numeric(self) -> bool:
        """Whether there are lines, not points."""
        return self.rug.size > 0


def margins_data(fit: Any, by: By, **options: Any) -> pd.DataFrame:
    """Return adjusted predictions along the first variable of `by`; see `margins`.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> margins_data(fit, "Days").shape
    (61, 8)
    """
    return _predicted(fit, by, **options).frame


def slopes_data(fit: Any, x: str, by: By, **options: Any) -> pd.DataFrame:
    """Return effects of x along the first variable of `by`; see `slopes`.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("mathach ~ ses * meanses + (ses | school)", cl.datasets.load("hsb"))
    >>> slopes_data(fit, "ses", "meanses")["estimate"].agg(["min", "max"]).round(2).tolist()
    [2.0, 2.33]
    """
    return _sloped(fit, x, by, **options).frame


def margins(
    fit: Any,
    by: By,
    *,
    at: At = "observed",
    over: str = "auto",
    ddf: str | None = None,
    vcov: str | None = None,
    scale: Scale = "response",
    random_effects: "RandomEffects" = "average",
    level: float = 0.95,
    ax: "Axes | None" = None,
) -> "Figure":
    """Draw adjusted predictions along a variable, at values of others, with confidence bands and the data's rug.

    Parameters
    ----------
    fit : a model fitted by `cl.mixed`, `cl.glm` or `cl.ols`.
    by : up to three variables, with values if wanted (see `cl.slopes`): the first goes along the horizontal axis, over
        the data's range; the second has a line for each value; the third a panel.
    at, over, ddf, vcov, scale, random_effects, level : see `cl.margins`.
    ax : axes to draw into; a new figure if None.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("mathach ~ ses * sector + (ses | school)", cl.datasets.load("hsb"))
    >>> figure = margins(fit, ["ses", "sector"])
    """
    drawn = _predicted(
        fit, by, at=at, over=over, ddf=ddf, vcov=vcov, scale=scale, random_effects=random_effects, level=level
    )
    response = fit.spec.response_name
    title = f"{fit.labels.get(response) or response}: predictions by {_titled(drawn.axis, fit)}"
    told = drawn.table.about.response
    return _draw(fit, drawn, named(response, fit.labels) if told == response else told, title, ax)


def slopes(
    fit: Any,
    x: str,
    by: By,
    *,
    at: At = "observed",
    over: str = "auto",
    ddf: str | None = None,
    vcov: str | None = None,
    scale: Scale = "response",
    random_effects: "RandomEffects" = "average",
    level: float = 0.95,
    ax: "Axes | None" = None,
) -> "Figure":
    """Draw the effect of x along a moderator, at values of others, with confidence bands and the data's rug.

    Parameters
    ----------
    fit : a model fitted by `cl.mixed`, `cl.glm` or `cl.ols`.
    x : the predictor, as in `cl.slopes`; categories have a line for each difference from the first.
    by : the moderators, as in `margins`.
    at, over, ddf, vcov, scale, random_effects, level : see `cl.slopes`.
    ax : axes to draw into; a new figure if None.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("mathach ~ ses * meanses + (ses | school)", cl.datasets.load("hsb"))
    >>> figure = slopes(fit, "ses", "meanses")
    """
    drawn = _sloped(
        fit, x, by, at=at, over=over, ddf=ddf, vcov=vcov, scale=scale, random_effects=random_effects, level=level
    )
    contrasts = drawn.frame["contrast"].unique()
    what = x if len(contrasts) > 1 or contrasts[0] == "slope" else f"{x} ({contrasts[0]})"
    title = f"Effect of {_titled(x, fit)} by {_titled(drawn.axis, fit)}"
    return _draw(fit, drawn, f"Effect of {what} on {drawn.table.about.response}", title, ax, zero=True)


def _predicted(fit: Any, by: By, **options: Any) -> Drawn:
    """Adjusted predictions to draw."""
    setting, values, axis = _along(fit, by, [], options)
    table = margins_of(fit, values, **options)
    return _drawn(setting, table, axis, [*setting.labels, *list(values)[1:]])


def _sloped(fit: Any, x: str, by: By, **options: Any) -> Drawn:
    """Effects to draw."""
    setting, values, axis = _along(fit, by, listed(x, "x"), options)
    table = slopes_of(fit, x, values, **options)
    several = ["contrast"] if table.frame["contrast"].nunique() > 1 else []
    return _drawn(setting, table, axis, [*several, *setting.labels, *list(values)[1:]])


def _along(fit: Any, by: By, others: list[str], options: Mapping[str, Any]) -> tuple[Setting, dict[str, object], str]:
    """The model, values of all variables in `by`, and the one that goes along the axis.

    Raises
    ------
    CrosslevelError : no variable.
    """
    names = listed(by, "by")
    if not names:
        raise CrosslevelError("`by` names the variable along the horizontal axis, and up to two more; got none.")
    where = options.get("at", "observed")
    scale = options.get("scale", "response")
    setting = setting_of(fit, [*others, *names], at=where, over=options.get("over", "auto"), scale=scale)
    asked = dict(by) if isinstance(by, Mapping) else dict.fromkeys(names)
    axis = setting.name_of(names[0], "by")
    if setting.rows.inputs[axis].levels is None and asked[names[0]] is None:
        low, high, _ = setting.rows.range_of(axis)
        asked[names[0]] = np.linspace(low, high, POINTS)
    return setting, asked, axis


def _drawn(setting: Setting, table: Margins, axis: str, groups: Sequence[str]) -> Drawn:
    """What is drawn, with the data along the axis.

    Raises
    ------
    CrosslevelError : more variables, lines or panels than can be told apart.
    """
    told = ("contrast", *setting.labels)
    names = [name if name in told else setting.name_of(name, "by") for name in groups]
    limits = [("lines", LINES), ("panels", PANELS)]
    if len(names) > len(limits):
        raise CrosslevelError(f"`by` needs {len(names)} variables beside {axis!r} to be told apart; two can be drawn.")
    for name, (what, most) in zip(names, limits, strict=False):
        count = table.frame[name].nunique()
        if count > most:
            raise CrosslevelError(
                f"`by` has {count} values of {name!r}; a figure has at most {most} {what}. Name some of them."
            )
    if setting.rows.inputs[axis].levels is not None:
        return Drawn(table=table, axis=axis, groups=tuple(names), rug=np.empty(0), units="")
    found = setting.sampled(axis)
    ordered = np.sort(found.values)
    return Drawn(table=table, axis=axis, groups=tuple(names), rug=ordered[evenly(len(ordered), RUG)], units=found.words)


def _draw(fit: Any, drawn: Drawn, y: str, title: str, ax: "Axes | None", *, zero: bool = False) -> "Figure":
    """Draw effects: a panel for each value of the last group, in it a line for each value of the first."""
    frame = drawn.frame
    splits = list(frame[drawn.groups[1]].unique()) if len(drawn.groups) > 1 else [None]
    if ax is not None and len(splits) > 1:
        raise CrosslevelError(f"`ax` is one panel, but {drawn.groups[1]!r} needs {len(splits)}. Leave `ax` out.")
    columns = min(len(splits), 3)
    rows = -(-len(splits) // columns)
    with theme.drawing(ax, height=4.2 if rows == 1 else 2.8 * rows, rows=rows, columns=columns) as panels:
        for spare in panels[len(splits) :]:
            spare.set_visible(False)
        for panel, value in zip(panels, splits, strict=False):
            mine = frame if value is None else frame[frame[drawn.groups[1]] == value]
            if zero:
                panel.axhline(0.0, color=theme.INK, linewidth=0.9)
            _draw_lines(panel, drawn, mine)
            if value is not None:
                panel.set_title(f"{drawn.groups[1]}: {written(value)}", loc="left", fontsize=9.5, color=theme.INK)
        if drawn.groups:
            _legend(panels[0], drawn)
        axis = named(drawn.axis, fit.labels)
        theme.name_axes(panels[0], axis, y) if len(splits) == 1 else theme.name_figure(panels[0], axis, y)
        return theme.entitle(panels, title, _words(drawn), own=ax is None)


def _draw_lines(panel: "Axes", drawn: Drawn, frame: pd.DataFrame) -> None:
    """The lines, or points, of one panel."""
    keys = list(drawn.frame[drawn.groups[0]].unique()) if drawn.groups else [None]
    for k, key in enumerate(keys):
        mine = frame if key is None else frame[frame[drawn.groups[0]] == key]
        low, high, middle = (mine[name].to_numpy(dtype=float) for name in ("conf_low", "conf_high", "estimate"))
        label = "" if key is None else written(key)
        colour, marker, dashes = theme.LOOKS[k]
        if drawn.is_numeric:
            x = mine[drawn.axis].to_numpy(dtype=float)
            panel.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
            panel.plot(x, middle, color=colour, linewidth=1.8, linestyle=dashes, label=label)
            continue
        places = np.arange(len(mine)) + (k - (len(keys) - 1) / 2) * min(0.14, 0.6 / len(keys))
        panel.vlines(places, low, high, colors=colour, linewidth=1.6)
        dots = panel.scatter(places, middle, c=colour, s=34, marker=marker, linewidths=0, zorder=3, label=label)
        heads = [f"{value}, {label}" if label else str(value) for value in mine[drawn.axis]]
        theme.mark(dots, theme.told(heads, {"estimate": middle, "interval": (low, high)}))
        panel.set_xticks(np.arange(len(mine)), theme.shortened(list(mine[drawn.axis]), 18))
        panel.set_xlim(-0.6, len(mine) - 0.4)
        panel.grid(visible=False, axis="x")
    if drawn.is_numeric:
        mark_data(panel, drawn.rug)


def mark_data(panel: "Axes", values: FloatArray) -> None:
    """Draw a rug: a short mark at the bottom for each value of the data."""
    from matplotlib.collections import LineCollection

    alpha = float(np.clip(60 / max(len(values), 1), 0.12, 0.7))
    marks = [np.array([[value, 0.0], [value, 0.028]]) for value in values]
    # heights are shares of the panel, which must not count as data
    panel.add_collection(
        LineCollection(marks, colors=theme.INK, linewidths=0.7, alpha=alpha, transform=panel.get_xaxis_transform()),
        autolim=False,
    )


def _legend(panel: "Axes", drawn: Drawn) -> None:
    """What the lines are."""
    name = drawn.groups[0]
    legend = panel.legend(title="" if name == "contrast" else name, alignment="left", loc="best", handlelength=2.6)
    legend.get_title().set_fontsize(9)


def _titled(name: str, fit: Any) -> str:
    """A variable's label, or its name."""
    return fit.labels.get(name) or name


def _words(drawn: Drawn) -> str:
    """What is drawn."""
    about = drawn.table.about
    shape, level = "Bands" if drawn.is_numeric else "Bars", percent(about.level, decimals=0)
    text = f"{shape}: {level} confidence intervals. Other variables: {about.place}."
    text = f"{text} {about.averages}" if about.kind == "predictions" or about.averages != ZERO else text
    notes = [note for note in about.notes if not note.startswith(f"{drawn.axis}:")]
    some = f", of which {RUG} are shown" if len(drawn.rug) == RUG else ""
    marks = [f"Marks at the bottom: {drawn.units}{some}."] if drawn.is_numeric else []
    return " ".join([text, *marks, *notes])
