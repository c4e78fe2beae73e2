"""Numbers of rows in the clusters of a simulated process."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.simulation.processes.amounts import is_number
from crosslevel.types import IntArray

MOST, MOST_CV = 10**12, 10.0
"""Rows of a cluster, and the coefficient of variation, up to which arithmetic and gamma variables can be trusted."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Unequal clusters: sizes from a gamma distribution, rounded to whole rows, at least 1.

    Attributes
    ----------
    mean : average size.
    cv : coefficient of variation, their standard deviation over their mean; 0 makes all alike.

    Examples
    --------
    >>> Sizes(mean=100, cv=0.5)
    Sizes(mean=100, cv=0.5)
    """

    mean: float
    cv: float = 0.0

    def __post_init__(self) -> None:
        if not (is_number(self.mean) and 1.0 <= self.mean <= MOST):
            raise CrosslevelError(f"`mean` of Sizes is {self.mean!r}; it is a number of rows, from 1 to {MOST:,}.")
        if not (is_number(self.cv) and 0.0 <= self.cv <= MOST_CV):
            raise CrosslevelError(
                f"`cv` of Sizes is {self.cv!r}; it is the standard deviation of the sizes over their mean, from 0 to "
                f"{MOST_CV:g}: .5 for 50 %."
            )


Size: TypeAlias = int | tuple[int, int] | Sequence[int] | Sizes
"""Rows of every cluster, the least and the most, those of each cluster, or a distribution."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SizeLaw:
    """How sizes are drawn: uniformly from `low` to `high`, both (J,), or as gamma variables.

    Attributes
    ----------
    low, high : (J,) least and most rows.
    mean, shape : of the gamma distribution; shape 0 if the sizes are uniform.
    """

    low: IntArray
    high: IntArray
    mean: float = 0.0
    shape: float = 0.0

    def draw(self, rng: np.random.Generator) -> IntArray:
        """Sizes (J,) of one replication."""
        if self.shape > 0.0:
            drawn = rng.gamma(self.shape, self.mean / self.shape, len(self.low))
            return np.maximum(np.floor(drawn + 0.5), 1.0).astype(np.int64)
        return np.asarray(rng.integers(self.low, self.high + 1))


def size_law(size: object, clusters: int) -> SizeLaw:
    """The law of the sizes of some clusters.

    Raises
    ------
    CrosslevelError : `size` is none of what it can be.
    """
    if isinstance(size, Sizes):
        if size.cv > 0.0:
            ones = np.ones(clusters, dtype=np.int64)
            return SizeLaw(low=ones, high=ones, mean=float(size.mean), shape=float(size.cv) ** -2)
        return _between(round(size.mean), round(size.mean), clusters)
    try:
        numbers = np.array(size, dtype=np.float64)
        kind = np.array(size).dtype.kind
    except (TypeError, ValueError, OverflowError):
        raise CrosslevelError(_wanted(size)) from None
    if (
        kind in "bSU"
        or numbers.ndim > 1
        or numbers.size == 0
        or not np.isfinite(numbers).all()
        or np.any(numbers != np.round(numbers))
    ):
        raise CrosslevelError(_wanted(size))
    if numbers.min() < 1:
        raise CrosslevelError(f"`size` is {size!r}; every cluster needs at least 1 row.")
    if numbers.max() > MOST:
        raise CrosslevelError(f"`size` is {size!r}; a cluster can have at most {MOST:,} rows.")
    if numbers.ndim == 0:
        return _between(int(numbers), int(numbers), clusters)
    if isinstance(size, tuple) and len(size) == 2:
        if size[0] > size[1]:
            raise CrosslevelError(f"`size` is {size!r}, the least and the most rows; the first exceeds the second.")
        return _between(size[0], size[1], clusters)
    if len(numbers) != clusters:
        raise CrosslevelError(f"`size` gives the rows of {len(numbers)} clusters, but there are {clusters}.")
    return SizeLaw(low=numbers.astype(np.int64), high=numbers.astype(np.int64))


def _between(low: int, high: int, clusters: int) -> SizeLaw:
    return SizeLaw(low=np.full(clusters, low, dtype=np.int64), high=np.full(clusters, high, dtype=np.int64))


def _wanted(size: object) -> str:
    return (
        "`size` is a number of rows, (least, most), a list with the rows of each cluster, or Sizes(mean=, cv=); "
        f"got {size!r}."
    )
