"""What partial pooling does: each cluster's own estimate, and where the model moves it."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.display import counted
from crosslevel.errors import CrosslevelError
from crosslevel.report.figures import theme
from crosslevel.report.figures.subject import chosen, evenly, linear_only
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from crosslevel.estimators.mixed import MixedFit

ARROWS = 400
NAMED = 45
"""Up to so many clusters have their names."""


def shrinkage_data(fit: "MixedFit") -> pd.DataFrame:
    """Return each cluster's random effects without pooling and with partial pooling.

    Without pooling, they are least squares within the cluster of what the fixed effects leave, on the columns of the
    random effects: b_j = (Z_j'Z_j)^-1 Z_j'(y_j - X_j beta). With partial pooling, they are the model's.

    Parameters
    ----------
    fit : a fitted mixed model.

    Returns
    -------
    frame: `cluster`, `term`, `rows`, `no_pooling` (NaN where the cluster alone does not determine it),
    `partial_pooling`.

    Raises
    ------
    CrosslevelError : the model has several grouping factors, or is of another family.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> shrinkage_data(fit).head(2).round(1).to_dict("list")["no_pooling"]
    [-7.2, 11.3]
    """
    linear_only(
        fit, "shrinkage", "least-squares estimates of clusters beside those of a linear model",
        "Use cl.plot.caterpillar(fit).",
    )  # fmt: skip
    if not fit.design.is_single:
        raise CrosslevelError(
            "`shrinkage` draws clusters on their own, which are those of one grouping factor; the model has "
            f"{', '.join(factor.name for factor in fit.design.factors)}. Use cl.plot.caterpillar(fit)."
        )
    partial = fit.ranef(se=False)[fit.group]
    q = partial.shape[1]
    return pd.DataFrame(
        {
            "cluster": partial.index.repeat(q),
            "term": np.tile(partial.columns.to_numpy(), len(partial)),
            "rows": fit.group_sizes.to_numpy().repeat(q),
            "no_pooling": unpooled(fit).ravel(),
            "partial_pooling": partial.to_numpy().ravel(),
        }
    )


def unpooled(fit: "MixedFit") -> FloatArray:
    """Least-squares random effects (J, q) of each cluster, from its cross-products; NaN where it has too few rows."""
    design, products = fit.design, fit.design.products
    effects = np.append(-fit.params.to_numpy(), 1.0)
    columns = np.append(design.x, len(products.names) - 1)
    # what the fixed effects leave, r = y - X beta, as one more column: its mean, and its scatter with Z
    means = products.origin + products.mean
    left_mean = means[:, columns] @ effects
    left_scatter = products.scatter[:, design.z[:, None], columns] @ effects
    Z = products.scatter[:, design.z[:, None], design.z]
    at = means[:, design.z]
    constant = np.flatnonzero(design.z == design.constant)
    if len(constant) == 0:
        Z = Z + products.count[:, None, None] * at[:, :, None] * at[:, None, :]
        return solved(Z, left_scatter + products.count[:, None] * at * left_mean[:, None])
    # with an intercept: slopes from the centred rows, and the intercept from the means
    slopes = np.flatnonzero(design.z != design.constant)
    out = np.empty(at.shape)
    out[:, slopes] = solved(Z[:, slopes[:, None], slopes], left_scatter[:, slopes])
    out[:, constant[0]] = left_mean - np.einsum("jk,jk->j", at[:, slopes], out[:, slopes])
    return out


def solved(matrices: FloatArray, right: FloatArray) -> FloatArray:
    """Solve (J, k, k) systems, NaN where a cluster's rows do not determine the solution."""
    out = np.full(right.shape, np.nan)
    if right.shape[1] == 0:
        return out
    size = np.sqrt(np.einsum("jkk->jk", matrices))
    able = (size > 0).all(axis=1)
    scaled = matrices[able] / size[able][:, :, None] / size[able][:, None, :]
    able[able] = np.linalg.eigvalsh(scaled)[:, 0] > 1e-8
    out[able] = np.linalg.solve(matrices[able], right[able][:, :, None])[:, :, 0]
    return out


def shrinkage(fit: "MixedFit", term: str | None = None, *, ax: "Axes | None" = None) -> "Figure":
    """Draw how partial pooling moves the clusters' own estimates towards the model's average.

    Parameters
    ----------
    fit : a fitted mixed model.
    term : one random effect, drawn as one line per cluster; if None and there are two or more, the first two are
        drawn against each other with an arrow per cluster.
    ax : axes to draw into; a new figure if None.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> figure = shrinkage(fit)
    """
    data = shrinkage_data(fit)
    terms = fit.design.random_names
    pair = list(terms[:2]) if term is None and len(terms) > 1 else [chosen("term", term, terms)]
    wide = data.pivot(index="cluster", columns="term", values=["no_pooling", "partial_pooling"])
    wide = wide[[(kind, name) for kind in ("no_pooling", "partial_pooling") for name in pair]]
    known = wide.dropna()
    drawn = known.iloc[evenly(len(known), ARROWS)] if len(known) else known
    lost = len(wide) - len(known)
    subtitle = (
        "Open: each cluster on its own, without pooling. Blue: partial pooling, the closer to zero, the less the "
        "cluster's own rows tell."
    )
    subtitle += "" if len(drawn) == len(known) else f" {len(drawn)} of {counted(len(known))} clusters."
    subtitle += f" {counted(lost)} clusters have too few rows to stand alone." if lost else ""
    with theme.drawing(ax, height=4.4) as (panel,):
        if len(pair) == 2:
            arrows(panel, drawn, pair)
        else:
            slopes(panel, drawn, pair[0])
        title = f"Shrinkage of the random effects by {fit.labels.get(fit.group) or fit.group}"
        return theme.entitle([panel], title, subtitle, own=ax is None)


def effect_name(term: str) -> str:
    """A random effect in words."""
    return "Random intercept" if term == "Intercept" else f"Random slope of {term}"


def labels(drawn: pd.DataFrame, terms: list[str]) -> list[str]:
    """What each cluster's mark says."""
    numbers = {
        f"{effect_name(term)}: {words}": drawn[kind, term]
        for term in terms
        for kind, words in (("no_pooling", "alone"), ("partial_pooling", "pooled"))
    }
    return theme.told(drawn.index, numbers)


def arrows(panel: "Axes", drawn: pd.DataFrame, pair: list[str]) -> None:
    """Two random effects against each other, a line from no pooling to partial pooling."""
    alone, pooled = drawn["no_pooling"][pair].to_numpy(), drawn["partial_pooling"][pair].to_numpy()
    size = float(np.clip(60 / np.sqrt(max(len(drawn), 1)), 2.4, 6))
    theme.draw_lines(panel, list(np.stack([alone, pooled], axis=1)), colors=theme.PALE, linewidths=0.8, zorder=1)
    panel.plot(*alone.T, "o", markerfacecolor="white", markeredgecolor=theme.GREY, markersize=size, zorder=2)
    (dots,) = panel.plot(*pooled.T, "o", color=theme.BLUE, markersize=size, markeredgewidth=0, zorder=3)
    theme.mark(dots, labels(drawn, pair))
    panel.axhline(0, color=theme.INK, linewidth=0.7)
    panel.axvline(0, color=theme.INK, linewidth=0.7)
    panel.set_xlim(*view(alone[:, 0], pooled[:, 0]))
    panel.set_ylim(*view(alone[:, 1], pooled[:, 1]))
    if len(drawn) <= NAMED:
        theme.name_points(panel, pooled[:, 0], pooled[:, 1], list(drawn.index), others=alone)
    theme.name_axes(panel, effect_name(pair[0]), effect_name(pair[1]))


def view(alone: FloatArray, pooled: FloatArray) -> tuple[float, float]:
    """Bounds of an axis that show all of the pooled effects, and all but the wildest of the others."""
    if len(alone) == 0:
        return -1.0, 1.0
    most = 1.5 * np.quantile(np.abs(alone), 0.95) + 1.5 * np.abs(pooled).max()
    low, high = float(max(alone.min(), -most)), float(min(alone.max(), most))
    low, high = min(low, float(pooled.min())), max(high, float(pooled.max()))
    room = 0.05 * (high - low) or 1.0
    return low - room, high + room


def slopes(panel: "Axes", drawn: pd.DataFrame, term: str) -> None:
    """One random effect, a line from left (no pooling) to right (partial pooling)."""
    ends = drawn[[("no_pooling", term), ("partial_pooling", term)]].to_numpy()
    segments = np.stack([np.broadcast_to([0.0, 1.0], ends.shape), ends], axis=2)
    alpha = float(np.clip(40 / max(len(drawn), 1), 0.3, 0.9))
    theme.draw_lines(panel, list(segments), colors=theme.PALE, linewidths=0.8, alpha=max(alpha, 0.5), zorder=1)
    size = float(np.clip(60 / np.sqrt(max(len(drawn), 1)), 2.4, 6))
    panel.plot(
        np.zeros(len(ends)), ends[:, 0], "o", markerfacecolor="white", markeredgecolor=theme.GREY, markersize=size
    )
    (dots,) = panel.plot(np.ones(len(ends)), ends[:, 1], "o", color=theme.BLUE, markersize=size, markeredgewidth=0)
    theme.mark(dots, labels(drawn, [term]))
    panel.axhline(0, color=theme.INK, linewidth=0.7)
    panel.set_xlim(-0.15, 1.15)
    panel.set_ylim(*view(*ends.T))
    panel.set_xticks([0, 1], ["no pooling", "partial pooling"])
    panel.grid(visible=False, axis="x")
    theme.name_axes(panel, "", effect_name(term))
