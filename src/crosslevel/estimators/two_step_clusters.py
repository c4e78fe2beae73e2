"""One row for each cluster, of the variables that describe clusters."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crosslevel.design.two_levels import SeparateDesign
from crosslevel.errors import DataError
from crosslevel.table import Columns
from crosslevel.types import BoolArray, CodeArray, IntArray

ROUNDING = 1e-9
"""Relative differences of numbers within a cluster that are rounding errors."""

FEW = 3
"""Values that a message shows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ClusterRows:
    """One row for each cluster.

    Attributes
    ----------
    frame : the variables; those used only through their means have the value of a cluster's first row.
    lacking : (J,) names of the variables that a cluster has no value of, in words; "" for none.
    """

    frame: pd.DataFrame
    lacking: tuple[str, ...]


def cluster_rows(design: SeparateDesign, direct: Sequence[str], averaged: Sequence[str]) -> ClusterRows:
    """Variables of clusters: the value of the rows used that have one, which all have to agree.

    Raises
    ------
    DataError : a variable varies within clusters.
    """
    columns, codes = design.columns, design.used_codes
    columns.require((*direct, *averaged), "second")
    names = tuple(dict.fromkeys((*design.group, *direct, *averaged)))
    rows = columns.to_pandas(names, mask=design.mask)
    out: dict[str, pd.Series] = {}
    lacking: list[list[str]] = [[] for _ in design.levels]
    for name in names:
        first = _first_rows(columns, name, design.mask, codes, len(design.levels))
        if name not in design.group and name in direct:
            _check_constant(design, name, rows[name], codes, first)
        out[name] = rows[name].take(np.maximum(first, 0)).reset_index(drop=True)
        for j in np.flatnonzero(first < 0):
            lacking[j].append(name)
    return ClusterRows(frame=pd.DataFrame(out), lacking=tuple(", ".join(some) for some in lacking))


def _first_rows(columns: Columns, name: str, mask: BoolArray | None, codes: CodeArray, n_clusters: int) -> IntArray:
    """(J,) the first used row of each cluster that has a value of a column, -1 if none has."""
    absent = columns.missing(name)
    rows = np.arange(len(codes))
    if absent is not None:
        rows = rows[~(absent if mask is None else absent[mask])]
    first = np.full(n_clusters, -1, dtype=np.int64)
    first[codes[rows[::-1]]] = rows[::-1]
    return first


def _check_constant(design: SeparateDesign, name: str, values: pd.Series, codes: CodeArray, first: IntArray) -> None:
    """Refuse a variable that varies within clusters, with an example."""
    present, numeric = values.notna().to_numpy(), design.columns.is_numeric(name)
    if numeric:
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        theirs = numbers[first[codes]]
        differs = present & ~(np.abs(numbers - theirs) <= ROUNDING * np.maximum(np.abs(numbers), np.abs(theirs)))
    else:
        own = (
            design.columns.factor(name).codes if design.mask is None else design.columns.factor(name).codes[design.mask]
        )
        differs = present & (own != own[first[codes]])
    if not np.any(differs):
        return
    clusters = np.unique(codes[differs])
    seen = values[(codes == clusters[0]) & present].unique()
    shown = ", ".join(f"{value:g}" if numeric else repr(value) for value in seen[:FEW])
    level = design.levels[clusters[0]]
    advice = (
        f"Use its mean in each cluster, between({name}, {design.cluster}), or a variable that describes clusters."
        if numeric
        else "Use a variable that describes clusters, such as the share of a category: "
        f"between(I({name} == {seen[0]!r}), {design.cluster})."
    )
    raise DataError(
        f"`second` uses {name!r} as a context variable, but it varies within {len(clusters)} of the "
        f"{len(design.levels)} clusters of {design.cluster}: in {level!r} it is {shown}"
        f"{', ...' if len(seen) > FEW else ''}. {advice}"
    )
