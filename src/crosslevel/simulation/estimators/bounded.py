"""The best of many random-effects structures by an information criterion, with few of them fitted.

A structure that lies within another, with effects or correlations taken out, has no lower deviance than that. So with c
the price of a parameter and k_s their number in structure s,

    value of s  >=  max over fitted t that contain s of deviance_t  +  c k_s,

and what cannot come below the best value so far is not fitted: the choice is that of a search through all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from math import prod

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.selection.criteria import TIE, simplicity
from crosslevel.selection.routine import MOST_STRUCTURES
from crosslevel.selection.search import MISSED, Candidate, Search, Unit
from crosslevel.selection.structures import RandomStructure, bell, partitions
from crosslevel.types import BoolArray, FloatArray, IntArray

FEW = 20
"""So many structures are fitted one by one, without looking at the wide ones first that tell about many."""

Groups = tuple[tuple[int, ...], ...]
"""Positions of terms among those of the search, in blocks."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Structures:
    """Structures to choose from, the same in every replication.

    Attributes
    ----------
    each : S structures, the ones with the most parameters first.
    inside : (S, S) whether structure j lies within structure i.
    n_parameters : (S,) variances and covariances.
    """

    each: tuple[RandomStructure, ...]
    inside: BoolArray
    n_parameters: IntArray

    @classmethod
    def of(cls, search: Search, groups: Sequence[Groups]) -> "Structures":
        """Those with the search's terms in these blocks."""
        units = search.units
        named = [search.structure([[units[i] for i in own] for own in each]) for each in groups]
        order = sorted(range(len(named)), key=lambda k: (-named[k].n_parameters, named[k].blocks))
        codes = np.array([_code(groups[k], len(units)) for k in order])
        # cliques of terms: one lies within another if all of its terms and pairs do
        inside = np.array([~np.any(codes & ~own, axis=1) for own in codes])
        return cls(
            each=tuple(named[k] for k in order), inside=inside,
            n_parameters=np.array([named[k].n_parameters for k in order]),
        )  # fmt: skip

    @cached_property
    def widest(self) -> list[int]:
        """Positions of those that lie in no other."""
        return [int(k) for k in np.flatnonzero(self.inside.sum(axis=0) == 1)]

    @cached_property
    def next_widest(self) -> list[int]:
        """Those that lie in nothing but the widest and themselves: their deviances say most about all others."""
        within = self.inside.sum(axis=0) - self.inside[self.widest].sum(axis=0)
        return [int(k) for k in np.flatnonzero(within == 1) if k not in self.widest]


def _code(groups: Groups, n: int) -> BoolArray:
    """Which terms (n,) and which pairs of them (n^2,) a structure has."""
    out = np.zeros((n + 1, n), dtype=np.bool_)
    for own in groups:
        out[0, list(own)] = True
        for i, k in combinations(own, 2):
            out[1 + min(i, k), max(i, k)] = True
    return out.ravel()


def correlation_groups(search: Search, left: Sequence[Unit]) -> list[Groups]:
    """All ways to put the terms that are left into blocks, none of which joins blocks of the maximal model."""
    blocks = []
    for names in search.maximal_structure.blocks:
        own = [k for k, unit in enumerate(search.units) if unit in left and unit.effects[0] in names]
        if own:
            blocks.append(own)
    return [
        tuple(tuple(block[i] for i in own) for block, each in zip(blocks, split, strict=True) for own in each)
        for split in product(*(list(partitions(len(block))) for block in blocks))
    ]


def all_groups(search: Search) -> list[Groups]:
    """The same of every set of terms that may be left.

    Raises
    ------
    CrosslevelError : too many.
    """
    sets, count = list(_sets(search.units)), 0
    for left in sets:
        inside = [sum(unit.effects[0] in names for unit in left) for names in search.maximal_structure.blocks]
        count += prod(bell(n) for n in inside)
        if count > MOST_STRUCTURES:
            raise CrosslevelError(
                f"`exhaustive` looks at all structures, and {len(search.units)} random terms have more than "
                f"{MOST_STRUCTURES:,} of them. Write exhaustive=False, which drops slopes first."
            )
    return [groups for left in sets for groups in correlation_groups(search, left)]


