"""What a user should know of a generalized fit beyond its numbers: in words, each with what to do."""

from collections.abc import Iterator

import numpy as np

from crosslevel.design import Design
from crosslevel.estimators.notes import notes_on_clusters, notes_on_rows, singular_words
from crosslevel.solve.generalized.separation import Separation, find_separation, is_suspected
from crosslevel.solve.generalized.solution import GeneralizedSolution

FEW_ANSWERS = 10.0
"""Trials per cluster, on average, below which the Laplace approximation is doubted where nothing tells its error."""


def notes_on(design: Design, solution: GeneralizedSolution) -> tuple[str, ...]:
    """Notes on columns left out, rows dropped, separation, singular fits, few clusters and the approximation."""
    notes = notes_on_rows(design)
    if design.weights is not None and design.weights.concern is not None:
        notes.append(design.weights.concern)
    notes += _separation(design, solution)
    notes += _singular(design, solution)
    notes += notes_on_clusters(design)
    notes += _categories(design)
    notes += _integration(design, solution)
    return tuple(notes)


def _separation(design: Design, solution: GeneralizedSolution) -> Iterator[str]:
    """Which predictors separate the outcomes, and the remedy."""
    rows, layout = solution.criterion.rows, solution.criterion.layout
    if not is_suspected(rows, solution.parameters[layout.beta]):
        return
    found = find_separation(rows)
    if found is not None:
        yield separation_words(design, found, has_prior=solution.prior is not None)


def separation_words(design: Design, found: Separation, *, has_prior: bool) -> str:
    """What separates the outcomes of how many rows, and what to do about it."""
    names = [design.fixed_names[j] for j in found.columns]
    what = names[0] if len(names) == 1 else f"the combination of {', '.join(names)}"
    who = "all rows" if found.kind == "complete" else f"{found.n_rows:,} rows"
    end = {True: ", all at the largest outcome", False: ", all at the smallest outcome", None: ""}[found.upper]
    where = ""
    if found.below is not None and found.above is not None and len(names) == 1:
        below, above = found.below, found.above
        where = f" (beyond {below:g})" if below == above else f" (between {below:g} and {above:g} nothing is observed)"
    told = f"{found.kind.capitalize()} separation: {what}{where} predicts the outcome of {who} beyond doubt{end}"
    if has_prior:
        return f"{told}. The likelihood alone has no maximum: the estimates exist by the prior, and depend on it."
    many = "coefficient is" if len(names) == 1 else "coefficients are"
    return (
        f"{told}, so that the likelihood has no maximum: its {many} infinite, and what is printed is where the search "
        "stopped. Leave it out or combine categories, or write prior=cl.prior.Weak()."
    )


def _singular(design: Design, solution: GeneralizedSolution) -> Iterator[str]:
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
    if used.stable is False:
        yield (
            f"With {used.nodes} quadrature nodes the log-likelihood still changes by {used.change:.2g} when more are "
            "taken, and more are too many for this model. Smaller differences of log-likelihoods mean nothing."
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
