"""Models with fewer random effects or covariances: parts of the larger model's cross-products; no row is read again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.design.build import ALL_ROWS, Design
from crosslevel.design.crossing import Crossing
from crosslevel.design.factors import GroupingFactor
from crosslevel.design.products import CrossProducts, PrecisionTally
from crosslevel.design.reduced import Reduced, reduce_products
from crosslevel.types import FloatArray, IntArray

Kept: TypeAlias = tuple[tuple[int, ...], ...]
"""For each grouping factor of the larger model the positions of the random effects that stay, ascending."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """What stays of one grouping factor.

    Attributes
    ----------
    place : its position among the larger model's factors.
    effects : (r,) positions of the effects that stay, in the order of the smaller model.
    structure : their blocks, each inside a block of the larger model.
    """

    place: int
    effects: IntArray
    structure: BlockStructure


def everything(design: Design) -> Kept:
    """All random effects of a design."""
    return tuple(tuple(range(factor.structure.q)) for factor in design.factors)


def parts_of(structures: Sequence[BlockStructure], kept: Kept) -> tuple[Part, ...]:
    """The grouping factors of which something stays, with its blocks: parts of free and of uncorrelated blocks."""
    out = []
    for place, (structure, effects) in enumerate(zip(structures, kept, strict=True)):
        if effects:
            chosen = np.array(effects, dtype=np.int64)
            out.append(Part(place=place, effects=chosen, structure=_blocks(structure, chosen)))
    return tuple(out)


def _blocks(structure: BlockStructure, effects: IntArray) -> BlockStructure:
    """Blocks of some of the effects, numbered in their order."""
    kinds, columns = [], []
    for kind, own in zip(structure.kinds, structure.columns, strict=True):
        inside = np.flatnonzero(np.isin(effects, own))
        if len(inside):
            kinds.append(kind)
            columns.append(inside)
    return BlockStructure(kinds=tuple(kinds), columns=tuple(columns), q=len(effects))


def among_all(matrices: Sequence[FloatArray], kept: Kept, larger: Sequence[FloatArray]) -> tuple[FloatArray, ...]:
    """Matrices of the effects that stay among zeros for those that are gone.

    Parameters
    ----------
    matrices : (q_kept, q_kept) of each factor of which something stays.
    kept : for each factor of the larger model the effects that stay.
    larger : (q, q) of each factor of the larger model, for its size.

    Returns
    -------
    matrices (q, q) of each factor of the larger model.
    """
    out = [np.zeros_like(matrix) for matrix in larger]
    mine = iter(matrices)
    for whole, effects in zip(out, kept, strict=True):
        if effects:
            whole[np.ix_(effects, effects)] = next(mine)
    return tuple(out)


def with_effects(design: Design, kept: Kept) -> Design:
    """The design of the smaller model.

    Its cross-products are by level of the one factor that is left, or of all rows together; where several factors are
    reduced to one they stay those of all rows, and the model is solved from `sub_crossing`.
    """
    return with_parts(design, parts_of([factor.structure for factor in design.factors], kept))


def with_parts(design: Design, parts: Sequence[Part]) -> Design:
    """The design of the smaller model, as `with_effects`, with the blocks that its parts say."""
    factors = tuple(_factor(design.factors[part.place], part) for part in parts)
    products = design.products if factors or not design.is_single else pooled(design.products)
    weights = design.weights
    if weights is not None:
        inside = tuple(weights.inside[part.place] for part in parts) if weights.inside else weights.inside
        copies = None if weights.copies is None else tuple(weights.copies[part.place] for part in parts)
        weights = replace(weights, inside=inside, copies=copies)
    return replace(design, factors=factors, products=products, weights=weights)


def _factor(factor: GroupingFactor, part: Part) -> GroupingFactor:
    """A grouping factor with some of its effects."""
    return replace(factor, z=factor.z[part.effects], structure=part.structure)


def pooled(products: CrossProducts) -> CrossProducts:
    """Cross-products of all clusters together, each as often as it counts."""
    tally = products.precision
    if tally is not None:
        tally = PrecisionTally(rows=np.array([products.n_rows]), log_weight=np.array([products.log_weight]))
    return CrossProducts(
        names=products.names,
        levels=ALL_ROWS,
        origin=products.origin,
        count=np.array([products.weight]),
        mean=products.grand_mean[None].copy(),
        scatter=products.total[None].copy(),
        multiplicity=np.ones(1),
        precision=tally,
    )


def sub_reduced(design: Design, part: Part) -> Reduced:
    """Reduced cross-products of a model with one grouping factor and some of its effects."""
    y = len(design.products.names) - 1
    return reduce_products(
        design.products, x=design.x, y=y, z=design.z[part.effects], structure=part.structure, constant=design.constant
    )


def part_of_reduced(reduced: Reduced, part: Part) -> Reduced:
    """Reduced cross-products of a model with some of the effects, from those of the larger model alone.

    With Z_r = Z M and R M = Q S, S (r, r), the new image is the first r rows of Q'c; the others join the remainder.
    """
    flat = (np.sqrt(reduced.multiplicity)[:, None, None] * reduced.root).reshape(-1, reduced.root.shape[2])
    basis = _part_basis(reduced.basis, flat.T @ flat, reduced.n_rows, part)
    turn, r = reduced.basis[:, part.effects] @ np.linalg.inv(basis), len(part.effects)
    if r == len(reduced.basis):  # nothing goes but covariances: the span of Z stays
        root = np.ascontiguousarray(reduced.root @ turn)
        return replace(reduced, root=root, structure=part.structure, basis=basis)
    orthogonal, upper = np.linalg.qr(reduced.root @ turn, mode="complete")
    image = orthogonal.transpose(0, 2, 1) @ reduced.image
    left = image[:, r:]
    return replace(
        reduced,
        root=np.ascontiguousarray(upper[:, :r]),
        image=np.ascontiguousarray(image[:, :r]),
        remainder=reduced.remainder + np.einsum("j,jka,jkb->ab", reduced.multiplicity, left, left),
        structure=part.structure,
        basis=basis,
    )


def without_random_effects(reduced: Reduced) -> Crossing:
    """Cross-products of the same model without random effects, [X y]'[X y] over all clusters."""
    gram = reduced.remainder + np.einsum("g,gka,gkb->ab", reduced.multiplicity, reduced.image, reduced.image)
    return Crossing(
        diagonal=(), image=(), pairs={}, gram=gram, n_rows=reduced.n_rows, structures=(), basis=(),
        coordinates=reduced.coordinates, log_weight=reduced.log_weight,
    )  # fmt: skip


