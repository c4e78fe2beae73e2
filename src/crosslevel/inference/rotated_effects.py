"""Combinations of predicted random effects in which residuals have the smallest share.

The conditional modes of one effect in all J levels, bhat = Psi Z'P y, have the covariance A = Psi Z'P Z Psi, of which

    B = Psi Z'P R P Z Psi

comes from the residuals e and the rest from the random effects. The combinations l'bhat with the least confounding
l'B l / l'A l, one after another and uncorrelated with each other, solve B l = lambda A l with l'A l = 1: they have
variance 1 and confounding lambda. Where A has less than full rank (the modes of a random intercept add up to zero)
there are fewer of them than levels.

Source: Hilden-Minton (1995), Multilevel Diagnostics for Mixed and Hierarchical Linear Models, UCLA, chapter 4; Loy &
Hofmann (2015), J. Comput. Graph. Stat. 24: 1191-1209.
"""

from dataclasses import dataclass, field

import numpy as np

from crosslevel.design import Design
from crosslevel.errors import CrosslevelError
from crosslevel.inference.at_estimates import AtEstimates
from crosslevel.inference.bootstrap.rows import ModelRows
from crosslevel.inference.prediction import contribution
from crosslevel.solve import Solution
from crosslevel.types import FloatArray

RANK = 1e-9
"""Share of the largest eigenvalue of A below which one is rounding error."""

MOST_LEVELS = 1_000
"""Levels whose effects are combined, at most: each takes a pass over the rows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RotatedEffects:
    """Uncorrelated combinations of one effect's modes, the least confounded first.

    Attributes
    ----------
    values : (m,) l'bhat, each of variance 1.
    confounding : (m,) the share of its variance that comes from residuals, between 0 and 1.
    weights : (m, J) l.
    """

    values: FloatArray
    confounding: FloatArray
    weights: FloatArray = field(repr=False)


def rotated_effects(design: Design, solution: Solution, factor: int, effect: int) -> RotatedEffects:
    """Least-confounded combinations of the modes of one random effect.

    Parameters
    ----------
    design, solution : a linear mixed model.
    factor, effect : positions of the grouping factor and of the effect in it.

    Raises
    ------
    CrosslevelError : too many levels, or modes that do not vary.
    """
    chosen = design.factors[factor]
    n_levels, q = chosen.n_levels, len(chosen.z)
    if n_levels > MOST_LEVELS:
        raise CrosslevelError(
            f"Least-confounded random effects combine all levels, and {chosen.name} has {n_levels:,} of them; "
            f"{MOST_LEVELS:,} are the most. With so many the envelope of cl.envelope(fit, of='random effects') tells "
            "as much."
        )
    model, rows = AtEstimates.of(design, solution), ModelRows.of(design)
    psi = solution.sigma**2 * solution.factors[factor] @ solution.factors[factor].T
    answers, errors = [], []
    for level in range(n_levels):
        # the column of Z Psi that belongs to the effect in this level: what the model makes of it
        unit = np.zeros((n_levels, q))
        unit[level] = psi[:, effect]
        found = model.refitted(contribution(unit, rows.z[factor], rows.members[factor]))
        answers.append(found.modes[factor][:, effect])
        errors.append(found.residuals)
    whole, own = np.array(answers), np.array(errors)
    observed = model.refitted(rows.y).modes[factor][:, effect]
    return _least_confounded(0.5 * (whole + whole.T), own @ own.T, observed)


def _least_confounded(whole: FloatArray, own: FloatArray, observed: FloatArray) -> RotatedEffects:
    """Solve B l = lambda A l, with A = `whole` and B = `own` (J, J)."""
    values, vectors = np.linalg.eigh(whole)
    able = values > RANK * max(float(values[-1]), 1e-300)
    if not np.any(able) or float(values[-1]) <= 0.0:
        raise CrosslevelError(
            "The variance of this random effect is estimated as zero, so that there is nothing to combine. Look at "
            "fit.varcomp()."
        )
    root = vectors[:, able] / np.sqrt(values[able])
    confounding, turn = np.linalg.eigh(root.T @ own @ root)
    weights = (root @ turn).T
    return RotatedEffects(values=weights @ observed, confounding=np.clip(confounding, 0.0, 1.0), weights=weights)
