"""What a user should know of a generalized linear model beyond its numbers: in words, each with what to do."""

from typing import TYPE_CHECKING

from crosslevel.display import number
from crosslevel.estimators.notes import notes_on_rows
from crosslevel.estimators.robust_fit import concerns
from crosslevel.solve.generalized.separation import find_separation, is_suspected
from crosslevel.solve.generalized.troubles import separation_words

if TYPE_CHECKING:
    from crosslevel.estimators.responses.glm_fit import GLMFit

OVERDISPERSED = 1.5
"""Pearson's chi-square per degree of freedom from which on standard errors of independent rows are doubted."""


REMEDY = "Merge categories, leave the predictor out, or use cl.mixed(..., family=, prior=cl.prior.Weak())."
"""What to do where outcomes are separated."""


def separation(fit: "GLMFit") -> str:
    """Words on how the predictors separate the outcomes; it is looked for where fitted values are extreme."""
    rows = fit.solved.rows
    if not is_suspected(rows, fit.solved.joint[: rows.x.shape[1]]):
        return ""
    found = find_separation(rows)
    names = fit.design.fixed_names
    return "" if found is None else separation_words(rows, found, names, has_prior=False, remedy=REMEDY)


def notes_on(fit: "GLMFit") -> tuple[str, ...]:
    """Notes on rows, on the search, on the covariance and on overdispersion."""
    robust = fit.whole.robust
    notes = [*notes_on_rows(fit.design), *(() if robust is None else concerns(robust, fit.df))]
    if not fit.converged:
        notes.append(fit.separation or fit.status)
    counted = fit.family.kind == "count" or fit.outcome.has_trials
    if counted and not len(fit.solved.shape) and fit.dispersion > OVERDISPERSED:
        other = "negative binomial (family='nbinom2')" if fit.family.kind == "count" else "beta-binomial"
        shown = "" if fit.whole.name != "iid" else " These standard errors are too small."
        notes.append(
            f"Outcomes vary {number(fit.dispersion, decimals=1)} times as much as the {fit.family.description} says."
            f"{shown} Name clusters, use vcov='HC3', or the {other} family."
        )
    return tuple(notes)
