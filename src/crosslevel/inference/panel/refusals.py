"""Predictors that nothing can be said about within groups: named, with the reason and what to do."""

import numpy as np

from crosslevel.errors import DesignError
from crosslevel.formula.spec import DesignColumn
from crosslevel.inference.panel.between import same_between
from crosslevel.inference.panel.panel import Panel
from crosslevel.types import IntArray

FEW_NAMES = 5
"""Predictors that are named."""


def refuse_constant(panel: Panel, columns: IntArray) -> None:
    """Refuse columns that do not vary within groups.

    Raises
    ------
    DesignError : one does not; the message says which, why, and what to use instead.
    """
    constant = set(panel.constant_in_groups(columns))
    if not constant:
        return
    found = [column for column in panel.design.spec.columns if column.name in constant]
    described = list(dict.fromkeys(in_words(column, panel.groups.name) for column in found))
    it, does = ("it", "does") if len(described) == 1 else ("them", "do")
    group = panel.groups.name
    raise DesignError(
        f"`formula` has {listed(described)}, which {does} not vary within {group}: the effects of {group} absorb {it}, "
        f"and within groups nothing is left to estimate a coefficient from. Drop {it}; or use cl.random_effects, "
        "cl.hausman_taylor, or cl.mixed with the group means that cl.mundlak writes, which compare groups."
    )


def refuse_same_between(panel: Panel, columns: IntArray) -> None:
    """Refuse columns, or an outcome, whose means are the same in all groups.

    Raises
    ------
    DesignError : one is; the message says which, and what to use instead.
    """
    group, response = panel.groups.name, panel.design.spec.response_name
    if len(same_between(panel, np.array([panel.response]))):
        raise DesignError(
            f"`formula` explains {response!r}, whose mean is the same in every {group}: nothing is left to compare "
            "between groups. Compare rows within groups with cl.fixed_effects, or choose another outcome."
        )
    found = listed(list(panel.names(same_between(panel, columns))))
    if found:
        raise DesignError(
            f"`formula` has {found}, of which every {group} has the same mean, as deviations from group means and "
            "times of balanced panels do: between groups nothing is left to estimate a coefficient from. Drop what is "
            "named, or compare rows within groups with cl.fixed_effects."
        )


def in_words(column: DesignColumn, group: str) -> str:
    """A column, and what it is if that is why it does not vary: dummies of the groups, means of the groups."""
    names = set(group.split(":")) | {group}
    if column.variables and set(column.variables) <= names:
        stem = column.name.partition("[")[0]
        return f"{stem} (the groups themselves, whose effects are in the model already)"
    if any(factor.startswith("between(") for factor in column.factors):
        return f"{column.name} (a mean of the group)"
    return column.name


def listed(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - FEW_NAMES} more" if len(names) > FEW_NAMES else ""
    return ", ".join(names[:FEW_NAMES]) + more
