"""Variances: their estimates and intervals, shares, reliabilities and tests."""

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import pandas as pd

from crosslevel.errors import CrosslevelError
from crosslevel.estimators import random, tables
from crosslevel.inference.homogeneity import ENOUGH, HomogeneityTest
from crosslevel.inference.icc import IntraclassCorrelation

if TYPE_CHECKING:
    from crosslevel.estimators.mixed_fit import MixedFit

IccKind: TypeAlias = Literal["intercept", "adjusted", "unadjusted"]


def varcomp(fit: "MixedFit", *, level: float = 0.95) -> pd.DataFrame:
    """Variances, covariances and the residual variance, with standard errors and intervals."""
    return tables.variance_table(fit.design, fit.solution, fit.variance_components, level=level)


def residual_parameters(fit: "MixedFit", *, level: float = 0.95) -> pd.DataFrame:
    """Parameters of the residual structure by name: estimate, std_error, conf_low, conf_high.

    Standard deviations have intervals made on the log scale, correlations on Fisher's z scale or on one that keeps to
    the possible range. Empty where residuals are independent and alike.
    """
    return tables.residual_table(fit.design, fit.solution, level=level)


def reliability(fit: "MixedFit", group: str | None = None) -> tables.Reliability:
    """Reliability of each cluster's coefficients.

    With one grouping factor tau / (tau + sigma^2 [(Z'Z)^-1]), of the cluster's own coefficients (Raudenbush & Bryk
    2002); with several 1 - Var(b | y) / tau, of the conditional modes of the levels of `group`.
    """
    factor = fit.design.factor_named(group)
    return random.reliability(fit.design, fit.solution, fit.variance_components, fit._modes, factor)


def icc(
    fit: "MixedFit", group: str | None = None, *, kind: IccKind = "intercept", level: float = 0.95
) -> IntraclassCorrelation:
    """Intraclass correlation: the share of the variance that lies between clusters.

    Parameters
    ----------
    fit : the fitted model.
    group : the grouping factor whose share is wanted; that of all of them together if None.
    kind : "intercept": of the intercepts in theirs and the residuals', where every slope's variable is zero.
        "adjusted": of all random effects at the average of the rows, mean z' Psi z, in theirs and the residuals'.
        "unadjusted": the same in the variance of the outcome, that of the fixed part included. The first two are equal
        where no slope varies, all three where there are no predictors either. (With precision weights the first is of
        a row of weight 1, the others are of the average row.)
    level : confidence level.

    Raises
    ------
    CrosslevelError : the model has no random intercept, or residuals of several variances; or another word for `kind`.

    Source
    ------
    Nakagawa, Johnson & Schielzeth (2017), J. R. Soc. Interface 14: 20170213 ("adjusted", "unadjusted").

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> [round(fit.icc(kind=kind).estimate, 3) for kind in ("intercept", "adjusted", "unadjusted")]
    [0.483, 0.722, 0.521]
    """
    if kind not in get_args(IccKind):
        raise CrosslevelError(f"`kind` is one of {', '.join(map(repr, get_args(IccKind)))}; got {kind!r}.")
    if kind != "intercept":
        from crosslevel.estimators.explained import average_icc

        return average_icc(fit, group, of_outcome=kind == "unadjusted", level=level)
    return random.intraclass(fit.design, fit.variance_components, group, level=level)


def variance_shares(fit: "MixedFit", *, level: float = 0.95) -> pd.DataFrame:
    """Share of each level in the variance of the intercepts and residuals, and intraclass correlations.

    Returns
    -------
    frame indexed by group, "Residual" last: variance, share, std_error, conf_low, conf_high, and icc, the correlation
    of two rows that share a level of this factor and of all factors that it is nested in.
    """
    return random.variance_shares(fit.design, fit.variance_components, level=level)


def residual_homogeneity_test(
    fit: "MixedFit", by: str | None = None, *, group: str | None = None, min_df: int = ENOUGH
) -> HomogeneityTest:
    """Test that the residual variance is the same everywhere.

    Parameters
    ----------
    fit : the fitted model.
    by : column of strata: likelihood-ratio test against residual=By(by), with strata - 1 degrees of freedom. None: the
        H test of the clusters, which compares the residual variances of each cluster's own regression (Raudenbush &
        Bryk 2002, eq. 9.4). Both trust that residuals are normal.
    group : for the H test, the grouping factor whose clusters are compared; the first if None.
    min_df : for the H test, the degrees of freedom of its own that a cluster needs to be compared.
    """
    from crosslevel.estimators.homogeneity import between_clusters, between_strata

    return between_clusters(fit, group, min_df) if by is None else between_strata(fit, by)
