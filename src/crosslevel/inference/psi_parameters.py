"""Covariances of random effects as functions of parameters in which they are linear, wherever there are such."""

from dataclasses import dataclass

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.covariance.base import Covariance
from crosslevel.types import FloatArray

ALIKE = 1e-9
"""Singular value, relative to the largest, below which matrices are linear combinations of each other."""

LEAST = 1e-20
"""Least eigenvalue of a precision that is told from zero, relative to the largest."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PsiParameters:
    """Derivatives of the covariances Psi_k of all grouping factors in one set of parameters, at the estimates.

    Attributes
    ----------
    first : for each factor (m, q, q); zero in the parameters of other factors.
    second : for each factor (m, m, q, q), or None where Psi is linear in all parameters.
    """

    first: tuple[FloatArray, ...]
    second: tuple[FloatArray, ...] | None

    def __len__(self) -> int:
        return len(self.first[0]) if self.first else 0


def psi_parameters(
    structures: tuple[BlockStructure, ...], thetas: tuple[FloatArray, ...], precisions: tuple[FloatArray, ...]
) -> PsiParameters:
    """Derivatives in linear parameters where there are any, otherwise in theta itself.

    Variances and covariances that are free of each other, or whose possible values fill a linear space (compound
    symmetry, multiples of a known matrix), have linear parameters; autoregressive correlations have none. Free ones are
    those along the axes of the sum of Z'V^-1 Z, in its units: their information is then far from singular, whatever the
    sizes of the variances.

    Parameters
    ----------
    structures, thetas : of each factor.
    precisions : for each factor (q, q) the sum over its levels of Z'V^-1 Z.
    """
    blocks = []  # of each factor and block: derivatives
    for k, (structure, theta, precision) in enumerate(zip(structures, thetas, precisions, strict=True)):
        for kind, columns, part in zip(structure.kinds, structure.columns, structure.parts, strict=True):
            if not kind.fixed:
                own = precision[np.ix_(columns, columns)]
                blocks.append((k, columns, *_derivatives(kind, theta[part], own)))
    m = sum(len(first) for _, _, first, _ in blocks)
    curved = any(second is not None for _, _, _, second in blocks)
    firsts = [np.zeros((m, structure.q, structure.q)) for structure in structures]
    seconds = [np.zeros((m, m, structure.q, structure.q)) for structure in structures] if curved else []
    start = 0
    for k, columns, first, second in blocks:
        part = slice(start, start + len(first))
        firsts[k][part, columns[:, None], columns[None, :]] = first
        if second is not None:
            seconds[k][part, part, columns[:, None], columns[None, :]] = second
        start = part.stop
    return PsiParameters(first=tuple(firsts), second=tuple(seconds) if curved else None)


def psi_gradient(structure: BlockStructure, theta: FloatArray) -> FloatArray:
    """Derivative of Psi = Lambda Lambda' in theta, (k, q, q)."""
    half = structure.factor_gradient(theta) @ structure.factor(theta).T
    return np.asarray(half + half.transpose(0, 2, 1))


def known_part(structure: BlockStructure, factor: FloatArray) -> FloatArray:
    """Psi (q, q) of the blocks that are known in the units of the data; zero elsewhere."""
    known = structure.fixed
    return np.asarray(factor @ factor.T * np.outer(known, known))


def _derivatives(kind: Covariance, theta: FloatArray, precision: FloatArray) -> tuple[FloatArray, FloatArray | None]:
    """First (m, q, q) and second derivatives (m, m, q, q), None for zero, of a block's Psi."""
    q = len(precision)
    basis = _free_basis(precision) if kind.free else _linear_basis(kind, q)
    if basis is not None:
        return basis, None
    value, slope = kind.factor(theta, q), kind.factor_gradient(theta, q)
    half = slope @ value.T
    bend = kind.factor_hessian(theta, q) @ value.T + np.einsum("aij,bkj->abik", slope, slope)
    return half + half.transpose(0, 2, 1), bend + bend.transpose(0, 1, 3, 2)


def _free_basis(precision: FloatArray) -> FloatArray:
    """Basis (q (q + 1) / 2, q, q) of the symmetric matrices, of products of the axes of a block's precision."""
    values, vectors = np.linalg.eigh(precision)
    axes = vectors / np.sqrt(np.maximum(values, LEAST * max(float(values[-1]), 1e-300)))
    rows, columns = np.tril_indices(len(axes))
    half = axes.T[rows][:, :, None] * axes.T[columns][:, None, :]
    return np.asarray(0.5 * (half + half.transpose(0, 2, 1)))


def _linear_basis(kind: Covariance, q: int) -> FloatArray | None:
    """Basis (n_theta, q, q) of the space that the possible Psi span; None if they are fewer than fill it."""
    k = kind.n_theta(q)
    rng = np.random.default_rng(1)
    factors = [kind.factor(theta, q) for theta in rng.uniform(0.3, 1.3, (k + 2, k))]
    members = np.array([(factor @ factor.T).ravel() for factor in factors])
    _, sizes, basis = np.linalg.svd(members, full_matrices=False)
    if np.count_nonzero(sizes > ALIKE * sizes[0]) > k:
        return None
    return np.asarray(basis[:k].reshape(k, q, q))
