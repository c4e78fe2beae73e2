"""Which columns describe clusters, and which level-2 equation each coefficient belongs to."""

from dataclasses import dataclass

import numpy as np

from crosslevel.design.build import CONSTANT, Design
from crosslevel.design.products import Moments
from crosslevel.types import IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Equation:
    """An equation of a level above the rows, which explains a coefficient that differs between clusters.

    Attributes
    ----------
    factor : position of the grouping factor whose levels are its units.
    effect : position among the factor's random effects of the slope that it explains; None for the intercept.
    """

    factor: int
    effect: int | None


def constant_components(design: Design, k: int = 0) -> dict[str, bool]:
    """Whether each component of an interaction among the fixed columns is constant within the levels of factor k."""
    constant = design.constant_within[k]
    known = {
        column.factors[0]: bool(constant[j]) for j, column in enumerate(design.spec.columns) if len(column.factors) == 1
    }
    wanted = {name for j in design.x for name in design.spec.columns[j].factors}
    for name in sorted(wanted - set(known)):
        known[name] = _is_constant(design, name, k)
    return known


def _is_constant(design: Design, component: str, k: int) -> bool:
    """Look at the rows of a component that is no column of its own."""
    factor, moments = design.factors[k], None
    for values, codes in design.component_blocks(component, factor):
        if moments is None:
            moments = Moments.starting(values, factor.n_levels)
        moments.add(np.ascontiguousarray(values), codes)
    assert moments is not None
    products = moments.products(names=(component,), levels=factor.levels)
    return bool(products.within[0, 0] <= CONSTANT * products.total[0, 0])


def slopes_explained(design: Design, k: int = 0) -> IntArray:
    """For each fixed column, the random slope of factor k (position among its effects) that it explains, or -1.

    A column explains the slope of x when it is x times cluster-level variables: a cross-level interaction. A random
    slope's own column has -1.
    """
    constant, z = constant_components(design, k), design.factors[k].z
    slopes = [(e, set(design.spec.columns[j].factors)) for e, j in enumerate(z) if j != design.constant]
    slopes.sort(key=lambda slope: -len(slope[1]))
    out = np.full(len(design.x), -1, dtype=np.int64)
    for i, j in enumerate(design.x):
        factors = set(design.spec.columns[j].factors)
        for e, own in slopes:
            rest = factors - own
            if own < factors and all(constant[name] for name in rest):
                out[i] = e
                break
    return out


def equations(design: Design) -> list[Equation | None]:
    """For each fixed column the equation it belongs to, None for columns whose coefficient is the same everywhere.

    A column that is constant within the levels of a factor explains that factor's intercept; one that varies explains
    a random slope if it is the slope's own or a cross-level interaction with it. Where several factors qualify, it is
    the one with the fewest levels. A factor with one level, whose effects' covariance is known, says nothing of levels.
    """
    order = sorted(range(len(design.factors)), key=lambda k: design.factors[k].n_levels)
    order = [k for k in order if design.factors[k].n_levels > 1]
    explained = {k: slopes_explained(design, k) for k in order}
    out: list[Equation | None] = []
    for i, j in enumerate(design.x):
        found: Equation | None = None
        for k in order:
            if j == design.constant or design.constant_within[k, j]:
                found = Equation(factor=k, effect=None)
                break
        if found is None:
            found = _slope_equation(design, order, explained, i, int(j))
        out.append(found)
    return out


def _slope_equation(
    design: Design, order: list[int], explained: dict[int, IntArray], i: int, j: int
) -> Equation | None:
    """The slope's equation that column j, the i-th fixed one, belongs to."""
    for k in order:
        own = np.flatnonzero(design.factors[k].z == j)
        if len(own):
            return Equation(factor=k, effect=int(own[0]))
    for k in order:
        if explained[k][i] >= 0:
            return Equation(factor=k, effect=int(explained[k][i]))
    return None
