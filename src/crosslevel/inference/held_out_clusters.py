"""How well a model predicts clusters that it was not fitted to, from cross-products.

Clusters g of a fold are left out, their multiplicity is zero, and the model is fitted to the others. The outcomes of
the clusters that were left out then have the density of y_g ~ N(X_g beta, sigma^2 V_g), V_g = I + Z_g Psi Z_g', at the
estimates of the others:

    -2 log f = n_g log(2 pi sigma^2) + log|V_g| + (y_g - X_g beta)'V_g^-1 (y_g - X_g beta) / sigma^2,

all of it from Z'Z, Z'[X y] and [X y]'[X y] of the cluster.

Source: Stone (1974), J. R. Stat. Soc. B 36: 111-147.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from crosslevel.design import Design
from crosslevel.design.reduced import Reduced
from crosslevel.inference.bootstrap.setting import cluster_remainders
from crosslevel.inference.structure_fits import FOUND, places_of
from crosslevel.likelihood.profiled import EXACT_LIMIT
from crosslevel.optimise import TOLERANCE
from crosslevel.solve.one_factor import solve
from crosslevel.types import BoolArray, FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class ClusterSums:
    """What belongs to each cluster, whatever its random effects.

    Attributes
    ----------
    gram : (J, p + 1, p + 1) [X y]'[X y] in working coordinates.
    rows, log_weights : (J,) rows in the likelihood's n, and sums of log w if weights are precisions.
    """

    gram: FloatArray
    rows: FloatArray
    log_weights: FloatArray

    @classmethod
    def of(cls, design: Design) -> "ClusterSums":
        """Those of a model with one grouping factor."""
        image, tally = design.reduced.image, design.products.precision
        return cls(
            gram=cluster_remainders(design) + image.transpose(0, 2, 1) @ image,
            rows=design.products.count if tally is None else tally.rows,
            log_weights=np.zeros_like(design.products.count) if tally is None else tally.log_weight,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Estimates:
    """A fit in working coordinates: Lambda (q, q), (-beta, 1), sigma."""

    factor: FloatArray
    contrast: FloatArray
    sigma: float


def folds_of(n_clusters: int, n_folds: int, rng: np.random.Generator) -> tuple[BoolArray, ...]:
    """Clusters (J,) of each fold: as many in each as can be, at random."""
    number = rng.permutation(np.arange(n_clusters) % n_folds)
    return tuple(number == k for k in range(n_folds))


def needed_fold(design: Design, sums: ClusterSums, folds: Sequence[BoolArray]) -> int | None:
    """Position of the first fold whose clusters are needed to identify the coefficients; None if there is none."""
    from crosslevel.kernels.refit import identified

    reduced = design.reduced
    rest = sums.gram - reduced.image.transpose(0, 2, 1) @ reduced.image
    for k, fold in enumerate(folds):
        weight = np.where(fold, 0.0, reduced.multiplicity)
        if not identified(reduced.image, weight, np.tensordot(weight, rest, axes=1), reduced.coordinates.intercept):
            return k
    return None


def predictive_deviance(
    reduced: Reduced, sums: ClusterSums, factor: FloatArray, folds: Sequence[BoolArray], *, reml: bool
) -> float:
    """-2 log density of all clusters, each at the estimates of the folds that it is not in.

    The coefficients have to be identified without each fold, see `needed_fold`.

    Parameters
    ----------
    reduced : cross-products of the model, with free blocks one after the other.
    sums : of its clusters.
    factor : (q, q) Lambda of the fit to all clusters, in working coordinates: where the fits start.
    folds : for each fold its clusters (J,).
    reml : whether the restricted likelihood is maximised.
    """
    rest = sums.gram - reduced.image.transpose(0, 2, 1) @ reduced.image
    fits = _fits(reduced, sums, rest, factor, folds, reml=reml)
    return float(sum(_deviance(reduced, sums, fit, fold) for fit, fold in zip(fits, folds, strict=True)))


def _fits(
    reduced: Reduced,
    sums: ClusterSums,
    rest: FloatArray,
    factor: FloatArray,
    folds: Sequence[BoolArray],
    *,
    reml: bool,
) -> list[_Estimates]:
    """The fit without each fold."""
    from crosslevel.kernels.refits import refit_draws

    places = places_of(tuple(len(columns) for columns in reduced.structure.columns))
    (q, p1), n = reduced.image.shape[1:], len(folds)
    multiplicity = np.where(np.stack(folds), 0.0, reduced.multiplicity)
    remainder = np.tensordot(multiplicity, rest, axes=1)
    n_rows = multiplicity @ sums.rows
    status, value, factors = np.zeros(n, dtype=np.int64), np.zeros(n), np.zeros((n, q, q))
    chol, contrast = np.zeros((n, p1, p1)), np.zeros((n, p1))
    response = np.repeat(np.ascontiguousarray(reduced.image[None, :, :, -1]), n, axis=0)
    refit_draws(
        reduced.root, reduced.image, places.rows, places.columns, places.block, factor[None], reml, float(EXACT_LIMIT),
        TOLERANCE, reduced.coordinates.intercept, multiplicity, response, remainder, n_rows, status, value, factors,
        chol, contrast,
    )  # fmt: skip
    nu = n_rows - (reduced.p if reml else 0)
    out = []
    for k in range(n):
        if status[k] == FOUND:
            sigma = float(chol[k, -1, -1] / np.sqrt(nu[k]))
            out.append(_Estimates(factor=factors[k], contrast=contrast[k], sigma=sigma))
        else:
            part = replace(reduced, multiplicity=multiplicity[k], remainder=remainder[k], n_rows=float(n_rows[k]))
            out.append(_ordinary(part, reml=reml))
    return out


def _ordinary(reduced: Reduced, *, reml: bool) -> _Estimates:
    """One fit by the solver of single fits."""
    used = reduced.multiplicity > 0.0
    reduced = replace(
        reduced, root=reduced.root[used], image=reduced.image[used], multiplicity=reduced.multiplicity[used]
    )
    solution = solve(reduced, reml=reml)
    (basis,), at = solution.criterion.bases, solution.at
    factor = reduced.basis @ np.linalg.solve(basis, at.factors[0])  # the search may have turned the effects
    return _Estimates(factor=factor, contrast=np.append(-at.beta, 1.0), sigma=float(np.sqrt(at.rss / at.nu)))


def _deviance(reduced: Reduced, sums: ClusterSums, fit: _Estimates, fold: BoolArray) -> float:
    """-2 log density of the clusters of a fold."""
    weight, q = reduced.multiplicity[fold], reduced.structure.q
    scaled = reduced.root[fold] @ fit.factor
    chol = np.linalg.cholesky(np.eye(q) + scaled.transpose(0, 2, 1) @ scaled)
    log_det = 2.0 * np.log(np.einsum("gii->gi", chol)).sum(axis=1)
    inside = reduced.image[fold] @ fit.contrast
    half = np.linalg.solve(chol, np.einsum("gij,gi->gj", scaled, inside)[:, :, None])[:, :, 0]
    square = np.einsum("a,gab,b->g", fit.contrast, sums.gram[fold], fit.contrast) - np.sum(half**2, axis=1)
    log_sigma2 = np.log(2.0 * np.pi * fit.sigma**2) + 2.0 * reduced.coordinates.log_scale[0]
    each = sums.rows[fold] * log_sigma2 + log_det + square / fit.sigma**2 - sums.log_weights[fold]
    return float(weight @ each)
