"""Sums that the small-sample theory of REML needs, without any matrix over rows.

With K = Z'V^-1 Z and F = Z'V^-1 X W (W W' = (X'V^-1 X)^-1), and changes Z D Z' of V, where D is block-diagonal with one
(q, q) block for each factor repeated over its levels:

    tr(V^-1 Z D Z') = tr(K D),    tr(V^-1 Z D_a Z' V^-1 Z D_b Z') = tr(K D_a K D_b),
    W'X'V^-1 Z D_a Z' V^-1 Z D_b Z'V^-1 X W = F'D_a K D_b F.

With one grouping factor all are sums over clusters of (q, q) and (q, p) matrices. With several they are sums over sets
of levels that share rows, directly or through others: the outermost clusters of nested factors, usually everything for
crossed ones. There K = G'G with G = L^-1 R, R'R = Z'Z (pivoted Cholesky) and L L' = I + R Psi R', in which nothing
cancels, however large Psi is.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from crosslevel.design.crossing import Crossing
from crosslevel.errors import CrosslevelError
from crosslevel.memory import require_memory
from crosslevel.types import FloatArray, IntArray

AT_ONCE = 4_000_000
"""Numbers in the products of a part of the clusters."""

WIDEST = 6_000
"""Random effects of levels that share rows up to which their whole matrix is worked with: seconds."""


class MarginalSums(ABC):
    """Sums over the levels of all grouping factors; changes D are given for each factor as (m, q, q)."""

    @abstractmethod
    def totals(self) -> tuple[FloatArray, ...]:
        """For each factor (q, q) the sum over its levels of K_jj."""

    @abstractmethod
    def traces(self, changes: tuple[FloatArray, ...]) -> tuple[FloatArray, FloatArray]:
        """tr(K D_a), (m,), and tr(K D_a K D_b), (m, m)."""

    @abstractmethod
    def products(self, changes: tuple[FloatArray, ...]) -> FloatArray:
        """F'D_a K D_b F, (m, m, p, p)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ClusterSums(MarginalSums):
    """Sums over the clusters of one grouping factor.

    Attributes
    ----------
    precision : (J, q, q) Z'V^-1 Z.
    fixed : (J, q, p) F.
    """

    precision: FloatArray
    fixed: FloatArray

    def totals(self) -> tuple[FloatArray, ...]:
        """Sum over clusters."""
        return (self.precision.sum(axis=0),)

    def traces(self, changes: tuple[FloatArray, ...]) -> tuple[FloatArray, FloatArray]:
        """From the sums of K and of K (x) K."""
        n_clusters, q, _ = self.precision.shape
        flat, change = self.precision.reshape(n_clusters, q * q), changes[0].reshape(-1, q * q)
        pairs = (flat.T @ flat).reshape(q, q, q, q).transpose(1, 2, 0, 3).reshape(q * q, q * q)
        return change @ flat.sum(axis=0), change @ pairs @ change.T

    def products(self, changes: tuple[FloatArray, ...]) -> FloatArray:
        """Some clusters at a time."""
        n_clusters, q, p = self.fixed.shape
        width = len(changes[0]) * p
        out = np.zeros((width, width))
        step = max(1, AT_ONCE // max(1, q * width))
        for start in range(0, n_clusters, step):
            part = slice(start, start + step)
            moved = _moved(self.fixed[part], changes[0])
            out += moved.reshape(-1, width).T @ (self.precision[part] @ moved).reshape(-1, width)
        return _pairs(out, p)


@dataclass(frozen=True, kw_only=True, eq=False)
class LevelSums(MarginalSums):
    """Sums over the levels of several grouping factors.

    Attributes
    ----------
    crossing : cross-products of the model.
    factors : for each grouping factor (q, q) Lambda.
    fixed : for each (J, q, p) F.
    """

    crossing: Crossing
    factors: tuple[FloatArray, ...]
    fixed: tuple[FloatArray, ...]

    def totals(self) -> tuple[FloatArray, ...]:
        """Sums over levels."""
        return tuple(self._inner[0])

    def traces(self, changes: tuple[FloatArray, ...]) -> tuple[FloatArray, FloatArray]:
        """From the sums of K and of K (x) K between the levels of each two factors."""
        single, pairs = self._inner
        n_factors = len(self.factors)
        first = sum(np.tensordot(change, total, axes=2) for change, total in zip(changes, single, strict=True))
        second = np.zeros((len(changes[0]), len(changes[0])))
        for k in range(n_factors):
            for m in range(n_factors):
                # tr(K E_ab K E_cd) = sum of K[(m, d), (k, a)] K[(k, b), (m, c)]
                second += np.einsum("xab,bcad,ycd->xy", changes[k], pairs[k, m], changes[m], optimize=True)
        return np.asarray(first), second

    def products(self, changes: tuple[FloatArray, ...]) -> FloatArray:
        """Set by set of levels that share rows."""
        p = self.fixed[0].shape[2]
        width = len(changes[0]) * p
        out = np.zeros((width, width))
        moved = [_moved(part, change) for part, change in zip(self.fixed, changes, strict=True)]
        for half, levels in self._sets:
            rows = [part[mine].reshape(-1, width) for part, mine in zip(moved, levels, strict=True)]
            product = half @ np.concatenate(rows)
            out += product.T @ product
        return _pairs(out, p)

    @cached_property
    def _inner(self) -> tuple[list[FloatArray], dict[tuple[int, int], FloatArray]]:
        """For each factor (q, q) the sum of K_jj; for each two (q, r, q, r) that of K_jl[a, b] K_jl[c, d]."""
        sizes = [len(factor) for factor in self.factors]
        single: list[FloatArray] = [np.zeros((q, q)) for q in sizes]
        pairs: dict[tuple[int, int], FloatArray] = {
            (k, m): np.zeros((q, r, q, r)) for k, q in enumerate(sizes) for m, r in enumerate(sizes)
        }
        for half, levels in self._sets:
            inner = half.T @ half
            spans = _spans(levels, sizes)
            for k, span in enumerate(spans):
                for m, other in enumerate(spans):
                    block = inner[span, other].reshape(len(levels[k]), sizes[k], len(levels[m]), sizes[m])
                    flat = block.transpose(1, 3, 0, 2).reshape(sizes[k] * sizes[m], -1)
                    pairs[k, m] += (flat @ flat.T).reshape(pairs[k, m].shape)
                    if k == m:
                        single[k] += np.einsum("jajb->ab", block)
        return single, pairs

    @cached_property
    def _sets(self) -> list[tuple[FloatArray, list[IntArray]]]:
        """G (r, N) of each set of levels that share rows, and the levels (J_k,) of each factor in it."""
        groups, matrix, starts = _connected(self.crossing)
        widest = int(np.diff(starts).max(initial=0))
        _check_size(widest)
        sizes = [len(factor) for factor in self.factors]
        out = []
        for levels, start, stop in zip(groups, starts[:-1], starts[1:], strict=True):
            root = pivoted_root(matrix[start:stop, start:stop].toarray())
            scaled = np.empty_like(root)
            for span, factor in zip(_spans(levels, sizes), self.factors, strict=True):
                shape = (len(root), -1, len(factor))
                scaled[:, span] = (root[:, span].reshape(shape) @ factor).reshape(len(root), -1)
            out.append((_whitened(root, scaled), levels))
        return out


def pivoted_root(gram: FloatArray) -> FloatArray:
    """R (r, N) with R'R = gram (N, N), positive semi-definite of rank r."""
    from scipy.linalg.lapack import dpstrf

    factor, pivot, rank, _ = dpstrf(gram, lower=0)
    out = np.empty((rank, len(gram)))
    out[:, pivot - 1] = np.triu(factor)[:rank]
    return out


def _whitened(root: FloatArray, scaled: FloatArray) -> FloatArray:
    """L^-1 R with L L' = I + (R Lambda)(R Lambda)'."""
    from scipy.linalg import solve_triangular

    chol = np.linalg.cholesky(np.eye(len(root)) + scaled @ scaled.T)
    return np.asarray(solve_triangular(chol, root, lower=True, check_finite=False))


def _moved(fixed: FloatArray, changes: FloatArray) -> FloatArray:
    """D_a F of all changes (m, q, q), for F (J, q, p): (J, q, m p)."""
    n_levels, q, p = fixed.shape
    wide = changes.reshape(-1, q) @ fixed  # (J, m q, p)
    return wide.reshape(n_levels, -1, q, p).transpose(0, 2, 1, 3).reshape(n_levels, q, -1)


def _pairs(products: FloatArray, p: int) -> FloatArray:
    """(m p, m p) as (m, m, p, p)."""
    m = len(products) // p
    return products.reshape(m, p, m, p).transpose(0, 2, 1, 3)


def _spans(levels: list[IntArray], sizes: list[int]) -> list[slice]:
    """Where the random effects of each factor's levels stand in a set."""
    ends = np.cumsum([0, *(len(mine) * q for mine, q in zip(levels, sizes, strict=True))])
    return [slice(int(a), int(b)) for a, b in pairwise(ends)]


def _check_size(widest: int) -> None:
    """Refuse a set of levels whose whole matrix is too large."""
    if widest > WIDEST:
        raise CrosslevelError(
            f"Kenward-Roger needs the inverse of a matrix over all {widest} random effects of levels that share rows, "
            f"and is worked out for at most {WIDEST}. With so many, Satterthwaite's degrees of freedom differ little: "
            'write ddf="satterthwaite".'
        )
    require_memory(8.0 * 4.0 * widest**2, f"Kenward-Roger for {widest} random effects", 'Write ddf="satterthwaite".')


def _connected(crossing: Crossing) -> tuple[list[list[IntArray]], Any, IntArray]:
    """Sets of levels that share rows, directly or through others.

    Returns
    -------
    groups : for each set, the levels of each factor.
    matrix : sparse Z'Z, the random effects of a set one after another, factor by factor and level by level.
    starts : where each set begins, and the end.
    """
    from scipy import sparse
    from scipy.sparse.csgraph import connected_components

    counts = [len(block) for block in crossing.diagonal]
    sizes = [block.shape[1] for block in crossing.diagonal]
    first = np.cumsum([0, *counts])
    links = list(_links(crossing))
    ends = [(first[k] + level, first[m] + other) for k, m, level, other, _ in links]
    rows, columns = (np.concatenate([np.zeros(0, dtype=np.int64), *some]) for some in zip(*ends, strict=True))
    shape = (int(first[-1]),) * 2
    _, label = connected_components(sparse.coo_matrix((np.ones(len(rows)), (rows, columns)), shape=shape))

    factor = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((np.arange(len(label)), factor, label))
    width = np.repeat(sizes, counts)
    place = np.empty(len(label), dtype=np.int64)  # where each level's effects begin
    place[order] = np.cumsum(width[order]) - width[order]
    starts = np.append(np.concatenate([[0], np.cumsum(np.bincount(label, weights=width))[:-1]]), width.sum())
    matrix = _matrix(links, place, first, int(width.sum()))
    bounds = np.searchsorted(label[order], np.arange(label.max(initial=-1) + 2))
    groups = []
    for a, b in pairwise(bounds):
        mine = order[a:b]
        groups.append([mine[factor[mine] == k] - first[k] for k in range(len(counts))])
    return groups, matrix, starts.astype(np.int64)


def _links(crossing: Crossing) -> Iterator[tuple[int, int, IntArray, IntArray, FloatArray]]:
    """Blocks of Z'Z: two factors, their levels (m,) each, and the blocks (m, q, r) of these."""
    for k, block in enumerate(crossing.diagonal):
        yield k, k, np.arange(len(block)), np.arange(len(block)), block
    for (k, m), some in crossing.pairs.items():
        yield k, m, np.repeat(np.arange(len(some.start) - 1), np.diff(some.start)), some.level, some.block


def _matrix(
    links: list[tuple[int, int, IntArray, IntArray, FloatArray]], place: IntArray, first: IntArray, size: int
) -> Any:
    """Sparse symmetric Z'Z (size, size) from its blocks; each level's effects begin at `place`."""
    from scipy import sparse

    rows, columns, values = [], [], []
    for number, (k, m, level, other, block) in enumerate(links):
        row = place[first[k] + level][:, None, None] + np.arange(block.shape[1])[:, None]
        column = place[first[m] + other][:, None, None] + np.arange(block.shape[2])
        row, column = (np.broadcast_to(some, block.shape).ravel() for some in (row, column))
        for a, b in ((row, column), (column, row))[: 1 if number < len(first) - 1 else 2]:  # symmetric
            rows.append(a)
            columns.append(b)
            values.append(block.ravel())
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return sparse.coo_matrix(entries, shape=(size, size)).tocsr()
