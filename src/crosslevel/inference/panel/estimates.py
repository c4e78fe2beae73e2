"""What every panel estimator finds."""

from dataclasses import dataclass, field

from crosslevel.inference.panel.regression import PanelRegression
from crosslevel.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class PanelEstimates:
    """Coefficients of a panel estimator.

    Attributes
    ----------
    names : of the coefficients.
    beta : (p,).
    sigma : standard deviation of the errors of the regression that was solved.
    n_rows : rows of that regression: observations, groups or differences.
    df_residual : its residual degrees of freedom.
    rss : its residual sum of squares.
    r_squared, adj_r_squared : share of its outcome's sum of squares, and variance, that is explained.
    """

    names: tuple[str, ...]
    beta: FloatArray = field(repr=False)
    sigma: float
    n_rows: int
    df_residual: float
    rss: float
    r_squared: float
    adj_r_squared: float

    def __post_init__(self) -> None:
        self.beta.setflags(write=False)

    @classmethod
    def of(cls, regression: PanelRegression, names: tuple[str, ...]) -> "PanelEstimates":
        """Those of a least-squares regression on transformed rows."""
        return cls(
            names=names, beta=regression.beta, sigma=regression.sigma2**0.5, n_rows=regression.products.n_rows,
            df_residual=regression.df_residual, rss=regression.rss, r_squared=regression.r_squared,
            adj_r_squared=regression.adj_r_squared,
        )  # fmt: skip
