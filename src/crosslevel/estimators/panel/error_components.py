"""Variances of the errors of groups and rows, as a frame and as a table, and the shares of means that they take off."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from crosslevel.display import Column, Row, Table, fixed, number
from crosslevel.types import FloatArray

ROWS = "idiosyncratic"
"""Name of the rows' component."""


def components_frame(group: str, between: float, within: float) -> pd.DataFrame:
    """Variances of groups and rows, with standard deviations and shares, by component."""
    variance = np.array([between, within])
    return pd.DataFrame(
        {"variance": variance, "sd": np.sqrt(variance), "share": variance / variance.sum()},
        index=pd.Index([group, ROWS], name="component"),
    )


def components_table(components: pd.DataFrame, notes: Sequence[str] = ()) -> Table:
    """The same as a table."""
    rows: list[Row] = [
        ["Rows" if name == ROWS else f"Between {name}", number(variance), number(sd), share]
        for name, variance, sd, share in components.itertuples()
    ]
    columns: list[str | Column] = [
        "", Column("Variance", align="decimal"), Column("SD", align="decimal"),
        Column("Share", format="percent", decimals=1),
    ]  # fmt: skip
    return Table(columns, rows, title="Variances of the errors", notes=list(notes))


def taken_off(theta: FloatArray) -> Row:
    """Shares theta (J,) of their means that are taken off the rows of groups, as a line of a summary."""
    low, high = theta.min(), theta.max()
    spread = f"{fixed(low, 3)} to {fixed(high, 3)}, median {fixed(float(np.median(theta)), 3)}"
    return ["Quasi-demeaning", f"theta = {fixed(low, 3) if low == high else spread} (0: pooled, 1: within)"]
