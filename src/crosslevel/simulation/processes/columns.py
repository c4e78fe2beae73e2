"""Which design columns are linear in the row variables of a cluster, and how."""

from collections.abc import Mapping
from dataclasses import dataclass

from crosslevel.formula import Spec
from crosslevel.formula.components import ClusterMeans, Column, Component
from crosslevel.simulation.processes.variables import Variable


@dataclass(frozen=True, kw_only=True)
class LinearColumn:
    """A design column that is, in a cluster, a constant times at most one row variable.

    Attributes
    ----------
    name : of the column.
    scale : constant factor.
    contexts : its factors that are context variables.
    means : its factors that are the means of row variables in the cluster.
    row : the row variable, "" if there is none.
    centred : whether the row variable is measured from its mean in the cluster.
    """

    name: str
    scale: float
    contexts: tuple[str, ...]
    means: tuple[str, ...]
    row: str
    centred: bool


def linear_columns(
    spec: Spec, variables: Mapping[str, Variable], group: str
) -> tuple[tuple[LinearColumn, ...], tuple[str, ...]]:
    """Columns of a formula as linear functions of row variables, and in words those that are none.

    Linear are context variables, row variables, within(x, group) and between(x, group) of row variables, and products
    of these with at most one factor that varies within clusters.

    Parameters
    ----------
    spec : the learnt formula.
    variables : all predictors.
    group : name of the clusters.
    """
    found: list[LinearColumn] = []
    reasons: list[str] = []
    for column, product in zip(spec.columns, spec.products, strict=True):
        parts = [_part(spec.components[number], variables, group) for number, _ in product.atoms]
        rows = [name for kind, name in parts if kind in ("row", "within")]
        if "other" in [kind for kind, _ in parts]:
            bad = ", ".join(dict.fromkeys(name for kind, name in parts if kind == "other"))
            reasons.append(f"{bad} is no fixed linear function of the rows")
        elif len(rows) > 1:
            reasons.append(f"{column.name} is a product of variables that vary between rows")
        else:
            found.append(
                LinearColumn(
                    name=column.name,
                    scale=product.scale,
                    contexts=tuple(name for kind, name in parts if kind == "context"),
                    means=tuple(name for kind, name in parts if kind == "between"),
                    row=rows[0] if rows else "",
                    centred="within" in [kind for kind, _ in parts],
                )
            )
    return tuple(found), tuple(dict.fromkeys(reasons))


def _part(component: Component, variables: Mapping[str, Variable], group: str) -> tuple[str, str]:
    """What a factor of a column is ("row", "context", "within", "between" or "other"), and of which variable."""
    origin = component.origin
    if isinstance(origin, Column) and origin.variable in variables:
        return ("context" if variables[origin.variable].is_context else "row"), origin.variable
    if isinstance(origin, ClusterMeans) and isinstance(origin.argument.origin, Column) and origin.group == (group,):
        name = origin.argument.origin.variable
        if name in variables and not variables[name].is_context:
            return origin.kind, name
    return "other", component.text
