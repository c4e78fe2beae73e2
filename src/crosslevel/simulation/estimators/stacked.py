"""Algebra of many small matrices at once: element by element, each element being an array over the matrices.

Matrices A are arrays (m, m, ...), so that A[i, j] is a contiguous array of that element in all of them. Nothing is
raised: where a matrix is singular its result is NaN, so that one replication of simulated data stops no other.
"""

from dataclasses import dataclass, field

import numpy as np

from crosslevel.types import BoolArray, FloatArray

ALIASED, RELATIVE = 1e-11, 1e-26
"""Limits of `design.reduced.independent_columns`."""


def cholesky(a: FloatArray) -> FloatArray:
    """Lower factors (m, m, ...) of symmetric matrices, NaN where they are not positive definite."""
    out = np.zeros_like(a)
    for j in range(len(a)):
        pivot = a[j, j] - np.sum(out[j, :j] ** 2, axis=0)
        out[j, j] = np.sqrt(np.where(pivot > 0.0, pivot, np.nan))
        for i in range(j + 1, len(a)):
            out[i, j] = (a[i, j] - np.sum(out[i, :j] * out[j, :j], axis=0)) / out[j, j]
    return out


def inverse_lower(chol: FloatArray) -> FloatArray:
    """Inverses (m, m, ...) of lower triangular matrices."""
    out = np.zeros_like(chol)
    for j in range(len(chol)):
        out[j, j] = 1.0 / chol[j, j]
        for i in range(j + 1, len(chol)):
            out[i, j] = -np.sum(chol[i, j:i] * out[j:i, j], axis=0) / chol[i, i]
    return out


def inner(half: FloatArray) -> FloatArray:
    """H'H (m, m, ...) of lower triangular H."""
    out = np.empty_like(half)
    for i in range(len(half)):
        for j in range(i + 1):
            out[i, j] = out[j, i] = np.sum(half[i:, i] * half[i:, j], axis=0)
    return out


def inverse(a: FloatArray) -> FloatArray:
    """Inverses (m, m, ...) of positive definite matrices, NaN where they are not."""
    return inner(inverse_lower(cholesky(a)))


def times(a: FloatArray, b: FloatArray) -> FloatArray:
    """A b (m, ...) of matrices (m, k, ...) and vectors (k, ...), whose trailing axes broadcast."""
    return np.stack([np.sum(row * b, axis=0) for row in a])


def independent(columns: FloatArray, able: BoolArray, constant: int) -> BoolArray:
    """Whether (R,) no column is a combination of earlier ones, as `design.reduced.independent_columns` judges it.

    Parameters
    ----------
    columns, able : (k, R, J) values, and (R, J) which of them count.
    constant : which column is the intercept, -1 for none.
    """
    n = able.sum(axis=1)
    mean = np.sum(np.where(able, columns, 0.0), axis=2) / n
    used = np.where(able, columns - mean[:, :, None] if constant >= 0 else columns, 0.0)
    gram = np.einsum("irj,krj->ikr", used, used)
    size, out = np.einsum("iir->ir", gram).copy(), np.ones(len(n), dtype=np.bool_)
    for i in range(len(columns)):
        if i != constant:
            out &= (gram[i, i] > ALIASED * size[i]) & (size[i] > RELATIVE * (size[i] + n * mean[i] ** 2))
            gram = gram - gram[:, i, None] * gram[None, i] / np.where(gram[i, i] > 0.0, gram[i, i], np.inf)
    return out


@dataclass(frozen=True, kw_only=True, eq=False)
class Solved:
    """Weighted least squares with d regressors in each of R replications, with a row for each of J clusters.

    Attributes
    ----------
    root : (R, J) square roots of the weights, zero for clusters that are not used.
    orthogonal, half : (d, R, J) Q and (d, d, R) U^-1, with sqrt(W) D = Q U.
    coefficients, residual, leverage : (d, R), (R, J), (R, J).
    """

    root: FloatArray = field(repr=False)
    orthogonal: FloatArray = field(repr=False)
    half: FloatArray = field(repr=False)
    coefficients: FloatArray = field(repr=False)
    residual: FloatArray = field(repr=False)
    leverage: FloatArray = field(repr=False)

    @property
    def df(self) -> FloatArray:
        """(R,) clusters - regressors."""
        return np.asarray(np.count_nonzero(self.root, axis=1) - len(self.orthogonal), dtype=np.float64)

    def influence(self, i: int) -> FloatArray:
        """(R, J) by how much coefficient i rises with the outcome of each cluster."""
        return np.asarray(np.sum(self.half[i, i:, :, None] * self.orthogonal[i:], axis=0) * self.root)


def least_squares(y: FloatArray, regressors: FloatArray, weights: FloatArray) -> Solved:
    """Weighted least squares by Gram and Schmidt, each column made orthogonal twice; NaN where columns are dependent.

    Parameters
    ----------
    y, regressors, weights : (R, J), (d, R, J), (R, J); the weight of clusters that are not used is zero.
    """
    d, root = len(regressors), np.sqrt(weights)
    orthogonal, upper = root * regressors, np.zeros((d, d, len(y)))
    for c in range(d):
        size = np.sum(orthogonal[c] ** 2, axis=1)
        for _ in range(2):
            along = np.sum(orthogonal[:c] * orthogonal[c], axis=2)
            upper[:c, c] += along
            orthogonal[c] -= np.sum(along[:, :, None] * orthogonal[:c], axis=0)
        left = np.sum(orthogonal[c] ** 2, axis=1)
        upper[c, c] = np.sqrt(np.where(left > RELATIVE * size, left, np.nan))
        orthogonal[c] /= upper[c, c][:, None]
    half = inverse_lower(upper.transpose(1, 0, 2)).transpose(1, 0, 2)
    image = np.sum(orthogonal * (root * y), axis=2)
    residual = root * y - np.sum(image[:, :, None] * orthogonal, axis=0)
    return Solved(
        root=root, orthogonal=orthogonal, half=half, coefficients=times(half, image),
        residual=np.divide(residual, root, out=np.zeros_like(residual), where=root > 0.0),
        leverage=np.sum(orthogonal**2, axis=0),
    )  # fmt: skip
