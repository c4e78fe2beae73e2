"""Families of shares with the logit link: beta, and beta-binomial for counted ones."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import special

from crosslevel.errors import DataError
from crosslevel.families.base import Family, refuse
from crosslevel.families.binomial import refuse_no_successes
from crosslevel.kernels import responses
from crosslevel.types import FloatArray

LEAST = 1e-300
MOST = 1.0 - 2.0**-53


def _beta_parameters(eta: FloatArray, precision: float) -> tuple[FloatArray, FloatArray]:
    """Both parameters (n,) of the beta distribution with this mean on the logit scale, none of them rounded to 0."""
    return (
        np.maximum(precision * special.expit(eta), LEAST),
        np.maximum(precision * special.expit(-eta), LEAST),
    )


def _draw_shares(rng: np.random.Generator, eta: FloatArray, precision: float) -> FloatArray:
    """Draw beta distributed shares (n,) by two gamma variables, on the log scale where these underflow."""
    a, b = _beta_parameters(eta, precision)
    logs = []
    for parameter in (a, b):
        # G(a) = G(a + 1) U^(1 / a)
        uniform = 1.0 - rng.random(len(eta))
        logs.append(np.log(rng.standard_gamma(parameter + 1.0)) + np.log(uniform) / parameter)
    return np.asarray(special.expit(np.clip(logs[0] - logs[1], -745.0, 745.0)))


@dataclass(frozen=True)
class Beta(Family):
    """Shares of something that is not counted, above 0 and below 1.

    With mu the mean, logit(mu) = eta, the variance is mu (1 - mu) / (1 + precision).

    Examples
    --------
    >>> import numpy as np
    >>> from crosslevel.families import Beta
    >>> Beta().variance(np.array([0.5]), np.ones(1), np.array([4.0]))
    array([0.05])
    """

    kind: ClassVar[str] = "share"

    @property
    def name(self) -> str:
        """Its name in `family=`."""
        return "beta"

    @property
    def link(self) -> str:
        """The logit."""
        return "logit"

    @property
    def code(self) -> int:
        """Its number in `kernels.responses`."""
        return responses.BETA

    @property
    def log_concave(self) -> bool:
        """False: far from an outcome the log density bends upwards."""
        return False

    @property
    def description(self) -> str:
        """The family in words."""
        return "beta (variance mu (1 - mu) / (1 + precision)), logit link"

    def n_shape(self, n_categories: int | None = None) -> int:
        """One."""
        return 1

    def shape_names(self, categories: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Precision."""
        return ("precision",)

    def variance(self, mu: FloatArray, size: FloatArray, shape: FloatArray) -> FloatArray:
        """Less than of a single trial: mu (1 - mu) / (1 + precision)."""
        return np.asarray(mu * (1.0 - mu) / (1.0 + shape[0]))

    def draw(self, rng: np.random.Generator, eta: FloatArray, size: FloatArray, shape: FloatArray) -> FloatArray:
        """Draw shares (n,), none of them rounded to 0 or 1."""
        return np.clip(_draw_shares(rng, eta, shape[0]), LEAST, MOST)

    def cdf(self, y: FloatArray, eta: FloatArray, size: FloatArray, shape: FloatArray) -> tuple[FloatArray, FloatArray]:
        """P(Y <= y), twice."""
        a, b = _beta_parameters(eta, shape[0])
        below = special.betainc(a, b, y)
        return below, below

    def check_outcome(self, y: FloatArray, size: FloatArray, name: str) -> None:
        """Numbers between 0 and 1, both excluded."""
        refuse(
            ~((y > 0.0) & (y < 1.0)), y, name=name, needed="a share above 0 and below 1",
            advice="Divide percentages by 100; for counted shares give successes and trials and family='binomial' or "
            "'betabinomial', which also know shares of 0 and 1.",
        )  # fmt: skip

    def start(self, y: FloatArray, size: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
        """logit(y), moved towards 1/2 a little, and twice the precision that the variance says."""
        mean = float(np.average(y, weights=weight))
        spread = max(float(np.average((y - mean) ** 2, weights=weight)), 1e-8)
        precision = np.clip(2.0 * (mean * (1.0 - mean) / spread - 1.0), 0.5, 1000.0)
        return special.logit(0.005 + 0.99 * y), self.working_shape(np.array([precision]))


@dataclass(frozen=True)
class BetaBinomial(Family):
    """Successes of `size` trials that vary more than binomial ones, because their probabilities are beta distributed.

    With mu the mean probability, logit(mu) = eta, the variance is that of a binomial outcome times
    (precision + size) / (precision + 1).

    Examples
    --------
    >>> import numpy as np
    >>> from crosslevel.families import BetaBinomial
    >>> BetaBinomial().variance(np.array([0.5]), np.array([4.0]), np.array([2.0]))
    array([2.])
    """

    kind: ClassVar[str] = "binary"
    has_trials: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Its name in `family=`."""
        return "betabinomial"

    @property
    def link(self) -> str:
        """The logit."""
        return "logit"

    @property
    def code(self) -> int:
        """Its number in `kernels.responses`."""
        return responses.BETA_BINOMIAL

    @property
    def log_concave(self) -> bool:
        """False: far from an outcome the log density bends upwards."""
        return False

    @property
    def description(self) -> str:
        """The family in words."""
        return "beta-binomial (variance n mu (1 - mu) (precision + n) / (precision + 1)), logit link"

    def n_shape(self, n_categories: int | None = None) -> int:
        """One."""
        return 1

    def shape_names(self, categories: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Precision."""
        return ("precision",)

    def variance(self, mu: FloatArray, size: FloatArray, shape: FloatArray) -> FloatArray:
        """Of the number of successes: size mu (1 - mu) (precision + size) / (precision + 1)."""
        return np.asarray(size * mu * (1.0 - mu) * (1.0 + (size - 1.0) / (shape[0] + 1.0)))

    def draw(self, rng: np.random.Generator, eta: FloatArray, size: FloatArray, shape: FloatArray) -> FloatArray:
        """Draw numbers of successes (n,)."""
        return rng.binomial(size.astype(np.int64), _draw_shares(rng, eta, shape[0])).astype(float)

    def cdf(self, y: FloatArray, eta: FloatArray, size: FloatArray, shape: FloatArray) -> tuple[FloatArray, FloatArray]:
        """P(Y < y) and P(Y <= y): sums of probabilities."""
        below, upto = np.zeros(len(y)), np.zeros(len(y))
        for i in range(len(y)):
            counts = np.arange(y[i] + 1.0)
            same, trials = np.full(len(counts), eta[i]), np.full(len(counts), size[i])
            shares = np.exp(self.terms(counts, trials, same, shape).log_density)
            below[i], upto[i] = shares[:-1].sum(), shares.sum()
        return np.minimum(below, 1.0), np.minimum(upto, 1.0)

    def check_outcome(self, y: FloatArray, size: FloatArray, name: str) -> None:
        """Whole numbers of successes from 0 to the number of trials, which is not 1 everywhere."""
        refuse_no_successes(y, size, name)
        if np.all(size == 1.0):
            raise DataError(
                f"The outcome {name!r} has to be counted over several trials in some rows, but all {len(y):,} rows "
                "have one trial, which says nothing of the precision. Use family='binomial', or give numbers of "
                "successes and of trials: `cbind(successes, failures)`."
            )

    def start(self, y: FloatArray, size: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
        """logit((y + 1/2) / (size + 1)), and twice the precision that the variance says."""
        several = size > 1.0
        n, counted = size[several], weight[several]
        mean = float(np.clip(np.average(y[several] / n, weights=counted * n), 0.01, 0.99))
        excess = np.average((y[several] - n * mean) ** 2 / (n * mean * (1.0 - mean)) - 1.0, weights=counted)
        alike = np.clip(excess / np.average(n - 1.0, weights=counted), 0.001, 0.9)
        precision = 2.0 * (1.0 / alike - 1.0)
        return special.logit((y + 0.5) / (size + 1.0)), self.working_shape(np.array([precision]))
