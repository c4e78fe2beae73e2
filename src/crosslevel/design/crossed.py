"""Sum the cross-products of a model with several grouping factors: rows -> Crossing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, combinations_with_replacement, product

import numpy as np

from crosslevel.design.crossing import Crossing, Pairs
from crosslevel.design.factors import GroupingFactor
from crosslevel.design.products import CrossProducts
from crosslevel.design.reduced import random_basis, working_coordinates
from crosslevel.design.weighting import RowWeights
from crosslevel.memory import require_memory
from crosslevel.types import CodeArray, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sum:
    """Blocks that rows are added to.

    Attributes
    ----------
    left, right : the factors whose columns are multiplied.
    share : (n,) what each row counts, or None for 1.
    index : (n,) block of each row, -1 for none.
    blocks : (m, q_left, q_right), added to; one array may belong to several sums.
    """

    left: int
    right: int
    share: FloatArray | None
    index: CodeArray
    blocks: FloatArray


def cross_factors(
    rows: Iterable[FloatArray],
    products: CrossProducts,
    factors: Sequence[GroupingFactor],
    members: Sequence[Sequence[tuple[CodeArray, FloatArray | None]]],
    *,
    x: IntArray,
    constant: int,
    weights: RowWeights | None = None,
) -> Crossing:
    """Sum the blocks Z_j'Z_l of all levels that share rows, Z_j'[X y] and [X y]'[X y], in working coordinates.

    Parameters
    ----------
    rows : the used rows, some at a time: design columns with the response last (m + 1, L).
    products : cross-products of the same columns, over all rows or by level of one factor.
    factors : the grouping factors.
    members : for each factor, the levels (n,) its rows belong to and how much they count there (None: 1): one pair, or
        several for multiple membership.
    x : (p,) positions of the fixed columns.
    constant : position of the intercept, -1 if there is none.
    weights : what rows and levels weigh; None if each counts once.
    """
    from crosslevel.kernels.pairs import add_blocks

    _require_room(factors, members, len(x) + 1)
    xy = np.append(x, len(products.names) - 1)
    coordinates = working_coordinates(products, xy, constant)
    change = np.append(-coordinates.removed, 1.0)
    bases = [random_basis(products, factor.z, factor.structure, constant) for factor in factors]
    p1 = len(xy)
    diagonal = tuple(np.zeros((f.n_levels, len(f.z), len(f.z))) for f in factors)
    image = tuple(np.zeros((f.n_levels, len(f.z), p1)) for f in factors)
    gram = np.zeros((p1, p1))
    pairs, sums = _pair_sums(factors, members)
    for k, own in enumerate(members):
        sums += _own_sums(k, own, diagonal[k])
    total, inside = (None, (None,) * len(factors)) if weights is None else (weights.total, weights.inside)
    members = [[(codes, _times(share, inside[k])) for codes, share in own] for k, own in enumerate(members)]
    sums = [replace(part, share=_times(part.share, inside[_finer(factors, part)])) for part in sums]

    done = 0
    for block in rows:
        place = slice(done, done + block.shape[1])
        done = place.stop
        working = (block[xy] - coordinates.shift[:, None]) / coordinates.scale[:, None]
        working[-1] = change @ working
        gram += working @ working.T if total is None else working * total[place] @ working.T
        columns = [
            (block[factor.z] - (shift + products.origin[factor.z])[:, None]) / np.diag(basis)[:, None]
            for factor, (shift, basis) in zip(factors, bases, strict=True)
        ]
        for part in sums:
            left = columns[part.left] if part.share is None else columns[part.left] * part.share[place]
            add_blocks(left, columns[part.right], part.index[place], part.blocks)
        for k, own in enumerate(members):
            for codes, share in own:
                left = columns[k] if share is None else columns[k] * share[place]
                add_blocks(left, working, codes[place], image[k])
    return Crossing(
        diagonal=diagonal,
        image=image,
        pairs=pairs,
        gram=gram,
        n_rows=products.n_rows,
        log_weight=products.log_weight,
        structures=tuple(factor.structure for factor in factors),
        basis=tuple(basis for _, basis in bases),
        coordinates=coordinates,
    )


def _require_room(
    factors: Sequence[GroupingFactor], members: Sequence[Sequence[tuple[CodeArray, FloatArray | None]]], p1: int
) -> None:
    """Refuse cross-products that do not fit into memory, by the most pairs of levels that the rows can make.

    Raises
    ------
    MemoryShortageError : they do not.
    """
    n = max((len(own[0][0]) for own in members), default=0)
    size = [len(factor.z) for factor in factors]
    needed = sum(8.0 * factor.n_levels * q * (q + p1) for factor, q in zip(factors, size, strict=True))
    for k, m in combinations_with_replacement(range(len(factors)), 2):
        ways = len(members[k]) * (len(members[k]) - 1) // 2 if k == m else len(members[k]) * len(members[m])
        most = min(float(ways * n), float(factors[k].n_levels) * factors[m].n_levels)
        needed += most * (8.0 * size[k] * size[m] + 4.0) + 8.0 * ways * n
    require_memory(
        needed,
        f"`formula` has {len(factors)} grouping factors, whose cross-products over {n:,} rows",
        "Use fewer grouping factors or random slopes, or a sample of the rows.",
    )


def _pair_sums(
    factors: Sequence[GroupingFactor], members: Sequence[Sequence[tuple[CodeArray, FloatArray | None]]]
) -> tuple[dict[tuple[int, int], Pairs], list[_Sum]]:
    """The pairs of levels that share rows, and which rows are to be added to which."""
    from crosslevel.kernels.pairs import pair_index

    pairs: dict[tuple[int, int], Pairs] = {}
    sums: list[_Sum] = []
    for k, m in combinations_with_replacement(range(len(factors)), 2):
        ways = list(combinations(members[k], 2)) if k == m else list(product(members[k], members[m]))
        if not ways:
            continue
        ends = [(one[0], other[0]) if k < m else _ordered(one[0], other[0]) for one, other in ways]
        first, second = ends[0] if len(ends) == 1 else tuple(np.concatenate(side) for side in zip(*ends, strict=True))
        start, level, index = pair_index(first, second, factors[k].n_levels, factors[m].n_levels)
        block = np.zeros((len(level), len(factors[k].z), len(factors[m].z)))
        pairs[k, m] = Pairs(start=start, level=level, block=block)
        for (one, other), part in zip(ways, np.split(index, len(ways)), strict=True):
            sums.append(_Sum(left=k, right=m, share=_times(one[1], other[1]), index=part, blocks=block))
    return pairs, sums


def _own_sums(k: int, own: Sequence[tuple[CodeArray, FloatArray | None]], diagonal: FloatArray) -> list[_Sum]:
    """Sums that make a factor's diagonal blocks; a row may belong to one level twice."""
    sums = [_Sum(left=k, right=k, share=_times(share, share), index=codes, blocks=diagonal) for codes, share in own]
    for (codes, share), (other, other_share) in combinations(own, 2):
        same = np.where(codes == other, codes, np.int32(-1))
        if np.any(same >= 0):
            both = _times(share, other_share)
            twice = np.full(len(codes), 2.0) if both is None else 2.0 * both
            sums.append(_Sum(left=k, right=k, share=twice, index=same, blocks=diagonal))
    return sums


def _finer(factors: Sequence[GroupingFactor], part: _Sum) -> int:
    """The factor with more levels of the two that a sum belongs to."""
    return part.left if factors[part.left].n_levels >= factors[part.right].n_levels else part.right


def _ordered(first: CodeArray, second: CodeArray) -> tuple[CodeArray, CodeArray]:
    """The lower and the higher of two codes; -1 where they are the same level or one is missing."""
    none = (first == second) | (first < 0) | (second < 0)
    low, high = np.minimum(first, second), np.maximum(first, second)
    return np.where(none, np.int32(-1), low), np.where(none, np.int32(-1), high)


def _times(a: FloatArray | None, b: FloatArray | None) -> FloatArray | None:
    """Product of two shares, None standing for 1."""
    return b if a is None else a if b is None else a * b
