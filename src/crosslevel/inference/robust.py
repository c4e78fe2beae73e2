"""The cluster-robust covariance of a solved model: clusters by name -> covariance and what tests need."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations

import numpy as np

from crosslevel.design import Design
from crosslevel.design.reduced import Reduced
from crosslevel.errors import CrosslevelError
from crosslevel.inference.cluster_robust import OneWay, RobustKind, contributions, one_way, without_negative
from crosslevel.inference.clusterings import Clustering, clustering_named, intersection
from crosslevel.inference.estimates import Joint
from crosslevel.inference.ordinary_clusters import products_by
from crosslevel.inference.robust_rows import ModelRows, Working, all_rows, ordinary_rows, rows_by_level
from crosslevel.inference.robust_tests import joint_test, satterthwaite
from crosslevel.memory import require_memory
from crosslevel.types import CodeArray, FloatArray, IntArray

SQUARES = 4
"""Matrices of p x p that are held for each cluster."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RobustCovariance:
    """A cluster-robust covariance of p coefficients.

    Attributes
    ----------
    kind : how residuals are adjusted.
    clusters : clusters of each clustering, by name.
    ways : contributions of the clusters of each clustering.
    vcov : (p, p).
    expected : (p,) of each coefficient, the mean of its variance under the working model relative to the true one.
    negative : whether the sum over several clusterings had negative eigenvalues, which were set to zero.
    """

    kind: RobustKind
    clusters: Mapping[str, int]
    ways: tuple[OneWay, ...] = field(repr=False)
    vcov: FloatArray = field(repr=False)
    expected: FloatArray = field(repr=False)
    negative: bool = False

    @property
    def is_crossed(self) -> bool:
        """Whether there is one clustering, and random effects that rows of different clusters share."""
        return len(self.ways) == 1 and bool(self.ways[0].links)

    @property
    def usual_test(self) -> str:
        """The joint test that is made unless another is named."""
        return "HTZ"

    def df(self, contrasts: FloatArray) -> FloatArray:
        """Degrees of freedom of each row of C (m, p), by Satterthwaite; NaN where the clusters contribute nothing."""
        return satterthwaite(self.ways, contrasts)

    def std_error(self, contrasts: FloatArray) -> FloatArray:
        """Standard errors (m,) of C beta; NaN where the clusters contribute nothing to it."""
        errors = np.sqrt(np.einsum("ma,ab,mb->m", contrasts, self.vcov, contrasts, optimize=True))
        return np.where(np.isnan(self.df(contrasts)), np.nan, errors)

    def joint(self, contrasts: FloatArray, estimate: FloatArray, test: str) -> Joint:
        """Joint test, of `JOINT_TESTS`, that C beta (m,) is zero.

        Raises
        ------
        CrosslevelError : no such test, or more combinations than can be told apart.
        """
        return joint_test(test)(self.ways, contrasts, estimate, contrasts @ self.vcov @ contrasts.T)


