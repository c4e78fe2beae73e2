"""Learn a formula from rows that are read in batches: find out what has to be remembered, and gather it in one pass."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from crosslevel.errors import DataError
from crosslevel.formula import external
from crosslevel.formula.components import ClusterMeans, Column, Component, Rescaled, parts
from crosslevel.formula.gather import Found, Key, Names, Sums, Wanted, gather, merge
from crosslevel.formula.learn import learn
from crosslevel.formula.memory import Arguments
from crosslevel.formula.parse import Formula
from crosslevel.formula.rows import Source
from crosslevel.formula.spec import Spec
from crosslevel.formula.transforms import Learning, learn_calls, learn_component
from crosslevel.table.batches import RowSource
from crosslevel.table.book import SettledLevels
from crosslevel.table.columns import Columns
from crosslevel.table.progress import Progress
from crosslevel.types import FloatArray

SAMPLE = 1000
"""Rows that are looked at before the first pass."""


class NotYetError(Exception):
    """What is asked for has been noted as wanted, or depends on what has been."""


@dataclass(kw_only=True, eq=False)
class Gathered:
    """State that was gathered in passes over the rows; notes what is asked for and not there. See `Memory`.

    `moments` answers at once, with a mean of NaN, where it cannot answer yet: cluster means of a rescaled column follow
    from those of the column, and can be wanted in the same pass.

    Parameters
    ----------
    source : some rows, for the types of the columns.
    wanted : what is still to be gathered.
    known : levels, by the columns that make them.
    rows : used rows of each level.
    sums : moments, groups in the order of the levels.
    """

    source: Source
    wanted: Wanted
    known: dict[Names, SettledLevels] = field(default_factory=dict)
    rows: dict[Names, FloatArray] = field(default_factory=dict)
    sums: dict[Key, Sums] = field(default_factory=dict)

    def take(self, found: Found) -> None:
        """Remember what a pass has found; nothing more is wanted then."""
        for names, settled in found.settled():
            self.known[names] = settled
            self.rows[names] = found.counts[names][settled.order]
        for key, sums in found.sums.items():
            order = self.known[key[-1]].order if key[-1] in found.books else None
            self.sums[key] = sums.arranged(order)
        self.wanted = Wanted(variables=self.wanted.variables, known=self.known)

    def levels(self, variable: str) -> tuple[Any, ...]:
        """Categories that occur; see `Memory`."""
        if (variable,) not in self.known:
            self.wanted.levels[(variable,)] = None
            raise NotYetError
        return self.known[(variable,)].levels

    def counts(self, variable: str, levels: tuple[Any, ...]) -> FloatArray:
        """Rows of each category; see `Memory`."""
        return self.rows[(variable,)]

    def cluster_means(self, argument: Component, group: Names) -> tuple[tuple[Any, ...], FloatArray]:
        """Levels and means; see `Memory`."""
        _, means, _ = self._by_group(argument, group)
        if not np.isfinite(means).all():
            raise _undefined(argument)
        return self.known[group].levels, means

    def moments(self, argument: Component) -> tuple[float, float]:
        """Mean and standard deviation; see `Memory`."""
        origin = argument.origin
        if isinstance(origin, Rescaled):
            mean, spread = self.moments(origin.argument)
            return (mean - origin.mean) / origin.spread, spread / origin.spread
        if isinstance(origin, ClusterMeans):
            count, means, squares = self._by_group(origin.argument, origin.group)
            if origin.kind == "within":
                return 0.0, float(np.sqrt(squares.sum() / max(count.sum() - 1, 1)))
            centre = float(count @ means / count.sum())
            return centre, float(np.sqrt(count @ (means - centre) ** 2 / max(count.sum() - 1, 1)))
        found = self._asked(argument, ())
        if found is None:
            return np.nan, 1.0
        if not np.isfinite(found.scatter).all():
            raise _undefined(argument)
        variance = found.scatter[0, 0, 0] / max(found.count[0] - 1, 1)
        return found.origin + float(found.mean[0, 0]), float(np.sqrt(variance))

    def external(
        self, text: str, code: str, functions: tuple[str, ...], variables: tuple[str, ...], arguments: Arguments
    ) -> external.Learnt:
        """What formulaic remembers of the categories in ``C(f, ...)``, or of nothing at all; see `Memory`."""
        stateful = external.stateful_functions(functions)
        categorical = [name for name in variables if not external.holds_numbers(self.source, name)]
        if stateful == ("C",) and len(variables) == 1 and not arguments(self.source.rows(slice(0, 0))):
            source = Source(columns=self._one_row_each(variables[0]), mask=None)
            return external.learn(text, code, functions, variables, source, arguments)
        if not stateful and not categorical:
            learnt = external.learn(text, code, functions, variables, self.source, arguments)
            if not learnt.kind:
                return learnt
        calls = ", ".join(f"{name}()" for name in stateful or functions)
        raise DataError(
            f"`formula` uses `{text}`{f' with {calls}' if calls else ''}, which has to see all rows at once, and "
            "`data` are read in batches. Make the column first, or read the columns of the formula into a frame "
            "(cl.read) and give that."
        )

    def _by_group(self, argument: Component, group: Names) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Count, mean and sum of squares of a component in each group."""
        origin = argument.origin
        if isinstance(origin, Rescaled):
            count, mean, squares = self._by_group(origin.argument, group)
            return count, (mean - origin.mean) / origin.spread, squares / origin.spread**2
        found = self._asked(argument, group)
        if found is None:
            raise NotYetError
        return found.count, found.origin + found.mean[:, 0], found.scatter[:, 0, 0]

    def _asked(self, argument: Component, group: Names) -> Sums | None:
        """The moments of a component if they are there; otherwise they are wanted from now on."""
        key = (argument.text, isinstance(argument.origin, Column), group)
        if key not in self.sums:
            rescaled = [part.origin for part in parts(argument) if isinstance(part.origin, Rescaled)]
            if any(np.isnan(origin.mean) for origin in rescaled):
                raise NotYetError  # what it is made of has to be gathered first
            self.wanted.sums[key] = argument
        return self.sums.get(key)

    def _one_row_each(self, variable: str) -> Columns:
        """Data with one row for each level of a column."""
        levels = list(self.levels(variable))
        if external.holds_numbers(self.source, variable):
            dtype = self.source.columns.to_pandas([variable], slice(0, 1))[variable].dtype
            return Columns.from_frame(pd.DataFrame({variable: pd.Series(levels).astype(dtype)}))
        return Columns.from_frame(pd.DataFrame({variable: pd.Categorical(levels, categories=levels)}))


