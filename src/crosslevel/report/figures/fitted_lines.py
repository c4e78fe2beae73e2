"""The model's lines by cluster: parallel where only intercepts vary, not parallel where slopes do."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.display import counted, number
from crosslevel.errors import CrosslevelError
from crosslevel.report.figures import theme
from crosslevel.report.figures.subject import clusters_of, evenly, linear_only, named, predictor_of, used_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from crosslevel.estimators.mixed import MixedFit

STEPS = 12
LINES = 250
LETTER = 0.045
"""Height of a name, as a share of the panel's."""
NAMED = 8
"""Up to so many lines carry the names of their clusters."""


def fitted_lines_data(fit: "MixedFit", x: str | None = None) -> pd.DataFrame:
    """Predict the outcome of every cluster along one predictor, the others at what they are in that cluster.

    Parameters
    ----------
    fit : a fitted mixed model.
    x : a numeric variable of the model; the one of the first random slope if None.

    Returns
    -------
    frame: `cluster`, `x` (12 values over the cluster's own range), `fitted` (random effects included; other numeric
    predictors at their mean in the cluster, categories at the commonest).

    Raises
    ------
    CrosslevelError : the model has no numeric predictor that varies within clusters.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> fitted_lines_data(fit).groupby("cluster").size().unique().tolist()
    [12]
    """
    linear_only(fit, "fitted_lines", "straight lines of linear models", "Use cl.plot.margins(fit, x).")
    x = x or predictor_of(fit)
    if x is None or not fit.design.columns.is_numeric(x):
        raise CrosslevelError(
            "`fitted_lines` draws along a numeric predictor that varies within clusters"
            + (f"; {x!r} is not numeric." if x else ", and the model has none.")
        )
    frame, clusters = used_frame(fit, [x, *fit.spec.variables]), clusters_of(fit)
    typical = typical_rows(frame, clusters)
    ranges = frame[x].groupby(clusters.to_numpy(), sort=True).agg(["min", "max"]).to_numpy(dtype=float)
    steps = np.linspace(ranges[:, 0], ranges[:, 1], STEPS, axis=1)
    new = typical.loc[typical.index.repeat(STEPS)]
    new[x] = steps.ravel()
    with_effects = True if fit.design.is_single else [fit.group]  # the clusters of other factors differ in a line
    fitted = fit.predict(new.reset_index(drop=True), random_effects=with_effects).to_numpy(dtype=float)
    return pd.DataFrame({"cluster": new.index, "x": steps.ravel(), "fitted": fitted})


def typical_rows(frame: pd.DataFrame, clusters: pd.Index) -> pd.DataFrame:
    """One row per cluster: means of numbers; the commonest category, that of the cluster where it has only one."""
    groups = frame.groupby(clusters.to_numpy(), sort=True, observed=True)
    columns = {}
    for name in frame.columns:
        if pd.api.types.is_numeric_dtype(frame[name]) and not pd.api.types.is_bool_dtype(frame[name]):
            columns[name] = groups[name].mean()
        else:
            commonest = frame[name].mode().iloc[0]
            first = groups[name].first()
            columns[name] = first.where(groups[name].nunique() == 1, commonest).astype(frame[name].dtype)
    return pd.DataFrame(columns)


def fitted_lines(fit: "MixedFit", x: str | None = None, *, ax: "Axes | None" = None) -> "Figure":
    """Draw the fitted line of every cluster.

    Parameters
    ----------
    fit : a fitted mixed model.
    x : a numeric variable of the model; the one of the first random slope if None.
    ax : axes to draw into; a new figure if None.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> figure = fitted_lines(fit)
    """
    data = fitted_lines_data(fit, x)
    lines = data[["x", "fitted"]].to_numpy().reshape(-1, STEPS, 2)
    clusters = data["cluster"].to_numpy()[::STEPS]
    order = np.argsort(lines[:, :, 1].mean(axis=1), kind="stable")
    drawn = order[evenly(len(order), LINES)]
    labels = fit.labels
    with theme.drawing(ax, height=4.3) as (panel,):
        alpha = float(np.clip(40 / len(drawn), 0.3, 0.9))
        told = labels_of(clusters[drawn], lines[drawn])
        theme.draw_lines(panel, list(lines[drawn]), told, colors=theme.BLUE, linewidths=1.0, alpha=alpha)
        if len(drawn) <= NAMED:
            name_lines(panel, lines[drawn], theme.shortened(list(clusters[drawn]), 24))
        theme.name_axes(panel, named(x or str(predictor_of(fit)), labels), named(fit.spec.response_name, labels))
        every = "every cluster" if len(drawn) == len(order) else f"{len(drawn)} of {counted(len(order))} clusters"
        subtitle = f"Line of {every} over its own range; other predictors as they are in the cluster. {shape(lines)}"
        response = fit.spec.response_name
        title = f"{labels.get(response) or response} by {labels.get(fit.group) or fit.group}: fitted lines"
        return theme.entitle([panel], title, subtitle, own=ax is None)


def labels_of(clusters: Iterable[object], lines: np.ndarray[tuple[int, int, int], np.dtype[np.float64]]) -> list[str]:
    """What each line says: its cluster, and its first and last point."""
    x, fitted = lines[:, [0, -1], 0], lines[:, [0, -1], 1]
    return theme.told(clusters, {"fitted": (fitted[:, 0], fitted[:, 1]), "for": (x[:, 0], x[:, 1])})


def shape(lines: np.ndarray[tuple[int, int, int], np.dtype[np.float64]]) -> str:
    """Whether the lines (J, steps, 2) are parallel, in words."""
    run = lines[:, -1, 0] - lines[:, 0, 0]
    slopes = (lines[:, -1, 1] - lines[:, 0, 1])[run > 0] / run[run > 0]
    if len(slopes) == 0:
        return ""
    if np.ptp(slopes) <= 1e-8 * max(np.abs(slopes).max(), 1e-300):
        return "The lines are parallel: only the level differs between clusters."
    return f"Slopes range from {number(slopes.min(), decimals=2)} to {number(slopes.max(), decimals=2)}."


def name_lines(panel: "Axes", lines: np.ndarray[tuple[int, int, int], np.dtype[np.float64]], names: list[str]) -> None:
    """Write the names of a few clusters at the ends of their lines."""
    low, high = panel.get_ylim()
    step = LETTER * (high - low)
    order = np.argsort(lines[:, -1, 1], kind="stable")
    heights = lines[order, -1, 1]
    # from below, each at least a letter's height above the one before; then all shifted back by half of what they rose
    apart = np.maximum.accumulate(heights - step * np.arange(len(heights))) + step * np.arange(len(heights))
    apart -= (apart - heights).max() / 2.0
    apart = np.maximum.accumulate(apart - step * np.arange(len(heights))) + step * np.arange(len(heights))
    right = float(lines[:, -1, 0].max())
    reach = right - float(lines[:, 0, 0].min())
    for k, height in zip(order, apart, strict=True):
        panel.annotate(
            names[k], lines[k, -1], (right + 0.03 * reach, height), textcoords="data", va="center", fontsize=8,
            color=theme.INK, arrowprops={"arrowstyle": "-", "color": theme.PALE, "linewidth": 0.7, "shrinkB": 1},
        )  # fmt: skip
    widest = max(theme.width_of(name, 8) for name in names)
    panel.set_xlim(right=right + reach * (0.05 + 1.2 * widest / theme.WIDTH))
