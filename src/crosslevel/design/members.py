"""Multiple membership: the several groups that a row belongs to, and how much to each."""

import numpy as np

from crosslevel.errors import DataError, DesignError
from crosslevel.formula import Formula, Membership
from crosslevel.table import Columns
from crosslevel.types import BoolArray, CodeArray, FloatArray

Member = tuple[CodeArray, FloatArray]
"""Levels (rows read,) and how much a row belongs to each."""


def join_members(
    membership: Membership, columns: Columns, mask: BoolArray | None
) -> tuple[tuple[object, ...], tuple[Member, ...]]:
    """Common levels of the members' columns, and each member's codes and shares.

    Parameters
    ----------
    membership : the columns of the groups and of their weights.
    columns, mask : the data, and which rows are used.
    """
    factors = [columns.factor(name) for name in membership.members]
    present = {level for factor in factors for level in _occurring(factor.codes, factor.levels, mask)}
    try:
        levels = tuple(sorted(present))  # type: ignore[type-var]
    except TypeError:  # levels of several kinds have no order of their own
        levels = tuple(sorted(present, key=str))
    place = {level: code for code, level in enumerate(levels)}
    members = []
    for factor, share in zip(factors, member_shares(membership, columns, mask), strict=True):
        lookup = np.array([*(place.get(level, -1) for level in factor.levels), -1], dtype=np.int32)
        members.append((lookup[factor.codes], share))
    return levels, tuple(members)


def _occurring(codes: CodeArray, levels: tuple[object, ...], mask: BoolArray | None) -> list[object]:
    """Levels of the used rows."""
    used = codes if mask is None else codes[mask]
    count = np.bincount(used[used >= 0], minlength=len(levels))
    return [level for level, here in zip(levels, count, strict=True) if here]


def member_shares(membership: Membership, columns: Columns, mask: BoolArray | None) -> tuple[FloatArray, ...]:
    """How much each row (rows read,) belongs to each member: the weights as given, or equal parts of 1.

    A row without a member has a weight of zero there.

    Raises
    ------
    DataError : a negative weight, a weight for a missing member, or a member without weight, in a used row.
    """
    absent = [columns.factor(name).codes < 0 for name in membership.members]
    if not membership.weights:
        count = np.maximum(len(absent) - np.sum(absent, axis=0), 1)
        return tuple(np.where(missing, 0.0, 1.0 / count) for missing in absent)
    shares = []
    for member, name, missing in zip(membership.members, membership.weights, absent, strict=True):
        weight = np.array(columns.numeric(name))
        used = np.ones(len(weight), dtype=np.bool_) if mask is None else mask
        _refuse(name, member, used & (weight < 0.0), "is negative")
        _refuse(name, member, used & ~missing & np.isnan(weight), f"is missing although {member!r} is not")
        _refuse(name, member, used & missing & (weight > 0.0), f"is positive although {member!r} is missing")
        shares.append(np.where(missing | np.isnan(weight), 0.0, weight))
    return tuple(shares)


def _refuse(name: str, member: str, wrong: BoolArray, what: str) -> None:
    """Raise unless no row is wrong."""
    if np.any(wrong):
        raise DataError(
            f"`formula` weighs {member!r} by {name!r}, which {what} in {np.count_nonzero(wrong)} rows. "
            "Give each group of a row a weight of zero or more; a group that is missing needs none."
        )


def members_present(
    formula: Formula, columns: Columns, mask: BoolArray | None, counts: dict[str, int], *, alone: bool
) -> BoolArray | None:
    """Rows (rows read,) that also belong to at least one group of each multiple membership; None if all do.

    Parameters
    ----------
    mask : rows that have all that is required; None if all have.
    counts : missing values by variable; what is missing here is added.
    alone : whether a row may belong to one level only.

    Raises
    ------
    DesignError : there is a multiple membership, where rows may belong to one level only.
    """
    for membership in dict.fromkeys(part.membership for part in formula.random if part.membership is not None):
        if alone:
            raise DesignError(
                "`residual` needs rows that lie in one level of each grouping factor, and "
                f"{membership.name} gives them several. Leave the residual structure or the multiple membership out."
            )
        absent = np.all([columns.factor(name).codes < 0 for name in membership.members], axis=0)
        if np.any(absent):
            counts[membership.name] = int(np.count_nonzero(absent))
            mask = ~absent if mask is None else mask & ~absent
    return mask
