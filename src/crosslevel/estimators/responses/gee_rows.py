"""Frames and notes of generalized estimating equations."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.estimators.notes import notes_on_rows
from crosslevel.estimators.responses.predicted_means import MeanModel, predicted_means
from crosslevel.estimators.rows import row_index
from crosslevel.types import Frame

if TYPE_CHECKING:
    from crosslevel.estimators.responses.gee_fit import GEEFit

FEW_GROUPS = 40
"""Groups below which the plain sandwich of GEE is too small (Mancl & DeRouen 2001)."""


def dispersion(fit: "GEEFit") -> float:
    """Pearson's chi-square over rows - coefficients."""
    one, none = np.ones(fit.nobs), np.zeros(0)
    mu = fit.family.mean(fit.eta)
    variance = mu**2 if fit.family.kind == "positive" else fit.family.variance(mu, one, none)
    rest = (fit.outcome.y - mu) ** 2
    return float(np.sum(np.divide(rest, variance, out=np.zeros_like(mu), where=variance > 0.0))) / (
        fit.nobs - len(fit.beta)
    )


def augment(fit: "GEEFit") -> pd.DataFrame:
    """Outcome, group, fitted values, residuals."""
    fitted = fit.family.mean(fit.eta)
    columns = {
        fit.outcome.name: fit.outcome.y,
        fit.groups.name: pd.Index(fit.groups.levels).take(fit.groups.codes),
        "fitted": fitted,
        "resid": fit.outcome.y - fitted,
        "linear": fit.eta,
    }
    return pd.DataFrame(columns, index=row_index(fit.design))


def predicted(fit: "GEEFit", new: Frame | None, *, scale: str, se: bool, level: float) -> pd.Series | pd.DataFrame:
    """What `GEEFit.predict` answers; see there."""
    model = MeanModel(design=fit.design, family=fit.family, beta=fit.beta, covariance=fit.covariance_by())
    return predicted_means(model, new, scale=scale, se=se, level=level)


def notes_on(fit: "GEEFit") -> tuple[str, ...]:
    """Notes on rows, on few groups, on times, on what statsmodels said."""
    notes, groups = notes_on_rows(fit.design), fit.groups
    if fit.given["vcov"] == "robust" and groups.n_clusters < FEW_GROUPS:
        notes.append(
            f"Only {groups.n_clusters} groups of {groups.name}: the plain sandwich of GEE is too small with fewer than "
            f"{FEW_GROUPS}. Use vcov='bias-reduced', or cl.mixed(..., family=)."
        )
    if fit.uneven and fit.given["correlation"] == "ar1":
        notes.append(
            f"Times of {fit.given['time']} are not equally spaced, but correlation='ar1' counts steps from row to row. "
            "Standard errors (robust) hold nevertheless; with other times, correlation='exchangeable' may fit better."
        )
    if fit.given["correlation"] == "ar1" and fit.given["time"] is None:
        notes.append("Rows of a group are taken to be in the order of time. Name the column that says so: time='wave'.")
    return (*notes, *(() if fit.converged else (fit.status,)), *(f"statsmodels: {text}" for text in fit.solved.said))


def glance(fit: "GEEFit") -> pd.DataFrame:
    """A fit in one row."""
    sizes = np.bincount(fit.groups.codes)
    record = {
        "nobs": fit.nobs,
        "n_groups": fit.groups.n_clusters,
        "group": fit.groups.name,
        "largest_group": int(sizes.max()),
        "method": "gee",
        "family": fit.family.description,
        "vcov": fit.given["vcov"],
        "working": fit.given["correlation"],
        "correlation": fit.correlation,
        "dispersion": fit.dispersion,
        "qic": fit.qic,
        "converged": fit.converged,
    }
    return pd.DataFrame([record])
