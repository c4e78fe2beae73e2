"""How precisely each of several models estimates one coefficient: focused mean squared errors.

A model with a wrong covariance of its random effects still estimates the coefficients without bias: GLS is linear in y,
with weights that do not depend on y but through the estimated variances. What differs is the variance. With V_M the
covariance that model M estimates, and V one that is taken for true, that of the maximal model,

    beta_M = (X'V_M^-1 X)^-1 X'V_M^-1 y,
    Var(beta_M) = (X'V_M^-1 X)^-1 (X'V_M^-1 V V_M^-1 X) (X'V_M^-1 X)^-1.

By Gauss and Markov nothing beats V_M = V there. Against that stands the price of the parameters: V_M's are estimated,
and with few clusters many of them cost more than they bring. The growth-curve factor f(s_M) is that price, s_M being
the number of coefficients that model M adjusts the target for:

    variance_M = Var(c'beta_M) f(s_M),    f(s) = m / (m - s) (m - 1) / (m - s - 1).

In the limit of large clusters choosing M is choosing the regressors of the growth-curve model. With V_M for V,
variance_M would be RSS_M / ((m - s)(m - s - 1)) times what all models share: Sp, the estimated error of predicting with
a subset of random regressors. The V of the maximal model also tells what it costs to hold a slope constant that varies.

The bias against the maximal model is zero in expectation, unless coefficients vary in ways that no model has. It is
estimated by beta_M - beta_maximal, whose variance under V is the difference of the two variances (Hausman), and

    mse_M = variance_M + max(0, (beta_M - beta_maximal)^2 - Var(beta_M - beta_maximal)).

Source: Claeskens & Hjort (2003), J. Am. Stat. Assoc. 98: 900-916, for the focus and the floor; Breiman & Freedman
(1983), J. Am. Stat. Assoc. 78: 131-136, for Sp; `growth_curve` for f.
"""

from dataclasses import dataclass

import numpy as np

from crosslevel.design.reduced import Reduced
from crosslevel.types import FloatArray

ENOUGH = 20
"""Bootstrap refits, of which there must be at least so many for a variance."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Components:
    """Covariance of the rows of a model with one grouping factor, V = sigma^2 (I + Z Lambda Lambda' Z').

    Attributes
    ----------
    factor : (q, r) Lambda, in the units of the data; zero rows for effects that do not vary.
    sigma : residual standard deviation, in units of the outcome.
    """

    factor: FloatArray
    sigma: float


def gls_covariance(reduced: Reduced, used: Components, truth: Components) -> FloatArray:
    """Covariance (p, p) of the coefficients that GLS with one V estimates if another is true.

    In cluster g, with Z = Q R and X = Q c + what is outside the span of Z, V is Q H Q' + (I - QQ'), H = I + R Psi R',
    relative to sigma^2. So with D = H_used^-1 c, and r the remainder of X'X,

        X'V_used^-1 X = sum c'D + r,    X'V_used^-1 V V_used^-1 X = sum D'H_truth D + r.

    Parameters
    ----------
    reduced : cross-products of a model whose random effects include those of both.
    used, truth : covariance in the weights, and of the data.
    """
    own = _root_products(reduced, used)
    times, image = reduced.multiplicity, reduced.image[:, :, :-1]
    rest = reduced.remainder[:-1, :-1]
    weighted = np.linalg.solve(np.eye(own.shape[1]) + own @ own.transpose(0, 2, 1), image)
    gram = np.einsum("g,gka,gkb->ab", times, image, weighted) + rest
    spread = _root_products(reduced, truth).transpose(0, 2, 1) @ weighted
    middle = np.einsum("g,gka,gkb->ab", times, weighted, weighted) + rest
    middle = middle + np.einsum("g,gka,gkb->ab", times, spread, spread)
    back = truth.sigma / reduced.coordinates.scale[-1] * np.linalg.solve(gram, reduced.coordinates.beta_map.T)
    return np.asarray(back.T @ middle @ back)


def _root_products(reduced: Reduced, components: Components) -> FloatArray:
    """R T Lambda (J, q, r) of each cluster, in working coordinates."""
    return np.asarray(reduced.root @ (reduced.basis @ components.factor))


@dataclass(frozen=True, kw_only=True, eq=False)
class FocusedError:
    """Estimated mean squared error of one combination of coefficients, as one model estimates it.

    Attributes
    ----------
    bias : its estimate less the maximal model's.
    bias_variance : variance of that difference under the maximal model's covariance.
    variance : of the estimate under the maximal model's covariance, with the price of estimated variances.
    """

    bias: float
    bias_variance: float
    variance: float

    @property
    def squared_bias(self) -> float:
        """Square of the bias less its variance, 0 at least."""
        return max(0.0, self.bias**2 - self.bias_variance)

    @property
    def mse(self) -> float:
        """Variance + squared bias."""
        return self.variance + self.squared_bias


def resampled_errors(estimate: FloatArray, draws: FloatArray, reference: FloatArray) -> FocusedError:
    """The error by bootstrap: variance of a model's replicates, and of their difference from the maximal model's.

    Parameters
    ----------
    estimate : (2,) of the model and of the maximal model.
    draws, reference : (B,) replicates of both, of the same draws; NaN for a refit that failed.

    Returns
    -------
    error : NaN where fewer than `ENOUGH` draws could be refitted.
    """
    good = np.isfinite(draws) & np.isfinite(reference)
    if np.count_nonzero(good) < ENOUGH:
        return FocusedError(bias=float(estimate[0] - estimate[1]), bias_variance=np.nan, variance=np.nan)
    return FocusedError(
        bias=float(estimate[0] - estimate[1]),
        bias_variance=float(np.var(draws[good] - reference[good], ddof=1)),
        variance=float(np.var(draws[good], ddof=1)),
    )
