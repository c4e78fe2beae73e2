"""Tests and intervals of the fixed effects."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.asked.profile import profile_intervals
from crosslevel.estimators.asked.robust import robust
from crosslevel.inference.df import AUTO, DfMethod, df_method, suited_method
from crosslevel.inference.wald import check_level, coefficient_table

if TYPE_CHECKING:
    from crosslevel.estimators.mixed_fit import MixedFit
    from crosslevel.inference.contrasts import Contrasts


def coefficient_tests(
    fit: "MixedFit", ddf: str | None = None, *, vcov: str | None = None, level: float = 0.95
) -> pd.DataFrame:
    """Coefficient table with the degrees of freedom, and the standard errors, of a method.

    Parameters
    ----------
    fit : the fitted model.
    ddf : degrees of freedom, as in `mixed`; those of the fit if None.
    vcov : a cluster-robust covariance, "CR0", "CR1", "CR1S", "CR2" or "CR3", with its own degrees of freedom, in place
        of `ddf`; see `fit.robust` for more of it.
    level : confidence level.

    Returns
    -------
    frame indexed by term: estimate, std_error, df, statistic, p_value, conf_low, conf_high.

    Raises
    ------
    CrosslevelError : no such method, or it is not defined for this model; `ddf` and `vcov` are both given.
    """
    if vcov is not None:
        refuse_both(ddf, vcov)
        return robust(fit, vcov).tests(level=level)
    method, estimates = method_of(fit, ddf), fit.estimates
    found = method.single(estimates, np.eye(len(estimates.beta)))
    return coefficient_table(fit.design.fixed_names, estimates.beta, found.std_error, found.df, level=level)


def refuse_both(ddf: str | None, vcov: str) -> None:
    """Refuse degrees of freedom beside a covariance that has its own.

    Raises
    ------
    CrosslevelError : both are given.
    """
    if ddf is not None:
        raise CrosslevelError(
            f"`ddf` is {ddf!r} and `vcov` is {vcov!r}, but a cluster-robust covariance has degrees of freedom of its "
            "own. Leave one of them out."
        )


def method_of(fit: "MixedFit", ddf: str | None) -> DfMethod:
    """The method of that name; that of the fit for None, the one that suits it for "auto"."""
    if ddf == AUTO:
        return df_method(suited_method(fit.estimates))
    return df_method(fit.ddf if ddf is None else ddf)


def tidy(fit: "MixedFit", *, level: float = 0.95) -> pd.DataFrame:
    """Coefficient table: estimate, std_error, df, statistic, p_value, conf_low, conf_high by term."""
    return coefficient_tests(fit, level=level)


def conf_int(fit: "MixedFit", level: float = 0.95, method: str | None = None) -> pd.DataFrame:
    """Confidence intervals of the coefficients.

    Parameters
    ----------
    fit : the fitted model.
    level : confidence level.
    method : a way of counting degrees of freedom (see `mixed`; that of the fit if None), a cluster-robust covariance
        such as "CR2" (see `fit.robust`), or "profile" (see `fit.profile`).
    """
    if method == "profile":
        low_high = profile_intervals(fit, check_level(level))
        return pd.DataFrame(low_high, columns=["conf_low", "conf_high"], index=fit.params.index)
    if method is not None and method.startswith("CR"):
        return coefficient_tests(fit, vcov=method, level=level)[["conf_low", "conf_high"]]
    return coefficient_tests(fit, method, level=level)[["conf_low", "conf_high"]]


def anova(fit: "MixedFit", *, type: int = 3, ddf: str | None = None) -> pd.DataFrame:
    """F tests of the terms of the fixed part.

    Type III tests compare, for a term that others contain (recipe, in recipe * temperature), means over cells of equal
    weight, however the categories are coded; type II adjusts each term for all those that do not contain it.

    Parameters
    ----------
    fit : the fitted model.
    type : 3 or 2.
    ddf : a name in `crosslevel.inference.df.DF_METHODS`, or "auto"; that of the fit if None.

    Returns
    -------
    frame indexed by term: df_num, df_den, statistic, p_value. A term of which nothing is left, because others determine
    its columns, has no degrees of freedom.

    Raises
    ------
    CrosslevelError : another type, no such method, or it is not defined for this model.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ C(Days) + (1 | Subject)", cl.datasets.load("sleepstudy"))
    >>> fit.anova(ddf="kenward-roger").round(2)
             df_num  df_den  statistic  p_value
    term
    C(Days)     9.0   153.0       18.7      0.0
    """
    from crosslevel.inference.hypotheses import terms_tested

    return terms_tested(fit.design, type, method_of(fit, ddf), fit.estimates)


def contrast(
    fit: "MixedFit", contrasts: "Contrasts", *, ddf: str | None = None, level: float = 0.95, joint: bool = False
) -> pd.DataFrame:
    """Linear combinations of the coefficients, each with its test, or all of them in one F test.

    Parameters
    ----------
    fit : the fitted model.
    contrasts : an expression such as "ses:sector[Catholic] - ses" or "(a + b) / 2", or several; weights by coefficient,
        {"a": 1, "b": -1}; several contrasts by name; a frame with a row for each and columns named by coefficients; or
        numbers (p,) or (m, p).
    ddf : a name in `crosslevel.inference.df.DF_METHODS`, or "auto"; that of the fit if None.
    level : confidence level.
    joint : whether to test that all of them are zero.

    Returns
    -------
    frame indexed by term: estimate, std_error, df, statistic, p_value, conf_low, conf_high; with `joint` one row:
    df_num (the rank of the contrasts), df_den, statistic, p_value.

    Raises
    ------
    CrosslevelError : contrasts that cannot be read, no such method, or it is not defined for this model.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> fit.contrast({"at day 5": "Intercept + 5 * Days"}, ddf="satterthwaite").round(2)
              estimate  std_error    df  statistic  p_value  conf_low  conf_high
    term
    at day 5    303.74       9.58  17.0       31.7      0.0    283.53     323.96
    """
    from crosslevel.inference.contrasts import Coefficients, contrast_matrix
    from crosslevel.inference.hypotheses import combinations_tested

    design, estimates = fit.design, fit.estimates
    coefficients = Coefficients.of(design.fixed_names, [design.spec.columns[j].factors for j in design.x])
    names, rows = contrast_matrix(contrasts, coefficients)
    return combinations_tested(names, rows, method_of(fit, ddf), estimates, level=level, joint=joint)