def _sets(units: Sequence[Unit]) -> Iterator[tuple[Unit, ...]]:
    """Sets of terms with all that are kept, and no interaction without the terms that it is made of."""
    for left in product((True, False), repeat=len(units)):
        kept = tuple(unit for unit, stays in zip(units, left, strict=True) if stays)
        gone = [unit for unit, stays in zip(units, left, strict=True) if not stays]
        if kept and all(unit.may_go((*kept, unit)) for unit in gone):
            yield kept


def best_of(search: Search, structures: Structures, *, price: float) -> Candidate:
    """The structure with the least deviance + price x parameters; of equal ones the simplest.

    Parameters
    ----------
    search : fits them; those that it has fitted before come for free.
    structures : to choose from.
    price : of a parameter.
    """
    known = Known(search, structures, price=price)
    for k, structure in enumerate(structures.each):
        if structure in search.fitted:
            known.fit(k)
    for k in structures.widest:
        known.fit(k)
    if np.count_nonzero(known.open) > FEW:
        for k in structures.next_widest:
            known.fit(k)
    # wide ones first: they may not be the best themselves, but say what all that lie within them can be at best
    while np.any(left := known.open):
        known.fit(int(np.argmax(left)))
    least = float(np.nanmin(known.values)) + TIE
    tied = [known.fitted[int(k)] for k in np.flatnonzero(known.values <= least)]
    return min(tied, key=simplicity)


class Known:
    """What has been fitted so far.

    Attributes
    ----------
    search, structures : see `best_of`.
    fitted : candidates by position.
    prices : (S,) price of all parameters of each.
    deviance : (S,) of those that are fitted; NaN.
    least : (S,) the largest deviance of a fitted structure that contains each; -inf.
    """

    def __init__(self, search: Search, structures: Structures, *, price: float) -> None:
        self.search, self.structures = search, structures
        self.fitted: dict[int, Candidate] = {}
        self.prices: FloatArray = price * structures.n_parameters
        self.deviance: FloatArray = np.full(len(structures.each), np.nan)
        self.least: FloatArray = np.full(len(structures.each), -np.inf)

    def fit(self, k: int) -> None:
        """Fit one; wider ones with a higher deviance missed a lower minimum, and are fitted again."""
        if k in self.fitted:
            return
        found, inside = self.search.candidate(self.structures.each[k]), self.structures.inside
        lower = np.flatnonzero(inside[k] & (self.deviance < found.deviance - MISSED))
        higher = np.flatnonzero(inside[:, k] & (self.deviance > found.deviance + MISSED))
        for i in lower:
            self.search.settle(found, self.fitted[int(i)])
        for i in higher:
            self.search.settle(self.fitted[int(i)], found)
        self.fitted[k] = found
        for i in (*higher, k):
            self.deviance[i] = self.fitted[int(i)].deviance
        self._learn(k, again=bool(len(higher)))

    def _learn(self, k: int, *, again: bool) -> None:
        """What a fitted structure, or all of them, say about those inside."""
        if again:
            self.least[:] = -np.inf
        for i in self.fitted if again else (k,):
            inside = self.structures.inside[i]
            self.least[inside] = np.maximum(self.least[inside], self.deviance[i])

    @property
    def values(self) -> FloatArray:
        """(S,) deviance + price x variances and covariances; NaN of what is not fitted."""
        return np.asarray(self.deviance + self.prices)

    @property
    def bounds(self) -> FloatArray:
        """(S,) the least values that they may have."""
        return np.asarray(self.least + self.prices)

    @property
    def open(self) -> BoolArray:
        """(S,) which may still be the best."""
        return np.isnan(self.deviance) & (self.bounds <= np.nanmin(self.values) + TIE)
