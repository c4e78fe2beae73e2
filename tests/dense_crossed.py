"""Brute-force twins of the engine for several grouping factors: Z of all random effects as one dense matrix.

Nothing here comes from `crosslevel`; `np.longdouble` throughout, as in `dense`.
"""

from dataclasses import dataclass

import dense
import numpy as np
from dense import LONG


@dataclass(frozen=True, kw_only=True, eq=False)
class Crossed:
    """y (n,), X (n, p), and for each factor z (n, q) and members (n, J), how much of each level a row has."""

    y: np.ndarray
    X: np.ndarray
    z: tuple[np.ndarray, ...]
    members: tuple[np.ndarray, ...]

    def columns(self, k: int) -> np.ndarray:
        """Z of factor k, (n, J, q)."""
        return self.members[k][:, :, None] * self.z[k][:, None, :]

    @property
    def Z(self) -> np.ndarray:  # noqa: N802
        """Z of all factors, level by level, (n, sum of J q)."""
        n = len(self.y)
        parts = [self.columns(k).reshape(n, -1) for k in range(len(self.z))]
        return np.concatenate([np.zeros((n, 0)), *parts], axis=1).astype(LONG)

    def V(self, psis: tuple[np.ndarray, ...]) -> np.ndarray:  # noqa: N802
        """I + Z Psi Z', Psi (q, q) for each factor."""
        out = np.eye(len(self.y), dtype=LONG)
        for k, psi in enumerate(psis):
            z = self.z[k].astype(LONG)
            out += (self.members[k] @ self.members[k].T) * (z @ np.asarray(psi, dtype=LONG) @ z.T)
        return out


def deviance(
    V: np.ndarray,
    X: np.ndarray,
    y: np.ndarray,
    *,
    reml: bool,
    sigma: float | None = None,
) -> np.longdouble:
    """-2 log density of y ~ N(X beta, sigma^2 V), restricted or not, at the best beta and, unless known, sigma."""
    n, p = X.shape
    nu = n - p if reml else n
    lower = dense.cholesky(V)
    half = dense.forward(lower, np.column_stack([X, y]))
    q, r = dense.orthogonal(half[:, :p])
    rest = half[:, p]
    for _ in range(2):
        rest = rest - q @ (q.T @ rest)
    rss = rest @ rest
    out = 2 * np.log(np.diag(lower)).sum()
    if sigma is None:
        out += nu * (1 + np.log(2 * LONG(np.pi) * rss / nu))
    else:
        out += nu * np.log(2 * LONG(np.pi) * LONG(sigma) ** 2) + rss / LONG(sigma) ** 2
    return out + 2 * np.log(np.abs(np.diag(r))).sum() if reml else out


def projection(V: np.ndarray, X: np.ndarray) -> np.ndarray:
    """P = V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1."""
    inverse = dense.inverse(V)
    half = inverse @ X.astype(LONG)
    return inverse - half @ dense.inverse(X.T.astype(LONG) @ half) @ half.T if X.shape[1] else inverse


def pairs_of(data: Crossed) -> dict[tuple[int, int], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For factors k <= l, start, levels and blocks Z_j'Z_l of levels that share rows; within a factor l > j only."""
    out = {}
    for k in range(len(data.z)):
        for m in range(k, len(data.z)):
            start, level, block = [0], [], []
            for j in range(data.members[k].shape[1]):
                for c in range(j + 1 if k == m else 0, data.members[m].shape[1]):
                    if np.any(data.members[k][:, j] * data.members[m][:, c] != 0.0):
                        level.append(c)
                        block.append(data.columns(k)[:, j].T @ data.columns(m)[:, c])
                start.append(len(level))
            if k < m or level:
                shape = (-1, data.z[k].shape[1], data.z[m].shape[1])
                out[k, m] = np.array(start), np.array(level, dtype=np.int32), np.array(block, float).reshape(shape)
    return out
