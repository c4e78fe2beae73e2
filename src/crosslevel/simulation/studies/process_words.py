"""A simulated process in words."""

from collections.abc import Iterator, Mapping

import numpy as np

from crosslevel.display import number, percent
from crosslevel.simulation.processes.correlations import Correlation, RandomCorrelation
from crosslevel.simulation.processes.process import Process
from crosslevel.simulation.processes.sizes import Size, Sizes
from crosslevel.simulation.processes.variables import Arms, Binary, Context, Normal, Variable


def process_words(process: Process) -> Iterator[tuple[str, str]]:
    """What a process is, as names and values."""
    yield "Formula", process.formula
    yield "Effects", listed(process.effects)
    yield f"SD between {process.group}", listed(process.sd)
    if len(process.sd) > 1:
        yield "Correlation of random effects", correlation_words(process.correlation)
    yield "Residual SD", number(float(process.sigma))
    yield f"Clusters ({process.group})", f"{process.clusters:,}"
    yield "Rows of a cluster", size_words(process.size)
    alike: dict[str, list[str]] = {}
    for name, variable in process.all_variables.items():
        alike.setdefault(variable_words(variable, process.group), []).append(name)
    yield from ((", ".join(names), words) for words, names in alike.items())
    if len(process.predictors) > 1:
        yield f"Correlation of predictors within {process.group}", correlation_words(process.predictor_correlation)
    if process.rows:
        yield "Drawn", "row by row"


def variable_words(variable: Variable, group: str) -> str:
    """How a predictor is distributed, in words."""
    if isinstance(variable, Arms):
        return f"0 or 1, one value per {group}; {percent(variable.share, decimals=0)} have a 1"
    if isinstance(variable, Context):
        return f"normal, one value per {group}; mean {variable.mean:g}, SD {variable.sd:g}"
    if isinstance(variable, Binary):
        latent = f", {percent(variable.between, decimals=0)} of the latent variance between {group}"
        ones = f"0 or 1, varies within {group}; {percent(variable.share, decimals=0)} ones"
        return ones + (latent if variable.between else "")
    if isinstance(variable, Normal):
        between = (
            f", {percent(variable.between, decimals=0)} of its variance between {group}" if variable.between else ""
        )
        return f"normal, varies within {group}; mean {variable.mean:g}, SD within {variable.sd:g}{between}"
    return repr(variable)


def size_words(size: Size) -> str:
    """How many rows clusters have, in words."""
    if isinstance(size, Sizes):
        return f"{size.mean:,g} on average, with a coefficient of variation of {size.cv:g}"
    if isinstance(size, tuple) and len(size) == 2:
        return f"{size[0]:,} to {size[1]:,}, all numbers equally likely"
    if isinstance(size, int | float | np.integer):
        return f"{size:,}"
    return ", ".join(f"{one:,}" for one in size)


def correlation_words(given: Correlation) -> str:
    """A correlation in words."""
    if isinstance(given, RandomCorrelation):
        return f"random, drawn anew each time, mean absolute {given.mean_absolute:g}"
    if isinstance(given, int | float | np.number):
        return f"{given:g}"
    return "; ".join(" ".join(f"{one:g}" for one in row) for row in np.asarray(given).tolist())


def listed(values: Mapping[str, float]) -> str:
    """Numbers by name."""
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())
