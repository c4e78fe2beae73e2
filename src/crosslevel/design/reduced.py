"""Cross-products in well-scaled coordinates, reduced to what the likelihood needs."""

from dataclasses import dataclass, replace

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.design.coordinates import Coordinates
from crosslevel.design.products import CrossProducts
from crosslevel.types import BoolArray, FloatArray, IntArray

ALIAS_TOLERANCE = 1e-11
"""A column is aliased when the others leave less than this share of its sum of squares (3e-6 of its length)."""

NOTHING = 1e-13
"""Sum of squares and products outside of Z, per row and relative to the columns' own, that counts as none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reduced:
    """What one model needs of its cross-products, and the way back to the columns' own units.

    In working coordinates, for cluster g: R'R = Z'Z and R'c = Z'[X y]; the remainder is [X y]'[X y] - sum c'c.

    Attributes
    ----------
    root : (J, q, q) R.
    image : (J, q, p + 1) c.
    remainder : (p + 1, p + 1) part of [X y]'[X y] outside the span of Z within clusters.
    multiplicity : (J,) how often each cluster counts.
    n_rows : n of the likelihood: rows, or the sum of their weights.
    structure : the blocks of random effects and their covariance structures.
    basis : (q, q) T; working random effects are T b.
    coordinates : those of [X y].
    anchored : whether X spans every random effect's column, so that the effects vary about an estimated mean.
    log_weight : sum of log w over rows where weights w are precisions, else 0.
    """

    root: FloatArray
    image: FloatArray
    remainder: FloatArray
    multiplicity: FloatArray
    n_rows: float
    structure: BlockStructure
    basis: FloatArray
    coordinates: Coordinates
    anchored: bool
    log_weight: float = 0.0

    @property
    def p(self) -> int:
        """Number of fixed columns."""
        return int(self.image.shape[2]) - 1

    def rotated(self, factor: FloatArray) -> tuple["Reduced", FloatArray]:
        """Turn the effects of free blocks to the principal axes of factor factor', largest first.

        Returns
        -------
        reduced : the same model in the turned coordinates.
        factor : (q, q) the same covariance factor there.
        """
        turn = self.structure.principal_axes(factor)
        turned = replace(self, root=np.ascontiguousarray(self.root @ turn), basis=turn.T @ self.basis)
        return turned, turn.T @ factor


@dataclass(frozen=True, kw_only=True, eq=False)
class WorkingPlace:
    """The coordinates in which the cross-products of some clusters are reduced.

    Attributes
    ----------
    columns : (p + 1,) positions of [X y] among the columns of the cross-products.
    z : (q,) positions of the random effects' columns.
    origin : (m,) the point from which the means of the cross-products are measured.
    z_shift, basis : (q,) and (q, q), see `random_basis`.
    z_intercept : position of the constant among `z`, -1 if there is none.
    inside : (p + 1,) whether a column of [X y] lies in the span of Z within every cluster.
    coordinates : those of [X y].
    """

    columns: IntArray
    z: IntArray
    origin: FloatArray
    z_shift: FloatArray
    basis: FloatArray
    z_intercept: int
    inside: BoolArray
    coordinates: Coordinates

    @classmethod
    def of(
        cls, products: CrossProducts, coordinates: Coordinates, *, columns: IntArray, z: IntArray,
        structure: BlockStructure, constant: int,
    ) -> "WorkingPlace":  # fmt: skip
        """The place of a model, `coordinates` being those of [X y] at `columns`."""
        z_intercept = _place(constant, z)
        z_shift, basis = random_basis(products, z, structure, constant)
        inside = np.isin(columns, z)
        inside &= (z_intercept >= 0) | (coordinates.shift == 0.0) | (columns == constant)
        inside[-1] = False
        return cls(
            columns=columns, z=z, origin=products.origin, z_shift=z_shift, basis=basis, z_intercept=z_intercept,
            inside=inside, coordinates=coordinates,
        )  # fmt: skip

    def reduced(self, products: CrossProducts) -> tuple[FloatArray, FloatArray, FloatArray]:
        """R (J, q, q) and c (J, q, p + 1) of clusters, and the remainder (p + 1, p + 1) of all of them."""
        from crosslevel.kernels.reduction import reduce_groups

        q, p1, n_clusters = len(self.z), len(self.columns), len(products.count)
        root, image = np.zeros((n_clusters, q, q)), np.zeros((n_clusters, q, p1))
        remainder = np.zeros((p1, p1))
        scale, removed = self.coordinates.scale, self.coordinates.removed
        x_shift = self.coordinates.shift - self.origin[self.columns]
        reduce_groups(
            products.count, products.mean, products.scatter, products.multiplicity,
            self.z, self.z_shift, self.z_intercept, self.columns, x_shift, self.inside, root, image, remainder,
        )  # fmt: skip
        root /= np.diag(self.basis)
        image /= scale
        remainder = (remainder + np.tril(remainder, -1).T) / (scale * scale[:, None])

        # y - X removed
        image[:, :, -1] -= image[:, :, :-1] @ removed
        change = np.append(-removed, 1.0)
        changed = remainder @ change
        remainder[:-1, -1] = remainder[-1, :-1] = changed[:-1]
        remainder[-1, -1] = change @ changed
        return root, image, remainder

    def remainders(self, products: CrossProducts, image: FloatArray) -> FloatArray:
        """(J, p + 1, p + 1) what Z does not explain of [X y]'[X y] in each cluster, `image` (J, q, p + 1) being c.

        They sum to the remainder of all, whose kernel says why the scatter about the means is enough if Z has an
        intercept.
        """
        columns, coordinates = self.columns, self.coordinates
        out = products.scatter[:, columns[:, None], columns]
        others = np.arange(len(self.z)) != self.z_intercept
        if self.z_intercept < 0:
            mean = products.mean[:, columns] + products.origin[columns] - coordinates.shift
            out = out + products.count[:, None, None] * mean[:, :, None] * mean[:, None, :]
        out = out / np.outer(coordinates.scale, coordinates.scale)
        change = np.eye(len(columns))
        change[:-1, -1] = -coordinates.removed
        own = image[:, others]
        out = change.T @ out @ change - own.transpose(0, 2, 1) @ own
        out[:, self.inside] = 0.0
        out[:, :, self.inside] = 0.0
        return np.asarray(out)


def reduce_products(
    products: CrossProducts, *, x: IntArray, y: int, z: IntArray, structure: BlockStructure, constant: int
) -> Reduced:
    """Reduce cross-products to one model's square roots.

    Parameters
    ----------
    products : cross-products whose columns include the model's.
    x, y, z : positions of the fixed columns (p,), the response, and the random effects' columns (q,).
    structure : covariance structure of the q random effects.
    constant : position of the intercept among the columns of `products`, -1 when there is none.
    """
    columns = np.append(x, y)
    coordinates = working_coordinates(products, columns, constant)
    place = WorkingPlace.of(products, coordinates, columns=columns, z=z, structure=structure, constant=constant)
    root, image, remainder = place.reduced(products)
    if np.abs(remainder).max() <= NOTHING * products.n_rows:  # else rounding would pass for a residual
        remainder[:] = 0.0
    return Reduced(
        root=root,
        image=image,
        remainder=remainder,
        multiplicity=products.multiplicity,
        n_rows=products.n_rows,
        structure=structure,
        basis=place.basis,
        coordinates=coordinates,
        anchored=_anchored(products, x, z, constant),
        log_weight=products.log_weight,
    )


def working_coordinates(products: CrossProducts, columns: IntArray, constant: int) -> Coordinates:
    """Coordinates of fixed columns and response, at `columns` (p + 1,); `constant` is the intercept's position."""
    placed = column_coordinates(products, columns, constant)
    removed = _regression(products, columns, _from_origin(products, columns, constant), placed.scale)
    return replace(placed, removed=removed)


