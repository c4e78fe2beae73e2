"""Rows of tables as plain numbers."""

import pandas as pd


def row_of(frame: pd.DataFrame, name: str) -> dict[str, float]:
    """The numbers of one row by column.

    Parameters
    ----------
    frame : of numbers, with one row of each name.
    name : of the row.

    Examples
    --------
    >>> row_of(pd.DataFrame({"a": [1.0, 2.0]}, index=["x", "y"]), "y")
    {'a': 2.0}
    """
    place = [str(each) for each in frame.index].index(name)
    return {str(column): float(frame[column].to_numpy()[place]) for column in frame.columns}
