"""Which coefficients are context effects: those of cluster-level variables, and of their products with others."""

import numpy as np

from crosslevel.design import Design
from crosslevel.design.build import CONSTANT
from crosslevel.design.products import CrossProducts


def context_terms(design: Design, products: CrossProducts) -> tuple[str, ...]:
    """Names of the coefficients of columns that involve a cluster-level variable; not the intercept.

    A product counts if one of its components is constant within clusters while its own column stands in the model.

    Parameters
    ----------
    design : of the model.
    products : cross-products of its columns by cluster.
    """
    total, within = np.diag(products.total), np.diag(products.within)
    constant = within <= CONSTANT * total
    columns = design.spec.columns
    above = {column.factors[0] for j, column in enumerate(columns) if len(column.factors) == 1 and constant[j]}
    out = []
    for j in design.x:
        factors = columns[j].factors
        if factors and (constant[j] or any(name in above for name in factors)):
            out.append(columns[j].name)
    return tuple(out)
