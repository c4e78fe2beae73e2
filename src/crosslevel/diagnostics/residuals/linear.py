"""Residuals of linear models, with and without random effects."""

import numpy as np
import pandas as pd

from crosslevel.diagnostics.residuals.record import Residuals
from crosslevel.diagnostics.residuals.tables import cluster_frame, with_residual_means
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.estimators.ols_fit import OLSFit
from crosslevel.estimators.random import level_index
from crosslevel.inference.bootstrap.rows import ModelRows
from crosslevel.inference.clusterings import clustering_named
from crosslevel.inference.effect_spread import mode_covariances
from crosslevel.inference.hat_values import fitted_variances, prediction_error, residual_variances, row_blocks
from crosslevel.inference.prediction import new_level_variance
from crosslevel.inference.within_residuals import within_residuals
from crosslevel.residual.correlation import Independent
from crosslevel.types import FloatArray

NOTHING = 1e-9
"""Share of sigma^2 below which the variance of a residual is rounding error: the row is fitted exactly."""


def of_mixed(fit: MixedFit) -> Residuals:
    """Residuals of a linear mixed model."""
    design, notes = fit.design, list[str]()
    frame = fit.augment()
    conditional, fixed = frame["resid"].to_numpy(), frame["fixed"].to_numpy()
    marginal = frame["fitted"].to_numpy() + conditional - fixed
    variance = fit.sigma**2 * residual_variances(design, fit.solution)
    standard = standard_marginal = np.full(len(frame), np.nan)
    try:
        standard = over_spread(conditional, variance - fitted_variances(design, fit.solution), variance)
        standard_marginal = over_spread(marginal, _marginal_variances(fit, variance), variance)
        covariances: tuple[FloatArray | None, ...] = mode_covariances(design, fit.solution)
    except CrosslevelError as error:
        notes.append(str(error))
        covariances = (None,) * len(design.factors)
    rows = pd.DataFrame(
        {
            "fitted": frame["fitted"].to_numpy(), "fitted_marginal": fixed, "conditional": conditional,
            "marginal": marginal, "standardized": standard, "standardized_marginal": standard_marginal,
            "pearson": conditional / np.sqrt(variance), "least_confounded": _least_confounded(fit, notes),
        },
        index=frame.index,
    )  # fmt: skip
    clusters = {}
    for k, factor in enumerate(design.factors):
        own = np.diag(fit.variance_components[k].covariance)
        effects = cluster_frame(level_index(factor), design.effects_of(factor), fit._modes[k][0], covariances[k], own)
        clusters[factor.name] = with_residual_means(effects, rows, design.used_members(factor))
    return Residuals(outcome=fit.spec.response_name, kind="linear", rows=rows, clusters=clusters, notes=tuple(notes))


def over_spread(residuals: FloatArray, variances: FloatArray, scale: FloatArray) -> FloatArray:
    """Residuals (n,) over their standard deviations; NaN where these are rounding errors of `scale` (n,)."""
    able = variances > NOTHING * scale
    out = np.full(len(able), np.nan)
    return np.asarray(np.divide(residuals, np.sqrt(np.where(able, variances, 1.0)), out=out, where=able))


def _marginal_variances(fit: MixedFit, variance: FloatArray) -> FloatArray:
    """(n,) variances of y - X betahat: of the errors and of the random effects, less those of x'betahat."""
    design, solution, out = fit.design, fit.solution, variance.copy()
    error = prediction_error(design, solution)
    for place, x, z, members in row_blocks(design):
        _, own, _ = error.working(x, z, members)
        out[place] -= np.sum((error.root.T @ own) ** 2, axis=0)
        for k, (columns, levels) in enumerate(zip(z, members, strict=True)):
            out[place] += new_level_variance(solution, k, columns, levels)
    return out


def _least_confounded(fit: MixedFit, notes: list[str]) -> FloatArray:
    """(n,) standardised residuals of the regression with every level's effects; notes grow by why there are none."""
    design, missing = fit.design, np.full(fit.design.rows.used, np.nan)
    residual, weights = design.residual, design.weights
    if residual is not None and not isinstance(fit.solution.criterion.residual.at(fit.solution.phi).correlation,
                                               Independent):  # fmt: skip
        notes.append("Least-confounded residuals are those of a regression with independent errors; these are not.")
        return missing
    if design.is_sampled:
        return missing
    scale = residual_variances(design, fit.solution)
    times = weights.rows if weights is not None and weights.is_frequency and weights.rows is not None else None
    given = 1.0 / scale if times is None else times
    try:
        found = within_residuals(ModelRows.of(design), [factor.n_levels for factor in design.factors], given)
    except CrosslevelError as error:
        notes.append(str(error))
        return missing
    # of a row that stands for several, one of them
    left = found.left if times is None else 1.0 - (1.0 - found.left) / times
    return over_spread(found.values, fit.sigma**2 * scale * left, fit.sigma**2 * scale)


def of_ordinary(fit: OLSFit) -> Residuals:
    """Residuals of a linear regression."""
    design, frame = fit.design, fit.augment()
    rows, weights = ModelRows.of(design), design.weights
    resid = frame["resid"].to_numpy()
    scale: FloatArray = np.ones(len(frame))
    times: FloatArray = np.ones(len(frame))
    if weights is not None and weights.rows is not None:
        scale, times = (1.0 / weights.rows, times) if weights.is_precision else (scale, weights.rows)
    basis = np.linalg.qr((rows.x * np.sqrt(times / scale)).T)[0]
    left = 1.0 - np.sum(basis**2, axis=1) / times
    variance = fit.sigma**2 * scale
    standard = over_spread(resid, variance * left, variance)
    fitted = frame["fitted"].to_numpy()
    table = pd.DataFrame(
        {
            "fitted": fitted, "fitted_marginal": fitted, "conditional": resid, "marginal": resid,
            "standardized": standard, "standardized_marginal": standard, "pearson": resid / np.sqrt(variance),
        },
        index=frame.index,
    )  # fmt: skip
    clusters = {}
    for name in fit.clusters:
        own = clustering_named(design, name)
        empty = pd.DataFrame(index=pd.Index(own.levels, name=name))
        clusters[name] = with_residual_means(empty, table, ((own.codes, None),))
    return Residuals(outcome=fit.spec.response_name, kind="ordinary", rows=table, clusters=clusters)
