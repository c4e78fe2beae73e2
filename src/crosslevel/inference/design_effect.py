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


def regressor_correlations(squares: FloatArray, bread: FloatArray, turn: FloatArray, size: float) -> FloatArray:
    """Intraclass correlation of what each regressor has of its own, which decides what clusters do to its coefficient.

    With x_k less what the other regressors explain of it, m_gk its mean in cluster g and b the effective size,

        r_k = (sum_g n_g^2 m_gk^2 / sum x_k^2 - 1) / (b - 1),

    the mean product of two rows of a cluster relative to the mean square. If the errors of two rows of a cluster
    correlate by rho, the variance of the coefficient is 1 + (b - 1) r_k rho times that of independent errors.

    Source: Moulton (1986), J. Econometrics 32: 385-397; Scott & Holt (1982), J. Am. Stat. Assoc. 77: 848-854.

    Parameters
    ----------
    squares : (p, p) sum over clusters of X'1 1'X.
    bread : (p, p) M = (X'X)^-1.
    turn : (p, p) coefficients are turn @ those that X belongs to.
    size : b.

    Examples
    --------
    >>> import numpy as np
    >>> regressor_correlations(np.array([[8.0]]), np.array([[1.0 / 4.0]]), np.eye(1), 2.0).tolist()
    [1.0]
    """
    half = turn @ bread
    ratio = np.einsum("ka,ab,kb->k", half, squares, half) / np.einsum("ka,kb,ab->k", turn, turn, bread)
    return np.asarray((ratio - 1.0) / (size - 1.0))


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
