"""The Schur complement of a crossed model's largest factor, as a product with vectors.

With M = I + Lambda'A Lambda over the effects of all factors, the largest factor's part is block-diagonal. Without it,

    S = I + Lambda'(A_22 - A_21 B A_12) Lambda,   B = Lambda_1 (I + Lambda_1'A_11 Lambda_1)^-1 Lambda_1',

is over all other columns. The engine works on L^-1 S L^-T, where P = L L' is the block-diagonal of S: its eigenvalues
are near 1 but for a few, if the factors are well connected.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from scipy import sparse

from crosslevel.design.crossing import Crossing, Pairs
from crosslevel.kernels.iterative import (
    eliminate,
    eliminate_eight,
    gather,
    middle_blocks,
    middle_sums,
    scatter,
    symmetric_product,
)
from crosslevel.types import FloatArray, IntArray

PARTS, PART_ENTRIES = 4, 50_000
"""Parts in which long passes are done side by side, whatever the machine, so that sums are rounded alike everywhere."""

COLUMNS = 8
"""Vectors taken through the data at once: one row of them is a cache line."""


def aligned(shape: tuple[int, ...]) -> FloatArray:
    """Zeros that begin at a cache line: rows of 8 numbers then lie in one line each."""
    size = int(np.prod(shape)) * 8
    buffer = np.zeros(size + 64, dtype=np.uint8)
    offset = -buffer.ctypes.data % 64
    return buffer[offset : offset + size].view(np.float64).reshape(shape)


def multiply(blocks: FloatArray, x: FloatArray) -> FloatArray:
    """Block-diagonal product: blocks (J, q, r) times x (J r, s), or x (J, r, s), as (J q, s)."""
    n, q, r = blocks.shape
    x = x.reshape(n, r, x.shape[-1])
    out = blocks * x if q == r == 1 else blocks @ x
    return np.asarray(out.reshape(n * q, -1))


@dataclass(frozen=True, kw_only=True, eq=False)
class Elimination:
    """What does not depend on Lambda: which factor is eliminated, and its rows of A.

    Attributes
    ----------
    crossing : cross-products of the model.
    leading : the factor that is eliminated, or -1: every factor's rows have several levels.
    rest : the other factors, whose columns are numbered one after another.
    spans : the columns of each of them.
    start, column, value : the leading factor's rows of A, see `kernels.iterative`.
    width, cell : for each column, the number of columns of its level, and where its row of the level's block begins.
    across : strictly upper part of A between levels of the other factors, compressed by rows.
    bounds : the parts of the leading levels.
    """

    crossing: Crossing
    leading: int
    rest: tuple[int, ...]
    spans: tuple[slice, ...]
    start: IntArray
    column: IntArray
    value: FloatArray
    width: IntArray
    cell: IntArray
    across: sparse.csr_matrix
    bounds: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, crossing: Crossing) -> "Elimination":
        """Choose the largest factor whose levels share no rows, and collect its rows."""
        sizes = [block.shape[0] * block.shape[1] for block in crossing.diagonal]
        simple = [k for k in range(len(sizes)) if (k, k) not in crossing.pairs]
        leading = max(simple, key=lambda k: sizes[k]) if simple else -1
        rest = tuple(k for k in range(len(sizes)) if k != leading)
        ends = np.cumsum([0, *(sizes[k] for k in rest)])
        spans = tuple(slice(int(a), int(b)) for a, b in pairwise(ends))
        widths = [np.full(sizes[k], crossing.diagonal[k].shape[1], dtype=np.int64) for k in rest]
        width = np.concatenate(widths) if widths else np.zeros(0, dtype=np.int64)
        start, column, value = _leading_rows(crossing, leading, rest, spans)
        return cls(
            crossing=crossing, leading=leading, rest=rest, spans=spans, start=start, column=column, value=value,
            width=width, cell=np.cumsum(width) - width, across=_across(crossing, rest, spans),
            bounds=_even_parts(start),
        )  # fmt: skip

    @property
    def n_columns(self) -> int:
        """N, columns that are not eliminated."""
        return len(self.width)

    @cached_property
    def q(self) -> int:
        """Effects of the leading factor."""
        return self.crossing.diagonal[self.leading].shape[1] if self.leading >= 0 else 1

    def blocks(self, cells: FloatArray) -> tuple[FloatArray, ...]:
        """Blocks (J_k, q_k, q_k) or (J_k, q_k, q_k, s) of each other factor, from cells (cells,) or (cells, s)."""
        out, at = [], 0
        for k in self.rest:
            shape = self.crossing.diagonal[k].shape
            size = int(np.prod(shape))
            out.append(cells[at : at + size].reshape(*shape, *cells.shape[1:]))
            at += size
        return tuple(out)

    def in_parts(self, work: Callable[[int, int], FloatArray]) -> FloatArray:
        """Sum of what `work` gives for each part of the leading levels, always added in the same order."""
        if len(self.bounds) == 1:
            return work(*self.bounds[0])
        with ThreadPoolExecutor(len(self.bounds)) as pool:
            parts = list(pool.map(lambda bound: work(*bound), self.bounds))
        for part in parts[1:]:
            parts[0] += part
        return parts[0]

    def add_across(self, x: FloatArray, out: FloatArray) -> None:
        """Add what the other factors' levels share with each other, times x (N, s)."""
        if self.across.nnz:
            symmetric_product(self.across.indptr, self.across.indices, self.across.data, x, out)

    def down(self, x: FloatArray) -> FloatArray:
        """A_12 x (J, q, s) of x (N, s)."""
        out = np.zeros((len(self.start) - 1, self.q, x.shape[1]))
        gather(self.start, self.column, self.value, x, 0, len(self.start) - 1, out)
        return out

    def up(self, t: FloatArray) -> FloatArray:
        """A_21 t (N, s) of t (J, q, s)."""
        out = np.zeros((self.n_columns, t.shape[2]))
        scatter(self.start, self.column, self.value, t, 0, len(self.start) - 1, out)
        return out


