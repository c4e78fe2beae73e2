"""Transformed rows that have no short cut: their cross-products by group, without columns that rounding alone fills."""

from dataclasses import dataclass, field, replace

import numpy as np

from crosslevel.design import CrossProducts
from crosslevel.inference.panel.quasi import quasi_demeaned
from crosslevel.inference.panel.regression import TransformedProducts, correlations, independent
from crosslevel.inference.panel.transformed import RowMaker, TransformedRows
from crosslevel.types import BoolArray, CodeArray, FloatArray, IntArray

LEFT = 1e-20
"""Share of a column's sum of squares, about its mean before, below which a transformation leaves nothing of it."""

ROUNDING = 1e-28
"""The same of its sum of squares about zero: what rounding leaves."""


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptRows(RowMaker):
    """Transformed rows that are kept, or made again, until they are needed.

    Attributes
    ----------
    kept : the rows.
    """

    kept: TransformedRows = field(repr=False)

    def rows(self) -> TransformedRows:
        """The rows."""
        return self.kept


def nothing_left(after: FloatArray, before: FloatArray) -> BoolArray:
    """Which columns (p, n) a transformation has left nothing of, as columns (p, m) before and `after` it."""
    centred = before - before.mean(axis=1, keepdims=True)
    least = LEFT * np.sum(centred**2, axis=1) + ROUNDING * np.sum(before**2, axis=1)
    return np.asarray(np.sum(after**2, axis=1) <= least)


def row_products(rows: FloatArray, codes: CodeArray, n_groups: int, *, intercept: int) -> TransformedProducts:
    """Cross-products by group of transformed rows (p + 1, n), the outcome last; `columns` are their places."""
    names = tuple(map(str, range(len(rows))))
    products = CrossProducts.from_rows(rows, codes, names=names, levels=tuple(range(n_groups)))
    return quasi_demeaned(products, np.arange(len(rows) - 1), intercept, np.zeros(n_groups))


def kept_columns(products: TransformedProducts) -> tuple[IntArray, IntArray]:
    """Places of the columns that are no linear combinations of earlier ones, and of those that are."""
    return independent(correlations(products.pooled[:-1, :-1]))


def some_columns(products: TransformedProducts, kept: IntArray, columns: IntArray) -> TransformedProducts:
    """Cross-products of some of the columns.

    Parameters
    ----------
    products : of all.
    kept : places of those that are wanted, the intercept first if there is one.
    columns : positions of the wanted ones in the design.
    """
    own = np.append(kept, len(products.columns))
    old = products.coordinates
    intercept = int(np.flatnonzero(kept == old.intercept)[0]) if old.intercept >= 0 else -1
    coordinates = replace(
        old, shift=old.shift[own], scale=old.scale[own], removed=np.zeros(len(kept)), intercept=intercept
    )
    return replace(products, columns=columns, gram=products.gram[:, own[:, None], own], coordinates=coordinates)
