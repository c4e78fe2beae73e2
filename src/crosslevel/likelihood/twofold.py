"""The factor of M with twice the digits, for models whose random effects vary so much that doubles lack them.

Rounding enters log|M| with the largest element of M and r^2 with the sums of squares that random effects explain, both
about Lambda'A Lambda; where that is 10^8 times the residuals, the deviance has lost eight digits, and more where the
effects of factors nearly add up to each other. Random effects dwarf the residual where they reproduce most of the
outcome, and where slopes of a predictor far from zero are uncorrelated with the intercepts.
"""

import numpy as np

from crosslevel.design.crossing import Crossing
from crosslevel.likelihood.elimination import EliminationPlan, Place
from crosslevel.likelihood.factorised import Factorised
from crosslevel.types import FloatArray, IntArray

LARGE = 1e3
"""Variance of Z b on some column, relative to the residual's, from which doubles are not enough."""

MOST_COLUMNS = 1000
"""Random effects up to which it is affordable; beyond, the sums of squares are those of doubles."""


def column_sizes(crossing: Crossing, weights: tuple[FloatArray, ...]) -> tuple[FloatArray, ...]:
    """For each factor (q, 1) the root mean square of the columns of Z, over all rows."""
    totals = (np.einsum("jii,j->i", block, weight) for block, weight in zip(crossing.diagonal, weights, strict=True))
    return tuple(np.sqrt(total / crossing.n_rows)[:, None] for total in totals)


def needs_twofold(plan: EliminationPlan, sizes: tuple[FloatArray, ...], factors: tuple[FloatArray, ...]) -> bool:
    """Whether random effects vary so much more than the residuals that doubles are not enough; see `column_sizes`."""
    if plan.n_columns > MOST_COLUMNS:
        return False
    return any((np.abs(factor) * size).max() > LARGE**0.5 for factor, size in zip(factors, sizes, strict=True))


def factorise_twofold(
    crossing: Crossing, plan: EliminationPlan, weights: tuple[FloatArray, ...], factors: tuple[FloatArray, ...]
) -> tuple[Factorised, FloatArray, FloatArray]:
    """L with L L' = M, L^-1 Lambda'Z'[X y] (N, p + 1) and [X y]'V^-1 [X y] (p + 1, p + 1), rounded at the end only."""
    from crosslevel.kernels.first_use import announce_compilation
    from crosslevel.kernels.twofold import eliminate_twofold, scale_blocks, subtract_inner

    announce_compilation("twofold")
    symbolic, n_dense, p1 = plan.symbolic, plan.n_dense, crossing.p + 1
    diagonal, rows = np.zeros((symbolic.n_diagonal, 2)), np.zeros((symbolic.n_rows, 2))
    dense, half = np.zeros((n_dense * n_dense, 2)), np.zeros((plan.n_columns * p1, 2))
    for k, (place, block, factor) in enumerate(zip(plan.places, crossing.diagonal, factors, strict=True)):
        buffer = dense if place.dense else diagonal
        scale_blocks(block, factor, factor, _block_places(place, len(block)), place.stride, 1, 1.0, buffer)
        first = (plan.offset[k] + np.arange(len(block)) * len(factor)) * p1
        scale_blocks(crossing.image[k], factor, np.eye(p1), first, p1, 1, 0.0, half)
    for (k, m), where in plan.pair_places.items():
        block, buffer = crossing.pairs[k, m].block, dense if where.dense else rows
        scale_blocks(block, factors[k], factors[m], where.place, where.step_k, where.step_l, 0.0, buffer)
    weight = np.concatenate([np.empty(0), *(weights[k] for k in plan.order)])
    log_det = eliminate_twofold(*symbolic.arrays, symbolic.owner, weight, p1, diagonal, rows, dense, half)

    each, remainder = np.empty(plan.n_columns), np.empty((p1, p1))
    for k, own in enumerate(weights):
        each[plan.rows(k)] = np.repeat(own, plan.sizes[k])
    subtract_inner(half, each, crossing.gram, remainder)
    factorised = Factorised(
        plan=plan, weights=weights, weight=weight, diagonal=diagonal[:, 0].copy(), rows=rows[:, 0].copy(),
        dense=dense[:, 0].reshape(n_dense, n_dense).copy(), log_det=float(log_det),
    )  # fmt: skip
    return factorised, half[:, 0].reshape(plan.n_columns, p1).copy(), remainder


def _block_places(place: Place, n_levels: int) -> IntArray:
    """Where the diagonal blocks of a factor's levels begin (J,)."""
    return np.asarray(place.base + np.arange(n_levels) * place.step)
