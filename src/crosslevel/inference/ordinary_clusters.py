"""Sums over the rows of each cluster of a linear regression: all that variances by cluster need of the data."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from crosslevel.design import CrossProducts, Design
from crosslevel.design.rows import sum_products
from crosslevel.inference.clusterings import Clustering
from crosslevel.solve.least_squares import LeastSquares
from crosslevel.types import FloatArray


def products_by(design: Design, clusters: Clustering) -> CrossProducts:
    """Cross-products of the design columns and the outcome by cluster of the rows used, in one pass over them."""
    codes = np.zeros(design.columns.n_rows, dtype=np.int32)
    codes[slice(None) if design.mask is None else design.mask] = clusters.codes
    weights = design.weights
    return sum_products(
        design.spec, design.columns, design.mask, codes, clusters.levels, design.response, design.offset,
        None if weights is None else weights.total, precision=weights is not None and weights.is_precision,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class OrdinaryClusters:
    """Moments of [X e] in each of J clusters, e = y - X beta, in working coordinates.

    Attributes
    ----------
    name, levels : of the clusters.
    count : (J,) rows, or sums of their weights.
    mean : (J, p + 1) means of [X e].
    scatter : (J, p + 1, p + 1) sums of products about the means.
    bread : (p, p) M = (X'W X)^-1.
    turn : (p, p) coefficients in the units of the data are turn @ working ones + constant.
    unit : units of the outcome in one of e.
    """

    name: str
    levels: tuple[object, ...] = field(repr=False)
    count: FloatArray = field(repr=False)
    mean: FloatArray = field(repr=False)
    scatter: FloatArray = field(repr=False)
    bread: FloatArray = field(repr=False)
    turn: FloatArray = field(repr=False)
    unit: float

    @classmethod
    def of(cls, design: Design, solved: LeastSquares, clusters: Clustering) -> "OrdinaryClusters":
        """Of a solved regression and clusters of its rows."""
        products, coordinates = products_by(design, clusters), solved.coordinates
        columns = np.append(design.x, len(products.names) - 1)
        change = np.eye(len(columns))
        change[:-1, -1] = -(coordinates.removed + solved.working_beta)
        change /= coordinates.scale[:, None]
        return cls(
            name=clusters.name,
            levels=clusters.levels,
            count=products.count,
            mean=(products.mean[:, columns] - (coordinates.shift - products.origin[columns])) @ change,
            scatter=change.T @ products.scatter[:, columns[:, None], columns] @ change,
            bread=solved.working_unscaled,
            turn=coordinates.beta_map,
            unit=float(coordinates.scale[-1]),
        )

    @property
    def n_clusters(self) -> int:
        """J."""
        return len(self.count)

    @cached_property
    def gram(self) -> FloatArray:
        """(J, p + 1, p + 1) [X e]'W [X e]."""
        return np.asarray(self.scatter + self.count[:, None, None] * self.mean[:, :, None] * self.mean[:, None, :])
