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
from crosslevel.inference.panel.panel import Panel
from crosslevel.inference.panel.refusals import refuse_constant
from crosslevel.inference.panel.regression import (
    PanelRegression,
    TransformedProducts,
    correlations,
    independent,
    regress,
)
from crosslevel.inference.panel.transformed import RowMaker, TransformedRows
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
    return _solved(panel, varying_columns(panel))


def varying_regression(panel: Panel) -> PanelRegression:
    """The within regression of those columns that vary within groups, which may be none.

    Raises
    ------
    DesignError : the outcome does not vary within groups.
    """
    constant = panel.constant_in_groups(panel.slopes)
    columns = np.array([j for j in panel.slopes if panel.products.names[j] not in constant], dtype=np.int64)
    _require_variation(panel)
    return _solved(panel, columns)[0]


def _solved(panel: Panel, columns: IntArray) -> tuple[PanelRegression, tuple[str, ...]]:
    """The regression of those columns that earlier ones do not determine within groups, and the names of the others."""
    pooled = panel.products.within
    kept, dropped = independent(correlations(pooled[np.ix_(columns, columns)]))
    products = within_products(panel, columns[kept], panel.products.scatter, pooled)
    maker = WithinRows(panel=panel, columns=products.columns)
    return regress(products, "rows less group means", maker), panel.names(columns[dropped])


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
    columns = panel.slopes
    if not len(columns):
        raise DesignError("`formula` has no predictors, so that there is nothing to estimate within groups. Add some.")
    _require_variation(panel)
    refuse_constant(panel, columns)
    return columns


def _require_variation(panel: Panel) -> None:
    """Refuse groups of one row each, and an outcome that does not vary within groups.

    Raises
    ------
    DesignError : see above.
    """
    group = panel.groups.name
    require_repeats(panel)
    if panel.constant_in_groups(np.array([panel.response])):
        raise DesignError(
            f"`formula` explains {panel.products.names[panel.response]!r}, which does not vary within {group}. Compare "
            "groups instead: cl.between, or cl.ols of group means."
        )


def require_repeats(panel: Panel) -> None:
    """Refuse groups of one row each.

    Raises
    ------
    DesignError : no group has two rows.
    """
    if not np.any(panel.sizes > 1):
        raise DesignError(
            f"`group` names {panel.groups.name!r}, of which each value occurs in one row: nothing varies within groups."
            " Name the column of what was observed repeatedly."
        )


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
