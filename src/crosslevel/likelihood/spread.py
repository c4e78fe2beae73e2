"""Conditional covariances of the random effects of a large crossed model, by stochastic diagonals of an inverse.

With R = H^-1 - I and X = K H^-1 K', the conditional covariances of the effects that are not eliminated are the diagonal
blocks K_j (I + R_jj) K_j', those of the leading levels B_i + B_i A_i X A_i' B_i. In

    R = QQ'R + RQQ' - QQ'RQQ' + (I - QQ') R (I - QQ')

only the last term is estimated, as the mean of (I - QQ') R z z' over the random z. Since H has unit diagonal blocks,
those of R are also those of H^-1 + H - 2 I, which is nearer to diagonal.

Source: Bekas, Kokiopoulou & Saad (2007), Appl. Numer. Math. 57: 1214-1229, for diagonals from random signs.
"""

import numpy as np

from crosslevel.kernels.iterative import level_sums
from crosslevel.likelihood.lanczos import Lanczos
from crosslevel.likelihood.schur import COLUMNS, Schur
from crosslevel.types import FloatArray


def conditional_covariances(schur: Schur, vectors: FloatArray, n_exact: int) -> tuple[FloatArray, ...]:
    """Lambda [M^-1]_jj Lambda' of each level of each factor (J_k, q_k, q_k), to be multiplied by sigma^2.

    Parameters
    ----------
    schur : the Schur complement.
    vectors : (N, r + s) Q and random z, see `likelihood.traces`.
    n_exact : r.
    """
    plan = schur.plan
    basis, n_random = vectors[:, :n_exact], vectors.shape[1] - n_exact
    changed = [np.zeros_like(core) for core in schur.core]
    leading = np.zeros_like(schur.middle)
    for first in range(0, vectors.shape[1], COLUMNS):
        z = vectors[:, first : first + COLUMNS]
        exact = np.arange(first, first + z.shape[1]) < n_exact
        inverse = Lanczos.run(schur.apply, z).solution() - z
        smoothed = inverse + schur.apply(z) - z
        weight = np.where(exact, 1.0, 1.0 / max(n_random, 1))
        _add_blocks(schur, changed, *_sides(smoothed, z, basis, exact), weight)
        left, right = _sides(inverse, z, basis, exact)
        if plan.leading >= 0:
            reached = [plan.down(schur.blockwise(schur.reach, side)) for side in (left, right)]
            leading += np.einsum("ias,ibs,s->iab", *reached, weight, optimize=True)
    blocks = [reach @ reach.transpose(0, 2, 1) for reach in schur.reach]
    rest = [
        block + reach @ _even(change) @ reach.transpose(0, 2, 1)
        for block, reach, change in zip(blocks, schur.reach, changed, strict=True)
    ]
    cells = np.concatenate([block.ravel() for block in blocks])
    level_sums(plan.start, plan.column, plan.value, plan.width, plan.cell, cells, leading)
    own = schur.middle + schur.middle @ _even(leading) @ schur.middle
    return tuple(own if k == plan.leading else rest[plan.rest.index(k)] for k in range(len(plan.crossing.diagonal)))


def _sides(image: FloatArray, z: FloatArray, basis: FloatArray, exact: np.ndarray) -> tuple[FloatArray, FloatArray]:
    """Vectors a, b = z (N, s) such that R is estimated by the symmetric part of the sum of a b'; `image` is R z.

    The sum over z in Q with a = 2 R z - QQ'R z has the symmetric part QQ'R + RQQ' - QQ'RQQ'; for random z, a is R z
    without its part in Q.
    """
    inside = basis @ (basis.T @ image)
    return np.where(exact, 2.0 * image - inside, image - inside), z


def _add_blocks(
    schur: Schur, blocks: list[FloatArray], left: FloatArray, right: FloatArray, weight: FloatArray
) -> None:
    """Add the diagonal blocks of sum of weight a b' to those of each factor that is not eliminated."""
    for block, span in zip(blocks, schur.plan.spans, strict=True):
        shape = (*block.shape[:2], left.shape[1])
        block += np.einsum("jas,jbs,s->jab", left[span].reshape(shape), right[span].reshape(shape), weight)


def _even(blocks: FloatArray) -> FloatArray:
    """Symmetric part of each (J, q, q)."""
    return np.asarray(0.5 * (blocks + blocks.transpose(0, 2, 1)))
