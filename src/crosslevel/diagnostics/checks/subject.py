"""What the checks look at: columns of the fixed part by level, from cross-products or one pass over the rows."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from crosslevel.design import Design
from crosslevel.design.factors import GroupingFactor
from crosslevel.diagnostics.diagnostic import AnyFit
from crosslevel.formula.spec import DesignColumn
from crosslevel.types import BoolArray, FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A fit with what several checks need.

    Attributes
    ----------
    fit : what is checked.
    """

    fit: AnyFit = field(repr=False)

    @property
    def design(self) -> Design:
        """Columns and clusters."""
        return self.fit.design

    @cached_property
    def columns(self) -> list[DesignColumn]:
        """The p columns of the fixed part."""
        return [self.design.spec.columns[j] for j in self.design.x]

    @cached_property
    def predictors(self) -> list[int]:
        """Positions among the fixed part of what is not the intercept."""
        return [k for k, column in enumerate(self.columns) if column.factors]

    @cached_property
    def above(self) -> BoolArray:
        """(p,) which columns are constant within the clusters of the first grouping factor."""
        if not self.design.factors:
            return np.zeros(len(self.columns), dtype=bool)
        return self.design.cluster_level[self.design.x]

    @cached_property
    def total(self) -> FloatArray:
        """(p, p) scatter of the fixed part's columns about their means."""
        return np.asarray(self.design.products.total[np.ix_(self.design.x, self.design.x)])

    @cached_property
    def spread(self) -> FloatArray:
        """(p,) standard deviations over rows."""
        return np.asarray(np.sqrt(np.diag(self.total) / self.design.products.weight))

    @cached_property
    def centre(self) -> FloatArray:
        """(p,) means over rows."""
        products = self.design.products
        return np.asarray((products.grand_mean + products.origin)[self.design.x])

    @cached_property
    def cluster_means(self) -> FloatArray:
        """(J, p) means of the columns in each cluster of the first grouping factor that has rows."""
        sums, count = level_sums(self.design, self.design.factors[0])
        used = count > 0
        return self.centre + (sums[used] / count[used, None])[:, self.design.x]

    @cached_property
    def within(self) -> FloatArray:
        """(p, p) scatter of the columns about their cluster means."""
        sums, count = level_sums(self.design, self.design.factors[0])
        used = count > 0
        sums = sums[used][:, self.design.x]
        return self.total - sums.T @ (sums / count[used, None])


def level_sums(design: Design, factor: GroupingFactor) -> tuple[FloatArray, FloatArray]:
    """Sums of the columns (J, m), less their means over all rows, and rows (J,), by level of a factor."""
    products = design.products
    shift = (products.grand_mean + products.origin)[:-1]
    if design.is_single and factor is design.factors[0]:
        means = products.mean[:, :-1] - products.grand_mean[:-1]
        return means * products.count[:, None], products.count
    sums, count = np.zeros((factor.n_levels, len(shift))), np.zeros(factor.n_levels)
    for block, codes, _ in design.blocks(factor):
        kept = codes >= 0
        count += np.bincount(codes[kept], minlength=factor.n_levels)
        for j, row in enumerate(block[:-1] - shift[:, None]):
            sums[:, j] += np.bincount(codes[kept], weights=row[kept], minlength=factor.n_levels)
    return sums, count
