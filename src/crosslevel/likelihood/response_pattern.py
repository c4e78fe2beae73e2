"""Which levels of several grouping factors the rows of a generalized linear mixed model lie in, and sums over them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, combinations_with_replacement, product

import numpy as np

from crosslevel.design.crossing import Pairs
from crosslevel.design.response_rows import ResponseRows, ResponseTerm
from crosslevel.errors import DesignError
from crosslevel.likelihood.elimination import EliminationPlan
from crosslevel.likelihood.factorised import Factorised, PatternInverse, eliminated
from crosslevel.memory import require_memory
from crosslevel.types import CodeArray, FloatArray, IntArray

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
    """Rows that lie in levels of two slots; see `kernels.several_factors`.

    Attributes
    ----------
    left, right : positions of the slots.
    key : their factors.
    place : (n,) where the block of each row's pair of levels lies, -1 for none.
    dense, step_k, step_l : in which buffer, and its strides; see `PairPlace`.
    """

    left: int
    right: int
    key: tuple[int, int]
    place: IntArray = field(repr=False)
    dense: bool
    step_k: int
    step_l: int

    @property
    def same(self) -> bool:
        """Whether both slots are of the same factor."""
        return self.key[0] == self.key[1]


@dataclass(frozen=True, kw_only=True, eq=False)
class Copies:
    """How often levels count, where some count more or less than once.

    Attributes
    ----------
    weights : for each factor (J,) how often each level counts in all.
    each : (N, 1) the same for all random effects.
    slots, meetings : (n,) one over how often the sums that a row's slots and meetings enter count: a level, and the
        level of a pair that is eliminated first.
    """

    weights: tuple[FloatArray, ...]
    each: FloatArray = field(repr=False)
    slots: tuple[FloatArray, ...] = field(repr=False)
    meetings: tuple[FloatArray, ...] = field(repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class ResponsePattern:
    """The levels that rows lie in, the order in which these are eliminated, and how often each level counts.

    Where levels count several times, sums of a level are those of one copy of it with all copies of the levels inside
    it, and a pair's those of one copy of the level that is eliminated first. `z` are the columns of all slots, as they
    are or times Lambda.

    Attributes
    ----------
    slots, meetings : where the rows lie.
    plan : the symbolic analysis.
    weights : for each factor (J,) how often each level counts in all.
    copies : the same where some level counts more or less than once, else None.
    """

    slots: tuple[Slot, ...]
    meetings: tuple[Meeting, ...]
    plan: EliminationPlan = field(repr=False)
    weights: tuple[FloatArray, ...] = field(repr=False)
    copies: Copies | None = field(default=None, repr=False)

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
        pairs, found = _meetings(slots, counts, sizes)
        plan = EliminationPlan.of(pairs, counts, sizes)
        _require_factor(plan)
        meetings = []
        for left, right, key, index in found:
            where = plan.pair_places[key]
            place = np.where(index >= 0, where.place[index], -1)
            meetings.append(
                Meeting(
                    left=left, right=right, key=key, place=place, dense=where.dense,
                    step_k=where.step_k, step_l=where.step_l,
                )
            )  # fmt: skip
        ones = tuple(np.ones(count) for count in counts)
        return cls(slots=slots, meetings=tuple(meetings), plan=plan, weights=ones).reweighted(rows.terms)

    def reweighted(self, terms: Sequence[ResponseTerm]) -> "ResponsePattern":
        """The same rows with other weights of the levels."""
        if not any(bool(np.any(term.weight != 1.0)) for term in terms):
            return replace(self, weights=tuple(np.ones(term.n_levels) for term in terms), copies=None)
        try:
            weights = self.plan.weights(tuple(np.maximum(term.weight, LEAST_COPY) for term in terms))
        except ValueError:
            raise DesignError(
                "`weights` have sampling weights of levels that are crossed with those of other grouping factors. "
                "A pseudo-likelihood is made of clusters within clusters: give weights of nested factors only, or of "
                "rows."
            ) from None
        return replace(self, weights=weights, copies=self._copies(weights))

    def _copies(self, weights: tuple[FloatArray, ...]) -> Copies:
        """What follows for the rows of how often each level counts in all."""
        of_slots = [np.where(slot.codes >= 0, weights[slot.factor][slot.codes], 1.0) for slot in self.slots]
        each = np.empty((self.plan.n_columns, 1))
        for k, weight in enumerate(weights):
            each[self.plan.rows(k), 0] = np.repeat(weight, self.plan.sizes[k])
        return Copies(
            weights=weights,
            each=each,
            slots=tuple(1.0 / some for some in of_slots),
            meetings=tuple(
                1.0 / of_slots[meeting.right if self.plan.pair_places[meeting.key].swapped else meeting.left]
                for meeting in self.meetings
            ),
        )

    def by_factor(self, x: FloatArray) -> tuple[FloatArray, ...]:
        """Split x (N, 1) into (J, q) for each factor."""
        plan = self.plan
        return tuple(x[plan.rows(k), 0].reshape(plan.counts[k], plan.sizes[k]) for k in range(len(plan.counts)))

    def columns(self) -> tuple[FloatArray, ...]:
        """For each slot (q, n) its columns as they are."""
        return tuple(slot.z for slot in self.slots)

    def scaled(self, factors: tuple[FloatArray, ...]) -> tuple[FloatArray, ...]:
        """For each slot (q, n) the columns Lambda'z."""
        return tuple(
            slot.z * factors[slot.factor][0, 0]
            if len(slot.z) == 1
            else np.ascontiguousarray(factors[slot.factor].T @ slot.z)
            for slot in self.slots
        )

    def predictor(self, z: tuple[FloatArray, ...], effects: tuple[FloatArray, ...], fixed: FloatArray) -> FloatArray:
        """Linear predictors (n,): `fixed`, and z_i'b of the random effects b (J, q) of each factor."""
        from crosslevel.kernels.several_factors import add_effects

        eta = fixed.copy()
        for slot, columns in zip(self.slots, z, strict=True):
            add_effects(slot.codes, columns, effects[slot.factor], eta)
        return eta

    def gathered(self, z: tuple[FloatArray, ...], value: FloatArray) -> FloatArray:
        """Z'v (N, 1), of one copy of each level, of rows' values (n,) that count all copies."""
        from crosslevel.kernels.several_factors import add_images

        out = np.zeros((self.plan.n_columns, 1))
        parts = self.by_factor(out)
        for slot, columns in zip(self.slots, z, strict=True):
            add_images(slot.codes, columns, value, parts[slot.factor])
        return out if self.copies is None else out / self.copies.each

    def add_columns(
        self, z: tuple[FloatArray, ...], begin: int, columns: FloatArray, sides_out: Sequence[FloatArray]
    ) -> None:
        """Add Z'C (J, q, r) of each factor for values C (L, r) of the L rows from `begin` on."""
        from crosslevel.kernels.several_factors import add_column_images

        for slot, own in zip(self.slots, z, strict=True):
            add_column_images(slot.codes, own, begin, columns, sides_out[slot.factor])

    def effect_columns(self, effects: tuple[FloatArray, ...], begin: int, length: int) -> tuple[FloatArray, ...]:
        """For each factor z_i'b (L, r) of L rows from `begin` on, of several random effects b (J, q, r)."""
        from crosslevel.kernels.several_factors import add_effect_columns

        out = tuple(np.zeros((length, some.shape[2])) for some in effects)
        for slot in self.slots:
            add_effect_columns(slot.codes, slot.z, begin, effects[slot.factor], out[slot.factor])
        return out

    def factorised(self, z: tuple[FloatArray, ...], value: FloatArray) -> Factorised:
        """The factor of I + Z'V Z, V = diag(v), of rows' values (n,) that count all copies."""
        from crosslevel.kernels.several_factors import add_meetings, add_squares

        plan, slots, copies = self.plan, self.slots, self.copies
        diagonal, rows = np.zeros(plan.symbolic.n_diagonal), np.zeros(plan.symbolic.n_rows)
        dense = np.zeros((plan.n_dense, plan.n_dense))
        flat = dense.reshape(-1)
        for place, count, q in zip(plan.places, plan.counts, plan.sizes, strict=True):
            buffer = flat if place.dense else diagonal
            for a in range(q):
                first = place.base + a * (place.stride + 1)
                buffer[first : first + (count - 1) * place.step + 1 : place.step] = 1.0
        for s, slot in enumerate(slots):
            place, share = plan.places[slot.factor], value if copies is None else value * copies.slots[s]
            buffer = flat if place.dense else diagonal
            add_squares(slot.codes, z[s], share, place.base, place.step, place.stride, buffer)
        for m, meeting in enumerate(self.meetings):
            left, right, share = meeting.left, meeting.right, value if copies is None else value * copies.meetings[m]
            add_meetings(
                meeting.place, slots[left].codes, slots[right].codes, meeting.same, z[left], z[right], share,
                meeting.step_k, meeting.step_l, flat if meeting.dense else rows,
            )  # fmt: skip
        return eliminated(plan, self.weights, diagonal, rows, dense)

    def reach(self, inverse: PatternInverse, z: tuple[FloatArray, ...]) -> tuple[FloatArray, ...]:
        """For each slot (q, n) the rows of M^-1 z_i that belong to the slot's level of row i."""
        from crosslevel.kernels.several_factors import reach_across, reach_own

        blocks = [inverse.blocks(k) for k in range(len(self.plan.counts))]
        out = tuple(np.empty_like(columns) for columns in z)
        for slot, columns, reached in zip(self.slots, z, out, strict=True):
            reach_own(slot.codes, columns, blocks[slot.factor], reached)
        for meeting in self.meetings:
            left, right = meeting.left, meeting.right
            reach_across(
                meeting.place, self.slots[left].codes, self.slots[right].codes, meeting.same, z[left], z[right],
                meeting.step_k, meeting.step_l, inverse.buffer(dense=meeting.dense), out[left], out[right],
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
) -> tuple[dict[tuple[int, int], Pairs], list[tuple[int, int, tuple[int, int], CodeArray]]]:
    """The pairs of levels that share rows; for each two slots, these, their factors, and the pair (n,) of each row."""
    from crosslevel.kernels.pairs import pair_index

    of_factor = [[s for s, slot in enumerate(slots) if slot.factor == k] for k in range(len(counts))]
    pairs: dict[tuple[int, int], Pairs] = {}
    found: list[tuple[int, int, tuple[int, int], CodeArray]] = []
    for k, m in combinations_with_replacement(range(len(counts)), 2):
        ways = list(combinations(of_factor[k], 2)) if k == m else list(product(of_factor[k], of_factor[m]))
        if not ways:
            continue
        ends = [_ends(slots[left].codes, slots[right].codes, same=k == m) for left, right in ways]
        first, second = ends[0] if len(ends) == 1 else tuple(np.concatenate(side) for side in zip(*ends, strict=True))
        start, level, index = pair_index(first, second, counts[k], counts[m])
        pairs[k, m] = Pairs(start=start, level=level, block=np.empty((0, sizes[k], sizes[m])))
        found += [(*way, (k, m), part) for way, part in zip(ways, np.split(index, len(ways)), strict=True)]
    return pairs, found


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
