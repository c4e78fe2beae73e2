"""Brute-force twins of the engine: whole n x n matrices, one step of algebra per line, no cleverness.

Everything is computed in `np.longdouble` (64 bits of mantissa on x86) with plain loops, since LAPACK has doubles only:
the twin should not be the one that rounds. Nothing here comes from `crosslevel`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

LONG = np.longdouble


def cholesky(a: np.ndarray) -> np.ndarray:
    """Lower triangular L with L L' = a."""
    rest = np.array(a, dtype=LONG)
    out = np.zeros_like(rest)
    for k in range(len(rest)):
        if not rest[k, k] > 0.0:
            raise ValueError("not positive definite")
        out[k:, k] = rest[k:, k] / np.sqrt(rest[k, k])
        rest[k:, k:] -= np.outer(out[k:, k], out[k:, k])
    return out


def forward(lower: np.ndarray, b: np.ndarray) -> np.ndarray:
    """L^-1 b."""
    out = np.array(b, dtype=LONG)
    for k in range(len(lower)):
        out[k] = (out[k] - lower[k, :k] @ out[:k]) / lower[k, k]
    return out


def backward(upper: np.ndarray, b: np.ndarray) -> np.ndarray:
    """U^-1 b."""
    return forward(upper[::-1, ::-1], np.asarray(b)[::-1])[::-1]


def inverse(a: np.ndarray) -> np.ndarray:
    """Inverse of a positive definite matrix."""
    half = forward(cholesky(a), np.eye(len(a)))
    return half.T @ half


def orthogonal(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Q (n, p) and upper triangular R with Q R = a, by Gram and Schmidt, twice for orthogonality."""
    q, r = np.array(a, dtype=LONG), np.zeros((a.shape[1], a.shape[1]), dtype=LONG)
    for j in range(a.shape[1]):
        for _ in range(2):
            part = q[:, :j].T @ q[:, j]
            r[:j, j] += part
            q[:, j] -= q[:, :j] @ part
        r[j, j] = np.sqrt(q[:, j] @ q[:, j])
        q[:, j] /= r[j, j]
    return q, r


@dataclass(frozen=True, kw_only=True, eq=False)
class Data:
    """y (n,), X (n, p), Z (n, q) with the columns that vary between clusters, codes (n,) of the clusters."""

    y: np.ndarray
    X: np.ndarray
    Z: np.ndarray
    codes: np.ndarray

    @property
    def same(self) -> np.ndarray:
        """(n, n) whether two rows are of one cluster."""
        return self.codes[:, None] == self.codes

    def V(self, psi: np.ndarray) -> np.ndarray:  # noqa: N802
        """I + Z Psi Z', over all rows."""
        Z = self.Z.astype(LONG)
        return np.eye(len(self.y), dtype=LONG) + (Z @ psi.astype(LONG) @ Z.T) * self.same


@dataclass(frozen=True, kw_only=True, eq=False)
class Profile:
    """Deviance at a fixed Psi, with the beta and sigma that minimise it, and the covariance of beta."""

    deviance: float
    beta: np.ndarray
    sigma: float
    vcov: np.ndarray


def profile(data: Data, psi: np.ndarray, *, reml: bool) -> Profile:
    """-2 log density of y ~ N(X beta, sigma^2 V), restricted or not, at the best beta and sigma."""
    n, p = data.X.shape
    nu = n - p if reml else n
    lower = cholesky(data.V(psi))
    q, r = orthogonal(forward(lower, data.X))
    y = forward(lower, data.y)
    for _ in range(2):
        y = y - q @ (q.T @ y)
    rss = y @ y
    deviance = 2 * np.log(np.diag(lower)).sum() + nu * (1 + np.log(2 * LONG(np.pi) * rss / nu))
    if reml:
        deviance += 2 * np.log(np.diag(r)).sum()
    half = backward(r, np.eye(p))
    return Profile(
        deviance=float(deviance),
        beta=backward(r, q.T @ forward(lower, data.y)).astype(float),
        sigma=float(np.sqrt(rss / nu)),
        vcov=(half @ half.T * rss / nu).astype(float),
    )


def joint_deviance(data: Data, covariance: np.ndarray, sigma: float, *, reml: bool) -> np.longdouble:
    """-2 log density at a covariance matrix of the random effects and a sigma; only beta is profiled out."""
    n, p = data.X.shape
    sigma2 = LONG(sigma) ** 2
    lower = cholesky(data.V(np.asarray(covariance) / sigma2) * sigma2)
    q, r = orthogonal(forward(lower, data.X))
    y = forward(lower, data.y)
    y = y - q @ (q.T @ y)
    out = 2 * np.log(np.diag(lower)).sum() + (n - p if reml else n) * np.log(2 * LONG(np.pi)) + y @ y
    return out + 2 * np.log(np.diag(r)).sum() if reml else out


def modes(data: Data, psi: np.ndarray, *, reml: bool) -> tuple[np.ndarray, np.ndarray]:
    """Conditional means (J, q) and covariances (J, q, q) of the random effects given y, at the estimated beta."""
    at = profile(data, psi, reml=reml)
    resid = data.y - data.X.astype(LONG) @ at.beta
    precision = inverse(data.V(psi))
    means, covariances = [], []
    for g in range(int(data.codes.max()) + 1):
        Z = np.where((data.codes == g)[:, None], data.Z, 0.0).astype(LONG)
        means.append(psi @ Z.T @ precision @ resid)
        covariances.append(at.sigma**2 * (psi - psi @ Z.T @ precision @ Z @ psi))
    return np.array(means, dtype=float), np.array(covariances, dtype=float)


def moments(rows: np.ndarray, codes: np.ndarray, n_clusters: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts (J,), means (J, m) and centred scatter (J, m, m) of columns (m, n) by cluster; zero where it is absent."""
    m = len(rows)
    count, mean, scatter = np.zeros(n_clusters), np.zeros((n_clusters, m), LONG), np.zeros((n_clusters, m, m))
    for g in np.unique(codes):
        mine = rows[:, codes == g].astype(LONG)
        count[g], mean[g] = mine.shape[1], mine.mean(axis=1)
        scatter[g] = (mine - mean[g][:, None]) @ (mine - mean[g][:, None]).T
    return count, mean, scatter


def gradient(function: Callable[[np.ndarray], float], at: np.ndarray, step: float = 1e-4) -> np.ndarray:
    """Central differences of fourth order."""
    out = []
    for direction in np.eye(len(at)) * step:
        near = function(at + direction) - function(at - direction)
        far = function(at + 2 * direction) - function(at - 2 * direction)
        out.append((8 * near - far) / (12 * step))
    return np.array(out, dtype=float)


def hessian(function: Callable[[np.ndarray], float], at: np.ndarray, step: float = 2e-3) -> np.ndarray:
    """Second derivatives by central differences at two steps, extrapolated to fourth order."""
    return (4.0 * _second_differences(function, at, step / 2.0) - _second_differences(function, at, step)) / 3.0


def _second_differences(function: Callable[[np.ndarray], float], at: np.ndarray, step: float) -> np.ndarray:
    """Second derivatives by central differences."""
    k = len(at)
    out = np.zeros((k, k))
    for i in range(k):
        for j in range(i + 1):
            a, b = np.eye(k)[i] * step, np.eye(k)[j] * step
            cross = function(at + a + b) - function(at + a - b) - function(at - a + b) + function(at - a - b)
            out[i, j] = out[j, i] = float(cross / (4 * step * step))
    return out
