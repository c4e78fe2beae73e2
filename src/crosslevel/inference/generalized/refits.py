"""Refits of a solved generalized model to other outcomes, or to clusters that count otherwise.

The search starts at the estimates of the data, with the modes of their random effects, and needs no second derivatives
unless standard errors are wanted. Draws in which coefficients are not determined, or have no finite estimate, are told
apart from searches that failed.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crosslevel.design.response_rows import ResponseRows
from crosslevel.inference.bootstrap.batch import Batch, Outcome, failed
from crosslevel.inference.generalized.estimands import Estimands
from crosslevel.optimise import Status
from crosslevel.solve.generalized.boundary import settle
from crosslevel.solve.generalized.descent import descend
from crosslevel.solve.generalized.objective import Objective, Point
from crosslevel.solve.generalized.separation import find_separation, is_suspected
from crosslevel.solve.generalized.solution import GeneralizedSolution
from crosslevel.solve.solution import NEGLIGIBLE
from crosslevel.types import FloatArray

TOLERANCE, EXACT = 1e-8, 1e-11
"""Expected decrease of the deviance at which a refit ends: 1e-4 standard errors, and where changes by single clusters
are wanted 3e-6."""

DEPENDENT = 1e-11
"""Share of a column that the others leave, below which they determine it; see `design.reduced.ALIAS_TOLERANCE`."""

SMALL = 0.02
"""Standard deviation of a standardised random effect that may be zero for the search to see no difference."""

WORSE = 1e-7
"""Rise of the deviance that is none, when a variance is put to zero."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ended:
    """A refit.

    Attributes
    ----------
    outcome : how it ended.
    point : parameters, state and value where the search ended; None where there was none.
    hessian : (K, K) there by differences; None where it was not asked for.
    """

    outcome: Outcome
    point: Point | None = None
    hessian: FloatArray | None = field(default=None, repr=False)

    @property
    def parameters(self) -> FloatArray:
        """(K,)."""
        assert self.point is not None
        return self.point.parameters


@dataclass(frozen=True, kw_only=True, eq=False)
class Refitter:
    """Fits a solved model again.

    Attributes
    ----------
    solution : of the data.
    estimands : what is estimated.
    max_steps : of the search.
    errors : whether standard errors are wanted.
    tolerance : expected decrease of the deviance at which a refit ends.
    """

    solution: GeneralizedSolution = field(repr=False)
    estimands: Estimands = field(repr=False)
    max_steps: int
    errors: bool = False
    tolerance: float = TOLERANCE

    @property
    def rows(self) -> ResponseRows:
        """The data."""
        return self.solution.criterion.rows

    @property
    def size(self) -> tuple[int, int]:
        """Numbers of estimates and of coefficients."""
        return len(self.estimands.names), len(self.estimands.predictor)

    def fit(self, rows: ResponseRows, start: FloatArray | None = None) -> Ended:
        """Maximise the likelihood of other rows.

        Parameters
        ----------
        rows : the same rows with another outcome or other weights.
        start : (K,) where to begin; the estimates of the data if None.
        """
        if not determined(rows):
            return Ended(outcome=Outcome.UNIDENTIFIED)
        objective = Objective(criterion=self.solution.criterion.with_rows(rows), prior=self.solution.prior)
        begin = self.solution.parameters if start is None else start
        try:
            minimum, hessian = self._search(objective, begin)
        except (np.linalg.LinAlgError, ValueError):
            return Ended(outcome=Outcome.SEPARATED if self._has_none(rows) else Outcome.REFUSED)
        if self._is_separated(rows, minimum.theta):
            return Ended(outcome=Outcome.SEPARATED)
        point = objective.at(minimum.theta, minimum.state)
        if minimum.status is not Status.CONVERGED:
            return Ended(outcome=Outcome.UNCONVERGED, point=point)
        settled = settle(objective, point, small=SMALL, tolerance=WORSE)
        return Ended(outcome=Outcome.FITTED, point=point if settled is None else settled, hessian=hessian)

    def _search(self, objective: Objective, start: FloatArray) -> tuple[Any, FloatArray | None]:
        """Search from the estimates.

        In a draw without finite estimates it runs away until numbers overflow: that ends in an error or at a distance
        that is asked about, not in a warning for each of a thousand draws.
        """
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return descend(
                objective, start, near=self.solution.state, tolerance=self.tolerance, max_steps=self.max_steps,
                finish=self.errors,
            )  # fmt: skip

    def batch(self, rows: ResponseRows) -> Batch:
        """Maximise the likelihood of other rows, and tell the estimates."""
        ended = self.fit(rows)
        if ended.outcome is not Outcome.FITTED:
            return failed(ended.outcome, *self.size)
        assert ended.point is not None
        errors = np.full(self.size[1], np.nan)
        if self.errors and ended.hessian is not None:
            errors = self.std_errors(ended.parameters, ended.hessian)
        return Batch(
            outcome=np.array([Outcome.FITTED], dtype=np.int64),
            values=self.estimands.values(ended.parameters)[None],
            std_errors=errors[None],
            deviance=np.array([float(ended.point.state.deviance)]),
            singular=np.array([self.estimands.least_deviation(ended.parameters) < NEGLIGIBLE]),
        )

    def std_errors(self, parameters: FloatArray, hessian: FloatArray) -> FloatArray:
        """Standard errors of coefficients and thresholds, from the Hessian of the deviance."""
        vcov = covariance_of(hessian)
        turn = self.estimands.predictor_jacobian(parameters)
        return np.asarray(np.sqrt(np.einsum("ia,ab,ib->i", turn, vcov, turn, optimize=True)))

    def _is_separated(self, rows: ResponseRows, parameters: FloatArray) -> bool:
        """Whether some coefficient has no finite estimate, asked where fitted values are extreme."""
        return is_suspected(rows, parameters[self.estimands.layout.beta]) and self._has_none(rows)

    def _has_none(self, rows: ResponseRows) -> bool:
        """Whether some coefficient has no finite estimate: predictors separate the outcomes."""
        return self.solution.prior is None and find_separation(rows) is not None


def covariance_of(hessian: FloatArray) -> FloatArray:
    """Covariance (K, K) of estimates from the Hessian of the deviance; zero in flat directions, as on a boundary."""
    size = np.sqrt(np.maximum(np.abs(np.diag(hessian)), 1e-300))
    values, vectors = np.linalg.eigh(hessian / np.outer(size, size))
    kept = values > DEPENDENT * values[-1]
    half = (vectors[:, kept] / np.sqrt(values[kept])) / size[:, None]
    return np.asarray(2.0 * half @ half.T)


def determined(rows: ResponseRows) -> bool:
    """Whether the rows that count determine all coefficients, and ordered outcomes have all categories."""
    counted = rows.counted
    if rows.n_categories:
        present = np.bincount(rows.y.astype(np.int64), weights=counted, minlength=rows.n_categories)
        if np.any(present <= 0.0):
            return False
    if not rows.x.shape[1]:
        return True
    gram = (rows.x * counted[:, None]).T @ rows.x
    size = np.sqrt(np.diag(gram))
    if np.any(size == 0.0):
        return False
    return bool(np.linalg.eigvalsh(gram / np.outer(size, size))[0] > DEPENDENT)
