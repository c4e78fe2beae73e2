"""The within regression: rows less the means of their groups.

    y_it - ybar_i = (x_it - xbar_i)' beta + e_it - ebar_i

Its cross-products are the scatters S_i of the groups. The effects of the groups follow:
alpha_i = ybar_i - xbar_i' beta.

Source: Baltagi (2021), Econometric Analysis of Panel Data, 6th ed., section 2.2.
"""

from dataclasses import dataclass

import numpy as np

from crosslevel.design.coordinates import Coordinates
from crosslevel.errors import DesignError
from crosslevel.inference.panel.covariance import RowMaker, TransformedRows
from crosslevel.inference.panel.panel import Panel
from crosslevel.inference.panel.regression import PanelRegression, TransformedProducts, independent, regress
from crosslevel.types import FloatArray, IntArray


def within_regression(panel: Panel) -> tuple[PanelRegression, tuple[str, ...]]:
    """Regress on rows less the means of their groups.

    Returns
    -------
    regression : of the columns that vary within groups.
    aliased : names of columns that are linear combinations of earlier ones within groups.

    Raises
    ------
    DesignError : a column does not vary within groups, or the outcome does not.
    """
    columns = varying_columns(panel)
    scatter = panel.products.scatter
    pooled = panel.products.within
    kept, dropped = independent(correlations(pooled[np.ix_(columns, columns)]))
    products = within_products(panel, columns[kept], scatter, pooled)
    return regress(products, "rows less group means"), panel.names(columns[dropped])


def correlations(gram: FloatArray) -> FloatArray:
    """Cross-products of columns scaled to length 1."""
    size = np.sqrt(np.diag(gram))
    scale = np.where(size > 0.0, size, 1.0)
    return gram / np.outer(scale, scale)


def within_products(panel: Panel, columns: IntArray, scatter: FloatArray, pooled: FloatArray) -> TransformedProducts:
    """Scatters (J, m, m) of the groups, with their sum `pooled`, of some columns and the outcome."""
    own = np.append(columns, panel.response)
    scale = np.sqrt(np.diag(pooled)[own] / panel.n_rows)
    coordinates = Coordinates(shift=np.zeros(len(own)), scale=scale, removed=np.zeros(len(columns)), intercept=-1)
    return TransformedProducts(
        columns=columns, gram=scatter[:, own[:, None], own] / np.outer(scale, scale), coordinates=coordinates,
        counts=panel.sizes, absorbed=panel.n_groups, total=float(pooled[-1, -1]),
        total_df=panel.n_rows - 1.0,
    )  # fmt: skip


def varying_columns(panel: Panel) -> IntArray:
    """The columns but the intercept, if all of them, and the outcome, vary within groups.

    Raises
    ------
    DesignError : one does not; or there are none.
    """
    columns, group = panel.slopes, panel.groups.name
    if not len(columns):
        raise DesignError("`formula` has no predictors, so that there is nothing to estimate within groups. Add some.")
    if not np.any(panel.sizes > 1):
        raise DesignError(
            f"`group` names {group!r}, of which each value occurs in one row: nothing varies within groups. Name the "
            "column of what was observed repeatedly."
        )
    fixed = panel.constant_in_groups(np.append(columns, panel.response))
    if panel.products.names[panel.response] in fixed:
        raise DesignError(
            f"`formula` explains {panel.products.names[panel.response]!r}, which does not vary within {group}. Compare "
            "groups instead: cl.between, or cl.ols of group means."
        )
    if fixed:
        one = len(fixed) == 1
        raise DesignError(
            f"`formula` has {', '.join(fixed)}, which {'does' if one else 'do'} not vary within {group}: the effects "
            f"of {group} absorb {'it' if one else 'them'}, and within groups nothing is left to estimate a coefficient "
            f"from. Drop {'it' if one else 'them'}; or use cl.random_effects, cl.hausman_taylor, or cl.mixed with the "
            "group means of the other predictors (Mundlak), which compare groups."
        )
    return columns


def group_effects(panel: Panel, regression: PanelRegression) -> FloatArray:
    """(J,) alpha_i = ybar_i - xbar_i' beta."""
    products, columns = panel.products, regression.products.columns
    level = products.origin[panel.response] - products.origin[columns] @ regression.beta
    return np.asarray(level + products.mean[:, panel.response] - products.mean[:, columns] @ regression.beta)


@dataclass(frozen=True, kw_only=True, eq=False)
class WithinRows(RowMaker):
    """Rows less the means of their groups.

    Attributes
    ----------
    panel, columns : the rows, and the positions of the wanted columns.
    """

    panel: Panel
    columns: IntArray

    def rows(self) -> TransformedRows:
        """Demeaned rows."""
        own = np.append(self.columns, self.panel.response)
        rows = self.panel.rows(own) - self.panel.products.origin[own, None]
        rows -= self.panel.products.mean[:, own].T[:, self.panel.groups.codes]
        return TransformedRows(x=rows[:-1], y=rows[-1], codes=self.panel.groups.codes)
