"""Text files scanned by pyarrow under the rules of `read`: separator, decimal comma, missing values, ids with zeros."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from crosslevel.errors import FileError
from crosslevel.table import delimited
from crosslevel.table.batches import ARGUMENT
from crosslevel.table.options import ReadOptions

LOOK_AHEAD = 10_000
"""Lines of the first file that settle the types of the columns."""

EXACT = 2**53
"""Whole numbers below this are exact as floating-point numbers."""

NULLS = (
    *("", ".", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>"),
    *("N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)
"""What `read` takes for missing."""


def text_dataset(files: Sequence[Path], kind: str) -> Any:
    """A pyarrow dataset of text files that all have the same columns in the same order.

    Numbers are read as floating-point numbers, whatever the first lines show, so that a decimal may come late; whole
    numbers too large for that stay whole.

    Raises
    ------
    FileError : a file's first line differs from that of the first file; or see `read`.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds

    options = ReadOptions(kind=kind)
    dialect, _ = delimited.recognised(files[0], options)
    sample = delimited.parsed(files[0], dialect, nrows=LOOK_AHEAD)
    names = [str(name) for name in sample.columns]
    for file in files[1:]:
        _require_same(file, files[0], options, names)
    types = {name: _type(sample[name]) for name in names}
    suspects = [name for name in names if types[name] != pa.string()]
    zeros = suspects and any(delimited.has_leading_zero(file, dialect) for file in files)

    def dataset(types: dict[str, Any]) -> Any:
        return ds.dataset(
            [str(file) for file in files],
            schema=pa.schema(list(types.items())),
            format=_format(dialect, names, types),
        )

    if zeros:
        ids = _ids(dataset({name: pa.string() for name in names}), suspects)
        types |= {name: pa.string() for name in ids}
    return dataset(types)


def _require_same(file: Path, first: Path, options: ReadOptions, names: list[str]) -> None:
    """Refuse a file with other columns."""
    dialect, _ = delimited.recognised(file, options)
    found = [str(name) for name in delimited.parsed(file, dialect, nrows=1).columns]
    if found != names:
        raise FileError(
            f"`{ARGUMENT}`: {str(file)!r} has the columns {', '.join(found)}, but {str(first)!r} has "
            f"{', '.join(names)}. Text files that are read together need the same columns in the same order."
        )


def _type(values: pd.Series[Any]) -> Any:
    """Arrow's type for a column that begins with these values."""
    import pyarrow as pa

    if pd.api.types.infer_dtype(values, skipna=True) == "boolean":
        return pa.bool_()
    if pd.api.types.is_integer_dtype(values) and len(values) and values.abs().max() >= EXACT:
        return pa.int64()
    return pa.float64() if pd.api.types.is_numeric_dtype(values) else pa.string()


def _format(dialect: delimited.Dialect, names: list[str], types: dict[str, Any]) -> Any:
    """How pyarrow is to read the files."""
    import pyarrow.csv as pc
    import pyarrow.dataset as ds

    return ds.CsvFileFormat(
        parse_options=pc.ParseOptions(delimiter=dialect.separator, newlines_in_values=True),
        read_options=pc.ReadOptions(column_names=names, skip_rows=1, block_size=1 << 22),
        convert_options=pc.ConvertOptions(
            column_types=types,
            null_values=list(NULLS),
            strings_can_be_null=True,
            decimal_point=dialect.decimal,
        ),
    )


def _ids(dataset: Any, suspects: list[str]) -> list[str]:
    """The columns that consist of digits and somewhere begin with a zero that a number would lose."""
    import pyarrow.compute as pc

    digits, zero = dict.fromkeys(suspects, True), dict.fromkeys(suspects, False)
    for batch in dataset.scanner(columns=suspects, batch_readahead=2, fragment_readahead=1).to_batches():
        for name in suspects:
            values = batch.column(name).drop_null()
            digits[name] &= pc.all(pc.match_substring_regex(values, r"^\d+$")).as_py() is not False
            zero[name] |= pc.any(pc.match_substring_regex(values, r"^0\d")).as_py() is True
    return [name for name in suspects if digits[name] and zero[name]]
