"""Formulas of clusters: evaluated on one row for each, with means of the rows below where between(x, g) asks."""

import ast
import copy
from dataclasses import dataclass
from typing import Any

from crosslevel.formula import external
from crosslevel.formula.components import Component, parts
from crosslevel.formula.expressions import Code, Expression, compile_expression, used_columns
from crosslevel.formula.memory import Arguments, FromRows
from crosslevel.formula.parse import Formula
from crosslevel.formula.repeated import Repeated
from crosslevel.formula.rows import Source
from crosslevel.formula.state import bind_tables
from crosslevel.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class TwoLevels:
    """State of a formula of clusters: cluster means come from the rows, everything else from one row for each cluster.

    Attributes
    ----------
    rows : state of the rows.
    clusters : the data with one row for each cluster.
    """

    rows: FromRows | Repeated
    clusters: Source

    def levels(self, variable: str) -> tuple[Any, ...]:
        """Categories that occur among the clusters; see `Memory`."""
        return self._above.levels(variable)

    def counts(self, variable: str, levels: tuple[Any, ...]) -> FloatArray:
        """Clusters of each category; see `Memory`."""
        return self._above.counts(variable, levels)

    def cluster_means(self, argument: Component, group: tuple[str, ...]) -> tuple[tuple[Any, ...], FloatArray]:
        """Levels of the groups, and means over their rows; see `Memory`."""
        for part in parts(argument):
            bind_tables(part, self.rows.source)
        return self.rows.cluster_means(argument, group)

    def moments(self, argument: Component) -> tuple[float, float]:
        """Mean and standard deviation over clusters; see `Memory`."""
        return self._above.moments(argument)

    def external(
        self, text: str, code: str, functions: tuple[str, ...], variables: tuple[str, ...], arguments: Arguments
    ) -> external.Learnt:
        """What formulaic remembers; see `Memory`."""
        return self._above.external(text, code, functions, variables, arguments)

    @property
    def _above(self) -> FromRows:
        return FromRows(source=self.clusters)


@dataclass(frozen=True, kw_only=True, eq=False)
class ContextVariables:
    """The columns that the right side of a formula of clusters uses.

    Attributes
    ----------
    direct : columns that have to be constant within clusters.
    averaged : columns that are used only through their means, as x in between(x, g).
    """

    direct: tuple[str, ...]
    averaged: tuple[str, ...]


def context_variables(formula: Formula) -> ContextVariables:
    """Tell apart what a formula needs of clusters and what of the rows in them.

    Examples
    --------
    >>> from crosslevel.formula import parse
    >>> found = context_variables(parse("y ~ z * between(ses, school) + center(size)"))
    >>> found.direct, found.averaged
    (('z', 'school', 'size'), ('ses',))
    """
    expressions = [expression for term in formula.fixed_terms for expression in term.expressions]
    direct: dict[str, None] = {}
    averaged: dict[str, None] = {}
    for expression in expressions:
        own, means = _split(expression)
        direct.update(dict.fromkeys(own))
        averaged.update(dict.fromkeys(means))
    return ContextVariables(direct=tuple(direct), averaged=tuple(name for name in averaged if name not in direct))


def _split(expression: Expression) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns of one expression: those needed of clusters, and those of rows."""
    if expression.is_column:
        return expression.variables, ()
    code = compile_expression(expression.text)
    blanked = _Blanked(code)
    bare = Code(tree=blanked.visit(copy.deepcopy(code.tree)), aliases=code.aliases)
    return (*used_columns(bare), *blanked.groups), tuple(blanked.averaged)


class _Blanked(ast.NodeTransformer):
    """Replaces calls of between(x, g) by a number; notes the columns of x and those of g."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.averaged: list[str] = []
        self.groups: list[str] = []

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Replace the call if it is one of between; look inside otherwise."""
        if not (isinstance(node.func, ast.Name) and node.func.id == "between" and len(node.args) == 2):
            return self.generic_visit(node)
        for found, tree in ((self.averaged, node.args[0]), (self.groups, node.args[1])):
            found += used_columns(Code(tree=tree, aliases=self.code.aliases))
        return ast.Constant(value=0)
