"""The least-squares regression that a panel estimator runs on transformed rows, from their cross-products by group.

Within, between, quasi-demeaned and differenced rows alike are regressed as y~ = X~ beta + e~. All that the estimates
and their cluster-robust covariances need of these rows are the cross-products [X~ y~]'[X~ y~] of each group.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from crosslevel.design.coordinates import Coordinates
from crosslevel.errors import DesignError
from crosslevel.inference.panel.transformed import RowMaker
from crosslevel.types import FloatArray, IntArray

ALIASED = 1e-10
"""Share of a transformed column's sum of squares that earlier ones must leave for it to have a coefficient."""

PRECISE = 1e-5
"""Share of the outcome's sum of squares below which residuals are squared one by one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TransformedProducts:
    """Cross-products of transformed rows by group, in working coordinates.

    Attributes
    ----------
    columns : (p,) positions of the columns of X~ in the design.
    gram : (J, p + 1, p + 1) [X~ y~]'[X~ y~] of each group in working coordinates.
    coordinates : those of [X~ y~].
    counts : (J,) transformed rows of each group.
    absorbed : coefficients that the transformation has taken out, which count as degrees of freedom.
    total : sum of squares of y~, about its mean where the regression has an intercept.
    total_df : degrees of freedom of `total`.
    """

    columns: IntArray
    gram: FloatArray = field(repr=False)
    coordinates: Coordinates = field(repr=False)
    counts: IntArray = field(repr=False)
    absorbed: int
    total: float
    total_df: float

    @property
    def n_rows(self) -> int:
        """Transformed rows."""
        return int(self.counts.sum())

    @cached_property
    def pooled(self) -> FloatArray:
        """(p + 1, p + 1) sum over the groups."""
        return np.asarray(self.gram.sum(axis=0))


@dataclass(frozen=True, kw_only=True, eq=False)
class PanelRegression:
    """Least squares on transformed rows.

    Attributes
    ----------
    products : cross-products of the rows.
    working_beta, working_unscaled : (p,) and (p, p), coefficients and (X~'X~)^-1 in working coordinates.
    beta, unscaled : the same in the units of the data.
    rss : residual sum of squares.
    df_residual : rows - coefficients - absorbed ones.
    """

    products: TransformedProducts = field(repr=False)
    working_beta: FloatArray = field(repr=False)
    working_unscaled: FloatArray = field(repr=False)
    beta: FloatArray
    unscaled: FloatArray = field(repr=False)
    rss: float
    df_residual: float

    @property
    def sigma2(self) -> float:
        """Residual variance, rss / df_residual."""
        return self.rss / self.df_residual

    @property
    def vcov(self) -> FloatArray:
        """(p, p) covariance of the coefficients if transformed errors are independent and alike."""
        return self.unscaled * self.sigma2

    @property
    def contrast(self) -> FloatArray:
        """(p + 1,) coefficients of working [X~ y~] that make the residuals."""
        return np.append(-self.working_beta, 1.0)

    @property
    def n_params(self) -> int:
        """Coefficients, effects taken out, and the residual variance."""
        return len(self.beta) + self.products.absorbed + 1

    @property
    def loglik(self) -> float:
        """Log-likelihood at its maximum, of transformed rows whose errors are normal, independent and alike."""
        n = self.products.n_rows
        return -0.5 * n * (1.0 + float(np.log(2.0 * np.pi * self.rss / n)))

    @property
    def r_squared(self) -> float:
        """1 - rss / total sum of squares of the transformed outcome."""
        return 1.0 - self.rss / self.products.total

    @property
    def adj_r_squared(self) -> float:
        """The same of variances, each with its degrees of freedom."""
        return 1.0 - (1.0 - self.r_squared) * self.products.total_df / self.df_residual


def correlations(gram: FloatArray) -> FloatArray:
    """Cross-products of columns scaled to length 1."""
    size = np.sqrt(np.diag(gram))
    scale = np.where(size > 0.0, size, 1.0)
    return np.asarray(gram / np.outer(scale, scale))


def independent(gram: FloatArray) -> tuple[IntArray, IntArray]:
    """Split p columns with cross-products `gram` (p, p) into those kept, and linear combinations of earlier ones."""
    rest, size = gram.copy(), np.diag(gram).copy()
    kept: list[int] = []
    dropped: list[int] = []
    for j in range(len(gram)):
        if size[j] == 0.0 or rest[j, j] <= ALIASED * size[j]:
            dropped.append(j)
        else:
            kept.append(j)
            rest = rest - np.outer(rest[:, j], rest[j]) / rest[j, j]
    return np.array(kept, dtype=np.int64), np.array(dropped, dtype=np.int64)


def regress(products: TransformedProducts, what: str, maker: RowMaker | None = None) -> PanelRegression:
    """Solve the normal equations of transformed rows by Cholesky factorisation.

    Parameters
    ----------
    products : cross-products of columns that are independent.
    what : the rows in words, for a message: "differences".
    maker : makes the rows; where the columns explain nearly all of the outcome, the residual sum of squares is summed
        over them, as it would else be the small difference of large sums.

    Raises
    ------
    DesignError : no residual degrees of freedom, or an outcome that the columns reproduce.
    """
    p = len(products.columns)
    df = products.n_rows - p - products.absorbed
    if df <= 0:
        taken = f" and {products.absorbed} effects" if products.absorbed else ""
        raise DesignError(
            f"`formula` has {p} coefficients{taken} for {products.n_rows} {what}, so that nothing is left to estimate "
            "their precision from. Drop predictors, or add rows."
        )
    pooled, coordinates = products.pooled, products.coordinates
    chol = np.linalg.cholesky(pooled[:-1, :-1])
    half = np.linalg.inv(chol)
    working = half.T @ (half @ pooled[:-1, -1])
    contrast = np.append(-working, 1.0)
    rss = float(contrast @ pooled @ contrast) * coordinates.scale[-1] ** 2
    if rss <= 1e-13 * pooled[-1, -1] * coordinates.scale[-1] ** 2:
        raise DesignError(
            f"`formula` reproduces the outcome exactly in the {what}: the residual variance is zero. Check for an "
            "outcome that is a function of the predictors."
        )
    beta = coordinates.coefficients(working)
    if maker is not None and rss < PRECISE * pooled[-1, -1] * coordinates.scale[-1] ** 2:
        rows = maker.rows()
        rss = float(np.sum((rows.y - beta @ rows.x) ** 2))
    turned = coordinates.beta_map @ half.T
    return PanelRegression(
        products=products, working_beta=working, working_unscaled=half.T @ half,
        beta=beta, unscaled=turned @ turned.T / coordinates.scale[-1] ** 2,
        rss=rss, df_residual=float(df),
    )  # fmt: skip
