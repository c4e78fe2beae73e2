"""Intraclass correlation and reliability."""

from dataclasses import dataclass

import numpy as np

from crosslevel.inference.distributions import normal_quantile
from crosslevel.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class IntraclassCorrelation:
    """Share of the variance that lies between clusters.

    Attributes
    ----------
    estimate : tau / (tau + sigma^2).
    std_error : by the delta method.
    conf_low, conf_high : interval on the logit scale.
    level : its confidence level.
    """

    estimate: float
    std_error: float
    conf_low: float
    conf_high: float
    level: float


def intraclass_correlation(
    tau: float, sigma2: float, *, tau_se: float, sigma2_se: float, covariance: float = 0.0, level: float = 0.95
) -> IntraclassCorrelation:
    """Intraclass correlation tau / (tau + sigma^2) with its standard error and interval.

    With rho the ICC, Var(rho) = [sigma^4 Var(tau) - 2 tau sigma^2 Cov + tau^2 Var(sigma^2)] / (tau + sigma^2)^4; the
    interval is expit(logit(rho) -/+ z se / (rho (1 - rho))), as Stata's `estat icc` has it.

    Parameters
    ----------
    tau, sigma2 : variance of the intercepts between clusters, and of the residuals.
    tau_se, sigma2_se, covariance : their standard errors and the covariance of the two estimates.
    level : confidence level.

    Examples
    --------
    >>> icc = intraclass_correlation(0.1390369, 0.8132404, tau_se=0.0479464, sigma2_se=0.0077943)
    >>> round(icc.estimate, 3), round(icc.std_error, 3)
    (0.146, 0.043)
    """
    total = tau + sigma2
    estimate = tau / total
    variance = (sigma2 * tau_se) ** 2 - 2.0 * tau * sigma2 * covariance + (tau * sigma2_se) ** 2
    std_error = float(np.sqrt(variance)) / total**2
    low = high = np.nan
    if 0.0 < estimate < 1.0 and np.isfinite(std_error):
        from scipy.special import expit, logit

        half = normal_quantile(0.5 + level / 2.0) * std_error / (estimate * (1.0 - estimate))
        low, high = (float(expit(logit(estimate) + side * half)) for side in (-1.0, 1.0))
    return IntraclassCorrelation(estimate=estimate, std_error=std_error, conf_low=low, conf_high=high, level=level)


def reliability(tau: FloatArray, sampling_variance: FloatArray) -> FloatArray:
    """Reliability of each cluster's coefficients, lambda_j = tau / (tau + v_j).

    Parameters
    ----------
    tau : (q,) variances of the random coefficients.
    sampling_variance : (J, q) v_j = sigma^2 [(Z_j'Z_j)^-1], NaN where a cluster cannot tell its coefficient.

    Returns
    -------
    (J, q).

    Source
    ------
    Raudenbush & Bryk (2002), equations 3.28 and 3.53.

    Examples
    --------
    >>> import numpy as np
    >>> sizes = np.array([[1829.0], [991.0]])
    >>> reliability(np.array([0.1390369]), 0.8132404 / sizes).round(4).ravel().tolist()
    [0.9968, 0.9941]
    """
    return np.asarray(tau / (tau + sampling_variance))


def sampling_variances(root: FloatArray, basis: FloatArray, sigma2: float) -> FloatArray:
    """Sampling variances (J, q) of each cluster's own least-squares coefficients, NaN where it has too few rows.

    Parameters
    ----------
    root : (J, q, q) R with R'R = Z'Z in working coordinates.
    basis : (q, q) T; working coefficients are T times those in the units of the data.
    sigma2 : residual variance.
    """
    out = np.full(root.shape[:2], np.nan)
    sizes = np.linalg.svd(root, compute_uv=False)
    able = sizes[:, -1] > 1e-7 * sizes[:, 0]
    inverse = np.linalg.inv(basis) @ np.linalg.inv(root[able])
    out[able] = sigma2 * np.einsum("gij,gij->gi", inverse, inverse)
    return out
