"""Structures whose effects are free of each other: any covariances at all, or none."""

from functools import cache

import numpy as np

from crosslevel.covariance.base import Covariance
from crosslevel.types import FloatArray, IntArray


class Unstructured(Covariance):
    """All variances and covariances free: theta is the lower triangle of Lambda, column by column."""

    free = True
    scalable = True
    linear = True
    additive = True

    def n_theta(self, q: int) -> int:
        """Return q (q + 1) / 2."""
        return q * (q + 1) // 2

    def factor(self, theta: FloatArray, q: int) -> FloatArray:
        """Lambda with theta in its lower triangle, column by column."""
        out = np.zeros((q, q))
        out[lower_triangle(q)] = theta
        return out

    def factor_gradient(self, theta: FloatArray, q: int) -> FloatArray:
        """One unit matrix per element of the lower triangle."""
        return unit_matrices(q, diagonal=False)

    def nearest(self, factor: FloatArray) -> FloatArray:
        """Lower triangle of the triangular L with L L' = factor factor' and a non-negative diagonal."""
        lower = np.asarray(np.linalg.qr(factor.T, mode="r")).T
        q = factor.shape[0]
        square = np.zeros((q, q))
        square[:, : lower.shape[1]] = lower
        square *= np.where(np.diag(square) < 0.0, -1.0, 1.0)
        return np.asarray(square[lower_triangle(q)])


class Diagonal(Covariance):
    """Variances free, covariances zero: theta holds the relative standard deviations."""

    free = False
    scalable = True
    linear = True
    additive = True

    def n_theta(self, q: int) -> int:
        """Return q."""
        return q

    def factor(self, theta: FloatArray, q: int) -> FloatArray:
        """Lambda = diag(theta)."""
        return np.diag(theta)

    def factor_gradient(self, theta: FloatArray, q: int) -> FloatArray:
        """One unit matrix per diagonal element."""
        return unit_matrices(q, diagonal=True)

    def nearest(self, factor: FloatArray) -> FloatArray:
        """Square roots of the diagonal of factor factor'."""
        return np.asarray(np.sqrt(np.einsum("ij,ij->i", factor, factor)))


@cache
def lower_triangle(q: int) -> tuple[IntArray, IntArray]:
    """Rows and columns of the lower triangle of a (q, q) matrix, column by column."""
    columns, rows = np.triu_indices(q)
    return rows, columns


@cache
def unit_matrices(q: int, *, diagonal: bool) -> FloatArray:
    """For each element of the lower triangle, or of the diagonal, the (q, q) matrix with 1 there and 0 elsewhere."""
    rows, columns = (np.arange(q), np.arange(q)) if diagonal else lower_triangle(q)
    out = np.zeros((len(rows), q, q))
    out[np.arange(len(rows)), rows, columns] = 1.0
    out.setflags(write=False)
    return out
