"""The binomial family: successes of a number of trials, or a single 0 or 1."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import stats

from crosslevel.families.base import Family, check_link, refuse
from crosslevel.families.links import LINKS
from crosslevel.kernels import responses
from crosslevel.types import FloatArray

CODES = {"logit": responses.LOGIT, "probit": responses.PROBIT, "cloglog": responses.CLOGLOG}


def refuse_no_successes(y: FloatArray, size: FloatArray, name: str) -> None:
    """Raise unless y (n,) are whole numbers from 0 to `size` (n,), themselves whole numbers of at least 1."""
    wrong_size = ~((size >= 1.0) & (size == np.round(size)) & (size < np.inf))
    refuse(
        wrong_size, size, name=name, needed="counted over trials that are whole numbers of at least 1",
        advice="Correct the number of trials, or drop rows without any trial.",
    )  # fmt: skip
    needed = "0 or 1" if np.all(size == 1.0) else "a whole number of successes from 0 to the number of trials"
    refuse(
        ~((y >= 0.0) & (y <= size) & (y == np.round(y))), y, name=name, needed=needed,
        advice="Recode it, give `cbind(successes, failures)`, or use another family: families.Beta() for shares of "
        "something that is not counted.",
    )  # fmt: skip


@dataclass(frozen=True)
class Binomial(Family):
    """Successes y of `size` trials: P(success) = F(eta).

    Parameters
    ----------
    link : "logit" (F logistic), "probit" (normal) or "cloglog" (complementary log-log, 1 - exp(-e^eta)).

    Raises
    ------
    CrosslevelError : there is no such link.

    Examples
    --------
    >>> import numpy as np
    >>> from crosslevel.families import Binomial
    >>> Binomial().mean(np.array([-1.0, 0.0]))
    array([0.26894142, 0.5       ])
    """

    link: str = "logit"

    kind: ClassVar[str] = "binary"
    has_trials: ClassVar[bool] = True
    adds_up: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_link(self.name, self.link, CODES)

    @property
    def name(self) -> str:
        """Its name in `family=`."""
        return "binomial"

    @property
    def code(self) -> int:
        """Its number in `kernels.responses`."""
        return CODES[self.link]

    @property
    def log_concave(self) -> bool:
        """True: all three distribution functions are log-concave, and so are their complements."""
        return True

    @property
    def latent_variance(self) -> float | None:
        """Variance of the latent error: pi^2 / 3, 1 or pi^2 / 6."""
        return LINKS[self.link].latent_variance

    @property
    def description(self) -> str:
        """The family in words."""
        return f"binomial, {self.link} link"

    def variance(self, mu: FloatArray, size: FloatArray, shape: FloatArray) -> FloatArray:
        """Of the number of successes: size mu (1 - mu)."""
        return size * mu * (1.0 - mu)

    def draw(self, rng: np.random.Generator, eta: FloatArray, size: FloatArray, shape: FloatArray) -> FloatArray:
        """Draw numbers of successes (n,)."""
        return rng.binomial(size.astype(np.int64), self.mean(eta)).astype(float)

    def cdf(self, y: FloatArray, eta: FloatArray, size: FloatArray, shape: FloatArray) -> tuple[FloatArray, FloatArray]:
        """P(Y < y) and P(Y <= y)."""
        law = stats.binom(size, self.mean(eta))
        return law.cdf(y - 1.0), law.cdf(y)

    def check_outcome(self, y: FloatArray, size: FloatArray, name: str) -> None:
        """Whole numbers of successes from 0 to the number of trials."""
        refuse_no_successes(y, size, name)

    def start(self, y: FloatArray, size: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Link of (y + 1/2) / (size + 1)."""
        return LINKS[self.link].quantile((y + 0.5) / (size + 1.0)), np.zeros(0)
