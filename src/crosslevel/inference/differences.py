"""Derivatives by five-point differences, within the range of the data."""

from collections.abc import Callable

import numpy as np

from crosslevel.types import FloatArray

STEP = 2.0**-5
"""First step of differences, as a share of the spread of the data."""

HALVINGS = 26
"""How often the step is halved at most."""

IDLE = 4
"""So many halvings in a row without a better derivative anywhere, and there is no better one."""

SETTLED = 1e-11
"""Relative change between two steps below which differences have settled."""

CENTRAL, ONE_SIDED = (1.0, -8.0, 0.0, 8.0, -1.0), (-25.0, 48.0, -36.0, 16.0, -3.0)
"""Twelve times the weights of the differences at -2 .. 2 and at 0 .. 4 steps."""


def differentiate(
    function: Callable[[FloatArray], FloatArray], x: FloatArray, low: float, high: float, spread: float
) -> tuple[FloatArray, FloatArray]:
    """Derivatives by five-point differences that stay within the data's range where x does.

    Parameters
    ----------
    function : values (..., n) where each x is moved by some shift (n,).
    x : (n,) places.
    low, high, spread : range of the data, and their standard deviation.

    Returns
    -------
    derivative : (..., n), with the step at which it changed least.
    change : (..., n) that change, relative to the largest derivative.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([0.0, 1.0, 2.0])
    >>> slope, _ = differentiate(lambda shift: np.exp(x + shift), x, 0.0, 2.0, 1.0)
    >>> bool(np.max(np.abs(slope / np.exp(x) - 1.0)) < 1e-10)
    True
    """
    best, change, before, idle = np.array(np.nan), np.array(np.inf), np.array(np.nan), 0
    for k in range(HALVINGS):
        now = five_points(function, x, low, high, spread * STEP * 2.0**-k)
        size = np.max(np.abs(now[np.isfinite(now)]), initial=0.0) or 1.0
        moved = np.abs(now - before) / size
        better = moved < change
        best, change = np.where(better, now, best), np.where(better, moved, change)
        before, idle = now, 0 if np.any(better) else idle + 1
        if np.all(change <= SETTLED) or idle == IDLE:
            break
    return best, change


def five_points(
    function: Callable[[FloatArray], FloatArray], x: FloatArray, low: float, high: float, step: float
) -> FloatArray:
    """Differences (..., n) of one step: central, or to one side at the ends of the data."""
    up = (x - 2.0 * step < low) & (x >= low)
    down = (x + 2.0 * step > high) & (x <= high) & ~up
    aside = np.where(up, 1.0, np.where(down, -1.0, 0.0))
    total: FloatArray = np.zeros(1)
    for j in range(5):
        weight = np.where(aside == 0.0, CENTRAL[j], ONE_SIDED[j] * aside)
        found = function(np.where(aside == 0.0, j - 2.0, j * aside) * step)
        total = total + np.where(weight == 0.0, 0.0, weight * found)
    return np.asarray(total / (12.0 * step))
