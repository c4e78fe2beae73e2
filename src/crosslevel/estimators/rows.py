"""What needs a second look at the rows: fitted values and residuals."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from crosslevel.design import Design
from crosslevel.design.factors import GroupingFactor
from crosslevel.table import used_index
from crosslevel.types import FloatArray

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
    return pd.DataFrame({design.spec.response_name: outcome, **groups, **record}, index=row_index(design))


def row_index(design: Design) -> pd.Index:
    """Labels of the rows used."""
    if design.stream is None:
        return design.columns.index(design.mask)
    return used_index(design.stream.source, design.spec.variables)
