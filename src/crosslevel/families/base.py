"""What a family of outcomes has to say: the distribution of one answer given the linear predictor eta."""

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from crosslevel.errors import CrosslevelError, DataError
from crosslevel.families.links import LINKS
from crosslevel.kernels import responses
from crosslevel.types import BoolArray, FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Terms:
    """Log densities of n answers and their derivatives.

    Parameters
    ----------
    log_density : (n,) with all constants.
    first, second, third : (n,) derivatives in the linear predictor.
    by_shape : (n, 3, m) derivatives of the log density, of `first` and of `second` in the natural shape parameters.
    """

    log_density: FloatArray
    first: FloatArray
    second: FloatArray
    third: FloatArray
    by_shape: FloatArray


class Family(ABC):
    """The distribution of one answer given its linear predictor eta, and shape parameters common to all answers.

    An answer is y (n,) with its size (n,): successes and trials for the binomial families, the total of so many counts
    or amounts of the same mean for Poisson and gamma; the number of the category (0, 1, ...) for the ordered ones,
    where the size is 1 as everywhere else.
    """

    kind: ClassVar[str]
    """What the outcome is: "binary", "count", "positive", "share", "ordered" or "measured"."""
    has_trials: ClassVar[bool] = False
    """Whether an answer may be a number of successes of several trials."""
    adds_up: ClassVar[bool] = False
    """Whether totals of `size` independent answers of the same mean have a distribution of the family."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Its name in `family=`."""

    @property
    @abstractmethod
    def link(self) -> str:
        """The link function's name."""

    @property
    @abstractmethod
    def code(self) -> int:
        """Its number in `kernels.responses`."""

    @property
    @abstractmethod
    def log_concave(self) -> bool:
        """Whether the log density is concave in eta for every outcome."""

    @property
    def latent_variance(self) -> float | None:
        """Variance of the latent variable's error where the outcome is a latent variable cut at thresholds."""
        return None

    @property
    @abstractmethod
    def description(self) -> str:
        """The family in words."""

    def n_shape(self, n_categories: int | None = None) -> int:
        """Return the number of shape parameters m, for ordered outcomes with so many categories."""
        return 0

    def shape_names(self, categories: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Names (m,) of the natural shape parameters."""
        return ()

    def shape(self, working: FloatArray) -> FloatArray:
        """Natural shape parameters (m,) of the unconstrained ones (m,): their exponentials."""
        if not len(working):
            return working
        return np.exp(np.clip(working, -responses.LARGEST_EXPONENT, responses.LARGEST_EXPONENT))

    def shape_jacobian(self, working: FloatArray) -> FloatArray:
        """Derivatives (m, m) of the natural shape parameters (rows) in the unconstrained ones (columns)."""
        return np.diag(self.shape(working)) if len(working) else np.zeros((0, 0))

    def working_shape(self, natural: FloatArray) -> FloatArray:
        """Unconstrained shape parameters (m,) of natural ones (m,): the inverse of `shape`."""
        return np.log(natural)

    def mean(self, eta: FloatArray) -> FloatArray:
        """Mean (n,) of one trial's outcome: the inverse of the link function."""
        return LINKS[self.link].mean(eta)

    def mean_slope(self, eta: FloatArray) -> FloatArray:
        """Derivative (n,) of `mean` in eta."""
        return LINKS[self.link].slope(eta)

    def outcome_mean(self, eta: FloatArray, size: FloatArray, shape: FloatArray) -> FloatArray:
        """Mean (n,) of the outcome y: of all trials, or of the number of the category."""
        return size * self.mean(eta)

    def outcome_variance(self, eta: FloatArray, size: FloatArray, shape: FloatArray) -> FloatArray:
        """Variance (n,) of the outcome y."""
        return self.variance(self.mean(eta), size, shape)

    @abstractmethod
    def variance(self, mu: FloatArray, size: FloatArray, shape: FloatArray) -> FloatArray:
        """Variance (n,) of the outcome y, given the mean mu (n,) of one trial."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, eta: FloatArray, size: FloatArray, shape: FloatArray) -> FloatArray:
        """Draw outcomes (n,)."""

    @abstractmethod
    def cdf(self, y: FloatArray, eta: FloatArray, size: FloatArray, shape: FloatArray) -> tuple[FloatArray, FloatArray]:
        """P(Y < y) and P(Y <= y), (n,) each; equal where the outcome is continuous."""

    @abstractmethod
    def check_outcome(self, y: FloatArray, size: FloatArray, name: str) -> None:
        """Raise if some outcome cannot come from this family.

        Raises
        ------
        DataError : what is needed, what came, what to do.
        """

    @abstractmethod
    def start(self, y: FloatArray, size: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return a linear predictor (n,) near each outcome, to regress on, and unconstrained shape parameters (m,)."""

    def terms(self, y: FloatArray, size: FloatArray, eta: FloatArray, shape: FloatArray) -> Terms:
        """Log densities of n answers and their derivatives.

        Examples
        --------
        >>> import numpy as np
        >>> from crosslevel.families import Poisson
        >>> one = np.ones(1)
        >>> Poisson().terms(3 * one, one, 0 * one, np.zeros(0)).first
        array([2.])
        """
        n, ones = len(y), np.ones(len(y))
        filled, by_shape = np.empty((4, n)), np.empty((n, 3, len(shape)))
        responses.fill_terms(self.code, y, size, ones, eta, shape, filled)
        responses.fill_by_shape(self.code, y, size, ones, eta, shape, by_shape)
        constants = np.array([responses.log_constant(self.code, y[i], size[i]) for i in range(n)])
        return Terms(
            log_density=filled[0] + constants, first=filled[1], second=filled[2], third=filled[3], by_shape=by_shape
        )


def check_link(family: str, link: str, links: Collection[str]) -> None:
    """Refuse a link that a family does not know.

    Raises
    ------
    CrosslevelError : the message lists those it knows.
    """
    if link not in links:
        raise CrosslevelError(
            f"`link` of the {family} family has to be one of {', '.join(map(repr, links))}, not {link!r}. "
            "Leave it out for 'logit'."
        )


def refuse(wrong: BoolArray, values: FloatArray, *, name: str, needed: str, advice: str) -> None:
    """Raise a DataError if any outcome is `wrong` (n,), showing the first few of its values."""
    if not wrong.any():
        return
    shown = ", ".join(f"{value:g}" for value in np.unique(values[wrong])[:5])
    raise DataError(
        f"The outcome {name!r} has to be {needed}, but {int(wrong.sum()):,} of {len(values):,} values are not "
        f"(for instance {shown}). {advice}"
    )
