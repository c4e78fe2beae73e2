"""Structures that carry a known matrix."""

import numpy as np

from crosslevel.covariance.base import Covariance
from crosslevel.types import FloatArray

SYMMETRIC = 1e-8
"""Difference of the two halves of a matrix, relative to its largest element, that is rounding."""

SINGULAR = 1e-12
"""Least eigenvalue of a matrix, relative to the largest, that counts as zero."""


class Proportional(Covariance):
    """Psi = s^2 V with V known and theta = (s,).

    Parameters
    ----------
    matrix : (q, q) V, symmetric and positive definite.

    Raises
    ------
    ValueError : it is not; the message says what is wrong with "the matrix".
    """

    free = False
    scalable = False
    linear = True
    additive = False

    def __init__(self, matrix: FloatArray) -> None:
        self.matrix = covariance_matrix(matrix)
        self.root = np.asarray(np.linalg.cholesky(self.matrix))

    def n_theta(self, q: int) -> int:
        """Return 1."""
        return 1

    def factor(self, theta: FloatArray, q: int) -> FloatArray:
        """Lambda = s L with L L' = V."""
        return np.asarray(theta[0] * self.root)

    def factor_gradient(self, theta: FloatArray, q: int) -> FloatArray:
        """L."""
        return self.root[None]

    def nearest(self, factor: FloatArray) -> FloatArray:
        """Member with the same sum of variances."""
        return np.array([np.sqrt(np.sum(factor**2) / np.sum(self.root**2))])

    def members(self, q: int) -> FloatArray:
        """The matrix, with a mean variance of 1."""
        return np.asarray(self.root[None] / np.sqrt(np.sum(self.root**2) / q))

    def cone(self, q: int) -> tuple[int, bool]:
        """One variance."""
        return 1, False

    def names(self, effects: tuple[str, ...]) -> tuple[str, ...]:
        """What the matrix is multiplied by."""
        return ("sd per unit of the matrix",)

    def natural(self, theta: FloatArray, q: int) -> FloatArray:
        """Relative standard deviation per unit of the matrix."""
        return np.abs(theta)


class Fixed(Covariance):
    """Psi = V / sigma^2: the covariance V is known in the squared units of the outcome, and theta is empty.

    Relative to the residual standard deviation, Lambda = L / sigma with L L' = V; `at_sigma` says which sigma that is.

    Parameters
    ----------
    matrix : (q, q) V, symmetric and positive definite.
    sigma : what Lambda is relative to.

    Raises
    ------
    ValueError : it is not; the message says what is wrong with "the matrix".
    """

    free = False
    scalable = False
    linear = True
    additive = False
    fixed = True

    def __init__(self, matrix: FloatArray, sigma: float = 1.0) -> None:
        self.matrix = covariance_matrix(matrix)
        self.root = np.asarray(np.linalg.cholesky(self.matrix)) / sigma

    def n_theta(self, q: int) -> int:
        """Return 0."""
        return 0

    def factor(self, theta: FloatArray, q: int) -> FloatArray:
        """Lambda = L / sigma."""
        return self.root

    def factor_gradient(self, theta: FloatArray, q: int) -> FloatArray:
        """Nothing: (0, q, q)."""
        return np.zeros((0, q, q))

    def nearest(self, factor: FloatArray) -> FloatArray:
        """Nothing: (0,)."""
        return np.zeros(0)

    def members(self, q: int) -> FloatArray:
        """None to choose among: (0, q, q)."""
        return np.zeros((0, q, q))

    def at_sigma(self, sigma: float) -> "Fixed":
        """Return the structure relative to another residual standard deviation."""
        return Fixed(self.matrix, sigma)

    def cone(self, q: int) -> tuple[int, bool]:
        """Nothing to test."""
        return 0, False


def covariance_matrix(matrix: FloatArray) -> FloatArray:
    """A matrix (q, q) that is a positive definite covariance matrix, made exactly symmetric.

    Raises
    ------
    ValueError : it is none; the message says what is wrong with "the matrix".
    """
    matrix = np.array(matrix, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(f"the matrix must be square; got shape {matrix.shape}")
    if not np.all(np.isfinite(matrix)):
        raise ValueError("the matrix must hold finite numbers; some are missing or infinite")
    largest = float(np.abs(matrix).max())
    if np.abs(matrix - matrix.T).max() > SYMMETRIC * largest:
        i, j = np.unravel_index(np.argmax(np.abs(matrix - matrix.T)), matrix.shape)
        raise ValueError(
            f"the matrix must be symmetric; row {i + 1}, column {j + 1} holds {matrix[i, j]:.6g}, and row {j + 1}, "
            f"column {i + 1} holds {matrix[j, i]:.6g}"
        )
    matrix = 0.5 * (matrix + matrix.T)
    values = np.linalg.eigvalsh(matrix)
    if values[0] <= SINGULAR * values[-1]:
        raise ValueError(
            "the matrix must be a covariance matrix in which no combination of the effects is without variance; "
            f"its eigenvalues run from {values[0]:.6g} to {values[-1]:.6g}"
        )
    return matrix
