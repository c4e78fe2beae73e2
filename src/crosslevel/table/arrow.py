"""Parquet and feather files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from crosslevel.table.columns import refuse_duplicates
from crosslevel.table.options import ReadOptions


def read_parquet(file: Path, options: ReadOptions) -> pd.DataFrame:
    """A parquet file; pandas' `attrs`, and so the labels, come with it."""
    names = parquet_names(file)
    refuse_duplicates(names, "path")
    wanted = None if options.columns is None else [name for name in options.columns if name in names]
    return _index_as_columns(pd.read_parquet(file, engine="pyarrow", columns=wanted))


def parquet_names(file: Path) -> list[str]:
    """Names of the columns of a parquet file."""
    import pyarrow.parquet

    return list(pyarrow.parquet.read_schema(file).names)


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
