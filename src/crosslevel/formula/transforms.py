"""Expressions -> components: what is remembered of a column, a category, a cluster mean, a rescaling."""

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from typing import Any, Literal

import numpy as np

from crosslevel.errors import DataError, FormulaError
from crosslevel.formula import external
from crosslevel.formula.arithmetic import is_elementwise, neutral
from crosslevel.formula.components import (
    Arithmetic,
    ClusterMeans,
    Coding,
    Column,
    Component,
    External,
    LevelTable,
    Rescaled,
    single,
    values,
)
from crosslevel.formula.expressions import Code, Expression, called_names, compile_expression, used_columns
from crosslevel.formula.memory import Memory
from crosslevel.formula.rows import Rows, Source
from crosslevel.formula.state import bind_tables, with_missing
from crosslevel.types import FloatArray

TOO_MANY_LEVELS = 1_000
"""A categorical predictor with more levels than this is taken for a mistake."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Learning:
    """What is at hand while a formula is learnt: its text, the data, and what was learnt so far.

    Of `source` only the types of the columns are used, and that a few of its rows can be evaluated; what depends on all
    rows is asked of `memory`.
    """

    formula: str
    source: Source
    memory: Memory
    components: dict[tuple[str, bool], Component] = field(default_factory=dict)
    means: dict[tuple[str, tuple[str, ...]], tuple[tuple[Any, ...], FloatArray]] = field(default_factory=dict)

    def error(self, start: int, problem: str) -> FormulaError:
        """Error at a place of the formula."""
        return FormulaError.at(self.formula, start, problem)


def learn_component(expression: Expression, learning: Learning) -> Component:
    """Component of an expression, learnt once.

    Raises
    ------
    FormulaError : one of our transforms is called in a way it does not know, or an unknown function is called.
    DataError : the data do not allow it.
    """
    key = (expression.text, expression.is_column)
    if key not in learning.components:
        if expression.is_column:
            learning.components[key] = _column(expression.text, learning)
        else:
            code = compile_expression(expression.text)
            learning.components[key] = _component(code.tree, code, learning, expression.start)
    return learning.components[key]


def learn_calls(expression: Expression, learning: Learning) -> Iterator[Callable[[], object]]:
    """For each call of a transform of ours in an expression, something that learns it, innermost first."""
    if expression.is_column:
        return
    code = compile_expression(expression.text)
    for node in reversed(list(ast.walk(code.tree))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RULES:
            yield partial(_component, node, code, learning, expression.start)


def _component(tree: ast.expr, code: Code, learning: Learning, start: int) -> Component:
    """Component of a part of an expression."""
    if isinstance(tree, ast.Name):
        return learn_component(Expression(code.column(tree.id), True, (code.column(tree.id),), start), learning)
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
        rule = RULES.get(tree.func.id)
        found = rule(tree, code, learning, start) if rule else None
        if found is not None:
            return found
    return _computed(tree, code, learning, start)


def _column(name: str, learning: Learning) -> Component:
    """Component of a bare column: its values, or treatment coding of its categories."""
    if external.holds_numbers(learning.source, name):
        return single(name, (name,), Column(variable=name))
    return _treatment(name, name, learning)


def _treatment(text: str, variable: str, learning: Learning) -> Component:
    """Dummy variables of the categories that occur; the reduced coding leaves out the first."""
    levels = _levels(variable, text, learning)
    n_levels = len(levels)
    component = Component(
        text=text,
        variables=(variable,),
        names=tuple(f"{text}[{level}]" for level in levels),
        full=tuple(range(n_levels)),
        reduced=tuple(range(1, n_levels)),
        coding=Coding(variable=variable, kind="treatment", levels=levels, reference=levels[0]),
        origin=LevelTable(variable=variable, levels=levels, table=with_missing(np.eye(n_levels))),
    )
    bind_tables(component, learning.source)
    return component


def _categorical(call: ast.Call, code: Code, learning: Learning, start: int) -> Component | None:
    """``C(x)`` of a column, without further arguments; the rest is formulaic's."""
    if len(call.args) != 1 or call.keywords or not isinstance(call.args[0], ast.Name):
        return None
    return _treatment(code.text(call), code.column(call.args[0].id), learning)


