"""The distribution of varying coefficients: the normal curve of the model, and where each cluster is."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from scipy.special import ndtr

from crosslevel.display import counted, number, percent
from crosslevel.errors import CrosslevelError
from crosslevel.report.figures import theme
from crosslevel.report.figures.subject import chosen, effects_in, linear_only
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from crosslevel.estimators.mixed import MixedFit

POINTS = 201
"""Values along a curve."""

REACH = 3.2
"""Standard deviations to either side that a curve is drawn."""

WIDEST = 2
"""Panels side by side."""

RUG = 0.09
"""Height of the clusters' marks, as a share of the curve's."""


def slopes_distribution_data(
    fit: "MixedFit",
    terms: str | Sequence[str] | None = None,
    *,
    group: str | None = None,
    moderators: Literal["mean", "own"] = "mean",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the normal curve of each varying coefficient, and the clusters' own coefficients.

    Curve of term k: the normal density with the mean and standard deviation of the coefficient over clusters,
    gamma_k and tau_k. Own: gamma_k plus the conditional mode of the cluster, which is shrunken: they spread less.

    Parameters
    ----------
    fit : a fitted linear mixed model.
    terms : the coefficients, one or several; all slopes if None, or the intercept where it varies alone.
    group : the grouping factor; the first if None.
    moderators : see `MixedFit.heterogeneity`: at the average of the moderators, or with what they explain.

    Returns
    -------
    curves : term, x, density (NaN where the standard deviation is zero), and below, the share of clusters below x.
    own : the clusters' coefficients, a column for each term.

    Raises
    ------
    CrosslevelError : an unknown term or group, nothing varies, or a model of another family.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> curves, own = slopes_distribution_data(fit)
    >>> round(float(np.trapezoid(curves["density"], curves["x"])), 3), own.shape
    (0.999, (18, 1))
    """
    frame, own = _coefficients(fit, terms, group, moderators)
    parts = []
    for term, mean, sd in zip(frame.index, frame["mean"], frame["sd"], strict=True):
        ends = _ends(float(mean), float(sd), own[term].to_numpy())
        x = np.linspace(*ends, POINTS)
        with np.errstate(divide="ignore", invalid="ignore"):
            place = (x - mean) / sd
            density = np.exp(-0.5 * place**2) / (sd * np.sqrt(2.0 * np.pi))
        known = sd > 0.0
        parts.append(
            pd.DataFrame(
                {
                    "term": term,
                    "x": x,
                    "density": density if known else np.nan,
                    "below": ndtr(place) if known else (x >= mean).astype(float),
                }
            )
        )
    return pd.concat(parts, ignore_index=True), own


