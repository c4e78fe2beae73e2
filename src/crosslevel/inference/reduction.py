"""Proportional reductions: of single variances, and of the error of predicting rows and clusters' means."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from crosslevel.types import CodeArray, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Reduction:
    """A variance compared with that of a baseline.

    Attributes
    ----------
    group, term : the grouping factor and the random effect; "Residual" and "".
    baseline : the model it is compared with: "intercept only", "random coefficients" or "given".
    null, model : the variance in the baseline and in the model.
    """

    group: str
    term: str
    baseline: str
    null: float
    model: float

    @property
    def r2(self) -> float:
        """(null - model) / null, NaN where the baseline has none; negative if the variance has grown."""
        return (self.null - self.model) / self.null if self.null > 0.0 else float("nan")


@dataclass(frozen=True, kw_only=True, eq=False)
class LevelReduction:
    """The error of predicting a row, or the mean of a cluster, compared with that of the null model.

    Attributes
    ----------
    level : "rows", or the grouping factor whose clusters' means are predicted.
    null, model : the variance of the error in both.
    size : representative (harmonic mean) number of rows in a cluster; 1 for rows.
    """

    level: str
    null: float
    model: float
    size: float

    @property
    def r2(self) -> float:
        """1 - model / null."""
        return 1.0 - self.model / self.null


def mean_variance_weights(
    counts: Sequence[IntArray], codes: Sequence[CodeArray], times: FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    """How much of each variance is in the mean of a cluster, at the average of the clusters.

    The mean of cluster j of factor k, with n_j rows of which n_jl are in level l of factor g, has the variance

        sigma^2 / n_j + sum over factors g of tau_g sum over l of (n_jl / n_j)^2,

    where the sum over l is 1 for the factor itself and for those that it is nested in. Its average over j has sigma^2 /
    (harmonic mean of n_j): with one factor, this is the level-2 variance of Snijders & Bosker.

    Parameters
    ----------
    counts : for each factor (J,) rows of its levels.
    codes : for each factor, (n,) level of each row; with one factor nobody asks.
    times : (n,) how often each row counts; None if once.

    Returns
    -------
    sizes : (K,) harmonic mean of the number of rows in a level.
    weights : (K, K) of tau_g in the mean of a cluster of k.

    Examples
    --------
    >>> import numpy as np
    >>> school, pupil = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 2, 2])
    >>> counts = [np.bincount(school), np.bincount(pupil)]
    >>> sizes, weights = mean_variance_weights(counts, [school, pupil], None)
    >>> sizes.round(2).tolist(), weights.round(3).tolist()
    ([2.4, 1.5], [[1.0, 0.778], [1.0, 1.0]])
    """
    sizes = np.array([len(count) / float(np.sum(1.0 / count)) for count in counts])
    weights = np.ones((len(counts), len(counts)))
    for k, g in permutations(range(len(counts)), 2):
        pairs, place = np.unique(codes[k].astype(np.int64) * len(counts[g]) + codes[g], return_inverse=True)
        shares = np.bincount(place, times) / counts[k][pairs // len(counts[g])]
        weights[k, g] = float(np.sum(shares**2)) / len(counts[k])
    return sizes, weights


def level_variances(tau: FloatArray, residual: float, sizes: FloatArray, weights: FloatArray) -> FloatArray:
    """Variance (1 + K,) of the error of predicting a row, and the mean of a cluster of each factor, by the fixed part.

    Parameters
    ----------
    tau : (K,) variances of the random intercepts.
    residual : residual variance.
    sizes, weights : see `mean_variance_weights`.

    Source
    ------
    Snijders & Bosker (1994), Sociol. Methods Res. 22: 342-363; (2012), Multilevel Analysis, 2nd ed., ch. 7.
    For more than two levels, and for crossed factors, the same variances of the same means.

    Examples
    --------
    >>> import numpy as np
    >>> level_variances(np.array([2.0]), 8.0, np.array([4.0]), np.ones((1, 1))).tolist()
    [10.0, 4.0]
    """
    return np.append(tau.sum() + residual, residual / sizes + weights @ tau)
