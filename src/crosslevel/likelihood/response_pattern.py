"""Which levels of several grouping factors the rows of a generalized linear mixed model lie in, and sums over them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, combinations_with_replacement, product

import numpy as np

from crosslevel.design.crossing import Pairs
from crosslevel.design.response_rows import ResponseRows, ResponseTerm
from crosslevel.errors import DesignError
from crosslevel.likelihood.elimination import EliminationPlan
from crosslevel.likelihood.factorised import PatternInverse
from crosslevel.memory import require_memory
from crosslevel.types import CodeArray, FloatArray

LEAST_COPY = 1e-200
"""What a level that does not count at all is taken to count: its own random effects stay defined."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Slot:
    """One way in which rows belong to a factor: one slot per factor, several for multiple membership.

    Attributes
    ----------
    factor : which factor.
    codes : (n,) level of each row, -1 for none.
    z : (q, n) columns of the random effects, times how much the row belongs to the level.
    """

    factor: int
    codes: CodeArray = field(repr=False)
    z: FloatArray = field(repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Meeting:
    """Rows that lie in levels of two slots.

    Attributes
    ----------
    left, right : positions of the slots.
    key : their factors.
    index : (n,) pair of levels of each row, -1 for none.
    """

    left: int
    right: int
    key: tuple[int, int]
    index: CodeArray = field(repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class WeightedBlocks:
    """Z'W Z of all levels: diagonal blocks (J, q, q) of each factor, and blocks of pairs of levels that share rows."""

    diagonal: tuple[FloatArray, ...]
    pairs: Mapping[tuple[int, int], Pairs]


@dataclass(frozen=True, kw_only=True, eq=False)
class ResponsePattern:
    """The levels that rows lie in, the order in which these are eliminated, and how often each level counts.

    Where levels count several times, sums of a level are those of one copy of it with all copies of the levels inside
    it, and a pair's those of one copy of the level that is eliminated first.

    Attributes
    ----------
    slots, meetings : where the rows lie.
    pairs : pairs of levels that share rows, without blocks.
    plan : the symbolic analysis.
    weights : for each factor (J,) how often each level counts in all.
    copied : whether some level counts more or less than once.
    """

    slots: tuple[Slot, ...]
    meetings: tuple[Meeting, ...]
    pairs: Mapping[tuple[int, int], Pairs] = field(repr=False)
    plan: EliminationPlan = field(repr=False)
    weights: tuple[FloatArray, ...] = field(repr=False)
    copied: bool

    @classmethod
    def of(cls, rows: ResponseRows) -> "ResponsePattern":
        """Analyse which levels share rows.

        Raises
        ------
        DesignError : levels that count several times in factors that are not nested.
        MemoryShortageError : the pairs of levels, or the dense part, do not fit into memory.
        """
        slots = _slots(rows.terms)
        counts = tuple(term.n_levels for term in rows.terms)
        sizes = tuple(term.q for term in rows.terms)
        _require_pairs(rows, slots, counts, sizes)
        pairs, meetings = _meetings(slots, counts, sizes)
        plan = EliminationPlan.of(pairs, counts, sizes)
        _require_factor(plan)
        whole = cls(
            slots=slots, meetings=meetings, pairs=pairs, plan=plan,
            weights=tuple(np.ones(count) for count in counts), copied=False,
        )  # fmt: skip
        return whole.reweighted(rows.terms)

    def reweighted(self, terms: Sequence[ResponseTerm]) -> "ResponsePattern":
        """The same rows with other weights of the levels."""
        copied = any(bool(np.any(term.weight != 1.0)) for term in terms)
        if not copied:
            ones = tuple(np.ones(term.n_levels) for term in terms)
            return replace(self, weights=ones, copied=False)
        try:
            weights = self.plan.weights(tuple(np.maximum(term.weight, LEAST_COPY) for term in terms))
        except ValueError:
            raise DesignError(
                "`weights` have sampling weights of levels that are crossed with those of other grouping factors. "
                "A pseudo-likelihood is made of clusters within clusters: give weights of nested factors only, or of "
                "rows."
            ) from None
        return replace(self, weights=weights, copied=True)

    def predictor(self, b: tuple[FloatArray, ...], fixed: FloatArray) -> FloatArray:
        """Linear predictors (n,): `fixed` and z_i'b of the random effects (J, q) of each factor."""
        from crosslevel.kernels.several_factors import add_effects

        eta = fixed.copy()
        for slot in self.slots:
            add_effects(slot.codes, slot.z, b[slot.factor], eta)
        return eta

    def images(self, value: FloatArray) -> tuple[FloatArray, ...]:
        """For each factor (J, q, 1) Z'v, of one copy of each level, of rows' values (n,) that count all copies."""
        from crosslevel.kernels.several_factors import add_images

        out = tuple(np.zeros((count, q, 1)) for count, q in zip(self.plan.counts, self.plan.sizes, strict=True))
        for slot in self.slots:
            add_images(slot.codes, slot.z, value, out[slot.factor])
        if self.copied:
            for image, weight in zip(out, self.weights, strict=True):
                image /= weight[:, None, None]
        return out

    def blocks(self, value: FloatArray) -> WeightedBlocks:
        """Z'V Z, V = diag(v), of rows' values (n,) that count all copies."""
        from crosslevel.kernels.several_factors import add_products

        plan, slots = self.plan, self.slots
        diagonal = tuple(np.zeros((count, q, q)) for count, q in zip(plan.counts, plan.sizes, strict=True))
        for slot in slots:
            add_products(slot.z, slot.z, value, slot.codes, diagonal[slot.factor])
        pairs = {}
        for (k, m), some in self.pairs.items():
            block = np.zeros((len(some.level), plan.sizes[k], plan.sizes[m]))
            pairs[k, m] = Pairs(start=some.start, level=some.level, block=block)
        for meeting in self.meetings:
            left, right = slots[meeting.left], slots[meeting.right]
            add_products(left.z, right.z, value, meeting.index, pairs[meeting.key].block)
        if self.copied:
            for block, weight in zip(diagonal, self.weights, strict=True):
                block /= weight[:, None, None]
            for key, some in pairs.items():
                some.block[:] /= self._pair_weight(key)[:, None, None]
        return WeightedBlocks(diagonal=diagonal, pairs=pairs)

    def _pair_weight(self, key: tuple[int, int]) -> FloatArray:
        """How often (m,) each pair counts: as often as its level that is eliminated first."""
        some = self.pairs[key]
        if self.plan.pair_places[key].swapped:
            return self.weights[key[1]][some.level]
        return np.repeat(self.weights[key[0]], np.diff(some.start))

    def scaled(self, factors: tuple[FloatArray, ...]) -> tuple[FloatArray, ...]:
        """For each slot (q, n) the columns Lambda'z."""
        return tuple(np.ascontiguousarray(factors[slot.factor].T @ slot.z) for slot in self.slots)

    def reach(self, inverse: PatternInverse, scaled: tuple[FloatArray, ...]) -> tuple[FloatArray, ...]:
        """For each slot (q, n) the rows of M^-1 Lambda'z_i that belong to the slot's level of row i."""
        from crosslevel.kernels.several_factors import reach_across, reach_own

        blocks = [inverse.blocks(k) for k in range(len(self.plan.counts))]
        out = tuple(np.empty_like(z) for z in scaled)
        for slot, z, reached in zip(self.slots, scaled, out, strict=True):
            reach_own(slot.codes, z, blocks[slot.factor], reached)
        for meeting in self.meetings:
            left, right, where = meeting.left, meeting.right, self.plan.pair_places[meeting.key]
            reach_across(
                meeting.index, self.slots[left].codes, self.slots[right].codes, meeting.key[0] == meeting.key[1],
                inverse.buffer(dense=where.dense), where.place, where.step_k, where.step_l,
                scaled[left], scaled[right], out[left], out[right],
            )  # fmt: skip
        return out


def _slots(terms: Sequence[ResponseTerm]) -> tuple[Slot, ...]:
    """All slots of the terms, a level that a row is given twice joined to one."""
    slots = []
    for k, term in enumerate(terms):
        z = np.ascontiguousarray(term.z.T, dtype=np.float64)
        if not term.members:
            slots.append(Slot(factor=k, codes=np.ascontiguousarray(term.codes, dtype=np.int32), z=z))
            continue
        codes = [np.array(own, dtype=np.int32) for own, _ in term.members]
        shares = [np.ones(len(term.codes)) if share is None else np.array(share) for _, share in term.members]
        for one, other in combinations(range(len(codes)), 2):
            twice = (codes[one] == codes[other]) & (codes[one] >= 0)
            shares[one][twice] += shares[other][twice]
            codes[other][twice] = -1
        slots += [Slot(factor=k, codes=own, z=z * share) for own, share in zip(codes, shares, strict=True)]
    return tuple(slots)


def _meetings(
    slots: tuple[Slot, ...], counts: tuple[int, ...], sizes: tuple[int, ...]
) -> tuple[dict[tuple[int, int], Pairs], tuple[Meeting, ...]]:
    """The pairs of levels that share rows, and the pair of each row for each two slots."""
    from crosslevel.kernels.pairs import pair_index

    of_factor = [[s for s, slot in enumerate(slots) if slot.factor == k] for k in range(len(counts))]
    pairs, meetings = {}, []
    for k, m in combinations_with_replacement(range(len(counts)), 2):
        ways = list(combinations(of_factor[k], 2)) if k == m else list(product(of_factor[k], of_factor[m]))
        if not ways:
            continue
        ends = [_ends(slots[left].codes, slots[right].codes, same=k == m) for left, right in ways]
        first, second = ends[0] if len(ends) == 1 else tuple(np.concatenate(side) for side in zip(*ends, strict=True))
        start, level, index = pair_index(first, second, counts[k], counts[m])
        pairs[k, m] = Pairs(start=start, level=level, block=np.empty((0, sizes[k], sizes[m])))
        for (left, right), part in zip(ways, np.split(index, len(ways)), strict=True):
            meetings.append(Meeting(left=left, right=right, key=(k, m), index=part))
    return pairs, tuple(meetings)


def _ends(left: CodeArray, right: CodeArray, *, same: bool) -> tuple[CodeArray, CodeArray]:
    """The levels of rows in two slots; in slots of the same factor the lower one first."""
    if not same:
        return left, right
    none = (left < 0) | (right < 0)
    low, high = np.minimum(left, right), np.maximum(left, right)
    return np.where(none, np.int32(-1), low), np.where(none, np.int32(-1), high)


def _require_pairs(
    rows: ResponseRows, slots: tuple[Slot, ...], counts: tuple[int, ...], sizes: tuple[int, ...]
) -> None:
    """Refuse rows whose pairs of levels do not fit into memory.

    Raises
    ------
    MemoryShortageError : they do not.
    """
    needed = 16.0 * rows.n * sum(len(slot.z) for slot in slots)
    for one, other in combinations(slots, 2):
        most = min(float(rows.n), float(counts[one.factor]) * counts[other.factor])
        needed += 24.0 * most * sizes[one.factor] * sizes[other.factor] + 8.0 * rows.n
    require_memory(
        needed,
        f"`formula` has {len(counts)} grouping factors, whose pairs of levels over {rows.n:,} rows",
        "Use fewer grouping factors or random slopes, or a sample of the rows.",
    )


def _require_factor(plan: EliminationPlan) -> None:
    """Refuse a factor of M that does not fit into memory, with its inverse and a copy of each.

    Raises
    ------
    MemoryShortageError : it does not.
    """
    needed = 8.0 * (4.0 * plan.n_dense**2 + 6.0 * plan.symbolic.n_rows)
    require_memory(
        needed,
        f"`formula` has crossed grouping factors that leave a dense part of {plan.n_dense:,} random effects, which",
        "Use fewer grouping factors or random slopes, or a sample of the levels.",
    )
