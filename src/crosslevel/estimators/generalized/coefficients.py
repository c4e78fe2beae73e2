"""Tests and intervals of coefficients, thresholds and shape parameters of generalized models."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from crosslevel.design import Design
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.asked.fixed import refuse_both
from crosslevel.families import Family
from crosslevel.inference.df import AUTO, DfMethod, df_method
from crosslevel.inference.distributions import normal_quantile
from crosslevel.inference.estimates import Estimates
from crosslevel.inference.wald import check_level, coefficient_table
from crosslevel.solve.generalized.solution import GeneralizedSolution
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit
    from crosslevel.inference.contrasts import Contrasts

COUNTED = ("normal", "between-within", "m-l-1", "residual")
"""Ways of counting degrees of freedom that need no residual variance, the first by default."""


def method_name(ddf: str) -> str:
    """Name of a way of counting degrees of freedom; "auto" is "normal".

    Raises
    ------
    CrosslevelError : one that is defined for linear models only, or none.

    Examples
    --------
    >>> method_name("auto")
    'normal'
    """
    if ddf == AUTO:
        return COUNTED[0]
    if ddf in COUNTED:
        return ddf
    df_method(ddf)
    raise CrosslevelError(
        f"`ddf` is {ddf!r}, which is derived from the normal distribution of a linear model's residuals; a model of "
        f"another family has none. Use one of {', '.join(map(repr, COUNTED))}: the first is the usual z test, "
        "'between-within' and 'm-l-1' are cautious where clusters are few."
    )


def estimates_of(design: Design, solution: GeneralizedSolution) -> Estimates:
    """What counted degrees of freedom look at: of the solution only beta and its covariance."""
    return Estimates(design=design, solution=cast(Any, solution), reml=False)


def method_of(fit: "GeneralizedFit", ddf: str | None) -> DfMethod:
    """The method of that name; that of the fit for None."""
    return df_method(fit.ddf if ddf is None else method_name(ddf))


def coefficient_tests(
    fit: "GeneralizedFit", ddf: str | None = None, *, vcov: str | None = None, level: float = 0.95
) -> pd.DataFrame:
    """Coefficient table with the degrees of freedom of a method.

    Parameters
    ----------
    fit : the fitted model.
    ddf : "normal", "between-within", "m-l-1" or "residual"; that of the fit if None. "auto" is "normal".
    vcov : a cluster-robust covariance such as "CR1", with its own degrees of freedom, in place of `ddf`; see
        `fit.robust` for more of it.
    level : confidence level.

    Returns
    -------
    frame indexed by term: estimate, std_error, df, statistic, p_value, conf_low, conf_high.

    Raises
    ------
    CrosslevelError : no such method, or one for linear models only; `ddf` and `vcov` are both given.
    """
    if vcov is not None:
        refuse_both(ddf, vcov)
        return fit.robust(vcov).tests(level=level)
    method, estimates = method_of(fit, ddf), fit.estimates
    found = method.single(estimates, np.eye(len(estimates.beta))[fit.terms])
    return coefficient_table(fit.term_names, estimates.beta[fit.terms], found.std_error, found.df, level=level)


def tidy(fit: "GeneralizedFit", *, level: float = 0.95) -> pd.DataFrame:
    """Coefficient table: estimate, std_error, df, statistic, p_value, conf_low, conf_high by term."""
    return fit.tests(level=level)


def conf_int(fit: "GeneralizedFit", level: float = 0.95, method: str | None = None) -> pd.DataFrame:
    """Confidence intervals of the coefficients.

    Parameters
    ----------
    fit : the fitted model.
    level : confidence level.
    method : a way of counting degrees of freedom; that of the fit if None; a cluster-robust covariance such as "CR1"
        (see `fit.robust`), or "profile" (see `fit.profile`).
    """
    if method == "profile":
        found = fit.profile("coefficients", level=level, progress=False).conf_int(level)
        return found[["conf_low", "conf_high"]].rename_axis("term")
    if method is not None and (method.startswith("CR") or method == "jackknife"):
        return fit.tests(vcov=method, level=level)[["conf_low", "conf_high"]]
    return fit.tests(method, level=level)[["conf_low", "conf_high"]]


def anova(fit: "GeneralizedFit", *, type: int = 3, ddf: str | None = None) -> pd.DataFrame:
    """Wald tests of the terms of the fixed part, as F statistics; with ddf "normal" they are chi-square / df_num.

    Parameters
    ----------
    fit : the fitted model.
    type : 3 or 2; see `MixedFit.anova`.
    ddf : as in `tests`; that of the fit if None.

    Returns
    -------
    frame indexed by term: df_num, df_den, statistic, p_value.
    """
    from crosslevel.inference.hypotheses import terms_tested

    return terms_tested(fit.design, type, method_of(fit, ddf), fit.estimates)


def contrast(
    fit: "GeneralizedFit", contrasts: "Contrasts", *, ddf: str | None = None, level: float = 0.95, joint: bool = False
) -> pd.DataFrame:
    """Linear combinations of the coefficients, each with its test, or all of them in one F test.

    Parameters
    ----------
    fit : the fitted model.
    contrasts : an expression such as "urban[Y] - livch[1]", several, or numbers; see `MixedFit.contrast`.
    ddf : as in `tests`; that of the fit if None.
    level : confidence level.
    joint : whether to test that all of them are zero.

    Returns
    -------
    frame indexed by term: estimate, std_error, df, statistic, p_value, conf_low, conf_high; with `joint` one row:
    df_num (the rank of the contrasts), df_den, statistic, p_value.
    """
    from crosslevel.inference.contrasts import Coefficients, contrast_matrix
    from crosslevel.inference.hypotheses import combinations_tested

    design, estimates = fit.design, fit.estimates
    factors = [design.spec.columns[design.x[j]].factors for j in fit.terms]
    names, told = contrast_matrix(contrasts, Coefficients.of(fit.term_names, factors))
    rows = np.zeros((len(told), len(estimates.beta)))
    rows[:, fit.terms] = told
    return combinations_tested(names, rows, method_of(fit, ddf), estimates, level=level, joint=joint)


def thresholds(fit: "GeneralizedFit", *, level: float = 0.95) -> pd.DataFrame:
    """Thresholds of an ordered outcome: P(y <= category) = F(threshold - linear predictor).

    Parameters
    ----------
    fit : the fitted model.
    level : confidence level.

    Returns
    -------
    frame indexed by threshold, as in "low|high": estimate, std_error, conf_low, conf_high.

    Raises
    ------
    CrosslevelError : the outcome has no ordered categories.
    """
    refuse_thresholds(fit.family)
    solution, estimands = fit.solution, fit.estimands
    n = len(estimands.thresholds)
    estimate = estimands.predictor_values(solution.parameters)[-n:]
    jacobian = estimands.predictor_jacobian(solution.parameters)[-n:]
    error = np.sqrt(np.einsum("ik,kl,il->i", jacobian, solution.working_vcov, jacobian))
    return threshold_table(estimands.thresholds, estimate, error, level=level)


def refuse_thresholds(family: Family) -> None:
    """Raise `CrosslevelError` for a family without ordered categories."""
    if family.kind != "ordered":
        raise CrosslevelError(
            f"`thresholds` are those between ordered categories; family={family.name!r} has none. "
            "Its coefficients, the intercept among them, are in `fit.params`."
        )


def threshold_table(names: Sequence[str], estimate: FloatArray, error: FloatArray, *, level: float) -> pd.DataFrame:
    """Thresholds (m,) with standard errors and normal intervals, by name."""
    half = normal_quantile(0.5 + check_level(level) / 2.0) * error
    columns = {"estimate": estimate, "std_error": error, "conf_low": estimate - half, "conf_high": estimate + half}
    return pd.DataFrame(columns, index=pd.Index(list(names), name="threshold"))


def shape_parameters(fit: "GeneralizedFit", *, level: float = 0.95) -> pd.DataFrame:
    """Shape parameters that are no thresholds, such as a dispersion; intervals are made on the log scale.

    Parameters
    ----------
    fit : the fitted model.
    level : confidence level.

    Returns
    -------
    frame indexed by parameter: estimate, std_error, conf_low, conf_high; empty where the family has none. Without
    standard error and interval where it has gone to its limit, and the family has become another.
    """
    check_level(level)
    names, shape = fit.estimands.shapes, fit.solution.shape
    index = pd.Index(names, name="parameter")
    if not names:
        return pd.DataFrame(columns=["estimate", "std_error", "conf_low", "conf_high"], index=index, dtype=np.float64)
    layout = fit.estimands.layout
    jacobian = fit.family.shape_jacobian(fit.solution.parameters[layout.shape])
    vcov = fit.solution.working_vcov[layout.shape, layout.shape]
    variance = np.einsum("ik,kl,il->i", jacobian, vcov, jacobian)
    error = np.sqrt(np.where(variance > 0.0, variance, np.nan))
    with np.errstate(over="ignore"):
        spread = np.exp(normal_quantile(0.5 + level / 2.0) * error / shape)
    columns = {"estimate": shape, "std_error": error, "conf_low": shape / spread, "conf_high": shape * spread}
    return pd.DataFrame(columns, index=index)
