"""Frames of residuals by row and by cluster, which all kinds of models share."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from crosslevel.inference.effect_spread import mahalanobis, standardised_modes
from crosslevel.inference.prediction import Members
from crosslevel.types import FloatArray, IntArray


def cluster_frame(
    index: pd.Index, names: Sequence[str], modes: FloatArray, covariances: FloatArray | None, variances: FloatArray
) -> pd.DataFrame:
    """Modes (J, q) of random effects, standardised, and their distance from zero.

    Parameters
    ----------
    index : the J levels.
    names : of the q effects.
    modes : (J, q).
    covariances : (J, q, q) of the modes; None where they are not known.
    variances : (q,) of the random effects.
    """
    own = {name: modes[:, k] for k, name in enumerate(names)}
    standard, distance = np.full(modes.shape, np.nan), np.full(len(modes), np.nan)
    dimensions: IntArray = np.zeros(len(modes), dtype=np.int64)
    if covariances is not None:
        standard = standardised_modes(modes, covariances, variances)
        distance, dimensions = mahalanobis(modes, covariances, variances)
    own |= {f"{name}_standardized": standard[:, k] for k, name in enumerate(names)}
    return pd.DataFrame({**own, "mahalanobis": distance, "dimensions": dimensions}, index=index)


def with_residual_means(frame: pd.DataFrame, rows: pd.DataFrame, members: Members) -> pd.DataFrame:
    """Put rows, and means and spread of the residuals of each level's rows, in front of a cluster frame.

    Rows that belong to several levels count in each with their share.
    """
    n_levels, count = len(frame), np.zeros(len(frame))
    sums = np.zeros((3, n_levels))
    conditional, marginal = rows["conditional"].to_numpy(), rows["marginal"].to_numpy()
    size = np.zeros(n_levels)
    for codes, share in members:
        known = codes >= 0
        weight = np.ones(len(codes)) if share is None else share
        own = codes[known]
        size += np.bincount(own, minlength=n_levels)
        count += np.bincount(own, weight[known], n_levels)
        for total, values in zip(sums, (conditional, marginal, conditional**2), strict=True):
            total += np.bincount(own, (weight * values)[known], n_levels)
    means = np.divide(sums, count, out=np.full_like(sums, np.nan), where=count > 0.0)
    spread = np.sqrt(np.maximum(means[2] - means[0] ** 2, 0.0))
    lead = {
        "rows": size.astype(np.int64), "mean_residual": means[0], "mean_marginal": means[1], "sd_residual": spread
    }  # fmt: skip
    return pd.concat([pd.DataFrame(lead, index=frame.index), frame], axis=1)
