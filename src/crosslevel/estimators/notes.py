"""What a user should know of a fit beyond its numbers: in words, each with what to do."""

import numpy as np

from crosslevel.design import Design
from crosslevel.solve import NEGLIGIBLE, Solution

FEW_CLUSTERS = 10
"""Fewer clusters than this leave the variances between them largely to chance."""


def notes_on(design: Design, solution: Solution) -> tuple[str, ...]:
    """Notes on columns left out, rows dropped, singular fits and few clusters."""
    notes = []
    if design.aliased:
        notes.append(
            f"Left out because earlier terms determine them: {', '.join(design.aliased)}. "
            "Their coefficients cannot be estimated; drop them from the formula or recode."
        )
    if design.rows.dropped:
        listed = ", ".join(f"{name} ({count})" for name, count in design.rows.missing.items())
        share = 100.0 * design.rows.dropped / design.rows.read
        notes.append(
            f"{design.rows.dropped} of {design.rows.read} rows ({share:.1f} %) were dropped for missing values: "
            f"{listed}. If they are not missing at random, impute first."
        )
    if solution.is_singular:
        notes.append(_singular(design, solution))
    n_clusters = len(design.products.levels)
    if n_clusters < FEW_CLUSTERS:
        notes.append(
            f"Only {n_clusters} clusters: the variances between them are estimated from {n_clusters} values. "
            "Report intervals, and keep cluster-level predictors to one or none."
        )
    return tuple(notes)


def _singular(design: Design, solution: Solution) -> str:
    """Name the random effects without variance, or those that are perfectly correlated, and what to simplify."""
    names, group = design.random_names, design.group
    # of the standardised effects, whatever axes the search ended on
    turned = solution.criterion.reduced.basis
    factor = design.reduced.basis @ np.linalg.solve(turned, solution.minimum.state.factor)
    spread = np.sqrt(np.einsum("ij,ij->i", factor, factor))
    zero = [name for name, size in zip(names, spread, strict=True) if size < NEGLIGIBLE]
    if zero:
        return _without_variance(zero, names, group)
    for kind, columns in zip(design.structure.kinds, design.structure.columns, strict=True):
        rank = int(np.count_nonzero(np.linalg.svd(factor[columns], compute_uv=False) >= NEGLIGIBLE))
        if kind.free and rank < len(columns):
            members = [names[k] for k in columns]
            slopes = np.where(design.z[columns] == design.constant, np.inf, spread[columns])
            return _perfectly_correlated(members, members[int(np.argmin(slopes))], rank, group)
    raise AssertionError("a singular fit has a block without full rank")


def _without_variance(zero: list[str], names: tuple[str, ...], group: str) -> str:
    """Words for variances that are estimated as zero."""
    which = f"variance of {zero[0]}" if len(zero) == 1 else f"variances of {', '.join(zero)}"
    told = f"Singular fit: the estimated {which} between clusters of {group} {'is' if len(zero) == 1 else 'are'} zero."
    if len(zero) == len(names):
        return f"{told} The estimates are those of an ordinary regression; more clusters may show a difference."
    if zero == ["Intercept"]:
        return f"{told} Keep the random slope only if the outcome's level is known not to differ (0 + ... | {group})."
    slopes = " and ".join(name for name in zero if name != "Intercept")
    return f"{told} Leave {slopes} out of the random term; the other estimates hardly change."


def _perfectly_correlated(members: list[str], weakest: str, rank: int, group: str) -> str:
    """Words for random effects that vary in fewer directions than they are many."""
    if len(members) == 2:
        told = f"the random effects of {members[0]} and {members[1]} are perfectly correlated"
    else:
        told = f"the {len(members)} random effects ({', '.join(members)}) vary in only {rank} independent directions"
    return (
        f"Singular fit: {told}; the data do not support so rich a random term for {group}. "
        f"Drop the least variable slope, {weakest}, or its correlations (||), and compare the fits."
    )
