"""What draws the data of a study, and the columns that it draws."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.formula import Formula, Spec, learn, parse
from crosslevel.simulation.processes.drawn import Drawn
from crosslevel.simulation.processes.frames import template_rows
from crosslevel.table import Columns

if TYPE_CHECKING:
    from crosslevel.simulation.processes.process import Process


class Source(Protocol):
    """What a sampler's data come from: a `Process`, or clusters that bring their own sampler."""

    @property
    def response(self) -> str:
        """Name of the outcome."""

    @property
    def clusters(self) -> int:
        """J."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sampler(ABC):
    """Draws the cross-products of the columns of some formulas in data from a process.

    Attributes
    ----------
    process : where data come from.
    columns : names of the design columns of all formulas, each once, without the outcome.
    """

    process: Source = field(repr=False)
    columns: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, the outcome last."""
        return (*self.columns, self.process.response)

    @property
    @abstractmethod
    def description(self) -> str:
        """How data are drawn, and why so."""

    @abstractmethod
    def draw(self, seeds: Sequence[np.random.SeedSequence]) -> Drawn:
        """Draw one replication per seed; what it is depends on its seed alone."""


def learnt_formulas(process: "Process", formulas: Sequence[str]) -> tuple[Spec, ...]:
    """Formulas of estimators, learnt from a few rows of a process.

    Raises
    ------
    CrosslevelError : a formula has variables that the process lacks, or another outcome.
    """
    columns = Columns.from_frame(template_rows(process))
    return tuple(learn(read_for(process, formula), columns) for formula in formulas)


def read_for(process: "Process", formula: str) -> Formula:
    """A formula of an estimator, whose variables the process must have."""
    known = (*process.all_variables, process.group)
    parsed = parse(formula, known)
    if parsed.response.text != process.response:
        raise CrosslevelError(
            f"The formula {formula!r} has the outcome {parsed.response.text!r}; the process makes {process.response!r}."
        )
    missing = [name for name in parsed.variables if name not in (*known, process.response)]
    if missing:
        raise CrosslevelError(
            f"The formula {formula!r} has {', '.join(missing)}, which the process lacks; it has {', '.join(known)}. "
            "Add the variable to `variables` of the process."
        )
    return parsed


def union_of(specs: Sequence[Spec]) -> tuple[str, ...]:
    """Names of the design columns of several formulas, each once.

    Raises
    ------
    CrosslevelError : two formulas multiply a column by different numbers, as in 2:x, which does not show in its name.
    """
    scales: dict[str, float] = {}
    for spec in specs:
        for column, product in zip(spec.columns, spec.products, strict=True):
            if scales.setdefault(column.name, product.scale) != product.scale:
                raise CrosslevelError(
                    f"The formula {spec.formula.text!r} multiplies {column.name} by {product.scale:g}, another one by"
                    f" {scales[column.name]:g}. Write it in the same way in all formulas."
                )
    return tuple(scales)
