"""Stochastic estimate of tr log H and its exact derivatives in the relative factors of the random effects.

H = L^-1 S L^-T has unit matrices as its diagonal blocks, so that tr(H - I) = 0 and tr log H = tr f(H) for
f(x) = log x - (x - 1): of the two, f(H) is much nearer to diagonal, and random signs estimate its trace better.
With orthonormal Q, and z = (I - Q Q') times random signs, tr f(H) = tr Q'f(H)Q + E z'f(H) z.
"""

from dataclasses import dataclass

import numpy as np

from crosslevel.likelihood.lanczos import Lanczos
from crosslevel.likelihood.schur import COLUMNS, Schur, aligned
from crosslevel.types import FloatArray

BASIS, POWERS, SHIFT = 4, 4, 1.2
"""Random directions added to the constant ones in Q; powers of (SHIFT - H) that turn them to where H is small."""

MOST_DIRECTIONS, WORTHWHILE = 64, 0.1
"""Most directions in Q; the share of what is left of the variance that eight more must take to be added."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """v' f(H) v of some vectors and its derivatives in Lambda.

    Attributes
    ----------
    forms : (c,) v' f(H) v.
    psi : (c, q, q) derivative in Psi of the leading factor.
    scores : for each other factor, (c, q_k, q_k) G; the derivative in a direction D of Lambda_k is 2 <D, G>.
    """

    forms: FloatArray
    psi: FloatArray
    scores: tuple[FloatArray, ...]


def far_directions(schur: Schur, rng: np.random.Generator, *, more: bool) -> FloatArray:
    """Orthonormal directions Q (N, r) in which H is far from 1: near each factor's constants, or found by powers.

    With `more`, eight at a time are added as long as they take a good share of the variance 2 |f(H)|^2 of a form in
    random signs; f(x) is taken as -(x - 1)^2 / 2.
    """
    n = schur.plan.n_columns
    constants = _constants(schur)
    n_random = min(BASIS, max(n - constants.shape[1], 0))
    basis = _turned(schur, np.hstack([constants, rng.normal(size=(n, n_random))]), np.zeros((n, 0)))
    while more and basis.shape[1] + COLUMNS <= min(MOST_DIRECTIONS, n // 2):
        added = _turned(schur, rng.normal(size=(n, COLUMNS)), basis)
        probes = 2.0 * rng.integers(0, 2, (n, COLUMNS)) - 1.0
        for _ in range(2):
            probes -= basis @ (basis.T @ probes)
            probes = schur.apply(probes) - probes
        left = 0.5 * float(np.sum(probes**2)) / COLUMNS
        taken = 0.5 * float(np.sum(np.linalg.eigvalsh(added.T @ (schur.apply(added) - added)) ** 4))
        if taken < WORTHWHILE * left:
            break
        basis = np.hstack([basis, added])
    return basis


def _constants(schur: Schur) -> FloatArray:
    """For every effect of every factor that is not eliminated, the root of its sums of squares, else 0."""
    plan = schur.plan
    columns = []
    for k, span in zip(plan.rest, plan.spans, strict=True):
        q = plan.crossing.diagonal[k].shape[1]
        sizes = np.sqrt(np.einsum("jaa->ja", plan.crossing.diagonal[k]))
        for a in range(q):
            column = np.zeros(plan.n_columns)
            column[span.start + a : span.stop : q] = sizes[:, a]
            columns.append(column)
    return np.column_stack(columns)


def _turned(schur: Schur, block: FloatArray, basis: FloatArray) -> FloatArray:
    """Orthonormal directions (N, r) turned by powers of (SHIFT - H) from `block`, at right angles to `basis`."""
    for _ in range(POWERS):
        block = np.linalg.qr(block - basis @ (basis.T @ block))[0]
        block = SHIFT * block - schur.apply(block)
    return np.asarray(np.linalg.qr(block - basis @ (basis.T @ block))[0])


def estimate_trace(schur: Schur, vectors: FloatArray) -> Trace:
    """Each of `vectors` (N, c) by itself."""
    parts = [_trace_part(schur, vectors[:, a : a + COLUMNS]) for a in range(0, vectors.shape[1], COLUMNS)]
    return Trace(
        forms=np.concatenate([part.forms for part in parts]),
        psi=np.concatenate([part.psi for part in parts]),
        scores=tuple(np.concatenate(scores) for scores in zip(*(part.scores for part in parts), strict=True)),
    )


def _trace_part(schur: Schur, vectors: FloatArray) -> Trace:
    """As `estimate_trace`, for as many vectors as go through the data at once.

    With x = L^-T w, b = Lambda x, h = (A_22 - A_21 B A_12) b and e = F A_12 b, the derivative of w'S w is
    2 <dLambda, h x'> - <dPsi_1, e e'>. That of L is carried by N = w (H w)' of each level, its lower triangle mirrored:
    -<dP, L^-T N L^-1>, with dP = dLambda' C Lambda + Lambda' C dLambda + Lambda' dC Lambda, P = I + Lambda' C Lambda.
    """
    plan = schur.plan
    forms, halves, signs = Lanczos.run(schur.apply, vectors).log_forms()
    n, s, rank = halves.shape
    psi = np.zeros((s, plan.q, plan.q))
    direct = [np.zeros((s, *core.shape[1:])) for core in schur.core]
    moved = [np.zeros((*core.shape, s)) for core in schur.core]
    for r in range(rank):
        w = aligned((n, s))
        w[:] = halves[:, :, r]
        b = schur.blockwise(schur.reach, w)
        sums = np.zeros_like(psi)
        h = schur.remainder(b, sums)
        psi -= signs[:, r, None, None] * sums
        applied = w + schur.blockwise(schur.reach, h, transpose=True)
        x = schur.blockwise(schur.root, w, transpose=True)
        for at, (core, span) in enumerate(zip(schur.core, plan.spans, strict=True)):
            shape = (*core.shape[:2], s)
            full = h[span].reshape(shape) + core @ b[span].reshape(shape)
            signed = signs[:, r] * w[span].reshape(shape)
            direct[at] += np.einsum("s,jas,jbs->sab", signs[:, r], full, x[span].reshape(shape), optimize=True)
            moved[at] += signed[:, :, None] * applied[span].reshape(shape)[:, None]
    cells = []
    for at, (core, root, reach) in enumerate(zip(schur.core, schur.root, schur.reach, strict=True)):
        lower = np.tril(np.ones(core.shape[1:]))[..., None] * moved[at]
        mirrored = lower + np.tril(np.ones(core.shape[1:]), -1).T[..., None] * lower.transpose(0, 2, 1, 3)
        cells.append(-_between(reach, mirrored))
        inverse = _between(root.transpose(0, 2, 1), mirrored)
        factor = schur.factors[plan.rest[at]]
        direct[at] -= np.einsum("jab,bc,jcds->sad", core, factor, inverse, optimize=True)
    psi -= schur.sandwich(tuple(cells))
    return Trace(forms=forms, psi=psi, scores=tuple(direct))


def _between(outer: FloatArray, cells: FloatArray) -> FloatArray:
    """R N R' of each level: (J, q, q) and (J, q, q, s)."""
    return np.asarray(np.einsum("jab,jbcs,jdc->jads", outer, cells, outer, optimize=True))
