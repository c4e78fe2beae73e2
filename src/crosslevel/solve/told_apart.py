"""Whether the parameters of tied random effects can be told apart, and from the residual variance."""

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.errors import DesignError
from crosslevel.types import BoolArray, FloatArray, IntArray

CONFOUNDED = 1e-9
"""Least eigenvalue of an information matrix with a diagonal of one that says that it is singular."""

SHARE = 0.01
"""Part of a direction without information that has to be of tied effects."""


def uneven_theta(structures: tuple[BlockStructure, ...]) -> FloatArray:
    """Theta (k,) at which all standard deviations and correlations differ."""
    return np.asarray(0.7 + 0.3 * np.sin(1.0 + np.arange(sum(structure.n_theta for structure in structures))))


def check_told_apart(
    information: FloatArray, structures: tuple[BlockStructure, ...], chosen: IntArray | slice = slice(None)
) -> None:
    """Refuse structures of which two members, with different residual variances, give the rows one covariance.

    Parameters
    ----------
    information : (k, k) on theta at `uneven_theta`, with sigma profiled out: for such structures it is singular
        everywhere.
    structures : for each factor, the blocks that theta parametrises; it is the tied ones that are judged.
    chosen : which of their parameters the information is on.

    Raises
    ------
    DesignError : it is singular.
    """
    tied = np.concatenate([_tied(structure) for structure in structures])[chosen]
    size = np.sqrt(np.maximum(np.diag(information), 1e-300))
    values, vectors = np.linalg.eigh(information / np.outer(size, size))
    if np.any(np.sum(vectors[tied] ** 2, axis=0)[values < CONFOUNDED] > SHARE):
        raise DesignError(
            "`formula` has random effects whose variances and correlations cannot be told apart from the residual "
            "variance: the rows of a cluster have the same covariance for several values of them. "
            "Choose a structure with fewer parameters, drop random effects, or add rows per cluster."
        )


def _tied(structure: BlockStructure) -> BoolArray:
    """(n_theta,) which parameters belong to blocks whose effects are tied."""
    out = np.zeros(structure.n_theta, dtype=bool)
    for kind, part in zip(structure.kinds, structure.parts, strict=True):
        out[part] = not kind.additive
    return out
