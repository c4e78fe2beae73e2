"""Inputs of a model by the names people give them, and which of them are made of the same values."""

from typing import Any

from crosslevel.errors import CrosslevelError
from crosslevel.formula.components import ClusterMeans, Column, LevelTable, parts
from crosslevel.inference.marginal_rows import MarginalRows


def known_as(rows: MarginalRows, name: object) -> str | None:
    """The input of some name, blanks apart; None if there is none."""
    short = {_bare(text): text for text in rows.inputs}
    for number in rows.used:
        component = rows.spec.components[number]
        if isinstance(component.origin, LevelTable) and component.origin.variable in rows.inputs:
            short.setdefault(_bare(component.text), component.origin.variable)
    return short.get(_bare(str(name)))


def held_text(rows: MarginalRows, name: object) -> str | None:
    """The text of an expression of one numeric column that a name stands for, if it is no input by itself."""
    if known_as(rows, name) is not None:
        return None
    for number in rows.used:
        for part in parts(rows.spec.components[number]):
            is_number = (
                part.coding is None and len(part.names) == 1 and not isinstance(part.origin, Column | LevelTable)
            )
            if is_number and _bare(part.text) == _bare(str(name)):
                return part.text
    return None


def refuse_shared(rows: MarginalRows, text: str) -> None:
    """Refuse to set an expression whose columns the model uses elsewhere too."""
    shared = [other for other in rows.inputs if other != text and _overlap(rows, text, other)]
    if text not in rows.inputs or shared:
        elsewhere = f" by {' and '.join(shared)}" if shared else " inside another term"
        raise CrosslevelError(
            f"{text!r} cannot be moved or set by itself: its values are used{elsewhere} too. Name the data column, or "
            "the term with the cluster means."
        )


def variables_behind(rows: MarginalRows, name: str) -> frozenset[str]:
    """The data columns behind an input, those that name clusters apart."""
    component = rows.inputs[name].component
    if component is None:
        return frozenset([name])
    if isinstance(component.origin, ClusterMeans):
        return frozenset(component.origin.argument.variables)
    return frozenset(component.variables)


def _overlap(rows: MarginalRows, one: str, other: str) -> bool:
    """Whether two inputs are made of the same data columns."""
    return bool(variables_behind(rows, one) & variables_behind(rows, other))


def moves_too(rows: MarginalRows, moved: str, other: str) -> bool:
    """Whether another input cannot stay where it is when one moves: cluster means held, deviations are functions of it.

    Means and deviations by the same clusters of x and of I(x ** 2) move together, and nobody knows how.
    """
    component, mover = rows.inputs[other].component, rows.inputs[moved].component
    if component is None or not isinstance(component.origin, ClusterMeans) or not _overlap(rows, moved, other):
        return False
    if mover is None or not isinstance(mover.origin, ClusterMeans):
        return component.origin.kind == "within"
    return (component.origin.kind, component.origin.group) == (mover.origin.kind, mover.origin.group)


def is_deviation(component: Any, column: str) -> bool:
    """Whether an input is the deviation of a data column from its cluster mean."""
    origin = getattr(component, "origin", None)
    return (
        isinstance(origin, ClusterMeans)
        and origin.kind == "within"
        and isinstance(origin.argument.origin, Column)
        and origin.argument.origin.variable == column
    )


def _bare(text: str) -> str:
    """A text without blanks."""
    return "".join(text.split())
