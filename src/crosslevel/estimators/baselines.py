"""Models that a fit is compared with, fitted anew to its cross-products: rows are not read again with one factor."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.covariance import COVARIANCES, BlockStructure
from crosslevel.design import Design, equations
from crosslevel.design.factors import GroupingFactor
from crosslevel.design.levels import constant_components
from crosslevel.errors import CrosslevelError
from crosslevel.types import IntArray

if TYPE_CHECKING:
    from crosslevel.estimators.mixed_fit import MixedFit


def intercepts_only(fit: "MixedFit", *, fixed: bool = False) -> "MixedFit":
    """The model with random intercepts only, for all grouping factors, without predictors, or with `fixed` with all.

    Raises
    ------
    CrosslevelError : the model has no intercept.
    """
    design = fit.design
    if design.constant < 0:
        raise CrosslevelError(
            "`r2` compares with a model of intercepts only; this model has no intercept. Add 1 + to the formula."
        )
    factors = tuple(_with_intercept(factor, design.constant) for factor in design.factors)
    x = design.x if fixed else np.array([design.constant])
    return _refitted(fit, replace(design, factors=factors, x=x, aliased=()))


def has_intercepts_only(design: Design) -> bool:
    """Whether nothing but the intercept varies between the levels of all factors."""
    return all(np.array_equal(factor.z, [design.constant]) for factor in design.factors)


def random_coefficients(fit: "MixedFit") -> "MixedFit | None":
    """The unconditional random-coefficient model, without cluster-level predictors and cross-level interactions.

    None where there is nothing to leave out, or no slope varies: the model itself and the intercept-only one do then.
    """
    design = fit.design
    kept = columns_within(design)
    slopes = any(np.any(factor.z != design.constant) for factor in design.factors)
    if not slopes or len(kept) == len(design.x) or not len(kept):
        return None
    return _refitted(fit, replace(design, x=design.x[kept], aliased=()))


def columns_within(design: Design) -> IntArray:
    """Positions among the fixed columns of the intercept, varying slopes, and what has no cluster-level part."""
    varying = {int(j) for factor in design.factors for j in factor.z}
    above = {
        name
        for k in range(len(design.factors))
        for name, constant in constant_components(design, k).items()
        if constant
    }
    found = equations(design)
    kept = [
        i
        for i, j in enumerate(design.x)
        if j == design.constant
        or int(j) in varying
        or (found[i] is None and not above.intersection(design.spec.columns[j].factors))
    ]
    return np.array(kept, dtype=np.int64)


def _with_intercept(factor: GroupingFactor, constant: int) -> GroupingFactor:
    """The same factor, with a random intercept only."""
    structure = BlockStructure(kinds=(COVARIANCES["us"],), columns=(np.array([0]),), q=1)
    return replace(factor, z=np.array([constant]), structure=structure)


def _refitted(fit: "MixedFit", design: Design) -> "MixedFit":
    """Solve a changed design by the fit's own settings."""
    from crosslevel.estimators.mixed import fit_design

    fixed = " + ".join("1" if name == "Intercept" else name for name in design.fixed_names)
    random = (f"({' + '.join(design.effects_of(factor))} | {factor.name})" for factor in design.factors)
    text = f"{fit.formula.split('~')[0].strip()} ~ {' + '.join([fixed, *random])}"
    return fit_design(text, fit.data, fit.given, design)
