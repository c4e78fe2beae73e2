"""The rows of a model in working coordinates, for models whose rows have to be looked at again and again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.design.coordinates import Coordinates
from crosslevel.design.crossing import Crossing, Pairs
from crosslevel.types import CodeArray, FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class WorkingRows:
    """Columns [Z_1 .. Z_K X y] of n rows in working coordinates, and the levels the rows belong to.

    Attributes
    ----------
    columns : (sum q_k + p + 1, n).
    codes : for each factor, (n,) level of each row.
    empty : a `Crossing` of these factors without rows: zeros, with the pairs of levels that share rows.
    index : for each pair of factors, (n,) the pair of levels of each row.
    """

    columns: FloatArray = field(repr=False)
    codes: tuple[CodeArray, ...] = field(repr=False)
    empty: Crossing = field(repr=False)
    index: Mapping[tuple[int, int], CodeArray] = field(repr=False)

    @classmethod
    def of(
        cls,
        columns: FloatArray,
        codes: Sequence[CodeArray],
        n_levels: Sequence[int],
        *,
        structures: tuple[BlockStructure, ...],
        basis: tuple[FloatArray, ...],
        coordinates: Coordinates,
    ) -> "WorkingRows":
        """Find the pairs of levels that share rows; see the attributes of this class and of `Crossing`."""
        from crosslevel.kernels.pairs import pair_index

        sizes = [structure.q for structure in structures]
        p1, n_factors = coordinates.p + 1, len(structures)
        pairs, index = {}, {}
        for k in range(n_factors):
            for m in range(k + 1, n_factors):
                start, level, index[k, m] = pair_index(codes[k], codes[m], n_levels[k], n_levels[m])
                pairs[k, m] = Pairs(start=start, level=level, block=np.zeros((len(level), sizes[k], sizes[m])))
        empty = Crossing(
            diagonal=tuple(np.zeros((count, q, q)) for count, q in zip(n_levels, sizes, strict=True)),
            image=tuple(np.zeros((count, q, p1)) for count, q in zip(n_levels, sizes, strict=True)),
            pairs=pairs,
            gram=np.zeros((p1, p1)),
            n_rows=columns.shape[1],
            structures=structures,
            basis=basis,
            coordinates=coordinates,
        )
        return cls(columns=columns, codes=tuple(codes), empty=empty, index=index)

    @property
    def parts(self) -> tuple[slice, ...]:
        """Where each factor's columns stand."""
        ends = np.cumsum([structure.q for structure in self.empty.structures])
        return tuple(
            slice(int(end) - structure.q, int(end)) for end, structure in zip(ends, self.empty.structures, strict=True)
        )

    @property
    def xy(self) -> slice:
        """Where the columns [X y] stand."""
        return slice(sum(structure.q for structure in self.empty.structures), len(self.columns))

    def without_effects(self) -> "WorkingRows":
        """The same rows without grouping factors."""
        return replace(self, columns=self.columns[self.xy], codes=(), empty=without_effects(self.empty), index={})

    def products(self, left: FloatArray, right: FloatArray) -> Crossing:
        """Sums over rows of the products of all columns of `left` with all of `right`, both like `columns`.

        With left = right they are cross-products; otherwise the blocks are not symmetric, and the image holds
        Z_left'[X y]_right only.
        """
        from crosslevel.kernels.pairs import add_blocks

        diagonal = tuple(np.zeros_like(block) for block in self.empty.diagonal)
        image = tuple(np.zeros_like(block) for block in self.empty.image)
        pairs = {key: replace(some, block=np.zeros_like(some.block)) for key, some in self.empty.pairs.items()}
        for part, codes, block, border in zip(self.parts, self.codes, diagonal, image, strict=True):
            add_blocks(left[part], right[part], codes, block)
            add_blocks(left[part], right[self.xy], codes, border)
        for (k, m), some in pairs.items():
            add_blocks(left[self.parts[k]], right[self.parts[m]], self.index[k, m], some.block)
        gram = left[self.xy] @ right[self.xy].T
        return replace(self.empty, diagonal=diagonal, image=image, pairs=pairs, gram=gram)

    def change(self, columns: FloatArray, change: FloatArray) -> Crossing:
        """Derivative of the cross-products of `columns` in the direction `change`, both like `self.columns`."""
        one, other = self.products(change, columns), self.products(columns, change)
        return combine((one, other), (1.0, 1.0))

    def against(self, columns: FloatArray, extra: FloatArray) -> tuple[tuple[FloatArray, ...], FloatArray]:
        """For each factor (J, q, r) Z'a, and (p + 1, r) [X y]'a, of extra columns a (r, n)."""
        from crosslevel.kernels.pairs import add_blocks

        images = []
        for part, codes, block in zip(self.parts, self.codes, self.empty.diagonal, strict=True):
            image = np.zeros((*block.shape[:2], len(extra)))
            add_blocks(columns[part], extra, codes, image)
            images.append(image)
        return tuple(images), columns[self.xy] @ extra.T


def without_effects(crossing: Crossing) -> Crossing:
    """The cross-products of [X y] alone."""
    return replace(crossing, diagonal=(), image=(), pairs={}, structures=(), basis=())


def combine(crossings: Sequence[Crossing], weights: Sequence[float] | FloatArray) -> Crossing:
    """Weighted sum of cross-products of the same factors and pairs."""
    first = crossings[0]

    def total(blocks: list[FloatArray]) -> FloatArray:
        out = weights[0] * blocks[0]
        for weight, block in zip(weights[1:], blocks[1:], strict=True):
            out += weight * block
        return out

    return replace(
        first,
        diagonal=tuple(total([some.diagonal[k] for some in crossings]) for k in range(len(first.diagonal))),
        image=tuple(total([some.image[k] for some in crossings]) for k in range(len(first.image))),
        pairs={
            key: replace(some, block=total([other.pairs[key].block for other in crossings]))
            for key, some in first.pairs.items()
        },
        gram=total([some.gram for some in crossings]),
    )


def multiply(
    crossing: Crossing, effects: tuple[FloatArray, ...], coefficients: FloatArray
) -> tuple[tuple[FloatArray, ...], FloatArray]:
    """Products of [Z X y]'[Z X y] with coefficients of its columns.

    Parameters
    ----------
    crossing : the cross-products.
    effects : for each factor, (J, q, r) coefficients of its columns.
    coefficients : (p + 1, r) those of [X y].

    Returns
    -------
    images : for each factor (J, q, r); border : (p + 1, r).
    """
    images = [
        diagonal @ effect + image @ coefficients
        for diagonal, image, effect in zip(crossing.diagonal, crossing.image, effects, strict=True)
    ]
    border = crossing.gram @ coefficients
    for image, effect in zip(crossing.image, effects, strict=True):
        border = border + np.tensordot(image, effect, axes=([0, 1], [0, 1]))
    for (k, m), some in crossing.pairs.items():
        first = np.repeat(np.arange(len(some.start) - 1), np.diff(some.start))
        np.add.at(images[k], first, some.block @ effects[m][some.level])
        np.add.at(images[m], some.level, some.block.transpose(0, 2, 1) @ effects[k][first])
    return tuple(images), border
