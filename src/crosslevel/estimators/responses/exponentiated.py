"""Coefficients as ratios: exponentials of a coefficient table."""

import numpy as np
import pandas as pd

RATIOS = {"logit": "odds ratios", "log": "ratios of means", "cloglog": "hazard ratios"}
"""What exponentials of coefficients are, by link."""


def exponentiated(table: pd.DataFrame) -> pd.DataFrame:
    """exp(b) with its delta-method standard error, exp of the interval, and the tests of b.

    Parameters
    ----------
    table : a coefficient table: estimate, std_error, df, statistic, p_value, conf_low, conf_high by term.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.ols("Reaction ~ Days", cl.datasets.load("sleepstudy"))
    >>> round(float(exponentiated(fit.tidy() / 100).loc["Days", "estimate"]), 4)
    1.1103
    """
    ratio = np.exp(table["estimate"])
    limits = {name: np.exp(table[name]) for name in ("conf_low", "conf_high")}
    return table.assign(estimate=ratio, std_error=ratio * table["std_error"], **limits)
