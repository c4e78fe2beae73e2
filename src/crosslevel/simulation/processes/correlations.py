"""Correlations of a simulated process: fixed, or drawn anew for every replication."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import beta as beta_function

from crosslevel.errors import CrosslevelError
from crosslevel.simulation.processes.amounts import is_number
from crosslevel.types import FloatArray, IntArray

ROUNDING = 1e-10
"""How far below zero a pivot of a correlation matrix may come out by rounding."""


@dataclass(frozen=True, kw_only=True)
class RandomCorrelation:
    """A correlation matrix drawn anew for every replication, positive and negative elements equally likely.

    Its density is a power of its determinant, and each element r is 2 Beta(b, b) - 1, so that E|r| = 1 / (b B(1/2, b)).
    Partial correlations of order k are 2 Beta(b - k/2, b - k/2) - 1, from which its Cholesky factor follows.

    Attributes
    ----------
    mean_absolute : E|r|, between 0 and 1. Among K variables it can be at most that of b = (K - 2)/2.

    Source
    ------
    Joe (2006), J. Multivariate Analysis 97: 2177-2189; Lewandowski, Kurowicka & Joe (2009), ibid. 100: 1989-2001.

    Examples
    --------
    >>> round(RandomCorrelation(mean_absolute=0.33).b, 3)
    2.662
    """

    mean_absolute: float = 0.33

    def __post_init__(self) -> None:
        if not (is_number(self.mean_absolute) and 0.0 < self.mean_absolute < 1.0):
            raise CrosslevelError(
                f"`mean_absolute` of RandomCorrelation is {self.mean_absolute!r}; it must lie between 0 and 1."
            )

    @cached_property
    def b(self) -> float:
        """Parameter of the beta distribution."""
        return float(brentq(lambda b: mean_absolute(b) - self.mean_absolute, 1e-9, 1e9, xtol=1e-12))

    def check(self, size: int, argument: str) -> None:
        """Refuse matrices that are too large for so strong correlations.

        Raises
        ------
        CrosslevelError : no such distribution.
        """
        if size > 2 and self.b <= 0.5 * (size - 2):
            raise CrosslevelError(
                f"`{argument}` asks for random correlations of mean size {self.mean_absolute:g} among {size} variables;"
                f" that many can have less than {mean_absolute(0.5 * (size - 2)):.3f}. Choose a smaller value."
            )

    def root(self, size: int, rng: np.random.Generator) -> FloatArray:
        """Lower Cholesky factor (size, size) of a new matrix."""
        out, left = np.zeros((size, size)), np.ones(size)
        for k in range(size):
            out[k, k] = np.sqrt(left[k])
            if k + 1 < size:
                shape = self.b - 0.5 * k
                partial = 2.0 * rng.beta(shape, shape, size - k - 1) - 1.0
                out[k + 1 :, k] = partial * np.sqrt(left[k + 1 :])
                left[k + 1 :] *= 1.0 - partial**2
        return out


Correlation: TypeAlias = float | ArrayLike | RandomCorrelation
"""One correlation of all pairs, a matrix, or random ones."""


def mean_absolute(b: float) -> float:
    """E|r| of r = 2 Beta(b, b) - 1: 1 / (b B(1/2, b)).

    Examples
    --------
    >>> round(mean_absolute(1.0), 12)  # uniform from -1 to 1
    0.5
    """
    return float(1.0 / (b * beta_function(0.5, b)))


def plain_correlation(given: object) -> object:
    """A correlation as it can be compared and printed: a matrix as tuples of numbers, all else as it is."""
    if isinstance(given, (np.ndarray, list, tuple)) and all(
        isinstance(row, (np.ndarray, list, tuple)) for row in given
    ):
        return tuple(tuple(np.asarray(row).tolist()) for row in given)
    return given


def fixed_root(given: object, blocks: IntArray, names: Sequence[str], argument: str) -> FloatArray:
    """Lower root (K, K) of a correlation matrix that is given, whether or not it is singular.

    Parameters
    ----------
    given : one correlation for all pairs of a block, or a matrix (K, K).
    blocks : (K,) variables of different blocks are uncorrelated.
    names : of the variables.
    argument : what to call it in messages.

    Raises
    ------
    CrosslevelError : it is no correlation matrix, or correlates variables of different blocks.
    """
    size, shown = len(names), ", ".join(names)
    try:
        matrix = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise CrosslevelError(_wanted(argument, given)) from None
    if matrix.ndim == 0 and not (is_number(given) and -1.0 <= matrix <= 1.0):
        raise CrosslevelError(_wanted(argument, given))
    same = blocks[:, None] == blocks[None, :]
    if matrix.ndim == 0:
        matrix = np.where(same, matrix, 0.0)
        np.fill_diagonal(matrix, 1.0)
    if matrix.shape != (size, size):
        raise CrosslevelError(
            f"`{argument}` needs a matrix of shape {(size, size)}, for {shown}; got one of shape {matrix.shape}."
        )
    proper = np.isfinite(matrix).all() and np.allclose(matrix, matrix.T, rtol=0.0, atol=ROUNDING)
    if not proper or np.any(np.abs(np.diag(matrix) - 1.0) > ROUNDING):
        raise CrosslevelError(f"`{argument}` must be symmetric with ones on its diagonal; got {matrix.tolist()}.")
    if np.any(matrix[~same] != 0.0):
        raise CrosslevelError(
            f"`{argument}` correlates random effects that `formula` keeps apart; those are uncorrelated. Write them in "
            "one term, such as (1 + x | g), or set their correlations to 0."
        )
    return _semidefinite_root(matrix, shown, argument)


def _wanted(argument: str, given: object) -> str:
    return (
        f"`{argument}` is a number, a matrix or RandomCorrelation(...), with correlations from -1 to 1; got {given!r}."
    )


def _semidefinite_root(matrix: FloatArray, shown: str, argument: str) -> FloatArray:
    """Lower factor L of a positive semidefinite matrix L L'; a pivot that is zero up to rounding leaves a column 0."""
    size = len(matrix)
    out = np.zeros((size, size))
    for k in range(size):
        rest = matrix[k:, k] - out[k:, :k] @ out[k, :k]
        if rest[0] > ROUNDING:
            out[k:, k] = rest / np.sqrt(rest[0])
        elif np.any(np.abs(rest) > np.sqrt(ROUNDING)):
            least = float(np.linalg.eigvalsh(matrix)[0])
            raise CrosslevelError(
                f"`{argument}` is impossible for {shown}: no variables have these correlations together (the smallest "
                f"eigenvalue of the matrix is {least:.3g}). Choose smaller ones."
            )
    return out
