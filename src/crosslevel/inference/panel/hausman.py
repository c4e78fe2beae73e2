"""Hausman's test: whether effects of groups go together with their predictors.

Classic, with coefficients b_w of the within and b_r of the random-effects regression of the same K predictors:

    (b_w - b_r)' (V_w - V_r)^-1 (b_w - b_r) ~ chi-square(K).

By an auxiliary regression, which is the same hypothesis and can have any covariance:

    y~_it = x~_it' b + (x_it - xbar_i)' d + e~_it,    d' V_d^-1 d ~ chi-square(K),

y~ and x~ being rows less theta_i of their group's mean. Its cross-products are those of the random-effects regression
bordered by the scatters of the groups, as the sums of deviations times means are zero.

Source: Hausman (1978), Econometrica 46: 1251-1271; Wooldridge (2010), Econometric Analysis of Cross Section and Panel
Data, 2nd ed., section 10.7.3; Arellano (1993), J. Econom. 59: 87-97.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from crosslevel.design import CrossProducts, Design
from crosslevel.design.coordinates import Coordinates
from crosslevel.errors import CrosslevelError
from crosslevel.inference.distributions import chi_square_tail
from crosslevel.inference.panel.quasi import quasi_demeaned
from crosslevel.inference.panel.regression import TransformedProducts
from crosslevel.inference.panel.transformed import RowMaker, TransformedRows
from crosslevel.types import CodeArray, FloatArray, IntArray

INDEFINITE = 1e-10
"""Smallest eigenvalue of V_w - V_r, relative to V_w, that counts as positive."""


@dataclass(frozen=True, kw_only=True, eq=False)
class WaldTest:
    """A chi-square test that K differences are zero."""

    statistic: float
    df: int
    p_value: float
    is_defined: bool = True


def classic_test(difference: FloatArray, within: FloatArray, efficient: FloatArray) -> WaldTest:
    """Test differences (K,) of coefficients with covariances V_w and V_r (K, K).

    Where V_w - V_r is not positive definite the statistic has no known distribution: `is_defined` is false, and below
    zero it has no p-value.
    """
    half = np.linalg.inv(np.linalg.cholesky(within))
    values, vectors = np.linalg.eigh(np.eye(len(difference)) - half @ efficient @ half.T)
    statistic = float(np.sum((vectors.T @ (half @ difference)) ** 2 / values))
    k = len(difference)
    p_value = float(chi_square_tail(k, statistic)) if statistic >= 0.0 else np.nan
    return WaldTest(statistic=statistic, df=k, p_value=p_value, is_defined=bool(values[0] > INDEFINITE))


def wald_test(estimate: FloatArray, vcov: FloatArray) -> WaldTest:
    """Test that coefficients (K,) with covariance (K, K) are zero."""
    scale = np.sqrt(np.diag(vcov))
    values, vectors = np.linalg.eigh(vcov / np.outer(scale, scale))
    if values[0] <= INDEFINITE:
        raise CrosslevelError(
            f"`vcov` gives the {len(estimate)} differences a covariance of lower rank: there are too few groups for "
            "them. Use vcov='iid', or fewer predictors."
        )
    statistic = float(np.sum((vectors.T @ (estimate / scale)) ** 2 / values))
    k = len(estimate)
    return WaldTest(statistic=statistic, df=k, p_value=float(chi_square_tail(k, statistic)))


def auxiliary_products(
    products: CrossProducts, columns: IntArray, constant: int, tested: IntArray, theta: FloatArray
) -> TransformedProducts:
    """Cross-products of [X~, X_tested - Xbar_tested, y~].

    Parameters
    ----------
    products : by group, the outcome last.
    columns : (p,) positions of the random-effects regression's columns.
    constant : position of the intercept, -1 if there is none.
    tested : (K,) positions of the predictors that vary within groups.
    theta : (J,) shares.
    """
    found = quasi_demeaned(products, columns, constant, theta)
    old, p, k = found.coordinates, len(columns), len(tested)
    own = np.append(columns, len(products.names) - 1)
    scale = np.sqrt(np.diag(products.within)[tested] / products.count.sum())
    border = products.scatter[:, tested[:, None], own] / np.outer(scale, old.scale)
    corner = products.scatter[:, tested[:, None], tested] / np.outer(scale, scale)
    gram = np.empty((len(found.gram), p + k + 1, p + k + 1))
    first, deviations = np.append(np.arange(p), p + k), np.arange(p, p + k)
    gram[:, first[:, None], first] = found.gram
    gram[:, deviations[:, None], first] = border
    gram[:, first[:, None], deviations] = border.transpose(0, 2, 1)
    gram[:, deviations[:, None], deviations] = corner
    coordinates = Coordinates(
        shift=np.concatenate([old.shift[:-1], np.zeros(k), old.shift[-1:]]),
        scale=np.concatenate([old.scale[:-1], scale, old.scale[-1:]]), removed=np.zeros(p + k),
        intercept=old.intercept,
    )  # fmt: skip
    return replace(found, columns=np.append(columns, tested), gram=gram, coordinates=coordinates)


@dataclass(frozen=True, kw_only=True, eq=False)
class AuxiliaryRows(RowMaker):
    """The rows of the auxiliary regression.

    Attributes
    ----------
    design : reads the rows again.
    products, codes : cross-products by group, and the group of each row.
    x, tested : positions of the random-effects regression's columns, and of the tested predictors.
    theta : (J,) shares.
    """

    design: Design = field(repr=False)
    products: CrossProducts = field(repr=False)
    codes: CodeArray = field(repr=False)
    x: IntArray
    tested: IntArray
    theta: FloatArray = field(repr=False)

    def rows(self) -> TransformedRows:
        """Rows less shares of group means, and deviations from group means."""
        columns = np.concatenate([block for block, _, _ in self.design.blocks()], axis=1)
        mean = (self.products.origin + self.products.mean).T[:, self.codes]
        shares = columns - self.theta[self.codes] * mean
        deviations = (columns - mean)[self.tested]
        return TransformedRows(x=np.vstack([shares[self.x], deviations]), y=shares[-1], codes=self.codes)
