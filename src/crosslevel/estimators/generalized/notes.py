"""What a user should know of a generalized fit beyond its numbers: in words, each with what to do."""

from collections.abc import Iterator

import numpy as np

from crosslevel.design import Design
from crosslevel.estimators.notes import notes_on_clusters, notes_on_rows, singular_words
from crosslevel.solve.generalized.solution import GeneralizedSolution
from crosslevel.solve.generalized.troubles import troubles

FEW_ANSWERS = 10.0
"""Trials per cluster, on average, below which the Laplace approximation is doubted where nothing tells its error."""


def notes_on(design: Design, solution: GeneralizedSolution) -> tuple[str, ...]:
    """Notes on columns left out, rows dropped, separation, singular fits, few clusters and the approximation."""
    notes = notes_on_rows(design)
    if design.weights is not None and design.weights.concern is not None:
        notes.append(design.weights.concern)
    notes += troubles(solution, design.fixed_names, [factor.name for factor in design.factors])
    notes += notes_on_singular(design, solution)
    notes += notes_on_clusters(design)
    notes += _categories(design)
    notes += _integration(design, solution)
    return tuple(notes)


def notes_on_singular(design: Design, solution: GeneralizedSolution) -> Iterator[str]:
    """Random effects without variance, or perfectly correlated."""
    for k, singular in enumerate(solution.singular):
        if singular:
            words = singular_words(design, k, solution.factors[k])
            yield words if solution.prior is not None else f"{words} A weak prior avoids it: prior=cl.prior.Weak()."


def _categories(design: Design) -> Iterator[str]:
    """Categories of an ordered outcome that do not occur."""
    outcome = design.outcome
    if outcome is None or outcome.categories is None or outcome.learnt.kind != "labels":
        return
    known = {str(name) for name in outcome.categories}
    absent = [str(name) for name in design.columns.categories(outcome.name) if str(name) not in known]
    if absent:
        yield (
            f"No row has the outcome {', '.join(absent)}: the model knows only the categories that occur, and gives "
            "the others no probability."
        )


def _integration(design: Design, solution: GeneralizedSolution) -> Iterator[str]:
    """What is doubtful about the approximation of the likelihood."""
    used = solution.quadrature
    if used.kind in ("pql", "mql"):
        yield (
            f"{used.kind.upper()} is for comparison: with few answers per cluster it makes variances and coefficients "
            "too small. Leave `quadrature` out for the best approximation that is possible."
        )
    if used.kind == "laplace" and used.stable is None and design.factors and _answers_per_level(design) < FEW_ANSWERS:
        known = design.is_single and len(design.factors[0].z) <= 3
        remedy = "Leave `quadrature` out" if known else "Check the estimates by a parametric bootstrap, fit.bootstrap()"
        yield (
            f"The Laplace approximation may be poor here: levels have {_answers_per_level(design):.2g} answers on "
            f"average, each with few possible values. {remedy}."
        )


def _answers_per_level(design: Design) -> float:
    """Trials per level of the factor with most levels, on average; infinite for outcomes with many possible values."""
    outcome = design.outcome
    if outcome is None or design.asked is None or design.asked.family.kind not in ("binary", "ordered"):
        return np.inf
    return float(outcome.size.sum()) / max(factor.n_levels for factor in design.factors)