def column_coordinates(products: CrossProducts, columns: IntArray, constant: int) -> Coordinates:
    """The same where nothing is taken out of the response."""
    intercept = _place(constant, columns)
    shift = _from_origin(products, columns, constant) + products.origin[columns]
    scale = _scales(products, columns, constant, centred=intercept >= 0)
    return Coordinates(shift=shift, scale=scale, removed=np.zeros(len(columns) - 1), intercept=intercept)


def _from_origin(products: CrossProducts, columns: IntArray, constant: int) -> FloatArray:
    """Shifts (p + 1,) of the working columns, from the products' origin."""
    intercept = _place(constant, columns)
    if intercept < 0:
        return -products.origin[columns]
    out = products.grand_mean[columns]
    out[intercept] = -products.origin[constant]
    return out


def _regression(products: CrossProducts, columns: IntArray, shift: FloatArray, scale: FloatArray) -> FloatArray:
    """Coefficients (p,) of the ordinary regression of the last of the working columns on the others."""
    mean = products.grand_mean[columns] - shift
    gram = (products.total[np.ix_(columns, columns)] + products.weight * np.outer(mean, mean)) / np.outer(scale, scale)
    return np.asarray(np.linalg.lstsq(gram[:-1, :-1], gram[:-1, -1], rcond=1e-12)[0])


