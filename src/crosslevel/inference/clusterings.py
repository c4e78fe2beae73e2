"""Which cluster each row belongs to, and sums over the rows of each."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from crosslevel.design import Design
from crosslevel.design.asked import cluster_columns
from crosslevel.errors import CrosslevelError
from crosslevel.table import group_codes
from crosslevel.types import CodeArray, FloatArray, IntArray

BATCH = 1 << 21
"""Elements of square matrices, of as many rows as the clusters have, that are worked on at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Clustering:
    """Clusters of n rows.

    Attributes
    ----------
    name : of the clusters, as in "school" or "school:year".
    levels : the J clusters.
    codes : (n,) cluster of each row, 0 to J - 1.
    """

    name: str
    levels: tuple[object, ...] = field(repr=False)
    codes: CodeArray = field(repr=False)

    @property
    def n_clusters(self) -> int:
        """J."""
        return len(self.levels)

    @cached_property
    def batches(self) -> tuple[tuple[IntArray, IntArray], ...]:
        """Clusters (B,) that have s rows each, and those rows (B, s), a batch at a time; all that have rows."""
        return tuple(equal_sizes(self.codes, self.n_clusters))

    def sums(self, left: FloatArray, right: FloatArray) -> FloatArray:
        """Sums (J, a, b) over the rows of each cluster of products of left (n, a) with right (n, b)."""
        out = np.zeros((self.n_clusters, left.shape[1], right.shape[1]))
        for clusters, rows in self.batches:
            out[clusters] = left[rows].transpose(0, 2, 1) @ right[rows]
        return out

    def holds(self, codes: CodeArray, n_levels: int) -> bool:
        """Whether the rows of each level, `codes` (n,), lie in one cluster."""
        return _holds(self.codes, codes, n_levels)


def _holds(outer: CodeArray, inner: CodeArray, n_levels: int) -> bool:
    """Whether all rows of each of `n_levels` inner levels have one outer one."""
    first = np.zeros(n_levels, dtype=outer.dtype)
    first[inner] = outer
    return bool(np.all(first[inner] == outer))


def equal_sizes(codes: CodeArray, n_clusters: int) -> Iterator[tuple[IntArray, IntArray]]:
    """Clusters (B,) of equal size with their rows (B, s), from the clusters `codes` (n,) of all rows."""
    order = np.argsort(codes, kind="stable")
    size = np.bincount(codes, minlength=n_clusters)
    start = np.cumsum(size) - size
    by_size = np.argsort(size, kind="stable")
    for same in np.split(by_size, np.flatnonzero(np.diff(size[by_size])) + 1):
        s = int(size[same[0]])
        if s == 0:
            continue
        step = max(1, BATCH // max(s * s, 1))
        for at in range(0, len(same), step):
            chosen = same[at : at + step]
            yield chosen, order[start[chosen][:, None] + np.arange(s)]


def clustering_named(design: Design, name: str) -> Clustering:
    """The clusters of the rows used: the levels of a grouping factor, of a column, or of columns as in "a:b".

    Raises
    ------
    CrosslevelError : no such column, rows that miss it or belong to several of its levels, or one cluster only.
    """
    factor = next((factor for factor in design.factors if factor.name == name), None)
    if factor is not None and not factor.members:
        return Clustering(name=name, levels=factor.levels, codes=design.used_codes(factor))
    if factor is not None:
        raise CrosslevelError(
            f"`cluster` names {name!r}, of which rows belong to several levels, so that they make no clusters. "
            "Name a column that puts each row into one cluster."
        )
    if design.stream is not None:
        raise CrosslevelError(
            f"`cluster` names {name!r}; of data that were read in batches only the clusters of the grouping factor "
            f"({design.group}) are at hand. Leave `cluster` out, or fit to a frame in memory."
        )
    found = group_codes(design.columns, cluster_columns((name,), design.columns))
    codes = found.codes if design.mask is None else found.codes[design.mask]
    absent = int(np.count_nonzero(codes < 0))
    if absent:
        raise CrosslevelError(
            f"`cluster` names {name!r}, which is missing in {absent} of the {len(codes)} rows used. Fit the model to "
            "the rows that have it."
        )
    present, compact = np.unique(codes, return_inverse=True)
    return Clustering(
        name=name, levels=tuple(found.levels[int(code)] for code in present), codes=compact.astype(np.int32)
    )


def outermost(design: Design) -> tuple[str, ...]:
    """Names of the grouping factors that are not nested in another: what a model's rows are clustered by."""
    plain = [factor for factor in design.factors if not factor.members]
    if len(design.factors) == 1:
        return tuple(factor.name for factor in plain)
    codes = [design.used_codes(factor) for factor in plain]
    inside = [
        any(
            k != m and other.n_levels < factor.n_levels and _holds(codes[m], codes[k], factor.n_levels)
            for m, other in enumerate(plain)
        )
        for k, factor in enumerate(plain)
    ]
    return tuple(factor.name for factor, nested in zip(plain, inside, strict=True) if not nested)


def intersection(clusterings: tuple[Clustering, ...]) -> Clustering:
    """The clusters of rows that agree in all of several clusterings."""
    first, *others = clusterings
    codes, levels = first.codes.astype(np.int64), [str(level) for level in first.levels]
    for other in others:
        cells, codes = np.unique(codes * other.n_clusters + other.codes, return_inverse=True)
        levels = [f"{levels[i]}:{other.levels[j]}" for i, j in (divmod(int(c), other.n_clusters) for c in cells)]
    name = ":".join(each.name for each in clusterings)
    return Clustering(name=name, levels=tuple(levels), codes=codes.astype(np.int32))
