"""Outcomes drawn row by row, for what cross-products cannot tell: resampled residuals, and factors that are crossed.

Residual. The conditional modes of each factor are centred and multiplied by a matrix that makes their covariance
exactly sigma^2 Lambda Lambda', the residuals by a number that makes their mean square sigma^2: as they come they vary
too little, being shrunken. Both are drawn with replacement, levels and rows independently. With precision weights,
residuals are resampled times the square root of the weight.

Wild. With an outermost factor, of whose levels all others lie within one, its marginal residuals y - X beta times a
random weight by level; their leverage is taken off in the metric of ordinary least squares. Where factors are crossed
no rows are independent: each reflated mode and each reflated residual has a weight of its own.

Source: Carpenter, Goldstein & Rasbash (2003), J. R. Statist. Soc. C 52: 431-443; Modugno & Giannerini (2015), Comm.
Statist. Theory Methods 44: 4812-4825.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from crosslevel.design import Design
from crosslevel.errors import CrosslevelError
from crosslevel.inference.bootstrap.draws import Draw, with_response
from crosslevel.inference.bootstrap.setting import Setting
from crosslevel.inference.bootstrap.wild import AUXILIARY, shifts
from crosslevel.inference.prediction import Members, contribution
from crosslevel.memory import require_memory
from crosslevel.solve import Solution
from crosslevel.types import CodeArray, FloatArray

RANK = 1e-12
"""Share of the largest eigenvalue of a covariance below which one is rounding error."""

VARYING = 1e-8
"""The same for what counts as no variance."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelRows:
    """The rows of a fitted model, in the units of the data; the outcome less the offset.

    Attributes
    ----------
    x : (p, n) fixed columns.
    y : (n,) outcome.
    z : for each factor (q, n) columns of its random effects.
    members : for each factor, the levels of the rows.
    weights : (n,) precision weights; None if there are none.
    """

    x: FloatArray
    y: FloatArray
    z: tuple[FloatArray, ...]
    members: tuple[Members, ...]
    weights: FloatArray | None

    @classmethod
    def of(cls, design: Design) -> "ModelRows":
        """Read the rows."""
        n, p = design.rows.used, len(design.x)
        columns = p + 1 + sum(len(factor.z) for factor in design.factors)
        require_memory(
            16.0 * n * columns,
            f"`bootstrap` with rows: {columns} columns of {n:,} rows",
            "Use kind='parametric' or kind='cluster' with one grouping factor, which need cross-products only.",
        )
        x, y = np.empty((p, n)), np.empty(n)
        z = tuple(np.empty((len(factor.z), n)) for factor in design.factors)
        done = 0
        for block, _, _ in design.blocks():
            place = slice(done, done + block.shape[1])
            done = place.stop
            x[:, place], y[place] = block[design.x], block[-1]
            for own, factor in zip(z, design.factors, strict=True):
                own[:, place] = block[factor.z]
        members = tuple(design.used_members(factor) for factor in design.factors)
        weights = design.weights.rows if design.weights is not None and design.weights.is_precision else None
        return cls(x=x, y=y, z=z, members=members, weights=weights)

    def raised(self, residuals: FloatArray, power: float) -> FloatArray:
        """Residuals (n,) times a power of the precision weights."""
        return residuals if self.weights is None else residuals * self.weights**power


