"""Cross-products of normal data drawn without rows, exactly as if they had been summed over rows.

For normal predictors and residuals a cluster's means are normal and independent of its centred scatter, which is
Wishart: its cost does not depend on the number of rows. A batch of replications is one call of compiled code, each with
random numbers of its own.

Compiled code could take numpy's generators, one per replication, but then a replication would be a call of its own and
its generator an object of Python. Streams that are rows of an array (`kernels.streams`) are seeded by the same
`SeedSequence` and need neither: 25 clusters with 10 columns take 0.14 ms a replication, seeding included.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.kernels.first_use import announce_compilation
from crosslevel.simulation.processes.columns import LinearColumn
from crosslevel.simulation.processes.correlations import RandomCorrelation
from crosslevel.simulation.processes.drawn import Drawn
from crosslevel.simulation.processes.sampling import Sampler
from crosslevel.simulation.processes.variables import Arms, Context, Normal
from crosslevel.types import FloatArray, IntArray

if TYPE_CHECKING:
    from crosslevel.kernels.simulated import Recipe
    from crosslevel.simulation.processes.process import Process


@dataclass(frozen=True, kw_only=True, eq=False)
class ExactSampler(Sampler):
    """Draws counts, means and scatters directly; see the module.

    Attributes
    ----------
    recipe : the process and the columns as arrays.
    """

    process: "Process" = field(repr=False)
    recipe: "Recipe" = field(repr=False)

    @property
    def description(self) -> str:
        """How data are drawn."""
        return "Cross-products are drawn exactly, without rows: predictors are normal and every column is linear."

    def draw(self, seeds: Sequence[np.random.SeedSequence]) -> Drawn:
        """Draw one replication per seed."""
        from crosslevel.kernels.simulated import draw_moments

        announce_compilation("simulated")
        shape = (len(seeds), self.process.clusters)
        m = len(self.names)
        states = np.array([seed.generate_state(4, np.uint64) for seed in seeds], dtype=np.uint64).reshape(-1, 4)
        count, mean, scatter = np.empty(shape), np.empty((*shape, m)), np.empty((*shape, m, m))
        draw_moments(states, self.recipe, count, mean, scatter)
        return Drawn(names=self.names, count=count, mean=mean, scatter=scatter)


def recipe_of(process: "Process", union: Sequence[LinearColumn], own: Sequence[LinearColumn]) -> "Recipe":
    """A process and columns as arrays.

    Parameters
    ----------
    process : the process; its row variables are all normal.
    union : columns to draw.
    own : the process's own columns, in the order of its formula.
    """
    from crosslevel.kernels.simulated import Recipe

    names = [column.name for column in union]
    columns = [*union, *(column for column in own if column.name not in names)]
    places = [column.name for column in columns]
    contexts, rows = list(process.contexts), list(process.predictors)
    law, z = process.size_law, [process.all_variables[name] for name in contexts]
    x = [variable for variable in process.all_variables.values() if isinstance(variable, Normal)]
    ones = [each.ones(process.clusters) if isinstance(each, Arms) else -1 for each in z]
    return Recipe(
        low=law.low, high=law.high, size_mean=law.mean, size_shape=law.shape,
        context_mean=_numbers([each.mean if isinstance(each, Context) else 0.0 for each in z]),
        context_sd=_numbers([each.sd if isinstance(each, Context) else 1.0 for each in z]),
        context_ones=np.array(ones, dtype=np.int64),
        row_mean=_numbers([each.mean for each in x]), row_sd=_numbers([each.sd for each in x]),
        row_between=_numbers([each.sd_between for each in x]),
        row_root=np.ascontiguousarray(process.predictor_root), row_b=_shape(process.predictor_correlation),
        effect_sd=_numbers([process.sd[name] for name in process.random_names]),
        effect_root=np.ascontiguousarray(process.effect_root), effect_b=_shape(process.correlation),
        block=process.blocks.astype(np.int64), sigma=float(process.sigma),
        scale=_numbers([column.scale for column in columns]), factors=_factors(columns, contexts, rows),
        row=np.array([rows.index(column.row) if column.row else -1 for column in columns], dtype=np.int64),
        centred=np.array([column.centred for column in columns], dtype=np.int64),
        own=np.array([_place(places, column.name) for column in own], dtype=np.int64),
        coefficient=_numbers([process.effects.get(column.name, 0.0) for column in own]),
        effect=np.array([_place(process.random_names, column.name) for column in own], dtype=np.int64),
    )  # fmt: skip


def _numbers(values: Sequence[float]) -> FloatArray:
    """Values as an array."""
    return np.array(values, dtype=np.float64)


def _place(names: Sequence[str], name: str) -> int:
    """Place of a name, -1 if it is none of them."""
    return names.index(name) if name in names else -1


def _factors(columns: Sequence[LinearColumn], contexts: list[str], rows: list[str]) -> IntArray:
    """(M, F) factors of columns that are constant within clusters, -1 where there are fewer."""
    lists = [
        [contexts.index(name) for name in column.contexts] + [len(contexts) + rows.index(name) for name in column.means]
        for column in columns
    ]
    out = np.full((len(columns), max(1, *map(len, lists))), -1, dtype=np.int64)
    for j, places in enumerate(lists):
        out[j, : len(places)] = places
    return out


def _shape(given: object) -> float:
    """Parameter of random correlations, 0 if they are fixed."""
    return given.b if isinstance(given, RandomCorrelation) else 0.0
