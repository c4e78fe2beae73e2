"""Coefficient tables in print: t tests where there are degrees of freedom, z tests where there are none to count."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from crosslevel.display import Column, Row, Table, fixed, p_value
from crosslevel.estimators.robust_fit import robust_row
from crosslevel.estimators.summary import percent_of, shown_decimals


def coefficient_words(table: pd.DataFrame, level: float, *, title: str, notes: Sequence[str]) -> Table:
    """A coefficient table to print.

    Parameters
    ----------
    table : estimate, std_error, df, statistic, p_value, conf_low, conf_high by term.
    level : confidence level of its intervals.
    title, notes : over and under it.
    """
    limits = (f"{percent_of(level)} low", "high")
    if np.all(np.isinf(table["df"])):
        heads: tuple[str, ...] = ("Estimate", "SE", "z", "p", *limits)
        rows: list[Row] = [_z_row(str(name), row) for name, row in table.iterrows()]
    else:
        heads = ("Estimate", "SE", "df", "t", "p", *limits)
        rows = [robust_row(str(name), row) for name, row in table.iterrows()]
    columns: list[str | Column] = ["Term", *(Column(name, align="decimal") for name in heads)]
    return Table(columns, rows, title=title, notes=list(notes))


def _z_row(name: str, row: pd.Series) -> Row:
    """One coefficient with its z test."""
    decimals = 3 if np.isnan(row["std_error"]) else shown_decimals(row["std_error"], row["estimate"])
    return [
        name,
        *(fixed(row[column], decimals) for column in ("estimate", "std_error")),
        fixed(row["statistic"], 2),
        p_value(row["p_value"]),
        *(fixed(row[column], decimals) for column in ("conf_low", "conf_high")),
    ]
