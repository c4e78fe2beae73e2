"""The rows of a linear regression: fitted values, residuals, predictions; and the fit in one row."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.design import Design
from crosslevel.errors import CrosslevelError
from crosslevel.estimators import rows as by_row
from crosslevel.estimators.asked.new_rows import Interval
from crosslevel.estimators.target_rows import TargetRows, UsedRows, new_rows
from crosslevel.inference.clusterings import clustering_named
from crosslevel.inference.distributions import t_quantile
from crosslevel.inference.wald import check_level
from crosslevel.types import FloatArray, Frame

if TYPE_CHECKING:
    from crosslevel.estimators.ols_fit import OLSFit

ENTRIES = 1 << 22
"""Contributions of clusters to predictions that are held at a time, for their degrees of freedom."""


def cluster_sizes(design: Design, names: tuple[str, ...]) -> dict[str, pd.Series]:
    """Rows of each cluster, each as often as its frequency says, by clustering."""
    weights = design.weights
    times = weights.rows if weights is not None and weights.is_frequency else None
    out = {}
    for name in names:
        clusters = clustering_named(design, name)
        sizes = np.bincount(clusters.codes, times, clusters.n_clusters).astype(np.int64)
        out[name] = pd.Series(sizes, index=pd.Index(clusters.levels, name=name), name="rows")
    return out


def total_squares(design: Design) -> float:
    """Sum of squares of the outcome (less the offset), about its mean if there is an intercept; weighted."""
    products = design.products
    total = float(products.total[-1, -1])
    if design.constant >= 0 and design.constant in design.x:
        return total
    return total + products.weight * float((products.grand_mean + products.origin)[-1] ** 2)


def augment(design: Design, beta: FloatArray, names: tuple[str, ...]) -> pd.DataFrame:
    """The rows used: outcome, clusters, fitted values, residuals."""
    frame = by_row.augment(design, beta, ()).drop(columns="fixed")
    for place, name in enumerate(names, start=1):
        clusters = clustering_named(design, name)
        frame.insert(place, name, pd.Index(clusters.levels).take(clusters.codes))
    return frame


def predicted(
    fit: "OLSFit", new: Frame | None, *, se: bool, interval: Interval | None, level: float
) -> pd.Series | pd.DataFrame:
    """What `OLSFit.predict` answers; see there."""
    if interval not in (None, "confidence", "prediction"):
        raise CrosslevelError(f"`interval` is 'confidence', 'prediction' or None; got {interval!r}.")
    check_level(level)
    rows: TargetRows = UsedRows(design=fit.design, factors=())
    if new is not None:
        rows = new_rows(fit.design, None, (), new)
    estimates = np.empty(rows.n_rows)
    for block in rows.blocks():
        estimates[block.place] = fit.solved.beta @ block.columns[fit.design.x]
    if not se and interval is None:
        return pd.Series(rows.spread(estimates + rows.offset), index=rows.index, name="prediction")
    errors, df = _errors(fit, rows)
    wide = errors
    if interval == "prediction":
        wide = np.sqrt(errors**2 + fit.sigma**2 * rows.residual_variances(None, estimates))
    half = t_quantile(0.5 + level / 2.0, df) * wide
    estimates = estimates + rows.offset
    columns = {"estimate": estimates, "std_error": errors, "conf_low": estimates - half, "conf_high": estimates + half}
    return pd.DataFrame({name: rows.spread(values) for name, values in columns.items()}, index=rows.index)


def _errors(fit: "OLSFit", rows: TargetRows) -> tuple[FloatArray, FloatArray]:
    """Standard errors and degrees of freedom (n,) of x'beta."""
    errors, df = np.empty(rows.n_rows), np.empty(rows.n_rows)
    contributions = max(fit.ngroups.values(), default=1) * len(fit.solved.beta)
    step = max(1, ENTRIES // contributions)
    for block in rows.blocks():
        x = block.columns[fit.design.x].T
        for start in range(0, len(x), step):
            some = x[start : start + step]
            place = slice(block.place.start + start, block.place.start + start + len(some))
            errors[place] = fit.covariance.std_error(some)
            df[place] = fit.covariance.df(some)
    return errors, df


def glance(fit: "OLSFit") -> pd.DataFrame:
    """A regression in one row."""
    counts = list(fit.ngroups.values())
    record = {
        "nobs": fit.nobs,
        "n_groups": counts[0] if len(counts) == 1 else ", ".join(map(str, counts)),
        "group": ", ".join(fit.clusters),
        "method": "ols",
        "vcov": fit.covariance.name,
        "r_squared": fit.r_squared,
        "adj_r_squared": fit.adj_r_squared,
        "sigma": fit.sigma,
        "loglik": fit.loglik,
        "deviance": fit.deviance,
        "aic": fit.aic,
        "bic": fit.bic,
        "n_params": fit.n_params,
        "df_residual": fit.df_residual,
        "converged": fit.converged,
    }
    return pd.DataFrame([record])
