"""Likelihood-ratio tests of generalized models by simulation: outcomes drawn from the smaller model, both refitted."""

from collections.abc import Callable

import numpy as np

from crosslevel.errors import DesignError
from crosslevel.estimators.simulated_tests import Refitted
from crosslevel.inference.bootstrap.batch import REASONS, Outcome
from crosslevel.inference.generalized.refits import Ended, Refitter
from crosslevel.inference.generalized.replicates import OutcomeReplicates

Draw = Callable[[np.random.Generator], Refitted]
"""Draws an outcome from the smaller model, and tells the statistic of refits of both to it."""


def from_outcomes(small: Refitter, large: Refitter) -> Draw:
    """Statistics of outcomes that are drawn from the smaller model.

    Refits to draws in which coefficients are not determined or have no finite estimate fail.
    """
    draws = OutcomeReplicates.of(small).draws

    def refitted(rng: np.random.Generator) -> Refitted:
        rows = draws.drawn(rng)
        other = large.rows.with_response(rows.in_data_order(rows.y))
        ends = small.fit(rows), large.fit(other)
        deviances = [_deviance(ended) for ended in ends]
        converged = all(ended.outcome is Outcome.FITTED for ended in ends)
        return Refitted(statistic=max(deviances[0] - deviances[1], 0.0), converged=converged)

    return refitted


def _deviance(ended: Ended) -> float:
    """Of a refit.

    Raises
    ------
    DesignError : there is none.
    """
    if ended.point is None:
        raise DesignError(f"{REASONS[ended.outcome]}.".capitalize())
    return float(ended.point.state.deviance)
