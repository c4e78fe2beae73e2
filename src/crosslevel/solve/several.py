"""A model with any number of grouping factors: Crossing -> criterion -> minimum -> Solution."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from crosslevel.design.crossing import Crossing
from crosslevel.errors import DesignError
from crosslevel.likelihood.blocked import BlockedDeviance
from crosslevel.likelihood.blocked_theta import theta_information
from crosslevel.likelihood.fixed_scale import FixedScaleDeviance
from crosslevel.optimise import MAX_STEPS, TOLERANCE, Status
from crosslevel.prior import Weak
from crosslevel.solve.penalised import lowest_with_prior
from crosslevel.solve.search import lowest
from crosslevel.solve.solution import At, Solution, in_data_units, polish_with_observed
from crosslevel.solve.starts import EQUAL, SPARSE_MORE, SPARSE_ROWS, START, one_factor_large, tied
from crosslevel.solve.starts import equal_variances as equal_variances
from crosslevel.solve.told_apart import check_told_apart, uneven_theta
from crosslevel.types import FloatArray, IntArray

CHEAP = 2000
"""Random effects up to which the search starts from several points, and takes the last digits."""

NOTHING = 1e-13
"""Share of the outcome's sum of squares that counts as no residual: it is rounding error."""

MORE = 3.0
"""Relative variances of the second start in small models."""

FEW_LEVELS = 8
"""With no more levels of some factor, or few rows, there can be several minima."""


def solve_crossing(
    crossing: Crossing,
    *,
    reml: bool,
    copies: tuple[FloatArray, ...] | None = None,
    start: FloatArray | None = None,
    prior: Weak | None = None,
    tolerance: float = TOLERANCE,
    max_steps: int = MAX_STEPS,
) -> Solution:
    """Fit a linear mixed model with any number of grouping factors.

    Parameters
    ----------
    crossing : cross-products of the model.
    reml : restricted rather than full likelihood.
    copies : for each of nested factors (J,) how often each level counts in its parent; None if all count once.
    start : (k,) working theta to start from; by default equal variances, and more points in small models.
    prior : of the relative covariances, whose mode is wanted; None for maximum likelihood.
    tolerance, max_steps : see `optimise.minimise`.

    Raises
    ------
    CrosslevelError : less than one step.
    DesignError : the random effects reproduce the outcome, so that no residual variance is left; or tied effects whose
        variances and correlations the design cannot tell apart.
    """
    criterion = BlockedDeviance.of(crossing, reml=reml, copies=copies)
    if not all(structure.additive.all() for structure in crossing.structures):
        check_tied(criterion)
    small = random_effects(crossing) <= CHEAP
    starts = starting_thetas(criterion, small=small) if start is None else (start,)
    if prior is not None and prior.holds_covariances:
        found = lowest_with_prior(criterion, starts, prior, tolerance=tolerance, max_steps=max_steps)
        check_not_reproduced(crossing, found.state)
        return replace(in_data_units(criterion, found), prior=prior)
    criterion, minimum = lowest(criterion, starts, tolerance=tolerance, max_steps=max_steps)
    check_not_reproduced(crossing, minimum.state)
    if small and minimum.status is Status.CONVERGED:
        minimum = polish_with_observed(criterion, minimum)
    return in_data_units(criterion, minimum)


def check_not_reproduced(crossing: Crossing, at: At) -> None:
    """Refuse an outcome of which the model leaves no residual."""
    if not at.rss > NOTHING * crossing.gram[-1, -1]:
        raise DesignError(
            "`formula` reproduces the outcome exactly by its random effects: the residual variance is zero and the "
            "likelihood has no maximum. Check for an outcome that is constant within the levels of the factors."
        )


def starting_thetas(criterion: BlockedDeviance | FixedScaleDeviance, *, small: bool) -> tuple[FloatArray, ...]:
    """Where to start: equal variances; in small models large ones too, and wherever else there may be minima.

    Minima can be several where rows, or the levels of some factor, are few: then the starts are equal variances of all
    sizes, and one factor's much larger than the others'. For tied effects see `starts.tied`.
    """
    structures, parts, crossing = criterion.structures, criterion.crossing.parts, criterion.crossing
    first = equal_variances(structures, START)
    if not small or not len(first):
        return (first,)
    levels = [(len(d), np.count_nonzero(~s.fixed)) for d, s in zip(crossing.diagonal, structures, strict=True)]
    few_rows = crossing.n_rows < SPARSE_ROWS * sum(count * effects for count, effects in levels) + SPARSE_MORE
    if few_rows or min(count for count, effects in levels if effects) <= FEW_LEVELS:
        starts = [*(equal_variances(structures, variance) for variance in EQUAL), *one_factor_large(structures)]
    else:
        starts = [first, equal_variances(structures, MORE)]
    for structure, part in zip(structures, parts, strict=True):
        if not (structure.additive | structure.fixed).all():
            starts += [_placed(first, part, own) for own in tied(structure, _height(criterion, first, part))]
    return tuple(starts)


def random_effects(crossing: Crossing) -> int:
    """Number of random effects of all factors."""
    return sum(diagonal.shape[0] * diagonal.shape[1] for diagonal in crossing.diagonal)


def _placed(theta: FloatArray, part: slice, own: FloatArray) -> FloatArray:
    """Theta with one factor's part replaced."""
    out = theta.copy()
    out[part] = own
    return out


def _height(
    criterion: BlockedDeviance | FixedScaleDeviance, theta: FloatArray, part: slice
) -> Callable[[FloatArray], float]:
    """The deviance as a function of one factor's part of theta."""
    return lambda own: criterion.value(_placed(theta, part, own)).deviance


def check_tied(criterion: BlockedDeviance, free: IntArray | None = None) -> None:
    """Refuse tied effects that cannot be told apart; by the parameters `free`, all of them if None, the others zero.

    The average information is of one outcome, which may happen to have none on some parameter; random effects with
    variance 1 are therefore added to it: y + Z u.
    """
    crossing, theta = criterion.crossing, uneven_theta(criterion.structures)
    chosen = np.arange(len(theta)) if free is None else free
    theta[np.setdiff1d(np.arange(len(theta)), chosen)] = 0.0
    at, rng = criterion.value(theta), np.random.default_rng(1)
    effects = tuple(rng.normal(size=(*image.shape[:2], 1)) for image in crossing.image)
    added, images = at.product(effects), []
    gram = crossing.gram.copy()
    for u, more, image, weight in zip(effects, added, crossing.image, criterion.weights, strict=True):
        weighted = u * weight[:, None, None]
        with_xy = np.tensordot(weighted, image, axes=([0, 1], [0, 1]))[0]
        gram[-1] += with_xy
        gram[:, -1] += with_xy
        gram[-1, -1] += float(np.sum(weighted * more))
        images.append(np.concatenate([image[:, :, :-1], image[:, :, -1:] + more], axis=2))
    other = replace(criterion, crossing=replace(crossing, image=tuple(images), gram=gram))
    information = theta_information(other.value(theta), theta)[np.ix_(chosen, chosen)]
    check_told_apart(information, criterion.structures, chosen)
