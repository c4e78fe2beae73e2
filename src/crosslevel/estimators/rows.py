"""What needs a second look at the rows: fitted values and residuals."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from crosslevel.design import Design
from crosslevel.design.factors import GroupingFactor
from crosslevel.table import used_index
from crosslevel.types import CodeArray, FloatArray

Effects = Sequence[tuple[GroupingFactor, FloatArray]]
"""Grouping factors with the conditional modes (J, q) of their levels."""


def augment(design: Design, beta: FloatArray, effects: Effects) -> pd.DataFrame:
    """The rows used: outcome, clusters, fitted values, residuals, and the fixed part."""
    n = design.rows.used
    outcome, fixed, fitted, done = np.empty(n), np.empty(n), np.empty(n), 0
    members = [_members(design, factor) for factor, _ in effects]
    for block, block_codes, _ in design.blocks():
        place = slice(done, done + block.shape[1])
        if design.is_single:
            members[0][0][0][place] = block_codes
        done = place.stop
        outcome[place] = block[-1]
        fixed[place] = beta @ block[design.x]
        fitted[place] = fixed[place]
        for (factor, modes), own in zip(effects, members, strict=True):
            for codes, share in own:
                part = np.einsum("li,il->l", modes[codes[place]], block[factor.z])
                fitted[place] += part if share is None else share[place] * part
    groups: dict[str, pd.Index] = {}
    for (factor, _), own in zip(effects, members, strict=True):
        names = (factor.name,) if factor.membership is None else factor.membership.members
        levels = pd.Index(factor.levels if factor.membership is None else [*factor.levels, None])
        groups |= {name: levels.take(codes) for name, (codes, _) in zip(names, own, strict=True)}
    if design.offset is not None:
        outcome, fixed, fitted = (values + design.offset for values in (outcome, fixed, fitted))
    record = {"fitted": fitted, "resid": outcome - fitted, "fixed": fixed}
    return pd.DataFrame({design.spec.response_name: outcome, **groups, **record}, index=row_index(design))


def _members(design: Design, factor: GroupingFactor) -> tuple[tuple[CodeArray, FloatArray | None], ...]:
    """Levels (rows used,) of a factor and how much rows belong to them; to be filled in where there is one factor."""
    if design.is_single:
        return ((np.empty(design.rows.used, dtype=np.int32), None),)
    return design.used_members(factor)


def row_index(design: Design) -> pd.Index:
    """Labels of the rows used."""
    if design.stream is None:
        return design.columns.index(design.mask)
    return used_index(design.stream.source, design.spec.variables)
