"""Separate regressions in the clusters of many replications, as in `inference.separate`: the first of two steps."""

from dataclasses import dataclass, field

import numpy as np

from crosslevel.design.build import CONSTANT
from crosslevel.design.reduced import ALIAS_TOLERANCE
from crosslevel.inference.separate import EXACT
from crosslevel.simulation.estimators.stacked import cholesky, inner, inverse_lower, times
from crosslevel.types import BoolArray, FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class FirstSteps:
    """Regressions with p coefficients in J clusters of R replications.

    Attributes
    ----------
    able : (R, J) which clusters have one.
    beta : (p, R, J) coefficients, the intercept first.
    sampling : (p, p, R, J) their sampling covariances.
    """

    able: BoolArray = field(repr=False)
    beta: FloatArray = field(repr=False)
    sampling: FloatArray = field(repr=False)


@np.errstate(all="ignore")  # clusters that are left out may hold anything
def first_steps(
    count: FloatArray, mean: FloatArray, scatter: FloatArray, *, intercept: bool, pooled: bool
) -> FirstSteps:
    """Regress the last column on the others in every cluster that allows it.

    Parameters
    ----------
    count, mean, scatter : (R, J), (R, J, q + 1), (R, J, q + 1, q + 1) of the slopes' columns and the outcome.
    intercept : whether there is an intercept besides.
    pooled : whether all clusters share one residual variance.
    """
    q, p = mean.shape[2] - 1, mean.shape[2] - 1 + intercept
    means = np.ascontiguousarray(mean.transpose(2, 0, 1))
    gram = np.ascontiguousarray(scatter.transpose(2, 3, 0, 1))
    if not intercept:
        gram += count * means[:, None] * means
    size = np.maximum(np.einsum("iirj->irj", gram), 0.0)
    flat = size <= CONSTANT * typical_squares(count, means, scatter, centred=intercept)[:, :, None] * count
    size = np.sqrt(np.where(flat, 1.0, size))
    gram /= size[:, None] * size
    chol = cholesky(gram[:q, :q])
    half = inverse_lower(chol)
    image = times(half, gram[q, :q])
    rest = gram[q, q] - np.sum(image**2, axis=0)
    slopes = times(half.transpose(1, 0, 2, 3), image) * size[q] / size[:q]
    unscaled = inner(half) / (size[:q, None] * size[:q])

    able = (count >= p + (not pooled)) & ~np.any(flat[:q], axis=0)
    able &= np.all(np.einsum("iirj->irj", chol) ** 2 > ALIAS_TOLERANCE, axis=0)
    if not pooled:
        able &= ~flat[q] & (rest > EXACT)
    squares, free = np.maximum(rest, 0.0) * size[q] ** 2, np.maximum(count - p, 1.0)
    if pooled:
        squares = np.sum(np.where(able, squares, 0.0), axis=1)[:, None]
        free = np.maximum(np.sum(np.where(able, count - p, 0.0), axis=1), 1.0)[:, None]
    if intercept:
        slopes, unscaled = with_intercept(slopes, unscaled, means, count)
    return FirstSteps(able=able, beta=slopes, sampling=unscaled * (squares / free))


def typical_squares(count: FloatArray, means: FloatArray, scatter: FloatArray, *, centred: bool) -> FloatArray:
    """(q + 1, R) mean squares of the columns over all rows, about their means if they are `centred`."""
    n = np.maximum(count.sum(axis=1), 1.0)
    grand = np.sum(count * means, axis=2) / n
    within = np.einsum("rjii->ir", scatter)
    out = (within + np.sum(count * (means - grand[:, :, None]) ** 2, axis=2)) / n
    return np.asarray(out if centred else out + grand**2)


def with_intercept(
    slopes: FloatArray, inverse: FloatArray, means: FloatArray, count: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Coefficients (p, R, J) and (X'X)^-1 (p, p, R, J) with the intercept in front."""
    turned = times(inverse, means[:-1])
    q, shape = len(slopes), slopes.shape[1:]
    beta, unscaled = np.empty((q + 1, *shape)), np.empty((q + 1, q + 1, *shape))
    beta[1:], beta[0] = slopes, means[-1] - np.sum(means[:-1] * slopes, axis=0)
    unscaled[1:, 1:], unscaled[0, 0] = inverse, 1.0 / count + np.sum(means[:-1] * turned, axis=0)
    unscaled[0, 1:] = unscaled[1:, 0] = -turned
    return beta, unscaled
