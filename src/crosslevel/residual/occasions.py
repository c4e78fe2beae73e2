"""Free correlations between the occasions on which units were observed."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from crosslevel.residual.correlation import Correlation, CorrelationRoot
from crosslevel.residual.natural import NaturalParameter, fisher
from crosslevel.types import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Pattern:
    """Units that were observed on the same occasions.

    Attributes
    ----------
    occasions : (t,) which, ascending.
    rows : (U, t) their rows.
    """

    occasions: IntArray
    rows: IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class FreeCorrelation(Correlation):
    """Any correlation matrix of T occasions: row i of its root is (phi_i1 .. phi_i,i-1, 1) scaled to length one.

    Attributes
    ----------
    levels : the T occasions.
    patterns : the units, by the occasions they have.
    """

    levels: tuple[object, ...]
    patterns: tuple[Pattern, ...] = field(repr=False)

    @property
    def n_occasions(self) -> int:
        """T."""
        return len(self.levels)

    @property
    def n_phi(self) -> int:
        """T (T - 1) / 2."""
        return self.n_occasions * (self.n_occasions - 1) // 2

    def starts(self) -> tuple[FloatArray, ...]:
        """No correlation."""
        return (np.zeros(self.n_phi),)

    def natural(self, phi: FloatArray) -> tuple[NaturalParameter, ...]:
        """The correlations of all pairs of occasions, column by column."""
        matrix, gradient = self.matrix(phi)
        columns, rows = np.triu_indices(self.n_occasions, 1)
        return tuple(
            fisher(f"rho[{self.levels[j]}, {self.levels[i]}]", float(matrix[i, j]), gradient[:, i, j])
            for i, j in zip(rows, columns, strict=True)
        )

    def matrix(self, phi: FloatArray) -> tuple[FloatArray, FloatArray]:
        """C (T, T) and its derivatives (k, T, T)."""
        size, k = self.n_occasions, self.n_phi
        rows, columns = np.tril_indices(size, -1)
        raw = np.eye(size)
        raw[rows, columns] = phi
        length = np.sqrt(np.sum(raw * raw, axis=1))
        root = raw / length[:, None]
        gradient = np.zeros((k, size, size))
        which = np.arange(k)
        gradient[which, rows] = -root[rows] * (phi / length[rows] ** 2)[:, None]
        gradient[which, rows, columns] += 1.0 / length[rows]
        half = gradient @ root.T
        return root @ root.T, half + half.transpose(0, 2, 1)

    def at(self, phi: FloatArray) -> CorrelationRoot:
        """Cholesky roots for each pattern of occasions."""
        matrix, gradient = self.matrix(phi)
        lower, generators = [], []
        for pattern in self.patterns:
            chosen = np.ix_(pattern.occasions, pattern.occasions)
            chol = np.linalg.cholesky(matrix[chosen])
            inverse = np.linalg.inv(chol)
            change = inverse @ gradient[:, chosen[0], chosen[1]] @ inverse.T
            lower.append(chol)
            generators.append(np.tril(change, -1) + 0.5 * change * np.eye(len(chol)))
        return PatternRoot(patterns=self.patterns, lower=tuple(lower), generators=tuple(generators))


@dataclass(frozen=True, kw_only=True, eq=False)
class PatternRoot(CorrelationRoot):
    """One small Cholesky root for each pattern of occasions.

    Attributes
    ----------
    patterns : the units, by the occasions they have.
    lower : for each pattern, (t, t) L.
    generators : for each pattern, (k, t, t) K_a.
    """

    patterns: tuple[Pattern, ...]
    lower: tuple[FloatArray, ...]
    generators: tuple[FloatArray, ...]

    @cached_property
    def _inverse(self) -> tuple[FloatArray, ...]:
        """L^-1 for each pattern."""
        return tuple(np.linalg.inv(lower) for lower in self.lower)

    @property
    def log_det(self) -> float:
        """Sum over units."""
        parts = (
            len(pattern.rows) * np.log(np.diag(lower)).sum()
            for pattern, lower in zip(self.patterns, self.lower, strict=True)
        )
        return 2.0 * float(sum(parts))

    @property
    def log_det_gradient(self) -> FloatArray:
        """Twice the traces of the generators."""
        parts = [
            2.0 * len(pattern.rows) * np.einsum("aii->a", generator)
            for pattern, generator in zip(self.patterns, self.generators, strict=True)
        ]
        return np.asarray(np.sum(parts, axis=0))

    @property
    def information(self) -> FloatArray:
        """Sum over units of tr (K_a + K_a')^2."""
        parts = []
        for pattern, generator in zip(self.patterns, self.generators, strict=True):
            both = generator + generator.transpose(0, 2, 1)
            parts.append(len(pattern.rows) * np.einsum("aij,aij->a", both, both))
        return np.asarray(np.sum(parts, axis=0))

    def _apply(self, matrices: tuple[FloatArray, ...], x: FloatArray) -> FloatArray:
        """Multiply each unit's rows by its pattern's matrix."""
        out = np.empty(x.shape)
        for pattern, matrix in zip(self.patterns, matrices, strict=True):
            out[:, pattern.rows] = x[:, pattern.rows] @ matrix.T
        return out

    def whiten(self, x: FloatArray) -> FloatArray:
        """L^-1 x."""
        return self._apply(self._inverse, x)

    def whiten_adjoint(self, x: FloatArray) -> FloatArray:
        """L^-T x."""
        return self._apply(tuple(matrix.T for matrix in self._inverse), x)

    def colour(self, x: FloatArray) -> FloatArray:
        """L x."""
        return self._apply(self.lower, x)

    def colour_adjoint(self, x: FloatArray) -> FloatArray:
        """L'x."""
        return self._apply(tuple(matrix.T for matrix in self.lower), x)

    def generator(self, a: int, x: FloatArray) -> FloatArray:
        """K_a x."""
        return self._apply(tuple(generator[a] for generator in self.generators), x)

    def generator_adjoint(self, a: int, x: FloatArray) -> FloatArray:
        """K_a'x."""
        return self._apply(tuple(generator[a].T for generator in self.generators), x)
