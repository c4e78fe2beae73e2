"""Cross-products of simulated rows: for processes and formulas that have to be drawn row by row."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from crosslevel.design.products import Moments
from crosslevel.errors import DataError
from crosslevel.formula import Evaluator, Formula, learn
from crosslevel.simulation.processes.drawn import Drawn
from crosslevel.simulation.processes.frames import rows_frame
from crosslevel.simulation.processes.process import Process
from crosslevel.simulation.processes.sampling import Sampler
from crosslevel.table import Columns
from crosslevel.types import FloatArray

CHUNK = 1 << 14
"""Rows whose columns are evaluated at a time: they stay in the processor's cache."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RowSampler(Sampler):
    """Draws rows, those of `Process.frame`, and sums the cross-products of the formulas' columns.

    What a formula remembers of its data, such as the mean of center(x), is learnt anew in every replication. Where that
    is impossible, because a category does not occur, the columns are zero, so that estimators find nothing identified.

    Attributes
    ----------
    formulas : read formulas.
    reasons : why rows have to be drawn.
    """

    process: Process = field(repr=False)
    formulas: tuple[Formula, ...] = field(repr=False)
    reasons: tuple[str, ...]

    @property
    def description(self) -> str:
        """How data are drawn, and why so."""
        return f"Rows are drawn and summed, since {'; '.join(self.reasons)}."

    def draw(self, seeds: Sequence[np.random.SeedSequence]) -> Drawn:
        """Draw one replication per seed."""
        shape, m = (len(seeds), self.process.clusters), len(self.names)
        count, mean, scatter = np.empty(shape), np.empty((*shape, m)), np.empty((*shape, m, m))
        for r, seed in enumerate(seeds):
            moments = self.moments(rows_frame(self.process, np.random.default_rng(seed)))
            products = moments.products(names=self.names, levels=tuple(range(self.process.clusters)))
            count[r], mean[r], scatter[r] = products.count, products.origin + products.mean, products.scatter
        return Drawn(names=self.names, count=count, mean=mean, scatter=scatter)

    def moments(self, frame: pd.DataFrame) -> Moments:
        """Moments of the columns by cluster."""
        columns = Columns.from_frame(frame)
        codes = frame[self.process.group].to_numpy().astype(np.int32)
        y = frame[self.process.response].to_numpy()
        places = self._places(columns)
        moments: Moments | None = None
        for start in range(0, len(frame), CHUNK):
            rows = slice(start, min(start + CHUNK, len(frame)))
            block = np.zeros((len(self.names), rows.stop - rows.start))
            for evaluator, where in places:
                block[where] = evaluator.evaluate(rows)
            block[-1] = y[rows]
            if moments is None:
                moments = Moments.starting(block, self.process.clusters)
            moments.add(block, codes[rows])
        assert moments is not None
        return moments

    def _places(self, columns: Columns) -> list[tuple[Evaluator, FloatArray]]:
        """Evaluators of the formulas in these data, each of the columns that earlier ones lack, and their places."""
        found: list[tuple[Evaluator, FloatArray]] = []
        seen: set[str] = set()
        for formula in self.formulas:
            try:
                spec = learn(formula, columns)
                evaluator = spec.bind(columns, response=False)
            except DataError:
                continue
            new = [j for j, each in enumerate(spec.columns) if each.name in self.columns and each.name not in seen]
            seen.update(spec.columns[j].name for j in new)
            if new:
                where = np.array([self.columns.index(spec.columns[j].name) for j in new])
                found.append((replace(evaluator, products=tuple(spec.products[j] for j in new)), where))
        return found
