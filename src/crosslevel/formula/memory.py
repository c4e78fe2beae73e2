"""What a formula remembers, as the transforms ask for it: all of it may depend on every row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from crosslevel.formula import external
from crosslevel.formula.components import Component
from crosslevel.formula.finite import refuse_undefined
from crosslevel.formula.rows import Rows, Source
from crosslevel.formula.state import cluster_means, level_counts, moments
from crosslevel.types import FloatArray

Arguments: TypeAlias = Callable[[Rows], Mapping[str, FloatArray]]


class Memory(Protocol):
    """State of a formula. Every method raises `DataError` where the data do not allow an answer."""

    def levels(self, variable: str) -> tuple[Any, ...]:
        """Categories of a column that occur in the used rows, in order."""

    def counts(self, variable: str, levels: tuple[Any, ...]) -> FloatArray:
        """Number of used rows of each category, (levels,)."""

    def cluster_means(self, argument: Component, group: tuple[str, ...]) -> tuple[tuple[Any, ...], FloatArray]:
        """Levels of the groups, and means of a component in them over the used rows, (levels,)."""

    def moments(self, argument: Component) -> tuple[float, float]:
        """Mean and standard deviation of a component over the used rows."""

    def external(
        self, text: str, code: str, functions: tuple[str, ...], variables: tuple[str, ...], arguments: Arguments
    ) -> external.Learnt:
        """What formulaic remembers of an expression; see `external.learn`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FromRows:
    """State that is computed from rows in memory when it is asked for."""

    source: Source

    def levels(self, variable: str) -> tuple[Any, ...]:
        """Categories that occur; see `Memory`."""
        return external.used_levels(self.source, variable)

    def counts(self, variable: str, levels: tuple[Any, ...]) -> FloatArray:
        """Rows of each category; see `Memory`."""
        return level_counts(variable, levels, self.source)

    def cluster_means(self, argument: Component, group: tuple[str, ...]) -> tuple[tuple[Any, ...], FloatArray]:
        """Levels and means; see `Memory`."""
        means = cluster_means(argument, group, self.source)
        if not np.isfinite(means[self.source.counts(group) > 0]).all():
            refuse_undefined([argument], self.source)
        return self.source.factor(group).levels, means

    def moments(self, argument: Component) -> tuple[float, float]:
        """Mean and standard deviation; see `Memory`."""
        mean, spread = moments(argument, self.source)
        if not np.isfinite(spread):
            refuse_undefined([argument], self.source)
        return mean, spread

    def external(
        self, text: str, code: str, functions: tuple[str, ...], variables: tuple[str, ...], arguments: Arguments
    ) -> external.Learnt:
        """What formulaic remembers; see `Memory`."""
        return external.learn(text, code, functions, variables, self.source, arguments)
