"""The rows of a panel: as frames, with predictions for the rows used and for new ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from crosslevel.estimators.panel.uncertainty import new_codes
from crosslevel.estimators.rows import row_index
from crosslevel.estimators.target_rows import new_rows
from crosslevel.inference.clusterings import Clustering
from crosslevel.inference.panel.panel import Panel
from crosslevel.table import Columns
from crosslevel.types import FloatArray, Frame, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Levels:
    """Effects of the levels of a clustering.

    Attributes
    ----------
    clusters : the levels, J.
    effects : (J,).
    unknown : the effect of any other level; NaN if nothing is known of it.
    """

    clusters: Clustering
    effects: FloatArray = field(repr=False)
    unknown: float

    @property
    def of_rows(self) -> FloatArray:
        """(n,) effects of the rows used."""
        return np.asarray(self.effects[self.clusters.codes])

    def of_new(self, columns: Columns) -> FloatArray:
        """Effects of the rows of a new frame."""
        return np.asarray(np.append(self.effects, self.unknown)[new_codes(self.clusters, columns)])


def predicted(
    panel: Panel, columns: IntArray, beta: FloatArray, levels: tuple[Levels, ...], constant: float, new: Frame | None
) -> pd.Series:
    """Predict constant + x'beta + effects for the rows used or for those of a new frame.

    Parameters
    ----------
    panel : the rows used.
    columns, beta : positions of the columns of X, and their coefficients (p,).
    levels : effects of groups and times.
    constant : what is added to all.
    new : any frame; None for the rows used.
    """
    if new is None:
        estimates = constant + beta @ panel.rows(columns) + sum(level.of_rows for level in levels)
        return pd.Series(estimates, index=row_index(panel.design), name="prediction")
    rows = new_rows(panel.design, None, (), new)
    estimates = np.empty(rows.n_rows)
    for block in rows.blocks():
        estimates[block.place] = constant + beta @ block.columns[columns]
    effects: FloatArray = np.zeros(rows.columns.n_rows)
    for level in levels:
        effects = effects + level.of_new(rows.columns)
    return pd.Series(rows.spread(estimates) + effects, index=rows.index, name="prediction")


def frame_of(panel: Panel, outcome: FloatArray, columns: Mapping[str, FloatArray]) -> pd.DataFrame:
    """The rows used: outcome, group, time, and further columns."""
    keys = {each.name: pd.Index(each.levels).take(each.codes) for each in keys_of(panel)}
    return pd.DataFrame({panel.design.spec.response_name: outcome, **keys, **columns}, index=row_index(panel.design))


def keys_of(panel: Panel) -> tuple[Clustering, ...]:
    """Groups, and times where they were named."""
    return (panel.groups,) if panel.times is None else (panel.groups, panel.times)
