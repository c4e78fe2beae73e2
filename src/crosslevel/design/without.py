"""The design of a model without some of its rows: what was learnt of all rows stays, cross-products are left out."""

from dataclasses import replace

import numpy as np

from crosslevel.design.build import ALL_ROWS, Design
from crosslevel.design.checks import check_columns
from crosslevel.design.coordinates import Coordinates
from crosslevel.design.crossing import Crossing
from crosslevel.design.factors import GroupingFactor
from crosslevel.design.products import CrossProducts
from crosslevel.design.reduced import independent_columns, working_coordinates
from crosslevel.design.weighting import RowWeights
from crosslevel.types import BoolArray, FloatArray, IntArray


def kept_levels(products: CrossProducts, keep: BoolArray) -> CrossProducts:
    """Cross-products of some of the clusters, `keep` (J,)."""
    tally = products.precision
    return replace(
        products,
        levels=tuple(level for level, kept in zip(products.levels, keep, strict=True) if kept),
        count=products.count[keep],
        mean=products.mean[keep],
        scatter=products.scatter[keep],
        multiplicity=products.multiplicity[keep],
        precision=None if tally is None else replace(tally, rows=tally.rows[keep], log_weight=tally.log_weight[keep]),
    )


def pooled(products: CrossProducts) -> CrossProducts:
    """The cross-products of all rows as those of one cluster."""
    tally = products.precision
    return replace(
        products,
        levels=ALL_ROWS,
        count=np.array([products.weight]),
        mean=products.grand_mean[None],
        scatter=products.total[None],
        multiplicity=np.ones(1),
        precision=None
        if tally is None
        else replace(tally, rows=np.array([products.n_rows]), log_weight=np.array([products.log_weight])),
    )


def without_rows(design: Design, left_out: BoolArray, products: CrossProducts) -> Design:
    """The design of the other rows.

    Columns that earlier ones determine there are left out, as if the model were built anew; centring constants and
    cluster means are those of all rows.

    Parameters
    ----------
    design : of all rows, in memory, without residual structure, sampling weights and multiple membership.
    left_out : (rows used,) true for the rows to leave out.
    products : cross-products of the other rows: by level of the one grouping factor, or of all rows.

    Raises
    ------
    DesignError : the outcome does not vary in the other rows.
    """
    kept = ~left_out
    mask = np.ones(design.columns.n_rows, dtype=bool) if design.mask is None else design.mask.copy()
    mask[np.flatnonzero(mask)[left_out]] = False
    check_columns(products)
    x, dropped = independent_columns(products, design.x, design.constant)
    names = tuple(design.fixed_names[k] for k in dropped)
    return replace(
        design,
        mask=mask,
        rows=replace(design.rows, used=int(np.count_nonzero(kept))),
        factors=tuple(_fewer_levels(factor, mask) for factor in design.factors),
        products=products,
        x=design.x[x],
        aliased=(*design.aliased, *names),
        response=None if design.response is None else design.response[kept],
        weights=None if design.weights is None else _kept_weights(design.weights, kept),
        offset=None if design.offset is None else design.offset[kept],
    )


def _fewer_levels(factor: GroupingFactor, mask: BoolArray) -> GroupingFactor:
    """The factor with the levels that have a row in the mask."""
    present = np.bincount(factor.codes[mask], minlength=factor.n_levels) > 0
    place = np.append(np.where(present, np.cumsum(present) - 1, -1), -1).astype(np.int32)
    levels = tuple(level for level, here in zip(factor.levels, present, strict=True) if here)
    return replace(factor, levels=levels, given=place[factor.codes])


def _kept_weights(weights: RowWeights, kept: BoolArray) -> RowWeights:
    """Weights of the rows that stay, each row or level of which counts as it did."""
    inside = tuple(None if part is None else part[kept] for part in weights.inside)
    rows, total = (None if part is None else part[kept] for part in (weights.rows, weights.total))
    return replace(weights, rows=rows, total=total, inside=inside)


def crossing_of(products: CrossProducts, x: IntArray, constant: int) -> Crossing:
    """What a regression without random effects needs, from cross-products of its rows.

    Parameters
    ----------
    products : of the columns and, last, the outcome.
    x : (p,) positions of the fixed columns.
    constant : position of the intercept, -1 if there is none.
    """
    columns = np.append(x, len(products.names) - 1)
    coordinates = working_coordinates(products, columns, constant)
    return Crossing(
        diagonal=(),
        image=(),
        pairs={},
        gram=_working_gram(products, columns, coordinates),
        n_rows=products.n_rows,
        structures=(),
        basis=(),
        coordinates=coordinates,
        log_weight=products.log_weight,
    )


def _working_gram(products: CrossProducts, columns: IntArray, coordinates: Coordinates) -> FloatArray:
    """[X y]'[X y] (p + 1, p + 1) in working coordinates."""
    mean = products.grand_mean[columns] + products.origin[columns] - coordinates.shift
    gram = products.total[np.ix_(columns, columns)] + products.weight * np.outer(mean, mean)
    gram = gram / np.outer(coordinates.scale, coordinates.scale)
    change = np.eye(len(columns))
    change[:-1, -1] = -coordinates.removed
    return np.asarray(change.T @ gram @ change)
