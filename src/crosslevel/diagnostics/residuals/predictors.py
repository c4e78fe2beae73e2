"""The numeric predictors of a model: their values, where they vary, and how the outcome moves with them on average."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from crosslevel.diagnostics.diagnostic import AnyFit
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.ols_fit import OLSFit
from crosslevel.formula.spec import DesignColumn
from crosslevel.types import CodeArray, FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictor:
    """A numeric column of the fixed part.

    Attributes
    ----------
    name : of the coefficient, as in "within(ses, school)".
    values : (n,) at the rows used.
    within : the grouping factor within whose levels it varies, the one with most of them; "" where it describes those
        of all factors, or there are none.
    codes, n_levels : levels (n,) of that factor.
    weights : by coefficient, the mean over the rows of what its column multiplies the predictor with: 1 for its own.
    slope : mean over the rows of the derivative of the fixed part in the predictor, interactions included.
    """

    name: str
    values: FloatArray = field(repr=False)
    within: str
    codes: CodeArray | None = field(repr=False)
    n_levels: int
    weights: Mapping[str, float]
    slope: float

    def centred(self, columns: FloatArray) -> FloatArray:
        """Columns (k, n) less their means in the levels within which the predictor varies."""
        if self.codes is None:
            return np.asarray(columns - columns.mean(axis=1, keepdims=True))
        count = np.maximum(np.bincount(self.codes, minlength=self.n_levels), 1)
        means = np.array([np.bincount(self.codes, row, self.n_levels) / count for row in columns])
        return np.asarray(columns - means[:, self.codes])


def predictors_of(fit: AnyFit, x: str | None) -> list[Predictor]:
    """The numeric predictors with more than two values, or those that a name belongs to.

    Parameters
    ----------
    fit : the model.
    x : a coefficient such as "within(ses, school)", or a data column; None for all.

    Raises
    ------
    CrosslevelError : there is no such predictor.
    """
    design = fit.design
    able = [(int(j), design.spec.columns[j]) for j in design.x if _is_line(design.spec.columns[j])]
    chosen = [(j, column) for j, column in able if x is None or x in (column.name, *column.variables)]
    matrix = _columns(fit)
    found = [_predictor(fit, j, column, matrix) for j, column in chosen]
    found = [one for one in found if len(np.unique(one.values)) > 2]
    if not found:
        listed = ", ".join(repr(column.name) for _, column in able) or "none"
        wanted = "`linearity` needs" if x is None else f"`x` is {x!r}, and `linearity` needs"
        raise CrosslevelError(
            f"{wanted} a numeric predictor of the fixed part with more than two values; those there are: {listed}. "
            "Name one of these, or add the predictor to the model."
        )
    return found


def _is_line(column: DesignColumn) -> bool:
    """Whether a column is a numeric predictor by itself."""
    return column.kind == "numeric" and len(column.factors) == 1


def _columns(fit: AnyFit) -> FloatArray:
    """(m, n) design columns of the rows used."""
    return np.concatenate([block[:-1] for block, _, _ in fit.design.blocks()], axis=1)


def _predictor(fit: AnyFit, j: int, column: DesignColumn, matrix: FloatArray) -> Predictor:
    """One predictor with where it varies."""
    design = fit.design
    beta = np.asarray(fit.solved.beta if isinstance(fit, OLSFit) else fit.solution.beta)
    own = column.factors[0]
    weights, slope = dict[str, float](), 0.0
    for place, k in enumerate(design.x):
        other = design.spec.columns[k]
        if own in other.factors:
            rest = [name for name in other.factors if name != own]
            product = np.ones(design.rows.used)
            for name in rest:
                product = product * design.spec.component(name, design.columns, slice(None), design.mask)
            weights[other.name] = float(product.mean())
            slope += float(beta[place] * product.mean())
    within, codes, n_levels = "", None, 0
    if not isinstance(fit, OLSFit):
        varying = [
            (factor.n_levels, k) for k, factor in enumerate(design.factors)
            if not factor.members and not design.constant_within[k][j] and factor.n_levels < design.rows.used
        ]  # fmt: skip
        if varying:
            n_levels, place = max(varying)
            within, codes = design.factors[place].name, design.used_codes(design.factors[place])
    return Predictor(
        name=column.name, values=matrix[j], within=within, codes=codes, n_levels=n_levels, weights=weights, slope=slope
    )
