"""The random effects of one grouping factor: independent blocks, each with its covariance structure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from crosslevel.covariance.base import Covariance
from crosslevel.types import BoolArray, FloatArray, IntArray


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
    def additive(self) -> BoolArray:
        """(q,) whether each effect's block is additive."""
        out = np.zeros(self.q, dtype=bool)
        for kind, columns in zip(self.kinds, self.columns, strict=True):
            out[columns] = kind.additive
        return out

    @cached_property
    def fixed(self) -> BoolArray:
        """(q,) whether each effect's covariances are known."""
        out = np.zeros(self.q, dtype=bool)
        for kind, columns in zip(self.kinds, self.columns, strict=True):
            out[columns] = kind.fixed
        return out

    def at_sigma(self, sigma: float) -> "BlockStructure":
        """Return the same blocks relative to a residual standard deviation; see `Covariance.at_sigma`."""
        return replace(self, kinds=tuple(kind.at_sigma(sigma) for kind in self.kinds)) if self.fixed.any() else self

    @cached_property
    def mask(self) -> FloatArray:
        """(q, q) ones where the covariance of two effects may differ from zero, else zeros."""
        some = np.ones(self.n_theta)
        reach = np.abs(self.factor_gradient(some)).sum(axis=0) + np.abs(self.factor(some))
        return np.asarray(reach @ reach.T > 0.0, dtype=np.float64)

    def factor(self, theta: FloatArray) -> FloatArray:
        """Lambda (q, q)."""
        out = np.zeros((self.q, self.q))
        for kind, columns, part in zip(self.kinds, self.columns, self.parts, strict=True):
            out[columns[:, None], columns] = kind.factor(theta[part], len(columns))
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

    def principal_axes(self, factor: FloatArray) -> FloatArray:
        """Rotation (q, q) of the free blocks to the principal axes of factor factor', largest first."""
        turn: FloatArray = np.eye(self.q)
        for kind, columns in zip(self.kinds, self.columns, strict=True):
            if kind.free:
                turn[np.ix_(columns, columns)] = np.linalg.svd(factor[columns])[0]
        return turn

    def members(self) -> Iterator[FloatArray]:
        """Factors (q, q) with equal variances 1 and correlations all over the range of each block in turn."""
        plain: FloatArray = np.eye(self.q)
        yield plain
        for kind, columns in zip(self.kinds, self.columns, strict=True):
            for member in () if kind.additive else kind.members(len(columns)):
                factor = plain.copy()
                factor[np.ix_(columns, columns)] = member
                yield factor

    def departures(
        self, factor: FloatArray, score: FloatArray, size: FloatArray, *, negligible: float
    ) -> Iterator[FloatArray]:
        """Directions D (q, r) in which variance may be added, Psi + t D D', and the deviance falls: steepest first.

        At a minimum the `score` S = d deviance / d Psi (q, q) is positive semi-definite in additive blocks. In other
        blocks, departures are known from no variance at all, a `factor` (q, q) below `negligible`; where they have
        some, the derivatives in theta tell all.

        Parameters
        ----------
        factor : (q, q) Lambda.
        score : (q, q) S.
        size : (q,) units in which directions are compared.
        negligible : standard deviation that counts as none.
        """
        found: list[tuple[float, FloatArray]] = []
        standardised = score * self.mask / np.outer(size, size)
        free = standardised * np.outer(self.additive, self.additive)
        values, vectors = np.linalg.eigh(free)
        found.extend((float(value), (vector / size)[:, None]) for value, vector in zip(values, vectors.T, strict=True))
        for kind, columns in zip(self.kinds, self.columns, strict=True):
            if kind.additive or np.abs(factor[columns]).max() >= negligible:
                continue
            for member in kind.departures(score[np.ix_(columns, columns)]):
                direction: FloatArray = np.zeros((self.q, len(columns)))
                direction[columns] = member
                scaled = direction / max(float(np.sqrt(np.sum((size[:, None] * direction) ** 2))), 1e-300)
                found.append((float(np.sum(score * (scaled @ scaled.T))), scaled))
        for value, direction in sorted(found, key=lambda pair: pair[0]):
            if value >= 0.0:
                return
            yield direction

    def detours(self, theta: FloatArray, *, negligible: float) -> Iterator[FloatArray]:
        """Other parameters (n_theta,) of the same covariance; see `Covariance.detours`."""
        for kind, columns, part in zip(self.kinds, self.columns, self.parts, strict=True):
            for own in kind.detours(theta[part], len(columns), negligible=negligible):
                other = theta.copy()
                other[part] = own
                yield other


def theta_parts(structures: tuple[BlockStructure, ...]) -> tuple[slice, ...]:
    """Which elements of the theta of several grouping factors belong to each."""
    ends = np.cumsum([0, *(structure.n_theta for structure in structures)])
    return tuple(slice(int(a), int(b)) for a, b in pairwise(ends))
