"""Tests of equal residual variances for a fitted mixed model."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.design import Design
from crosslevel.design.factors import GroupingFactor
from crosslevel.design.products import CrossProducts
from crosslevel.design.rows import sum_products
from crosslevel.errors import CrosslevelError
from crosslevel.inference.homogeneity import HomogeneityTest, h_test, likelihood_ratio
from crosslevel.residual import AR1, CAR1, By, CompoundSymmetry, ResidualStructure

if TYPE_CHECKING:
    from crosslevel.estimators.mixed import MixedFit


def between_strata(fit: "MixedFit", by: str) -> HomogeneityTest:
    """Likelihood-ratio test against the same model with an own residual variance in each stratum of a column."""
    if not isinstance(by, str):
        raise CrosslevelError(f"`by` is the name of a column, as in 'sector'; got {by!r}.")
    if fit.design.weights is not None:
        raise CrosslevelError(
            "`test_residual_homogeneity` compares likelihoods of unweighted rows; this fit has weights. "
            "Fit without them."
        )
    richer = fit.update(residual=_with_strata(fit.given["residual"], by))
    if richer.nobs != fit.nobs:
        raise CrosslevelError(
            f"`by` names {by!r}, which is missing in {fit.nobs - richer.nobs} of the {fit.nobs} rows used, so that the "
            "likelihoods would be of different rows. Fit the model to the rows that have it first."
        )
    log_sd = np.append(0.0, richer.solution.phi[: richer.solution.criterion.residual.variance.n_phi])
    return likelihood_ratio(fit.deviance - richer.deviance, log_sd + np.log(richer.sigma), by)


def _with_strata(residual: ResidualStructure | None, by: str) -> ResidualStructure:
    """The structure with own variances by stratum."""
    if residual is None:
        return By(by)
    if isinstance(residual, AR1 | CAR1 | CompoundSymmetry) and residual.by is None:
        return replace(residual, by=by)
    raise CrosslevelError(
        f"`test_residual_homogeneity` starts from one residual variance; this model has residual={residual!r}. "
        "Fit it without, or compare fits yourself by their deviances."
    )


def between_clusters(fit: "MixedFit", group: str | None, min_df: int) -> HomogeneityTest:
    """H test of the clusters of a grouping factor, from each cluster's own regression."""
    design = fit.design
    if not design.factors:
        raise CrosslevelError(
            "`test_residual_homogeneity` compares the clusters of a random term; this model has none. "
            "Name a column of strata in `by`."
        )
    if design.weights is not None or design.residual is not None:
        raise CrosslevelError(
            "`test_residual_homogeneity` without `by` needs rows that count alike and are independent within clusters; "
            "this fit has weights or a residual structure. Fit without them."
        )
    factor = design.factor_named(group)
    columns = np.unique(np.concatenate([design.x, *(each.z for each in design.factors)]))
    return h_test(_by_level(design, factor), columns, design.constant, factor.name, min_df=min_df)


def _by_level(design: Design, factor: GroupingFactor) -> CrossProducts:
    """Cross-products by level of a factor."""
    if design.is_single:
        return design.products
    return sum_products(
        design.spec, design.columns, design.mask, factor.codes, factor.levels, design.response, design.offset
    )