@dataclass(frozen=True, kw_only=True, eq=False)
class Reflated:
    """A fitted model taken apart: fixed part, modes and residuals with the variances that were estimated.

    Attributes
    ----------
    rows : of the model.
    fixed : (n,) X beta.
    effects : for each factor (J, q) reflated modes.
    residuals : (n,) reflated residuals, times the square root of precision weights.
    """

    rows: ModelRows = field(repr=False)
    fixed: FloatArray
    effects: tuple[FloatArray, ...]
    residuals: FloatArray

    @classmethod
    def of(cls, rows: ModelRows, solution: Solution) -> "Reflated":
        """Take a solved model apart."""
        fixed = solution.beta @ rows.x
        modes = modes_of(solution)
        residuals: FloatArray = rows.y - fixed
        for own, z, members in zip(modes, rows.z, rows.members, strict=True):
            residuals = residuals - contribution(own, z, members)
        residuals = rows.raised(residuals, 0.5)
        residuals = residuals - residuals.mean()
        size = np.sqrt(np.mean(residuals**2))
        effects = [reflated(own, solution.sigma * factor) for own, factor in zip(modes, solution.factors, strict=True)]
        return cls(rows=rows, fixed=fixed, effects=tuple(effects), residuals=residuals * (solution.sigma / size))

    def resampled(self, rng: np.random.Generator) -> FloatArray:
        """Outcome (n,) with levels and rows that lend each other their effects and residuals."""
        effects = [own[rng.integers(0, len(own), len(own))] for own in self.effects]
        n = len(self.residuals)
        return self.outcome(effects, self.residuals[rng.integers(0, n, n, dtype=np.int32)])

    def weighted(self, rng: np.random.Generator, weights: str) -> FloatArray:
        """Outcome (n,) with a random weight for every effect and residual."""
        draw = AUXILIARY[weights]
        effects = [own * draw(rng, len(own))[:, None] for own in self.effects]
        return self.outcome(effects, self.residuals * draw(rng, len(self.residuals)))

    def outcome(self, effects: Sequence[FloatArray], residuals: FloatArray) -> FloatArray:
        """Put an outcome (n,) together."""
        out = self.fixed + self.rows.raised(residuals, -0.5)
        for own, z, members in zip(effects, self.rows.z, self.rows.members, strict=True):
            out += contribution(own, z, members)
        return out


def modes_of(solution: Solution) -> list[FloatArray]:
    """For each factor conditional modes (J, q), in the units of the data."""
    unit = solution.criterion.coordinates.scale[-1]
    found = zip(solution.criterion.bases, solution.at.modes, strict=True)
    return [np.linalg.solve(basis, modes.T).T * unit for basis, modes in found]


def reflated(modes: FloatArray, factor: FloatArray) -> FloatArray:
    """Modes (J, q), centred and turned so that their covariance (divisor J) is C C' for a factor C (q, q).

    With S their own covariance they are multiplied by S^-1/2 (C C')^1/2, in units in which all C C' have diagonal 1.

    Raises
    ------
    CrosslevelError : fewer levels than effects that vary: their covariance cannot be had.

    Examples
    --------
    >>> import numpy as np
    >>> out = reflated(np.array([[1.0, 0.2], [-1.0, 0.3], [0.5, -0.9]]), np.array([[2.0, 0.0], [1.0, 1.0]]))
    >>> (out.T @ out / 3).round(9).tolist()
    [[4.0, 2.0], [2.0, 2.0]]
    """
    wanted = factor @ factor.T
    unit = np.sqrt(np.where(np.diag(wanted) > 0.0, np.diag(wanted), 1.0))
    centred = (modes - modes.mean(axis=0)) / unit
    values, vectors = np.linalg.eigh(centred.T @ centred / len(modes))
    kept = values > RANK * max(float(values[-1]), 1e-300)
    whitening = (vectors[:, kept] / np.sqrt(values[kept])) @ vectors[:, kept].T
    values, vectors = np.linalg.eigh(wanted / np.outer(unit, unit))
    varying = int(np.count_nonzero(values > VARYING * max(float(values[-1]), 1e-300)))
    if len(modes) - 1 < varying:
        raise CrosslevelError(
            f"`kind` resamples the random effects of levels, and {varying} effects that vary need at least "
            f"{varying + 1} levels; a factor has {len(modes)}. Use kind='parametric'."
        )
    colouring = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return np.asarray(centred @ whitening @ colouring * unit)