def _even_parts(start: IntArray) -> tuple[tuple[int, int], ...]:
    """Bounds of parts of the leading levels with about as many entries each."""
    n_levels, n_entries = len(start) - 1, int(start[-1])
    n_parts = PARTS if n_entries > PART_ENTRIES else 1
    inner = np.searchsorted(start, np.arange(1, n_parts) * (n_entries / n_parts))
    ends = [0, *(int(end) for end in inner), n_levels]
    return tuple(pairwise(ends))


def _transposed(pairs: Pairs, n_second: int) -> Pairs:
    """The same pairs, compressed by their second level."""
    n_pairs = len(pairs.level)
    shape = (len(pairs.start) - 1, n_second)
    places = sparse.csr_matrix((np.arange(n_pairs), pairs.level, pairs.start), shape=shape).tocsc()
    block = np.ascontiguousarray(pairs.block[places.data].transpose(0, 2, 1))
    return Pairs(start=places.indptr.astype(np.int64), level=places.indices.astype(np.int32), block=block)


def _leading_rows(
    crossing: Crossing, leading: int, rest: tuple[int, ...], spans: tuple[slice, ...]
) -> tuple[IntArray, IntArray, FloatArray]:
    """Start, column and value of the leading factor's rows."""
    if leading < 0:
        return np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.uint32), np.empty((0, 1))
    n_levels, q = crossing.diagonal[leading].shape[:2]
    lists = []
    for k, span in zip(rest, spans, strict=True):
        if (leading, k) in crossing.pairs:
            lists.append((crossing.pairs[leading, k], span.start))
        elif (k, leading) in crossing.pairs:
            lists.append((_transposed(crossing.pairs[k, leading], n_levels), span.start))
    if len(lists) == 1 and lists[0][0].block.shape[2] == 1 and lists[0][1] == 0:
        only = lists[0][0]
        return only.start, only.level.view(np.uint32), only.block[:, :, 0]

    counts = [np.diff(pairs.start) * pairs.block.shape[2] for pairs, _ in lists]
    start = np.concatenate([[0], np.cumsum(np.sum(counts, axis=0, dtype=np.int64))]).astype(np.int64)
    column = np.empty(int(start[-1]), dtype=np.uint32)
    value = np.empty((len(column), q))
    free = start[:-1].copy()
    for (pairs, offset), count in zip(lists, counts, strict=True):
        width = pairs.block.shape[2]
        place = np.arange(len(pairs.level)) * width + np.repeat(free - pairs.start[:-1] * width, np.diff(pairs.start))
        for a in range(width):
            column[place + a] = offset + pairs.level.astype(np.int64) * width + a
            value[place + a] = pairs.block[:, :, a]
        free += count
    return start, column, value


