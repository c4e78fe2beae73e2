"""Outcomes that need not be one column of numbers: labels, ordered categories, and cbind(successes, failures)."""

import ast
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from crosslevel.errors import DataError, FormulaError
from crosslevel.formula import external
from crosslevel.formula.components import Component, LevelTable
from crosslevel.formula.evaluate import bind
from crosslevel.formula.expressions import Expression, compile_expression, python_expression
from crosslevel.formula.memory import FromRows
from crosslevel.formula.parse import Formula
from crosslevel.formula.rows import Source
from crosslevel.formula.state import bind_tables, with_missing
from crosslevel.formula.transforms import Learning, learn_component
from crosslevel.table.columns import Columns
from crosslevel.types import BoolArray, FloatArray

PAIR = "cbind"
"""The function that binds successes and failures, as in R."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LearntOutcome:
    """What stands before the tilde, whatever it holds.

    Attributes
    ----------
    name : as written.
    kind : "numbers"; "labels", text or categories; or "pair", cbind(successes, failures).
    component : one numeric column that stands in for the outcome in a `Spec`: the numbers; the number of the label,
        from 0; or the share of successes.
    parts : components of the successes and the failures of a pair, else the component alone.
    labels : those that occur in the used rows, in order; empty for numbers.
    """

    name: str
    kind: Literal["numbers", "labels", "pair"]
    component: Component
    parts: tuple[Component, ...]
    labels: tuple[Any, ...] = ()

    def values(self, columns: Columns, mask: BoolArray | None) -> tuple[FloatArray, ...]:
        """Values (rows used,) of each part.

        Raises
        ------
        DataError : a value is infinite or undefined.
        """
        return tuple(bind((), (), part, columns, mask).response() for part in self.parts)


def learn_outcome(formula: Formula, columns: Columns, mask: BoolArray | None = None) -> LearntOutcome:
    """Learn the outcome of a formula for a family of distributions, which says what it may be.

    Parameters
    ----------
    formula : the parsed formula.
    columns, mask : the data, and which rows are used; None if all are.

    Raises
    ------
    FormulaError : cbind(...) of anything but two columns or expressions.
    DataError : several columns, or values that are neither numbers nor labels.

    Examples
    --------
    >>> from crosslevel.formula import parse
    >>> data = Columns.from_frame({"a": [1, 0], "n": [4, 5], "use": ["yes", "no"], "g": [1, 2]})
    >>> learn_outcome(parse("cbind(a, n - a) ~ 1 + (1 | g)"), data).values(data, None)
    (array([1., 0.]), array([3., 5.]))
    >>> found = learn_outcome(parse("use ~ 1 + (1 | g)"), data)
    >>> found.labels, found.values(data, None)
    (('no', 'yes'), (array([1., 0.]),))
    """
    source = Source(columns=columns, mask=mask)
    learning = Learning(formula=formula.text, source=source, memory=FromRows(source=source))
    response = formula.response
    pair = _pair(response, formula.text)
    if pair is not None:
        first, second = (_numeric(part, learning) for part in pair)
        share = f"({pair[0].text}) / (({pair[0].text}) + ({pair[1].text}))"
        whole = learn_component(python_expression(share, response.start, formula.text), learning)
        return LearntOutcome(name=response.text, kind="pair", component=whole, parts=(first, second))
    if response.is_column and not external.holds_numbers(source, response.text):
        labels = external.used_levels(source, response.text)
        component = _numbered(response.text, labels, source)
        return LearntOutcome(name=response.text, kind="labels", component=component, parts=(component,), labels=labels)
    component = _numeric(response, learning)
    return LearntOutcome(name=response.text, kind="numbers", component=component, parts=(component,))


def _pair(response: Expression, formula: str) -> tuple[Expression, Expression] | None:
    """Successes and failures of cbind(a, b), None if the outcome is anything else."""
    if response.is_column:
        return None
    code = compile_expression(response.text)
    tree = code.tree
    if not (isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id == PAIR):
        return None
    if len(tree.args) != 2 or tree.keywords:
        raise FormulaError.at(
            formula, response.start, "cbind(...) takes the successes and the failures: cbind(cases, size - cases)."
        )
    first, second = (python_expression(code.text(part), response.start, formula) for part in tree.args)
    return first, second


def _numeric(expression: Expression, learning: Learning) -> Component:
    """Component of one numeric column."""
    if expression.is_column and not external.holds_numbers(learning.source, expression.text):
        raise DataError(
            f"`formula` has {expression.text!r} in its outcome, where numbers are needed; it holds "
            f"{', '.join(map(repr, external.used_levels(learning.source, expression.text)[:5]))}. "
            "Turn them into numbers first."
        )
    component = learn_component(expression, learning)
    if component.coding is not None or len(component.names) != 1:
        what = "categories" if component.coding is not None else f"{len(component.names)} columns"
        raise DataError(f"`formula` has the outcome `{component.text}`, which must be one column; it has {what}.")
    return component


def _numbered(variable: str, labels: tuple[Any, ...], source: Source) -> Component:
    """Numbers 0, 1, ... of the labels of a column."""
    table = with_missing(np.arange(len(labels), dtype=np.float64)[None, :])
    component = Component(
        text=variable, variables=(variable,), names=(variable,), full=(0,), reduced=None, coding=None,
        origin=LevelTable(variable=variable, levels=labels, table=table),
    )  # fmt: skip
    bind_tables(component, source)
    return component
