"""Cross-products of a model with several grouping factors: blocks of levels that share rows."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.covariance.blocks import theta_parts
from crosslevel.design.coordinates import Coordinates
from crosslevel.types import CodeArray, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """The blocks Z_j'Z_l of all levels j of one factor and l of another (or of the same) that share rows.

    Compressed by rows: level j of the first factor meets levels `level[start[j]:start[j + 1]]` of the second, which
    ascend, with the blocks at the same places. Within one factor (multiple membership) only l > j are held.

    Attributes
    ----------
    start : (J_k + 1,) int64.
    level : (m,) int32.
    block : (m, q_k, q_l).
    """

    start: IntArray
    level: CodeArray
    block: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Crossing:
    """What a model with any number of grouping factors needs of its data, in working coordinates.

    Attributes
    ----------
    diagonal : for each factor k, (J_k, q_k, q_k) Z_j'Z_j of its levels.
    image : for each factor, (J_k, q_k, p + 1) Z_j'[X y].
    pairs : blocks between the levels of factors k < l, by (k, l); (k, k) for a factor whose rows have several levels.
    gram : (p + 1, p + 1) [X y]'[X y].
    n_rows : n of the likelihood: rows, or the sum of their weights.
    structures : for each factor, the blocks of its random effects.
    basis : for each factor, (q_k, q_k) T; working random effects are T b.
    coordinates : those of [X y].
    log_weight : sum of log w over rows where weights w are precisions, else 0.

    Where levels count several times (sampling weights of nested factors), the blocks of a level are those of one copy
    of it with all copies of the levels inside it, a pair's those of one copy of the inner level; `gram` and `n_rows`
    count all copies.
    """

    diagonal: tuple[FloatArray, ...]
    image: tuple[FloatArray, ...]
    pairs: Mapping[tuple[int, int], Pairs]
    gram: FloatArray
    n_rows: float
    structures: tuple[BlockStructure, ...]
    basis: tuple[FloatArray, ...]
    coordinates: Coordinates
    log_weight: float = 0.0

    @property
    def p(self) -> int:
        """Number of fixed columns."""
        return len(self.gram) - 1

    @property
    def parts(self) -> tuple[slice, ...]:
        """Which elements of theta belong to each factor."""
        return theta_parts(self.structures)

    def rotated(self, factors: tuple[FloatArray, ...]) -> tuple["Crossing", tuple[FloatArray, ...]]:
        """Turn the effects of each factor's free blocks to the principal axes of its factor factor', largest first.

        Returns
        -------
        crossing : the same model in the turned coordinates.
        factors : for each factor (q, q) the same covariance factor there.
        """
        turns = [structure.principal_axes(factor) for structure, factor in zip(self.structures, factors, strict=True)]
        pairs = {
            (k, m): replace(some, block=np.ascontiguousarray(turns[k].T @ some.block @ turns[m]))
            for (k, m), some in self.pairs.items()
        }
        parts = [
            (np.ascontiguousarray(turn.T @ block @ turn), np.ascontiguousarray(turn.T @ image), turn.T @ basis)
            for turn, block, image, basis in zip(turns, self.diagonal, self.image, self.basis, strict=True)
        ]
        diagonal, image, basis = zip(*parts, strict=True)
        turned = replace(self, diagonal=diagonal, image=image, pairs=pairs, basis=basis)
        return turned, tuple(turn.T @ factor for turn, factor in zip(turns, factors, strict=True))
