"""The between regression: means of groups.

    ybar_i = alpha + xbar_i' beta + (alpha_i - alpha + ebar_i)

Unweighted it is the textbook's; weighted by rows it is the part of pooled least squares that compares groups, whose
residuals the variances of unbalanced random-effects models are estimated from.

Source: Baltagi (2021), Econometric Analysis of Panel Data, 6th ed., sections 2.3 and 9.2.
"""

from dataclasses import dataclass, field

import numpy as np

from crosslevel.design.coordinates import Coordinates
from crosslevel.errors import DesignError
from crosslevel.inference.cluster_means import differs_between
from crosslevel.inference.panel.panel import Panel
from crosslevel.inference.panel.regression import (
    PanelRegression,
    TransformedProducts,
    correlations,
    independent,
    regress,
)
from crosslevel.inference.panel.transformed import RowMaker, TransformedRows
from crosslevel.types import FloatArray, IntArray


def between_regression(
    panel: Panel, *, weighted: bool = False, instead: str = "compare rows within groups with cl.fixed_effects"
) -> tuple[PanelRegression, tuple[str, ...]]:
    """Regress on means of groups.

    Columns whose means are the same in all groups are left out with those that earlier ones determine.

    Parameters
    ----------
    panel : the rows.
    weighted : whether a group counts as often as it has rows.
    instead : what to do with too few groups, for the message.

    Returns
    -------
    regression : of the columns whose means are no linear combinations of earlier ones.
    aliased : names of the others.

    Raises
    ------
    DesignError : not more groups than coefficients.
    """
    products = between_products(panel, panel.design.x, weighted=weighted)
    gram = correlations(products.pooled[:-1, :-1])
    flat = np.isin(panel.design.x, same_between(panel, panel.design.x))
    gram[flat] = gram[:, flat] = 0.0  # rounding, which is no predictor
    kept, dropped = independent(gram)
    if panel.n_groups <= len(kept):
        raise DesignError(
            f"`formula` has {len(kept)} coefficients for {panel.n_groups} groups of {panel.groups.name}, whose means "
            f"are all that is compared. Drop predictors, or {instead}."
        )
    if len(dropped):
        products = between_products(panel, panel.design.x[kept], weighted=weighted)
    maker = BetweenRows(panel=panel, columns=products.columns, weighted=weighted)
    return regress(products, "group means", maker), panel.names(panel.design.x[dropped])


def same_between(panel: Panel, columns: IntArray) -> IntArray:
    """Those of some columns whose group means are the same, but for rounding; zero, without an intercept."""
    slopes = columns[columns != panel.design.constant]
    differs = differs_between(panel.products, slopes.tolist(), about_mean=panel.has_intercept)
    return np.asarray(slopes[~differs])


def between_products(panel: Panel, columns: IntArray, *, weighted: bool) -> TransformedProducts:
    """Cross-products of group means, each times the root of its weight."""
    own = np.append(columns, panel.response)
    weights = panel.products.count if weighted else np.ones(panel.n_groups)
    mean = panel.products.mean[:, own]
    place = np.flatnonzero(columns == panel.design.constant)
    intercept = int(place[0]) if len(place) else -1
    shift = weights @ mean / weights.sum() if intercept >= 0 else -panel.products.origin[own]
    scale = np.sqrt(weights @ (mean - shift) ** 2 / weights.sum())
    shift, scale = shift.copy(), np.where(scale > 0.0, scale, 1.0)
    if intercept >= 0:
        shift[intercept], scale[intercept] = -panel.products.origin[own][intercept], 1.0
    working = (mean - shift) / scale * np.sqrt(weights)[:, None]
    coordinates = Coordinates(
        shift=panel.products.origin[own] + shift if intercept >= 0 else np.zeros(len(own)), scale=scale,
        removed=np.zeros(len(columns)), intercept=intercept,
    )  # fmt: skip
    total = float(np.sum(working[:, -1] ** 2) * scale[-1] ** 2)
    return TransformedProducts(
        columns=columns, gram=working[:, :, None] * working[:, None, :], coordinates=coordinates,
        counts=np.ones(panel.n_groups, dtype=np.int64), absorbed=0, total=total,
        total_df=panel.n_groups - float(intercept >= 0),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class BetweenRows(RowMaker):
    """Means of groups, times the root of their weight.

    Attributes
    ----------
    panel, columns : the rows, and the positions of the wanted columns.
    weighted : whether a group counts as often as it has rows.
    """

    panel: Panel = field(repr=False)
    columns: IntArray
    weighted: bool

    def rows(self) -> TransformedRows:
        """One row for each group."""
        means = self.means()
        if self.weighted:
            means = means * np.sqrt(self.panel.products.count)
        return TransformedRows(x=means[:-1], y=means[-1], codes=np.arange(self.panel.n_groups, dtype=np.int32))

    def means(self) -> FloatArray:
        """(p + 1, J) means of [X y] in each group."""
        own = np.append(self.columns, self.panel.response)
        return np.asarray((self.panel.products.origin + self.panel.products.mean)[:, own].T)
