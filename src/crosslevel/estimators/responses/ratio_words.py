"""Ratios in print: exponentials of coefficients with their intervals."""

import pandas as pd

from crosslevel.display import Column, Row, Table, number
from crosslevel.estimators.summary import percent_of
from crosslevel.inference.generalized.ratios import exponentiated

RATIOS = {"logit": "odds ratios", "log": "ratios of means", "cloglog": "hazard ratios"}
"""What exponentials of coefficients are, by link."""


def ratios(table: pd.DataFrame, link: str, level: float, *, about: str) -> list[Table]:
    """A table of ratios where the link has some: one, or none.

    Parameters
    ----------
    table : coefficient table.
    link : of the model.
    level : confidence level of its intervals.
    about : what is compared, for the line under the table.
    """
    found = exponentiated(table[table.index != "Intercept"])
    if link not in RATIOS or not len(found):
        return []
    rows: list[Row] = [
        [str(name), *(number(row[column]) for column in ("estimate", "conf_low", "conf_high"))]
        for name, row in found.iterrows()
    ]
    heads = ("Ratio", f"{percent_of(level)} low", "high")
    columns: list[str | Column] = ["Term", *(Column(head, align="decimal") for head in heads)]
    return [Table(columns, rows, title=f"As {RATIOS[link]}", notes=[about])]
