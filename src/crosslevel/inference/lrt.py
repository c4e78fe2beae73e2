"""Likelihood-ratio tests whose null hypothesis lies on the boundary."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from crosslevel.inference.cones import convolved, matrix_weights, orthant_weights, pair_weights
from crosslevel.inference.distributions import chi_square_tail
from crosslevel.types import FloatArray

Blocks: TypeAlias = tuple[tuple[int, bool], ...]
"""Variances that are tested: for each block the number of its effects, and whether their covariances are free."""

Reference: TypeAlias = Literal["exact", "estimated information", "equal information", "upper bound"]
"""How the weights of a mixture were found; see `mixture`."""

REFERENCES: dict[Reference, str] = {
    "exact": "chi-square, or the mixture for one variance, whose weights do not depend on the data",
    "estimated information": "mixture with the weights that the information at the null fit gives",
    "equal information": "mixture with the weights of clusters that are equally informative",
    "upper bound": "mixture of a cone around the structure's covariances: the p-value is an upper bound",
}
"""What they mean, in words."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BoundaryTest:
    """Likelihood-ratio test with variances on the boundary under the null hypothesis.

    Attributes
    ----------
    statistic : difference of the deviances, at least 0.
    df : number of parameters that the null hypothesis takes away.
    p_value : tail probability of the chi-bar-square mixture.
    naive_p_value : tail probability of chi-square with `df` degrees of freedom; too large where variances are tested.
    weights : (m + 1,) of chi-squares with 0 .. m degrees of freedom in the mixture.
    reference : how they were found; see `REFERENCES`.
    """

    statistic: float
    df: int
    p_value: float
    naive_p_value: float
    weights: FloatArray = field(repr=False)
    reference: Reference


def boundary_test(
    statistic: float,
    blocks: Blocks,
    *,
    free: int = 0,
    metric: FloatArray | None = None,
    n_parameters: int | None = None,
    bound: bool = False,
) -> BoundaryTest:
    """Test that some variances are zero, with all covariances of their effects.

    The statistic is distributed as a mixture of chi-squares (Self & Liang 1987; Stram & Lee 1994), `free` degrees of
    freedom more than those of the cone of the variances: for one variance whose effect has r free covariances with
    others 0.5 chi2(r) + 0.5 chi2(r + 1). See `mixture`.

    Parameters
    ----------
    statistic : deviance of the smaller model minus deviance of the larger.
    blocks : for each block its number of tested effects, and whether their covariances are free; for structures that
        tie the effects the cone around them (`Covariance.cone`), which makes the p-value an upper bound.
    free : parameters that the null hypothesis fixes inside of their range: covariances with effects that stay,
        coefficients, parameters of the residuals.
    metric : (k, k) information on the parameters of the cone, the others profiled out; None if it is not known.
    n_parameters : all parameters that are taken away, where structures have fewer than their cones.
    bound : whether some block is the cone around a structure.
    """
    statistic = max(float(statistic), 0.0)
    df = free + sum(q * (q + 1) // 2 if together else q for q, together in blocks)
    own, reference = mixture(blocks, metric)
    weights = np.concatenate([np.zeros(free), own])
    p_value = mixture_tail(weights, statistic)
    df = df if n_parameters is None else n_parameters
    return BoundaryTest(
        statistic=statistic, df=df, p_value=p_value, naive_p_value=float(chi_square_tail(df, statistic)),
        weights=weights, reference="upper bound" if bound else reference,
    )  # fmt: skip


def mixture(blocks: Blocks, metric: FloatArray | None = None) -> tuple[FloatArray, Reference]:
    """Weights (k + 1,) of the mixture for the variances of some blocks, and how they were found.

    Those of one variance are a half each. For several uncorrelated variances, and for two effects with their
    covariance, they follow from the information, if it is given. Otherwise clusters are taken to be equally informative
    and blocks to be independent, which makes the cones standard ones: binomial weights for uncorrelated variances,
    those of `cones.matrix_weights` for blocks.
    """
    sizes = [q for q, together in blocks if together and q > 1]
    n_single = sum(q for q, together in blocks if not (together and q > 1))
    if not sizes and n_single <= 1:
        return convolved([matrix_weights(1)] * n_single), "exact"
    if metric is not None and not sizes:
        return orthant_weights(metric), "estimated information"
    if metric is not None and sizes == [2] and not n_single:
        return pair_weights(metric), "estimated information"
    return convolved([matrix_weights(q) for q in sizes] + [matrix_weights(1)] * n_single), "equal information"


def needs_metric(blocks: Blocks) -> bool:
    """Whether `mixture` would use the information."""
    sizes = [q for q, together in blocks if together and q > 1]
    n_single = sum(q for q, together in blocks if not (together and q > 1))
    return (not sizes and n_single > 1) or (sizes == [2] and not n_single)


def mixture_tail(weights: FloatArray, statistic: float) -> float:
    """P(X >= statistic) under a mixture of chi-squares with 0, 1, .. degrees of freedom."""
    return float(sum(weight * float(chi_square_tail(df, statistic)) for df, weight in enumerate(weights) if weight))
