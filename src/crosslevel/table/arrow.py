"""Parquet and feather files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from crosslevel.table.columns import refuse_duplicates
from crosslevel.table.options import ReadOptions


def read_parquet(file: Path, options: ReadOptions) -> pd.DataFrame:
    """A parquet file; pandas' `attrs`, and so the labels, come with it."""
    import pyarrow.parquet

    refuse_duplicates(pyarrow.parquet.read_schema(file).names, "path")
    return _index_as_columns(pd.read_parquet(file, engine="pyarrow"))


def read_feather(file: Path, options: ReadOptions) -> pd.DataFrame:
    """A feather file, which is Arrow's file format."""
    import pyarrow.feather

    table = pyarrow.feather.read_table(file)
    refuse_duplicates(table.column_names, "path")
    return _index_as_columns(table.to_pandas())


def _index_as_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """A named index is data, such as the school of each pupil; an unnamed one only numbers the rows."""
    named = any(name is not None for name in frame.index.names)
    return frame.reset_index(drop=not named)
