"""What needs a second look at the rows: fitted values, residuals, predictions."""

import numpy as np
import pandas as pd

from crosslevel.design import Design
from crosslevel.table import Columns, group_codes
from crosslevel.types import CodeArray, FloatArray, Frame

CHUNK = 1 << 16
"""Rows predicted at a time."""


def augment(design: Design, beta: FloatArray, modes: FloatArray) -> pd.DataFrame:
    """The rows used: outcome, cluster, fitted values, residuals, and the fixed part."""
    y, fixed, random, codes = [], [], [], []
    for block, block_codes, _ in design.blocks():
        y.append(block[-1].copy())
        fixed.append(beta @ block[design.x])
        random.append(np.einsum("li,il->l", modes[block_codes], block[design.z]))
        codes.append(block_codes)
    outcome, fixed_part = np.concatenate(y), np.concatenate(fixed)
    fitted = fixed_part + np.concatenate(random)
    levels = pd.Index(design.products.levels)
    return pd.DataFrame(
        {
            design.spec.response_name: outcome,
            design.group: levels.take(np.concatenate(codes)),
            "fitted": fitted,
            "resid": outcome - fitted,
            "fixed": fixed_part,
        },
        index=design.columns.index(design.mask),
    )


def predict(design: Design, beta: FloatArray, modes: FloatArray | None, new: Frame) -> pd.Series:
    """Predictions for the rows of a new frame; NaN where a predictor is missing.

    Parameters
    ----------
    modes : (J, q) random effects to add, for rows whose cluster was in the fit and is given; None adds none.
    """
    columns = Columns.from_frame(new, "new")
    outcome = set(design.spec.response_component.variables)
    fixed_only = {name for j in design.x for name in design.spec.columns[j].variables}
    needed = [name for name in design.spec.variables if name in fixed_only or name not in outcome]
    group = tuple(design.spec.terms[0].group)
    predictors = [name for name in needed if name not in group or name in fixed_only]
    columns.require(predictors if modes is None else [*predictors, *group], "new")
    mask, _ = columns.complete(predictors)
    codes = None if modes is None else _known_clusters(design, columns, group)

    evaluator = design.spec.bind(columns, mask, response=False)
    out = np.full(columns.n_rows, np.nan)
    for start in range(0, columns.n_rows, CHUNK):
        rows = slice(start, min(start + CHUNK, columns.n_rows))
        keep = slice(None) if mask is None else mask[rows]
        block = evaluator.evaluate(rows)
        values = beta @ block[design.x]
        if codes is not None and modes is not None:
            block_codes = codes[rows][keep]
            known = np.where(block_codes[:, None] >= 0, modes[block_codes], 0.0)
            values = values + np.einsum("li,il->l", known, block[design.z])
        out[rows][keep] = values
    return pd.Series(out, index=columns.index(None), name="prediction")


def _known_clusters(design: Design, columns: Columns, group: tuple[str, ...]) -> CodeArray:
    """The fit's code of each new row's cluster, -1 where it was not in the fit."""
    factor = group_codes(columns, group)
    place = {str(level): code for code, level in enumerate(design.products.levels)}
    codes = np.array([*(place.get(str(level), -1) for level in factor.levels), -1], dtype=np.int32)
    return np.asarray(codes[factor.codes])
