"""Brute-force twins of small-sample inference on fixed effects: whole n x n matrices, as the papers write them.

Nothing here comes from `crosslevel`; plain double precision, for problems that are well conditioned.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class KenwardRoger:
    """Adjusted covariance; and what A1 and A2 of a hypothesis are made of: Phi, W and the P_a."""

    adjusted: np.ndarray
    phi: np.ndarray
    weights: np.ndarray
    slopes: list[np.ndarray]

    def moments(self, L: np.ndarray) -> tuple[float, float]:
        """A1 and A2 of Kenward & Roger (1997), p. 987."""
        theta = L.T @ np.linalg.inv(L @ self.phi @ L.T) @ L
        moved = [theta @ self.phi @ P @ self.phi for P in self.slopes]
        pairs = [(a, b) for a in range(len(moved)) for b in range(len(moved))]
        a1 = sum(self.weights[a, b] * np.trace(moved[a]) * np.trace(moved[b]) for a, b in pairs)
        a2 = sum(self.weights[a, b] * np.trace(moved[a] @ moved[b]) for a, b in pairs)
        return float(a1), float(a2)

    def test(self, L: np.ndarray, beta: np.ndarray) -> tuple[float, float]:
        """Scaled F and its denominator degrees of freedom, p. 988."""
        r = len(L)
        a1, a2 = self.moments(L)
        B = (a1 + 6 * a2) / (2 * r)
        g = ((r + 1) * a1 - (r + 4) * a2) / ((r + 2) * a2)
        c1, c2, c3 = (c / (3 * r + 2 * (1 - g)) for c in (g, r - g, r + 2 - g))
        expectation = 1 / (1 - a2 / r)
        variance = (2 / r) * (1 + c1 * B) / ((1 - c2 * B) ** 2 * (1 - c3 * B))
        rho = variance / (2 * expectation**2)
        m = 4 + (r + 2) / (r * rho - 1)
        scale = m / (expectation * (m - 2))
        estimate = L @ beta
        return float(scale / r * estimate @ np.linalg.solve(L @ self.adjusted @ L.T, estimate)), float(m)


def kenward_roger(
    V: np.ndarray,
    X: np.ndarray,
    first: Sequence[np.ndarray],
    second: dict[tuple[int, int], np.ndarray] | None = None,
    *,
    bias: bool = True,
) -> KenwardRoger:
    """Kenward & Roger (1997); with `bias` and second derivatives of V, (2009)."""
    W = np.linalg.inv(V)
    phi = np.linalg.inv(X.T @ W @ X)
    projection = W - W @ X @ phi @ X.T @ W
    k = len(first)
    P = [-X.T @ W @ G @ W @ X for G in first]
    Q = [[X.T @ W @ G @ W @ H @ W @ X for H in first] for G in first]
    information = 0.5 * np.array([[np.trace(projection @ G @ projection @ H) for H in first] for G in first])
    weights = np.linalg.inv(information)
    inner = sum(weights[a, b] * (Q[a][b] - P[a] @ phi @ P[b]) for a in range(k) for b in range(k))
    adjusted = phi + 2 * phi @ inner @ phi
    for (a, b), H in (second or {}).items():
        adjusted = adjusted - 0.5 * weights[a, b] * phi @ X.T @ W @ H @ W @ X @ phi
        for c in range(k if bias else 0):
            for d in range(k):
                b_c = -0.25 * weights[c, d] * weights[a, b] * np.trace(projection @ H @ projection @ first[d])
                adjusted = adjusted + b_c * phi @ P[c] @ phi
    return KenwardRoger(adjusted=adjusted, phi=phi, weights=weights, slopes=P)


def satterthwaite(
    deviance: Callable[[np.ndarray], float],
    vcov: Callable[[np.ndarray], np.ndarray],
    at: np.ndarray,
    contrast: np.ndarray,
    hessian: Callable[..., np.ndarray],
    gradient: Callable[..., np.ndarray],
) -> float:
    """2 v^2 / (g' 2 H^-1 g) with everything by differences at the parameters `at`."""
    slope = gradient(lambda t: float(contrast @ vcov(t) @ contrast), at)
    spread = slope @ np.linalg.solve(hessian(deviance, at), 2.0 * slope)
    return float(2.0 * (contrast @ vcov(at) @ contrast) ** 2 / spread)
