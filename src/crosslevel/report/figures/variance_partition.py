"""Where the variance of the outcome lies: bars of shares, for one model or several."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from crosslevel.display import percent
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.mixed import MixedFit
from crosslevel.inference.explained import Undefined
from crosslevel.report.figures import theme
from crosslevel.report.figures.subject import chosen, models_by_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILLS = (
    (theme.BLUE, ""), ("#7FB2DC", "..."), (theme.GREEN, "////"), (theme.ORANGE, "\\\\\\\\"), ("#A34E86", "xxx"),
    ("#C98A00", "++"), ("#3B9BD6", "ooo"),
)  # fmt: skip
"""Colour and hatching of the parts: each alone tells them apart. The last part, the residuals, is white."""

NARROW = 0.055
"""Shares below have no room for their number."""

SOURCES = {"Fixed": "Fixed effects", "Residual": "Residual"}
PARTS = {
    "f1": "Fixed effects within clusters", "f2": "Fixed effects between clusters", "v": "Slopes that vary",
    "m": "Clusters' own means",
}  # fmt: skip
LEVELS = {"total": "Total", "within": "Within clusters", "between": "Between clusters"}


def variance_partition_data(
    models: Any,
    *,
    names: Sequence[str] | None = None,
    of: Literal["shares", "variances"] = "shares",
    by: Literal["source", "level"] | None = None,
) -> pd.DataFrame:
    """Return the parts of the variance of the outcome.

    By source: variance of the fixed part, of the random effects of each grouping factor at the average of the rows, and
    of the residuals (of other families: what stands in their place), see `fit.r2().shares`. By level: the sources of
    Rights & Sterba (2019) of the total variance, of that within clusters and of that between them.

    Parameters
    ----------
    models : fitted mixed models, one, several, or a dict of them by name.
    names : of the models; "Model 1" and so on if None.
    of : "shares" of the sum, or "variances" in squared units of the outcome (by source).
    by : "source" or "level"; if None, by level for one linear model with one grouping factor, else by source.

    Returns
    -------
    frame : bar, part, value; parts of a bar in their order from the left.

    Raises
    ------
    CrosslevelError : no model, other results, or sources within and between clusters that are not defined.

    Source
    ------
    Nakagawa & Schielzeth (2013), Methods Ecol. Evol. 4, 133-142; Johnson (2014), 5, 944-946; Rights & Sterba (2019),
    Psychol. Methods 24, 309-338.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> variance_partition_data(fit, by="source")["value"].round(3).tolist()
    [0.279, 0.521, 0.201]
    """
    fits = _models(models, names)
    chosen("of", of, ("shares", "variances"))
    first = next(iter(fits.values()))
    by_level = by is None and of == "shares" and len(fits) == 1 and _has_levels(first)
    by = "level" if by_level else chosen("by", by, ("source", "level"))  # type: ignore[assignment]
    if by == "level":
        if len(fits) > 1 or of != "shares":
            raise CrosslevelError('`by="level"` draws shares of one model. Give one, or use by="source".')
        return _levels(first)
    parts = [_sources(name, fit, of) for name, fit in fits.items()]
    return pd.concat(parts, ignore_index=True)


def variance_partition(
    models: Any,
    *,
    names: Sequence[str] | None = None,
    of: Literal["shares", "variances"] = "shares",
    by: Literal["source", "level"] | None = None,
    ax: "Axes | None" = None,
) -> "Figure":
    """Draw the parts of the variance of the outcome as bars, one for each model or level.

    Parameters
    ----------
    models, names, of, by : see `variance_partition_data`.
    ax : axes to draw into; a new figure if None.

    Raises
    ------
    CrosslevelError : see `variance_partition_data`.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> small = cl.mixed("mathach ~ 1 + (1 | school)", data)
    >>> large = cl.mixed("mathach ~ ses + meanses + (ses | school)", data)
    >>> figure = variance_partition({"Empty": small, "With SES": large})
    """
    data = variance_partition_data(models, names=names, of=of, by=by)
    fits = _models(models, names)
    by_level = set(data["bar"]) <= set(LEVELS.values()) and len(fits) == 1
    bars = list(dict.fromkeys(data["bar"]))
    with theme.drawing(ax, height=1.1 + 0.42 * len(bars)) as (panel,):
        _draw(panel, data, bars, shares=of == "shares")
        labels = theme.shortened(bars, 32)
        panel.set_yticks(np.arange(len(bars))[::-1], labels)
        panel.set_ylim(-0.5, len(bars) - 0.5)
        panel.tick_params(axis="y", length=0)
        panel.grid(visible=False)
        panel.spines["left"].set_visible(False)
        first = next(iter(fits.values()))
        response = first.spec.response_name
        unit = "Share of the variance" if of == "shares" else "Variance, in squared units of the outcome"
        theme.name_axes(panel, unit, "")
        _legend(panel, data)
        title = f"Where the variance of {first.labels.get(response) or response} lies"
        return theme.entitle([panel], title, words(fits, by_level=by_level), own=ax is None)


def words(fits: Mapping[str, Any], *, by_level: bool) -> str:
    """What is drawn."""
    if by_level:
        return "Variance of the outcome by its sources: all of it, that within clusters, that between them."
    if any(isinstance(fit, GeneralizedFit) for fit in fits.values()):
        return "On the scale of the linear predictor; residual: what stands in its place, of one answer."
    return "Fixed effects, random effects of each grouping factor at the average of the rows, and residuals."


def _models(given: Any, names: Sequence[str] | None) -> dict[str, Any]:
    """Mixed models by name."""
    found = models_by_name(given, names)
    wrong = [type(fit).__name__ for fit in found.values() if not isinstance(fit, MixedFit | GeneralizedFit)]
    if wrong:
        raise CrosslevelError(f"`variance_partition` draws models fitted by `cl.mixed`; got {wrong[0]}.")
    return found


def _has_levels(fit: Any) -> bool:
    """Whether variance is divided into that within and that between clusters."""
    return isinstance(fit, MixedFit) and not isinstance(fit.r2(null=None).sources, Undefined)


def _sources(name: str, fit: Any, of: str) -> pd.DataFrame:
    """The bar of one model, by source."""
    found = fit.r2(null=None) if isinstance(fit, MixedFit) else fit.r2()
    shares = found.shares
    labels = fit.labels
    parts = [
        SOURCES.get(str(source), f"Random effects of {labels.get(str(source)) or source}") for source in shares.index
    ]
    return pd.DataFrame({"bar": name, "part": parts, "value": shares["share" if of == "shares" else "variance"]})


def _levels(fit: Any) -> pd.DataFrame:
    """The bars of one model, by level: the shares of the sources, and what none of them has."""
    if not isinstance(fit, MixedFit):
        raise CrosslevelError('`by="level"` is defined for linear mixed models. Use by="source".')
    table = fit.r2(null=None).decomposition["r2"]
    records = []
    for level, name in LEVELS.items():
        own = [(PARTS[part], float(table[level, part])) for part in PARTS if (level, part) in table.index]
        rest = 1.0 - sum(value for _, value in own)
        records += [(name, part, value) for part, value in own]
        records += [(name, "Residual", max(rest, 0.0))] if level != "between" else []
    return pd.DataFrame.from_records(records, columns=["bar", "part", "value"])


def _fills(data: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Colour and hatching of each part, that of the residuals last."""
    parts = [part for part in dict.fromkeys(data["part"]) if part != "Residual"]
    fills = {part: FILLS[k % len(FILLS)] for k, part in enumerate(parts)}
    return fills | ({"Residual": ("white", "")} if (data["part"] == "Residual").any() else {})


