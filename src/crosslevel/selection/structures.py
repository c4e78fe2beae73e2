"""Structures of the random effects of one grouping factor: which vary, and which of them together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb


@dataclass(frozen=True, kw_only=True)
class RandomStructure:
    """Which coefficients vary between clusters, in blocks: effects of a block are correlated, blocks are not.

    Attributes
    ----------
    blocks : for each block the names of its effects; blocks and effects in the order of the maximal model.

    Examples
    --------
    >>> structure = RandomStructure(blocks=(("Intercept", "x"), ("w",)))
    >>> structure.n_effects, structure.n_correlations, structure.words
    (3, 1, 'Intercept ~ x, w')
    """

    blocks: tuple[tuple[str, ...], ...]

    @property
    def effects(self) -> tuple[str, ...]:
        """Names of the effects, block by block."""
        return tuple(name for block in self.blocks for name in block)

    @property
    def n_effects(self) -> int:
        """How many effects vary."""
        return len(self.effects)

    @property
    def n_correlations(self) -> int:
        """How many correlations are estimated."""
        return sum(comb(len(block), 2) for block in self.blocks)

    @property
    def n_parameters(self) -> int:
        """Variances and covariances."""
        return self.n_effects + self.n_correlations

    @property
    def words(self) -> str:
        """Effects of a block joined by ~, blocks by commas."""
        return ", ".join(" ~ ".join(block) for block in self.blocks)

    @property
    def correlated(self) -> frozenset[frozenset[str]]:
        """Pairs of effects whose correlation is estimated."""
        return frozenset(frozenset(pair) for block in self.blocks for pair in combinations(block, 2))

    def joined(self, order: Mapping[str, int]) -> "Iterator[RandomStructure]":
        """The structures in which two of its blocks are one; `order` has the place of each effect."""
        for one, other in combinations(self.blocks, 2):
            both = tuple(sorted((*one, *other), key=order.__getitem__))
            blocks = [both, *(block for block in self.blocks if block not in (one, other))]
            yield RandomStructure(blocks=tuple(sorted(blocks, key=lambda block: order[block[0]])))

    def within(self, other: "RandomStructure") -> bool:
        """Whether it is the other structure with effects or correlations taken out, or the same."""
        places = {name: k for k, block in enumerate(other.blocks) for name in block}
        return all(
            all(name in places for name in block) and len({places[name] for name in block}) == 1
            for block in self.blocks
        )


Partition = tuple[tuple[int, ...], ...]
"""Positions in blocks; blocks sorted by their first position."""


def partitions(n: int) -> Iterator[Partition]:
    """All set partitions of n positions: as many as the Bell number of n, from one block to n.

    Examples
    --------
    >>> list(partitions(3))
    [((0, 1, 2),), ((0, 1), (2,)), ((0, 2), (1,)), ((0,), (1, 2)), ((0,), (1,), (2,))]
    >>> [sum(1 for _ in partitions(n)) for n in (1, 2, 3, 4, 5, 6, 7)]
    [1, 2, 5, 15, 52, 203, 877]
    """

    def grow(k: int, blocks: list[list[int]]) -> Iterator[list[list[int]]]:
        if k == n:
            yield blocks
            return
        for i in range(len(blocks)):
            yield from grow(k + 1, [[*block, k] if j == i else block for j, block in enumerate(blocks)])
        yield from grow(k + 1, [*blocks, [k]])

    found = [tuple(tuple(block) for block in blocks) for blocks in grow(0, [])]
    yield from sorted(found, key=len)


def bell(n: int) -> int:
    """Number of set partitions of n positions.

    Examples
    --------
    >>> [bell(n) for n in range(9)]
    [1, 1, 2, 5, 15, 52, 203, 877, 4140]
    """
    numbers = [1]
    for m in range(n):
        numbers.append(sum(comb(m, k) * numbers[k] for k in range(m + 1)))
    return numbers[n]


def splits(block: Sequence[int]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """All ways to split a block in two.

    Examples
    --------
    >>> list(splits((0, 1, 2)))
    [((0, 1), (2,)), ((0, 2), (1,)), ((0,), (1, 2))]
    """
    first, rest = block[0], tuple(block[1:])
    for size in range(len(rest) - 1, -1, -1):
        for more in combinations(rest, size):
            yield (first, *more), tuple(k for k in rest if k not in more)
