"""A model with one grouping factor fitted again without one set of rows after another, compiled.

The coordinates are those of the whole model, so that a refit replaces the cross-products of the few clusters that it
touches, begins at the estimate, and ends after two or three steps. What the compiled search cannot finish, and
structures whose Lambda has no free elements, are left to `left_out`.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from crosslevel.design import Design
from crosslevel.design.build import CONSTANT
from crosslevel.design.products import CrossProducts
from crosslevel.design.reduced import NOTHING
from crosslevel.inference.bootstrap.refits import FOUND, estimates
from crosslevel.inference.bootstrap.setting import Places, Setting, working_place
from crosslevel.inference.clusterings import Clustering
from crosslevel.inference.deletions import Deletions, Pieces
from crosslevel.likelihood.profiled import EXACT_LIMIT, ProfiledDeviance
from crosslevel.solve import Solution
from crosslevel.solve.one_factor import has_one_minimum, more_starts, starting_theta
from crosslevel.types import BoolArray, FloatArray, IntArray

TINY = 1e-9
"""Residual variance, relative to the outcome's, below which it is asked whether there is any."""


SOME = 1e-3
"""Share of a column's scatter that has to be left for the whole model's coordinates to suit what is left."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """Refits.

    Attributes
    ----------
    found : (D,) whether the minimum was found; if not, the other numbers mean nothing.
    values : (D, m) all estimates, coefficients first.
    vcov : (D, p, p) covariance of the coefficients.
    factor : (D, q, q) Lambda in the working coordinates of the whole model.
    n_clusters, n_rows : (D,) clusters left, and n of the likelihood.
    alike : (D,) whether the columns that vary within clusters are those of the whole model.
    """

    found: BoolArray
    values: FloatArray
    vcov: FloatArray
    factor: FloatArray
    n_clusters: FloatArray
    n_rows: FloatArray
    alike: BoolArray


@dataclass(frozen=True, kw_only=True, eq=False)
class CompiledRefits:
    """Refits of one model.

    Attributes
    ----------
    setting : the fitted model.
    places : of the parameters of Lambda.
    deletions : the rows of each refit that are left out.
    """

    setting: Setting = field(repr=False)
    places: Places = field(repr=False)
    deletions: Deletions = field(repr=False)

    @classmethod
    def of(cls, design: Design, solution: Solution, sets: Clustering, *, reml: bool) -> "CompiledRefits | None":
        """Refits of a model; None if Lambda has no free elements."""
        setting = Setting.of(design, solution, reml=reml)
        if setting.places is None:
            return None
        return cls(setting=setting, places=setting.places, deletions=Deletions(design=design, sets=sets))

    def fit(self, begin: int, end: int) -> Found:
        """Refits without the sets begin .. end - 1."""
        from crosslevel.kernels.refits import refit_without

        setting, pieces = self.setting, self.deletions.pieces(begin, end)
        own, n = setting.reduced, end - begin
        place = working_place(setting.design)
        root, image, _ = place.reduced(pieces.products)
        owner = np.repeat(np.arange(n), np.diff(pieces.first))
        change = np.zeros((n, *own.remainder.shape))
        np.add.at(change, owner, place.remainders(pieces.products, image) - setting.remainders[pieces.group])
        n_rows, n_clusters = self._counts(pieces, owner, n)
        remainder = own.remainder + change
        remainder[np.abs(remainder).max(axis=(1, 2)) <= NOTHING * n_rows] = 0.0

        q, p1 = own.image.shape[1:]
        status, deviance, factor = np.zeros(n, dtype=np.int64), np.zeros(n), np.zeros((n, q, q))
        chol, contrast = np.zeros((n, p1, p1)), np.zeros((n, p1))
        refit_without(
            own.root, own.image, own.multiplicity, self.places.rows, self.places.columns, self.places.block,
            self._starts, setting.reml, float(EXACT_LIMIT), setting.tolerance, own.coordinates.intercept,
            pieces.first, pieces.group, root, image, np.where(pieces.gone, 0.0, own.multiplicity[pieces.group]),
            remainder, n_rows, status, deviance, factor, chol, contrast,
        )  # fmt: skip
        found = (status == FOUND) & self._is_sound(pieces, owner, n_clusters, chol[:, -1, -1] ** 2 / n_rows)
        nu = n_rows[found] - (own.p if setting.reml else 0)
        estimated, half = estimates(own, nu, factor[found], chol[found], contrast[found])
        values, vcov = np.full((n, estimated.shape[1]), np.nan), np.full((n, own.p, own.p), np.nan)
        values[found], vcov[found] = estimated, half @ half.transpose(0, 2, 1)
        return Found(
            found=found, values=values, vcov=vcov, factor=factor, n_clusters=n_clusters, n_rows=n_rows,
            alike=self._alike(pieces, owner, n),
        )  # fmt: skip

    def _counts(self, pieces: Pieces, owner: IntArray, n: int) -> tuple[FloatArray, FloatArray]:
        """(D,) n of the likelihood, and clusters that are left."""
        own, tally = self.setting.reduced, pieces.products.precision
        times = own.multiplicity[pieces.group]
        rows = pieces.products.count if tally is None else tally.rows
        lost = times * (self.setting.rows[pieces.group] - rows)
        gone = np.bincount(owner, weights=pieces.gone.astype(np.float64), minlength=n)
        return (
            own.n_rows - np.bincount(owner, weights=lost, minlength=n),
            np.asarray(self.setting.n_clusters - gone, dtype=np.float64),
        )

    def _is_sound(self, pieces: Pieces, owner: IntArray, n_clusters: FloatArray, variance: FloatArray) -> BoolArray:
        """(D,) whether no check of `design.checks` could refuse the model; if one could, it is done in full.

        That is: rows are left beyond the random effects of their clusters, more clusters than coefficients, some
        residual `variance` (D,), in working units, and columns that vary as they did. A column nearly all of whose
        scatter goes is also worked on in other coordinates.
        """
        own, products = self.setting.reduced, self.setting.design.products
        q = own.root.shape[1]
        spare = np.maximum(self.setting.rows - q, 0.0)
        tally = pieces.products.precision
        rows = pieces.products.count if tally is None else tally.rows
        lost = spare[pieces.group] - np.maximum(rows - q, 0.0)
        left = float(spare.sum()) - np.bincount(owner, weights=lost, minlength=len(n_clusters))
        tiny = variance <= TINY * float(products.weight / products.n_rows)
        sound = (left > own.p) & (n_clusters > max(own.p, 1)) & ~tiny
        return np.asarray(sound & self._keeps_scatter(pieces, owner, len(n_clusters)))

    def _keeps_scatter(self, pieces: Pieces, owner: IntArray, n: int) -> BoolArray:
        """(D,) whether each column keeps some of its scatter about the mean, and Z its rank within clusters.

        Where columns of Z lie in the span of X, the search has seen that they are independent; else their scatter
        within clusters has to show it.
        """
        products, z = self.setting.design.products, self.setting.design.z
        before, after = _about(products, pieces.group), _about(pieces.products, None, mean=products.grand_mean)
        lost = np.zeros((3, n, len(products.names)))
        for part, old, new in zip(lost, before, after, strict=True):
            np.add.at(part, owner, old - new)
        weight = products.weight - lost[0]
        total = np.diag(products.total) - lost[1] - lost[2] ** 2 / weight
        keeps = np.all(total >= SOME * np.diag(products.total), axis=1)
        if self.setting.reduced.anchored:
            return np.asarray(keeps)
        slopes = z[z != self.setting.design.constant]
        within = np.repeat(products.within[np.ix_(slopes, slopes)][None], n, axis=0)
        change = products.scatter[pieces.group] - pieces.products.scatter
        np.subtract.at(within, owner, change[:, slopes[:, None], slopes])
        size = np.sqrt(np.maximum(np.diag(products.within)[slopes], 1e-300))
        least = np.linalg.eigvalsh(within / np.outer(size, size)).min(axis=1, initial=np.inf)
        return np.asarray(keeps & (least > SOME))

    def _alike(self, pieces: Pieces, owner: IntArray, n: int) -> BoolArray:
        """(D,) whether what varies within clusters in all rows does without some of them.

        A column's scatter within clusters may go with a deletion; one that had none gets none.
        """
        products = self.setting.design.products
        within, each = np.diag(products.within), np.einsum("gii->gi", products.scatter)
        lost = np.zeros((n, len(within)))
        np.add.at(lost, owner, each[pieces.group] - np.einsum("gii->gi", pieces.products.scatter))
        varies = within > CONSTANT * np.diag(products.total)
        return np.asarray(np.all((within - lost > 1e-6 * within)[:, varies], axis=1))

    @cached_property
    def _starts(self) -> FloatArray:
        """(S, q, q) Lambdas to start from: the estimate, and others where there may be several minima."""
        own, (clusters, rows) = self.setting.reduced, self.deletions.most
        left = max(len(own.multiplicity) - clusters, 0)
        fewest = replace(own, multiplicity=own.multiplicity[:left], n_rows=own.n_rows - rows)
        if has_one_minimum(fewest):
            return self.setting.factor[None]
        criterion = ProfiledDeviance(reduced=own, reml=self.setting.reml)
        others = (starting_theta(criterion), *more_starts(own.structure))
        return np.stack([self.setting.factor, *(own.structure.factor(theta) for theta in others)])


def _about(
    products: CrossProducts, group: IntArray | None, mean: FloatArray | None = None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weight, sum of squares and sum (m, columns) of clusters, about a mean; the grand mean if None."""
    count = (products.count if group is None else products.count[group])[:, None]
    away = (products.mean if group is None else products.mean[group]) - (products.grand_mean if mean is None else mean)
    scatter = np.einsum("gii->gi", products.scatter if group is None else products.scatter[group])
    return np.broadcast_to(count, away.shape), scatter + count * away**2, count * away
