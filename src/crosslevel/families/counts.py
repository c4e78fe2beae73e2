"""Families of counts, with the log link."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import special, stats

from crosslevel.errors import CrosslevelError
from crosslevel.families.base import Family, refuse
from crosslevel.families.links import LARGEST_ROOT, squared
from crosslevel.kernels import responses
from crosslevel.types import FloatArray

LARGEST_MEAN = 1e15
"""Counts are not drawn around larger means: whole numbers would no longer be exact."""


def refuse_no_counts(y: FloatArray, name: str) -> None:
    """Raise unless all y (n,) are whole numbers of at least 0."""
    refuse(
        ~((y >= 0.0) & (y == np.round(y)) & (y < np.inf)), y, name=name, needed="a count: 0, 1, 2, ...",
        advice="For rates give the count itself and `exposure=`; for positive amounts use families.Gamma().",
    )  # fmt: skip


def draw_counts(rng: np.random.Generator, mu: FloatArray) -> FloatArray:
    """Draw Poisson counts (n,) around means mu (n,)."""
    return rng.poisson(np.minimum(mu, LARGEST_MEAN)).astype(float)


@dataclass(frozen=True)
class Poisson(Family):
    """Counts with mean e^eta and the same variance, or totals of `size` of them.

    Examples
    --------
    >>> import numpy as np
    >>> from crosslevel.families import Poisson
    >>> Poisson().mean(np.zeros(2))
    array([1., 1.])
    """

    kind: ClassVar[str] = "count"
    adds_up: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Its name in `family=`."""
        return "poisson"

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

    def variance(self, mu: FloatArray, size: FloatArray, shape: FloatArray) -> FloatArray:
        """The mean itself, for each of the counts that are added up."""
        return size * mu

    def draw(self, rng: np.random.Generator, eta: FloatArray, size: FloatArray, shape: FloatArray) -> FloatArray:
        """Draw counts (n,)."""
        return draw_counts(rng, size * self.mean(eta))

    def cdf(self, y: FloatArray, eta: FloatArray, size: FloatArray, shape: FloatArray) -> tuple[FloatArray, FloatArray]:
        """P(Y < y) and P(Y <= y)."""
        law = stats.poisson(size * self.mean(eta))
        return law.cdf(y - 1.0), law.cdf(y)

    def check_outcome(self, y: FloatArray, size: FloatArray, name: str) -> None:
        """Whole numbers of at least 0."""
        refuse_no_counts(y, name)

    def start(self, y: FloatArray, size: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
        """log((y + 1/2) / size)."""
        return np.log((y + 0.5) / size), np.zeros(0)


KINDS = {
    "nb2": ("nbinom2", responses.NEGATIVE_BINOMIAL_2, "precision", "mu + mu^2 / precision"),
    "nb1": ("nbinom1", responses.NEGATIVE_BINOMIAL_1, "dispersion", "mu (1 + dispersion)"),
}
"""Of each kind: its name in `family=`, its code, its shape parameter, and its variance in words."""


@dataclass(frozen=True)
class NegativeBinomial(Family):
    """Counts with mean mu = e^eta that vary more than Poisson counts: Poisson counts around gamma distributed means.

    Parameters
    ----------
    variant : "nb2", variance mu + mu^2 / precision (R: theta), or "nb1", variance mu (1 + dispersion).

    Raises
    ------
    CrosslevelError : there is no such kind.

    Examples
    --------
    >>> import numpy as np
    >>> from crosslevel.families import NegativeBinomial
    >>> NegativeBinomial().variance(np.array([4.0]), np.ones(1), np.array([2.0]))
    array([12.])
    >>> NegativeBinomial("nb1").shape_names()
    ('dispersion',)
    """

    variant: str = "nb2"

    kind: ClassVar[str] = "count"

    def __post_init__(self) -> None:
        if self.variant not in KINDS:
            raise CrosslevelError(
                f"`variant` of the negative binomial family has to be 'nb2' (variance {KINDS['nb2'][3]}) or 'nb1' "
                f"(variance {KINDS['nb1'][3]}), not {self.variant!r}. Leave it out for 'nb2'."
            )

    @property
    def name(self) -> str:
        """Its name in `family=`."""
        return KINDS[self.variant][0]

    @property
    def link(self) -> str:
        """The log."""
        return "log"

    @property
    def code(self) -> int:
        """Its number in `kernels.responses`."""
        return KINDS[self.variant][1]

    @property
    def log_concave(self) -> bool:
        """Whether it is of the kind "nb2"."""
        return self.variant == "nb2"

    @property
    def description(self) -> str:
        """The family in words."""
        return f"negative binomial (variance {KINDS[self.variant][3]}), log link"

    def n_shape(self, n_categories: int | None = None) -> int:
        """One."""
        return 1

    def shape_names(self, categories: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Precision or dispersion."""
        return (KINDS[self.variant][2],)

    def variance(self, mu: FloatArray, size: FloatArray, shape: FloatArray) -> FloatArray:
        """Larger than the mean, as the kind says."""
        if self.variant == "nb2":
            return np.asarray(mu + squared(mu) / shape[0])
        return np.asarray(np.minimum(mu, LARGEST_ROOT**2) * (1.0 + shape[0]))

    def draw(self, rng: np.random.Generator, eta: FloatArray, size: FloatArray, shape: FloatArray) -> FloatArray:
        """Draw counts (n,) around gamma distributed means."""
        k = self._gamma_shape(eta, shape)
        return draw_counts(rng, rng.gamma(k, np.exp(self._log_scale(eta, shape))))

    def cdf(self, y: FloatArray, eta: FloatArray, size: FloatArray, shape: FloatArray) -> tuple[FloatArray, FloatArray]:
        """P(Y < y) and P(Y <= y): incomplete beta functions."""
        k, failure = self._gamma_shape(eta, shape), special.expit(-self._log_scale(eta, shape))
        return (
            np.where(y < 1.0, 0.0, special.betainc(k, np.maximum(y, 1.0), failure)),
            special.betainc(k, y + 1.0, failure),
        )

    def check_outcome(self, y: FloatArray, size: FloatArray, name: str) -> None:
        """Whole numbers of at least 0."""
        refuse_no_counts(y, name)

    def start(self, y: FloatArray, size: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
        """log(y + 1/2), and half the excess of the variance over the mean."""
        mean = max(float(np.average(y, weights=weight)), 0.05)
        excess = 0.5 * max(float(np.average((y - mean) ** 2, weights=weight)) / mean - 1.0, 0.0)
        natural = np.clip(mean / max(excess, 0.01) if self.variant == "nb2" else excess, 0.05, 100.0)
        return np.log(y + 0.5), self.working_shape(np.array([natural]))

    def _gamma_shape(self, eta: FloatArray, shape: FloatArray) -> FloatArray:
        """Shape (n,) of the gamma distributed means."""
        if self.variant == "nb2":
            return np.full_like(eta, shape[0])
        return np.asarray(np.exp(np.clip(eta - np.log(shape[0]), -690.0, responses.LARGEST_EXPONENT)))

    def _log_scale(self, eta: FloatArray, shape: FloatArray) -> FloatArray:
        """Logarithm (n,) of the scale of the gamma distributed means."""
        held = eta - np.log(shape[0]) if self.variant == "nb2" else np.full_like(eta, np.log(shape[0]))
        return np.minimum(held, responses.LARGEST_EXPONENT)
