"""A model with one grouping factor: reduced cross-products -> criterion -> minimum -> Solution."""

from dataclasses import replace

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.design.reduced import Reduced
from crosslevel.likelihood.profiled import ProfiledDeviance
from crosslevel.optimise import MAX_STEPS, TOLERANCE, Status
from crosslevel.prior import Weak
from crosslevel.solve.penalised import lowest_with_prior
from crosslevel.solve.search import lowest
from crosslevel.solve.solution import Solution, in_data_units, polish
from crosslevel.solve.starts import (
    AGAIN,
    EQUAL,
    FEW_PER_EFFECT,
    SPARSE_MORE,
    SPARSE_ROWS,
    START,
    equal_variances,
    tied,
    unlike,
)
from crosslevel.solve.told_apart import check_told_apart, uneven_theta
from crosslevel.types import FloatArray

FEW_CLUSTERS, SPARSE_CLUSTERS = 8, 200
"""With no more clusters than the first, or no more than the second and few rows, there can be several minima."""


def solve(
    reduced: Reduced,
    *,
    reml: bool,
    sigma: float | None = None,
    start: FloatArray | None = None,
    prior: Weak | None = None,
    tolerance: float = TOLERANCE,
    max_steps: int = MAX_STEPS,
) -> Solution:
    """Fit a linear mixed model to its reduced cross-products.

    Parameters
    ----------
    reduced : cross-products of the model.
    reml : restricted rather than full likelihood.
    sigma : residual standard deviation in the units of the data, if it is known.
    start : (k,) working theta to start from; by default one scoring step in Psi from equal variances, and more points
        where the data are so sparse that the deviance can have several minima.
    prior : of the relative covariances, whose mode is wanted; None for maximum likelihood.
    tolerance, max_steps : see `optimise.minimise`.

    Raises
    ------
    CrosslevelError : less than one step.
    DesignError : variances that the design cannot tell apart.
    """
    known = None if sigma is None else sigma / float(reduced.coordinates.scale[-1])
    criterion = ProfiledDeviance(reduced=reduced, reml=reml, sigma=known)
    if not reduced.structure.additive.all():
        _check_told_apart(criterion)
    starts = starting_thetas(criterion) if start is None else (start,)
    if prior is not None and prior.holds_covariances:
        found = lowest_with_prior(criterion, starts, prior, tolerance=tolerance, max_steps=max_steps)
        return replace(in_data_units(criterion, found), prior=prior)
    again = another_start(criterion) if start is None and len(starts) == 1 else None
    criterion, minimum = lowest(criterion, starts, again=again, tolerance=tolerance, max_steps=max_steps)
    if minimum.status is Status.CONVERGED:
        minimum = polish(criterion, minimum)
    return in_data_units(criterion, minimum)


def starting_thetas(criterion: ProfiledDeviance) -> tuple[FloatArray, ...]:
    """Where to start: one point, or several where minima may be several.

    They may where rows or clusters are few, and where the effects' means are not estimated; not with many clusters.
    """
    structure = criterion.structure
    first = starting_theta(criterion)
    if not structure.additive.all():
        return first, *tied(structure, lambda theta: criterion.value(theta).deviance)
    return (first,) if has_one_minimum(criterion.reduced) else (first, *more_starts(structure))


def more_starts(structure: BlockStructure) -> tuple[FloatArray, ...]:
    """Where to start besides, if effects that are free of each other may have several minima: (k,) each."""
    equal = (equal_variances((structure,), variance) for variance in EQUAL)
    return *equal, *(structure.nearest(factor) for factor in unlike(structure.q))


def another_start(criterion: ProfiledDeviance) -> FloatArray | None:
    """Where to start once more if the minimum is singular; None where clusters are enough for the effects."""
    enough = len(criterion.reduced.multiplicity) >= FEW_PER_EFFECT * criterion.structure.q
    return None if enough else equal_variances(criterion.structures, AGAIN)


def has_one_minimum(reduced: Reduced) -> bool:
    """Whether the deviance of effects that are free of each other is not expected to have several minima."""
    q, n_clusters = reduced.structure.q, len(reduced.multiplicity)
    few_rows = reduced.n_rows < SPARSE_ROWS * q * n_clusters + SPARSE_MORE
    return (reduced.anchored and n_clusters > FEW_CLUSTERS and not few_rows) or n_clusters > SPARSE_CLUSTERS


def _check_told_apart(criterion: ProfiledDeviance) -> None:
    """Refuse a structure of which two members, with different residual variances, give the rows one covariance."""
    theta = uneven_theta(criterion.structures)
    at = criterion.value(theta)
    half = criterion.structure.factor_gradient(theta) @ at.factor.T
    check_told_apart(at.psi_derivatives.information(half + half.transpose(0, 2, 1)), criterion.structures)


def starting_theta(criterion: ProfiledDeviance) -> FloatArray:
    """One scoring step in Psi from equal standardised variances (MINQUE), kept positive definite."""
    structure = criterion.structure
    at = criterion.value(equal_variances((structure,), START))
    sums = at.psi_derivatives

    rows, columns = np.nonzero(np.tril(structure.mask))
    directions = np.zeros((len(rows), structure.q, structure.q))
    index = np.arange(len(rows))
    directions[index, rows, columns] = 1.0
    directions[index, columns, rows] = 1.0
    information = sums.information(directions)
    information += np.diag(1e-6 * np.diag(information) + 1e-300)
    gradient = np.tensordot(directions, sums.score, axes=([1, 2], [0, 1]))
    psi = at.factor @ at.factor.T - np.tensordot(np.linalg.solve(information, gradient), directions, axes=1)
    values, vectors = np.linalg.eigh(psi)
    return structure.nearest(vectors * np.sqrt(np.maximum(values, 1e-2 * START)))


def working_factor(structure: BlockStructure, basis: FloatArray, theta: FloatArray) -> FloatArray:
    """Lambda (q, q) in the working coordinates of `basis` of a theta (k,) in the units of the data."""
    return np.asarray(basis @ structure.factor(theta))
