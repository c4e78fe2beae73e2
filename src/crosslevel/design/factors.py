"""Grouping factors: which level of each a row belongs to, and what varies between its levels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from crosslevel.covariance import COVARIANCES, KNOWN, BlockStructure
from crosslevel.design.known import KnownMatrices
from crosslevel.design.members import Member, join_members, member_shares
from crosslevel.design.rows import RowCount
from crosslevel.errors import DesignError
from crosslevel.formula import Block, Formula, Membership, RandomTerm
from crosslevel.table import Columns, group_codes
from crosslevel.types import BoolArray, CodeArray, FloatArray, IntArray

NO_MATRICES = KnownMatrices(matrices={}, names=())
"""What a model without known matrices has."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupingFactor:
    """One grouping factor of a model, and the random effects of its levels.

    Attributes
    ----------
    name : as in "school" or "school:class".
    group : the data columns that make it.
    levels : its J levels.
    given : (rows read,) level of each row, or what finds them when they are asked for.
    z : (q,) positions of its random effects' columns among the design columns.
    structure : blocks of its random effects.
    membership : the groups a row belongs to where they are several; `given` then has the first of them.
    members : for multiple membership the levels (rows read,) a row belongs to, -1 for none, and how much to each.
    """

    name: str
    group: tuple[str, ...]
    levels: tuple[object, ...] = field(repr=False)
    given: CodeArray | Callable[[], CodeArray] = field(repr=False)
    z: IntArray
    structure: BlockStructure
    membership: Membership | None = None
    members: tuple[Member, ...] = field(default=(), repr=False)

    @cached_property
    def codes(self) -> CodeArray:
        """(rows read,) level of each row."""
        return self.given if isinstance(self.given, np.ndarray) else self.given()

    @property
    def n_levels(self) -> int:
        """J."""
        return len(self.levels)

    @property
    def n_effects(self) -> int:
        """Random effects in all, q J."""
        return self.structure.q * len(self.levels)


def grouping_factor(
    term: RandomTerm,
    columns: Columns,
    mask: BoolArray | None,
    rows: RowCount,
    *,
    one_row_each: bool = False,
    known: KnownMatrices = NO_MATRICES,
) -> GroupingFactor:
    """The grouping factor of one random term.

    Parameters
    ----------
    term : what varies between which groups.
    columns, mask, rows : the data, and which rows are used.
    one_row_each : whether a level for every row is allowed, because the residual variance is known.
    known : matrices for structures that take one.

    Raises
    ------
    DesignError : one level only, a level for every row, or a continuous variable.
    """
    if term.membership is not None:
        levels, members = join_members(term.membership, columns, mask)
        alone = factor_of(term, levels, members[0][0], rows, one_row_each=True, known=known)
        return replace(alone, membership=term.membership, members=members)
    factor = group_codes(columns, term.group)
    codes, levels = _used_codes(factor.codes, factor.levels, mask)
    return factor_of(term, levels, codes, rows, one_row_each=one_row_each, known=known)


def factor_of(
    term: RandomTerm,
    levels: tuple[object, ...],
    codes: CodeArray | Callable[[], CodeArray],
    rows: RowCount,
    *,
    one_row_each: bool = False,
    known: KnownMatrices = NO_MATRICES,
) -> GroupingFactor:
    """The grouping factor of one random term, whose levels are known; see `grouping_factor`."""
    name, structure = ":".join(term.group), _structure(term.blocks, known)
    if structure.fixed.all():  # there is nothing to learn from differences between levels
        one_row_each = True
    else:
        _check_several(name, levels, rows)
    _check_group(name, levels, rows, term.group, one_row_each=one_row_each)
    return GroupingFactor(
        name=name,
        group=term.group,
        levels=levels,
        given=codes,
        z=np.concatenate([np.asarray(block.columns, dtype=np.int64) for block in term.blocks]),
        structure=structure,
    )


