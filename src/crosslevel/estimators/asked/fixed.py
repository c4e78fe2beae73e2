"""Tests and intervals of the fixed effects."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.inference.df import df_method
from crosslevel.inference.wald import coefficient_table

if TYPE_CHECKING:
    from crosslevel.estimators.mixed_fit import MixedFit


def coefficient_tests(fit: "MixedFit", ddf: str | None = None, *, level: float = 0.95) -> pd.DataFrame:
    """Coefficient table with the degrees of freedom, and the standard errors, of a method.

    Parameters
    ----------
    fit : the fitted model.
    ddf : a name in `crosslevel.inference.df.DF_METHODS`; that of the fit if None.
    level : confidence level.

    Returns
    -------
    frame indexed by term: estimate, std_error, df, statistic, p_value, conf_low, conf_high.

    Raises
    ------
    CrosslevelError : no such method, or it is not defined for this model.
    """
    estimates = fit.estimates
    found = df_method(fit.ddf if ddf is None else ddf).single(estimates, np.eye(len(estimates.beta)))
    return coefficient_table(fit.design.fixed_names, estimates.beta, found.std_error, found.df, level=level)


def tidy(fit: "MixedFit", *, level: float = 0.95) -> pd.DataFrame:
    """Coefficient table: estimate, std_error, df, statistic, p_value, conf_low, conf_high by term."""
    return coefficient_tests(fit, level=level)


def conf_int(fit: "MixedFit", level: float = 0.95, method: str | None = None) -> pd.DataFrame:
    """Confidence intervals of the coefficients; `method` names the degrees of freedom."""
    return coefficient_tests(fit, method, level=level)[["conf_low", "conf_high"]]
