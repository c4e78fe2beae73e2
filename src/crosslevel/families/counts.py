"""Families of counts, with the log link."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import stats

from crosslevel.families.base import Family, refuse
from crosslevel.kernels import responses
from crosslevel.types import FloatArray

LARGEST_MEAN = 1e15
"""Counts are not drawn around larger means: whole numbers would no longer be exact."""


def growth(eta: FloatArray) -> FloatArray:
    """e^eta (n,), held where it would overflow."""
    return np.exp(np.minimum(eta, responses.LARGEST_EXPONENT))


def refuse_no_counts(y: FloatArray, name: str) -> None:
    """Raise unless all y (n,) are whole numbers of at least 0."""
    refuse(
        ~((y >= 0.0) & (y == np.round(y)) & (y < np.inf)), y, name=name, needed="a count: 0, 1, 2, ...",
        advice="For rates give the count itself and `exposure=`; for positive amounts use families.Gamma().",
    )  # fmt: skip


@dataclass(frozen=True)
class Poisson(Family):
    """Counts with mean e^eta and the same variance.

    Examples
    --------
    >>> import numpy as np
    >>> from crosslevel.families import Poisson
    >>> Poisson().mean(np.zeros(2))
    array([1., 1.])
    """

    name: ClassVar[str] = "poisson"
    kind: ClassVar[str] = "count"

    @property
    def link(self) -> str:
        """The log."""
        return "log"

    @property
    def code(self) -> int:
        """Its number in `kernels.responses`."""
        return responses.POISSON

    @property
    def log_concave(self) -> bool:
        """True."""
        return True

    @property
    def description(self) -> str:
        """The family in words."""
        return "Poisson, log link"

    def mean(self, eta: FloatArray) -> FloatArray:
        """e^eta (n,)."""
        return growth(eta)

    def mean_slope(self, eta: FloatArray) -> FloatArray:
        """e^eta (n,)."""
        return growth(eta)

    def mean_curvature(self, eta: FloatArray) -> FloatArray:
        """e^eta (n,)."""
        return growth(eta)

    def variance(self, mu: FloatArray, size: FloatArray, shape: FloatArray) -> FloatArray:
        """The mean itself."""
        return mu

    def draw(self, rng: np.random.Generator, eta: FloatArray, size: FloatArray, shape: FloatArray) -> FloatArray:
        """Draw counts (n,)."""
        return rng.poisson(np.minimum(self.mean(eta), LARGEST_MEAN)).astype(float)

    def cdf(self, y: FloatArray, eta: FloatArray, size: FloatArray, shape: FloatArray) -> tuple[FloatArray, FloatArray]:
        """P(Y < y) and P(Y <= y)."""
        law = stats.poisson(self.mean(eta))
        return law.cdf(y - 1.0), law.cdf(y)

    def check_outcome(self, y: FloatArray, size: FloatArray, name: str) -> None:
        """Whole numbers of at least 0."""
        refuse_no_counts(y, name)

    def start(self, y: FloatArray, size: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
        """log(y + 1/2)."""
        return np.log(y + 0.5), np.zeros(0)
