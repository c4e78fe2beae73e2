"""Estimates averaged over models, with the uncertainty about the model in their standard errors.

Model k has the estimate b_k, with variance v_k and d_k degrees of freedom, and the weight w_k. Then

    b = sum w_k b_k,    Var(b) = sum w_k (v_k + (b_k - b)^2),

and intervals have the half-width sqrt(sum w_k (t_k^2 v_k + z^2 (b_k - b)^2)), t_k and z being quantiles of Student's
t with d_k degrees of freedom and of the normal distribution.

Source: Buckland, Burnham & Augustin (1997), Biometrics 53: 603-618; Burnham & Anderson (2002), Model Selection and
Multimodel Inference, 2nd ed., sec. 4.3.
"""

from dataclasses import dataclass

import numpy as np

from crosslevel.inference.distributions import normal_quantile, t_quantile
from crosslevel.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Average:
    """An averaged estimate.

    Attributes
    ----------
    estimate, std_error : in units of the coefficient.
    low, high : ends of the interval.
    """

    estimate: float
    std_error: float
    low: float
    high: float


def smoothed_weights(values: FloatArray) -> FloatArray:
    """Weights (M,) proportional to exp(-value / 2), none for NaN.

    Examples
    --------
    >>> import numpy as np
    >>> smoothed_weights(np.array([100.0, 100.0, np.nan])).tolist()
    [0.5, 0.5, 0.0]
    """
    known = ~np.isnan(values)
    raw = np.zeros(len(values))
    raw[known] = np.exp(-0.5 * (values[known] - np.min(values[known])))
    return np.asarray(raw / raw.sum())


def averaged(
    estimates: FloatArray, std_errors: FloatArray, df: FloatArray, weights: FloatArray, *, level: float
) -> Average:
    """Average of the estimates of one coefficient.

    Parameters
    ----------
    estimates, std_errors, df : (M,) of each model; models without weight may have NaN.
    weights : (M,), which sum to 1.
    level : of the interval.

    Examples
    --------
    >>> import numpy as np
    >>> many = np.full(2, np.inf)
    >>> found = averaged(np.array([1.0, 3.0]), np.zeros(2), many, np.array([0.5, 0.5]), level=0.95)
    >>> found.estimate, found.std_error
    (2.0, 1.0)
    """
    some = weights > 0.0
    b, v, w = estimates[some], std_errors[some] ** 2, weights[some]
    estimate = float(w @ b)
    apart = (b - estimate) ** 2
    upper = 0.5 + 0.5 * level
    quantiles = t_quantile(upper, df[some])
    half = float(np.sqrt(w @ (quantiles**2 * v + normal_quantile(upper) ** 2 * apart)))
    return Average(
        estimate=estimate, std_error=float(np.sqrt(w @ (v + apart))), low=estimate - half, high=estimate + half
    )
