"""Bind a residual structure to the rows of a design, and hold those rows in working coordinates."""

from typing import TYPE_CHECKING

import numpy as np

from crosslevel.design.coordinates import Coordinates
from crosslevel.design.reduced import random_basis, working_coordinates
from crosslevel.design.working import WorkingRows
from crosslevel.errors import DesignError
from crosslevel.memory import require_memory
from crosslevel.residual import Levels, ResidualStructure
from crosslevel.residual.bound import BoundResidual
from crosslevel.residual.correlation import Independent
from crosslevel.residual.exchangeable import EqualCorrelation
from crosslevel.residual.occasions import FreeCorrelation
from crosslevel.residual.variance import StratumVariance
from crosslevel.table import Columns, group_codes
from crosslevel.types import BoolArray, CodeArray, FloatArray

if TYPE_CHECKING:
    from crosslevel.design.build import Design

COPIES = 5
"""Arrays as large as the rows that are held at a time: the rows, whitened, their derivatives."""


def residual_columns(residual: ResidualStructure, columns: Columns) -> tuple[str, ...]:
    """The data columns a structure needs.

    Raises
    ------
    ColumnNotFoundError : one of them is not in the data.
    """
    names = (*residual.numbers, *(name for factor in residual.factors for name in factor.split(":")))
    columns.require(names, "residual")
    return names


def bind_residual(residual: ResidualStructure, columns: Columns, mask: BoolArray | None, n_used: int) -> BoundResidual:
    """Bind a structure to the rows used, of which none misses a value that it needs."""
    numbers: dict[str, FloatArray] = {}
    for name in residual.numbers:
        values = columns.numeric(name)
        numbers[name] = np.array(values if mask is None else values[mask], dtype=np.float64)
    factors: dict[str, Levels] = {}
    for name in residual.factors:
        factor = group_codes(columns, tuple(name.split(":")))
        codes = factor.codes if mask is None else factor.codes[mask]
        present, compact = np.unique(codes, return_inverse=True)
        factors[name] = Levels(
            codes=compact.astype(np.int32), levels=tuple(factor.levels[int(level)] for level in present)
        )
    return residual.bind(numbers, factors, n_used)


def working_rows(design: "Design", residual: BoundResidual) -> WorkingRows:
    """All rows of a design in the order of a residual structure, in working coordinates.

    Raises
    ------
    DesignError : the structure cannot be told from the random effects, or correlates rows of different levels.
    MemoryShortageError : the rows do not fit into memory.
    """
    codes = [design.used_codes(factor)[residual.order] for factor in design.factors]
    check_residual(design, residual, codes)
    n_columns, n = sum(len(factor.z) for factor in design.factors) + len(design.x) + 1, design.rows.used
    require_memory(
        8.0 * n * COPIES * n_columns,
        f"`residual` keeps all rows: {n:,} rows of {n_columns} columns",
        "Leave the structure out, use fewer predictors, or a sample of the rows.",
    )
    columns, bases, coordinates = working_columns(design)
    return WorkingRows.of(
        np.ascontiguousarray(columns[:, residual.order]),
        codes,
        [factor.n_levels for factor in design.factors],
        structures=tuple(factor.structure for factor in design.factors),
        basis=bases,
        coordinates=coordinates,
    )


def working_columns(design: "Design") -> tuple[FloatArray, tuple[FloatArray, ...], Coordinates]:
    """All rows used, in the order of the data: [Z_1 .. Z_K X y] in working coordinates.

    Returns
    -------
    columns : (sum q_k + p + 1, n).
    bases : for each factor, (q_k, q_k) T; working random effects are T b.
    coordinates : those of [X y].
    """
    products = design.products
    xy = np.append(design.x, len(products.names) - 1)
    coordinates = working_coordinates(products, xy, design.constant)
    bases = [random_basis(products, factor.z, factor.structure, design.constant) for factor in design.factors]
    n_random, n = sum(len(factor.z) for factor in design.factors), design.rows.used
    columns, done = np.empty((n_random + len(xy), n)), 0
    for block, _, _ in design.blocks():
        place = slice(done, done + block.shape[1])
        done, start = place.stop, 0
        for factor, (shift, basis) in zip(design.factors, bases, strict=True):
            stop = start + len(factor.z)
            origin = (shift + products.origin[factor.z])[:, None]
            columns[start:stop, place] = (block[factor.z] - origin) / np.diag(basis)[:, None]
            start = stop
        columns[n_random:, place] = (block[xy] - coordinates.shift[:, None]) / coordinates.scale[:, None]
    columns[-1] -= coordinates.removed @ columns[n_random:-1]
    return columns, tuple(basis for _, basis in bases), coordinates


def check_residual(design: "Design", residual: BoundResidual, codes: list[CodeArray]) -> None:
    """Refuse units that lie in several levels of a factor, and structures that repeat what random effects do.

    Parameters
    ----------
    design : the model.
    residual : the structure.
    codes : for each factor, (n,) levels of the rows in the order of the structure.
    """
    if isinstance(residual.variance, StratumVariance):
        _check_strata(design, residual.variance, residual)
    if residual.unit is None or isinstance(residual.correlation, Independent):
        return
    same_unit = residual.unit[1:] == residual.unit[:-1]
    for factor, own in zip(design.factors, codes, strict=True):
        mixed = same_unit & (own[1:] != own[:-1])
        if mixed.any():
            raise DesignError(
                f"`residual` correlates rows within {residual.within}, but units of {residual.within} have rows in "
                f"different levels of {factor.name} ({int(mixed.sum())} neighbouring pairs). Each must lie in one "
                f"{factor.name}: choose smaller units, or drop the random term."
            )
        if factor.n_levels == int(residual.unit.max()) + 1:
            _check_repeated(design, residual, factor.name, design.effects_of(factor))


def _check_repeated(design: "Design", residual: BoundResidual, group: str, effects: tuple[str, ...]) -> None:
    """Refuse equal or free correlations within the very units whose random effects make such correlations."""
    equal = isinstance(residual.correlation, EqualCorrelation) and "Intercept" in effects
    if equal or isinstance(residual.correlation, FreeCorrelation):
        raise DesignError(
            f"`residual` gives the rows of each {residual.within} {residual.words}, and the random term of {group} "
            "does so again, so that the two cannot be told apart. Drop one: without random term the formula is "
            "'y ~ x' alone."
        )


def _check_strata(design: "Design", strata: StratumVariance, residual: BoundResidual) -> None:
    """Refuse a stratum with no more rows than coefficients of its own."""
    columns = np.zeros((len(design.x), design.rows.used))
    done = 0
    for block, _, _ in design.blocks():
        columns[:, done : done + block.shape[1]] = block[design.x]
        done += block.shape[1]
    columns = columns[:, residual.order]
    for s, level in enumerate(strata.levels):
        mine = columns[:, strata.codes == s]
        if mine.shape[1] <= len(design.x) and mine.shape[1] <= np.linalg.matrix_rank(mine):
            raise DesignError(
                f"`residual` wants an own variance for stratum {level!r}, but its {mine.shape[1]} rows are reproduced "
                "exactly by the fixed coefficients. Merge small strata."
            )
