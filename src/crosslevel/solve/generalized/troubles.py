"""What is wrong with the estimates of a generalized model, in words: separation, huge effects and variances."""

from collections.abc import Sequence

import numpy as np

from crosslevel.design.response_rows import ResponseRows
from crosslevel.solve.generalized.separation import Separation, find_separation, is_suspected
from crosslevel.solve.generalized.solution import GeneralizedSolution

HUGE = {"logit": 6.0, "probit": 3.5, "cloglog": 6.0, "log": 6.0}
"""Standard deviation of random effects, on the scale of the link, that no population has; on others the first holds."""

HUGE_EFFECT = 15.0
"""Difference in the linear predictor along one column's range that makes probabilities 0 and 1."""

SIMPLER = {"nbinom2": "poisson", "nbinom1": "poisson", "betabinomial": "binomial"}
"""Families, and what they become when the outcome varies no more than that."""

EXACT = 1e8
"""Shape of a positive outcome or precision of a share at which rows do not differ from their expected outcomes."""

REMEDY = "Use prior=cl.prior.Weak(), which keeps estimates finite; or merge categories, or leave the predictor out."


def troubles(solution: GeneralizedSolution, names: Sequence[str], groups: Sequence[str]) -> tuple[str, ...]:
    """Sentences about separation, huge effects and huge variances.

    A cluster whose outcomes are all alike is no trouble, and is not told.

    Parameters
    ----------
    solution : the fit.
    names : (p,) of the coefficients.
    groups : of the grouping factors.
    """
    rows = solution.criterion.rows
    out: list[str] = []
    found = separation_of(solution)
    if found is not None:
        out.append(separation_words(rows, found, names, has_prior=solution.prior is not None))
    elif (words := _huge_effects(solution, names)) is not None:
        out.append(words)
    if found is None or found.kind != "complete":  # then nothing is left for the random effects to tell
        out += _huge_variances(solution, groups)
    return (*out, *_reproduced(solution), *_limits(solution))


def separation_of(solution: GeneralizedSolution) -> Separation | None:
    """How the fixed predictors separate the outcomes; it is looked for where fitted values are extreme."""
    rows = solution.criterion.rows
    beta = solution.parameters[solution.criterion.layout.beta]
    return find_separation(rows) if is_suspected(rows, beta) else None


def separation_words(
    rows: ResponseRows, found: Separation, names: Sequence[str], *, has_prior: bool, remedy: str = REMEDY
) -> str:
    """Which predictors separate the outcomes, where, and what to do."""
    by_prior = "The likelihood alone has no maximum: these estimates exist by the prior, and depend on it."
    n = int(np.count_nonzero(rows.counted > 0.0))
    named = ", ".join(names[j] for j in found.columns)
    low, high, any_end = _ends(rows)
    what = {True: high, False: low, None: any_end}[found.upper]
    several = len(found.columns) > 1
    subject = f"{named} together predict" if several else f"{named} predicts"
    if found.kind == "complete":
        told = f"Complete separation: {subject} every one of the {n:,} outcomes"
        if not several and found.below is not None and found.above is not None:
            told += (
                f" (it is {_place(found, found.below)} for one outcome and {_place(found, found.above)} for the other)"
            )
        if has_prior:
            return f"{told}. {by_prior}"
        end = "None of these coefficients has a finite estimate" if several else "No finite coefficient is the best one"
        return (
            f"{told}. {end}; those shown are where the search ended, and their standard errors mean nothing. {remedy}"
        )
    told = f"Quasi-complete separation: {subject} {found.n_rows:,} of {n:,} outcomes beyond doubt ({what})"
    if not several and found.below is not None:
        value = _edge(rows, found)
        told += f", those with {named} {value}" if value else ""
    if has_prior:
        return f"{told}. {by_prior}"
    infinite = "Coefficients grow" if several else "Its coefficient grows"
    return (
        f"{told}. {infinite} without end; the values shown are where the search ended, and their standard errors and "
        f"tests mean nothing, while the other coefficients are valid. {remedy}"
    )


def _ends(rows: ResponseRows) -> tuple[str, str, str]:
    """Words for outcomes at the lower end of their range, at the upper, and at either."""
    if rows.family.kind == "count":
        return "all zero", "all zero", "all zero"
    if rows.family.kind == "ordered":
        return "all in the lowest category", "all in the highest category", "each in one category"
    return "all 0", "all 1", "each 0 or each 1"


