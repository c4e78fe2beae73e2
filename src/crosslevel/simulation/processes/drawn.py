"""Simulated data of many replications: nothing but their cross-products."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from crosslevel.design import CrossProducts
from crosslevel.types import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """Count, mean and centred scatter of m columns in each of J clusters, in each of R replications.

    They are those of `CrossProducts`, measured from zero.

    Attributes
    ----------
    names : names of the m columns, the response last.
    count : (R, J) rows.
    mean : (R, J, m) means.
    scatter : (R, J, m, m) sums of squares and products about the means.
    """

    names: tuple[str, ...]
    count: FloatArray = field(repr=False)
    mean: FloatArray = field(repr=False)
    scatter: FloatArray = field(repr=False)

    def __post_init__(self) -> None:
        for array in (self.count, self.mean, self.scatter):
            array.setflags(write=False)

    def __len__(self) -> int:
        return len(self.count)

    @property
    def n_clusters(self) -> int:
        """J."""
        return int(self.count.shape[1])

    def places(self, names: Sequence[str]) -> IntArray:
        """Positions of some of the columns."""
        return np.array([self.names.index(name) for name in names], dtype=np.int64)

    def select(self, names: Sequence[str]) -> "Drawn":
        """Some of the columns, in this order."""
        keep = self.places(names)
        return replace(
            self,
            names=tuple(names),
            mean=np.ascontiguousarray(self.mean[:, :, keep]),
            scatter=np.ascontiguousarray(self.scatter[:, :, keep[:, None], keep]),
        )

    def products(self, r: int) -> CrossProducts:
        """Those of one replication, of clusters 0 .. J - 1."""
        return CrossProducts(
            names=self.names,
            levels=tuple(range(self.n_clusters)),
            origin=np.zeros(len(self.names)),
            count=self.count[r],
            mean=self.mean[r],
            scatter=self.scatter[r],
            multiplicity=np.ones(self.n_clusters),
        )
