"""The chi-square test of textbooks that a random coefficient does not vary, from the clusters' own estimates."""

from dataclasses import dataclass

import numpy as np

from crosslevel.design import Design, equations
from crosslevel.inference.distributions import chi_square_tail
from crosslevel.likelihood.profiled import Conditional
from crosslevel.types import BoolArray, FloatArray, IntArray

ABLE = 1e-7
"""Least singular value of a cluster's Z_j, relative to the largest, with which it has estimates of its own."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ClusterChiSquare:
    """Chi-square tests, one for each random effect.

    Attributes
    ----------
    statistic : (q,) sums over clusters.
    df : (q,) clusters less coefficients of the effect's equation; NaN where none are left.
    p_value : (q,) tail probabilities.
    used, clusters : clusters with estimates of their own, and all.
    """

    statistic: FloatArray
    df: FloatArray
    p_value: FloatArray
    used: int
    clusters: int


def cluster_chi_square(design: Design, at: Conditional, sigma: float) -> ClusterChiSquare:
    """Compare the clusters' own least-squares coefficients with what the fixed part predicts of them.

    With b_j = (Z_j'Z_j)^-1 Z_j'(y_j - X_j beta) of the J clusters whose Z_j has full rank, and V_j the diagonal of
    sigma^2 (Z_j'Z_j)^-1,

        H_q = sum b_qj^2 / V_qj,   df = J - (coefficients in the equation of effect q),

    which is nearly chi-square if the effect does not vary and sigma is well known. Coefficients of variables without
    random effects are those of the fit. It is a test of each effect by itself, whatever the others' covariances.

    Source: Raudenbush & Bryk (2002), Hierarchical Linear Models, 2nd ed., equation 3.103.

    Parameters
    ----------
    design : a model with one grouping factor and independent residuals of one variance (or known weights).
    at : its conditional optimum.
    sigma : residual standard deviation.
    """
    reduced = at.reduced
    able = _able(reduced.root)
    own = np.linalg.solve(reduced.root[able], reduced.image[able] @ np.append(-at.beta, 1.0)[:, None])[:, :, 0]
    back = np.linalg.inv(reduced.basis)
    deviations = own @ back.T * reduced.coordinates.scale[-1]
    half = back @ np.linalg.inv(reduced.root[able])
    variances = sigma**2 * np.einsum("gij,gij->gi", half, half)
    statistic = np.einsum("gi,gi->i", deviations**2, 1.0 / variances)
    df = np.count_nonzero(able) - _coefficients(design).astype(np.float64)
    df[df < 1.0] = np.nan
    p_value = [float(chi_square_tail(f, h)) if f > 0.0 else np.nan for f, h in zip(df, statistic, strict=True)]
    return ClusterChiSquare(
        statistic=statistic, df=df, p_value=np.array(p_value), used=int(np.count_nonzero(able)), clusters=len(able)
    )


def _able(root: FloatArray) -> BoolArray:
    """(J,) whether a cluster can tell its own coefficients."""
    sizes = np.linalg.svd(root, compute_uv=False)
    return np.asarray(sizes[:, -1] > ABLE * sizes[:, 0])


def _coefficients(design: Design) -> IntArray:
    """(q,) fixed coefficients in the equation of each random effect, its intercept included."""
    (factor,) = design.factors
    found = [each for each in equations(design) if each is not None]
    out = np.zeros(len(factor.z), dtype=np.int64)
    for e, column in enumerate(factor.z):
        effect = None if column == design.constant else e
        out[e] = sum(each.effect == effect for each in found)
    return out
