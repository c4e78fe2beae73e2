"""In which order the levels of several grouping factors are eliminated, and where everything then lies.

The factor that leaves the smallest dense part is eliminated first, level by level. As long as each level eliminated so
far touches at most one level of some other factor, that factor's levels stay apart and it is eliminated next: nested
factors cost linear time. The rest is one dense matrix.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from crosslevel.design.crossing import Pairs
from crosslevel.types import BoolArray, CodeArray, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """Where a factor's diagonal blocks lie in a flat buffer: element (i, c) of level j at base + j step + i stride + c.

    `dense` says in which buffer: the dense part, or the diagonal blocks of the eliminated levels.
    """

    dense: bool
    base: int
    step: int
    stride: int


@dataclass(frozen=True, kw_only=True, eq=False)
class PairPlace:
    """Where the blocks of two factors' pairs lie: element (i, c) of pair e at place[e] + i step_k + c step_l.

    `dense` says in which buffer: the dense part, or the rows of the eliminated levels; `swapped`, that the second
    factor's levels are eliminated first.
    """

    dense: bool
    swapped: bool
    place: IntArray
    step_k: int
    step_l: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Symbolic:
    """The pattern of the factor as `kernels.elimination` reads it: m nodes, one per eliminated level.

    Row c of the dense part is touched by the nodes dense_node[dense_start[c]:dense_start[c + 1]].
    """

    first: IntArray
    start: IntArray
    column: CodeArray
    row_start: IntArray
    diagonal_start: IntArray
    owner: CodeArray
    dense_start: IntArray
    dense_node: CodeArray
    dense_place: CodeArray
    n_rows: int
    n_diagonal: int

    @property
    def arrays(self) -> tuple[IntArray, IntArray, CodeArray, IntArray, IntArray]:
        """What every kernel takes first."""
        return self.first, self.start, self.column, self.row_start, self.diagonal_start

    @cached_property
    def density(self) -> float:
        """Share of the dense part that the nodes touch on average."""
        return len(self.dense_node) / max(1, (len(self.dense_start) - 1) * len(self.row_start))

    @cached_property
    def complete(self) -> bool:
        """Whether every node has one column and touches all of the dense part and nothing else: V is a matrix then."""
        n_nodes, n_dense = len(self.row_start), len(self.dense_start) - 1
        whole = len(self.dense_node) == self.n_rows == n_nodes * n_dense > 0
        return whole and len(self.owner) == n_nodes

    @property
    def dense_arrays(self) -> tuple[IntArray, CodeArray, CodeArray]:
        """What kernels that work on the dense part take in addition."""
        return self.dense_start, self.dense_node, self.dense_place


@dataclass(frozen=True, kw_only=True, eq=False)
class EliminationPlan:
    """Symbolic analysis of a model's crossed factors.

    Attributes
    ----------
    counts, sizes : levels J_k and random effects q_k of each factor.
    order : the eliminated factors, first to last.
    dense : the others, whose columns make the dense part.
    offset : for each factor, its first column of M.
    n_lead, n_columns : columns of the eliminated factors; of all.
    symbolic : the pattern of the factor.
    places : where each factor's diagonal blocks lie.
    pair_places : where each pair of factors' blocks lie.
    """

    counts: tuple[int, ...]
    sizes: tuple[int, ...]
    order: tuple[int, ...]
    dense: tuple[int, ...]
    offset: tuple[int, ...]
    n_lead: int
    n_columns: int
    symbolic: Symbolic
    places: tuple[Place, ...]
    pair_places: Mapping[tuple[int, int], PairPlace]

    @property
    def n_dense(self) -> int:
        """Columns of the dense part."""
        return self.n_columns - self.n_lead

    def rows(self, factor: int) -> slice:
        """The rows of M that belong to a factor, level by level."""
        start = self.offset[factor]
        return slice(start, start + self.counts[factor] * self.sizes[factor])

    def scaled(self, x: tuple[FloatArray, ...], factors: tuple[FloatArray, ...], n_sides: int) -> FloatArray:
        """Lambda' x for x given by factor, (J_k, q_k, r), in the order of M's columns: (N, r)."""
        out = np.empty((self.n_columns, n_sides))
        for k, (part, factor) in enumerate(zip(x, factors, strict=True)):
            out[self.rows(k)] = times(part, factor).reshape(-1, n_sides)
        return out

    def by_factor(self, x: FloatArray) -> tuple[FloatArray, ...]:
        """Split x (N, r), in the order of M's columns, into (J_k, q_k, r) for each factor."""
        return tuple(
            x[self.rows(k)].reshape(self.counts[k], self.sizes[k], x.shape[1]) for k in range(len(self.counts))
        )

    def weights(self, copies: tuple[FloatArray, ...] | None) -> tuple[FloatArray, ...]:
        """How often each level counts in all, from how often it counts within its parent.

        A level's parent is the first level that it touches among those eliminated later.

        Raises
        ------
        ValueError : copies of levels in the dense part, which have no parent.
        """
        if copies is None:
            return tuple(np.ones(count) for count in self.counts)
        if any(np.any(copies[factor] != 1.0) for factor in self.dense):
            raise ValueError("`copies` must be 1 for factors that are not nested; got other numbers")
        out = [np.ascontiguousarray(weight, dtype=np.float64) for weight in copies]
        symbolic, total = self.symbolic, np.ones(len(self.symbolic.row_start))
        end = len(total)
        for factor in reversed(self.order):
            nodes = np.arange(end - self.counts[factor], end)
            end -= self.counts[factor]
            touching = symbolic.start[nodes] < symbolic.start[nodes + 1]
            parent = symbolic.column[symbolic.start[nodes[touching]]]
            total[nodes] = out[factor]
            inside = parent < self.n_lead
            total[nodes[touching][inside]] *= total[symbolic.owner[parent[inside]]]
            out[factor] = total[nodes]
        return tuple(out)

    @staticmethod
    def of(
        pairs: Mapping[tuple[int, int], Pairs], counts: tuple[int, ...], sizes: tuple[int, ...]
    ) -> "EliminationPlan":
        """Analyse the pattern of the pairs of factors with `counts` levels of `sizes` random effects each."""
        patterns = _best_chain(pairs, counts, sizes)
        order = tuple(patterns)
        dense = tuple(k for k in range(len(counts)) if k not in patterns)
        offset, end = [0] * len(counts), 0
        n_lead = sum(counts[k] * sizes[k] for k in order)
        for k in (*order, *dense):
            offset[k] = end
            end += counts[k] * sizes[k]
        layout = _Layout(counts=counts, sizes=sizes, offset=tuple(offset), n_lead=n_lead, n_columns=end)
        symbolic, located = layout.symbolic(patterns, pairs)
        places = {k: layout.dense_place(k) for k in dense}
        at = 0
        for k in order:
            places[k] = Place(dense=False, base=at, step=sizes[k] ** 2, stride=sizes[k])
            at += counts[k] * sizes[k] ** 2
        between = {key: layout.dense_pairs(key, some) for key, some in pairs.items() if key not in located}
        return EliminationPlan(
            counts=counts, sizes=sizes, order=order, dense=dense, offset=layout.offset, n_lead=n_lead, n_columns=end,
            symbolic=symbolic, places=tuple(places[k] for k in range(len(counts))), pair_places=located | between,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pattern:
    """Which levels each level of one factor touches among those eliminated later; ascending by both.

    Levels of all factors are numbered through: those of factor k from sum(counts[:k]).
    """

    node: IntArray
    target: IntArray

    def inside(self, levels: range) -> BoolArray:
        """Which of the touched levels are among these."""
        return (self.target >= levels.start) & (self.target < levels.stop)

    def touches_one(self, levels: range) -> bool:
        """Whether no level touches two of these."""
        node = self.node[self.inside(levels)]
        return bool(np.all(node[1:] != node[:-1]))

    def fill(self, levels: range) -> tuple[IntArray, IntArray]:
        """Which other levels each of these (numbered from 0) is made to touch when this factor is eliminated."""
        inside = self.inside(levels)
        parent = np.full(int(self.node[-1]) + 1 if len(self.node) else 0, -1, dtype=np.int64)
        parent[self.node[inside]] = self.target[inside] - levels.start
        node, target = parent[self.node[~inside]], self.target[~inside]
        return node[node >= 0], target[node >= 0]


def _best_chain(
    pairs: Mapping[tuple[int, int], Pairs], counts: tuple[int, ...], sizes: tuple[int, ...]
) -> dict[int, _Pattern]:
    """The eliminated factors in order, with what their levels touch: the chain that leaves the fewest columns."""
    columns = [count * size for count, size in zip(counts, sizes, strict=True)]
    able = [k for k in range(len(counts)) if (k, k) not in pairs or not len(pairs[k, k].level)]
    able.sort(key=lambda k: (-counts[k], -columns[k]))  # inner levels first: most often that is the best already
    levels = [range(int(a), int(b)) for a, b in pairwise(np.cumsum((0, *counts)))]

    def extended(chain: dict[int, _Pattern]) -> dict[int, _Pattern]:
        best = chain
        for k in able:
            if k in chain or not all(pattern.touches_one(levels[k]) for pattern in chain.values()):
                continue
            longer = extended({**chain, k: _pattern(k, chain, pairs, levels)})
            if sum(columns[m] for m in longer) > sum(columns[m] for m in best):
                best = longer
            if len(best) == len(able):
                break
        return best

    return extended({})


def _pattern(
    factor: int, chain: dict[int, _Pattern], pairs: Mapping[tuple[int, int], Pairs], levels: list[range]
) -> _Pattern:
    """What a factor's levels touch once the chain's are eliminated."""
    found = [_touched(pairs, factor, levels)]
    found += [pattern.fill(levels[factor]) for pattern in chain.values()]
    node, target = (np.concatenate(parts) for parts in zip(*found, strict=True))
    later = np.ones(levels[-1].stop, dtype=np.bool_)
    for done in chain:
        later[levels[done].start : levels[done].stop] = False
    return _ordered(node[later[target]], target[later[target]], levels[-1].stop)


def _ordered(node: IntArray, target: IntArray, n_levels: int) -> _Pattern:
    """Pattern of these pairs, each once."""
    key = node * n_levels + target
    if np.any(key[1:] <= key[:-1]):
        key = np.sort(key, kind="stable")
        key = key[np.concatenate([[True], key[1:] != key[:-1]])]
    return _Pattern(node=key // n_levels, target=key % n_levels)


def _touched(pairs: Mapping[tuple[int, int], Pairs], factor: int, levels: list[range]) -> tuple[IntArray, IntArray]:
    """All pairs (level of this factor, level of another) that share rows."""
    node: list[IntArray] = [np.empty(0, dtype=np.int64)]
    target: list[IntArray] = [np.empty(0, dtype=np.int64)]
    for (k, m), some in pairs.items():
        if (k == factor) == (m == factor):
            continue
        mine, other = _row_levels(some), some.level.astype(np.int64)
        if m == factor:
            mine, other = other, mine
        node.append(mine)
        target.append(other + levels[m if k == factor else k].start)
    return np.concatenate(node), np.concatenate(target)


def _row_levels(some: Pairs) -> IntArray:
    """The first factor's level of each pair."""
    return np.repeat(np.arange(len(some.start) - 1), np.diff(some.start))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Layout:
    """Where the columns of M lie: those of factor k from offset[k], level by level."""

    counts: tuple[int, ...]
    sizes: tuple[int, ...]
    offset: tuple[int, ...]
    n_lead: int
    n_columns: int

    def dense_place(self, factor: int) -> Place:
        """Where a factor's diagonal blocks lie in the dense part."""
        n_dense, q = self.n_columns - self.n_lead, self.sizes[factor]
        base = (self.offset[factor] - self.n_lead) * (n_dense + 1)
        return Place(dense=True, base=base, step=q * (n_dense + 1), stride=n_dense)

    def dense_pairs(self, key: tuple[int, int], some: Pairs) -> PairPlace:
        """Where the blocks between two factors lie in the lower triangle of the dense part."""
        n_dense = self.n_columns - self.n_lead
        k, m = key
        column = self.offset[k] - self.n_lead + _row_levels(some) * self.sizes[k]
        row = self.offset[m] - self.n_lead + some.level.astype(np.int64) * self.sizes[m]
        return PairPlace(dense=True, swapped=False, place=row * n_dense + column, step_k=1, step_l=n_dense)

    def symbolic(
        self, patterns: dict[int, _Pattern], pairs: Mapping[tuple[int, int], Pairs]
    ) -> tuple[Symbolic, dict[tuple[int, int], PairPlace]]:
        """The pattern of the factor, and where the blocks of pairs with an eliminated level lie in its rows."""
        first_column = np.concatenate(
            [np.arange(count) * q + at for count, q, at in zip(self.counts, self.sizes, self.offset, strict=True)]
            or [np.empty(0, dtype=np.int64)]
        )
        width = np.repeat(np.array(self.sizes, dtype=np.int64), self.counts)
        lengths: list[IntArray] = []
        columns: list[IntArray] = []
        located: dict[tuple[int, int], PairPlace] = {}
        n_rows = 0
        done: list[int] = []
        for k, pattern in patterns.items():
            q = self.sizes[k]
            key = pattern.node * self.n_columns + first_column[pattern.target]
            turn = np.argsort(key, kind="stable") if np.any(key[1:] < key[:-1]) else slice(None)
            key, target = key[turn], pattern.target[turn]
            begin = np.cumsum(width[target]) - width[target]
            lengths.append(
                np.bincount(pattern.node, weights=width[pattern.target], minlength=self.counts[k]).astype(np.int64)
            )
            columns.append(_expanded(first_column[target], width[target], begin))
            for pair, some in pairs.items():
                other = pair[1] if pair[0] == k else pair[0]
                if k in pair and other not in done and pair[0] != pair[1]:
                    located[pair] = self._pair_place(k, pair, some, key, n_rows + begin * q)
            n_rows += int(width[target].sum()) * q
            done.append(k)
        return self._assembled(patterns, lengths, columns, n_rows), located

    def _pair_place(
        self, eliminated: int, pair: tuple[int, int], some: Pairs, key: IntArray, at: IntArray
    ) -> PairPlace:
        """Where the blocks of pairs lie among an eliminated factor's rows, whose blocks have ascending keys."""
        k, m = pair
        mine, other, q = _row_levels(some), some.level.astype(np.int64), self.sizes[eliminated]
        swapped = m == eliminated
        if swapped:
            mine, other = other, mine
        target = k if swapped else m
        wanted = mine * self.n_columns + self.offset[target] + other * self.sizes[target]
        same = len(wanted) == len(key) and np.array_equal(wanted, key)
        place = at if same else at[np.searchsorted(key, wanted)]
        return PairPlace(
            dense=False, swapped=swapped, place=place, step_k=q if swapped else 1, step_l=1 if swapped else q
        )

    def _assembled(
        self, order: Mapping[int, _Pattern], lengths: list[IntArray], columns: list[IntArray], n_rows: int
    ) -> Symbolic:
        """Put the factors' parts together."""
        count = [self.counts[k] for k in order]
        size: IntArray = np.repeat(np.array([self.sizes[k] for k in order], dtype=np.int64), count)
        length: IntArray = np.concatenate([np.empty(0, dtype=np.int64), *lengths])
        column = np.concatenate([np.empty(0, dtype=np.int64), *columns]).astype(np.int32)
        start = np.concatenate([[0], np.cumsum(length)])
        squares = size * size

        # the touched columns of the dense part, turned: by column, then by node
        dense = np.flatnonzero(column >= self.n_lead)
        dense = dense[np.argsort(column[dense], kind="stable")]
        node = np.repeat(np.arange(len(length)), length)[dense]
        often = np.bincount(column[dense] - self.n_lead, minlength=self.n_columns - self.n_lead)
        return Symbolic(
            first=np.concatenate([[0], np.cumsum(size)]),
            start=start,
            column=column,
            row_start=np.cumsum(length * size) - length * size,
            diagonal_start=np.cumsum(squares) - squares,
            owner=np.repeat(np.arange(len(size)), size).astype(np.int32),
            dense_start=np.concatenate([[0], np.cumsum(often)]),
            dense_node=node.astype(np.int32),
            dense_place=(dense - start[node]).astype(np.int32),
            n_rows=n_rows,
            n_diagonal=int(squares.sum()),
        )


def _expanded(first: IntArray, width: IntArray, begin: IntArray) -> IntArray:
    """All columns of blocks that begin at `first` and are `width` wide; `begin` is where each block's columns go."""
    return np.repeat(first - begin, width) + np.arange(int(width.sum()))


def times(x: FloatArray, factor: FloatArray) -> FloatArray:
    """Lambda' x for every level's x (J, q, r)."""
    if len(factor) == 1:
        return np.asarray(x * factor[0, 0])
    return np.asarray(np.einsum("ab,jar->jbr", factor, x))
