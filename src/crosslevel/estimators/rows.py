"""What needs a second look at the rows: fitted values, residuals, predictions."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from crosslevel.design import Design
from crosslevel.design.factors import GroupingFactor, new_codes
from crosslevel.errors import CrosslevelError
from crosslevel.table import Columns, used_index
from crosslevel.types import FloatArray, Frame

CHUNK = 1 << 16
"""Rows predicted at a time."""

Effects = Sequence[tuple[GroupingFactor, FloatArray]]
"""Grouping factors with the conditional modes (J, q) of their levels."""


def augment(design: Design, beta: FloatArray, effects: Effects) -> pd.DataFrame:
    """The rows used: outcome, clusters, fitted values, residuals, and the fixed part."""
    n = design.rows.used
    outcome, fixed, fitted, done = np.empty(n), np.empty(n), np.empty(n), 0
    codes = [np.empty(n, dtype=np.int32) if design.is_single else design.used_codes(factor) for factor, _ in effects]
    for block, block_codes, _ in design.blocks():
        place = slice(done, done + block.shape[1])
        if design.is_single:
            codes[0][place] = block_codes
        done = place.stop
        outcome[place] = block[-1]
        fixed[place] = beta @ block[design.x]
        fitted[place] = fixed[place]
        for (factor, modes), own in zip(effects, codes, strict=True):
            fitted[place] += np.einsum("li,il->l", modes[own[place]], block[factor.z])
    groups = {factor.name: pd.Index(factor.levels).take(own) for (factor, _), own in zip(effects, codes, strict=True)}
    if design.offset is not None:
        outcome, fixed, fitted = (values + design.offset for values in (outcome, fixed, fitted))
    record = {"fitted": fitted, "resid": outcome - fitted, "fixed": fixed}
    if design.stream is None:
        index = design.columns.index(design.mask)
    else:
        index = used_index(design.stream.source, design.spec.variables)
    return pd.DataFrame({design.spec.response_name: outcome, **groups, **record}, index=index)


def predict(design: Design, beta: FloatArray, effects: Effects | None, new: Frame) -> pd.Series:
    """Predictions for the rows of a new frame; NaN where a predictor is missing.

    Parameters
    ----------
    effects : random effects to add, for rows whose cluster was in the fit and is given; None adds none.
    """
    columns = Columns.from_frame(new, "new")
    predictors = predictors_of(design)
    groups = {name for factor in design.factors for name in factor.group}
    columns.require(predictors if effects is None else [*predictors, *sorted(groups)], "new")
    offset = _new_offset(design, columns)
    mask, _ = columns.complete(predictors)
    codes = [new_codes(factor, columns) for factor, _ in effects or ()]

    evaluator = design.spec.bind(columns, mask, response=False)
    out = np.full(columns.n_rows, np.nan)
    for start in range(0, columns.n_rows, CHUNK):
        rows = slice(start, min(start + CHUNK, columns.n_rows))
        keep = slice(None) if mask is None else mask[rows]
        block = evaluator.evaluate(rows)
        values = beta @ block[design.x]
        for (factor, modes), own in zip(effects or (), codes, strict=True):
            block_codes = own[rows][keep]
            known = np.where(block_codes[:, None] >= 0, modes[block_codes], 0.0)
            values = values + np.einsum("li,il->l", known, block[factor.z])
        out[rows][keep] = values
    return pd.Series(out + offset, index=columns.index(None), name="prediction")


def _new_offset(design: Design, columns: Columns) -> FloatArray | float:
    """The offset of new rows, from the column that the fit had it from."""
    if design.offset is None:
        return 0.0
    if design.offset_column is None:
        raise CrosslevelError(
            "`offset` was given as numbers for the rows of the fit, so that it is not known for new rows. "
            "Fit with the name of a column, which `new` has too."
        )
    columns.require([design.offset_column], "new")
    return columns.numeric(design.offset_column)


def predictors_of(design: Design) -> list[str]:
    """The variables that predictions need, clusters apart."""
    outcome = set(design.spec.response_component.variables)
    fixed_only = {name for j in design.x for name in design.spec.columns[j].variables}
    needed = [name for name in design.spec.variables if name in fixed_only or name not in outcome]
    groups = {name for factor in design.factors for name in factor.group}
    return [name for name in needed if name not in groups or name in fixed_only]
