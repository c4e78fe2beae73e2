"""The record of the best design for its cost."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from crosslevel.display import Column, Document, Note, Paragraph, Table, counted, number, percent
from crosslevel.simulation.power.cheapest import Best, Costs
from crosslevel.simulation.power.shape import Kind


@dataclass(frozen=True, kw_only=True, eq=False)
class Optimal:
    """The best design for its cost, with those around it.

    Attributes
    ----------
    target, effect : whose power it is.
    best : the design that the curve through all simulated points says is best.
    costs : of clusters and persons, and what is asked for.
    kind : of effect; see `shape.KINDS`.
    share : of the variance of the clusters' coefficient that more rows do not average away.
    frame : designs that were simulated for the comparison, with their cost; see `Power.frame`.
    """

    target: str
    effect: float
    best: Best
    costs: Costs
    kind: Kind
    share: float
    frame: pd.DataFrame = field(repr=False)

    @property
    def clusters(self) -> int:
        """Clusters of the best design."""
        return self.best.clusters

    @property
    def size(self) -> int:
        """Rows of each of its clusters."""
        return self.best.size

    @property
    def cost(self) -> float:
        """What it costs."""
        return self.best.cost

    @property
    def power(self) -> float:
        """Its power, by the curve through all simulated points."""
        return self.best.power

    def document(self) -> Document:
        """The best design in words, and a table of others."""
        asked = (
            f"the most power for a budget of {counted(self.costs.budget)}"
            if self.costs.budget is not None
            else f"a power of {percent(self.costs.power, decimals=0)} at the lowest cost"
        )
        said = (
            f"{asked[0].upper()}{asked[1:]}: {counted(self.clusters)} clusters of {counted(self.size)} rows. They cost "
            f"{counted(self.cost)}, and find {self.target} of {number(self.effect)} with a power of "
            f"{percent(self.power)}."
        )
        columns = [
            Column("Clusters", format="count"), Column("Rows each", format="count"), Column("Cost", format="count"),
            Column("Power", format="percent", decimals=1),
            Column("MC error", format="percent", decimals=1), Column("Failed", format="count"),
        ]  # fmt: skip
        names = ("clusters", "size", "cost", "power", "mcse", "failed")
        rows: list[list[Any]] = [[row[name] for name in names] for row in self.frame.to_dict("records")]
        notes = [f"A cluster costs {self.costs.cluster:,g}, a row in it {self.costs.person:,g}."]
        table = Table(columns, rows, title="Designs around it, simulated", notes=notes)
        return Document(f"Best design for {self.target}", [Paragraph(said), table, *self._start()])

    def _start(self) -> Iterator[Note]:
        """What the closed form for balanced designs says; it has none for variances."""
        if self.kind == "component":
            return
        if np.isfinite(self.best.start):
            yield Note(f"In a balanced design {counted(round(self.best.start))} rows per cluster would be cheapest.")
        else:
            yield Note(
                "In a balanced design few large clusters would be cheapest: the effect is the same in all of them."
            )

    def to_dict(self) -> dict[str, Any]:
        """Every number as plain values."""
        from crosslevel.estimators.export import records

        return {
            "target": self.target, "effect": self.effect, "clusters": self.clusters, "size": self.size,
            "cost": self.cost, "power": self.power, "designs": records(self.frame),
        }  # fmt: skip

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.document()._repr_html_()
