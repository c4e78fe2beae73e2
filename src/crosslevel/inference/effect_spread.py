"""How much conditional modes of random effects vary by themselves, which is less than the random effects do.

Since bhat - b and bhat are uncorrelated, with Var(bhat - b) as in `prediction`,

    Var(bhat_j) = sigma^2 (Psi - B_j) - K_j S K_j',

B_j = [Lambda M^-1 Lambda']_jj the covariance given the data and K_j S K_j' what the coefficients' estimation takes
away. Modes of small clusters vary less: a quantile plot of them mixes distributions of different spread, and modes over
the square root of this are what can be compared. Source: Henderson (1975), Biometrics 31: 423-447; Nobre & Singer
(2007), Biom. J. 49: 863-875.
"""

import numpy as np

from crosslevel.design import Design
from crosslevel.inference.hat_values import prediction_error, refuse_variances
from crosslevel.solve import Solution
from crosslevel.types import FloatArray, IntArray

RANK = 1e-9
"""Share of an effect's variance below which that of its modes is rounding error."""


def mode_covariances(design: Design, solution: Solution) -> tuple[FloatArray, ...]:
    """For each factor (J, q, q) the covariance of its levels' conditional modes, in the units of the data.

    Raises
    ------
    CrosslevelError : sampling weights, or a solution by iterative algebra.
    """
    refuse_variances(design, solution)
    criterion = solution.criterion
    error, given = prediction_error(design, solution), criterion.conditional_covariances(solution.at)
    out = []
    for basis, psi, gain, own in zip(criterion.bases, error.psi, error.gains, given, strict=True):
        taken = gain @ error.root
        covariance = solution.sigma**2 * (psi - own) - taken @ taken.transpose(0, 2, 1)
        back = np.linalg.inv(basis)
        out.append(back @ covariance @ back.T)
    return tuple(out)


def standardised_modes(modes: FloatArray, covariances: FloatArray, variances: FloatArray) -> FloatArray:
    """Modes (J, q) over their standard deviations; NaN where they cannot vary.

    Parameters
    ----------
    modes, covariances : (J, q) and (J, q, q).
    variances : (q,) of the random effects, which tell what is rounding error.
    """
    own = np.einsum("gii->gi", covariances)
    able = own > RANK * variances
    out = np.full(modes.shape, np.nan)
    return np.asarray(np.divide(modes, np.sqrt(np.where(able, own, 1.0)), out=out, where=able))


def mahalanobis(modes: FloatArray, covariances: FloatArray, variances: FloatArray) -> tuple[FloatArray, IntArray]:
    """Squared distances (J,) b'Var(b)^-1 b of modes from zero, and the dimensions (J,) they have.

    In directions in which modes cannot vary there is no distance: where theta is singular there are fewer dimensions.
    """
    unit = np.sqrt(np.where(variances > 0.0, variances, 1.0))
    values, vectors = np.linalg.eigh(covariances / np.outer(unit, unit))
    able = values > RANK
    turned = np.einsum("gij,gi->gj", vectors, modes / unit)
    squares = np.divide(turned**2, values, out=np.zeros_like(values), where=able)
    return squares.sum(axis=1), able.sum(axis=1)
