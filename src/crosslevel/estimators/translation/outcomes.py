"""The outcome of a translated model."""

import ast
from dataclasses import dataclass

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.translation import steps
from crosslevel.estimators.translation.model import Model
from crosslevel.estimators.translation.preparing import Atom, Preparation
from crosslevel.formula.expressions import compile_expression


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome as variables of the other package.

    Attributes
    ----------
    name : the outcome; of trials the number of successes.
    failures : the number of failures, if the formula has it.
    trials : the number of trials, if it is an argument.
    """

    name: str
    failures: str | None = None
    trials: str | None = None


def read_outcome(model: Model, preparation: Preparation) -> Outcome:
    """The outcome of a model.

    Raises
    ------
    CrosslevelError : something that cannot be spelt out.
    """
    expression = model.formula.response
    if expression.is_column:
        return Outcome(name=_labelled(model, preparation), trials=preparation.argument("trials"))
    code = compile_expression(expression.text)
    match code.tree:
        case ast.Call(func=ast.Name(id="cbind"), args=[ast.Name(id=successes), ast.Name(id=failures)]):
            return Outcome(
                name=preparation.column(code.column(successes)), failures=preparation.column(code.column(failures))
            )
        case ast.Call(func=ast.Name(id="cbind")):
            raise CrosslevelError(
                f"`translate` spells out cbind(successes, failures) of two columns; the formula has {expression.text}."
            )
    (atom,) = preparation.expression(expression)
    return Outcome(name=atom.name, trials=preparation.argument("trials"))


def _labelled(model: Model, preparation: Preparation) -> str:
    """The outcome's column; where it has two labels, an indicator of the second."""
    column = model.formula.response.text
    name = preparation.column(column)
    outcome = None if model.design is None else model.design.outcome
    if outcome is None:
        return name
    if outcome.categories is not None and not all(isinstance(level, int | float) for level in outcome.categories):
        new = preparation.free(f"{name}_n")
        preparation.steps.append(steps.Numbered(new=new, variable=name, levels=tuple(outcome.categories)))
        return new
    if outcome.labels is None:
        return name
    return preparation.indicator(Atom(name=name, text=column), outcome.labels[1]).name


def without_offset(model: Model, preparation: Preparation, outcome: Outcome) -> Outcome:
    """The outcome of a linear model minus its offset, for packages whose linear models know none."""
    offset = preparation.argument("offset")
    if offset is None:
        return outcome
    new = preparation.free(f"{outcome.name}_less_{offset}")
    tree = ast.parse(f"{outcome.name} - {offset}", mode="eval").body
    preparation.steps.append(steps.Computed(new=new, tree=tree, variables=(outcome.name, offset)))
    return Outcome(name=new)
