"""Brute-force twin of predictions: every error as a linear function of the random effects and residuals.

With y = X beta + Z b + e, b ~ N(0, sigma^2 Psi) over all levels (those without rows included: columns of zeros in Z),
e ~ N(0, sigma^2 R), betahat = G y and bhat = H y, the error of x'betahat + z'bhat is
(G'x + H'z)'(Z b + e) - z'b, since G X = I and H X = 0. Nothing here comes from `crosslevel`.
"""

from dataclasses import dataclass

import dense
import numpy as np
from dense import LONG


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """y (n,), X (n, p), Z (n, N) over all levels, Psi (N, N), R (n, n), sigma."""

    y: np.ndarray
    X: np.ndarray
    Z: np.ndarray
    psi: np.ndarray
    R: np.ndarray
    sigma: float

    @property
    def estimators(self) -> tuple[np.ndarray, np.ndarray]:
        """G (p, n) and H (N, n)."""
        X, Z, psi = (a.astype(LONG) for a in (self.X, self.Z, self.psi))
        inverse = dense.inverse(self.R.astype(LONG) + Z @ psi @ Z.T)
        G = dense.inverse(X.T @ inverse @ X) @ X.T @ inverse
        return G, psi @ Z.T @ inverse @ (np.eye(len(self.y)) - X @ G)

    def predict(self, x: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predictions of rows x (m, p), z (m, N), and the standard errors of their errors."""
        G, H = self.estimators
        weight = x.astype(LONG) @ G + z.astype(LONG) @ H
        of_effects = weight @ self.Z.astype(LONG) - z
        variance = np.einsum("ij,jk,ik->i", of_effects, self.psi.astype(LONG), of_effects)
        variance += np.einsum("ij,jk,ik->i", weight, self.R.astype(LONG), weight)
        return (weight @ self.y).astype(float), (self.sigma * np.sqrt(variance)).astype(float)

    def henderson(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """The same standard errors from the inverse matrix of the mixed model equations; Psi has to be regular."""
        columns = np.column_stack([self.X, self.Z]).astype(LONG)
        C = columns.T @ dense.inverse(self.R) @ columns
        p = self.X.shape[1]
        C[p:, p:] += dense.inverse(self.psi)
        rows = np.column_stack([x, z]).astype(LONG)
        return (self.sigma * np.sqrt(np.einsum("ij,jk,ik->i", rows, dense.inverse(C), rows))).astype(float)


def columns(codes: np.ndarray, z: np.ndarray, n_levels: int) -> np.ndarray:
    """Z of one factor, (n, J q), from codes (n,) and z (n, q)."""
    members = (codes[:, None] == np.arange(n_levels)).astype(float)
    return (members[:, :, None] * z[:, None, :]).reshape(len(codes), -1)