def _legend(panel: "Axes", data: pd.DataFrame) -> None:
    """Which part is which."""
    from matplotlib.patches import Patch

    handles = [
        Patch(facecolor=colour, edgecolor=theme.INK, hatch=hatch, linewidth=0.7, label=theme.fitted(part, 3.0, 8.5))
        for part, (colour, hatch) in _fills(data).items()
    ]
    panel.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2 if len(handles) > 3 else 3, fontsize=8.5,
        handlelength=1.6, borderaxespad=0.3,
    )  # fmt: skip


def _draw(panel: "Axes", data: pd.DataFrame, bars: Sequence[str], *, shares: bool) -> None:
    """The bars, their parts from left to right, with their shares where there is room."""
    fills = _fills(data)
    widest = data.groupby("bar")["value"].sum().max()
    rectangles: list[Any] = []
    labels: list[str] = []
    for k, name in enumerate(bars):
        own = data[data["bar"] == name]
        start, place = 0.0, len(bars) - 1 - k
        for part, value in zip(own["part"], own["value"], strict=True):
            colour, hatch = fills[part]
            rectangles += panel.barh(
                place, value, left=start, height=0.66, facecolor=colour, edgecolor=theme.INK, hatch=hatch, linewidth=0.7
            )
            share = value / own["value"].sum()
            shown = percent(share, decimals=0 if share >= 0.01 else 1)
            labels.append(f"{part}\n{name}: {shown}" + ("" if shares else f"\nvariance {value:.4g}"))
            if value >= NARROW * widest:
                panel.text(start + value / 2, place, shown, ha="center", va="center", fontsize=8.5, color=theme.INK,
                           bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2})  # fmt: skip
            start += value
    theme.mark(rectangles, labels)
    panel.set_xlim(0.0, 1.003 * widest)
    if shares:
        from matplotlib.ticker import PercentFormatter

        panel.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