def _anchored(products: CrossProducts, x: IntArray, z: IntArray, constant: int) -> bool:
    """Whether the fixed columns determine those of the random effects."""
    others = np.setdiff1d(z, x)
    if not len(others):
        return True
    kept, _ = independent_columns(products, np.append(x, others), constant)
    return bool(np.all(kept < len(x)))


def _place(constant: int, columns: IntArray) -> int:
    """Where the constant column stands among `columns`, -1 when it does not."""
    found = np.flatnonzero(columns == constant)
    return int(found[0]) if constant >= 0 and len(found) else -1


def _scales(products: CrossProducts, columns: IntArray, constant: int, *, centred: bool) -> FloatArray:
    """Standard deviation of each column, or its root mean square when nothing absorbs its mean; 1 for constants.

    Where weights are precisions, all of these times the root of their mean, so that their unit does not matter.
    """
    average = products.weight / products.n_rows
    variance = np.diag(products.total)[columns] / products.n_rows
    if not centred:
        variance = variance + average * (products.grand_mean + products.origin)[columns] ** 2
    scale = np.sqrt(variance)
    scale[(columns == constant) | (scale == 0.0)] = np.sqrt(average)
    return np.asarray(scale)


def random_basis(
    products: CrossProducts, z: IntArray, structure: BlockStructure, constant: int
) -> tuple[FloatArray, FloatArray]:
    """Shift (q,) of each random column from the products' origin, and T (q, q): working random effects are T b.

    A slope is centred only when its block also has the intercept and is free to take up the shift; it is scaled by
    what it adds to the variance of y, or its block by what all of it adds where the structure ties the effects, unless
    their covariance is known in the units of the data.
    """
    z_shift, z_intercept = -products.origin[z], _place(constant, z)
    centred, uncentred = (_scales(products, z, constant, centred=which) for which in (True, False))
    basis = np.eye(len(z))
    for kind, columns in zip(structure.kinds, structure.columns, strict=True):
        movable = kind.free and z_intercept in columns
        if kind.scalable:
            basis[columns, columns] = (centred if movable else uncentred)[columns]
        elif not kind.fixed:
            basis[columns, columns] = np.sqrt(np.mean(uncentred[columns] ** 2))
        if movable:
            slopes = columns[columns != z_intercept]
            z_shift[slopes] = products.grand_mean[z[slopes]]
            mean = (products.grand_mean + products.origin)[z[slopes]]
            basis[z_intercept, slopes] = basis[z_intercept, z_intercept] * mean
    return z_shift, basis


def independent_columns(products: CrossProducts, x: IntArray, constant: int) -> tuple[IntArray, IntArray]:
    """Split fixed columns into those kept and those that are linear combinations of earlier ones.

    A column is dropped when, after regression on the columns kept before it, less than `ALIAS_TOLERANCE` of its sum of
    squares (about the mean, when there is an intercept) remains.

    Returns
    -------
    kept, dropped : positions within `x`.
    """
    centred = constant in x
    gram = products.total[np.ix_(x, x)].copy()
    if not centred:
        mean = (products.grand_mean + products.origin)[x]
        gram += products.weight * np.outer(mean, mean)
    size = np.diag(gram).copy()
    raw_size = size + products.weight * (products.grand_mean + products.origin)[x] ** 2
    kept: list[int] = []
    dropped: list[int] = []
    for j in range(len(x)):
        if centred and x[j] == constant:
            kept.append(j)
        elif gram[j, j] <= ALIAS_TOLERANCE * size[j] or size[j] <= 1e-26 * raw_size[j] or size[j] == 0.0:
            dropped.append(j)
        else:
            kept.append(j)
            gram = gram - np.outer(gram[:, j], gram[j]) / gram[j, j]
    return np.array(kept, dtype=np.int64), np.array(dropped, dtype=np.int64)
