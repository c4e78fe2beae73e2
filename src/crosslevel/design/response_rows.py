"""The rows of a generalized linear mixed model in working coordinates: outcome, fixed columns, random columns."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.design.coordinates import Coordinates
from crosslevel.design.reduced import column_coordinates, random_basis
from crosslevel.memory import require_memory
from crosslevel.types import CodeArray, FloatArray, IntArray

if TYPE_CHECKING:
    from crosslevel.design.build import Design
    from crosslevel.design.factors import GroupingFactor
    from crosslevel.design.outcome import Outcome
    from crosslevel.families import Family

Values = TypeVar("Values", FloatArray, CodeArray, IntArray)
"""Arrays that are put in another order stay what they are."""

COPIES = 3
"""Arrays as large as the rows' columns that are held at a time while they are read, sorted and used."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ResponseTerm:
    """The random effects of one grouping factor, and which of them every row has.

    Attributes
    ----------
    structure : blocks of the random effects.
    basis : (q, q) T; working random effects are T b.
    codes : (n,) level of each row; for multiple membership the first of them.
    z : (n, q) working columns of the random effects.
    n_levels : J.
    weight : (J,) how often each level counts: a sampling weight, a bootstrap draw, or 1.
    members : for multiple membership the levels (n,) of each row, -1 for none, and how much it belongs to each (None:
        1); else empty.
    """

    structure: BlockStructure
    basis: FloatArray
    codes: CodeArray
    z: FloatArray
    n_levels: int
    weight: FloatArray
    members: tuple[tuple[CodeArray, FloatArray | None], ...] = ()

    @property
    def q(self) -> int:
        """Random effects of each level."""
        return self.structure.q


@dataclass(frozen=True, kw_only=True, eq=False)
class ResponseRows:
    """All that the likelihood of a generalized linear mixed model needs of its data.

    The linear predictor of row i is offset_i + x_i'beta + sum over terms of z_i'b_level(i), in working coordinates.

    Attributes
    ----------
    family : distribution and link of the outcome.
    y : (n,) outcome as the family reads it: counts of successes, shares, categories 0 .. C - 1.
    size : (n,) trials of binomial and beta-binomial outcomes, known precisions of the Gaussian working family, else 1.
    weight : (n,) how often each row's log-likelihood counts.
    offset : (n,) known part of the linear predictor.
    x : (n, p) fixed columns, centred (where there is an intercept) and scaled.
    coordinates : those of x; the outcome is not moved.
    terms : the grouping factors.
    order : (n,) position of each row among the rows used, in the order of the data.
    start : (J + 1,) where each cluster's rows start, for models with one grouping factor; None for others.
    n_categories : of an ordered outcome, else 0.
    """

    family: "Family"
    y: FloatArray
    size: FloatArray
    weight: FloatArray
    offset: FloatArray
    x: FloatArray
    coordinates: Coordinates
    terms: tuple[ResponseTerm, ...]
    order: IntArray
    start: IntArray | None
    n_categories: int = 0

    @property
    def n(self) -> int:
        """Rows."""
        return len(self.y)

    @property
    def structures(self) -> tuple[BlockStructure, ...]:
        """Blocks of the random effects of each grouping factor."""
        return tuple(term.structure for term in self.terms)

    @property
    def bases(self) -> tuple[FloatArray, ...]:
        """For each factor (q, q) T; working random effects are T b."""
        return tuple(term.basis for term in self.terms)

    @cached_property
    def counted(self) -> FloatArray:
        """(n,) what each row counts in all: its weight times those of the levels it lies in."""
        out = self.weight.copy()
        for term in self.terms:
            if not term.members and np.any(term.weight != 1.0):
                out *= term.weight[term.codes]
        return out

    @cached_property
    def constant(self) -> float:
        """Part of the log-likelihood that is free of all parameters."""
        from crosslevel.kernels.responses import sum_constants

        return float(sum_constants(self.family.code, self.y, self.size, self.counted))

    def in_data_order(self, values: FloatArray) -> FloatArray:
        """Values (n, ...) of these rows, in the order in which the data have them."""
        out = np.empty_like(values)
        out[self.order] = values
        return out

    def in_row_order(self, values: Values) -> Values:
        """Values (n, ...) in the order of the data, in that of these rows."""
        return cast(Values, np.ascontiguousarray(values[self.order]))

    def with_response(self, y: FloatArray) -> "ResponseRows":
        """The same rows with another outcome (n,), given in the order of the data."""
        return replace(self, y=np.ascontiguousarray(np.asarray(y, dtype=np.float64)[self.order]))

    def reweighted(self, weights: Sequence[FloatArray]) -> "ResponseRows":
        """The same rows with other weights (J,) of each factor's levels: how often a bootstrap drew them."""
        terms = [
            replace(term, weight=np.asarray(weight, dtype=np.float64))
            for term, weight in zip(self.terms, weights, strict=True)
        ]
        return replace(self, terms=tuple(terms))


