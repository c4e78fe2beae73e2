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
            f"{design.rows.dropped} of {design.rows.read} rows ({share:.1f} %) were dropped for missing values: {listed}. "
            "If they are not missing at random, impute first."
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
    """Name the random effects without variance, or the correlation that is perfect, and what to simplify."""
    names, group = design.random_names, design.group
    state = solution.minimum.state
    # back from principal axes to standardised effects
    reduced = design.reduced
    factor = reduced.basis @ np.linalg.solve(solution.criterion.reduced.basis, state.factor)
    spread = np.sqrt(np.einsum("ij,ij->i", factor, factor))
    zero = [name for name, size in zip(names, spread, strict=True) if size < NEGLIGIBLE]
    if zero:
        which = "variance of " + ", ".join(zero) if len(zero) == 1 else "variances of " + ", ".join(zero)
        return (
            f"Singular fit: the estimated {which} between clusters of {group} {'is' if len(zero) == 1 else 'are'} zero. "
            f"Leave {' and '.join(zero)} out of the random term; the other estimates hardly change."
        )
    parts = []
    for kind, columns in zip(design.structure.kinds, design.structure.columns, strict=True):
        if not kind.free or len(columns) < 2:
            continue
        block = factor[columns] / spread[columns][:, None]
        left, sizes, _ = np.linalg.svd(block)
        if np.linalg.svd(factor[columns], compute_uv=False).min() >= NEGLIGIBLE:
            continue
        rank = int(np.count_nonzero(np.linalg.svd(factor[columns], compute_uv=False) >= NEGLIGIBLE))
        weakest = names[columns[int(np.argmin(np.where(columns == design.constant, np.inf, spread[columns])))]]
        del left, sizes
        parts.append((len(columns), rank, weakest, tuple(names[k] for k in columns)))
    width, rank, weakest, members = parts[0]
    if width == 2:
        told = f"the random effects of {members[0]} and {members[1]} are perfectly correlated"
    else:
        told = f"the {width} random effects ({', '.join(members)}) vary in only {rank} independent directions"
    return (
        f"Singular fit: {told}; the data do not support so rich a random term for {group}. "
        f"Drop the least variable slope, {weakest}, or its correlations (||), and compare the fits."
    )
