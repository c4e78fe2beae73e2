"""What is remembered of data: cluster means, moments, tables by level; and how tables are matched with other data."""

from typing import Any

import numpy as np

from crosslevel.formula.components import ClusterMeans, Component, LevelTable, values
from crosslevel.formula.rows import Source
from crosslevel.types import FloatArray


def cluster_means(argument: Component, group: tuple[str, ...], source: Source) -> FloatArray:
    """Means of a component in each cluster over the used rows, (levels,); NaN where there is none.

    Sums are taken of deviations from the first value, so that a large common offset costs no digits.
    """
    n_levels = len(source.factor(group).levels)
    sums, counts, offset = np.zeros(n_levels), np.zeros(n_levels), None
    for rows in source.chunks():
        codes, numbers = rows.codes(group), values(argument, (0,), rows)[0]
        offset = float(numbers[0]) if offset is None else offset
        if codes.min() < 0:
            present = codes >= 0
            codes, numbers = codes[present], numbers[present]
        sums += np.bincount(codes, weights=numbers - offset, minlength=n_levels)
        counts += np.bincount(codes, minlength=n_levels)
    with np.errstate(invalid="ignore"):
        means: FloatArray = sums / counts + (offset or 0.0)
    return means


def moments(argument: Component, source: Source) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) of a component over the used rows, in two passes."""
    total, count, offset = 0.0, 0, None
    for rows in source.chunks():
        numbers = values(argument, (0,), rows)[0]
        offset = float(numbers[0]) if offset is None else offset
        total += float(np.sum(numbers - offset))
        count += rows.size
    mean = total / max(count, 1) + (offset or 0.0)
    squares = sum(float(np.sum((values(argument, (0,), rows)[0] - mean) ** 2)) for rows in source.chunks())
    return mean, float(np.sqrt(squares / max(count - 1, 1)))


def bind_tables(component: Component, source: Source) -> None:
    """Note in `source` the table of a component that was learnt from it."""
    if isinstance(component.origin, (LevelTable, ClusterMeans)):
        source.tables[component.origin] = aligned(component.origin, source)


def aligned(origin: LevelTable | ClusterMeans, source: Source) -> FloatArray:
    """Table of an origin by the levels of some data, (columns, levels + 1); NaN where a level is not known."""
    group = (origin.variable,) if isinstance(origin, LevelTable) else origin.group
    levels = source.factor(group).levels
    if levels is origin.levels:
        return origin.table
    known = {level: position for position, level in enumerate(origin.levels)}
    return origin.table[:, [*(known.get(level, -1) for level in levels), -1]]


def level_counts(variable: str, levels: tuple[Any, ...], source: Source) -> FloatArray:
    """Number of used rows of each of some levels."""
    counts = dict(zip(source.factor((variable,)).levels, source.counts((variable,)), strict=True))
    return np.array([counts[level] for level in levels], dtype=np.float64)


def with_missing(table: FloatArray) -> FloatArray:
    """A table with one more entry per row: NaN, found by code -1."""
    whole = np.full((table.shape[0], table.shape[1] + 1), np.nan)
    whole[:, :-1] = table
    return whole