def _weighted_effects(call: ast.Call, code: Code, learning: Learning, start: int) -> Component:
    """``wec(f)``, ``wec(f, ref="level")``: weighted effect coding.

    The column of category k is 1 in k, -n_k / n_o in the omitted category o, and 0 elsewhere, with n the numbers of
    used rows. A coefficient is then the deviation of k from the sample mean.

    Source
    ------
    te Grotenhuis, Pelzer, Eisinga, Nieuwenhuis, Schmidt-Catran & Konig (2017), When size matters: advantages of
    weighted effect coding in observational studies, Int J Public Health 62, 163-167.
    """
    text = code.text(call)
    variable, reference = _category_and_reference(call, code, learning, start)
    levels = _levels(variable, text, learning)
    omitted = 0
    if reference is not None:
        matches = [i for i, level in enumerate(levels) if level == reference or str(level) == str(reference)]
        if not matches:
            raise learning.error(start, f"{variable} has no category {reference!r}; it has {_listed(levels)}.")
        omitted = matches[0]
    counts = learning.memory.counts(variable, levels)
    table = np.eye(len(levels))
    table[:, omitted] = -counts / counts[omitted]
    kept = [i for i in range(len(levels)) if i != omitted]
    component = Component(
        text=text,
        variables=(variable,),
        names=tuple(f"{text}[{levels[i]}]" for i in kept),
        full=tuple(range(len(kept))),
        reduced=None,
        coding=Coding(variable=variable, kind="wec", levels=levels, reference=levels[omitted]),
        origin=LevelTable(variable=variable, levels=levels, table=with_missing(table[kept])),
    )
    bind_tables(component, learning.source)
    return component


def _category_and_reference(call: ast.Call, code: Code, learning: Learning, start: int) -> tuple[str, Any]:
    """Column and omitted category (or None) that ``wec`` is called with."""
    named = [keyword.arg for keyword in call.keywords]
    match [*call.args, *(keyword.value for keyword in call.keywords)]:
        case [ast.Name(id=column)] if not named:
            return code.column(column), None
        case [ast.Name(id=column), ast.Constant(value=reference)] if named in ([], ["ref"]):
            return code.column(column), reference
    raise learning.error(start, 'wec takes a column and, if you like, the category to omit: wec(f, ref="level").')


def _clustered(call: ast.Call, code: Code, learning: Learning, start: int) -> Component:
    """``within(x, g)``: x minus its mean in each cluster of g. ``between(x, g)``: that mean. `g` may be ``a:b``."""
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    if len(call.args) != 2 or call.keywords or not isinstance(call.args[1], ast.Name):
        raise learning.error(start, f"{name} takes a column or expression and a grouping column: {name}(x, g).")
    text, group = code.text(call), code.group(call.args[1].id)
    argument = _component(call.args[0], code, learning, start)
    if len(argument.names) != 1 or argument.coding is not None:
        raise learning.error(
            start,
            f"{name} needs one numeric column, but {argument.text} has {_what(argument)}. "
            f"For one category write {name}(I(x == 'level'), g).",
        )
    key = (argument.text, group)
    if key not in learning.means:
        levels, means = learning.memory.cluster_means(argument, group)
        learning.means[key] = levels, with_missing(means[None, :])
    levels, table = learning.means[key]
    kind: Literal["within", "between"] = "within" if name == "within" else "between"
    origin = ClusterMeans(kind=kind, argument=argument, group=group, levels=levels, table=table)
    component = single(text, tuple(dict.fromkeys((*argument.variables, *group))), origin)
    bind_tables(component, learning.source)
    return component


