"""What a user should know of a fit beyond its numbers: in words, each with what to do."""

import numpy as np

from crosslevel.design import Design
from crosslevel.design.reduced import random_basis
from crosslevel.likelihood.fixed_scale import FixedScaleDeviance
from crosslevel.solve import NEGLIGIBLE, Solution
from crosslevel.types import FloatArray

ROUGH = 0.05
"""Monte-Carlo error of a variance parameter, in standard errors, that deserves to be known."""

SINGULAR = "Singular fit: "
"""How the notes on singular fits begin."""

FEW_CLUSTERS = 10
"""Fewer clusters than this leave the variances between them largely to chance."""


def notes_on(design: Design, solution: Solution) -> tuple[str, ...]:
    """Notes on columns left out, rows dropped, singular fits and few clusters."""
    notes = notes_on_rows(design)
    if design.weights is not None and design.weights.concern is not None:
        notes.append(design.weights.concern)
    if design.residual is not None and solution.criterion.residual.at_bound(solution.phi):
        notes.append(
            f"The residual correlation within {design.residual.within} is estimated as zero, the least that this "
            "structure allows, and has no standard error. Leave it out, or use one that can be negative (AR1)."
        )
    if isinstance(solution.criterion, FixedScaleDeviance) and solution.criterion.is_least(solution.minimum.state):
        notes.append(
            "The residual variance is estimated as zero: the known covariances leave nothing of the rows' differences. "
            "The other estimates are those of a model without residuals."
        )
    if solution.prior is not None:
        notes.append(
            f"The random effects' covariances are the posterior's mode with {solution.prior.covariance_words}: the "
            "log-likelihood is below its maximum, and tests that compare maxima are not exact."
        )
    notes += notes_on_singular(design, solution)
    if solution.iterative is not None and solution.iterative.theta_error > ROUGH:
        notes.append(
            "The Monte-Carlo error of the iterative algebra exceeds a twentieth of a variance parameter's standard "
            "error. Where it fits into memory, algebra='exact' has none."
        )
    notes += notes_on_clusters(design)
    return tuple(notes)


def notes_on_clusters(design: Design) -> list[str]:
    """Notes on few clusters."""
    return [
        f"Only {factor.n_levels} clusters{'' if design.is_single else f' of {factor.name}'}: the variances between "
        f"them are estimated from {factor.n_levels} values. Report intervals, and keep cluster-level predictors to one "
        "or none."
        for factor in design.factors
        if factor.n_levels < FEW_CLUSTERS and not factor.structure.fixed.all()
    ]


def notes_on_rows(design: Design) -> list[str]:
    """Notes on columns left out and rows dropped."""
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
    return notes


def notes_on_singular(design: Design, solution: Solution) -> list[str]:
    """For each singular factor its random effects without variance, or perfectly correlated, and what to simplify."""
    bases, factors = solution.criterion.bases, solution.at.factors
    return [
        singular_words(design, k, np.linalg.solve(bases[k], factors[k]))
        for k, singular in enumerate(solution.singular)
        if singular
    ]


def singular_words(design: Design, k: int, factor: FloatArray) -> str:
    """Words for factor k of a singular fit, whose covariance is factor factor' (q, q) in the units of the data."""
    grouping = design.factors[k]
    names, group = design.effects_of(grouping), grouping.name
    # of the standardised effects, whatever axes the search ended on
    _, standard = random_basis(design.products, grouping.z, grouping.structure, design.constant)
    factor = standard @ factor
    spread = np.where(grouping.structure.fixed, np.inf, np.sqrt(np.einsum("ij,ij->i", factor, factor)))
    zero = [name for name, size in zip(names, spread, strict=True) if size < NEGLIGIBLE]
    if zero:
        return _without_variance(zero, names, group, alone=design.is_single)
    for kind, columns in zip(grouping.structure.kinds, grouping.structure.columns, strict=True):
        rank = int(np.count_nonzero(np.linalg.svd(factor[columns], compute_uv=False) >= NEGLIGIBLE))
        if rank < len(columns) and not kind.fixed:
            members = [names[j] for j in columns]
            if not kind.free:
                return _tied(members, rank, group)
            slopes = np.where(grouping.z[columns] == design.constant, np.inf, spread[columns])
            return _perfectly_correlated(members, members[int(np.argmin(slopes))], rank, group)
    raise AssertionError("a singular fit has a block without full rank")


def _tied(members: list[str], rank: int, group: str) -> str:
    """Words for a structure whose correlation has reached its bound."""
    return (
        f"{SINGULAR}the correlation between the random effects {', '.join(members)} of {group} is at its bound, so "
        f"that they vary in only {rank} of {len(members)} directions. Compare with uncorrelated effects (diag), or "
        "with one effect for all of them."
    )


def _without_variance(zero: list[str], names: tuple[str, ...], group: str, *, alone: bool) -> str:
    """Words for variances that are estimated as zero."""
    which = f"variance of {zero[0]}" if len(zero) == 1 else f"variances of {', '.join(zero)}"
    told = f"{SINGULAR}the estimated {which} between clusters of {group} {'is' if len(zero) == 1 else 'are'} zero."
    if len(zero) == len(names) and not alone:
        return f"{told} Leave the random term out; the other estimates hardly change."
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
        f"{SINGULAR}{told}; the data do not support so rich a random term for {group}. "
        f"Drop the least variable slope, {weakest}, or its correlations (||), and compare the fits."
    )
