"""Brute-force twins of the residual structures: R (n, n) element by element, from natural parameters."""

from collections.abc import Callable

import dense
import numpy as np

LONG = np.longdouble


def ar1(time: np.ndarray, unit: np.ndarray, rho: float) -> np.ndarray:
    """rho to the power of the distance in time within a unit."""
    apart = np.abs(time[:, None] - time).astype(LONG)
    return np.where(unit[:, None] == unit, LONG(rho) ** apart, 0.0)


def equal(unit: np.ndarray, rho: float) -> np.ndarray:
    """rho between any two rows of a unit."""
    same = (unit[:, None] == unit).astype(LONG)
    return same * LONG(rho) + np.eye(len(unit)) * (1.0 - LONG(rho))


def free(occasion: np.ndarray, unit: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The elements of a correlation matrix of occasions."""
    return np.where(unit[:, None] == unit, matrix[occasion[:, None], occasion].astype(LONG), 0.0)


def scaled(correlation: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Covariance from correlation and relative standard deviations."""
    return correlation * sd[:, None] * sd


def deviance(
    y: np.ndarray, X: np.ndarray, V: np.ndarray, *, reml: bool, sigma: float | None = None
) -> tuple[float, np.ndarray, np.ndarray, float]:
    """-2 log density of y ~ N(X beta, sigma^2 V) at the best beta (and sigma): value, beta, its covariance, sigma."""
    n, p = X.shape
    nu = n - p if reml else n
    lower = dense.cholesky(V)
    q, r = dense.orthogonal(dense.forward(lower, X))
    white = dense.forward(lower, y)
    for _ in range(2):
        white = white - q @ (q.T @ white)
    rss = white @ white
    size = rss / nu if sigma is None else LONG(sigma) ** 2
    out = 2 * np.log(np.diag(lower)).sum() + nu * np.log(2 * LONG(np.pi) * size) + rss / size
    if reml:
        out += 2 * np.log(np.abs(np.diag(r))).sum()
    half = dense.backward(r, np.eye(p))
    beta = dense.backward(r, q.T @ dense.forward(lower, y))
    return float(out), beta.astype(float), (half @ half.T * size).astype(float), float(np.sqrt(size))


def jacobian(function: Callable[[np.ndarray], np.ndarray], at: np.ndarray, step: float = 1e-4) -> np.ndarray:
    """Derivative (k, ...) of an array function by central differences of fourth order."""
    out = []
    for direction in np.eye(len(at)) * step:
        near = function(at + direction) - function(at - direction)
        far = function(at + 2 * direction) - function(at - 2 * direction)
        out.append((8 * near - far) / (12 * step))
    return np.array(out)
