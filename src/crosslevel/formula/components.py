"""Components: what one expression of a formula stands for, with what was remembered from the data.

A component is a header and an origin. The header says which columns it has, and which of them make up its full and its
reduced coding; the origin says how their values come about.
"""

from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal, TypeAlias

import numpy as np

from crosslevel.formula import external
from crosslevel.formula.arithmetic import compute
from crosslevel.formula.rows import Rows
from crosslevel.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Coding:
    """How a categorical component is coded.

    variable : the column or expression.
    kind : "treatment", "wec", or the name of a coding of formulaic ("sum", "helmert", ...).
    levels : the categories, in order.
    reference : the category without a column in the reduced coding; None where the coding knows none.
    """

    variable: str
    kind: str
    levels: tuple[Any, ...]
    reference: Any


@dataclass(frozen=True, kw_only=True, eq=False)
class Column:
    """Values of a numeric column, as they are."""

    variable: str


@dataclass(frozen=True, kw_only=True, eq=False)
class LevelTable:
    """Values that depend on the category of a column alone.

    table : (columns, levels + 1) value of each column at each level; the last entry, NaN, answers for missing.
    """

    variable: str
    levels: tuple[Any, ...]
    table: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class ClusterMeans:
    """Cluster means of a component ("between"), or its deviations from them ("within").

    table : (1, levels + 1) mean of each cluster, NaN where the cluster had no used row.
    """

    kind: Literal["within", "between"]
    argument: "Component"
    group: tuple[str, ...]
    levels: tuple[Any, ...]
    table: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Rescaled:
    """(argument - mean) / spread."""

    argument: "Component"
    mean: float
    spread: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Arithmetic:
    """An expression that treats each row by itself.

    text : the expression, each name an identifier.
    arguments : the component of one column behind each name.
    truths : the names that stand for truth values.
    """

    text: str
    arguments: "dict[str, Component]"
    truths: frozenset[str]


@dataclass(frozen=True, kw_only=True, eq=False)
class External:
    """What formulaic computes.

    model : the remembered state.
    arguments : components computed by us that stand inside the expression, by the name they have there.
    """

    model: "external.Model"
    arguments: "dict[str, Component]"


Origin: TypeAlias = Column | LevelTable | ClusterMeans | Rescaled | Arithmetic | External


@dataclass(frozen=True, kw_only=True, eq=False)
class Component:
    """One expression of a formula, learnt from data.

    text : the expression.
    variables : the data columns it uses.
    names : names of its columns.
    full : positions of the columns that make up its full coding.
    reduced : those of its reduced coding; None if it does not span the intercept.
    coding : how it is coded, if it is categorical.
    """

    text: str
    variables: tuple[str, ...]
    names: tuple[str, ...]
    full: tuple[int, ...]
    reduced: tuple[int, ...] | None
    coding: Coding | None
    origin: Origin


@dataclass(frozen=True, kw_only=True, eq=False)
class Product:
    """How a design column is made: scale times component columns, each (component, column of it)."""

    scale: float
    atoms: tuple[tuple[int, int], ...]


def single(text: str, variables: tuple[str, ...], origin: Origin) -> Component:
    """Component of one numeric column."""
    return Component(text=text, variables=variables, names=(text,), full=(0,), reduced=None, coding=None, origin=origin)


def values(component: Component, indices: tuple[int, ...], rows: Rows) -> list[FloatArray]:
    """Some columns of a component at some rows, each (size,); they may be views of the data."""
    origin = component.origin
    if isinstance(origin, Column):
        return [rows.numeric(origin.variable)]
    if isinstance(origin, LevelTable):
        codes = rows.codes((origin.variable,))
        table = rows.source.tables[origin]
        return [table[index].take(codes) for index in indices]
    if isinstance(origin, ClusterMeans):
        means = rows.source.tables[origin][0].take(rows.codes(origin.group))
        return [means if origin.kind == "between" else values(origin.argument, (0,), rows)[0] - means]
    if isinstance(origin, Rescaled):
        deviations = values(origin.argument, (0,), rows)[0] - origin.mean
        return [deviations if origin.spread == 1 else deviations / origin.spread]
    arguments = {name: values(argument, (0,), rows)[0] for name, argument in origin.arguments.items()}
    if isinstance(origin, Arithmetic):
        columns = {name: array != 0 if name in origin.truths else array for name, array in arguments.items()}
        return [compute(origin.text, columns, rows.size)]
    return external.evaluate(origin.model, indices, rows, arguments)


def parts(component: Component) -> list[Component]:
    """A component and all those it is made of, innermost first."""
    origin = component.origin
    inner: list[Component] = []
    if isinstance(origin, (ClusterMeans, Rescaled)):
        inner = [origin.argument]
    elif isinstance(origin, (Arithmetic, External)):
        inner = list(origin.arguments.values())
    return [*(part for argument in inner for part in parts(argument)), component]


def product(arrays: list[FloatArray], out: FloatArray) -> None:
    """Elementwise product of one or more arrays, written to `out`."""
    np.copyto(out, arrays[0]) if len(arrays) == 1 else np.multiply(
        reduce(np.multiply, arrays[:-1]), arrays[-1], out=out
    )
