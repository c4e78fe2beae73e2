"""Residuals against the normal distribution and against fitted values."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import betaincinv, ndtri

from crosslevel.display import counted
from crosslevel.report.figures import theme
from crosslevel.report.figures.subject import evenly, linear_only, named
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from crosslevel.estimators.mixed import MixedFit

TAIL, MIDDLE, POINTS = 150, 700, 5000
BINS, SPAN = 120, 0.5


def residual_qq_data(fit: "MixedFit") -> pd.DataFrame:
    """Return sorted residuals in units of sigma beside normal quantiles.

    Parameters
    ----------
    fit : a fitted mixed model.

    Returns
    -------
    frame: `theoretical`, `sample`, and the 95 % band `low`, `high` of each order statistic of a normal sample.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> len(residual_qq_data(fit)) == fit.nobs
    True
    """
    linear_only(
        fit,
        "residual_qq",
        "residuals of normal distributions",
        "Use cl.plot.quantile_residuals(cl.quantile_residuals(fit)).",
    )
    sample = np.sort(np.asarray(fit.resid, dtype=float)) / fit.sigma
    n = len(sample)
    place = np.arange(1, n + 1)
    return pd.DataFrame(
        {
            "theoretical": ndtri((place - 0.5) / n),
            "sample": sample,
            "low": ndtri(betaincinv(place, n + 1 - place, 0.025)),
            "high": ndtri(betaincinv(place, n + 1 - place, 0.975)),
        }
    )


def residual_qq(fit: "MixedFit", *, ax: "Axes | None" = None) -> "Figure":
    """Draw the residuals against normal quantiles, with the band in which a normal sample would lie.

    Parameters
    ----------
    fit : a fitted mixed model.
    ax : axes to draw into; a new figure if None.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> figure = residual_qq(fit)
    """
    data = residual_qq_data(fit)
    n = len(data)
    # the tails whole, the middle thinned: it is a line anyway
    kept = np.unique(np.r_[np.arange(min(TAIL, n)), evenly(n, MIDDLE), np.arange(max(0, n - TAIL), n)])
    shown = data.iloc[kept]
    with theme.drawing(ax, width=5.6, height=4.6) as (panel,):
        panel.fill_between(shown["theoretical"], shown["low"], shown["high"], color=theme.PALE, alpha=0.45, linewidth=0)
        ends = np.array([data["theoretical"].iloc[0], data["theoretical"].iloc[-1]])
        panel.plot(ends, ends, color=theme.INK, linewidth=0.9)
        panel.plot(shown["theoretical"], shown["sample"], "o", color=theme.BLUE, markersize=3, markeredgewidth=0)
        theme.name_axes(panel, "Quantile of the normal distribution", "Residual (in units of sigma)")
        subtitle = f"{counted(n)} rows. Grey: where 95 % of normal samples would lie, point by point."
        return theme.entitle([panel], "Are the residuals normal?", subtitle, own=ax is None)


def residual_fitted_data(fit: "MixedFit") -> pd.DataFrame:
    """Return fitted values and residuals, row by row, with a smooth of the residuals.

    Parameters
    ----------
    fit : a fitted mixed model.

    Returns
    -------
    frame: `fitted`, `resid`, `smooth` (local linear regression over half of the rows at a time), `spread` (the
    same of the absolute residuals).

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> residual_fitted_data(fit).columns.tolist()
    ['fitted', 'resid', 'smooth', 'spread']
    """
    linear_only(
        fit,
        "residual_fitted",
        "residuals of normal distributions",
        "Use cl.plot.quantile_residuals(cl.quantile_residuals(fit)).",
    )
    fitted, resid = np.asarray(fit.fitted, dtype=float), np.asarray(fit.resid, dtype=float)
    return pd.DataFrame(
        {
            "fitted": fitted,
            "resid": resid,
            "smooth": smooth(fitted, resid),
            "spread": smooth(fitted, np.abs(resid)),
        }
    )


def smooth(x: FloatArray, y: FloatArray) -> FloatArray:
    """Local linear regression of y on x at every x, by way of the means of 120 bins of equally many rows."""
    order = np.argsort(x, kind="stable")
    bins = [part for part in np.array_split(order, min(BINS, len(order))) if len(part)]
    at = np.array([x[part].mean() for part in bins])
    mean = np.array([y[part].mean() for part in bins])
    weight = np.array([float(len(part)) for part in bins])
    near = max(3, int(np.ceil(SPAN * len(at))))
    heights = np.empty(len(at))
    for k, centre in enumerate(at):
        distance = np.abs(at - centre)
        reach = np.partition(distance, min(near, len(at)) - 1)[min(near, len(at)) - 1]
        local = weight * np.clip(1 - (distance / reach) ** 3, 0, None) ** 3 if reach > 0 else weight
        offset = at - centre
        s0, s1, s2 = local.sum(), local @ offset, local @ offset**2
        t0, t1 = local @ mean, local @ (offset * mean)
        determinant = s0 * s2 - s1 * s1
        heights[k] = (s2 * t0 - s1 * t1) / determinant if determinant > 1e-12 * s0 * s2 else t0 / s0
    return np.interp(x, at, heights)


def residual_fitted(fit: "MixedFit", *, ax: "Axes | None" = None) -> "Figure":
    """Draw residuals against fitted values, with a smooth of their level and of their spread.

    Parameters
    ----------
    fit : a fitted mixed model.
    ax : axes to draw into; a new figure if None.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> figure = residual_fitted(fit)
    """
    data = residual_fitted_data(fit)
    shown = data.iloc[np.sort(np.random.default_rng(1).permutation(len(data))[:POINTS])].sort_values("fitted")
    response = fit.spec.response_name
    with theme.drawing(ax, height=4.0) as (panel,):
        alpha = float(np.clip(400 / len(shown), 0.25, 0.8))
        panel.plot(
            shown["fitted"], shown["resid"], "o", color=theme.BLUE, alpha=alpha, markersize=2.8, markeredgewidth=0
        )
        panel.axhline(0, color=theme.INK, linewidth=0.9)
        panel.plot(shown["fitted"], shown["smooth"], color=theme.ORANGE, linewidth=2.2)
        for sign in (-1, 1):
            spread = sign * shown["spread"]
            panel.plot(shown["fitted"], spread, color=theme.ORANGE, linewidth=1.2, linestyle=(0, (4, 3)))
        theme.name_axes(panel, f"Fitted: {named(response, fit.labels)}", "Residual")
        some = "" if len(shown) == len(data) else f" {counted(len(shown))} of {counted(len(data))} rows, drawn by lot."
        subtitle = (
            "Thick: smooth of the residuals, which should be flat. Dashed: mean distance from zero, which should be "
            f"even.{some}"
        )
        return theme.entitle([panel], "Residuals and fitted values", subtitle, own=ax is None)
