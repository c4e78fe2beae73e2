"""Where the search for the optimum starts."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.types import FloatArray

START = 0.1
"""Variance of each standardised random effect relative to the residual's, from which the start is computed."""

EQUAL = (0.003, 0.1, 3.0, 100.0)
"""Where minima can be several: relative variances of all standardised random effects to start from,"""

LARGE, SMALL = 100.0, 0.03
"""one effect's variance and the others',"""

CORRELATION = 0.95
"""and the size of correlations, with all patterns of signs that differ in at most one effect."""

MOST_STARTS = 3
"""Tied effects: starts with equal variances, and with unequal ones, beside the one that a scoring step gives."""

Height = Callable[[FloatArray], float]
"""The deviance at a theta."""


def equal_variances(structures: tuple[BlockStructure, ...], variance: float) -> FloatArray:
    """Working theta (k,) of uncorrelated random effects that all have the same relative variance."""
    parts = [structure.nearest(np.sqrt(variance) * np.eye(structure.q)) for structure in structures]
    return np.concatenate([np.zeros(0), *parts])


def unlike(q: int) -> list[FloatArray]:
    """Factors (q, q) with one large variance, and with high correlations; none for a single effect."""
    eye, factors = np.eye(q), []
    for k in range(q if q > 1 else 0):
        factors.append(np.diag(np.sqrt(np.where(eye[k] > 0.0, LARGE, SMALL))))
        signs = 1.0 - 2.0 * eye[k] * (k > 0)
        factors.append(np.column_stack([np.sqrt(CORRELATION) * signs, np.sqrt(1.0 - CORRELATION) * eye]))
    return factors


def tied(structure: BlockStructure, height: Height) -> tuple[FloatArray, ...]:
    """Where to start if effects of a factor are tied, since such deviances often have several minima.

    With equal variances, the correlations that are better than those next to them; and, if variances may differ, the
    best of those with one effect that varies much more or less than the others.
    """
    roots, equal = list(structure.members()), []
    for root in roots:
        equal.append(min((structure.nearest(np.sqrt(variance) * root) for variance in EQUAL), key=height))
    heights = [np.inf, *(height(theta) for theta in equal), np.inf]
    lowest = [k for k in range(len(equal)) if heights[k + 1] <= min(heights[k], heights[k + 2])]
    lowest.sort(key=lambda k: heights[k + 1])

    unequal = []
    if any(kind.scalable and not kind.additive for kind in structure.kinds):
        for k, root in itertools.product(range(structure.q), roots):
            one = np.arange(structure.q)[:, None] == k
            for size in (np.where(one, LARGE, SMALL), np.where(one, SMALL**2, 1.0)):
                unequal.append(structure.nearest(np.sqrt(size) * root))
    unequal = sorted(unequal, key=height)
    return *(equal[k] for k in lowest[:MOST_STARTS]), *unequal[:MOST_STARTS]


def psi_directions(structure: BlockStructure) -> FloatArray:
    """Symmetric directions (k, q, q), one for each element of Psi that may differ from zero."""
    rows, columns = np.nonzero(np.tril(structure.mask))
    directions = np.zeros((len(rows), structure.q, structure.q))
    index = np.arange(len(rows))
    directions[index, rows, columns] = 1.0
    directions[index, columns, rows] = 1.0
    return directions


def scoring_step(
    structures: tuple[BlockStructure, ...],
    factors: Sequence[FloatArray],
    directions: Sequence[FloatArray],
    scores: Sequence[FloatArray],
    information: FloatArray,
) -> FloatArray:
    """Theta after one scoring step in Psi (MINQUE), kept positive definite.

    Parameters
    ----------
    structures, factors : blocks of each grouping factor and its (q, q) Lambda at the point that is left.
    directions : of each factor, those (m, q, q) of its Psi in which it may move.
    scores : for each factor (q, q) S = d deviance / d Psi.
    information : in the directions of all factors, one factor's after the other's.
    """
    information = information + np.diag(1e-6 * np.diag(information) + 1e-300)
    gradient = np.concatenate([np.tensordot(d, s, axes=2) for d, s in zip(directions, scores, strict=True)])
    step = np.split(np.linalg.solve(information, gradient), np.cumsum([len(some) for some in directions])[:-1])
    parts = []
    for structure, factor, some, change in zip(structures, factors, directions, step, strict=True):
        values, vectors = np.linalg.eigh(factor @ factor.T - np.tensordot(change, some, axes=1))
        parts.append(structure.nearest(vectors * np.sqrt(np.maximum(values, 1e-2 * START))))
    return np.concatenate([np.zeros(0), *parts])
