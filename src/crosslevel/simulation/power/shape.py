"""How the precision of an effect depends on the design: which variance stays, and the degrees of freedom."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from crosslevel.inference.distributions import normal_quantile, t_quantile
from crosslevel.simulation.power.closed_forms import std_error, unaveraged_share
from crosslevel.types import FloatArray

Kind = Literal["context", "interaction", "slope", "intercept", "rows", "component"]

KINDS: dict[Kind, str] = {
    "context": "effect of a variable of clusters on the intercept",
    "interaction": "cross-level interaction: effect of a variable of clusters on a slope that varies",
    "slope": "average of a slope that varies between clusters",
    "intercept": "average of the intercept",
    "rows": "effect that is the same in all clusters",
    "component": "variance between clusters",
}
"""What effects are, in words."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How the signal of one effect grows with clusters and rows, up to a factor.

    Attributes
    ----------
    kind : see `KINDS`.
    effect : its assumed size; of a component the standard deviation.
    tau : standard deviation of the coefficient of the clusters to whose equation it belongs; 0 for kind "rows".
    sigma : residual standard deviation.
    spread : standard deviation within clusters of the variable whose slope it is; 1 for the intercept.
    predictors : Q of m-l-1, predictors in that equation.
    coefficients : p, all of the model.
    normal : whether quantiles are those of the normal distribution.
    level : confidence level of the test.
    """

    kind: Kind
    effect: float
    tau: float
    sigma: float
    spread: float = 1.0
    predictors: int = 0
    coefficients: int = 1
    normal: bool = False
    level: float = 0.95

    @property
    def share(self) -> float:
        """Share of the coefficient's variance in a cluster of one row that more rows do not average away."""
        return unaveraged_share(self.tau, self.sigma, self.spread)

    def signal(self, clusters: FloatArray | float, size: FloatArray | float, effect: FloatArray | float) -> FloatArray:
        """Effect over its standard error, by the closed form for balanced designs, up to a factor.

        For a component it is sqrt((J - 1) / 2) log(1 + n tau^2 s^2 / sigma^2): the logarithm of the ratio of mean
        squares over its standard error.
        """
        j, n, size_of_effect = np.asarray(clusters, float), np.asarray(size, float), np.abs(np.asarray(effect, float))
        if self.kind == "component":
            ratio = n * (size_of_effect * self.spread / self.sigma) ** 2
            return np.asarray(np.sqrt(np.maximum(j - 1.0, 0.0) / 2.0) * np.log1p(ratio))
        return np.asarray(size_of_effect / std_error(j, n, tau=self.tau, sigma=self.sigma, spread=self.spread))

    def df(self, clusters: FloatArray | float, size: FloatArray | float) -> FloatArray:
        """Degrees of freedom by m-l-1; infinite for components and z tests; at least 1."""
        j, n = np.broadcast_arrays(np.asarray(clusters, float), np.asarray(size, float))
        if self.normal or self.kind == "component":
            return np.full(j.shape, np.inf)
        counted = j * n - self.coefficients if self.kind == "rows" else j - self.predictors - 1.0
        return np.asarray(np.maximum(counted, 1.0))

    def critical(self, clusters: FloatArray | float, size: FloatArray | float) -> tuple[FloatArray, FloatArray]:
        """Critical value, and the factor sqrt(1 + t^2 / (2 df)) by which estimating the variance blunts the test."""
        df = self.df(clusters, size)
        if self.kind == "component":
            return np.full(df.shape, normal_quantile(self.level)), np.ones(df.shape)
        value = t_quantile(0.5 + self.level / 2.0, df)
        return value, np.asarray(np.sqrt(1.0 + value**2 / (2.0 * df)))

    @property
    def fewest_clusters(self) -> int:
        """With which there is a test."""
        return self.coefficients + 1 if self.kind == "rows" else max(2, self.predictors + 2)
