"""Predictions of rows of clusters that a model was not fitted to, and how probable it made their outcomes.

A new cluster's outcomes have, at the estimates of the others, the distribution

    y ~ N(X beta + offset, V),    V = sigma² I + sum over factors f and their levels l of Z_fl Psi_f Z_fl',

so that their joint log density and the variance of their mean follow; V is never formed: with W the columns Z_fl L_f /
sigma, L_f L_f' = Psi_f, V = sigma² (I + W W'), and log|V| and quadratic forms need I + W'W only.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crosslevel.diagnostics.diagnostic import AnyFit
from crosslevel.errors import CrosslevelError, DataWarning
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.estimators.ols_fit import OLSFit
from crosslevel.inference.seeds import generator_from
from crosslevel.table import Columns, group_codes
from crosslevel.types import BoolArray, CodeArray, FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """What a fit says of rows (n,) that it was not fitted to, in J clusters.

    Attributes
    ----------
    predicted : (n,) expected outcomes of rows of a new cluster.
    log_density : (J,) of all outcomes of a cluster together; NaN where there is none.
    mean_sd : (J,) standard deviation of the mean error of a cluster that the model expects; NaN likewise.
    """

    predicted: FloatArray
    log_density: FloatArray
    mean_sd: FloatArray


def held_out(fit: AnyFit, frame: pd.DataFrame, y: FloatArray, codes: CodeArray, n_clusters: int) -> HeldOut:
    """Predict rows, and judge their outcomes cluster by cluster.

    Parameters
    ----------
    fit : fitted to other clusters.
    frame : the rows, complete.
    y : (n,) their outcomes.
    codes : (n,) their clusters, 0 .. J - 1.
    n_clusters : J.
    """
    nothing = np.full(n_clusters, np.nan)
    with warnings.catch_warnings():
        # means of new clusters are taken from their own rows, as they should be
        warnings.simplefilter("ignore", DataWarning)
        if isinstance(fit, GeneralizedFit):
            predicted = fit.predict(frame, random_effects="average").to_numpy(dtype=np.float64)
            density = _bernoulli(fit, predicted, y, codes, n_clusters)
            return HeldOut(predicted=predicted, log_density=density, mean_sd=nothing)
        predicted = fit.predict(frame).to_numpy(dtype=np.float64)
        parts = _random_columns(fit, frame) if has_density(fit) else None
    if parts is None:
        return HeldOut(predicted=predicted, log_density=nothing, mean_sd=nothing)
    density, spread = np.empty(n_clusters), np.empty(n_clusters)
    for j in range(n_clusters):
        own = codes == j
        w = np.column_stack([_scaled(part, own) for part in parts]) if parts else np.zeros((int(own.sum()), 0))
        density[j], spread[j] = _normal((y - predicted)[own], w / fit.sigma, fit.sigma)
    return HeldOut(predicted=predicted, log_density=density, mean_sd=spread)


def has_density(fit: AnyFit) -> bool:
    """Whether rows of a new cluster have a joint density that is known: residuals independent and alike."""
    design = fit.design
    plain = design.weights is None and design.residual is None
    return plain and not any(factor.members or factor.structure.fixed.any() for factor in design.factors)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """Random effects of one factor in some rows: Z L (n, q), and levels (n,)."""

    scaled: FloatArray
    levels: CodeArray


def _random_columns(fit: MixedFit | OLSFit, frame: pd.DataFrame) -> "list[_Part] | None":
    """Z L by factor; None where rows have levels that the fit knows, whose effects are no longer random."""
    if isinstance(fit, OLSFit) or not fit.design.factors:
        return []
    columns = Columns.from_frame(frame)
    design = fit.design.spec.evaluate(columns)
    out = []
    for factor, psi in zip(fit.design.factors, fit.cov_re.values(), strict=True):
        own = group_codes(columns, factor.group)
        used = {str(own.levels[int(k)]) for k in np.unique(own.codes)}
        if used & {str(level) for level in factor.levels}:
            return None
        sizes, vectors = np.linalg.eigh(psi.to_numpy(dtype=np.float64))
        root = vectors * np.sqrt(np.maximum(sizes, 0.0))
        out.append(_Part(scaled=design[factor.z].T @ root, levels=own.codes))
    return out


def _scaled(part: _Part, rows: BoolArray) -> FloatArray:
    """Z L of some rows with columns for each level, (m, q levels)."""
    scaled, (_, place) = part.scaled[rows], np.unique(part.levels[rows], return_inverse=True)
    same = place[:, None] == np.arange(place.max() + 1)[None, :]
    return np.asarray((same[:, :, None] * scaled[:, None, :]).reshape(len(scaled), -1))


def _normal(error: FloatArray, w: FloatArray, sigma: float) -> tuple[float, float]:
    """Log density of errors (m,) ~ N(0, sigma² (I + W W')), and the standard deviation of their mean."""
    m = len(error)
    inner = np.eye(w.shape[1]) + w.T @ w
    _, log_det = np.linalg.slogdet(inner)
    inside = w.T @ error
    square = (error @ error - inside @ np.linalg.solve(inner, inside)) / sigma**2
    total = w.sum(axis=0)
    return (
        float(-0.5 * (m * np.log(2.0 * np.pi * sigma**2) + log_det + square)),
        float(sigma * np.sqrt(m + total @ total) / m),
    )


def _bernoulli(
    fit: GeneralizedFit, predicted: FloatArray, y: FloatArray, codes: CodeArray, n_clusters: int
) -> FloatArray:
    """Sums over rows of the log probabilities of 0 and 1, each row by itself; NaN for other outcomes."""
    outcome = fit.outcome
    if fit.family.name != "binomial" or outcome.size.max() > 1.0 or outcome.weight is not None:
        return np.full(n_clusters, np.nan)
    chance = np.clip(np.where(y > 0.5, predicted, 1.0 - predicted), 1e-300, 1.0)
    return np.asarray(np.bincount(codes, np.log(chance), n_clusters), dtype=np.float64)


def refuse_unfit(fit: AnyFit, verb: str) -> None:
    """Refuse fits that cannot be fitted again to a part of their frame.

    Raises
    ------
    CrosslevelError : see above.
    """
    given = fit.given
    reasons = {
        "has an offset, trials or exposure as numbers, which belong to all rows: put them into a column": any(
            not isinstance(given.get(name), str | None) for name in ("offset", "trials", "exposure")
        ),
        "was fitted to data read in batches: fit it to a frame in memory": fit.design.stream is not None,
        "has an outcome given to `refit`: put it into the data": fit.design.response is not None,
        "has an outcome of ordered categories, which have no mean: compare models by cl.lrtest": (
            isinstance(fit, GeneralizedFit) and fit.outcome.categories is not None
        ),
    }
    for reason, holds in reasons.items():
        if holds:
            raise CrosslevelError(f"`{verb}` cannot fit this model to other clusters: it {reason}.")


def outcomes(fit: AnyFit) -> FloatArray:
    """(n,) outcomes of the rows used, of trials their share."""
    if isinstance(fit, GeneralizedFit):
        return np.asarray(fit.outcome.y / fit.outcome.size)
    design = fit.design
    return design.spec.response(design.columns, mask=design.mask)


def weighted_slope(y: FloatArray, x: FloatArray) -> float:
    """Slope of y on x, both (n,), with an intercept; NaN where x does not vary."""
    inside = x - x.mean()
    size = float(inside @ inside)
    return float(inside @ y / size) if size > 1e-12 * float(x @ x) and size > 0.0 else np.nan


def folds_of(n_clusters: int, folds: int, seed: int) -> list[list[int]]:
    """Clusters of each fold, as many in each as can be, at random."""
    place = generator_from(seed).permutation(np.arange(n_clusters) % folds)
    return [np.flatnonzero(place == k).tolist() for k in range(folds)]


def clusters_named(asked: Sequence[object], levels: Sequence[object], group: str) -> list[int]:
    """Positions of clusters by name.

    Raises
    ------
    CrosslevelError : one that there is not.
    """
    known = {str(level): k for k, level in enumerate(levels)}
    absent = [name for name in asked if str(name) not in known]
    if absent or not asked:
        some = ", ".join(list(known)[:6])
        raise CrosslevelError(f"`to` names clusters of {group} ({some}, ...); got {absent[:3] or list(asked)!r}.")
    return sorted({known[str(name)] for name in asked})