def learn_streamed(
    formula: Formula, source: RowSource, *, progress: bool = True
) -> tuple[Spec, dict[Names, SettledLevels]]:
    """Learn a formula from batches of rows.

    One pass is enough unless a state depends on another in a way that does not follow from sums, as in
    ``scale(log(1 + between(x, g)))``; no pass is made if nothing has to be remembered.

    Parameters
    ----------
    formula : the parsed formula.
    source : the data.
    progress : whether to report how far the reading has come.

    Returns
    -------
    spec : the same as `learn` would give.
    known : the levels of the groups of `within` and `between`, and of categories, that were found on the way.

    Raises
    ------
    DataError : a function has to see all rows at once, or no row is used; or see `learn`.
    """
    columns = _sample(formula, source)
    mask, _ = columns.complete(formula.variables)
    rows = Source(columns=columns, mask=mask)
    memory = Gathered(source=rows, wanted=Wanted(variables=formula.variables))
    while True:
        _ask(formula, memory)
        if not memory.wanted.groups and not memory.wanted.sums:
            break
        wanted = replace(memory.wanted, known=_needed(memory))
        found = source.reduce(
            formula.variables, partial(gather, wanted=wanted), merge, Progress(what="means and levels", shown=progress)
        )
        memory.take(found)
    return learn(formula, columns, mask, memory=memory), memory.known


def _sample(formula: Formula, source: RowSource) -> Columns:
    """Some rows, at least one of which is used."""
    for columns in source.batches(formula.variables):
        mask, _ = columns.complete(formula.variables)
        first = 0 if mask is None else int(np.argmax(mask))
        if mask is None or mask[first]:
            return columns.part(slice(first, first + SAMPLE))
    raise DataError("no row is left: every row misses a value in one of " + ", ".join(formula.variables) + ".")


def _needed(memory: Gathered) -> dict[Names, SettledLevels]:
    """The known levels that the next pass will evaluate components with."""
    origins = [part.origin for argument in memory.wanted.sums.values() for part in parts(argument)]
    groups = {origin.group for origin in origins if isinstance(origin, ClusterMeans)}
    groups |= {group for *_, group in memory.wanted.sums if group}
    return {names: known for names, known in memory.known.items() if names in groups}


def _ask(formula: Formula, memory: Gathered) -> None:
    """Learn as much as can be learnt, so that `memory` notes what is wanting."""
    learning = Learning(formula=formula.text, source=memory.source, memory=memory)
    terms = [*formula.fixed_terms, *(term for part in formula.random for block in part.blocks for term in block)]
    expressions = dict.fromkeys([formula.response, *(each for term in terms for each in term.expressions)])
    with np.errstate(all="ignore"):
        for expression in expressions:
            for name in expression.variables:
                if not external.holds_numbers(memory.source, name):
                    _attempt(partial(memory.levels, name))
            if not (expression is formula.response and expression.is_column):
                for call in learn_calls(expression, learning):
                    _attempt(call)
                _attempt(partial(learn_component, expression, learning))


def _attempt(call: Callable[[], object]) -> None:
    """Call something; what it cannot know yet has been noted."""
    try:
        call()
    except NotYetError:
        return


def _undefined(argument: Component) -> DataError:
    """The error about a component that is infinite or undefined somewhere."""
    return DataError(
        f"`formula` uses `{argument.text}`, which is infinite or undefined in some used rows (an infinite value in "
        f"{', '.join(argument.variables)}, a logarithm of 0, a division by 0?). Change the expression, set such values "
        "to missing, or leave those rows out."
    )
