"""Quantiles and tails of the reference distributions.

scipy.special is imported when one of them is first asked for: it takes longer to import than a model to fit.
"""

import numpy as np

from crosslevel.types import FloatArray


def normal_quantile(probability: float) -> float:
    """Quantile of the standard normal distribution."""
    from scipy.special import ndtri

    return float(ndtri(probability))


def t_quantile(probability: float, df: FloatArray) -> FloatArray:
    """Quantile of Student's t; of the normal where `df` is infinite; NaN where it is NaN."""
    from scipy.special import ndtri, stdtrit

    finite = np.where(np.isfinite(df), df, 1.0)
    out = np.where(np.isinf(df), ndtri(probability), stdtrit(finite, probability))
    return np.where(np.isnan(df), np.nan, out)


def two_sided_p(statistic: FloatArray, df: FloatArray) -> FloatArray:
    """P(|T| >= |statistic|) under Student's t with `df` degrees of freedom (infinite: normal; NaN: NaN)."""
    from scipy.special import stdtr

    large = np.where(np.isfinite(df), df, 1e300)
    return np.where(np.isnan(df), np.nan, 2.0 * stdtr(large, -np.abs(statistic)))


def chi_square_tail(df: float, statistic: FloatArray | float) -> FloatArray:
    """P(X >= statistic) under chi-square with `df` degrees of freedom; all mass is at zero for `df` = 0."""
    from scipy.special import chdtrc

    value = np.asarray(statistic, dtype=np.float64)
    return np.asarray(chdtrc(df, value)) if df > 0 else np.asarray(value <= 0.0, dtype=np.float64)


def f_tail(df_num: float, df_den: float, statistic: float) -> float:
    """P(F >= statistic) under F with these degrees of freedom; df_den infinite: chi-square / df_num; NaN: NaN."""
    from scipy.special import fdtrc

    if np.isnan(df_den) or np.isnan(statistic):
        return np.nan
    if np.isinf(df_den):
        return float(chi_square_tail(df_num, df_num * statistic))
    return float(fdtrc(df_num, df_den, max(statistic, 0.0)))


def f_quantile(df_num: float, df_den: float, probability: FloatArray) -> FloatArray:
    """Quantiles of F with these degrees of freedom."""
    from scipy.special import fdtri

    return np.asarray(fdtri(df_num, df_den, probability))
