"""The published routine once more, as plain as can be: every candidate is fitted anew from the rows.

Nothing of `crosslevel.selection` is used. Structures are tuples of blocks of names; formulas are written by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

import crosslevel as cl
from crosslevel.estimators.mixed_fit import MixedFit

Structure = tuple[tuple[str, ...], ...]


def all_partitions(names: tuple[str, ...]) -> Iterator[Structure]:
    """Every way to put names into blocks."""
    if not names:
        yield ()
        return
    first, rest = names[0], names[1:]
    for smaller in all_partitions(rest):
        yield ((first,), *smaller)
        for k, block in enumerate(smaller):
            yield (*smaller[:k], (first, *block), *smaller[k + 1 :])


def formula(fixed: str, structure: Structure, group: str) -> str:
    """Each block a term of its own."""
    terms = []
    for block in structure:
        slopes = [name for name in block if name != "1"]
        terms.append(f"({' + '.join(['1' if '1' in block else '0', *slopes])} | {group})")
    return " + ".join([fixed, *terms])


class Routine:
    """The published routine on rows.

    Attributes
    ----------
    fixed, group : of the model.
    data : the rows.
    criterion : of a fit, lower is better.
    method : "reml" or "ml".
    """

    def __init__(
        self, fixed: str, group: str, data: pd.DataFrame, criterion: Callable[[MixedFit], float], method: str = "reml"
    ) -> None:  # fmt: skip
        self.fixed, self.group, self.data, self.criterion, self.method = fixed, group, data, criterion, method

    def fit(self, structure: Structure) -> MixedFit:
        """One model, from the rows."""
        return cl.mixed(formula(self.fixed, structure, self.group), self.data, method=self.method)

    def value(self, structure: Structure) -> float:
        """Its criterion."""
        return self.criterion(self.fit(structure))

    def run(self, effects: tuple[str, ...], kept: set[str]) -> tuple[list[str], Structure]:
        """The slopes that are dropped, in order, and the final structure."""
        left, dropped = list(effects), []
        while True:
            going = [name for name in left if name not in kept]
            if not going:
                break
            baseline = self.fit(tuple((name,) for name in left))
            values = {name: self.value(tuple((other,) for other in left if other != name)) for name in going}
            best = min(values, key=lambda name: values[name])
            components = int(np.count_nonzero(np.diag(baseline.cov_re[self.group]) > 1e-8 * baseline.sigma**2))
            if values[best] > self.criterion(baseline) and components == len(left):
                break
            left.remove(best)
            dropped.append(best)
        structures = list(all_partitions(tuple(left)))
        values_2 = [self.value(structure) for structure in structures]
        return dropped, structures[int(np.argmin(values_2))]