def sub_crossing(crossing: Crossing, parts: tuple[Part, ...]) -> Crossing:
    """Cross-products of several grouping factors with some of their effects.

    Working effects are T b. Of the columns Z T^-1 of the larger model, those of the smaller one are made by T_r,
    diagonal or with an intercept that takes up the slopes' shifts: Z_r T_r^-1 = (Z T^-1) T[:, r] T_r^-1.
    """
    bases = [_basis(crossing, part) for part in parts]
    maps = [
        crossing.basis[part.place][:, part.effects] @ np.linalg.inv(basis)
        for part, basis in zip(parts, bases, strict=True)
    ]
    place = {part.place: new for new, part in enumerate(parts)}
    pairs = {
        (place[k], place[m]): replace(some, block=np.ascontiguousarray(maps[place[k]].T @ some.block @ maps[place[m]]))
        for (k, m), some in crossing.pairs.items()
        if k in place and m in place
    }
    return replace(
        crossing,
        diagonal=tuple(
            np.ascontiguousarray(turn.T @ crossing.diagonal[part.place] @ turn)
            for part, turn in zip(parts, maps, strict=True)
        ),
        image=tuple(
            np.ascontiguousarray(turn.T @ crossing.image[part.place]) for part, turn in zip(parts, maps, strict=True)
        ),
        pairs=pairs,
        structures=tuple(part.structure for part in parts),
        basis=tuple(bases),
    )


def _basis(crossing: Crossing, part: Part) -> FloatArray:
    """T_r (r, r); see `_part_basis`."""
    k = part.place
    return _part_basis(crossing.basis[k], crossing.diagonal[k].sum(axis=0), crossing.n_rows, part)


def _part_basis(basis: FloatArray, total: FloatArray, n_rows: float, part: Part) -> FloatArray:
    """T_r (r, r): that part of T; where slopes have lost their intercept, the root mean squares of their columns.

    A slope has lost it when the intercept is gone or in another block, which cannot take up the slope's shift.

    Parameters
    ----------
    basis : (q, q) T.
    total : (q, q) sum over levels of Z'Z, in the coordinates of T.
    n_rows : n.
    part : what stays.
    """
    effects, block = part.effects, np.arange(-len(basis), 0)  # each effect that is gone in a block of its own
    for k, columns in enumerate(part.structure.columns):
        block[effects[columns]] = k
    lost = np.any((basis != 0.0) & (block[:, None] != block), axis=0)[effects]
    own = basis[effects[:, None], effects]
    if np.any(lost):
        square = np.sum(basis[:, effects] * (total @ basis[:, effects]), axis=0) / n_rows
        own[:, lost] = np.diag(np.sqrt(square))[:, lost]
    return own
