"""Variances at the average of the rows, from cross-products: of the fixed part, of random effects, of residuals.

With Phi the covariance of the fixed columns over rows, M_k = sum over rows of z z' / n of the columns that vary between
the levels of factor k, Psi_k the covariance of their effects, and s^2 the residual variance,

    Var(y) = beta' Phi beta + sum over k of tr(M_k Psi_k) + s^2.

Weighted rows enter Phi, M and s^2 by their weights. With precision weights w_i, whose rows have sigma^2 / w_i, s^2 is
sigma^2 n / sum w, so that no share depends on the unit of the weights; where a residual structure has several
variances, s^2 is their mean over rows.

Source: Johnson (2014), Methods Ecol. Evol. 5: 944-946 (mean z' Psi z).
"""

from collections.abc import Sequence

import numpy as np

from crosslevel.design import Design
from crosslevel.design.products import CrossProducts
from crosslevel.inference.icc import IntraclassCorrelation, intraclass_correlation
from crosslevel.inference.varcomp import VarianceComponents
from crosslevel.solve import Solution
from crosslevel.types import FloatArray, IntArray


def fixed_covariance(products: CrossProducts, x: IntArray, nobs: int) -> tuple[FloatArray, FloatArray]:
    """Covariance (p, p) of the fixed columns over rows, and the part of it within clusters, with n - 1.

    Parameters
    ----------
    products : cross-products by cluster; of those of all rows together only the first result has a meaning.
    x : (p,) positions of the columns.
    nobs : rows.
    """
    scale = nobs / ((nobs - 1.0) * products.weight)
    block = np.ix_(x, x)
    return np.asarray(products.total[block] * scale), np.asarray(products.within[block] * scale)


def second_moments(products: CrossProducts, z: IntArray) -> tuple[FloatArray, FloatArray]:
    """M (q, q), the mean over rows of z z', and the part of it that is within clusters.

    Parameters
    ----------
    products, z : see `fixed_covariance`.
    """
    mean, block = (products.grand_mean + products.origin)[z], np.ix_(z, z)
    return (
        np.asarray(products.total[block] / products.weight + np.outer(mean, mean)),
        np.asarray(products.within[block] / products.weight),
    )


def moments_of(design: Design) -> tuple[FloatArray, ...]:
    """For each grouping factor M (q, q); rows in several levels have the effects of all of them, by their shares."""
    out = []
    for k, factor in enumerate(design.factors):
        if factor.members:
            basis, weight = design.crossing.basis[k], design.products.weight
            out.append(np.asarray(basis.T @ design.crossing.diagonal[k].sum(axis=0) @ basis / weight))
        else:
            out.append(second_moments(design.products, factor.z)[0])
    return tuple(out)


def mean_residual_variance(design: Design, solution: Solution) -> float:
    """s^2, the residual variance at the average of the rows."""
    variance = solution.sigma**2 * design.products.n_rows / design.products.weight
    if design.residual is not None and not design.residual.is_homogeneous:
        log_sd = solution.criterion.residual.at(solution.phi).log_sd
        variance *= float(np.mean(np.exp(2.0 * log_sd)))
    return float(variance)


def random_share(
    components: Sequence[VarianceComponents],
    moments: Sequence[FloatArray],
    chosen: Sequence[bool],
    *,
    residual: float,
    fixed: tuple[float, float] = (0.0, 0.0),
    level: float,
) -> IntraclassCorrelation:
    """Share of some factors' random effects, at the average of the rows, in the variance of the outcome.

    tr(M Psi) of the chosen factors, over that of all of them + s^2 [+ beta' Phi beta], by the delta method; the
    fixed part and the variances are taken as independent, as the estimates of beta and of theta asymptotically are.

    Parameters
    ----------
    components, moments : of each grouping factor, with M (q, q).
    chosen : for each factor whether its share is wanted.
    residual : s^2.
    fixed : variance of the fixed part and its standard error; (0, 0) for a share of what the fixed part leaves.
    level : confidence level.
    """
    vcov = components[0].vcov
    inside, outside = np.zeros(len(vcov)), np.zeros(len(vcov))
    outside[-1] = 2.0 * residual
    chosen_sum, rest = 0.0, residual + fixed[0]
    for part, weight, wanted in zip(components, moments, chosen, strict=True):
        variance = float(np.sum(weight * part.covariance))
        gradient = np.einsum("ij,ija->a", weight, part.jacobian)
        if wanted:
            chosen_sum, inside = chosen_sum + variance, inside + gradient
        else:
            rest, outside = rest + variance, outside + gradient
    return intraclass_correlation(
        chosen_sum,
        rest,
        tau_se=float(np.sqrt(inside @ vcov @ inside)),
        sigma2_se=float(np.sqrt(outside @ vcov @ outside + fixed[1] ** 2)),
        covariance=float(inside @ vcov @ outside),
        level=level,
    )
