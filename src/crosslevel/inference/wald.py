"""Tests and intervals of single coefficients."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from crosslevel.errors import CrosslevelError
from crosslevel.inference.distributions import t_quantile, two_sided_p
from crosslevel.inference.estimates import Joint
from crosslevel.types import FloatArray


def check_level(level: float) -> float:
    """A confidence level strictly between 0 and 1.

    Raises
    ------
    CrosslevelError : anything else.
    """
    if not isinstance(level, float | int | np.number) or not 0.0 < level < 1.0:
        raise CrosslevelError(f"`level` is a probability between 0 and 1, such as 0.95; got {level!r}.")
    return level


def coefficient_table(
    terms: tuple[str, ...], estimate: FloatArray, std_error: FloatArray, df: FloatArray, *, level: float
) -> pd.DataFrame:
    """Coefficient table: estimate, standard error, df, t, p, and a confidence interval.

    Parameters
    ----------
    terms : names of the coefficients; the index.
    estimate, std_error, df : (p,).
    level : confidence level.
    """
    half = t_quantile(0.5 + check_level(level) / 2.0, df) * std_error
    statistic = np.divide(estimate, std_error, out=np.full_like(estimate, np.nan), where=std_error > 0.0)
    return pd.DataFrame(
        {
            "estimate": estimate,
            "std_error": std_error,
            "df": df,
            "statistic": statistic,
            "p_value": two_sided_p(statistic, df),
            "conf_low": estimate - half,
            "conf_high": estimate + half,
        },
        index=pd.Index(terms, name="term"),
    )


def joint_table(tests: Mapping[str, Joint]) -> pd.DataFrame:
    """F tests by name: df_num, df_den, statistic, p_value."""
    rows = {name: (test.df_num, test.df_den, test.statistic, test.p_value) for name, test in tests.items()}
    columns = ["df_num", "df_den", "statistic", "p_value"]
    values = np.array(list(rows.values()), dtype=np.float64).reshape(len(rows), len(columns))
    return pd.DataFrame(values, columns=columns, index=pd.Index(list(rows), name="term"))
