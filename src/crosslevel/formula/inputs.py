"""Inputs: what the design columns are functions of, if one may set it: data columns, and cluster means as such.

``within(x, g)`` and ``between(x, g)`` depend on all rows of a cluster, so that they are inputs themselves: a value of
each can be set without a data set that has it. Everything else is computed from data columns row by row.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from crosslevel.formula.components import (
    Arithmetic,
    ClusterMeans,
    Column,
    Component,
    External,
    LevelTable,
    Rescaled,
    parts,
    single,
    values,
)
from crosslevel.formula.evaluate import bind
from crosslevel.formula.rows import Rows
from crosslevel.table.columns import Columns
from crosslevel.types import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Input:
    """One thing that the design columns are computed from.

    Attributes
    ----------
    name : of a data column, or the text of an expression that is set as a whole, as in "within(ses, school)".
    component : that expression; None for a data column.
    levels : categories, None for numbers.
    """

    name: str
    component: Component | None
    levels: tuple[Any, ...] | None

    def values(self, rows: Rows) -> Any:
        """Values at some rows, (size,): numbers, or a `pandas.Categorical` of the categories."""
        if self.component is not None:
            return values(self.component, (0,), rows)[0]
        if self.levels is None:
            return rows.numeric(self.name)
        found = rows.source.factor((self.name,)).levels
        place = {level: k for k, level in enumerate(self.levels)}
        known = np.array([*(place.get(level, -1) for level in found), -1])
        return categorical(known[rows.codes((self.name,))], self.levels)


def categorical(codes: IntArray, levels: tuple[Any, ...]) -> Any:
    """Categories by their codes (n,), -1 where missing, as a `pandas.Categorical`."""
    return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(list(levels)))


def standing(component: Component, held: Iterable[str] = ()) -> Component:
    """A component as a function of inputs: expressions that are set as a whole are columns with their text as name.

    Parameters
    ----------
    component : as learnt.
    held : texts of expressions to set as a whole, apart from cluster means, which always are.
    """
    origin = component.origin
    if isinstance(origin, ClusterMeans) or component.text in held:
        return single(component.text, (component.text,), Column(variable=component.text))
    if isinstance(origin, Rescaled):
        argument = standing(origin.argument, held)
        return replace(component, variables=argument.variables, origin=replace(origin, argument=argument))
    if isinstance(origin, Arithmetic | External):
        arguments = {name: standing(argument, held) for name, argument in origin.arguments.items()}
        own = origin.model.variables if isinstance(origin, External) else ()
        names = (*own, *(name for argument in arguments.values() for name in argument.variables))
        return replace(component, variables=tuple(dict.fromkeys(names)), origin=replace(origin, arguments=arguments))
    return component


def inputs_of(components: Iterable[Component], held: Iterable[str] = ()) -> dict[str, Input]:
    """Inputs of some components, by name.

    Parameters
    ----------
    components : as learnt.
    held : as in `standing`.
    """
    learnt = tuple(components)
    whole = {part.text: part for component in learnt for part in parts(component)}
    columns = [part for component in learnt for part in parts(standing(component, held))]
    levels = _levels([*learnt, *columns])
    names = dict.fromkeys(name for part in columns for name in part.variables)
    found = {}
    for name in names:
        part = whole.get(name)
        is_column = part is None or isinstance(part.origin, Column | LevelTable)
        found[name] = Input(name=name, component=None if is_column else part, levels=levels.get(name))
    return found


def slope_in(component: Component, along: Iterable[str]) -> float | None:
    """Constant derivative of a component of one column when inputs move together; None if it is not constant."""
    moving = set(along)
    origin = component.origin
    if not moving & set(component.variables):
        return 0.0
    if isinstance(origin, Column):
        return 1.0
    if isinstance(origin, Rescaled):
        inner = slope_in(origin.argument, moving)
        return None if inner is None else inner / origin.spread
    return None


def at_inputs(component: Component, indices: tuple[int, ...], frame: Mapping[str, Any]) -> list[FloatArray]:
    """Columns of a component (of `standing`) where inputs have these values, each (n,).

    Parameters
    ----------
    component, indices : a component, and which of its columns.
    frame : values (n,) of all inputs that it has.

    Raises
    ------
    DataError : a category that the model does not know, or an expression that is not defined there.
    """
    columns = Columns.from_frame(pd.DataFrame({name: frame[name] for name in component.variables}), "by")
    evaluator = bind((component,), (), None, columns, None)
    with np.errstate(all="ignore"):
        return [np.asarray(array) for array in values(component, indices, evaluator.source.rows(slice(None)))]


def _levels(components: Iterable[Component]) -> dict[str, tuple[Any, ...]]:
    """Categories of the inputs that have them."""
    found: dict[str, tuple[Any, ...]] = {}
    for part in components:
        origin = part.origin
        if isinstance(origin, LevelTable):
            found[origin.variable] = origin.levels
        elif isinstance(origin, External):
            found |= origin.model.levels
            if part.coding is not None and len(part.variables) == 1:
                found.setdefault(part.variables[0], part.coding.levels)
    return found
