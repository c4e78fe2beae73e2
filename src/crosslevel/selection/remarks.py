"""What a user should know of a search beyond its result, in words, each with what to do."""

from typing import TYPE_CHECKING

import numpy as np

from crosslevel.selection.asked import has_many_parameters, is_overfull
from crosslevel.selection.sensitivity import concerns
from crosslevel.solve import NEGLIGIBLE

if TYPE_CHECKING:
    from crosslevel.selection.record import Selection


def remarks_on(selection: "Selection") -> tuple[str, ...]:
    """Notes on the maximal model, the routine, the chosen model, and its sensitivity."""
    return (*_of_maximal(selection), *_of_routine(selection), *concerns(selection.search, selection.sensitivity))


def overfull_words(n_effects: int, n_clusters: int) -> str:
    """What it means that a maximal model has no fewer random effects than clusters."""
    return (
        f"The maximal model has {n_effects} random effects and {n_clusters} clusters: their covariance must be "
        "singular, and what is found is largely chance. The search goes on from uncorrelated effects; write fewer."
    )


def _of_maximal(selection: "Selection") -> list[str]:
    """The maximal model."""
    maximal, place = selection.maximal, selection.search.place
    factor, out = maximal.design.factors[place], []
    if is_overfull(maximal, place):
        out.append(overfull_words(factor.structure.q, factor.n_levels))
    elif has_many_parameters(maximal, place):
        out.append(
            f"The maximal model has {factor.structure.n_theta} variances and covariances and {factor.n_levels} "
            "clusters, which say little of the correlations: report how context effects differ between candidates."
        )
    if not maximal.converged:
        out.append(f"The maximal model: {maximal.status}")
    return out


def _of_routine(selection: "Selection") -> list[str]:
    """Slopes that were dropped for components that are lacking for another reason, and fits that failed."""
    out = []
    blamed = {
        name
        for found in selection.rounds
        if found.by_components
        for name in _without_variance(selection, found.baseline.structure.effects)
    }
    if blamed:
        out.append(
            f"Slopes were dropped because there were fewer principal components than random effects, and what lacks "
            f"variance is {', '.join(sorted(blamed))}, which is never dropped: dropping others does not help. "
            "components='curable' drops slopes only where it does."
        )
    if not selection.fit.converged:
        out.append(f"The chosen model: {selection.fit.status}")
    failed = int(np.count_nonzero(~selection.candidates["converged"]))
    if failed:
        out.append(
            f"{failed} of {len(selection.candidates)} fits did not reach their optimum, so that their criterion may be "
            "too high. Rescale the predictors or raise `max_steps`."
        )
    return out


def _without_variance(selection: "Selection", effects: tuple[str, ...]) -> list[str]:
    """Of uncorrelated effects those that are never dropped and have no variance."""
    search = selection.search
    candidate = search.candidate(search.structure([[unit] for unit in search.units if unit.effects[0] in effects]))
    return [
        unit.name
        for unit in search.units
        if unit.kept and unit.effects[0] in effects and search.variance(candidate, unit.effects[0]) < NEGLIGIBLE**2
    ]
