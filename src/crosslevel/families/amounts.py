"""The gamma family: positive amounts whose standard deviation is in proportion to their mean."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import special

from crosslevel.families.base import Family, refuse
from crosslevel.families.links import squared
from crosslevel.kernels import responses
from crosslevel.types import FloatArray

LEAST = float(np.finfo(float).tiny)


@dataclass(frozen=True)
class Gamma(Family):
    """Positive amounts with mean mu = e^eta and variance mu^2 / shape, or totals of `size` of them.

    Examples
    --------
    >>> import numpy as np
    >>> from crosslevel.families import Gamma
    >>> Gamma().variance(np.array([10.0]), np.ones(1), np.array([4.0]))
    array([25.])
    """

    kind: ClassVar[str] = "positive"
    adds_up: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Its name in `family=`."""
        return "gamma"

    @property
    def link(self) -> str:
        """The log."""
        return "log"

    @property
    def code(self) -> int:
        """Its number in `kernels.responses`."""
        return responses.GAMMA

    @property
    def log_concave(self) -> bool:
        """True."""
        return True

    @property
    def description(self) -> str:
        """The family in words."""
        return "gamma (variance mu^2 / shape), log link"

    def n_shape(self, n_categories: int | None = None) -> int:
        """One."""
        return 1

    def shape_names(self, categories: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Shape: one over the squared coefficient of variation."""
        return ("shape",)

    def variance(self, mu: FloatArray, size: FloatArray, shape: FloatArray) -> FloatArray:
        """The squared mean over the shape, for each of the amounts that are added up."""
        return np.asarray(size * squared(mu) / shape[0])

    def draw(self, rng: np.random.Generator, eta: FloatArray, size: FloatArray, shape: FloatArray) -> FloatArray:
        """Draw amounts (n,), none of them rounded to 0."""
        return np.asarray(np.maximum(rng.standard_gamma(shape[0] * size) / shape[0] * self.mean(eta), LEAST))

    def cdf(self, y: FloatArray, eta: FloatArray, size: FloatArray, shape: FloatArray) -> tuple[FloatArray, FloatArray]:
        """P(Y <= y), twice."""
        standard = np.exp(np.clip(np.log(y) - eta + np.log(shape[0]), -700.0, 700.0))
        below = special.gammainc(shape[0] * size, standard)
        return below, below

    def check_outcome(self, y: FloatArray, size: FloatArray, name: str) -> None:
        """Finite numbers above 0."""
        refuse(
            ~((y > 0.0) & (y < np.inf)), y, name=name, needed="a positive amount",
            advice="Amounts of 0 need a model of their own: whether there is any (family='binomial'), and how much "
            "where there is.",
        )  # fmt: skip

    def start(self, y: FloatArray, size: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
        """log(y / size), and one over its variance, of rows that count by their size."""
        logs, count = np.log(y / size), size * weight
        spread = float(np.average(size * (logs - np.average(logs, weights=count)) ** 2, weights=weight))
        return logs, self.working_shape(np.array([np.clip(2.0 / max(spread, 1e-6), 0.2, 1000.0)]))
