"""Information of the linear mixed model that a generalized one looks like at its modes.

With W = -l'' the precisions of working residuals, V^-1 = W - W Z B Z'W, B = Lambda (I + Lambda'A Lambda)^-1 Lambda' and
A = Z'WZ, coefficients have the information X'V^-1X and Psi has that of the linear model, half the sum of P (x) P with
P = A - A B A. Shape parameters s enter as further columns, of which W X is D = -d l'/ds and X'WX is sum dl/ds dl/ds'.
Twice all of it approximates the Hessian of the deviance.
"""

from typing import TYPE_CHECKING

import numpy as np

from crosslevel.design.response_rows import ResponseRows
from crosslevel.likelihood.generalized import Layout
from crosslevel.types import FloatArray, IntArray

if TYPE_CHECKING:
    from crosslevel.likelihood.one_factor import OneFactorState


def working_information(
    rows: ResponseRows, z: FloatArray, start: IntArray, at: "OneFactorState", layout: Layout, score: FloatArray
) -> FloatArray:
    """Information (K, K) of a model with one grouping factor, on the scale of the deviance.

    In theta the positive part of S = d deviance / d Psi is added for the curvature of Psi = Lambda Lambda'.

    Parameters
    ----------
    rows, z, start : the data, z (q, n).
    at : the state.
    layout : where the parameters stand.
    score : (q, q) S.
    """
    from crosslevel.kernels.working_model import absorb_clusters

    term = rows.terms[0]
    q, structure, theta = term.q, term.structure, at.parameters[layout.theta]
    precision = np.maximum(-at.second, 0.0)
    columns, gram = _columns(rows, at, precision, layout)
    pairs, absorbed = np.zeros((q, q, q, q)), np.zeros_like(gram)
    absorb_clusters(z, precision, columns, start, at.factor, term.weight, pairs, absorbed)
    values, vectors = np.linalg.eigh(score * structure.mask)
    positive = (vectors * np.maximum(values, 0.0)) @ vectors.T
    slopes = structure.factor_gradient(theta)
    half = slopes @ at.factor.T
    changes, flat = (half + half.transpose(0, 2, 1)).reshape(layout.k, q * q), slopes.reshape(layout.k, q * q)
    out = np.zeros((layout.size, layout.size))
    out[layout.theta, layout.theta] = changes @ pairs.transpose(1, 2, 0, 3).reshape(q * q, q * q) @ changes.T
    out[layout.theta, layout.theta] += 2.0 * (positive @ slopes).reshape(layout.k, q * q) @ flat.T
    out[layout.k :, layout.k :] = 2.0 * _positive(gram - absorbed)
    return 0.5 * (out + out.T)


def _columns(
    rows: ResponseRows, at: "OneFactorState", precision: FloatArray, layout: Layout
) -> tuple[FloatArray, FloatArray]:
    """[W X, D] (n, p + m) and the sums over rows (p + m, p + m) that stand for [X, s]'W[X, s]."""
    from crosslevel.kernels.responses import fill_by_shape
    from crosslevel.kernels.working_model import weighted_columns

    term, p, m = rows.terms[0], layout.p, layout.m
    columns, gram = np.empty((rows.n, p + m)), np.empty((p + m, p + m))
    weighted_columns(rows.x, precision, columns)
    times = None if np.all(term.weight == 1.0) else term.weight[term.codes]
    counted = rows.x if times is None else rows.x * times[:, None]
    if m:
        jacobian = rows.family.shape_jacobian(at.parameters[layout.shape])
        changes = np.empty((rows.n, 3, m))
        fill_by_shape(rows.family.code, rows.y, rows.size, rows.weight, at.eta, at.shape, changes)
        values = changes[:, 0] @ jacobian
        columns[:, p:] = -(changes[:, 1] @ jacobian)
        counts = rows.weight > 0.0  # rows that count zero times are those of a cluster that is left out
        scale = np.divide(1.0 if times is None else times, rows.weight, out=np.zeros(rows.n), where=counts)
        gram[p:, p:] = (values * scale[:, None]).T @ values
    gram[:p] = counted.T @ columns
    gram[p:, :p] = gram[:p, p:].T
    return columns, gram


def _positive(information: FloatArray) -> FloatArray:
    """The information with negative eigenvalues, in units of its diagonal, turned to small positive ones."""
    diagonal = np.abs(np.diag(information))  # what shape parameters lose to the others can exceed what they have
    size = np.sqrt(np.maximum(diagonal, 1e-12 * max(float(diagonal.max(initial=0.0)), 1e-280)))
    scaled = information / size / size[:, None]
    try:
        np.linalg.cholesky(scaled)
    except np.linalg.LinAlgError:
        pass
    else:
        return information
    values, vectors = np.linalg.eigh(scaled)
    if values[0] >= 0.0:
        return information
    out = (vectors * np.maximum(np.abs(values), 1e-3)) @ vectors.T
    return np.asarray(out * size * size[:, None])
