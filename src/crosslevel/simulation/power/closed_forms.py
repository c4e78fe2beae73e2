"""Standard errors, power and cheapest designs of balanced two-level designs in closed form.

J clusters of n rows each, y = X beta + Z b + e, residual standard deviation sigma. An effect belongs to the equation of
some coefficient of the clusters, whose variance is tau^2 (the intercept's for a context effect, a slope's for a
cross-level interaction, zero where the slope is held constant). A cluster by itself knows its coefficient with variance
tau^2 + sigma^2 / (n s^2), s^2 being 1 for the intercept and the predictor's variance within clusters for a slope. So

    Var(estimate) = (tau^2 + sigma^2 / (n s^2)) / (J v),

v being the variance of the context variable, or 1 for the mean of the coefficient itself. With the share of the
variance that cannot be averaged away by more rows, r = tau^2 / (tau^2 + sigma^2 / s^2), this is a multiple of
1 / (J m), where m = n / (1 + (n - 1) r) is the effective size of a cluster (Kish's design effect; r is the ICC for a
context effect). With c_J the cost of a cluster and c_n that of a row, J m is largest for a given cost where

    n = sqrt(c_J / c_n (1 - r) / r),

whatever the budget. Sizes that vary with coefficient of variation cv cost 1 - cv^2 l (1 - l) of the information, where
l = n r / (n r + 1 - r) is the reliability of a cluster's coefficient.

Sources: Snijders & Bosker (1993), J. Educ. Stat. 18: 237-259; Raudenbush (1997), Psychol. Methods 2: 173-185;
Kish (1965), Survey Sampling, sec. 5.4; van Breukelen, Candel & Berger (2007), Stat. Med. 26: 2589-2603.
"""

import numpy as np

from crosslevel.inference.distributions import t_quantile
from crosslevel.types import FloatArray

SURE = 37.0
"""Noncentrality beyond which power is 1: fewer than 2 degrees of freedom aside, no critical value is near it."""


def t_power(noncentrality: FloatArray | float, df: FloatArray | float, *, level: float = 0.95) -> FloatArray:
    """Power of the two-sided t test, P(|T| > t) for noncentral T.

    Parameters
    ----------
    noncentrality : effect over its standard error.
    df : degrees of freedom; infinite for the normal distribution, NaN where there are none.
    level : confidence level of the interval that must exclude zero.

    Examples
    --------
    >>> float(t_power(2.8, np.inf).round(3)), float(t_power(0.0, 13.0).round(3))
    (0.8, 0.05)
    """
    from scipy.special import nctdtr, ndtr

    ncp, freedom = np.broadcast_arrays(np.abs(np.asarray(noncentrality, float)), np.asarray(df, float))
    critical = t_quantile(0.5 + level / 2.0, freedom)
    finite, near = np.where(np.isfinite(freedom), freedom, 1.0), np.minimum(ncp, SURE)
    exact = 1.0 - nctdtr(finite, near, critical) + nctdtr(finite, near, -critical)
    limit = ndtr(ncp - critical) + ndtr(-ncp - critical)
    out = np.where(np.isinf(freedom), limit, np.where(ncp >= SURE, 1.0, exact))
    return np.asarray(np.where(np.isnan(freedom), np.nan, out))


def unaveraged_share(tau: float, sigma: float, spread: float = 1.0) -> float:
    """Share r of a cluster coefficient's variance that more rows do not average away.

    Parameters
    ----------
    tau : standard deviation of the coefficient between clusters.
    sigma : residual standard deviation.
    spread : standard deviation of the predictor within clusters; 1 for the intercept, where r is the ICC.

    Examples
    --------
    >>> round(unaveraged_share(0.1**0.5, 0.9**0.5), 3)
    0.1
    """
    return tau**2 / (tau**2 + (sigma / spread) ** 2)


def effective_size(size: FloatArray | float, share: float) -> FloatArray:
    """Rows of a cluster, less what their dependence costs: n / (1 + (n - 1) r).

    Examples
    --------
    >>> effective_size(np.array([1.0, 10.0, 1500.0]), 0.1).round(2).tolist()
    [1.0, 5.26, 9.94]
    """
    n = np.asarray(size, float)
    return np.asarray(n / (1.0 + (n - 1.0) * share))


def std_error(
    clusters: FloatArray | float,
    size: FloatArray | float,
    *,
    tau: float,
    sigma: float,
    spread: float = 1.0,
    context_sd: float = 1.0,
    cv: float = 0.0,
) -> FloatArray:
    """Standard error of an effect on one of the clusters' coefficients, the variances being known.

    Parameters
    ----------
    clusters, size : J and n, the mean size where sizes vary.
    tau : standard deviation of the coefficient: of the intercept for a context effect, of the slope for the mean slope
        and its cross-level interactions, 0 if it is the same in all clusters.
    sigma : residual standard deviation.
    spread : standard deviation within clusters of the predictor whose slope it is; 1 for the intercept.
    context_sd : root of the mean square about the mean of the context variable, sqrt(p (1 - p)) for a share p of
        clusters with the value 1 rather than 0; 1 for the mean of the coefficient.
    cv : coefficient of variation of the clusters' sizes (second-order approximation).

    Examples
    --------
    >>> float(std_error(30, 1500, tau=0.1**0.5, sigma=0.9**0.5).round(4))
    0.0579
    """
    n, noise = np.asarray(size, float), (sigma / spread) ** 2
    reliability = n * tau**2 / (n * tau**2 + noise)
    information = np.asarray(clusters, float) * context_sd**2 / (tau**2 + noise / n)
    return np.asarray(1.0 / np.sqrt(information * (1.0 - cv**2 * reliability * (1.0 - reliability))))


def width(error: FloatArray | float, df: FloatArray | float, *, level: float = 0.95) -> FloatArray:
    """Mean width of intervals, 2 t E(estimated standard error).

    The squared estimate is distributed as SE^2 chi2(df) / df, so that the mean of its root is SE sqrt(2 / df)
    Gamma((df + 1) / 2) / Gamma(df / 2): a few percent less than SE.

    Examples
    --------
    >>> float(width(1.0, np.inf).round(2)), float(width(1.0, 8.0).round(2))
    (3.92, 4.47)
    """
    from scipy.special import gammaln

    freedom = np.asarray(df, float)
    finite = np.where(np.isfinite(freedom), freedom, 1.0)
    shrunk = np.exp(gammaln((finite + 1.0) / 2.0) - gammaln(finite / 2.0)) * np.sqrt(2.0 / finite)
    mean = np.where(np.isfinite(freedom), shrunk, 1.0)
    return np.asarray(2.0 * t_quantile(0.5 + level / 2.0, freedom) * mean * np.asarray(error, float))


def cheapest_size(cost_cluster: float, cost_person: float, share: float) -> float:
    """Rows per cluster with which a given precision costs least, sqrt(c_J / c_n (1 - r) / r); infinite if r is 0.

    Parameters
    ----------
    cost_cluster, cost_person : of another cluster, and of another row in a cluster, in the same currency.
    share : r, the share of the coefficient's variance that more rows do not average away; the ICC for context effects.

    Examples
    --------
    >>> round(cheapest_size(20_000, 20, 0.1))
    95
    """
    return float(np.sqrt(cost_cluster / cost_person * (1.0 - share) / share)) if share > 0.0 else np.inf


def clusters_within_budget(budget: float, size: float, cost_cluster: float, cost_person: float) -> float:
    """Clusters of a size that a budget pays for, not rounded."""
    return budget / (cost_cluster + cost_person * size)
