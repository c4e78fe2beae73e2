"""Whether the parameters of tied random effects can be told apart, and from the residual variance."""

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.errors import DesignError
from crosslevel.types import FloatArray

CONFOUNDED = 1e-9
"""Least eigenvalue of an information matrix with a diagonal of one that says that it is singular."""


def uneven_theta(structures: tuple[BlockStructure, ...]) -> FloatArray:
    """Theta (k,) at which all standard deviations and correlations differ."""
    return np.asarray(0.7 + 0.3 * np.sin(1.0 + np.arange(sum(structure.n_theta for structure in structures))))


def check_told_apart(information: FloatArray) -> None:
    """Refuse structures of which two members, with different residual variances, give the rows one covariance.

    Parameters
    ----------
    information : (k, k) on theta at `uneven_theta`, with sigma profiled out: for such structures it is singular
        everywhere.

    Raises
    ------
    DesignError : it is singular.
    """
    size = np.sqrt(np.maximum(np.diag(information), 1e-300))
    if np.linalg.eigvalsh(information / np.outer(size, size))[0] < CONFOUNDED:
        raise DesignError(
            "`formula` has random effects whose variances and correlations cannot be told apart from the residual "
            "variance: the rows of a cluster have the same covariance for several values of them. "
            "Choose a structure with fewer parameters, drop random effects, or add rows per cluster."
        )