def _rescaled(call: ast.Call, code: Code, learning: Learning, start: int) -> Component | None:
    """``center(x)`` and ``scale(x)`` of one column: minus the mean, and divided by the standard deviation."""
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    if name == "center" and (len(call.args) != 1 or call.keywords):
        raise learning.error(start, "center takes one column; to subtract the means of clusters write within(x, g).")
    if len(call.args) != 1 or call.keywords:
        return None
    argument = _component(call.args[0], code, learning, start)
    if argument.coding is not None:
        raise learning.error(start, f"{name} needs numbers, but {argument.text} has {_what(argument)}.")
    if len(argument.names) != 1:
        return None
    mean, spread = learning.memory.moments(argument)
    if name == "scale" and spread <= 0:
        raise DataError(f"`{code.text(call)}` cannot be computed: {argument.text} has the same value in all used rows.")
    origin = Rescaled(argument=argument, mean=mean, spread=spread if name == "scale" else 1.0)
    return single(code.text(call), argument.variables, origin)


Rule = Callable[[ast.Call, Code, Learning, int], Component | None]
RULES: dict[str, Rule] = {
    "within": _clustered,
    "between": _clustered,
    "center": _rescaled,
    "scale": _rescaled,
    "wec": _weighted_effects,
    "C": _categorical,
}
"""The functions we compute ourselves; where a rule gives None, formulaic takes over."""


def _computed(tree: ast.expr, code: Code, learning: Learning, start: int) -> Component:
    """Component of an expression that is no transform of ours; those inside it become columns it is handed."""
    inner: dict[str, Component] = {}
    rewritten = tree
    if any(isinstance(node, ast.Compare) or _is_ours(node) for node in ast.walk(tree)):
        rewritten = _Extraction(code, learning, start, inner).visit(copy.deepcopy(tree))
    arithmetic = _arithmetic(tree, rewritten, code, learning, inner) if is_elementwise(rewritten) else None
    return arithmetic or _external(tree, rewritten, code, learning, start, inner)


