"""Fit generalized estimating equations, by statsmodels."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np

from crosslevel.design import Design, build_design
from crosslevel.design.outcome import AskedOutcome
from crosslevel.design.response_rows import response_rows
from crosslevel.errors import CrosslevelError, DataError
from crosslevel.estimators.responses.gee_fit import GEEFit as GEEFit
from crosslevel.estimators.responses.gee_solve import CORRELATIONS, ERRORS, solve_gee
from crosslevel.estimators.responses.glm import check_reading
from crosslevel.families import Family, family_of
from crosslevel.inference.clusterings import Clustering, clustering_named
from crosslevel.types import Frame, IntArray, Missing

Correlation: TypeAlias = Literal["exchangeable", "independence", "ar1"]
"""How rows of a group are taken to be correlated."""

GeeErrors: TypeAlias = Literal["robust", "bias-reduced", "model"]
"""Covariances of the coefficients."""


def gee(
    formula: str,
    data: Frame,
    *,
    group: str,
    family: str | Family = "binomial",
    correlation: Correlation = "exchangeable",
    time: str | None = None,
    vcov: GeeErrors = "robust",
    offset: object = None,
    exposure: object = None,
    missing: Missing = "drop",
) -> GEEFit:
    """Fit a model of the population's means by generalized estimating equations (GEE), solved by statsmodels.

    The mean is that of a generalized linear model; rows of a group are correlated as a working correlation says, which
    makes estimates more precise where it is near the truth and does not bias them where it is not. Needs statsmodels:
    pip install 'crosslevel[gee]'.

    Parameters
    ----------
    formula : as in "y ~ x * z", without random terms; the outcome is 0 or 1, two labels, a count, or positive.
    data : a frame of pandas, polars, pyarrow or any library that narwhals supports.
    group : the column of the groups within which rows are correlated, or columns as in "school:year".
    family : "binomial", "poisson", "gamma", or an object such as cl.families.Binomial(link="probit").
    correlation : "exchangeable" (the same for any two rows of a group), "independence", or "ar1" (falling with the
        distance of rows in the order of `time`, which are taken to be equally far apart).
    time : the column that orders the rows of a group; None for their order in the data.
    vcov : "robust" (the sandwich of Liang & Zeger 1986), "bias-reduced" (Mancl & DeRouen 2001, for few groups), or
        "model" (as if the working correlation were true).
    offset : a known part of the linear predictor: the name of a column, or one number per row.
    exposure : what counts are relative to: a column, or numbers.
    missing : "drop" the rows with missing values in the model's variables, and count them; or "raise".

    Returns
    -------
    GEEFit

    Raises
    ------
    CrosslevelError : a wrong argument, formula or data, or statsmodels is not installed; the message says what to do.

    Source
    ------
    Liang & Zeger (1986), Biometrika 73: 13-22; Mancl & DeRouen (2001), Biometrics 57: 126-134.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb").assign(high=lambda d: 1 * (d["mathach"] > 18))
    >>> fit = cl.gee("high ~ ses + sector", data, group="school")
    >>> fit.tidy()[["estimate", "std_error"]].round(3)
                      estimate  std_error
    term
    Intercept           -1.237      0.063
    ses                  0.641      0.044
    sector[Catholic]     0.312      0.102
    """
    if not isinstance(formula, str):
        raise CrosslevelError(f"`formula` is text such as 'y ~ x * z'; got {type(formula).__name__}.")
    _check_arguments(group, time, correlation, vcov)
    law = family_of(family)
    check_reading(None, data, "gee")
    design = build_design(
        formula, data, missing=missing, offset=offset, clusters=(group,) if time is None else (group, time),
        outcome=AskedOutcome(family=law, exposure=exposure),
    )  # fmt: skip
    if not len(design.x):
        raise CrosslevelError(f"`formula` has no coefficients: {formula!r}. Add predictors, or leave the intercept in.")
    given = {
        "group": group, "family": law, "correlation": correlation, "time": time, "vcov": vcov, "offset": offset,
        "exposure": exposure, "missing": missing,
    }  # fmt: skip
    return fit_gee(formula, data, given, design)


def _check_arguments(group: object, time: object, correlation: object, vcov: object) -> None:
    """Refuse arguments that mean nothing."""
    for name, value in (("group", group), ("time", time)):
        if not isinstance(value, str) and (name == "group" or value is not None):
            raise CrosslevelError(f"`{name}` is the name of a column, such as 'school'; got {value!r}.")
    if correlation not in CORRELATIONS:
        raise CrosslevelError(f"`correlation` is one of {', '.join(map(repr, CORRELATIONS))}; got {correlation!r}.")
    if vcov not in ERRORS:
        raise CrosslevelError(f"`vcov` is one of {', '.join(map(repr, ERRORS))}; got {vcov!r}.")


def fit_gee(formula: str, data: Frame, given: Mapping[str, Any], design: Design) -> GEEFit:
    """Solve the estimating equations."""
    assert design.outcome is not None
    if design.outcome.has_trials:
        raise DataError(
            f"`formula` has the outcome {design.outcome.name!r} with numbers of trials, but `gee` needs single "
            "answers, 0 or 1, one in each row. Give each trial a row."
        )
    groups = clustering_named(design, given["group"])
    if groups.n_clusters <= len(design.x):
        raise CrosslevelError(
            f"`group` names {groups.name!r}, which has {groups.n_clusters} values for {len(design.x)} coefficients. "
            "Standard errors of GEE rest on many groups; drop predictors, or use cl.mixed(..., family=)."
        )
    rows = response_rows(design, given["family"], design.outcome)
    order, uneven = _order(design, groups, given["time"])
    reduced = given["vcov"] == "bias-reduced"
    solved = solve_gee(rows, groups.codes, order, given["correlation"], reduced=reduced)
    return GEEFit(
        formula=formula, data=data, given=given, design=design, groups=groups, solved=solved, uneven=uneven,
        eta=rows.offset + rows.x @ solved.working,
    )  # fmt: skip


def _order(design: Design, groups: Clustering, time: str | None) -> tuple[IntArray, bool]:
    """Order (n,) of the rows by group and time, and whether times of some group are not equally spaced."""
    if time is None:
        return np.argsort(groups.codes, kind="stable"), False
    times = design.columns.numeric(time)
    used = times if design.mask is None else times[design.mask]
    order = np.lexsort((used, groups.codes))
    same = groups.codes[order][1:] == groups.codes[order][:-1]
    steps = np.diff(used[order])[same]
    if np.any(steps == 0.0):
        raise CrosslevelError(
            f"`time` names {time!r}, which has the same value in two rows of one group of {groups.name}. Each row of a "
            "group needs a time of its own."
        )
    return order, bool(len(steps)) and not np.allclose(steps, steps[0])
