"""Pooled least squares with cluster-robust variances in many replications, from the cross-products of their clusters.

In working coordinates (mean 0 where there is an intercept, standard deviation 1), with C C' = M = (X'X)^-1,

    K_g = C'X_g'X_g C = U D U',   t_g = C'X_g'e_g,   sum_g K_g = I.

An adjustment turns residuals so that M X_g'A_g e_g = C U f(D) U't_g: f = 1 (CR0), (1 - D)^-1/2, zero where nothing is
left (CR2), (1 - D)^-1 (CR3). For one combination of coefficients c'beta, a = C'c and w_g = U f(D) U'a,

    V = sum_g (w_g't_g)^2,   u_g = K_g w_g,   m_g = w_g'u_g - u_g'u_g,
    Satterthwaite: (sum m_g)^2 / (|sum_g u_g u_g'|^2 + sum_g (m_g^2 - (u_g'u_g)^2)),

the working model being independent rows of equal variance: `inference.cluster_robust` and `inference.robust_tests`,
whose algebra this is, for one contrast at a time and p x p matrices alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from crosslevel.design.checks import NOTHING
from crosslevel.inference.bootstrap.batch import Outcome
from crosslevel.inference.cluster_robust import LEVERAGE_ONE
from crosslevel.inference.robust_tests import UNSEEN
from crosslevel.simulation.estimators.stacked import ALIASED, RELATIVE, cholesky, inverse_lower
from crosslevel.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Working:
    """Regressions of R replications with J clusters in working coordinates.

    Attributes
    ----------
    outcome : (R,) how each ended, an `Outcome`; what follows is of those that are `FITTED`, R' of them.
    shift, scale : (R', p + 1) working columns are (x - shift) / scale.
    half : (R', p, p) C, upper triangular.
    beta, rest : (R', p) coefficients, and (R',) the residual sum of squares.
    own, scores : (R', J, p, p) X_g'X_g and (R', J, p) X_g'e_g.
    """

    outcome: IntArray = field(repr=False)
    shift: FloatArray = field(repr=False)
    scale: FloatArray = field(repr=False)
    half: FloatArray = field(repr=False)
    beta: FloatArray = field(repr=False)
    rest: FloatArray = field(repr=False)
    own: FloatArray = field(repr=False)
    scores: FloatArray = field(repr=False)


@np.errstate(all="ignore")  # what is not finite is not fitted
def regress(count: FloatArray, mean: FloatArray, scatter: FloatArray, intercept: int) -> Working:
    """Least squares in each replication.

    Parameters
    ----------
    count, mean, scatter : (R, J), (R, J, p + 1), (R, J, p + 1, p + 1) of [X y].
    intercept : place of the constant column, -1 if there is none.
    """
    n, p = count.sum(axis=1), mean.shape[2] - 1
    outcome = np.full(len(n), int(Outcome.REFUSED), dtype=np.int64)
    shift, scale, flat = coordinates(count, mean, scatter, intercept)
    able = (n > p) & (np.count_nonzero(count, axis=1) > 1) & ~flat[:, -1]
    outcome[able] = int(Outcome.UNIDENTIFIED)
    away = mean - shift[:, None, :]
    own = scatter + count[:, :, None, None] * away[:, :, :, None] * away[:, :, None, :]
    own /= (scale[:, :, None] * scale[:, None, :])[:, None]
    own[count == 0.0] = 0.0
    total = own.sum(axis=1)
    chol = cholesky(total[:, :p, :p].transpose(1, 2, 0))
    pivots, sizes = np.einsum("iir->ri", chol) ** 2, np.einsum("rii->ri", total[:, :p, :p])
    able &= np.all(pivots > ALIASED * sizes, axis=1) & ~np.any(flat[:, :-1], axis=1)
    half = np.ascontiguousarray(inverse_lower(chol).transpose(2, 1, 0))
    # solved, and refined once
    unscaled, beta = half @ half.transpose(0, 2, 1), np.zeros((len(n), p))
    for _ in range(2):
        left = (own[:, :, :p, p] - (own[:, :, :p, :p] @ beta[:, None, :, None])[..., 0]).sum(axis=1)
        beta = beta + np.einsum("rij,rj->ri", unscaled, left)
    contrast = np.column_stack([-beta, np.ones(len(n))])
    # not by BLAS, whose rounding depends on the number of replications
    rest = np.sum(contrast * np.sum(total * contrast[:, None, :], axis=2), axis=1)
    outcome[able] = int(Outcome.REFUSED)
    able &= rest > NOTHING * n
    outcome[able] = int(Outcome.FITTED)
    some = np.flatnonzero(able)
    return Working(
        outcome=outcome, shift=shift[some], scale=scale[some], half=half[some], beta=beta[some], rest=rest[some],
        own=own[some][:, :, :p, :p], scores=(own[some][:, :, :p] @ contrast[some, None, :, None])[..., 0],
    )  # fmt: skip


def coordinates(
    count: FloatArray, mean: FloatArray, scatter: FloatArray, intercept: int
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Shifts and scales (R, p + 1) of working coordinates, and columns (R, p + 1) that do not vary as they should."""
    n = count.sum(axis=1)[:, None]
    grand = np.sum(count[:, :, None] * mean, axis=1) / n
    squares = np.einsum("rjii->ri", scatter) + np.sum(count[:, :, None] * (mean - grand[:, None]) ** 2, axis=1)
    variance = squares / n
    flat = ~(variance > RELATIVE * (variance + grand**2))
    if intercept < 0:
        flat[:, :-1] = ~(variance + grand**2 > 0.0)[:, :-1]
        return np.zeros_like(grand), np.sqrt(variance + grand**2), flat
    scale = np.sqrt(variance)
    grand[:, intercept], scale[:, intercept], flat[:, intercept] = 0.0, 1.0, False
    return grand, scale, flat


@dataclass(frozen=True, kw_only=True, eq=False)
class Combinations:
    """T coefficients in the units of the data, in R replications.

    Attributes
    ----------
    estimate, model : (R, T) estimates, and a'a: their variances in units of the residual one.
    directions : (R, T, p) a = C'c.
    """

    estimate: FloatArray = field(repr=False)
    model: FloatArray = field(repr=False)
    directions: FloatArray = field(repr=False)

    @classmethod
    def of(cls, working: Working, terms: IntArray, intercept: int) -> "Combinations":
        """Coefficients at some places (T,) of X; those of working columns times weights, and a shift."""
        p = working.half.shape[1]
        unit = working.scale[:, -1:] / working.scale[:, :-1]
        weights = np.zeros((len(unit), len(terms), p))
        start = np.zeros((len(unit), len(terms)))
        for t, place in enumerate(terms):
            if place == intercept:
                weights[:, t] = -working.shift[:, :-1] * unit
                start[:, t] = working.shift[:, -1]
            weights[:, t, place] = unit[:, place]
        directions = weights @ working.half
        return cls(
            estimate=start + np.einsum("rtp,rp->rt", weights, working.beta), directions=directions,
            model=np.sum(directions**2, axis=2),
        )  # fmt: skip


def robust_terms(
    working: Working, combinations: Combinations, wanted: Sequence[str]
) -> dict[str, tuple[FloatArray, FloatArray]]:
    """V and Satterthwaite's degrees of freedom (R, T) of every adjustment that is wanted, of "CR0", "CR2", "CR3".

    NaN where the clusters contribute nothing to a coefficient, or the adjustment is not defined.
    """
    half = working.half[:, None]
    inner = half.transpose(0, 1, 3, 2) @ working.own @ half
    image = (working.scores[:, :, None] @ half)[:, :, 0]
    direction = np.broadcast_to(
        combinations.directions.transpose(0, 2, 1)[:, None], (*inner.shape[:3], combinations.model.shape[1])
    )
    out = {}
    if any(name != "CR0" for name in wanted):
        values, vectors = np.linalg.eigh(inner)
        kept = 1.0 - values
        along = vectors.transpose(0, 1, 3, 2) @ direction
    for name in wanted:
        adjusted = direction
        if name != "CR0":
            share = np.where(kept >= LEVERAGE_ONE, kept, np.inf) ** (-0.5 if name == "CR2" else -1.0)
            adjusted = vectors @ (share[..., None] * along)
        turned = (inner @ adjusted).transpose(0, 3, 1, 2)
        change = np.einsum("rjpt,rjp->rjt", adjusted, image)
        within = np.sum(turned**2, axis=3)
        own = np.einsum("rjpt,rtjp->rtj", adjusted, turned) - within
        squares = turned.transpose(0, 1, 3, 2) @ turned
        mean = own.sum(axis=2)
        second = np.sum(squares**2, axis=(2, 3)) + np.sum(own**2 - within**2, axis=2)
        seen = mean > UNSEEN * combinations.model
        if name == "CR3":
            seen &= np.all(kept >= LEVERAGE_ONE, axis=(1, 2))[:, None]
        variance = np.where(seen, np.sum(change**2, axis=1), np.nan)
        out[name] = variance, np.divide(mean**2, second, out=np.full_like(mean, np.nan), where=seen)
    return out
