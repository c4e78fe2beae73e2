"""The cumulative family: ordered categories as a latent variable cut at thresholds."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from crosslevel.families.base import Family, check_link, refuse
from crosslevel.families.links import LINKS
from crosslevel.kernels import responses
from crosslevel.types import FloatArray

CODES = {"logit": responses.CUMULATIVE_LOGIT, "probit": responses.CUMULATIVE_PROBIT}
NARROW = 0.02
"""Distance of thresholds to begin from around categories that hardly occur."""


@dataclass(frozen=True)
class Ordinal(Family):
    """Ordered categories 0, ..., C - 1: P(Y <= k) = F(c_k - eta), with c_0 = 0 < c_1 < ... < c_(C-2).

    Eta holds an intercept, minus which is the first threshold in the usual notation. The natural shape parameters are
    c_1, ..., c_(C-2): the distances of the other thresholds from the first.

    Parameters
    ----------
    link : "logit" (F logistic: proportional odds) or "probit" (F normal).

    Raises
    ------
    CrosslevelError : there is no such link.

    Examples
    --------
    >>> import numpy as np
    >>> from crosslevel.families import Ordinal
    >>> Ordinal().probabilities(np.zeros(1), np.array([1.0])).round(3)
    array([[0.5  , 0.231, 0.269]])
    """

    link: str = "logit"

    kind: ClassVar[str] = "ordered"

    def __post_init__(self) -> None:
        check_link(self.name, self.link, CODES)

    @property
    def name(self) -> str:
        """Its name in `family=`."""
        return "ordinal"

    @property
    def code(self) -> int:
        """Its number in `kernels.responses`."""
        return CODES[self.link]

    @property
    def log_concave(self) -> bool:
        """True: probabilities of intervals under log-concave densities are log-concave."""
        return True

    @property
    def latent_variance(self) -> float | None:
        """Variance of the latent error: pi^2 / 3 or 1."""
        return LINKS[self.link].latent_variance

    @property
    def description(self) -> str:
        """The family in words."""
        return f"ordinal (cumulative {self.link})"

    def n_shape(self, n_categories: int | None = None) -> int:
        """Two fewer than the categories."""
        return max((n_categories or 2) - 2, 0)

    def shape_names(self, categories: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Names of the thresholds after the first, such as "low|middle"."""
        if categories is None:
            return ()
        return tuple(f"{categories[k]}|{categories[k + 1]}" for k in range(1, len(categories) - 1))

    def shape(self, working: FloatArray) -> FloatArray:
        """Thresholds (m,) after the first, of the logarithms of their distances."""
        return np.cumsum(np.exp(np.clip(working, -responses.LARGEST_EXPONENT, responses.LARGEST_EXPONENT)))

    def shape_jacobian(self, working: FloatArray) -> FloatArray:
        """Derivatives (m, m) of the thresholds (rows) in the logarithms of their distances (columns)."""
        return np.asarray(np.tril(np.broadcast_to(np.exp(working), (len(working), len(working)))))

    def working_shape(self, natural: FloatArray) -> FloatArray:
        """Logarithms (m,) of the distances of the thresholds."""
        return np.log(np.diff(natural, prepend=0.0))

    def above(self, eta: FloatArray, shape: FloatArray) -> FloatArray:
        """Probabilities (n, C - 1) of an outcome above category 0, ..., C - 2."""
        return LINKS[self.link].mean(eta[:, None] - np.concatenate([[0.0], shape]))

    def probabilities(self, eta: FloatArray, shape: FloatArray) -> FloatArray:
        """Probabilities (n, C) of the categories, each without cancellation."""
        n, n_categories = len(eta), len(shape) + 2
        y, one = np.tile(np.arange(n_categories, dtype=float), n), np.ones(n * n_categories)
        filled = np.empty((2, n * n_categories))
        responses.fill_terms(self.code, y, one, one, np.repeat(eta, n_categories), shape, filled)
        return np.asarray(np.exp(filled[0]).reshape(n, n_categories))

    def outcome_mean(self, eta: FloatArray, size: FloatArray, shape: FloatArray) -> FloatArray:
        """Mean number (n,) of the category, from 0."""
        return np.asarray(self.above(eta, shape).sum(axis=1))

    def outcome_variance(self, eta: FloatArray, size: FloatArray, shape: FloatArray) -> FloatArray:
        """Variance (n,) of the number of the category."""
        above = self.above(eta, shape)
        order = 2.0 * np.arange(above.shape[1]) + 1.0
        mean = above.sum(axis=1)
        return np.asarray(np.maximum(above @ order - mean**2, 0.0))

    def variance(self, mu: FloatArray, size: FloatArray, shape: FloatArray) -> FloatArray:
        """Variance (n,) of the number of the category, given the probability mu (n,) of one above the first."""
        return self.outcome_variance(LINKS[self.link].quantile(mu), size, shape)

    def draw(self, rng: np.random.Generator, eta: FloatArray, size: FloatArray, shape: FloatArray) -> FloatArray:
        """Draw numbers of categories (n,)."""
        uniform = rng.random(len(eta))
        return np.asarray(np.sum(uniform[:, None] < self.above(eta, shape), axis=1, dtype=float))

    def cdf(self, y: FloatArray, eta: FloatArray, size: FloatArray, shape: FloatArray) -> tuple[FloatArray, FloatArray]:
        """P(Y < y) and P(Y <= y)."""
        bounds = np.concatenate([[-np.inf, 0.0], shape, [np.inf]])
        k = np.clip(y, -1.0, len(shape) + 1.0).astype(np.intp)
        below = np.where(k < 0, 0.0, LINKS[self.link].mean(bounds[np.maximum(k, 0)] - eta))
        return below, np.where(k < 0, 0.0, LINKS[self.link].mean(bounds[k + 1] - eta))

    def check_outcome(self, y: FloatArray, size: FloatArray, name: str) -> None:
        """Numbers of categories, all of which occur."""
        refuse(
            ~((y >= 0.0) & (y == np.round(y)) & (y < np.inf)), y, name=name, needed="an ordered category",
            advice="Make it an ordered categorical column, or give whole numbers.",
        )  # fmt: skip
        found = np.unique(y)
        absent = np.setdiff1d(np.arange(found[-1] + 1.0), found)
        refuse(
            np.ones(len(absent), dtype=bool), absent, name=name, needed="found in every one of its categories",
            advice="Combine the categories without any row with their neighbours: thresholds need rows on both sides.",
        )  # fmt: skip

    def start(self, y: FloatArray, size: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Middle of each category on the latent scale above the first threshold, and the thresholds of no effects."""
        quantile = LINKS[self.link].quantile
        counts = np.bincount(y.astype(np.intp), weights=weight) + 0.5
        cumulative = np.cumsum(counts) / counts.sum()
        cuts = quantile(cumulative[:-1])
        middles = quantile(cumulative - 0.5 * counts / counts.sum())
        distances = np.maximum(np.diff(cuts), NARROW)
        return (middles - cuts[0])[y.astype(np.intp)], np.log(distances)