def slopes_distribution(
    fit: "MixedFit",
    terms: str | Sequence[str] | None = None,
    *,
    group: str | None = None,
    moderators: Literal["mean", "own"] = "mean",
    ax: "Axes | None" = None,
) -> "Figure":
    """Draw the normal curve of each varying coefficient, with a mark for each cluster's own under it.

    Parameters
    ----------
    fit : a fitted linear mixed model.
    terms : the coefficients, one or several; all slopes if None, or the intercept where it varies alone.
    group : the grouping factor; the first if None.
    moderators : see `MixedFit.heterogeneity`.
    ax : axes to draw one coefficient into; a new figure if None.

    Raises
    ------
    CrosslevelError : see `slopes_distribution_data`; or axes for several coefficients.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> figure = slopes_distribution(fit)
    """
    curves, own = slopes_distribution_data(fit, terms, group=group, moderators=moderators)
    frame, _ = _coefficients(fit, terms, group, moderators)
    names = list(frame.index)
    if ax is not None and len(names) > 1:
        raise CrosslevelError(f"`ax` takes one coefficient, and these are {len(names)}. Name one by `terms`.")
    columns = min(len(names), WIDEST)
    rows = -(-len(names) // columns)
    height = 3.4 if rows == 1 else 2.3 * rows
    with theme.drawing(ax, height=height, rows=rows, columns=columns, share="none") as panels:
        for panel, term in zip(panels, names, strict=False):
            _draw(panel, curves[curves["term"] == term], frame.loc[term], own[term], alone=len(names) == 1)
        for panel in panels[len(names) :]:
            panel.set_axis_off()
        where = theme.name_axes if len(panels) == 1 else theme.name_figure
        what = f"Coefficient of {names[0]}" if len(names) == 1 else "Coefficient"
        where(panels[0], what, "")
        name = str(own.index.name)
        title = f"How {f'the coefficient of {names[0]} differs' if len(names) == 1 else 'coefficients differ'} by "
        title += fit.labels.get(name) or name
        return theme.entitle(panels, title, words(frame, own, fit, moderators), own=ax is None)


def words(frame: pd.DataFrame, own: pd.DataFrame, fit: "MixedFit", moderators: str) -> str:
    """What is drawn; of one coefficient its numbers too."""
    told = ""
    if len(frame) == 1:
        mean, sd, opposite = (float(frame.iloc[0][name]) for name in ("mean", "sd", "opposite"))
        told = f"Mean {number(mean)}, SD {number(sd)}"
        told += f"; the sign is the other one in {_share(opposite)} of clusters. " if sd > 0.0 else ". "
    found = fit.heterogeneity(str(own.index.name)).moderators
    at = ""
    if any((str(own.index.name), str(term)) in found for term in frame.index):
        at = " At the average of the moderators." if moderators == "mean" else " With what moderators explain."
    flat = " Without a curve: the model has the same coefficient in all clusters." if (frame["sd"] == 0.0).any() else ""
    return (
        f"{told}Curve: the normal distribution of the model; hatched where the sign is the other one. Marks: "
        f"{counted(len(own))} clusters' own coefficients, shrunken towards the mean: they spread less.{at}{flat}"
    )


def _share(value: float) -> str:
    """A share, which is not nothing where it is small."""
    return "under 1%" if 0.0 < value < 0.005 else percent(value, decimals=0)


def _coefficients(
    fit: "MixedFit", terms: str | Sequence[str] | None, group: str | None, moderators: Literal["mean", "own"]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Mean, SD and share of the other sign by term, and the clusters' own coefficients."""
    linear_only(
        fit, "slopes_distribution", "coefficients of linear models", "Use cl.plot.caterpillar(fit, term)."
    )  # fmt: skip
    found = fit.heterogeneity(group, moderators=moderators)
    group = next(iter(found.own))
    effects = effects_in(fit, group)
    wanted = [term for term in effects if term != "Intercept"] or list(effects)
    if terms is not None:
        wanted = [chosen("terms", term, effects) for term in ([terms] if isinstance(terms, str) else terms)]
    if not wanted:
        raise CrosslevelError(f"`terms` is empty. Name some of {', '.join(effects)}, or leave it out.")
    frame = found.frame.reindex([(group, term) for term in wanted]).droplevel("group")
    return frame, found.own[group][wanted]


def _ends(mean: float, sd: float, own: FloatArray) -> tuple[float, float]:
    """Ends of a curve that holds the clusters' own too."""
    low, high = min(mean - REACH * sd, float(own.min())), max(mean + REACH * sd, float(own.max()))
    room = 0.0 if high > low else max(abs(mean), 1.0)
    return low - room, high + room


def _draw(panel: "Axes", curve: pd.DataFrame, row: pd.Series, own: "pd.Series[float]", *, alone: bool) -> None:
    """One coefficient: curve, mean, zero, the other sign's part, and the clusters' marks under it."""
    x, density = curve["x"].to_numpy(), curve["density"].to_numpy()
    mean, sd = float(row["mean"]), float(row["sd"])
    top = float(density.max()) if sd > 0.0 else 1.0
    if sd > 0.0:
        panel.fill_between(x, 0.0, density, color=theme.BLUE, alpha=0.13, linewidth=0)
        other = x * np.sign(mean) <= 0.0
        panel.fill_between(
            x, 0.0, density, where=list(other), facecolor="white", edgecolor=theme.ORANGE, hatch="////", linewidth=0
        )
        panel.plot(x, density, color=theme.BLUE, linewidth=1.8)
    panel.vlines(mean, 0.0, top, colors=theme.BLUE, linewidth=1.2)
    if x[0] <= 0.0 <= x[-1]:
        panel.axvline(0.0, color=theme.INK, linewidth=0.9)
    panel.axhline(0.0, color=theme.GREY, linewidth=0.8)
    _draw_clusters(panel, own, top)
    panel.set_ylim(-(RUG + 0.05) * top, 1.08 * top)
    panel.set_yticks([])
    panel.spines["left"].set_visible(False)
    panel.grid(visible=False, axis="y")
    if not alone:
        numbers = f"SD {number(sd)}, {_share(float(row['opposite']))} other sign" if sd > 0.0 else "SD 0"
        heading = f"{theme.fitted(str(row.name), 3.1, 9.0)}\n{numbers}"
        panel.set_title(heading, loc="left", fontsize=9, color=theme.INK, parse_math=False)


def _draw_clusters(panel: "Axes", own: "pd.Series[float]", top: float) -> None:
    """A mark under the curve for each cluster."""
    places = own.to_numpy(dtype=float)
    ends = np.array([[-RUG * top], [-0.015 * top]])
    alpha = float(np.clip(60 / max(len(places), 1), 0.12, 0.9))
    segments = [np.column_stack([np.full(2, place), ends]) for place in places]
    labels = theme.told(own.index, {"coefficient": places})
    theme.draw_lines(panel, segments, labels, colors=theme.INK, linewidths=1.0, alpha=alpha)
