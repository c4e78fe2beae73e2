"""Degrees of freedom of fixed effects.

To add a method: one final class here, and its entry in `DF_METHODS`. It may not fall back on another silently.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from crosslevel.design import Design, equations
from crosslevel.errors import CrosslevelError
from crosslevel.types import FloatArray, IntArray


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


class DfMethod(ABC):
    """One way of counting the degrees of freedom of a coefficient's t statistic."""

    name: str
    """Its name in arguments."""
    description: str
    """What it is, for the line under a table."""

    @abstractmethod
    def __call__(self, equations: Equations) -> FloatArray:
        """Degrees of freedom (p,) of the coefficients; NaN where there are none left."""


class MLMinusL(DfMethod):
    """J - Q - 1 for the coefficients of a level-2 equation with Q predictors, n - p for the others.

    Source: Raudenbush & Bryk (2002), Hierarchical Linear Models, 2nd ed., pp. 57-58; Snijders & Bosker (2012), p. 94.
    """

    name = "m-l-1"
    description = (
        "m-l-1: clusters - cluster-level predictors - 1 for the intercept, cluster-level variables, randomly varying "
        "slopes and their cross-level interactions; rows - coefficients for the others"
    )

    def __call__(self, equations: Equations) -> FloatArray:
        """Degrees of freedom (p,)."""
        p = len(equations.number)
        out = np.full(p, float(equations.n_rows - p))
        for equation in range(len(equations.names)):
            mine = equations.number == equation
            out[mine] = equations.n_clusters[equation] - equations.predictors(equation) - 1
        out[out < 1.0] = np.nan
        return np.asarray(np.minimum(out, equations.limit))


class Residual(DfMethod):
    """n - p for every coefficient."""

    name = "residual"
    description = "residual: rows - coefficients"

    def __call__(self, equations: Equations) -> FloatArray:
        """Degrees of freedom (p,)."""
        p = len(equations.number)
        return np.full(p, float(equations.n_rows - p))


class Normal(DfMethod):
    """Infinitely many: z tests."""

    name = "normal"
    description = "normal: z statistics, as if there were infinitely many clusters"

    def __call__(self, equations: Equations) -> FloatArray:
        """Degrees of freedom (p,), infinite."""
        return np.full(len(equations.number), np.inf)


DF_METHODS: dict[str, DfMethod] = {method.name: method for method in (MLMinusL(), Residual(), Normal())}


def df_method(name: str) -> DfMethod:
    """Look up a method by its name.

    Raises
    ------
    CrosslevelError : no such method.
    """
    if name not in DF_METHODS:
        raise CrosslevelError(f"`ddf` is one of {', '.join(map(repr, DF_METHODS))}; got {name!r}.")
    return DF_METHODS[name]
