"""Where the search for the optimum starts."""

import itertools
from collections.abc import Callable

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.types import FloatArray

START = 0.1
"""Variance of each standardised random effect relative to the residual's, from which a start is computed."""

EQUAL = (0.003, 0.1, 3.0, 100.0)
"""Where minima can be several: relative variances of all standardised random effects to start from,"""

LARGE, SMALL = 100.0, 0.03
"""one effect's variance and the others',"""

CORRELATION = 0.95
"""and the size of correlations, with all patterns of signs that differ in at most one effect."""

SPARSE_ROWS, SPARSE_MORE = 3, 10
"""Rows per random effect, and rows in addition, from which on they are not few."""

FEW_PER_EFFECT = 3
"""Clusters per random effect below which a singular minimum is not taken for the lowest without another search,"""

AGAIN = EQUAL[-1]
"""and the relative variance of all standardised random effects that it starts from."""

MOST_STARTS = 3
"""Tied effects: starts with equal variances, and with unequal ones, beside the one that a scoring step gives."""

Height = Callable[[FloatArray], float]
"""The deviance at a theta."""


def equal_variances(structures: tuple[BlockStructure, ...], variance: float) -> FloatArray:
    """Working theta (k,) of uncorrelated random effects that all have the same relative variance."""
    parts = [structure.nearest(np.sqrt(variance) * np.eye(structure.q)) for structure in structures]
    return np.concatenate([np.zeros(0), *parts])


def one_factor_large(structures: tuple[BlockStructure, ...]) -> list[FloatArray]:
    """Thetas (k,) with the variances of one grouping factor large and those of the others small."""
    sizes = np.where(np.eye(len(structures)) > 0.0, LARGE, SMALL)
    return [
        np.concatenate([s.nearest(np.sqrt(v) * np.eye(s.q)) for s, v in zip(structures, row, strict=True)])
        for row in sizes
    ]


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
