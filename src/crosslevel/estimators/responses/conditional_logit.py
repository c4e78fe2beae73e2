"""Fit conditional (fixed-effects) logits by their exact likelihood."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from crosslevel.design import Design, build_design
from crosslevel.design.outcome import AskedOutcome
from crosslevel.errors import ConvergenceWarning, CrosslevelError, DataError
from crosslevel.estimators.responses.conditional_fit import ConditionalFit as ConditionalFit
from crosslevel.estimators.responses.glm import check_reading
from crosslevel.families import family_of
from crosslevel.inference.clusterings import Clustering, clustering_named
from crosslevel.inference.conditional_covariance import check_conditional, conditional_covariance
from crosslevel.solve.conditional_logit import ConditionalRows, conditional_rows, solve_conditional
from crosslevel.types import FloatArray, Frame, Missing


def conditional_logit(
    formula: str,
    data: Frame,
    *,
    group: str,
    cluster: str | None = None,
    vcov: str | None = None,
    offset: object = None,
    missing: Missing = "drop",
) -> ConditionalFit:
    """Fit a logit with fixed effects of groups, given how many rows of each group are one.

    The effects of the groups are not estimated but conditioned away, so that they bias nothing, however few rows a
    group has, and whatever they are correlated with. Predictors that do not vary within groups have no coefficient.
    The likelihood is exact, for any number of ones in groups of any size.

    Parameters
    ----------
    formula : as in "y ~ x * z", without random terms; the outcome is 0 or 1, or two labels.
    data : a frame of pandas, polars, pyarrow or any library that narwhals supports.
    group : the column of the groups that have effects, or columns as in "school:year".
    cluster : clusters of standard errors that hold if rows of a group are dependent; groups have to lie in clusters.
    vcov : "iid" (the information), "CR0", "CR1" or "CR1S". By default "CR1" with a cluster, else "iid".
    offset : a known part of the linear predictor: the name of a column, or one number per row.
    missing : "drop" the rows with missing values in the model's variables, and count them; or "raise".

    Returns
    -------
    ConditionalFit

    Raises
    ------
    CrosslevelError : a wrong argument, formula or data; the message says what to do.

    Source
    ------
    Chamberlain (1980), Rev. Econ. Stud. 47: 225-238; Gail, Lubin & Rubinstein (1981), Biometrika 68: 703-707.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb").assign(high=lambda d: 1 * (d["mathach"] > 18))
    >>> fit = cl.conditional_logit("high ~ ses + minority", data, group="school")
    >>> fit.tidy()[["estimate", "std_error"]].round(3)
              estimate  std_error
    term
    ses          0.556      0.046
    minority    -0.983      0.103
    """
    if not isinstance(formula, str):
        raise CrosslevelError(f"`formula` is text such as 'y ~ x * z'; got {type(formula).__name__}.")
    for name, value in (("group", group), ("cluster", cluster)):
        if not isinstance(value, str) and (name == "group" or value is not None):
            raise CrosslevelError(f"`{name}` is the name of a column, such as 'school'; got {value!r}.")
    kind = check_conditional(vcov, clustered=cluster is not None)
    check_reading(None, data, "conditional_logit")
    keys = (group,) if cluster is None else (group, cluster)
    design = build_design(
        formula, data, missing=missing, offset=offset, clusters=keys,
        outcome=AskedOutcome(family=family_of("binomial")),
    )  # fmt: skip
    given = {"group": group, "cluster": cluster, "vcov": vcov, "offset": offset, "missing": missing}
    return fit_conditional(formula, data, given, design, kind)


def fit_conditional(formula: str, data: Frame, given: Mapping[str, Any], design: Design, vcov: str) -> ConditionalFit:
    """Maximise the conditional likelihood, and work out the covariance of the coefficients."""
    groups = clustering_named(design, given["group"])
    rows = _rows(design, groups)
    solved = solve_conditional(rows)
    fit = ConditionalFit(
        formula=formula, data=data, given=given, design=design, groups=groups, solved=solved,
        covariance=conditional_covariance(design, groups, solved, vcov, given["cluster"]),
    )  # fmt: skip
    if not fit.converged:
        warnings.warn(fit.separation or fit.status, ConvergenceWarning, stacklevel=3)
    return fit


def _rows(design: Design, groups: Clustering) -> ConditionalRows:
    """The rows that say something.

    Raises
    ------
    DataError : trials, or an outcome that varies in no group.
    CrosslevelError : no predictor that varies within groups.
    """
    outcome = design.outcome
    assert outcome is not None
    if outcome.has_trials:
        raise DataError(
            f"`formula` has the outcome {outcome.name!r} with numbers of trials, but a conditional logit needs single "
            "answers, 0 or 1, one in each row. Give each trial a row."
        )
    own = design.x[design.x != design.constant]
    rows = conditional_rows(outcome.y, _columns(design, own), design.offset, groups.codes, groups.n_clusters)
    if not len(rows.groups):
        raise DataError(
            f"`group` names {groups.name!r}, but in none of its {groups.n_clusters} groups does {outcome.name!r} vary, "
            "so that nothing can be learnt within groups. Use larger groups."
        )
    if not len(rows.kept):
        names = ", ".join(design.products.names[j] for j in own)
        raise CrosslevelError(
            f"`formula` has no predictor that varies within groups of {groups.name}"
            f"{f' ({names} do not)' if names else ''}. Use cl.mixed(..., family='binomial'), which compares groups too."
        )
    return rows


def _columns(design: Design, own: FloatArray) -> FloatArray:
    """(N, m) design columns of the rows used."""
    return np.vstack([block[own].T for block, _, _ in design.blocks()])
