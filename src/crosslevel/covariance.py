"""Covariance structures of random effects: how parameters theta make the relative factor Lambda.

A structure says, for a block of q random effects, how many parameters it has, what lower-triangular Lambda (q, q)
they make, and which parameters come nearest to a given covariance. Variances, correlations, singularity and printing
all derive from Lambda: the covariance of the random effects is sigma^2 Lambda Lambda'.

To add a structure: one final class here, and its entry in `COVARIANCES`. Its spelling in formulas is its key.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from crosslevel.types import FloatArray, IntArray


class Covariance(ABC):
    """One covariance structure; stateless."""

    free: bool
    """Whether the structure holds after any linear map of the effects (moving a slope's origin, rotating)."""
    scalable: bool
    """Whether the structure holds after measuring a slope's variable in other units."""
    linear: bool
    """Whether Lambda is linear in theta, so that its second derivative is zero."""

    @abstractmethod
    def n_theta(self, q: int) -> int:
        """Return the number of parameters of a block of q effects."""

    @abstractmethod
    def factor(self, theta: FloatArray, q: int) -> FloatArray:
        """Lambda (q, q), lower triangular."""

    @abstractmethod
    def factor_gradient(self, theta: FloatArray, q: int) -> FloatArray:
        """Derivative of Lambda in theta, (n_theta, q, q)."""

    def factor_hessian(self, theta: FloatArray, q: int) -> FloatArray:
        """Second derivative of Lambda in theta, (n_theta, n_theta, q, q); zero where the structure is `linear`."""
        k = self.n_theta(q)
        return np.zeros((k, k, q, q))

    @abstractmethod
    def nearest(self, factor: FloatArray) -> FloatArray:
        """Parameters (n_theta,) of the structure's member nearest to the covariance factor factor', factor (q, r)."""


class Unstructured(Covariance):
    """All variances and covariances free: theta is the lower triangle of Lambda, column by column."""

    free = True
    scalable = True
    linear = True

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


COVARIANCES: dict[str, Covariance] = {"us": Unstructured(), "diag": Diagonal()}


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockStructure:
    """The random effects of one grouping factor: independent blocks, each with its structure.

    Attributes
    ----------
    kinds : one covariance structure per block.
    columns : the positions (of q) of each block's effects.
    q : the number of random effects in all.
    """

    kinds: tuple[Covariance, ...]
    columns: tuple[IntArray, ...]
    q: int

    @cached_property
    def parts(self) -> tuple[slice, ...]:
        """Which elements of theta belong to each block."""
        ends = np.cumsum([kind.n_theta(len(columns)) for kind, columns in zip(self.kinds, self.columns, strict=True)])
        starts = np.concatenate([[0], ends[:-1]])
        return tuple(slice(int(a), int(b)) for a, b in zip(starts, ends, strict=True))

    @cached_property
    def n_theta(self) -> int:
        """Number of parameters."""
        return int(self.parts[-1].stop)

    @cached_property
    def linear(self) -> bool:
        """Whether Lambda is linear in theta: `factor_hessian` is zero then, and need not be asked for."""
        return all(kind.linear for kind in self.kinds)

    @cached_property
    def mask(self) -> FloatArray:
        """(q, q) ones where the covariance of two effects may differ from zero, else zeros."""
        reach = np.abs(self.factor_gradient(np.ones(self.n_theta))).sum(axis=0)
        return np.asarray(reach @ reach.T > 0.0, dtype=np.float64)

    def factor(self, theta: FloatArray) -> FloatArray:
        """Lambda (q, q)."""
        out = np.zeros((self.q, self.q))
        for kind, columns, part in zip(self.kinds, self.columns, self.parts, strict=True):
            out[np.ix_(columns, columns)] = kind.factor(theta[part], len(columns))
        return out

    def factor_gradient(self, theta: FloatArray) -> FloatArray:
        """Derivative of Lambda in theta, (n_theta, q, q)."""
        out = np.zeros((self.n_theta, self.q, self.q))
        for kind, columns, part in zip(self.kinds, self.columns, self.parts, strict=True):
            block = kind.factor_gradient(theta[part], len(columns))
            out[part, columns[:, None], columns[None, :]] = block
        return out

    def factor_hessian(self, theta: FloatArray) -> FloatArray:
        """Second derivative of Lambda in theta, (n_theta, n_theta, q, q)."""
        out = np.zeros((self.n_theta, self.n_theta, self.q, self.q))
        for kind, columns, part in zip(self.kinds, self.columns, self.parts, strict=True):
            if not kind.linear:
                block = kind.factor_hessian(theta[part], len(columns))
                out[part, part, columns[:, None], columns[None, :]] = block
        return out

    def nearest(self, factor: FloatArray) -> FloatArray:
        """Parameters of the member nearest to the covariance factor factor', factor (q, r)."""
        return np.concatenate(
            [kind.nearest(factor[columns]) for kind, columns in zip(self.kinds, self.columns, strict=True)]
        )
