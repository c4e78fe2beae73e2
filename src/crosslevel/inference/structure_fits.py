"""Fits of many structures of the random effects of one grouping factor, from the cross-products of the largest.

Each is a compiled search on parts of the largest model's cross-products (`design.submodel.part_of_reduced`), which
starts from the covariances of a fit that was found before; what it cannot finish goes to the ordinary solver.
"""

from dataclasses import dataclass, field
from functools import cache

import numpy as np

from crosslevel.covariance import COVARIANCES, BlockStructure
from crosslevel.design.reduced import Reduced
from crosslevel.design.submodel import Part, part_of_reduced
from crosslevel.inference.bootstrap.setting import Places
from crosslevel.likelihood.profiled import EXACT_LIMIT, ProfiledDeviance
from crosslevel.optimise import MAX_STEPS, TOLERANCE
from crosslevel.solve.one_factor import has_one_minimum, solve, starting_thetas
from crosslevel.solve.solution import Solution
from crosslevel.types import FloatArray

FOUND = 0
"""How a compiled search ends if it has found the minimum; see `kernels.refits`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StructureFit:
    """Estimates of a model with one grouping factor.

    Attributes
    ----------
    reduced : its cross-products.
    reml : whether the restricted likelihood was maximised.
    factor : (q, q) Lambda in working coordinates.
    deviance : -2 (restricted) log-likelihood.
    beta, vcov : (p,) coefficients and (p, p) their covariance given the variances.
    sigma : residual standard deviation.
    """

    reduced: Reduced = field(repr=False)
    reml: bool
    factor: FloatArray
    deviance: float
    beta: FloatArray
    vcov: FloatArray
    sigma: float

    @property
    def eigenvalues(self) -> FloatArray:
        """(q,) of the relative covariance of the standardised random effects."""
        return np.asarray(np.linalg.svd(self.factor, compute_uv=False) ** 2)

    @property
    def data_factor(self) -> FloatArray:
        """(q, q) a square root of the relative covariance in the units of the data."""
        return np.linalg.solve(self.reduced.basis, self.factor)

    def solve(self, *, max_steps: int = MAX_STEPS) -> Solution:
        """The solution of the ordinary solver, which starts where this ended and so is soon there."""
        theta = self.reduced.structure.nearest(self.factor)
        return solve(self.reduced, reml=self.reml, start=theta, max_steps=max_steps)


def fit_structure(reduced: Reduced, part: Part, near: FloatArray, *, reml: bool) -> StructureFit | None:
    """Fit one structure by the compiled search; None if that does not find the minimum.

    Parameters
    ----------
    reduced : cross-products of the largest model.
    part : which of its effects, in which free blocks, one after the other.
    near : (Q, r) square root of relative covariances of all of its effects, in the units of the data: where to start.
    reml : restricted rather than full likelihood.
    """
    from crosslevel.kernels.refits import refit_draws

    own = part_of_reduced(reduced, part)
    places = places_of(tuple(len(columns) for columns in own.structure.columns))
    q, p1 = own.image.shape[1:]
    n_rows = np.array([own.n_rows])
    status, deviance, factor = np.zeros(1, dtype=np.int64), np.zeros(1), np.zeros((1, q, q))
    chol, contrast = np.zeros((1, p1, p1)), np.zeros((1, p1))
    refit_draws(
        own.root, own.image, places.rows, places.columns, places.block, _starts(own, near[part.effects], reml=reml),
        reml, float(EXACT_LIMIT), TOLERANCE, own.coordinates.intercept, own.multiplicity[None],
        np.ascontiguousarray(own.image[None, :, :, -1]), own.remainder[None], n_rows, status, deviance, factor, chol,
        contrast,
    )  # fmt: skip
    if status[0] != FOUND:
        return None
    return _in_data_units(own, float(deviance[0]), factor[0], np.tril(chol[0]), contrast[0], reml=reml)


@cache
def places_of(sizes: tuple[int, ...]) -> Places:
    """Places of the elements of Lambda in free blocks of these sizes, one after the other."""
    kinds, ends = (COVARIANCES["us"],) * len(sizes), np.cumsum(sizes)
    columns = tuple(np.arange(end - size, end) for size, end in zip(sizes, ends, strict=True))
    found = Places.of(BlockStructure(kinds=kinds, columns=columns, q=int(ends[-1])))
    assert found is not None  # free blocks have places
    return found


def _starts(own: Reduced, near: FloatArray, *, reml: bool) -> FloatArray:
    """(S, q, q) Lambdas to start from: that near to known covariances; and more where minima may be several."""
    structure = own.structure
    first = structure.factor(structure.nearest(own.basis @ near))
    if has_one_minimum(own):
        return first[None]
    thetas = starting_thetas(ProfiledDeviance(reduced=own, reml=reml))
    return np.stack([first, *(structure.factor(theta) for theta in thetas)])


def _in_data_units(
    own: Reduced, value: float, factor: FloatArray, chol: FloatArray, contrast: FloatArray, *, reml: bool
) -> StructureFit:
    """Estimates from what the kernel leaves; see `kernels.refits.refit_draws`."""
    coordinates, p = own.coordinates, own.p
    nu, (log_y, log_x) = own.n_rows - (p if reml else 0), coordinates.log_scale
    sigma = float(chol[-1, -1] / np.sqrt(nu))
    half = coordinates.beta_map @ np.linalg.inv(chol[:-1, :-1]).T * sigma
    return StructureFit(
        reduced=own, reml=reml, factor=factor,
        deviance=value + 2.0 * nu * log_y - own.log_weight + 2.0 * log_x * reml,
        beta=coordinates.coefficients(-contrast[:-1]), vcov=half @ half.T, sigma=sigma * float(coordinates.scale[-1]),
    )  # fmt: skip
