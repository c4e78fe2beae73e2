"""Working coordinates of a model with one grouping factor in many replications at once; see `design.reduced`."""

from dataclasses import dataclass, field

import numpy as np

from crosslevel.design import Design
from crosslevel.design.reduced import ALIAS_TOLERANCE, NOTHING
from crosslevel.simulation.processes.drawn import Drawn
from crosslevel.types import BoolArray, FloatArray, IntArray

CONSTANT = 1e-26
"""Share of a column's sum of squares that its mean leaves if the column is constant."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
    """Where the columns of a model stand among those of simulated data.

    Attributes
    ----------
    fixed, random : (p + 1,), (q,) positions of [X y] and of Z.
    intercept, z_intercept : the constant's position among them, -1 if there is none.
    movable : (q,) whether an effect is a slope whose block also has the intercept, which takes up a shift.
    inside : (p + 1,) whether a column lies in the span of Z within every cluster.
    """

    fixed: IntArray
    random: IntArray
    intercept: int
    z_intercept: int
    movable: BoolArray
    inside: BoolArray

    @classmethod
    def of(cls, design: Design, names: tuple[str, ...]) -> "Columns":
        """Those of a design, among `names`."""
        own = design.products.names
        where = np.array([names.index(name) for name in own], dtype=np.int64)
        fixed = np.append(design.x, len(own) - 1)
        intercept, z_intercept = _place(design.constant, fixed), _place(design.constant, design.z)
        inside = np.isin(fixed, design.z) & ((z_intercept >= 0) | (intercept < 0) | (fixed == design.constant))
        inside[-1] = False
        movable = np.zeros(len(design.z), dtype=np.bool_)
        for kind, columns in zip(design.structure.kinds, design.structure.columns, strict=True):
            if kind.free and z_intercept in columns:
                movable[columns[columns != z_intercept]] = True
        return cls(
            fixed=where[fixed], random=where[design.z], intercept=intercept, z_intercept=z_intercept, movable=movable,
            inside=inside,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class WorkingBatch:
    """Reduced cross-products of R replications, and the way back to the columns' own units.

    Attributes
    ----------
    n_rows : (R,) n.
    identified : (R,) whether no fixed column is determined by those before it, and rows are left.
    root, image, remainder : (R, J, q, q), (R, J, q, p + 1), (R, p + 1, p + 1); see `design.Reduced`.
    basis : (R, q, q) T; working random effects are T b.
    shift, scale, removed : (R, p + 1), (R, p + 1), (R, p); see `design.coordinates.Coordinates`.
    intercept : position of the intercept in X, or -1.
    """

    n_rows: FloatArray = field(repr=False)
    identified: BoolArray = field(repr=False)
    root: FloatArray = field(repr=False)
    image: FloatArray = field(repr=False)
    remainder: FloatArray = field(repr=False)
    basis: FloatArray = field(repr=False)
    shift: FloatArray = field(repr=False)
    scale: FloatArray = field(repr=False)
    removed: FloatArray = field(repr=False)
    intercept: int

    @property
    def beta_map(self) -> FloatArray:
        """(R, p, p) A: coefficients in their own units are A (beta_working + removed) + constant."""
        p = self.removed.shape[1]
        ratio = self.scale[:, -1:] / self.scale[:, :-1]
        out = np.zeros((len(ratio), p, p))
        if self.intercept >= 0:
            out[:, self.intercept] = -self.shift[:, :-1] * ratio
        out[:, range(p), range(p)] = ratio
        return out

    def coefficients(self, beta: FloatArray) -> FloatArray:
        """(R, p) coefficients in the units of the data, from working ones."""
        out = np.einsum("rij,rj->ri", self.beta_map, beta + self.removed)
        if self.intercept >= 0:
            out[:, self.intercept] += self.shift[:, -1]
        return np.asarray(out)


def reduce_drawn(drawn: Drawn, columns: Columns) -> WorkingBatch:
    """Reduce the cross-products of R replications to one model's square roots; see `design.reduced.reduce_products`."""
    from crosslevel.kernels.simulated_fit import reduce_replications

    (n, n_clusters), q, p1 = drawn.count.shape, len(columns.random), len(columns.fixed)
    n_rows = drawn.count.sum(axis=1)
    grand = np.einsum("rj,rjm->rm", drawn.count, drawn.mean) / n_rows[:, None]
    shift = np.zeros((n, p1))
    if columns.intercept >= 0:
        shift = grand[:, columns.fixed]
        shift[:, columns.intercept] = 0.0
    gram = _gram(drawn, columns.fixed, shift)
    scale = _scale(gram, n_rows, columns.intercept)
    gram /= scale[:, :, None] * scale[:, None, :]
    identified, removed = _regression(gram, columns.intercept, n_rows, shift / scale)
    identified &= n_rows > p1 - 1
    z_shift, basis = _random_basis(drawn, columns, grand, n_rows)

    root, image = np.zeros((n, n_clusters, q, q)), np.zeros((n, n_clusters, q, p1))
    remainder = np.zeros((n, p1, p1))
    reduce_replications(
        drawn.count, drawn.mean, drawn.scatter, columns.random, z_shift, columns.z_intercept, columns.fixed, shift,
        columns.inside, root, image, remainder,
    )  # fmt: skip
    root /= np.einsum("rii->ri", basis)[:, None, None]
    image /= scale[:, None, None]
    remainder = (remainder + np.tril(remainder, -1).transpose(0, 2, 1)) / (scale[:, :, None] * scale[:, None, :])

    # y - X removed
    image[..., -1] -= np.einsum("rjqa,ra->rjq", image[..., :-1], removed)
    change = np.concatenate([-removed, np.ones((n, 1))], axis=1)
    changed = np.einsum("rab,rb->ra", remainder, change)
    remainder[:, :-1, -1] = remainder[:, -1, :-1] = changed[:, :-1]
    remainder[:, -1, -1] = np.einsum("ra,ra->r", change, changed)
    remainder[np.abs(remainder).max(axis=(1, 2)) <= NOTHING * n_rows] = 0.0  # else rounding would pass for a residual
    return WorkingBatch(
        n_rows=n_rows, identified=identified, root=root, image=image, remainder=remainder, basis=basis, shift=shift,
        scale=scale, removed=removed, intercept=columns.intercept,
    )  # fmt: skip


