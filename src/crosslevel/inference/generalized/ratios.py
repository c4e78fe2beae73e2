"""Ratios of odds, rates or hazards: of coefficients, between clusters, and of coefficients beside clusters.

On a logit, log or complementary log-log scale exp(beta) is a ratio between rows of the same cluster that differ by one
unit. Between clusters, with v the variance of the linear predictor over clusters,

    median ratio     exp(sqrt(2 v) z_.75)                 of the higher to the lower of two random clusters
    interval ratio   exp(beta -/+ z_((1 + share) / 2) sqrt(2 v))   of two random clusters that differ by a unit of x
    opposite         Phi(-|beta| / sqrt(2 v))             share of such pairs whose ratio is on the other side of 1

Source: Larsen & Merlo (2005), Am. J. Epidemiol. 161: 81-88; Merlo et al. (2006), J. Epidemiol. Community Health 60:
290-297; Austin, Stryhn, Leckie & Merlo (2018), Stat. Med. 37: 572-589, for counts.
"""

import numpy as np
import pandas as pd

from crosslevel.inference.distributions import normal_quantile
from crosslevel.inference.varcomp import variance_interval
from crosslevel.types import FloatArray


def exponentiated(table: pd.DataFrame) -> pd.DataFrame:
    """A coefficient table with exponentials: estimates and limits; standard errors by the delta method.

    The tests stay those of the coefficients, of the hypothesis that the ratio is one.

    Parameters
    ----------
    table : estimate, std_error, df, statistic, p_value, conf_low, conf_high by term.

    Examples
    --------
    >>> import numpy as np
    >>> from crosslevel.inference.wald import coefficient_table
    >>> table = coefficient_table(("x",), np.log([2.0]), np.array([0.1]), np.array([np.inf]), level=0.95)
    >>> exponentiated(table).round(3).loc["x", ["estimate", "std_error", "conf_low", "conf_high"]].tolist()
    [2.0, 0.2, 1.644, 2.433]
    """
    out = table.copy()
    with np.errstate(over="ignore"):  # an infinite ratio is what a huge coefficient says
        out[["estimate", "conf_low", "conf_high"]] = np.exp(table[["estimate", "conf_low", "conf_high"]])
    out["std_error"] = out["estimate"] * table["std_error"]
    return out


def median_ratio(variance: float, std_error: float, *, level: float) -> tuple[float, float, float, float]:
    """Median ratio of two random clusters, its standard error and interval; the interval is that of the log variance.

    Parameters
    ----------
    variance, std_error : v and its standard error.
    level : confidence level.

    Examples
    --------
    >>> [round(value, 3) for value in median_ratio(0.5, 0.1, level=0.95)]
    [1.963, 0.132, 1.741, 2.272]
    """

    def ratio(v: float) -> float:
        with np.errstate(over="ignore"):
            return float(np.exp(np.sqrt(2.0 * v) * normal_quantile(0.75)))

    low, high = variance_interval(variance, std_error, level)
    estimate = ratio(variance)
    slope = normal_quantile(0.75) / np.sqrt(2.0 * variance) if variance > 0.0 else np.nan
    return estimate, float(estimate * slope * std_error), ratio(low), ratio(high)


def interval_ratios(beta: FloatArray, variance: float, *, share: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Ends (m,) of interval ratios, and shares (m,) of pairs of clusters whose ratio is on the other side of one.

    Parameters
    ----------
    beta : (m,) coefficients of variables of clusters.
    variance : v.
    share : of the pairs of clusters that the interval holds.

    Examples
    --------
    >>> import numpy as np
    >>> low, high, opposite = interval_ratios(np.array([0.5]), 0.2, share=0.8)
    >>> low.round(3).tolist(), high.round(3).tolist(), opposite.round(3).tolist()
    ([0.733], [3.708], [0.215])
    """
    from scipy.special import ndtr

    spread = np.sqrt(2.0 * variance)
    half = normal_quantile(0.5 + 0.5 * share) * spread
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        opposite = np.where(beta == 0.0, 0.5, ndtr(-np.abs(beta) / spread))
        return np.exp(beta - half), np.exp(beta + half), np.asarray(opposite)
