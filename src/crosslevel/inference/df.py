"""Degrees of freedom of fixed effects.

To add a method: one final class here, and its entry in `DF_METHODS`. It may not fall back on another silently.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from crosslevel.design import Design, equation_numbers
from crosslevel.errors import CrosslevelError
from crosslevel.types import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Equations:
    """Which level-2 equation each fixed coefficient belongs to.

    The intercept and the cluster-level variables explain the cluster's intercept (equation 0); a slope with a random
    effect has an equation of its own, which its cross-level interactions explain; other coefficients have none (-1).

    Attributes
    ----------
    number : (p,) equation of each fixed column, or -1.
    names : names of the equations, equation 0 first.
    n_clusters, n_rows : J and n.
    """

    number: IntArray
    names: tuple[str, ...]
    n_clusters: int
    n_rows: int

    def predictors(self, equation: int) -> int:
        """Q, the cluster-level predictors in an equation: its coefficients less its own intercept."""
        return max(int(np.count_nonzero(self.number == equation)) - 1, 0)


def equations_of(design: Design) -> Equations:
    """Level-2 equations of a design."""
    slopes = tuple(name for name in design.random_names if name != "Intercept")
    return Equations(
        number=equation_numbers(design),
        names=("Intercept", *slopes),
        n_clusters=len(design.products.levels),
        n_rows=design.rows.used,
    )


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
            out[mine] = equations.n_clusters - equations.predictors(equation) - 1
        out[out < 1.0] = np.nan
        return out


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