@dataclass(frozen=True, kw_only=True, eq=False)
class WildRows:
    """Marginal residuals of the rows, with a random weight for each level of the outermost factor.

    Attributes
    ----------
    fixed, residuals : (n,) X beta, and y - X beta freed of leverage.
    codes : (n,) level of the outermost factor.
    n_levels : J.
    weights : name of the distribution of the weights.
    """

    fixed: FloatArray
    residuals: FloatArray
    codes: CodeArray
    n_levels: int
    weights: str

    @classmethod
    def of(
        cls, rows: ModelRows, solution: Solution, codes: CodeArray, n_levels: int, *, weights: str, leverage: str
    ) -> "WildRows":
        """Prepare the residuals."""
        fixed = solution.beta @ rows.x
        residuals = rows.y - fixed
        if leverage != "none":
            # well-scaled columns that span the same
            scaled = np.linalg.qr((rows.x / np.sqrt(np.mean(rows.x**2, axis=1))[:, None]).T)[0].T
            p = len(scaled)
            gram, score = np.zeros((n_levels, p, p)), np.zeros((n_levels, p))
            for j in range(p):
                score[:, j] = np.bincount(codes, rows.raised(scaled[j] * residuals, 1.0), n_levels)
                for k in range(j + 1):
                    gram[:, j, k] = np.bincount(codes, rows.raised(scaled[j] * scaled[k], 1.0), n_levels)
                    gram[:, k, j] = gram[:, j, k]
            residuals = residuals + np.einsum("nj,jn->n", shifts(gram, score, leverage)[codes], scaled)
        return cls(fixed=fixed, residuals=residuals, codes=codes, n_levels=n_levels, weights=weights)

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """One outcome (n,)."""
        return np.asarray(self.fixed + AUXILIARY[self.weights](rng, self.n_levels)[self.codes] * self.residuals)


@dataclass(frozen=True, kw_only=True, eq=False)
class Responses:
    """Turns outcomes of a model with one grouping factor into draws of its cross-products, from its rows.

    Attributes
    ----------
    setting : the fitted model.
    rows : of the model.
    design : the model.
    """

    setting: Setting
    rows: ModelRows = field(repr=False)
    design: Design = field(repr=False)

    @cached_property
    def working(self) -> tuple[FloatArray, FloatArray]:
        """(p, n) fixed columns and (q, n) random columns in working coordinates, the former times the weights."""
        from crosslevel.design.reduced import random_basis

        design, coordinates = self.design, self.setting.reduced.coordinates
        (factor,) = design.factors
        x = (self.rows.x - coordinates.shift[:-1, None]) / coordinates.scale[:-1, None]
        shift, basis = random_basis(design.products, factor.z, factor.structure, design.constant)
        origin = design.products.origin[factor.z]
        z = (self.rows.z[0] - (shift + origin)[:, None]) / np.diag(basis)[:, None]
        return x, np.ascontiguousarray(z if self.rows.weights is None else z * self.rows.weights)

    def draw(self, y: FloatArray) -> Draw:
        """The cross-products of an outcome (n,)."""
        from crosslevel.kernels.pairs import add_blocks

        x, z = self.working
        reduced, (codes, _) = self.setting.reduced, self.rows.members[0][0]
        coordinates = reduced.coordinates
        own = (y - coordinates.shift[-1]) / coordinates.scale[-1] - coordinates.removed @ x
        product = np.zeros((len(reduced.root), len(z), 1))
        add_blocks(z, np.ascontiguousarray(own[None]), codes, product)
        image = self.solved(product[:, :, 0])
        weighted = self.rows.raised(own, 1.0)
        cross = x @ weighted - np.einsum("gia,gi->a", reduced.image[:, :, :-1], image)
        inside = np.abs(reduced.remainder[:-1, :-1]).max(axis=1, initial=0.0) == 0.0
        return with_response(
            self.setting, image, np.where(inside, 0.0, cross), float(own @ weighted - np.sum(image**2))
        )

    def solved(self, product: FloatArray) -> FloatArray:
        """Solve R'c = Z'y for c (J, q), from Z'y (J, q); zero where R has no row."""
        root, constant = self.setting.reduced.root, self.design.constant
        order = sorted(range(root.shape[1]), key=lambda k: self.design.z[k] != constant)
        out = np.zeros_like(product)
        for place, k in enumerate(order):
            rest = product[:, k] - np.einsum("gi,gi->g", root[:, order[:place], k], out[:, order[:place]])
            np.divide(rest, root[:, k, k], out=out[:, k], where=root[:, k, k] > 0.0)
        return out