def response_rows(design: "Design", family: "Family", outcome: "Outcome") -> ResponseRows:
    """Hold a design's rows for a family: with one grouping factor sorted by cluster, else in the order of the data.

    Parameters
    ----------
    design : the columns and grouping factors; its response is not looked at.
    family : distribution and link.
    outcome : what the family models: y, trials, weights of the rows used.

    Raises
    ------
    MemoryShortageError : the rows do not fit into memory.
    """
    n, p = design.rows.used, len(design.x)
    n_columns = p + sum(len(factor.z) for factor in design.factors)
    require_memory(
        8.0 * n * COPIES * (n_columns + 6),
        f"`family` keeps all rows: {n:,} rows of {n_columns} columns",
        "Use fewer predictors, or a sample of the rows.",
    )
    order, start = _order(design)
    x, z, bases, coordinates = _working(design, order)
    terms = tuple(
        _term(design, k, order, columns, basis) for k, (columns, basis) in enumerate(zip(z, bases, strict=True))
    )

    def sorted_rows(values: FloatArray | None, default: float) -> FloatArray:
        return np.full(n, default) if values is None else np.ascontiguousarray(values, dtype=np.float64)[order]

    return ResponseRows(
        family=family,
        y=sorted_rows(outcome.y, 0.0),
        size=sorted_rows(outcome.size, 1.0),
        weight=sorted_rows(outcome.weight, 1.0),
        offset=sorted_rows(design.offset, 0.0),
        x=x,
        coordinates=coordinates,
        terms=terms,
        order=order,
        start=start,
        n_categories=0 if outcome.categories is None else len(outcome.categories),
    )


def _order(design: "Design") -> tuple[IntArray, IntArray | None]:
    """Order (n,) in which the rows are held and, with one grouping factor, where its clusters start (J + 1,)."""
    from crosslevel.kernels.moments import order_by_code

    n = design.rows.used
    if not design.is_single:
        return np.arange(n), None
    factor = design.factors[0]
    codes = design.used_codes(factor)
    order, place = np.empty(n, dtype=np.int64), np.zeros(factor.n_levels + 1, dtype=np.int64)
    order_by_code(codes, place, order)
    return order, np.append(0, place[:-1])


def _term(design: "Design", k: int, order: IntArray, z: FloatArray, basis: FloatArray) -> ResponseTerm:
    """One grouping factor's random effects, with its rows in their order."""
    factor: GroupingFactor = design.factors[k]
    members = design.used_members(factor) if factor.members else ()
    copies = None if design.weights is None else design.weights.copies
    return ResponseTerm(
        structure=factor.structure,
        basis=basis,
        codes=np.ascontiguousarray(design.used_codes(factor)[order], dtype=np.int32),
        z=z,
        n_levels=factor.n_levels,
        weight=np.ones(factor.n_levels) if copies is None else np.asarray(copies[k], dtype=np.float64),
        members=tuple((codes[order], None if share is None else share[order]) for codes, share in members),
    )


def _working(
    design: "Design", order: IntArray
) -> tuple[FloatArray, tuple[FloatArray, ...], tuple[FloatArray, ...], Coordinates]:
    """Fixed columns (n, p) and each factor's columns (n, q_k) in working coordinates, and these: T_k and those of X."""
    products = design.products
    coordinates = _fixed_coordinates(design)
    shift, scale = coordinates.shift[:-1, None], coordinates.scale[:-1, None]
    bases = [random_basis(products, factor.z, factor.structure, design.constant) for factor in design.factors]
    n = design.rows.used
    x, z = np.empty((len(design.x), n)), [np.empty((len(factor.z), n)) for factor in design.factors]
    place, done = np.empty(n, dtype=np.int64), 0
    place[order] = np.arange(n)
    for block, _, _ in design.blocks():
        rows = place[done : done + block.shape[1]]
        done += block.shape[1]
        x[:, rows] = (block[design.x] - shift) / scale
        for factor, columns, (own_shift, basis) in zip(design.factors, z, bases, strict=True):
            origin = (own_shift + products.origin[factor.z])[:, None]
            columns[:, rows] = (block[factor.z] - origin) / basis.diagonal()[:, None]
    # column by column in memory, as sums over rows read them
    return x.T, tuple(columns.T for columns in z), tuple(basis for _, basis in bases), coordinates


def _fixed_coordinates(design: "Design") -> Coordinates:
    """Coordinates of the fixed columns; the outcome's are those of the linear predictor, which is not moved."""
    xy = np.append(design.x, len(design.products.names) - 1)
    found = column_coordinates(design.products, xy, design.constant)
    shift, scale = found.shift.copy(), found.scale.copy()
    shift[-1], scale[-1] = 0.0, 1.0
    return replace(found, shift=shift, scale=scale)
