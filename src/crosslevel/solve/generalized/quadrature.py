"""How many quadrature nodes a model needs, and what they cost."""

from typing import Any

import numpy as np

from crosslevel.design.response_rows import ResponseRows
from crosslevel.errors import DesignError
from crosslevel.likelihood.generalized import GeneralizedCriterion
from crosslevel.types import FloatArray

LADDER = (1, 3, 5, 7, 9, 11, 15, 21, 31, 45, 61, 91, 121)
"""Nodes per random effect that are tried,"""

MOST_POINTS = 5000
"""while a cluster has no more points than this in all,"""

STABLE = 1e-4
"""until the log-likelihood changes by less than this with the next two numbers of them."""

MOST_EFFECTS = 3
"""Random effects per cluster up to which quadrature is offered."""


def is_possible(rows: ResponseRows) -> bool:
    """Whether the random effects are those of one grouping factor, and few enough for quadrature."""
    return len(rows.terms) == 1 and not rows.terms[0].members and rows.terms[0].q <= MOST_EFFECTS


def check_possible(rows: ResponseRows, nodes: int) -> None:
    """Refuse quadrature where the integral has too many dimensions.

    Raises
    ------
    DesignError : several grouping factors, or more than three random effects.
    """
    if nodes == 1 or is_possible(rows) or not rows.terms:
        return
    what = (
        f"{len(rows.terms)} grouping factors, whose random effects have to be integrated out together"
        if len(rows.terms) > 1
        else "multiple membership, by which all groups are integrated out together"
        if rows.terms[0].members
        else f"{rows.terms[0].q} random effects per cluster"
    )
    raise DesignError(
        f"`quadrature={nodes}` needs one grouping factor with at most {MOST_EFFECTS} random effects; this model has "
        f"{what}. Use quadrature='laplace', or 'auto', which chooses what is possible."
    )


def ladder(effects: int) -> tuple[int, ...]:
    """Numbers of nodes per random effect that are tried for so many random effects."""
    return tuple(nodes for nodes in LADDER if nodes**effects <= MOST_POINTS)


def stable_nodes(
    criterion: GeneralizedCriterion, parameters: FloatArray, near: Any, *, least: int = 1
) -> tuple[int, float, dict[int, float]]:
    """Fewest nodes with which the log-likelihood at `parameters` is stable.

    Parameters
    ----------
    criterion : with any number of nodes.
    parameters : (K,).
    near : a state whose modes start the inner search.
    least : fewest nodes that are considered.

    Returns
    -------
    nodes : per random effect; the most there are if none are enough.
    change : largest change of the log-likelihood with the next two numbers of nodes, or, of the most there are, since
        the one before.
    deviances : of all numbers of nodes that were computed.
    """
    steps = [nodes for nodes in ladder(criterion.rows.terms[0].q) if nodes >= least]
    deviances: dict[int, float] = {}

    def deviance(nodes: int) -> float:
        if nodes not in deviances:
            deviances[nodes] = float(criterion.with_nodes(nodes).value(parameters, near).deviance)
        return deviances[nodes]

    change = np.nan
    for place, nodes in enumerate(steps[:-1]):
        change = 0.0
        for more in steps[place + 1 : place + 3]:
            change = max(change, 0.5 * abs(deviance(more) - deviance(nodes)))
            if not change < STABLE:
                break
        if change < STABLE:
            return nodes, change, deviances
    if len(every := ladder(criterion.rows.terms[0].q)) > 1:  # the last step of the ladder is judged by the one before
        change = 0.5 * abs(deviance(every[-1]) - deviance(every[-2]))
    return steps[-1], change, deviances