def _gram(drawn: Drawn, columns: IntArray, shift: FloatArray) -> FloatArray:
    """(R, m, m) sums of squares and products of some columns less `shift` (R, m)."""
    away = drawn.mean[:, :, columns] - shift[:, None]
    weighted = away * drawn.count[:, :, None]
    within = drawn.scatter.sum(axis=1)[:, columns[:, None], columns]
    return np.asarray(within + weighted.transpose(0, 2, 1) @ away)


def _scale(gram: FloatArray, n_rows: FloatArray, constant: int) -> FloatArray:
    """(R, m) root mean squares of columns; 1 for the constant and for columns of zeros."""
    out = np.sqrt(np.einsum("rii->ri", gram) / n_rows[:, None])
    if constant >= 0:
        out[:, constant] = 1.0
    return np.where(out == 0.0, 1.0, out)


def _random_basis(
    drawn: Drawn, columns: Columns, grand: FloatArray, n_rows: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Shift (R, q) of each random column, and T (R, q, q); see `design.reduced.random_basis`."""
    shift = np.where(columns.movable, grand[:, columns.random], 0.0)
    away = drawn.mean[:, :, columns.random] - shift[:, None]
    squares = drawn.scatter.sum(axis=1)[:, columns.random, columns.random]
    squares = squares + np.einsum("rj,rjq->rq", drawn.count, away**2)
    size = np.sqrt(squares / n_rows[:, None])
    size[size == 0.0] = 1.0
    q = len(columns.random)
    basis = np.zeros((len(size), q, q))
    if columns.z_intercept >= 0:
        size[:, columns.z_intercept] = 1.0
        basis[:, columns.z_intercept] = shift
    basis[:, range(q), range(q)] = size
    return shift, basis


def _regression(
    gram: FloatArray, intercept: int, n_rows: FloatArray, shift: FloatArray
) -> tuple[BoolArray, FloatArray]:
    """Regression of the last of p + 1 working columns on the others, by a Cholesky factor of all replications at once.

    Parameters
    ----------
    gram : (R, p + 1, p + 1) sums of squares and products of working columns.
    intercept : position of the constant, -1 if there is none.
    n_rows, shift : (R,) rows, and (R, p + 1) what was subtracted from the columns in units of their scale.

    Returns
    -------
    identified : (R,) whether no column is determined by those before it; see `design.reduced.independent_columns`.
    coefficients : (R, p), zero where not identified.
    """
    n, p1, _ = gram.shape
    size = np.einsum("rii->ri", gram)
    constant = size <= CONSTANT * (size + n_rows[:, None] * shift**2)
    if intercept >= 0:
        constant[:, intercept] = False
    identified, lower = ~np.any(constant[:, :-1], axis=1), np.zeros((n, p1, p1))
    for j in range(p1 - 1):
        left = gram[:, j:, j] - np.einsum("rik,rk->ri", lower[:, j:, :j], lower[:, j, :j])
        identified &= left[:, 0] > ALIAS_TOLERANCE * size[:, j]
        pivot = np.where(identified, left[:, 0], 1.0)
        lower[:, j:, j] = left / np.sqrt(pivot)[:, None]
        lower[:, j, j] = np.sqrt(pivot)
    out = lower[:, -1, :-1].copy()
    for j in reversed(range(p1 - 1)):
        out[:, j] -= np.einsum("rk,rk->r", lower[:, j + 1 : -1, j], out[:, j + 1 :])
        out[:, j] /= lower[:, j, j]
    return identified, np.where(identified[:, None], out, 0.0)


def _place(constant: int, columns: IntArray) -> int:
    """Where the constant column stands among `columns`, -1 when it does not."""
    found = np.flatnonzero(columns == constant)
    return int(found[0]) if constant >= 0 and len(found) else -1
