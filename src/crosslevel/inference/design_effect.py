"""How much the clustering of rows takes from the precision of a mean."""

from dataclasses import dataclass

import numpy as np

from crosslevel.inference.distributions import normal_quantile
from crosslevel.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class ClusterSize:
    """The size of clusters that stands for unequal ones in the variance of a mean.

    Attributes
    ----------
    clusters : J.
    rows : n.
    mean : n / J.
    effective : b = sum over clusters of W_j^2 / sum over rows of w^2, W_j being the sum of the weights in cluster j;
        without weights sum n_j^2 / n, which is n / J times one plus the squared coefficient of variation of the sizes.
    weighting : 1 + the squared coefficient of variation of the rows' weights, n sum w^2 / (sum w)^2.
    """

    clusters: int
    rows: int
    mean: float
    effective: float
    weighting: float


def cluster_size(sums: FloatArray, *, rows: int, squares: float | None = None) -> ClusterSize:
    """Representative size of clusters.

    Parameters
    ----------
    sums : (J,) rows of each cluster, or with sampling weights the sums of their weights.
    rows : n.
    squares : sum over rows of w^2; None if all weigh 1.

    Source
    ------
    Kish (1965), Survey Sampling; with weights Gabler, Haeder & Lahiri (1999), Surv. Methodol. 25: 105-106.

    Examples
    --------
    >>> import numpy as np
    >>> size = cluster_size(np.array([3.0, 1.0]), rows=4)
    >>> size.mean, size.effective, size.weighting
    (2.0, 2.5, 1.0)
    """
    each = float(rows) if squares is None else squares
    return ClusterSize(
        clusters=len(sums),
        rows=rows,
        mean=rows / len(sums),
        effective=float(np.sum(sums**2)) / each,
        weighting=rows * each / float(sums.sum()) ** 2,
    )


def joint_effect(
    tau: FloatArray, residual: float, sizes: FloatArray, gradients: FloatArray, vcov: FloatArray, level: float
) -> tuple[float, float, float]:
    """Design effect of several grouping factors together, with its interval on the log scale.

    With b_k the effective size of factor k's clusters, (sum tau_k b_k + sigma^2) / (sum tau_k + sigma^2), the variance
    of a mean relative to that of as many independent rows.

    Parameters
    ----------
    tau, residual : (K,) variances of the intercepts, and of the residuals.
    sizes : (K,) b_k.
    gradients : (K + 1, m) derivatives of the variances, the residual's last, in the parameters.
    vcov : (m, m) sampling covariance of these.
    level : confidence level.

    Returns
    -------
    estimate, low, high.
    """
    above, below = float(tau @ sizes + residual), float(tau.sum() + residual)
    change = np.append(sizes, 1.0) @ gradients / above - np.ones(len(gradients)) @ gradients / below
    half = normal_quantile(0.5 + level / 2.0) * float(np.sqrt(change @ vcov @ change))
    estimate = above / below
    return estimate, float(estimate * np.exp(-half)), float(estimate * np.exp(half))
