"""Lanczos' method for several vectors side by side: solutions, and quadratic forms in the logarithm of a matrix.

From a vector v, m steps make V (N, m) with orthonormal columns and V'H V = T tridiagonal. Then

    H^-1 v = |v| V T^-1 e_1,      v' log(H) v = |v|^2 e_1' log(T) e_1

with an error that falls geometrically (Golub & Meurant 2010; Ubaru, Chen & Saad 2017). The derivative of the second,

    d v' log(H) v = int_0^inf v'(H + t)^-1 dH (H + t)^-1 v dt = |v|^2 tr(G V'dH V),
    G = U [(u u') * F] U',  T = U diag(mu) U',  u = U'e_1,  F_kl = (log mu_k - log mu_l) / (mu_k - mu_l),

needs a few vectors only, because G is nearly of low rank: it is a sum of +-c c', and the derivative that of +-w'dH w
with w = V c. For f(x) = log x - (x - 1) instead of the logarithm, F is less by 1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.kernels.iterative import combine
from crosslevel.types import FloatArray, IntArray

TOLERANCE, MAX_STEPS = 1e-9, 400
"""Relative residual of H^-1 v at which the steps end; the most of them."""

RANK_TOLERANCE = 1e-10
"""Size, relative to |v|^2, below which a vector of G is left out."""


class UnsolvedError(CrosslevelError):
    """The steps did not solve the equations."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Lanczos:
    """Vectors and coefficients of m steps from s vectors.

    Attributes
    ----------
    norm : (s,) lengths of the first vectors.
    diagonal, off : (m, s) elements of T, and those below them.
    length : (s,) steps after which each vector's residual was small.
    vectors : (m, N, s) V.
    """

    norm: FloatArray
    diagonal: FloatArray
    off: FloatArray
    length: IntArray
    vectors: FloatArray

    @classmethod
    def run(cls, apply: Callable[[FloatArray], FloatArray], first: FloatArray) -> "Lanczos":
        """Take steps with H (by `apply`) from each column of `first` (N, s), until all residuals are small.

        Raises
        ------
        UnsolvedError : too many steps would be needed.
        """
        n, s = first.shape
        norm = np.sqrt(np.einsum("ns,ns->s", first, first))
        vectors = np.empty((16, n, s))
        vectors[0] = first / np.where(norm > 0.0, norm, 1.0)
        diagonal, off = np.zeros((MAX_STEPS, s)), np.zeros((MAX_STEPS, s))
        residual, pivot = np.ones(s), np.ones(s)
        length = np.where(norm > 0.0, 0, 1)
        for m in range(MAX_STEPS):
            v = vectors[m]
            u = apply(v)
            diagonal[m] = np.einsum("ns,ns->s", v, u)
            u -= diagonal[m] * v
            if m > 0:
                u -= off[m - 1] * vectors[m - 1]
            off[m] = np.sqrt(np.einsum("ns,ns->s", u, u))

            # relative residual of H^-1 v after this step, from the pivots of T
            pivot = diagonal[m] - (off[m - 1] ** 2 / pivot if m > 0 else 0.0)
            pivot = np.where(pivot > 0.0, pivot, 1.0)
            residual = residual * off[m] / pivot
            length = np.where((length == 0) & (residual <= TOLERANCE), m + 1, length)
            if np.all(length > 0):
                return cls(
                    norm=norm, diagonal=diagonal[: m + 1], off=off[: m + 1], length=length, vectors=vectors[: m + 1]
                )
            if m + 1 == len(vectors):
                vectors = np.concatenate([vectors, np.empty_like(vectors)])
            np.multiply(u, np.where(length > 0, 0.0, 1.0 / np.where(off[m] > 0.0, off[m], 1.0)), out=vectors[m + 1])
        raise UnsolvedError(
            f"The factors are so weakly connected that {MAX_STEPS} iterations do not solve the model's equations. "
            "Use the exact method, or drop levels with few rows."
        )

    def spectra(self, column: int) -> tuple[FloatArray, FloatArray]:
        """Eigenvalues and eigenvectors of one vector's T."""
        m = int(self.length[column])
        below = self.off[: m - 1, column]
        return np.linalg.eigh(np.diag(self.diagonal[:m, column]) + np.diag(below, 1) + np.diag(below, -1))

    def solution(self) -> FloatArray:
        """H^-1 v (N, s)."""
        weights = np.zeros((*self.diagonal.shape, 1))
        for c in range(len(self.norm)):
            values, vectors = self.spectra(c)
            if self.norm[c] > 0.0:
                weights[: len(values), c, 0] = self.norm[c] * (vectors / values) @ vectors[0]
        return self.combined(weights)[:, :, 0]

    def log_forms(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Forms v' f(H) v (s,) for f(x) = log x - (x - 1); vectors w (N, s, k) and signs (s, k) of its derivative.

        The derivative is the sum of sign w'dH w over k.
        """
        forms, halves, signs = np.zeros(len(self.norm)), [], []
        for c, norm in enumerate(self.norm):
            if norm == 0.0:
                halves.append(np.zeros((0, 0)))
                signs.append(np.zeros(0))
                continue
            values, vectors = self.spectra(c)
            ends = vectors[0] * norm
            forms[c] = ends**2 @ (np.log(values) - (values - 1.0))
            ratio = (values[:, None] - values) / values
            divided = np.divide(np.log1p(ratio), ratio, out=np.ones_like(ratio), where=ratio != 0.0) / values
            size, axes = np.linalg.eigh(vectors @ (np.outer(ends, ends) * (divided - 1.0)) @ vectors.T)
            kept = np.abs(size) > RANK_TOLERANCE * norm**2
            halves.append(axes[:, kept] * np.sqrt(np.abs(size[kept])))
            signs.append(np.sign(size[kept]))
        rank = max(len(sign) for sign in signs)
        weights, sign = np.zeros((*self.diagonal.shape, rank)), np.zeros((len(self.norm), rank))
        for c, half in enumerate(halves):
            weights[: half.shape[0], c, : half.shape[1]] = half
            sign[c, : half.shape[1]] = signs[c]
        return forms, self.combined(weights), sign

    def combined(self, weights: FloatArray) -> FloatArray:
        """Sums over the steps of vectors times weights (m, s, k): (N, s, k)."""
        n, s = self.vectors.shape[1:]
        out = np.empty((n, s, weights.shape[2]))
        combine(self.vectors, weights, 0, n, out)
        return out
