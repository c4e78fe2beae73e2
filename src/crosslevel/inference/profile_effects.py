"""The lines of standard deviations and correlations of random effects, whatever their structure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np

from crosslevel.covariance import BlockStructure, Covariance
from crosslevel.covariance.blocks import theta_parts
from crosslevel.covariance.independent import Diagonal, Unstructured
from crosslevel.covariance.singled_out import FirstCorrelation, FirstDeviation, PolarSymmetry, WithoutFirst
from crosslevel.covariance.tied import Autoregressive, CompoundSymmetry, Heterogeneous, HeterogeneousCS
from crosslevel.inference.held import approach
from crosslevel.inference.profile_lines import AnyBase, Base, Cap, Line, Named, held_last, scaled, step_for
from crosslevel.types import FloatArray


def random_effects(base: AnyBase, groups: Sequence[str], effects: Sequence[tuple[str, ...]]) -> Iterator[Named]:
    """The lines of standard deviations and correlations of the random effects, block by block."""
    parts = theta_parts(base.structures)
    for k, (structure, group) in enumerate(zip(base.structures, groups, strict=True)):
        for b, (kind, columns) in enumerate(zip(structure.kinds, structure.columns, strict=True)):
            if kind.n_theta(len(columns)) == 0:  # known
                continue
            names = tuple(effects[k][i] for i in columns)
            first = base.n_phi + parts[k].start + structure.parts[b].start
            place = BlockPlace(base=base, factor=k, block=b, first=first, group=group, names=names)
            yield from place.unstructured() if isinstance(kind, Unstructured) else place.tied(kind)


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockPlace:
    """One block of random effects of a model.

    Attributes
    ----------
    base : the minimum.
    factor, block : which grouping factor, and which of its blocks.
    first : where the block's parameters begin.
    group, names : names of the factor and of the effects.
    """

    base: AnyBase
    factor: int
    block: int
    first: int
    group: str
    names: tuple[str, ...]

    @property
    def basis(self) -> FloatArray:
        """(q, q) T of the block: working random effects are T b."""
        columns = self.base.structures[self.factor].columns[self.block]
        return np.asarray(self.base.bases[self.factor][np.ix_(columns, columns)])

    def with_kind(self, kind: Covariance) -> tuple[BlockStructure, ...]:
        """The structures of all factors, with another one of this block."""
        structures = list(self.base.structures)
        kinds = list(structures[self.factor].kinds)
        kinds[self.block] = kind
        structures[self.factor] = replace(structures[self.factor], kinds=tuple(kinds))
        return tuple(structures)

    def unstructured(self) -> Iterator[Named]:
        """Each effect's standard deviation, and all correlations."""
        q, size = len(self.names), np.sqrt(np.sum(self.basis**2, axis=0))
        scaled = self.basis / size

        def first(i: int) -> FloatArray:
            return np.asarray(scaled[:, [i, *(j for j in range(q) if j != i)]])

        @cache
        def without(i: int) -> float:
            return self.base.minimum_of(*self.base.rebuilt(self.with_kind(WithoutFirst(first(i)))))

        def deviation(i: int) -> Line:
            structures = self.with_kind(FirstDeviation(first(i)))
            return _deviation(self.base, self.sd(i), structures, self.first, power=1.0, unit=float(size[i]))

        def correlation(i: int, j: int) -> Line:
            order = [i, j, *(k for k in range(q) if k not in (i, j))]
            structures = self.with_kind(FirstCorrelation(scaled[:, order]))
            cap = Cap(without=(lambda: without(i), lambda: without(j)), signs=(self.first, self.first + 1))
            last = self.first + q * (q + 1) // 2 - 1
            return _correlation(self.base, self.cor(i, j), structures, last, natural=_sine, cap=cap)

        for i in range(q):
            yield self.sd(i), "sd", lambda i=i: deviation(i)  # type: ignore[misc]
        for i, j in combinations(range(q), 2):
            yield self.cor(i, j), "cor", lambda i=i, j=j: correlation(i, j)  # type: ignore[misc]

    def tied(self, kind: Covariance) -> Iterator[Named]:
        """Standard deviations and the correlation of a structure, whose parameters they nearly are."""
        q, size = len(self.names), np.diag(self.basis)
        polar = isinstance(kind, CompoundSymmetry) and q > 1
        structures = self.with_kind(PolarSymmetry() if polar else kind)
        each = isinstance(kind, Diagonal | Heterogeneous)
        power = 0.5 if isinstance(kind, Heterogeneous) else 1.0
        for i in range(q if each else 1):
            name = self.sd(i) if each else f"sd({self.all}|{self.group})"

            def deviation(i: int = i, name: str = name) -> Line:
                line = _deviation(self.base, name, structures, self.first + i, power=power, unit=float(size[i]))
                return replace(line, zeros=self._zeros(kind, q - 1))

            yield name, "sd", deviation
        if q > 1 and isinstance(kind, CompoundSymmetry | Autoregressive | Heterogeneous):
            equal = isinstance(kind, CompoundSymmetry | HeterogeneousCS)
            index, name, sign = self.first + (q if each else 1), f"cor({self.all}|{self.group})", -1.0 if equal else 1.0
            natural = (lambda h: (q * np.cos(h) ** 2 - 1.0) / (q - 1)) if equal else _sine
            yield (
                name,
                "cor",
                lambda: replace(
                    _correlation(self.base, name, structures, index, natural=natural, sign=sign),
                    zeros=self._zeros(kind, q),
                ),
            )

    def _zeros(self, kind: Covariance, others: int) -> tuple[int, ...]:
        """Tied effects make several minima: without one of them the others may have another correlation."""
        return tuple(range(self.first, self.first + others)) if isinstance(kind, Heterogeneous) else ()

    @property
    def all(self) -> str:
        """Names of all effects; of many, the first and the last."""
        return ",".join(self.names) if len(self.names) <= 3 else f"{self.names[0]}..{self.names[-1]}"

    def sd(self, i: int) -> str:
        """Name of a standard deviation."""
        return f"sd({self.names[i]}|{self.group})"

    def cor(self, i: int, j: int) -> str:
        """Name of a correlation."""
        return f"cor({self.names[i]},{self.names[j]}|{self.group})"


