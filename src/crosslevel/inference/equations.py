"""Which equation of a higher level each fixed coefficient belongs to."""

from dataclasses import dataclass

import numpy as np

from crosslevel.design import Design, equations
from crosslevel.types import IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Equations:
    """Which equation of a higher level each fixed coefficient belongs to.

    The intercept and the variables that are constant within clusters explain the cluster's intercept; a slope with a
    random effect has an equation of its own, which its cross-level interactions explain; other coefficients have none.

    Attributes
    ----------
    number : (p,) equation of each fixed column, or -1.
    names : of the equations, as in "Intercept" or "ses" (of school, where grouping factors are several).
    n_clusters : for each equation the number of its clusters.
    own : for each equation whether its intercept is among its coefficients, or is zero: an equation that explains the
        intercepts of one factor has none of its own where the model's belongs to another.
    n_rows : n.
    limit : the most degrees of freedom that any coefficient can have under m-l-1: one less than the clusters that were
        drawn first, with sampling weights, since the sandwich is a sum over them.
    """

    number: IntArray
    names: tuple[str, ...]
    n_clusters: tuple[int, ...]
    own: tuple[bool, ...]
    n_rows: int
    limit: float = np.inf

    def predictors(self, equation: int) -> int:
        """Q, the predictors in an equation: its coefficients less its own intercept."""
        return int(np.count_nonzero(self.number == equation)) - self.own[equation]


def equations_of(design: Design) -> Equations:
    """Equations of the levels above the rows."""
    found = equations(design)
    order = sorted({(each.factor, -1 if each.effect is None else each.effect) for each in found if each})
    names, own, number = [], [], np.full(len(found), -1, dtype=np.int64)
    for place, (k, effect) in enumerate(order):
        factor = design.factors[k]
        mine = [i for i, each in enumerate(found) if each and (each.factor, each.effect) == (k, _or_none(effect))]
        number[mine] = place
        has_intercept = any(design.x[i] == design.constant for i in mine)
        own.append(effect >= 0 or has_intercept or not _has_fixed_intercept(design))
        name = "Intercept" if effect < 0 else design.effects_of(factor)[effect]
        names.append(name if design.is_single else f"{name} of {factor.name}")
    return Equations(
        number=number,
        names=tuple(names),
        n_clusters=tuple(design.factors[k].n_levels for k, _ in order),
        own=tuple(own),
        limit=_sandwich_limit(design),
        n_rows=design.nobs,
    )


def _sandwich_limit(design: Design) -> float:
    """Clusters of the outermost factor less one with sampling weights, no limit without."""
    if design.weights is None or not design.is_sampled:
        return np.inf
    return design.factors[design.weights.outermost].n_levels - 1.0


def _or_none(effect: int) -> int | None:
    """An effect's position, None for the intercept."""
    return None if effect < 0 else effect


def _has_fixed_intercept(design: Design) -> bool:
    """Whether the model has one intercept for all clusters."""
    return bool(np.any(design.x == design.constant)) and design.constant >= 0
