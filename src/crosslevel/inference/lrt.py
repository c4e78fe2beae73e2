"""Likelihood-ratio tests whose null hypothesis lies on the boundary."""

from dataclasses import dataclass
from math import comb

import numpy as np

from crosslevel.inference.distributions import chi_square_tail
from crosslevel.types import FloatArray

DRAWS = 20_000
SEED = 20_170_824
"""Fixed, so that a p-value does not change from call to call."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BoundaryTest:
    """Likelihood-ratio test of no random effects.

    Attributes
    ----------
    statistic : difference of the deviances, at least 0.
    df : number of covariance parameters that the null hypothesis sets to zero.
    p_value : tail probability of the chi-bar-square mixture.
    naive_p_value : tail probability of chi-square with `df` degrees of freedom; too large.
    """

    statistic: float
    df: int
    p_value: float
    naive_p_value: float


def boundary_test(
    statistic: float, blocks: tuple[tuple[int, bool], ...], *, n_parameters: int | None = None
) -> BoundaryTest:
    """Test that the covariance matrix of the random effects is zero.

    Under the null hypothesis the statistic is distributed as the squared length of the projection of a normal vector on
    the cone of positive semi-definite matrices: a mixture of chi-squares (Self & Liang 1987; Stram & Lee 1994). For one
    variance it is 0.5 chi2(0) + 0.5 chi2(1), for s uncorrelated ones binomial weights on chi2(0) .. chi2(s); otherwise
    the mixture is integrated over 20,000 fixed directions, with the information of equally informative clusters, in
    which the cone is the standard one.

    Parameters
    ----------
    statistic : deviance without random effects minus deviance with them.
    blocks : for each block its number of effects, and whether their covariances are free; for structures that tie the
        effects the cone around them (`Covariance.cone`), which makes the p-value an upper bound.
    n_parameters : covariance parameters, where structures have fewer than their cones.
    """
    statistic = max(float(statistic), 0.0)
    df = sum(q * (q + 1) // 2 if free else q for q, free in blocks)
    if all(q == 1 or not free for q, free in blocks):
        variances = sum(q for q, _ in blocks)
        tails = (comb(variances, k) * chi_square_tail(k, statistic) for k in range(variances + 1))
        p_value = float(sum(tails)) * 0.5**variances
    else:
        share = _projected_share(blocks, df)
        ratio = np.divide(statistic, share, out=np.full_like(share, np.inf), where=share > 0.0)
        p_value = float(np.mean(chi_square_tail(df, ratio))) if statistic > 0.0 else 1.0
    df = df if n_parameters is None else n_parameters
    naive = float(chi_square_tail(df, statistic))
    return BoundaryTest(statistic=statistic, df=df, p_value=p_value, naive_p_value=naive)


def _projected_share(blocks: tuple[tuple[int, bool], ...], df: int) -> FloatArray:
    """Squared length of the projection of random unit vectors on the product of the blocks' cones."""
    rng = np.random.default_rng(SEED)
    inside, length = np.zeros(DRAWS), np.zeros(DRAWS)
    for q, free in blocks:
        if not free:
            values: FloatArray = rng.standard_normal((DRAWS, q))
        else:
            # symmetric with the metric of the trace: variance 1 on the diagonal, 1/2 off it
            noise = rng.standard_normal((DRAWS, q, q))
            values = np.linalg.eigvalsh((noise + noise.transpose(0, 2, 1)) / 2.0)
        inside += np.sum(np.maximum(values, 0.0) ** 2, axis=1)
        length += np.sum(values**2, axis=1)
    return inside / length