def _is_ours(node: ast.AST) -> bool:
    """Whether part of an expression is a call of one of our transforms that may stand inside another function."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RULES.keys() - {"C"}


def _arithmetic(
    tree: ast.expr, rewritten: ast.expr, code: Code, learning: Learning, inner: dict[str, Component]
) -> Component | None:
    """Component of an elementwise expression of numeric columns; None if it is not one."""
    source, arguments, truths = learning.source, dict(inner), set[str]()
    text, names = neutral(rewritten, frozenset(inner))
    for name, identifier in names.items():
        column = code.column(identifier)
        if not external.holds_numbers(source, column):
            return None
        arguments[name] = single(column, (column,), Column(variable=column))
        if not source.columns.is_numeric(column):
            truths.add(name)
    if not arguments:
        return None
    origin = Arithmetic(text=text, arguments=arguments, truths=frozenset(truths))
    component = single(code.text(tree), code.part(tree).variables, origin)
    try:
        values(component, (0,), source.rows(slice(0, 0)))
    except TypeError:
        return None  # such as ~ of numbers
    return component


def _external(
    tree: ast.expr,
    rewritten: ast.expr,
    code: Code,
    learning: Learning,
    start: int,
    inner: dict[str, Component],
) -> Component:
    """Component that formulaic computes."""
    unknown = external.unknown_function(called_names(tree), tuple(RULES))
    if unknown is not None:
        place = max(learning.formula.find(unknown[0], start), start)
        raise learning.error(place, unknown[1])
    kept = Code(tree=rewritten, aliases=code.aliases)
    variables = tuple(name for name in used_columns(kept) if name not in inner)

    def arguments(rows: Rows) -> dict[str, FloatArray]:
        return {name: values(component, (0,), rows)[0] for name, component in inner.items()}

    text = code.text(tree)
    learnt = learning.memory.external(text, kept.text(), called_names(rewritten), variables, arguments)
    coding = None
    if learnt.kind:
        coding = Coding(variable=text, kind=learnt.kind, levels=learnt.levels, reference=learnt.reference)
    return Component(
        text=text,
        variables=code.part(tree).variables,
        names=learnt.model.names,
        full=tuple(range(learnt.model.n_full)),
        reduced=learnt.reduced,
        coding=coding,
        origin=External(model=learnt.model, arguments=inner),
    )


class _Extraction(ast.NodeTransformer):
    """Replaces calls of our own transforms, and comparisons with a category, by names; learns the component of each."""

    def __init__(self, code: Code, learning: Learning, start: int, found: dict[str, Component]) -> None:
        self.code, self.learning, self.start, self.found = code, learning, start, found

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Replace the call if one of our rules knows it; look inside otherwise."""
        rule = RULES[node.func.id] if _is_ours(node) and isinstance(node.func, ast.Name) else None
        component = rule(node, self.code, self.learning, self.start) if rule else None
        if component is None:
            return self.generic_visit(node)
        if len(component.names) != 1 or component.coding is not None:
            raise self.learning.error(self.start, f"{component.text} cannot stand inside another function.")
        return self._named(component)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """Replace ``f == "level"`` and ``f != "level"`` for a column of categories."""
        match node:
            case ast.Compare(
                left=ast.Name(id=name), ops=[ast.Eq() | ast.NotEq()], comparators=[ast.Constant(value=value)]
            ):
                column = self.code.column(name)
                if not external.holds_numbers(self.learning.source, column):
                    return ast.Compare(
                        left=self._named(_indicator(column, value, self.learning, self.start)),
                        ops=[ast.Eq()],
                        comparators=[ast.Constant(value=int(isinstance(node.ops[0], ast.Eq)))],
                    )
        return self.generic_visit(node)

    def _named(self, component: Component) -> ast.Name:
        name = f"_component_{len(self.found)}"
        self.found[name] = component
        return ast.Name(id=name, ctx=ast.Load())


def _indicator(variable: str, category: object, learning: Learning, start: int) -> Component:
    """Component that is 1 in one category of a column and 0 in the others."""
    levels = learning.memory.levels(variable)
    if category not in levels:
        raise learning.error(start, f"{variable} has no category {category!r}; it has {_listed(levels)}.")
    table = np.array([[level == category for level in levels]], dtype=np.float64)
    origin = LevelTable(variable=variable, levels=levels, table=with_missing(table))
    component = single(f"{variable} == {category!r}", (variable,), origin)
    bind_tables(component, learning.source)
    return component


def _levels(variable: str, text: str, learning: Learning) -> tuple[Any, ...]:
    """Categories of a column in the used rows; refuses what cannot be meant as categories."""
    levels = learning.memory.levels(variable)
    if len(levels) < 2:
        value = f" ({levels[0]!r})" if levels else ""
        raise DataError(
            f"`formula` uses `{text}`, but {variable} has a single value{value} in the used rows. Leave it out."
        )
    if len(levels) > TOO_MANY_LEVELS:
        raise DataError(
            f"`formula` uses `{text}` as a category, but {variable} has {len(levels)} different values. "
            f"If they are numbers stored as text, turn them into numbers; if they are groups, write (1 | {variable})."
        )
    if text == variable and isinstance(levels[0], date | timedelta):
        raise DataError(f"`formula` uses `{variable}`, which holds dates or times. Turn it into a number first.")
    return levels


def _what(component: Component) -> str:
    """What a component has instead of one column of numbers."""
    return f"categories ({_listed(component.coding.levels)})" if component.coding else f"{len(component.names)} columns"


def _listed(levels: tuple[Any, ...]) -> str:
    """The first levels, for messages."""
    return ", ".join(repr(level) for level in levels[:8]) + (", ..." if len(levels) > 8 else "")