def _across(crossing: Crossing, rest: tuple[int, ...], spans: tuple[slice, ...]) -> sparse.csr_matrix:
    """Upper part of A between levels of the factors that are not eliminated."""
    n_columns = spans[-1].stop if spans else 0
    rows: list[IntArray] = [np.zeros(0, dtype=np.int64)]
    columns: list[IntArray] = [np.zeros(0, dtype=np.int64)]
    values: list[FloatArray] = [np.zeros(0)]
    for k, first in zip(rest, spans, strict=True):
        for m, second in zip(rest, spans, strict=True):
            pairs = crossing.pairs.get((k, m))
            if pairs is None:
                continue
            q, r = pairs.block.shape[1:]
            level = np.repeat(np.arange(len(pairs.start) - 1), np.diff(pairs.start))
            row = first.start + level[:, None, None] * q + np.arange(q)[:, None]
            column = second.start + pairs.level.astype(np.int64)[:, None, None] * r + np.arange(r)
            rows.append(np.broadcast_to(row.astype(np.int64), pairs.block.shape).ravel())
            columns.append(np.broadcast_to(column, pairs.block.shape).ravel())
            values.append(pairs.block.ravel())
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return sparse.coo_matrix(entries, shape=(n_columns, n_columns)).tocsr()


@dataclass(frozen=True, kw_only=True, eq=False)
class Schur:
    """The Schur complement at one Lambda.

    Attributes
    ----------
    plan : the elimination.
    factors : Lambda of every factor.
    middle, residual : (J, q, q) B and F = I - A_11 B of the leading levels.
    core : for each other factor, (J_k, q_k, q_k) blocks of A_22 - A_21 B A_12 on the diagonal.
    inner : the blocks of A_21 B A_12 on the diagonal.
    root : (J_k, q_k, q_k) L^-1.
    reach : (J_k, q_k, q_k) K = Lambda L^-T.
    log_det : log|M_11| + log|P|.
    """

    plan: Elimination
    factors: tuple[FloatArray, ...]
    middle: FloatArray
    residual: FloatArray
    core: tuple[FloatArray, ...]
    inner: tuple[FloatArray, ...]
    root: tuple[FloatArray, ...]
    reach: tuple[FloatArray, ...]
    log_det: float

    @classmethod
    def at(cls, plan: Elimination, factors: tuple[FloatArray, ...]) -> "Schur":
        """Eliminate the leading levels and factor the blocks of what is left."""
        middle, residual, log_det = _leading_blocks(plan, factors)
        n_cells = int(plan.width.sum())

        def blocks(first: int, last: int) -> FloatArray:
            out = np.zeros(n_cells)
            middle_blocks(plan.start, plan.column, plan.value, middle, plan.width, plan.cell, first, last, out)
            return out

        inner = plan.blocks(plan.in_parts(blocks))
        core, root, reach = [], [], []
        for k, taken in zip(plan.rest, inner, strict=True):
            left = plan.crossing.diagonal[k] - taken
            whitened, log_p = _inverse_roots(left, factors[k])
            core.append(left)
            root.append(whitened)
            reach.append(factors[k] @ whitened.transpose(0, 2, 1))
            log_det += log_p
        return cls(
            plan=plan, factors=factors, middle=middle, residual=residual, core=tuple(core), inner=inner,
            root=tuple(root), reach=tuple(reach), log_det=log_det,
        )  # fmt: skip

    def blockwise(self, blocks: tuple[FloatArray, ...], x: FloatArray, *, transpose: bool = False) -> FloatArray:
        """Product of block-diagonal matrices of all other factors, or of their transposes, with x (N, s)."""
        out = aligned(x.shape)
        for block, span in zip(blocks, self.plan.spans, strict=True):
            out[span] = multiply(block.transpose(0, 2, 1) if transpose else block, x[span])
        return out

    def taken(self, b: FloatArray, sums: FloatArray) -> FloatArray:
        """A_21 B A_12 b (N, s); e e' with e = F_i A_i b is added to `sums` (s, q, q), unless that is empty."""
        plan, n_columns = self.plan, b.shape[1]
        if plan.q == 1 and n_columns != COLUMNS:
            return self._taken_by_eights(b, sums)
        kernel, values = eliminate, (plan.value, self.middle, self.residual)
        if plan.q == 1:
            kernel, values = eliminate_eight, (plan.value[:, 0], self.middle[:, 0, 0], self.residual[:, 0, 0])

        def work(first: int, last: int) -> FloatArray:
            out = aligned((b.size + sums.size,))
            squares = out[b.size :].reshape(sums.shape if plan.q > 1 else -1)
            kernel(plan.start, plan.column, *values, b, first, last, out[: b.size].reshape(b.shape), squares)
            return out

        out = plan.in_parts(work)
        sums += out[b.size :].reshape(sums.shape)
        return out[: b.size].reshape(b.shape)

    def _taken_by_eights(self, b: FloatArray, sums: FloatArray) -> FloatArray:
        """As `taken`, for any number of columns."""
        out = np.empty(b.shape)
        for a in range(0, b.shape[1], COLUMNS):
            width = min(COLUMNS, b.shape[1] - a)
            panel = aligned((len(b), COLUMNS))
            panel[:, :width] = b[:, a : a + width]
            squares = np.zeros((COLUMNS, 1, 1)) if sums.size else NO_SUMS
            out[:, a : a + width] = self.taken(panel, squares)[:, :width]
            sums[a : a + width] += squares[:width]
        return out

    def remainder(self, b: FloatArray, sums: FloatArray) -> FloatArray:
        """(A_22 - A_21 B A_12) b without the blocks on its diagonal: (N, s); `sums` as in `taken`."""
        out = -self.taken(b, sums)
        for block, span in zip(self.inner, self.plan.spans, strict=True):
            out[span] += multiply(block, b[span])
        self.plan.add_across(b, out)
        return out

    def apply(self, w: FloatArray) -> FloatArray:
        """L^-1 S L^-T w (N, s)."""
        b = self.blockwise(self.reach, w)
        return w + self.blockwise(self.reach, self.remainder(b, NO_SUMS), transpose=True)

    def sandwich(self, cells: tuple[FloatArray, ...]) -> FloatArray:
        """Sums over leading levels of F (sum of A_ij R_j A_ij') F', for R in cells (J_k, q_k, q_k, s): (s, q, q)."""
        plan = self.plan
        flat = np.concatenate([cell.reshape(-1, cell.shape[-1]) for cell in cells])

        def work(first: int, last: int) -> FloatArray:
            out = np.zeros((flat.shape[1], plan.q, plan.q))
            middle_sums(
                plan.start, plan.column, plan.value, self.residual, plan.width, plan.cell, flat, first, last, out
            )
            return out

        return plan.in_parts(work)


