"""Rows less a share theta_i of the mean of their group, by their cross-products.

    [X~ y~]'[X~ y~] = sum_i S_i + (1 - theta_i)^2 n_i m_i m_i'

with the scatters S_i and means m_i of the groups: theta = 0 gives pooled, theta = 1 within, and shares between them
random-effects regressions, exactly so for groups of any sizes.
"""

from dataclasses import dataclass, field

import numpy as np

from crosslevel.design import CrossProducts
from crosslevel.design.coordinates import Coordinates
from crosslevel.inference.panel.panel import Panel
from crosslevel.inference.panel.regression import PanelRegression, TransformedProducts, regress
from crosslevel.inference.panel.transformed import RowMaker, TransformedRows
from crosslevel.types import FloatArray, IntArray


def quasi_demeaned(products: CrossProducts, columns: IntArray, constant: int, theta: FloatArray) -> TransformedProducts:
    """Cross-products of rows less shares of their groups' means.

    Parameters
    ----------
    products : by group, the outcome last.
    columns : (p,) positions of the columns of X.
    constant : position of the intercept, -1 if there is none.
    theta : (J,) shares.
    """
    own = np.append(columns, len(products.names) - 1)
    found = np.flatnonzero(columns == constant)
    intercept = int(found[0]) if len(found) else -1
    n, level, left = products.count, products.mean[:, own] + products.origin[own], 1.0 - theta
    weights = left**2 * n
    shift = np.zeros(len(own))
    if intercept >= 0:  # measured from the origin, means far from zero cost no digits
        shift = products.origin[own] + weights @ products.mean[:, own] / weights.sum()
        shift[intercept] = 0.0
        level = products.mean[:, own] - (shift - products.origin[own])
    scatter = products.scatter[:, own[:, None], own]
    size = np.einsum("jaa->a", scatter) + weights @ level**2
    scale = np.sqrt(size / n.sum())
    scale = np.where(scale > 0.0, scale, 1.0)
    if intercept >= 0:
        scale[intercept] = 1.0
    gram = scatter + weights[:, None, None] * level[:, :, None] * level[:, None, :]
    coordinates = Coordinates(shift=shift, scale=scale, removed=np.zeros(len(columns)), intercept=intercept)
    total = float(size[-1])
    if intercept >= 0:  # about the mean of the transformed outcome, which is weighted otherwise than the shift is
        y = products.mean[:, own[-1]] + products.origin[own[-1]]
        y = y - np.sum(n * left * y) / np.sum(n * left)
        total = float(np.einsum("j->", scatter[:, -1, -1]) + weights @ y**2 - np.sum(n * left * y) ** 2 / n.sum())
    return TransformedProducts(
        columns=columns, gram=gram / np.outer(scale, scale), coordinates=coordinates, counts=n.astype(np.int64),
        absorbed=0, total=total, total_df=float(n.sum()) - float(intercept >= 0),
    )  # fmt: skip


def quasi_regression(panel: Panel, theta: FloatArray) -> PanelRegression:
    """Regress rows less shares (J,) of their groups' means."""
    products = quasi_demeaned(panel.products, panel.design.x, panel.design.constant, theta)
    return regress(products, "rows", QuasiRows(panel=panel, columns=products.columns, theta=theta))


def pooled_regression(panel: Panel) -> PanelRegression:
    """Regress the rows as they are."""
    return quasi_regression(panel, np.zeros(panel.n_groups))


def group_residuals(panel: Panel, regression: PanelRegression) -> FloatArray:
    """(J,) means of y - x'beta in each group, with the coefficients of a regression that may have an intercept."""
    products, columns = panel.products, regression.products.columns
    own, contrast = np.append(columns, panel.response), np.append(-regression.beta, 1.0)
    level = (products.origin + products.grand_mean)[own] @ contrast
    return np.asarray(level + (products.mean - products.grand_mean)[:, own] @ contrast)


@dataclass(frozen=True, kw_only=True, eq=False)
class QuasiRows(RowMaker):
    """Rows less shares of their groups' means.

    Attributes
    ----------
    panel, columns : the rows, and the positions of the wanted columns.
    theta : (J,) shares.
    """

    panel: Panel = field(repr=False)
    columns: IntArray
    theta: FloatArray = field(repr=False)

    def rows(self) -> TransformedRows:
        """The transformed rows."""
        products, codes = self.panel.products, self.panel.groups.codes
        own = np.append(self.columns, self.panel.response)
        rows = self.panel.rows(own)
        rows -= (self.theta[:, None] * (products.origin + products.mean)[:, own]).T[:, codes]
        return TransformedRows(x=rows[:-1], y=rows[-1], codes=codes)