def _place(found: Separation, value: float) -> str:
    """A bound on one side of the cut."""
    assert found.below is not None
    assert found.above is not None
    return f"at most {value:.6g}" if value == found.below else f"at least {value:.6g}"


def _edge(rows: ResponseRows, found: Separation) -> str:
    """Where the rows that are predicted lie: above or below the cut, or at the one other value of a dummy variable."""
    j = found.columns[0]
    assert found.below is not None
    column = rows.x[:, j] * rows.coordinates.scale[j] + rows.coordinates.shift[j]
    values = np.unique(np.round(column, 9))
    cut = 0.5 * (found.below + found.above) if found.above is not None else found.below
    if len(values) == 2:
        one = values[np.abs(values - cut) > 1e-6]
        return f"= {one[0]:.6g}" if len(one) == 1 else ""
    above, below = np.any(column > cut + 1e-9), np.any(column < cut - 1e-9)
    if above and below and found.upper is not None:
        return f"other than {cut:.6g}"
    return f"above {cut:.6g}" if above and not below else f"below {cut:.6g}" if below and not above else ""


def _huge_effects(solution: GeneralizedSolution, names: Sequence[str]) -> str | None:
    """Words for coefficients that make probabilities zero and one over their column's range without separation."""
    rows = solution.criterion.rows
    if rows.family.kind not in ("binary", "ordered") or not rows.n:
        return None
    working = solution.parameters[solution.criterion.layout.beta]
    reach = np.abs(working) * np.ptp(rows.x, axis=0)
    huge = np.flatnonzero(reach > HUGE_EFFECT)
    if not len(huge):
        return None
    named = ", ".join(f"{names[int(j)]} (from end to end {reach[j]:.1f} on the {rows.family.link} scale)" for j in huge)
    return (
        f"Huge effects: {named}. Probabilities go from 0 to 1 along these predictors, so that few rows tell how large "
        "the coefficients are. Look for outliers and units; profile intervals are better than standard errors here."
    )


def _reproduced(solution: GeneralizedSolution) -> list[str]:
    """Words for outcomes of which the model leaves nothing to chance, so that its likelihood has no maximum."""
    family = solution.criterion.rows.family
    if family.kind not in ("positive", "share") or not solution.shape[0] > EXACT:
        return []
    (name,) = family.shape_names()
    return [
        f"The model reproduces the outcome: the {name} is {solution.shape[0]:.3g}, so that rows do not differ from "
        "what is expected of them, and the likelihood grows without end. There are too many random effects for the "
        "rows, or the outcome is constant within clusters. Leave slopes out, or add rows per cluster."
    ]


def _limits(solution: GeneralizedSolution) -> list[str]:
    """Words for shape parameters that have gone to where their family becomes another."""
    shape = solution.criterion.layout.shape
    family, held = solution.criterion.rows.family, np.diag(solution.working_vcov)[shape] == 0.0
    simpler = SIMPLER.get(family.name)
    if simpler is None or not held.any():
        return []
    (name,) = family.shape_names()
    return [
        f"No overdispersion: the {name} has gone to its limit, {solution.shape[0]:.3g}, where the distribution is the "
        f"one of family={simpler!r}. It has no standard error; the other estimates are those of that family."
    ]


def _huge_variances(solution: GeneralizedSolution, groups: Sequence[str]) -> list[str]:
    """Words for random effects that vary so much that clusters are all 0 or all 1."""
    rows = solution.criterion.rows
    if rows.family.kind not in ("binary", "ordered", "count"):
        return []
    limit = HUGE.get(rows.family.link, HUGE["logit"])
    out = []
    for term, eigenvalues, group in zip(rows.terms, solution.eigenvalues, groups, strict=True):
        largest = float(np.sqrt(eigenvalues.max(initial=0.0)))
        if largest < limit or not term.structure.n_theta:
            continue
        out.append(
            f"Huge variance: standardised random effects of {group} have a standard deviation of {largest:.1f} on the "
            f"{rows.family.link} scale, so that nearly all outcomes within a level are alike. The estimate rests on "
            "the few levels with mixed outcomes. Use quadrature with many nodes, or prior=cl.prior.Weak()."
        )
    return out