def new_codes(factor: GroupingFactor, columns: Columns) -> CodeArray:
    """The fit's code (rows,) of each row's level in new data, -1 where it was not in the fit."""
    return codes_among(factor.levels, columns, factor.group)


def new_members(factor: GroupingFactor, columns: Columns) -> tuple[tuple[CodeArray, FloatArray | None], ...]:
    """The fit's codes (rows,) of the levels that rows of new data belong to, and how much to each (None: 1)."""
    if factor.membership is None:
        return ((new_codes(factor, columns), None),)
    shares = member_shares(factor.membership, columns, None)
    codes = (codes_among(factor.levels, columns, (name,)) for name in factor.membership.members)
    return tuple(zip(codes, shares, strict=True))


def codes_among(levels: Sequence[object], columns: Columns, names: tuple[str, ...]) -> CodeArray:
    """Position (rows,) among `levels` of each row's level of (combinations of) columns, -1 if it is none of them."""
    found = group_codes(columns, names)
    place = {str(level): code for code, level in enumerate(levels)}
    codes = np.array([*(place.get(str(level), -1) for level in found.levels), -1], dtype=np.int32)
    return np.asarray(codes[found.codes])


def _used_codes(
    codes: CodeArray, levels: tuple[object, ...], mask: BoolArray | None
) -> tuple[CodeArray, tuple[object, ...]]:
    """Codes over the clusters that have a used row."""
    if mask is None:
        return codes, levels
    present = np.bincount(codes[mask], minlength=len(levels)) > 0
    if present.all():
        return codes, levels
    place = np.append(np.cumsum(present) - 1, -1).astype(np.int32)
    return place[codes], tuple(level for level, here in zip(levels, present, strict=True) if here)


def _check_several(name: str, levels: tuple[object, ...], rows: RowCount) -> None:
    """Refuse one cluster."""
    if len(levels) < 2:
        raise DesignError(
            f"`formula` groups by {name!r}, which has one value in the {rows.used} rows used. "
            "A multilevel model needs at least two clusters; with one, fit an ordinary regression."
        )


def _check_group(
    name: str, levels: tuple[object, ...], rows: RowCount, group: tuple[str, ...], *, one_row_each: bool
) -> None:
    """Refuse a continuous grouping variable, and clusters of one row only."""
    n_clusters = len(levels)
    fractional = any(isinstance(level, float) and not level.is_integer() for level in levels[:1000])
    if len(group) == 1 and fractional and n_clusters > rows.used / 2:
        raise DesignError(
            f"`formula` groups by {name!r}, which looks continuous: {n_clusters} different values in {rows.used} rows. "
            "Name the column that identifies the clusters."
        )
    if n_clusters == rows.used and not one_row_each:
        raise DesignError(
            f"`formula` groups by {name!r}, which differs in each of the {rows.used} rows, so that clusters cannot be "
            "told from residuals. Name the column that identifies the clusters."
        )


def refuse_membership(formula: Formula) -> None:
    """Raise `DesignError` if rows belong to several groups of one factor."""
    for part in formula.random:
        if part.membership is not None:
            raise DesignError(
                f"`formula` has the multiple membership {part.group_text}, which this version reads but does not fit. "
                f"Choose one group for each row, as in (1 | {part.membership.members[0]})."
            )


def _structure(blocks: tuple[Block, ...], known: KnownMatrices) -> BlockStructure:
    """Covariance structure of a term's blocks; their columns are numbered in order."""
    kinds, places, start = [], [], 0
    for block in blocks:
        name, width = block.structure, len(block.columns)
        if name in KNOWN:
            kinds.append(known.structure(block))
        elif name in COVARIANCES:
            kinds.append(COVARIANCES[name])
        else:
            raise DesignError(
                f"`formula` asks for the covariance structure {name!r}; this version has "
                f"{', '.join((*COVARIANCES, *KNOWN))}."
            )
        places.append(np.arange(start, start + width))
        start += width
    return BlockStructure(kinds=tuple(kinds), columns=tuple(places), q=start)
