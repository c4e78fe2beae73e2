"""Which columns describe clusters, and which level-2 equation each coefficient belongs to."""

import numpy as np

from crosslevel.design.build import CONSTANT, Design
from crosslevel.design.products import Moments
from crosslevel.types import IntArray


def constant_components(design: Design) -> dict[str, bool]:
    """Whether each component of an interaction among the fixed columns is constant within clusters."""
    cluster_level = design.cluster_level
    known = {
        column.factors[0]: bool(cluster_level[j])
        for j, column in enumerate(design.spec.columns)
        if len(column.factors) == 1
    }
    wanted = {name for j in design.x for name in design.spec.columns[j].factors}
    for name in sorted(wanted - set(known)):
        known[name] = _is_constant(design, name)
    return known


def _is_constant(design: Design, component: str) -> bool:
    """Look at the rows of a component that is no column of its own."""
    moments: Moments | None = None
    for _, codes, rows in design.blocks():
        values = design.spec.component(component, design.columns, rows, design.mask)[None, :]
        if moments is None:
            moments = Moments.starting(values, len(design.products.levels))
        moments.add(np.ascontiguousarray(values), codes)
    assert moments is not None
    products = moments.products(names=(component,), levels=design.products.levels)
    return bool(products.within[0, 0] <= CONSTANT * products.total[0, 0])


def slopes_explained(design: Design) -> IntArray:
    """For each fixed column, the random slope (position among the random effects) that it explains, or -1.

    A column explains the slope of x when it is x times cluster-level variables: a cross-level interaction. A random
    slope's own column has -1.
    """
    constant = constant_components(design)
    slopes = [(k, set(design.spec.columns[j].factors)) for k, j in enumerate(design.z) if j != design.constant]
    slopes.sort(key=lambda slope: -len(slope[1]))
    out = np.full(len(design.x), -1, dtype=np.int64)
    for i, j in enumerate(design.x):
        factors = set(design.spec.columns[j].factors)
        for k, own in slopes:
            rest = factors - own
            if own < factors and all(constant[name] for name in rest):
                out[i] = k
                break
    return out


def equation_numbers(design: Design) -> IntArray:
    """For each fixed column its level-2 equation: 0 the intercept's, k >= 1 the k-th random slope's, -1 none."""
    cluster_level = design.cluster_level
    slopes = [j for j in design.z if j != design.constant]
    number = {int(j): k + 1 for k, j in enumerate(slopes)}
    explained = slopes_explained(design)
    out = np.full(len(design.x), -1, dtype=np.int64)
    for i, j in enumerate(design.x):
        if cluster_level[j]:
            out[i] = 0
        elif int(j) in number:
            out[i] = number[int(j)]
        elif explained[i] >= 0:
            out[i] = number[int(design.z[explained[i]])]
    return out