class RowSource(ABC):
    """Where the rows of a solved model come from."""

    @abstractmethod
    def rows_for(self, clusters: Clustering) -> tuple[ModelRows, Clustering]:
        """Rows that suffice for clusters of the rows used, and the clusters of these rows."""

    @abstractmethod
    def named(self, name: str) -> tuple[ModelRows, Clustering]:
        """The same for clusters by their name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MixedSource(RowSource):
    """Rows of a model with random effects or a residual structure.

    Attributes
    ----------
    design, working : the solved model.
    reduced : its cross-products by level where it has one grouping factor.
    """

    design: Design
    working: Working
    reduced: Reduced | None

    @cached_property
    def by_level(self) -> tuple[ModelRows, CodeArray]:
        """A few rows for each level of the only factor, and their levels."""
        assert self.reduced is not None
        return rows_by_level(self.design, self.working, self.reduced)

    @cached_property
    def all(self) -> tuple[ModelRows, IntArray]:
        """All rows, and which of the rows used they are."""
        return all_rows(self.design, self.working)

    def named(self, name: str) -> tuple[ModelRows, Clustering]:
        """The levels of the only factor need no look at the rows of the data."""
        if self.reduced is not None and name == self.design.group:
            rows, codes = self.by_level
            return rows, Clustering(name=name, levels=self.design.factors[0].levels, codes=codes)
        return self.rows_for(clustering_named(self.design, name))

    def rows_for(self, clusters: Clustering) -> tuple[ModelRows, Clustering]:
        """A few rows for each level where clusters are unions of levels; else all rows."""
        if self.reduced is not None:
            factor = self.design.factors[0]
            used = self.design.used_codes(factor)
            if clusters.holds(used, factor.n_levels):
                parent = np.zeros(factor.n_levels, dtype=np.int32)
                parent[used] = clusters.codes
                rows, codes = self.by_level
                return rows, _with_codes(clusters, parent[codes])
        rows, place = self.all
        return rows, _with_codes(clusters, clusters.codes[place])


@dataclass(frozen=True, kw_only=True, eq=False)
class OrdinarySource(RowSource):
    """Rows of a model without random effects.

    Attributes
    ----------
    design, working : the solved model.
    """

    design: Design
    working: Working

    @cached_property
    def all(self) -> tuple[ModelRows, IntArray]:
        """All rows, and which of the rows used they are."""
        return all_rows(self.design, self.working)

    def named(self, name: str) -> tuple[ModelRows, Clustering]:
        """Clusters by name."""
        return self.rows_for(clustering_named(self.design, name))

    def rows_for(self, clusters: Clustering) -> tuple[ModelRows, Clustering]:
        """As many rows for each cluster as there are coefficients, unless these would be more than the rows."""
        design = self.design
        if clusters.n_clusters * len(design.x) >= design.rows.used:
            rows, place = self.all
            return rows, _with_codes(clusters, clusters.codes[place])
        products = products_by(design, clusters)
        columns = np.append(design.x, len(products.names) - 1)
        rows, own = ordinary_rows(products, columns, self.working, intercept=self.working.coordinates.intercept >= 0)
        return rows, _with_codes(clusters, own)


def _with_codes(clusters: Clustering, codes: CodeArray) -> Clustering:
    """The same clusters of other rows."""
    return Clustering(name=clusters.name, levels=clusters.levels, codes=codes)


def robust_covariance(
    source: RowSource, design: Design, kind: RobustKind, names: Sequence[str], model: FloatArray
) -> RobustCovariance:
    """Cluster-robust covariance by one or several clusterings.

    Parameters
    ----------
    source, design : the rows of a solved model, and its design.
    kind : how residuals are adjusted.
    names : of the clusterings.
    model : (p, p) the model's own covariance of the coefficients.

    Raises
    ------
    CrosslevelError : clusters that cannot be used.
    """
    found = [source.named(name) for name in names]
    for _, clusters in found:
        if clusters.n_clusters < 2:
            raise CrosslevelError(
                f"`cluster` names {clusters.name!r}, which has one value in the rows used. Cluster-robust standard "
                "errors need at least two clusters, and are good for little with fewer than ten."
            )
    largest, p = max(clusters.n_clusters for _, clusters in found), len(model)
    require_memory(
        8.0 * largest * p * p * SQUARES * len(found),
        f"`cluster` names {largest:,} clusters, whose contributions to {p} coefficients",
        "Use fewer predictors, or larger clusters.",
    )
    ways = tuple(one_way(rows, clusters, kind, design.nobs) for rows, clusters in found)
    vcov: FloatArray = np.sum([each.vcov for each in ways], axis=0)
    mean: FloatArray = np.sum([each.mean for each in ways], axis=0)
    negative = False
    if len(names) > 1:
        used = [clustering_named(design, name) for name in names]
        for m in range(2, len(used) + 1):
            for some in combinations(used, m):
                rows, clusters = source.rows_for(intersection(some))
                change, own_mean = contributions(rows, clusters, kind, design.nobs)
                vcov = vcov + (-1.0) ** (m - 1) * (change.T @ change)
                mean = mean + (-1.0) ** (m - 1) * own_mean
        vcov, negative = without_negative(vcov, model)
    vcov.setflags(write=False)
    clusters_by_name = {each.name: each.n_clusters for each in ways}
    return RobustCovariance(
        kind=kind, clusters=clusters_by_name, ways=ways, vcov=vcov, expected=mean / np.diag(ways[0].model),
        negative=negative,
    )  # fmt: skip