NO_SUMS = np.zeros((0, 0, 0))


def _leading_blocks(plan: Elimination, factors: tuple[FloatArray, ...]) -> tuple[FloatArray, FloatArray, float]:
    """B and F of the leading levels, and log|M_11|."""
    if plan.leading < 0:
        return np.zeros((0, 1, 1)), np.zeros((0, 1, 1)), 0.0
    diagonal, factor = plan.crossing.diagonal[plan.leading], factors[plan.leading]
    root, log_det = _inverse_roots(diagonal, factor)
    half = factor @ root.transpose(0, 2, 1)
    middle = half @ half.transpose(0, 2, 1)
    return middle, np.eye(plan.q) - diagonal @ middle, log_det


def _inverse_roots(blocks: FloatArray, factor: FloatArray) -> tuple[FloatArray, float]:
    """L^-1 (J, q, q) with L L' = I + factor' block factor, and the sum of log|L L'|."""
    q = factor.shape[0]
    if q == 1:
        size = 1.0 + factor[0, 0] ** 2 * blocks
        return 1.0 / np.sqrt(size), float(np.log(size).sum())
    chol = np.linalg.cholesky(np.eye(q) + factor.T @ blocks @ factor)
    log_det = 2.0 * float(np.log(np.einsum("jaa->ja", chol)).sum())
    return np.linalg.inv(chol), log_det
