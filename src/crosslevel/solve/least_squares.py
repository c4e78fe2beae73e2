"""Ordinary (or weighted) least squares from the cross-products of all rows."""

from dataclasses import dataclass, field

import numpy as np

from crosslevel.design.coordinates import Coordinates
from crosslevel.design.crossing import Crossing
from crosslevel.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class LeastSquares:
    """A linear regression, y = X beta + e, Var(e) = sigma^2 / w.

    Attributes
    ----------
    beta : (p,) coefficients.
    unscaled : (p, p) (X'W X)^-1.
    rss : residual sum of squares, weighted.
    sigma : residual standard deviation, sqrt(rss / (n - p)).
    n_rows : n.
    deviance : -2 log-likelihood at the maximum, where sigma^2 is rss / n.
    coordinates : in which coordinates it was solved.
    working_beta, working_unscaled : beta and (X'W X)^-1 there.
    """

    beta: FloatArray
    unscaled: FloatArray
    rss: float
    sigma: float
    n_rows: float
    deviance: float
    coordinates: Coordinates = field(repr=False)
    working_beta: FloatArray = field(repr=False)
    working_unscaled: FloatArray = field(repr=False)

    @property
    def vcov(self) -> FloatArray:
        """(p, p) covariance of the coefficients if rows are independent and alike."""
        return self.unscaled * self.sigma**2


def least_squares(crossing: Crossing) -> LeastSquares:
    """Solve the normal equations X'W X beta = X'W y in working coordinates by Cholesky factorisation.

    Columns there have mean 0 and standard deviation 1, and a first regression has been taken out of y, so that squaring
    X costs no digits but those that nearly collinear predictors cost anyway.

    Parameters
    ----------
    crossing : cross-products of a model without random effects, whose columns are independent.
    """
    coordinates, p, n = crossing.coordinates, crossing.p, crossing.n_rows
    chol = np.linalg.cholesky(crossing.gram)
    half = np.linalg.inv(chol[:-1, :-1])
    working = half.T @ chol[-1, :-1]
    turned = coordinates.beta_map @ half.T
    rss = float(chol[-1, -1] ** 2 * coordinates.scale[-1] ** 2)
    out = LeastSquares(
        beta=coordinates.coefficients(working),
        unscaled=turned @ turned.T / coordinates.scale[-1] ** 2,
        rss=rss,
        sigma=float(np.sqrt(rss / (n - p))),
        n_rows=n,
        deviance=float(n * (1.0 + np.log(2.0 * np.pi * rss / n)) - crossing.log_weight),
        coordinates=coordinates,
        working_beta=working,
        working_unscaled=half.T @ half,
    )
    for array in (out.beta, out.unscaled):
        array.setflags(write=False)
    return out