def _deviation(
    base: AnyBase, name: str, structures: tuple[BlockStructure, ...], index: int, *, power: float, unit: float
) -> Line:
    """A standard deviation v = unit sigma rho^(1 / power) in working units, rho a coordinate."""
    engine, theta = base.rebuilt(structures)
    theta[index] = abs(theta[index])
    place = base.sigma * float(theta[index]) ** (1.0 / power)
    common: dict[str, Any] = {
        "name": name, "kind": "sd", "place": place, "low": 0.0, "limits": (0.0, np.inf),
        "natural": lambda h: h * base.scale / unit,
    }  # fmt: skip
    if base.knows_sigma:
        sigma = base.sigma
        own = held_last(base.hessian(engine, theta), index)
        rate = power * theta[index] / place if place > 0.0 else (1.0 / sigma if power == 1.0 else 0.0)
        own[-1] *= rate
        own[:, -1] *= rate
        error, along = step_for(*approach(own), place, base)

        def held(h: float) -> Any:
            coordinate = (h / sigma) ** power
            return base.held(engine, index, coordinate, power * coordinate / h if h > 0.0 else 0.0)

        return Line(
            x=np.delete(theta, index), error=error, along=along, problem=held, tolerance=base.tolerance,
            search=base.search, **common,
        )  # fmt: skip
    assert isinstance(base, Base)
    return scaled(base, engine, theta, index, power, 1.0, common)


def _correlation(
    base: AnyBase,
    name: str,
    structures: tuple[BlockStructure, ...],
    index: int,
    *,
    natural: Callable[[float], float],
    sign: float = 1.0,
    cap: Cap | None = None,
) -> Line:
    """A correlation that is a function of an angle, the coordinate at `index`, and increases with sign times it."""
    engine, theta = base.rebuilt(structures)
    hessian = held_last(base.hessian(engine, theta), index)
    hessian[-1] *= sign
    hessian[:, -1] *= sign
    error, along = approach(hessian)
    low, high = (-0.5 * np.pi, 0.5 * np.pi) if sign > 0.0 else (-0.5 * np.pi, 0.0)
    return Line(
        name=name, kind="cor", place=float(np.clip(sign * theta[index], low, high)), x=np.delete(theta, index),
        error=error, along=along, low=low, high=high, limits=(natural(low), natural(high)), natural=natural, cap=cap,
        problem=lambda h: base.held(engine, index, sign * h, sign), tolerance=base.tolerance, search=base.search,
    )  # fmt: skip


def _sine(angle: float) -> float:
    """Correlation of an angle."""
    return float(np.sin(angle))
