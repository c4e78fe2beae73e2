"""The units within which residuals are correlated: their order, the times between rows, the occasions they have."""

from dataclasses import dataclass

import numpy as np

from crosslevel.errors import DesignError
from crosslevel.residual.occasions import Pattern
from crosslevel.types import BoolArray, CodeArray, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Levels:
    """A column as levels: codes (n,) of the rows used, and the levels that occur in them."""

    codes: CodeArray
    levels: tuple[object, ...]


def starts_of(codes: CodeArray) -> IntArray:
    """Where each unit's rows begin, (U,), of sorted codes."""
    return np.flatnonzero(np.append(True, codes[1:] != codes[:-1]))


def lags(time: FloatArray, unit: Levels, name: str, within: str) -> tuple[IntArray, FloatArray]:
    """Order by unit and time, and the time since the unit's row before; zero where a unit starts."""
    order = np.lexsort((time, unit.codes))
    codes, sorted_time = unit.codes[order], time[order]
    inside = np.append(False, codes[1:] == codes[:-1])
    lag = np.where(inside, np.append(0.0, np.diff(sorted_time)), 0.0)
    refuse_ties((lag == 0.0)[1:] & inside[1:], codes, unit, name, within)
    refuse_single_rows(2 if inside.any() else 1, within)
    return order, lag


def refuse_ties(same: BoolArray, codes: CodeArray, unit: Levels, name: str, within: str) -> None:
    """Refuse two rows of a unit at one time."""
    if same.any():
        first = unit.levels[int(codes[:-1][same][0])]
        raise DesignError(
            f"`residual` needs different values of {name!r} within each {within}; {within} {first!r} has two rows with "
            f"the same ({int(same.sum())} such pairs in all). Name the column that tells the occasions apart, or "
            "average the rows."
        )


def refuse_single_rows(largest: int, within: str) -> None:
    """Refuse units of one row only."""
    if largest < 2:
        raise DesignError(
            f"`residual` correlates rows within {within!r}, but each of its units has one row. "
            "Name the column that identifies the units observed repeatedly."
        )


def patterns_of(times: CodeArray, start: IntArray, size: IntArray) -> tuple[Pattern, ...]:
    """Units grouped by the occasions they have."""
    found: dict[bytes, list[int]] = {}
    for u in range(len(start)):
        found.setdefault(times[start[u] : start[u] + size[u]].tobytes(), []).append(u)
    out = []
    for units in found.values():
        first = start[units[0]]
        length = size[units[0]]
        out.append(
            Pattern(
                occasions=times[first : first + length].astype(np.int64),
                rows=start[np.array(units)][:, None] + np.arange(length),
            )
        )
    return tuple(out)


def require_pairs(patterns: tuple[Pattern, ...], occasion: Levels, name: str, within: str) -> None:
    """Refuse two occasions that no unit has both of: their correlation cannot be estimated."""
    size = len(occasion.levels)
    together = np.zeros((size, size), dtype=np.bool_)
    for pattern in patterns:
        together[np.ix_(pattern.occasions, pattern.occasions)] = True
    if not together.all():
        i, j = np.argwhere(~together)[0]
        raise DesignError(
            f"`residual` wants the correlation of {name} {occasion.levels[i]!r} and {occasion.levels[j]!r}, but no "
            f"{within} has both. Merge occasions, or choose a structure with fewer parameters."
        )
