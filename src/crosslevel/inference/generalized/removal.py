"""How much the data of a generalized model tell about variances that are tested to be zero.

The metric of the cone is the information on Psi at the fit without them. It is that of the working linear mixed model
with weights W = -l'' at the fit's linear predictor:

    I(H, H') = sum_g tr(P_g H P_g H') / 2,   P = A - A Lambda (I + Lambda'A Lambda)^-1 Lambda'A,   A = Z'WZ,

whose coefficients are orthogonal to Psi. It is used for the weights of a mixture alone, never for a statistic.

Source: `inference.removal` for linear models; Breslow & Clayton (1993), J. Amer. Statist. Assoc. 88: 9-25, for the
working model.
"""

import numpy as np

from crosslevel.design.response_rows import ResponseRows
from crosslevel.design.submodel import Kept
from crosslevel.inference.removal import profiled_information, tested_directions
from crosslevel.kernels.responses import fill_terms
from crosslevel.solve.generalized.boundary import level_products
from crosslevel.types import FloatArray


def null_information(
    rows: ResponseRows, kept: Kept, factors: tuple[FloatArray, ...], eta: FloatArray, shape: FloatArray
) -> FloatArray | None:
    """Information (k, k) on the variances and covariances that go, the other ones profiled out.

    None where it is not positive definite, and with several grouping factors, between which it is not known cheaply.

    Parameters
    ----------
    rows : of the larger model.
    kept : for each factor the effects that stay.
    factors : for each factor (q, q) Lambda of the fit without the others, in the units of the data.
    eta, shape : (n,) linear predictor of that fit, in the order of the rows, and (m,) its natural shape parameters.
    """
    if len(rows.terms) > 1 or rows.terms[0].structure.fixed.any():
        return None
    (term,), (basis,) = rows.terms, rows.bases
    directions, mine = tested_directions(rows.structures, rows.bases, kept, factors)
    terms = np.empty((3, rows.n))
    fill_terms(rows.family.code, rows.y, rows.size, rows.weight, eta, shape, terms)
    weight, factor = level_products(term, np.maximum(-terms[2], 0.0)), basis @ factors[0]
    left = weight @ factor
    inner = np.eye(term.q) + factor.T @ left
    precision = weight - left @ np.linalg.solve(inner, left.transpose(0, 2, 1))
    half = np.einsum("jab,mbc->jmac", precision, directions[0], optimize=True)
    information = 0.5 * np.einsum("j,jmac,jnca->mn", term.weight, half, half, optimize=True)
    return profiled_information(information, mine)
