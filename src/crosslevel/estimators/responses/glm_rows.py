"""Frames of generalized linear models: thresholds, rows, predictions, the fit in one row."""

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.design.coordinates import Coordinates
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.generalized.coefficients import refuse_thresholds, threshold_table
from crosslevel.estimators.responses.predicted_means import (
    MeanModel,
    linear_predictor,
    predicted_means,
    target_rows,
)
from crosslevel.estimators.rows import row_index
from crosslevel.families.ordinal import Ordinal
from crosslevel.inference.clusterings import clustering_named
from crosslevel.inference.response_covariance import joint_covariance
from crosslevel.solve.response_regression import ResponseRegression, regress_responses
from crosslevel.types import FloatArray, Frame

if TYPE_CHECKING:
    from crosslevel.estimators.responses.glm_fit import GLMFit


def thresholds(fit: "GLMFit", *, level: float = 0.95) -> pd.DataFrame:
    """Thresholds -b_0, -b_0 + c_1, ... with standard errors and normal intervals; see `GLMFit.thresholds`.

    Raises
    ------
    CrosslevelError : the outcome has no ordered categories.
    """
    refuse_thresholds(fit.family)
    shown = [str(category) for category in fit.outcome.categories or ()]
    place = int(np.flatnonzero(fit.design.x == fit.design.constant)[0])
    solved, p = fit.solved, len(fit.solved.beta)
    jacobian = np.zeros((len(shown) - 1, len(solved.joint)))
    jacobian[:, place] = -1.0
    jacobian[1:, p:] = fit.family.shape_jacobian(solved.joint[p:])
    matrix = joint_covariance(fit.design, solved, fit.whole.name, fit.clusters).matrix
    errors = np.sqrt(np.einsum("ta,ab,tb->t", jacobian, matrix, jacobian))
    names = [f"{low}|{high}" for low, high in pairwise(shown)]
    return threshold_table(names, -solved.beta[place] + np.append(0.0, solved.shape), errors, level=level)


def shape_parameters(fit: "GLMFit") -> pd.Series:
    """Natural shape parameters by name; those of ordered outcomes are in the thresholds."""
    if fit.family.kind == "ordered":
        return pd.Series(np.zeros(0), index=pd.Index([], dtype=object), name="estimate")
    return pd.Series(fit.solved.shape, index=list(fit.family.shape_names()), name="estimate")


def null_deviance(solved: ResponseRegression) -> float:
    """-2 log-likelihood with an intercept only."""
    n = solved.rows.n
    coordinates = Coordinates(shift=np.zeros(2), scale=np.ones(2), removed=np.zeros(1), intercept=0)
    return regress_responses(replace(solved.rows, x=np.ones((n, 1)), coordinates=coordinates)).deviance


def dispersion(fit: "GLMFit") -> float:
    """Pearson's chi-square over rows - parameters."""
    if fit.family.kind == "ordered":
        return np.nan
    return float(fit.solved.rows.counted @ pearson(fit) ** 2 / fit.df_residual)


def pearson(fit: "GLMFit") -> FloatArray:
    """(n,) residuals over the standard deviations of the outcomes."""
    rows, family = fit.solved.rows, fit.family
    mu = family.mean(fit.solved.eta)
    spread = np.sqrt(family.variance(mu, rows.size, fit.solved.shape))
    rest = rows.y - rows.size * mu
    return np.asarray(np.divide(rest, spread, out=np.zeros_like(rest), where=spread > 0.0))


def augment(fit: "GLMFit") -> pd.DataFrame:
    """The rows used; the fitted value of an ordered outcome is the expected number of its category."""
    outcome = fit.outcome.share
    fitted = fit.family.outcome_mean(fit.solved.eta, np.ones(len(outcome)), fit.solved.shape)
    columns: dict[str, object] = {fit.outcome.name: outcome}
    for name in fit.clusters:
        found = clustering_named(fit.design, name)
        columns[name] = pd.Index(found.levels).take(found.codes)
    columns |= {"fitted": fitted, "resid": outcome - fitted, "linear": fit.solved.eta}
    if fit.family.kind != "ordered":
        columns["pearson"] = pearson(fit)
    return pd.DataFrame(columns, index=row_index(fit.design))


def predicted(fit: "GLMFit", new: Frame | None, *, scale: str, se: bool, level: float) -> pd.Series | pd.DataFrame:
    """What `GLMFit.predict` answers; see there."""
    model = MeanModel(design=fit.design, family=fit.family, beta=fit.solved.beta, covariance=fit.whole)
    categories = fit.outcome.categories
    if categories is None or scale != "response":
        return predicted_means(model, new, scale=scale, se=se, level=level)
    if se:
        raise CrosslevelError(
            "`se` is known of an ordered outcome's linear predictor: scale='link'. Probabilities of categories come "
            "without standard errors."
        )
    rows = target_rows(fit.design, new)
    assert isinstance(fit.family, Ordinal)
    chances = fit.family.probabilities(linear_predictor(model, rows)[0], fit.solved.shape)
    columns = {str(name): rows.spread(chances[:, k]) for k, name in enumerate(categories)}
    return pd.DataFrame(columns, index=rows.index)


def glance(fit: "GLMFit") -> pd.DataFrame:
    """A fit in one row."""
    counts = list(fit.ngroups.values())
    record = {
        "nobs": fit.nobs,
        "n_groups": counts[0] if len(counts) == 1 else ", ".join(map(str, counts)),
        "group": ", ".join(fit.clusters),
        "method": "glm",
        "family": fit.family.description,
        "vcov": fit.whole.name,
        "loglik": fit.loglik,
        "deviance": fit.deviance,
        "null_deviance": fit.null_deviance,
        "pseudo_r_squared": fit.pseudo_r_squared,
        "dispersion": fit.dispersion,
        "aic": fit.aic,
        "bic": fit.bic,
        "n_params": fit.n_params,
        "df_residual": fit.df_residual,
        "converged": fit.converged,
    }
    return pd.DataFrame([record])
