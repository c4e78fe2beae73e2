"""One row for each cluster, of the variables that describe clusters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crosslevel.design.two_levels import SeparateDesign
from crosslevel.errors import DataError
from crosslevel.table import Columns
from crosslevel.table.picked import picked
from crosslevel.types import BoolArray, IntArray

ROUNDING = 1e-9
"""Relative differences of numbers within a cluster that are rounding errors."""

FEW = 3
"""Values that a message shows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ClusterRows:
    """Where the variables of J clusters stand in the data.

    Attributes
    ----------
    columns : the data.
    first : by variable the row (J,) that each cluster's value is taken from, -1 where it has none.
    lacking : (J,) names of the variables that a cluster has no value of, in words; "" for none.
    """

    columns: Columns
    first: Mapping[str, IntArray]
    lacking: tuple[str, ...]

    def of(self, place: IntArray) -> Columns:
        """The variables of some clusters, one row for each."""
        return picked(self.columns, {name: rows[place] for name, rows in self.first.items()})


def cluster_rows(design: SeparateDesign, direct: Sequence[str], averaged: Sequence[str]) -> ClusterRows:
    """Find variables of clusters: the first used row that has a value, with which the others have to agree.

    Raises
    ------
    DataError : a variable among `direct` varies within clusters; those among `averaged` may.
    """
    design.columns.require((*direct, *averaged), "second")
    names = tuple(dict.fromkeys((*design.group, *direct, *averaged)))
    used = np.arange(design.columns.n_rows) if design.mask is None else np.flatnonzero(design.mask)
    out: dict[str, IntArray] = {}
    lacking: list[list[str]] = [[] for _ in design.levels]
    for name in names:
        absent = design.columns.missing(name)
        rows = used if absent is None else used[~absent[used]]
        first = np.full(len(design.levels), -1, dtype=np.int64)
        first[design.codes[rows[::-1]]] = rows[::-1]
        if name not in design.group and name in direct:
            _check_constant(design, name, rows, first)
        out[name] = first
        for j in np.flatnonzero(first < 0):
            lacking[j].append(name)
    return ClusterRows(columns=design.columns, first=out, lacking=tuple(", ".join(some) for some in lacking))


def _check_constant(design: SeparateDesign, name: str, rows: IntArray, first: IntArray) -> None:
    """Refuse a variable that varies within clusters, with an example; `rows` are those that have a value."""
    codes, numeric = design.codes[rows], design.columns.is_numeric(name)
    differs = _differs(design.columns, name, rows, first[codes])
    if not np.any(differs):
        return
    clusters = np.unique(codes[differs])
    mine = rows[codes == clusters[0]]
    if numeric:
        numbers = [f"{value:g}" for value in design.columns.numeric(name)[mine]]
        seen = list(dict.fromkeys(numbers))
        advice = (
            f"Use its mean in each cluster, between({name}, {design.cluster}), or a variable that describes clusters."
        )
    else:
        factor = design.columns.factor(name)
        seen = [repr(factor.levels[code]) for code in dict.fromkeys(factor.codes[mine].tolist())]
        advice = (
            "Use a variable that describes clusters, such as the share of a category: "
            f"between(I({name} == {seen[0]}), {design.cluster})."
        )
    raise DataError(
        f"`second` uses {name!r} as a context variable, but it varies within {len(clusters)} of the "
        f"{len(design.levels)} clusters of {design.cluster}: in {design.levels[int(clusters[0])]!r} it is "
        f"{', '.join(seen[:FEW])}{', ...' if len(seen) > FEW else ''}. {advice}"
    )


def _differs(columns: Columns, name: str, rows: IntArray, others: IntArray) -> BoolArray:
    """Where the values of some rows differ from those of others, rounding errors aside."""
    if not columns.is_numeric(name):
        codes = columns.factor(name).codes
        return np.asarray(codes[rows] != codes[others])
    one, other = columns.numeric(name)[rows], columns.numeric(name)[others]
    return np.asarray(~(np.abs(one - other) <= ROUNDING * np.maximum(np.abs(one), np.abs(other))))
